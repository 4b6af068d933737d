"""The world of the simulation: moments, calls, and an upstream whose room changes. No threads, no sleep, one seed."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

NOISE_EVERY_S = 0.25
"""How long the room keeps one value."""

Event = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Scene:
    """What happens to everybody, whatever the policy.

    Attributes:
        processes: how many, each with callers of its own.
        lasts: seconds in which calls arrive; what has begun then is brought to its end.
        rooms: (from this second on, requests at a time).
        noise: the room's random part, up or down.
        rates: (from this second on, calls per second of each process).
        service: median seconds of work for a request, and the sigma of its lognormal distribution.
        delays: least and most seconds from a process to the upstream and back.
        hint: seconds in the upstream's Retry-After, None when it sends none.
        retries: how often a call is asked again.
        timeout: seconds that a call waits at most to be taken.
        seed: of all chance.
    """

    processes: int = 1000
    lasts: float = 60.0
    rooms: tuple[tuple[float, int], ...] = ((0, 600), (12, 900), (24, 0), (29, 150), (37, 1200), (50, 600))
    noise: float = 0.08
    rates: tuple[tuple[float, float], ...] = ((0, 0.2), (14, 0.6), (21, 0.2))
    service: tuple[float, float] = (2.0, 0.5)
    delays: tuple[float, float] = (0.02, 0.12)
    hint: float | None = None
    retries: int = 8
    timeout: float = 60.0
    seed: int = 7

    def rate(self, now: float) -> float:
        """Calls per second of each process."""
        return _at(self.rates, now)


@dataclass(slots=True, eq=False)
class Call:
    """Somebody who wants an answer.

    Attributes:
        process: whose it is.
        born: when it was made.
        service: seconds of work that it will be.
        delay: seconds there and back.
        asked: requests sent for it.
    """

    process: int
    born: float
    service: float
    delay: float
    asked: int = 0


@dataclass(slots=True)
class Record:
    """What happened, as moments.

    Attributes:
        born: calls made.
        over: calls that were answered or failed.
        refused: requests that found no room.
        began: work on a request.
        ended: work on it.
        served: calls that were answered.
        failed: calls that were not.
        waits: by served call, seconds from the call to the beginning of its work.
        room: (moment, requests at a time), at each change.
    """

    born: list[float] = field(default_factory=list)
    over: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    served: list[Call] = field(default_factory=list)
    failed: list[Call] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    room: list[tuple[float, int]] = field(default_factory=list)


class Policy(Protocol):
    """What callers do."""

    def begin(self, call: Call) -> None:
        """A call is made."""

    def refused(self, call: Call, hint: float | None) -> None:
        """Its request was refused; the refusal is back at the process."""

    def answered(self, call: Call) -> None:
        """Its answer is back at the process."""

    def room_changed(self) -> None:
        """Who sees the upstream from inside looks again."""


class World:
    """Moments in their order.

    Attributes:
        now: seconds.
        policy: set before `run`.
        chance: for policies; what is the same for all of them is drawn from others.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.now = 0.0
        self.policy: Policy
        self.chance = Random(scene.seed)
        self.record = Record()
        self.room = self.busy = 0
        self._events: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        self._open = 0
        self._noise = Random(scene.seed + 1)
        self._arrive()
        self._new_room()

    @property
    def is_over(self) -> bool:
        """Whether every call that will ever be made has been answered or has failed."""
        return self.now >= self.scene.lasts and self._open == 0

    def at(self, moment: float, event: Event) -> None:
        """Have something happen then."""
        heapq.heappush(self._events, (moment, next(self._numbers), event))

    def run(self) -> Record:
        """Until nothing is left to happen."""
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.record

    def send(self, call: Call) -> None:
        """A request leaves its process."""
        call.asked += 1
        self.at(self.now + call.delay / 2, lambda: self._come(call))

    def fail(self, call: Call) -> None:
        """The call gives up."""
        self.record.failed.append(call)
        self._end()

    def _come(self, call: Call) -> None:
        if self.busy >= self.room:
            self.record.refused.append(self.now)
            self.at(self.now + call.delay / 2, lambda: self.policy.refused(call, self.scene.hint))
            return
        self.busy += 1
        self.record.began.append(self.now)
        self.record.waits.append(self.now - call.born)
        self.at(self.now + call.service, lambda: self._finish(call))

    def _finish(self, call: Call) -> None:
        self.busy -= 1
        self.record.ended.append(self.now)
        self.at(self.now + call.delay / 2, lambda: self._answer(call))
        self.policy.room_changed()

    def _answer(self, call: Call) -> None:
        self.record.served.append(call)
        self._end()
        self.policy.answered(call)

    def _end(self) -> None:
        self._open -= 1
        self.record.over.append(self.now)

    def _new_room(self) -> None:
        mean = _at(self.scene.rooms, self.now)
        self.room = round(mean * (1 + self._noise.uniform(-self.scene.noise, self.scene.noise)))
        self.record.room.append((self.now, self.room))
        if not self.is_over:
            self.at(self.now + NOISE_EVERY_S, self._new_room)
        if self.now:
            self.policy.room_changed()

    def _arrive(self) -> None:
        """Draw all calls: a Poisson process for everybody together, each call given to a process by lot."""
        scene, chance = self.scene, Random(self.scene.seed + 2)
        highest = scene.processes * max(rate for _, rate in scene.rates)
        moment = chance.expovariate(highest)
        while moment < scene.lasts:
            if chance.random() * highest < scene.processes * scene.rate(moment):
                self._announce(self._draw(moment, chance))
            moment += chance.expovariate(highest)

    def _draw(self, moment: float, chance: Random) -> Call:
        median, sigma = self.scene.service
        service = chance.lognormvariate(math.log(median), sigma)
        return Call(chance.randrange(self.scene.processes), moment, service, chance.uniform(*self.scene.delays))

    def _announce(self, call: Call) -> None:
        self._open += 1
        self.record.born.append(call.born)
        self.at(call.born, lambda: self.policy.begin(call))


def _at(steps: tuple[tuple[float, float], ...], now: float) -> float:
    return max(step for step in steps if step[0] <= now)[1]
