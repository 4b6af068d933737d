"""A throttle that many processes share: what one tells the others, and what it makes of what they say. Pure.

1. What was learnt (the window) is one for all. Who has changed it proposes the change, and it counts when nobody was
   faster; who was not fast enough takes over the faster one's. A refusal is never lost by that, and the latest
   moment before which nobody may go always holds.
2. Each process gets a part of the limit, and of the moments when requests are spaced.
3. Who has not heard of the others for `FRESH_S` asks them before anything goes, and waits `HOLD_S` for that at most.

Without others all of it is as in `throttle`.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from .throttle import FIRST_LIMIT, Bounds, Jitter, Throttle, Trip, Window

FRESH_S = 0.05
"""Seconds for which it is good enough to have heard of the others."""
HOLD_S = 0.1
"""Seconds for which a request waits for news of the others, at most."""
AHEAD_S = 0.2
"""Moments are handed out for so many seconds in advance."""
LATE_S = 0.02
"""A moment that was missed by more is gone, so that two requests do not come together."""
HUGE = 1e15
FARTHEST_S = 2 * 3600.0
"""No pause is longer, whatever a window from outside says."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process tells of one throttle.

    Attributes:
        window: what it has learnt, its own copy.
        base: the name of the shared window that this one began from; "" for none.
        version: of the throttle, when this was written.
        changed: whether the window is news.
        refused: refusals that the others do not know of.
        in_flight: requests under way.
        waiting: requests in line.
        spacing: seconds between two requests at least, 0 for no spacing.
        trying: whether a trial is under way.
        slots: moments wanted.
        most: what the operator allows in flight, math.inf for no bound.
        leaving: whether the process has no more to do with it, for now.
    """

    window: Window
    base: str
    version: int
    changed: bool
    refused: int
    in_flight: int
    waiting: int
    trying: bool
    spacing: float
    slots: int
    most: float
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What the others answer. Moments are on the throttle's clock.

    Attributes:
        name: of the shared window.
        window: the shared window when it is another's, None when that told stands.
        opens_at: nobody goes before.
        share: this process's part of the limit, math.inf for no limit.
        may_try: whether it may send the trial.
        others: requests of the others under way.
        slots: its moments, None when requests are not spaced.
    """

    name: str
    window: Window | None
    opens_at: float
    share: float
    may_try: bool
    others: int
    slots: tuple[float, ...] | None


class SharedThrottle(Throttle):
    """See the module. Arguments as `Throttle`.

    Attributes:
        synced_at: when the others were heard of last; None while there are none.
        is_member: whether the others count this process.
    """

    __slots__ = ("_ask_others", "_asked_at", "_lost", "_paused", "base", "is_member", "said", "synced_at")

    def __init__(self, bounds: Bounds, jitter: Jitter, first_limit: float = FIRST_LIMIT) -> None:
        super().__init__(bounds, jitter, first_limit)
        self.synced_at: float | None = None
        self.is_member = False
        self.base = ""
        self.said = 0
        self._ask_others: Callable[[], None] = _nobody
        self._asked_at: float | None = None
        self._lost = 0
        self._paused = False

    def join(self, ask_others: Callable[[], None]) -> None:
        """There are others; `ask_others` asks for their news, takes no time and no lock."""
        self._ask_others = ask_others
        if self.synced_at is None:
            self.synced_at = -math.inf

    def part(self) -> None:
        """There are none any more."""
        self.synced_at = None
        self._be_alone()

    def has_room(self, now: float) -> bool:
        """As `Throttle.has_room`, and never before the others were heard of."""
        if self.synced_at is None:
            return super().has_room(now)
        self.used_at = now
        if self.is_held(now):
            return False
        self._miss_slots(now)
        room = super().has_room(now)
        if not room and (self._lacks_slots() or self._has_room_elsewhere(now)):
            self._ask_others()
        return room

    def room_at(self, now: float) -> float:
        """As `Throttle.room_at`."""
        if self._asked_at is not None and self.is_held(now):
            return self._asked_at + HOLD_S
        return super().room_at(now)

    def is_held(self, now: float) -> bool:
        """Whether the others have to be heard of first."""
        if self.synced_at is None or now < self.synced_at + FRESH_S:
            return False
        if self._asked_at is None:
            self._asked_at = now
            self._ask_others()
        return now < self._asked_at + HOLD_S

    def hurry(self, now: float) -> None:
        """Somebody is here who cannot wait for the others."""
        if self.is_held(now):
            self._asked_at = now - HOLD_S

    def refused(self, trip: Trip, now: float, hint: float | None) -> float:
        """As `Throttle.refused`."""
        self._lost += 1
        self._paused = self._paused or trip.sent_at >= self._paused_at
        return super().refused(trip, now, hint)

    def forget_requests(self) -> None:
        """As `Throttle.forget_requests`."""
        super().forget_requests()
        self._be_alone()
        if self.synced_at is not None:
            self.synced_at = -math.inf

    def standing(self, waiting: int, now: float, *, leaving: bool = False) -> Standing:
        """What the others are to know now."""
        if self.window.on_trial and now >= self._tried_at():
            self._succeeded()
        spacing = max(self._bounds.interval, self.window.gap)
        return Standing(
            replace(self.window),
            self.base,
            self.version,
            self.version != self.said,
            self._lost,
            self.in_flight,
            waiting,
            self._trial is not None,
            spacing,
            slots_wanted(waiting, spacing, len(self.slots or ())),
            self._bounds.most,
            leaving,
        )

    def learn(self, news: News, told: Standing, now: float) -> None:
        """The others' answer to what was told."""
        if self.synced_at is None:
            return
        self._asked_at = None
        if told.leaving:
            self.is_member = False
            self.synced_at = -math.inf
            self._be_alone()
            if self.in_flight:  # somebody came while it said farewell
                self._ask_others()
        else:
            self.is_member = True
            self.synced_at = now
            self.share, self.may_try, self.others = news.share, news.may_try, news.others
            self.slots = None if news.slots is None else deque((*(self.slots or ()), *news.slots))
        if news.window is None:
            self._stands(news, told, now)
        else:
            self._follow(news, news.window, now)

    def _stands(self, news: News, told: Standing, now: float) -> None:
        """What was told is what all go by."""
        self.base, self.said = news.name, told.version
        self._lost -= told.refused
        if not self._lost:
            self._paused = False
        self._wait_until(news.opens_at, now)

    def _follow(self, news: News, window: Window, now: float) -> None:
        """Somebody else was faster."""
        self.base = news.name
        if self._paused and not window.on_trial:  # they do not know of the refusal yet: it is told again
            self._wait_until(news.opens_at, now)
            return
        lost, self._lost, self._paused = self._lost, 0, False
        self.adopt(replace(window, opens_at=max(self.window.opens_at, news.opens_at)), now)
        self.said = self.version
        if lost and math.isfinite(window.ceiling):
            self._crowd = max(1, int(window.ceiling) - lost, self.in_flight + self.others)
            if self._crowd > 1:
                self._cut()
                self.version += 1

    def _wait_until(self, opens_at: float, now: float) -> None:
        if opens_at > max(self.window.opens_at, now):
            self.window.opens_at = opens_at
            self._paused_at = now

    def _be_alone(self) -> None:
        self.is_member = False
        self._asked_at = self.share = self.slots = None
        self.may_try = True
        self.others = 0

    def _miss_slots(self, now: float) -> None:
        while self.slots and self.slots[0] < now - max(LATE_S, self._bounds.interval / 4):
            self.slots.popleft()

    def _lacks_slots(self) -> bool:
        return self.slots is not None and not self.slots

    def _has_room_elsewhere(self, now: float) -> bool:
        """Whether there is room for all that is only not this process's."""
        limit = min(self.window.limit, self._bounds.most)
        return now >= self.opens_at() and not self.window.on_trial and self.in_flight + self.others + 1 <= limit


def slots_wanted(waiting: int, spacing: float, kept: int) -> int:
    """How many moments to ask for: one for each that waits, but no more than fit into `AHEAD_S`, and one at least."""
    if not spacing:
        return 0
    return max(0, min(waiting, max(1, math.ceil(AHEAD_S / spacing))) - kept)


@dataclass(slots=True)
class Moments:
    """The others' clock. What is converted is late by the length of a round trip at most, and never early.

    Attributes:
        ahead: what the others' clock was ahead of ours when a question was sent.
        behind: the same when its answer was here.
    """

    ahead: float = 0.0
    behind: float = -math.inf

    def saw(self, sent_at: float, theirs: float, here_at: float) -> None:
        """A round trip. One that took longer tells less, unless their clock was set anew."""
        ahead, behind = theirs - sent_at, theirs - here_at
        jumped = ahead < self.behind or behind > self.ahead
        if jumped or ahead - behind <= self.ahead - self.behind:
            self.ahead, self.behind = ahead, behind

    def theirs(self, ours: float) -> float:
        """A moment on their clock."""
        return ours + self.ahead

    def ours(self, theirs: float) -> float:
        """A moment on our clock."""
        return theirs - self.behind


def packed(window: Window, moments: Moments) -> str:
    """A window for the others, without the time that it opens at."""
    look_at = moments.theirs(window.look_at)
    numbers = (window.limit, window.ceiling, window.step, look_at, window.gap, window.refusals, int(window.on_trial))
    return json.dumps([number if math.isfinite(number) else None for number in numbers])


def unpacked(text: str, opens_at: float, moments: Moments) -> Window:
    """Another's window.

    Args:
        text: what `packed` made.
        opens_at: on our clock.
        moments: the others' clock.

    Raises:
        ValueError: it is none.
    """
    numbers = json.loads(text)
    if not isinstance(numbers, list) or len(numbers) != 7:
        raise ValueError("not a window")
    limit, ceiling, step, look_at, gap, refusals, on_trial = (_number(number) for number in numbers)
    if limit < 1 or gap < 0 or refusals < 0:
        raise ValueError("not a window")
    return Window(
        limit=limit,
        ceiling=max(2.0, ceiling),
        step=max(1.0, step),
        look_at=moments.ours(look_at),
        opens_at=opens_at,
        gap=gap,
        refusals=int(min(refusals, 1000)),
        on_trial=bool(on_trial),
    )


def _number(value: object) -> float:
    if value is None:
        return math.inf
    if not isinstance(value, (int, float)) or math.isnan(value):
        raise ValueError("not a window")
    return float(max(-HUGE, min(HUGE, value)))


def _nobody() -> None:
    """Who is asked when nobody is there."""
