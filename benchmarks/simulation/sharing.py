"""A stand-in for shared knowledge: every 50 ms the throttles of all processes tell what happened and are told.

What is learnt is learnt by a `Throttle` as well, the one in the middle, which is told of everybody's requests. Each
process takes over its window and gets a part of its limit, by who waits; together the parts are at most the limit, or
what is under way when that is more. After a pause one process may send the trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from litellm_gateway_plugin.throttle import Bounds, Throttle, Trip

from .world import Call, World


class Sharing:
    """What happened since the last exchange, and the throttle in the middle."""

    EVERY_S = 0.05

    def __init__(self, throttles: list[Throttle], world: World) -> None:
        self._throttles = throttles
        self._world = world
        self.middle = Throttle(Bounds(), lambda seconds: world.chance.uniform(0.0, seconds))
        self._trips: dict[Call, Trip] = {}
        self._went: list[tuple[Call, float]] = []
        self._news: list[Callable[[float, bool], None]] = []
        self._seen = [-1] * len(throttles)
        self._version = -1
        self._turn = 0

    def went(self, call: Call) -> None:
        self._went.append((call, self._world.now))

    def refused(self, call: Call, hint: float | None) -> None:
        self._news.append(lambda now, demand: self._refused(self._trips.pop(call), now, hint))

    def answered(self, call: Call) -> None:
        self._news.append(lambda now, demand: self._answered(self._trips.pop(call), now, demand))

    def exchange(self, waiting: Mapping[int, tuple[float, int]]) -> None:
        """Once around.

        Args:
            waiting: by process, the birth of its oldest waiting call, and how many wait.
        """
        now, middle = self._world.now, self.middle
        for call, moment in self._went:
            self._trips[call] = middle.go(moment)
        for tell in self._news:
            tell(now, bool(waiting))
        self._went, self._news = [], []
        if waiting:
            middle.has_room(now)  # as everybody who waits does: it lets the limit grow
        self._hand_out(waiting, now)

    def _refused(self, trip: Trip, now: float, hint: float | None) -> None:
        self.middle.refused(trip, now, hint)
        self.middle.done(trip)

    def _answered(self, trip: Trip, now: float, demand: bool) -> None:
        self.middle.accepted(trip, now, demand=demand)
        self.middle.done(trip)

    def _hand_out(self, waiting: Mapping[int, tuple[float, int]], now: float) -> None:
        window = self.middle.window
        news = self._version != self.middle.version
        oldest = min(waiting, key=lambda process: waiting[process][0], default=None)
        more = self._more(waiting)
        for process, throttle in enumerate(self._throttles):
            if news or throttle.version != self._seen[process]:
                throttle.adopt(replace(window), now)
                self._seen[process] = throttle.version
            throttle.share = throttle.in_flight + more.get(process, 0)
            throttle.may_try = process == oldest
        self._version = self.middle.version

    def _more(self, waiting: Mapping[int, tuple[float, int]]) -> dict[int, int]:
        """What is free, one by one: first to those who wait, the oldest first, then to the others in turn."""
        under_way = sum(throttle.in_flight for throttle in self._throttles)
        free = math.floor(self.middle.allowed) - under_way
        more: dict[int, int] = {}
        wanting = sorted(waiting, key=lambda process: waiting[process][0])
        while free > 0 and wanting:
            for process in wanting[:free]:
                more[process] = more.get(process, 0) + 1
            free -= len(wanting)
            wanting = [process for process in wanting if waiting[process][1] > more.get(process, 0)]
        for _ in range(min(free, len(self._throttles))):
            self._turn = (self._turn + 1) % len(self._throttles)
            more[self._turn] = more.get(self._turn, 0) + 1
        return more
