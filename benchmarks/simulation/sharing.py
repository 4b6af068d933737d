"""What stands in for Redis and for the thread that talks to it: `Board` for sharing.lua, `Sharers` for sharing.py.

What is told and what is made of it is the package's own code: `Gate.survey`, `Gate.learn` and `SharedThrottle`. A board
answers by the rules of sharing.lua. Two things differ: it sorts who wants how much every 10 ms and not at each question
(with 1,000 processes that is what it costs), and no process dies, so that nobody has to be counted as gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from litellm_gateway_plugin.gate import Gate, Name, Told
from litellm_gateway_plugin.shared_throttle import News, Standing
from litellm_gateway_plugin.sharing import PERIOD_S, QUIET_PERIOD_S, RECENT_S, SHORTEST_S
from litellm_gateway_plugin.throttle import Window

from .world import World

ROUND_TRIP_S = 0.001
SORTED_EVERY_S = 0.01
TRIAL_S, TURN_S = 3.0, 0.5
"""As in sharing.lua."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of a process."""

    flying: int = 0
    want: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """How the limit is divided: max-min fairness in whole requests.

    Attributes:
        small: wants up to this are met.
        whole: what each of the others gets.
        more: so many of them get one more, in turn.
        ranks: of the others.
        spare: what each gets on top when all wants are met.
    """

    small: float
    whole: int
    more: int
    ranks: dict[int, int]
    spare: int

    @classmethod
    def of(cls, limit: int, wants: dict[int, int]) -> Parts:
        rest, order = limit, sorted(wants, key=lambda process: (wants[process], process))
        for met, process in enumerate(order):
            if wants[process] > rest / (len(order) - met):
                others = sorted(order[met:])
                whole, more = divmod(rest, len(others))
                return cls(wants[process] - 1, whole, more, {other: rank for rank, other in enumerate(others)}, 0)
            rest -= wants[process]
        return cls(math.inf, 0, 0, {}, (rest - math.ceil(rest / 4)) // max(1, len(order)))

    def part(self, process: int, want: int, now: float) -> int:
        if want <= self.small:
            return want + self.spare
        left = max(1, len(self.ranks))
        rank = self.ranks.get(process, process % left)
        return self.whole + ((rank + math.floor(now / TURN_S)) % left < self.more)


class Board:
    """One throttle of everybody."""

    def __init__(self) -> None:
        self.window = Window()
        self._name = 0
        self._opens_at = 0.0
        self._members: dict[int, Member] = {}
        self._flying = self._held = 0
        self._next_slot = 0.0
        self._holder: int | None = None
        self._held_until = 0.0
        self._parts: Parts | None = None
        self._sorted_at = -math.inf

    def sync(self, process: int, told: Standing, now: float) -> News:
        """One process tells, and is told."""
        taken = self._take(told)
        self._replace(process, Member())
        if told.leaving:
            del self._members[process]
            self._holder = None if self._holder == process else self._holder
            return self._news(told, 0.0, (), taken=taken, may_try=False)
        want, others_flying = told.in_flight + told.waiting, self._flying
        share = self._share(process, want, told, now)
        may_try = self._may_try(process, want, now)
        granted = 0 if math.isinf(share) else int(share)
        self._replace(process, Member(told.in_flight, want, max(told.in_flight, granted)))
        return self._news(told, share, self._slots(told, now), taken=taken, may_try=may_try, others=others_flying)

    def _take(self, told: Standing) -> bool:
        """Who began from the window that counts may replace it."""
        taken = not self._name or (told.changed and told.base == str(self._name))
        if taken:
            self.window = replace(told.window)
        if taken or (told.changed and told.window.opens_at > self._opens_at):
            self._opens_at = max(self._opens_at, told.window.opens_at)
            self._name += 1
        return taken

    def _replace(self, process: int, member: Member) -> None:
        before = self._members.get(process, Member())
        self._members[process] = member
        self._flying += member.flying - before.flying
        self._held += member.held - before.held

    def _share(self, process: int, want: int, told: Standing, now: float) -> float:
        limit = min(self.window.limit, told.most)
        if math.isinf(limit):
            return math.inf
        room = max(1, math.floor(limit))
        if self._parts is None or now >= self._sorted_at + SORTED_EVERY_S:
            wants = {one: member.want for one, member in self._members.items()}
            self._parts, self._sorted_at = Parts.of(room, {**wants, process: want}), now
        return max(0, min(self._parts.part(process, want, now), room - self._held))

    def _may_try(self, process: int, want: int, now: float) -> bool:
        if not self.window.on_trial:
            self._holder = None
            return True
        holder = self._holder
        known = holder is not None and (holder == process or self._members.get(holder, Member()).want > 0)
        if not known or now >= self._held_until:
            self._holder = process if want else None
            self._held_until = max(now, self._opens_at) + TRIAL_S
        return self._holder == process

    def _slots(self, told: Standing, now: float) -> tuple[float, ...] | None:
        if not told.spacing:
            return None
        first = max(now, self._opens_at, self._next_slot)
        self._next_slot = first + told.slots * told.spacing
        return tuple(first + number * told.spacing for number in range(told.slots))

    def _news(
        self,
        told: Standing,
        share: float,
        slots: tuple[float, ...] | None,
        *,
        taken: bool,
        may_try: bool,
        others: int = 0,
    ) -> News:
        name = str(self._name)
        window = None if taken or name == told.base else replace(self.window, opens_at=self._opens_at)
        return News(name, window, self._opens_at, share, may_try, others, slots)


class Sharers:
    """For each process what its thread does: a round trip every 35 ms while requests come, and when it is nudged."""

    def __init__(self, world: World, gates: list[Gate], after: Callable[[int], None]) -> None:
        self.boards: dict[Name, Board] = {}
        self.trips = 0
        self._world = world
        self._gates = gates
        self._after = after
        self._due = [math.inf] * len(gates)
        for process, gate in enumerate(gates):
            gate.shared = lambda process=process: self.nudge(process)
            gate.join(gate.shared)

    def nudge(self, process: int) -> None:
        """There is something to tell or to ask."""
        self._plan(process, SHORTEST_S)

    def _plan(self, process: int, seconds: float) -> None:
        at = self._world.now + seconds
        if at < self._due[process]:
            self._due[process] = at
            self._world.at(at, lambda: self._turn(process, at))

    def _turn(self, process: int, at: float) -> None:
        if self._due[process] != at:
            return
        self._due[process] = math.inf
        told, busy = self._gates[process].survey(RECENT_S)
        if not told:
            return
        self.trips += 1
        boards = [self.boards.setdefault(each.name, Board()) for each in told]
        answers = [(each, board.sync(process, each.standing, at)) for each, board in zip(told, boards, strict=True)]
        self._world.at(at + ROUND_TRIP_S, lambda: self._learn(process, answers))
        self._plan(process, PERIOD_S if busy else QUIET_PERIOD_S)

    def _learn(self, process: int, answers: list[tuple[Told, News]]) -> None:
        self._gates[process].learn(answers)
        self._after(process)
