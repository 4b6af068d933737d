"""Callers, a gate and a server in made-up time: a heap of events and no thread. A second costs what happens in it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from litellm_gateway_plugin.gate import Gate, Pass, Place, Ticket
from litellm_gateway_plugin.throttle import Bounds, Throttle
from tests.support.core import Clock

HALF_WAY_S = 0.005
"""Seconds that a request, and a refusal, are under way."""


class Server(Protocol):
    """Who takes requests or refuses them."""

    service: float
    hint: float | None

    def takes(self, now: float) -> bool:
        """Whether it begins to work on one more."""

    def ends(self) -> None:
        """One is done."""


@dataclass
class Room:
    """A server that works on so many at a time.

    Args:
        room: how many.
        service: seconds for each.
        hint: seconds that its refusals name.
        changes: how many calls it has taken when its room changes, and to what.
    """

    room: int
    service: float
    hint: float | None = None
    changes: dict[int, int] = field(default_factory=dict)
    working: int = 0
    taken: int = 0

    def takes(self, now: float) -> bool:
        if self.working >= self.room:
            return False
        self.working += 1
        self.taken += 1
        self.room = self.changes.get(self.taken, self.room)
        return True

    def ends(self) -> None:
        self.working -= 1


@dataclass
class Outage(Room):
    """A server that takes nobody for a while.

    Args:
        begins: when, on the simulation's clock.
        ends_at: and until when.
    """

    begins: float = 0.0
    ends_at: float = 0.0

    def takes(self, now: float) -> bool:
        return not self.begins <= now < self.ends_at and super().takes(now)


@dataclass
class Bucket:
    """A server that takes so many a second, and after a rest as many as fit into its bucket at once."""

    rate: float
    size: float
    service: float
    hint: float | None = None
    level: float = field(init=False)
    seen_at: float | None = None

    def __post_init__(self) -> None:
        self.level = self.size

    def takes(self, now: float) -> bool:
        if self.seen_at is not None:
            self.level = min(self.size, self.level + (now - self.seen_at) * self.rate)
        self.seen_at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def ends(self) -> None:
        pass


@dataclass
class Sliding:
    """A server that takes so many in any window of so many seconds."""

    most: int
    window: float
    service: float
    hint: float | None = None
    times: deque[float] = field(default_factory=deque)

    def takes(self, now: float) -> bool:
        while self.times and self.times[0] <= now - self.window:
            self.times.popleft()
        if len(self.times) >= self.most:
            return False
        self.times.append(now)
        return True

    def ends(self) -> None:
        pass


@dataclass
class Story:
    """What happened.

    Attributes:
        sent: when each request left.
        refused: when each refusal was read, and until when nobody may go by its hint.
        served: how many calls have their answers.
        took: seconds from the first request to the last answer.
        beats: how often the gate was looked at because of time alone.
    """

    sent: list[float] = field(default_factory=list)
    refused: list[tuple[float, float]] = field(default_factory=list)
    served: int = 0
    took: float = 0.0
    beats: int = 0

    @property
    def refusals_per_call(self) -> float:
        return len(self.refused) / max(1, self.served)

    def sent_too_soon(self) -> list[float]:
        """Requests that left after a refusal was read and before the time that it named."""
        return [at for at in self.sent for read, until in self.refused if read < at < until - 1e-9]


class Simulation:
    """So many callers, each with one call at a time, share so many calls.

    Args:
        server: who serves them.
        calls: how many calls there are in all.
        callers: how many callers.
        bounds: of the upstream.
        chance: seconds of jitter, from the most that it may be.
        early: whether the answer begins at once, as a stream does.
    """

    def __init__(
        self,
        server: Server,
        calls: int,
        callers: int,
        bounds: Bounds = Bounds(),  # noqa: B008  a frozen value
        chance: Callable[[float], float] = lambda seconds: seconds / 2,
        *,
        early: bool = False,
    ) -> None:
        self.clock = Clock()
        self.gate = Gate(bounds, clock=self.clock, chance=chance, pacemaker=False)
        self.place = Place.of("https://simulated", "model", "key")
        self.story = Story()
        self._server = server
        self._early = early
        self._left: Iterator[int] = iter(range(calls))
        self._callers = callers
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._touched = True

    @property
    def limit(self) -> float:
        return self.throttle.window.limit

    @property
    def throttle(self) -> Throttle:
        return self.gate._throttles[self.place.upstream]

    def run(self) -> Story:
        begun = self.clock()
        for _ in range(self._callers):
            self._next_call()
        beat_at = math.inf
        while True:
            if self._touched or beat_at <= self.clock():
                self._touched = False
                beat_at = self.gate.beat()  # which may send somebody
            at = min(self._events[0][0] if self._events else math.inf, beat_at)
            if math.isinf(at):
                break
            self.clock.now = at
            if self._events and self._events[0][0] <= at:
                heapq.heappop(self._events)[2]()
            else:
                self.story.beats += 1
        self.story.took = self.clock() - begun
        return self.story

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.clock() + seconds, next(self._numbers), what))

    def _next_call(self) -> None:
        if next(self._left, None) is not None:
            self._ask()

    def _ask(self) -> None:
        self._touched = True
        ticket = Ticket((self.place,), None, lambda: self._send(ticket))
        if self.gate.ask(ticket):
            self._send(ticket)

    def _send(self, ticket: Ticket) -> None:
        assert ticket.granted is not None
        ticket.granted.send()
        self.story.sent.append(self.clock())
        self._touched = True
        self._later(HALF_WAY_S, lambda: self._arrives(ticket))

    def _arrives(self, ticket: Ticket) -> None:
        passed = ticket.granted
        assert passed is not None
        if not self._server.takes(self.clock()):
            self._later(HALF_WAY_S, lambda: self._is_refused(ticket))
            return
        if self._early:
            self._later(HALF_WAY_S, lambda: self._begins(passed))
        self._later(self._server.service, self._server.ends)
        self._later(self._server.service + HALF_WAY_S, lambda: self._is_served(ticket))

    def _begins(self, passed: Pass) -> None:
        self._touched = True
        passed.accepted()

    def _is_refused(self, ticket: Ticket) -> None:
        assert ticket.granted is not None
        hint = self._server.hint
        self.story.refused.append((self.clock(), self.clock() + (hint or 0.0)))
        ticket.granted.refused(hint, "full", account=False)
        self._ask()

    def _is_served(self, ticket: Ticket) -> None:
        self._touched = True
        assert ticket.granted is not None
        ticket.granted.accepted()
        ticket.granted.leave()
        self.story.served += 1
        self._next_call()
