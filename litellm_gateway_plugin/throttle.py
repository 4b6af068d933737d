"""How much one upstream takes, learnt from what it refuses. Pure: every moment and all chance are given from outside.

A `Throttle` stands for an upstream (a model on an origin) or for an account (a key on an origin). Its rules:

1. Nobody goes before the time that a refusal has named. Without a name it is a delay with full jitter, which grows with
   each refusal in a row and begins anew after a success.
2. After a pause one request goes first, the trial. The others follow when it was accepted.
3. At most `limit` are in flight: additive growth while all is well, a cut to a little less than what was in service
   when a request is refused (AIMD, driven by losses alone: latency follows the length of an answer and says nothing).
4. A refusal shows the ceiling: one more than the requests of that moment that were not refused. The next look above it
   may cost a fifteenth of the time, so it comes fifteen pauses later, in growing steps, and after each look in vain
   twice as late, three times at most. A pause is here what a first refusal costs, not what an outage grew it to.
5. An upstream that refuses even one at a time counts requests per second: then the gap between two of them is learnt.

Refusals are fast and generations are slow: a request that was not refused for a while counts as accepted, however long
its answer takes. How long that while is follows from the refusals seen.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

FIRST_LIMIT = 8
"""Requests at a time to an upstream of which nothing is known."""
GROWTH = 1.5
"""By how much the limit grows, and later its steps, each time that all of it was used and nobody refused."""
KEPT = 0.9
"""The part of what was in service that stays in use after a refusal."""
PATIENCE_S = 0.1
"""Seconds without a refusal after which a request counts as accepted, as long as no refusal was slower."""
SLOWEST_REFUSAL_S = 5.0
FORGOTTEN = 0.9
"""What is left of the slowest refusal with each further one."""
FIRST_DELAY_S = 0.5
"""Full jitter without a hint: up to this many seconds, twice as many after each further refusal in a row."""
LONGEST_DELAY_S = 60.0
PAUSES_BETWEEN_LOOKS = 15
MOST_IN_VAIN = 3
"""Looks in vain that put the next one off twice as long."""
MANY_CALLS = 20
"""Served between two refusals: then the second one tells of something new."""
LONGEST_HOLD_S = 300.0
WIDER = 1.25
"""By how much the gap between two requests grows when it was too small."""
SMALLEST_GAP_S = 0.002
LONGEST_GAP_S = 2.0
"""What asks for a longer gap is an upstream that is full for others' sake: then pauses do, and hurt less later."""

Jitter = Callable[[float], float]
"""A random number of seconds between 0 and the given one."""


@dataclass(slots=True, eq=False)
class Trip:
    """One request under way.

    Attributes:
        sent_at: seconds on the throttle's clock; when it was let go, as long as it is not `sent`.
        sent: whether it is on its way; between both its event loop may have been busy with other things.
        settled: whether it was accepted, refused or given up.
    """

    sent_at: float
    sent: bool = False
    settled: bool = False


@dataclass(slots=True)
class Window:
    """What is learnt of an upstream, and shared with other processes.

    Attributes:
        limit: requests in flight at most.
        ceiling: the least number that was too many.
        step: by how much the limit grows next.
        look_at: when it may grow to the ceiling again.
        opens_at: nobody goes before.
        gap: seconds between two requests at least.
        refusals: in a row, counted by pauses.
        on_trial: whether the pause has not been followed by a success yet.
    """

    limit: float = FIRST_LIMIT
    ceiling: float = math.inf
    step: float = FIRST_LIMIT * (GROWTH - 1)
    look_at: float = 0.0
    opens_at: float = 0.0
    gap: float = 0.0
    refusals: int = 0
    on_trial: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the operator wants.

    Attributes:
        cooldown: seconds of pause at least, when the refusal names none.
        retry_after: seconds of pause at least, whatever the refusal names.
        most: requests in flight at most, math.inf for no bound.
        interval: seconds between two requests at least.
    """

    cooldown: float = 0.0
    retry_after: float = 0.0
    most: float = math.inf
    interval: float = 0.0


class Throttle:
    """The state of one upstream or account. Its caller holds a lock; nothing here waits.

    Args:
        bounds: what the operator wants.
        jitter: chance.
        first_limit: requests at a time before anything is known, math.inf for no limit.

    Attributes:
        window: what was learnt.
        in_flight: requests under way.
        unsent: those of them that were let go and are not on their way yet.
        share: this process's part of the limit, None when it is all its own.
        others: requests of other processes under way.
        may_try: whether this process may send the trial.
        slots: the moments given to this process when the interval is kept by many, None when it is all its own.
        version: grows with every change of `window` that other processes should know.
        used_at: when it was last asked for room.
    """

    __slots__ = (
        "_bounds", "_credit", "_crowd", "_in_vain", "_jitter", "_known", "_looking", "_moved_at",
        "_paused_at", "_proofs", "_refusal_s", "_served", "_trial", "in_flight", "last_sent", "may_try",
        "others", "share", "slots", "unsent", "used_at", "version", "window",
    )  # fmt: skip

    def __init__(self, bounds: Bounds, jitter: Jitter, first_limit: float = FIRST_LIMIT) -> None:
        first = min(first_limit, bounds.most)
        self._bounds = bounds
        self._jitter = jitter
        self.window = Window(limit=first, step=max(1.0, first * (GROWTH - 1)))
        self.in_flight = 0
        self.unsent = 0
        self.others = 0
        self.share: float | None = None
        self.may_try = True
        self.slots: deque[float] | None = None
        self.version = 0
        self.last_sent = -math.inf
        self.used_at = -math.inf
        self._trial: Trip | None = None
        self._credit = 0
        self._crowd = 0
        self._known: float | None = None
        self._looking = False
        self._in_vain = 0
        self._served = 0
        self._proofs = 0
        self._moved_at = -math.inf
        self._paused_at = -math.inf
        self._refusal_s = 0.0

    @property
    def patience(self) -> float:
        """Seconds after which a request that was not refused counts as accepted."""
        return max(PATIENCE_S, 2 * self._refusal_s)

    @property
    def allowed(self) -> float:
        """Requests of this process that may be in flight."""
        limit = min(self.window.limit, self._bounds.most)
        return limit if self.share is None else min(limit, self.share)

    def opens_at(self) -> float:
        """When the next request may go as far as time alone decides; math.inf when a slot has to be asked for."""
        if self.slots is not None:
            paced = self.slots[0] if self.slots else math.inf
        else:
            paced = self.last_sent + self._bounds.interval
        return max(self.window.opens_at, paced, self.last_sent + self.window.gap)

    def closed_until(self, ahead: int) -> float:
        """Until when it is certain that nobody goes who comes after so many others."""
        paced = self.last_sent + self._bounds.interval * (ahead + 1) if self.slots is None else -math.inf
        return max(self.window.opens_at, paced)

    def has_room(self, now: float) -> bool:
        """Whether one more may go now. Only who wants to go asks, so asking shows demand."""
        self.used_at = now
        if now < self.opens_at() or self._awaits_sending():
            return False
        if self.window.on_trial and self._trial is not None and now >= self._tried_at():
            self._succeeded()
        if self.window.on_trial:
            return self.may_try and self._trial is None and self.in_flight < max(1.0, self.allowed)
        if self.in_flight >= self.allowed and now >= self._grows_at():
            self._grow(now)
        return self.in_flight < self.allowed

    def is_open(self, now: float) -> bool:
        """Whether somebody who came now would go at once, as far as is known; for who only wants to know."""
        if now < self.opens_at() or self._awaits_sending():
            return False
        if self.window.on_trial and ((self._trial is not None and now < self._tried_at()) or not self.may_try):
            return False
        return self.in_flight < max(self.allowed, 1.0 if self.window.on_trial else 0.0) or now >= self._grows_at()

    def room_at(self, now: float) -> float:
        """When it is worth asking `has_room` again; math.inf when only an answer can change it."""
        opens_at = self.opens_at()
        if now < opens_at:
            return opens_at
        if self._awaits_sending():
            return math.inf
        return self._tried_at() if self.window.on_trial else self._grows_at()

    def go(self, now: float) -> Trip:
        """A request is let go; `send` follows when it is on its way."""
        self.in_flight += 1
        self.unsent += 1
        trip = Trip(now)
        if self.window.on_trial:
            self._trial = trip
        if self.slots:
            self.slots.popleft()
        self.last_sent = now
        return trip

    def may_send(self, trip: Trip, now: float) -> bool:
        """Whether a request that was let go may still go: nobody was refused in between."""
        return trip.sent or now >= self.window.opens_at

    def send(self, trip: Trip, now: float) -> None:
        """The request is on its way now."""
        if not trip.sent:
            trip.sent, trip.sent_at = True, now
            self.unsent -= 1
            self.last_sent = now

    def accepted(self, trip: Trip, now: float, *, demand: bool) -> None:
        """The request was let in. `demand` tells whether others are waiting."""
        if trip.settled:
            return
        trip.settled = True
        self._served += 1
        if trip.sent_at > self._paused_at:
            self._succeeded()
        self._narrow(now)
        if demand or self.in_flight >= self.allowed:
            self._credit += 1
            if self._credit >= self.allowed and self.window.limit < self._bounds.most and not self._is_capped(now):
                self._grow(now)

    def refused(self, trip: Trip, now: float, hint: float | None) -> float:
        """The request was refused; `done` follows.

        Args:
            trip: the request.
            now: seconds on the throttle's clock.
            hint: seconds that the refusal names, None without one.

        Returns:
            Seconds until the next one may go.
        """
        if not trip.settled:  # else it was let in, and broken off later
            took = min(SLOWEST_REFUSAL_S, now - trip.sent_at)
            self._refusal_s = max(took, FORGOTTEN * self._refusal_s)
        late = trip.settled and now >= self.window.opens_at
        trip.settled = True
        if trip.sent_at <= self._paused_at and not late:
            self._refused_again(now, hint)
        else:
            self._pause(now, hint)
        self.version += 1
        return max(0.0, self.window.opens_at - now)

    def done(self, trip: Trip) -> None:
        """The request's answer is complete, or it was given up."""
        self.in_flight -= 1
        trip.settled = True
        if not trip.sent:
            trip.sent = True
            self.unsent -= 1
        if trip is self._trial:
            self._trial = None

    def pause(self, now: float, seconds: float) -> None:
        """Nobody goes for so long: somebody else was refused."""
        if now + seconds > self.window.opens_at:
            self.window.opens_at = now + seconds
            self._paused_at = now
            self.version += 1

    def adopt(self, window: Window, now: float) -> None:
        """Take over what other processes have learnt."""
        if window.opens_at > self.window.opens_at:
            self._paused_at = now
        if window.limit != self.window.limit:
            self._credit = 0
            self._moved_at = now
        self.window = window

    def forget_requests(self) -> None:
        """None of the requests under way is ours any more (a forked child)."""
        self.in_flight = self.unsent = 0
        self._trial = self.share = self.slots = None
        self.may_try = True

    def _awaits_sending(self) -> bool:
        """Whether the next one has to wait until the last one is on its way, because they keep a distance."""
        return self.unsent > 0 and (self._bounds.interval > 0 or self.window.gap > 0)

    def _tried_at(self) -> float:
        """When the trial counts as accepted unless it is refused."""
        trial = self._trial
        return math.inf if trial is None or not trial.sent else trial.sent_at + self.patience

    def _is_capped(self, now: float) -> bool:
        """Whether the limit may not grow: the ceiling is near and it is too early to look above, or it is not used."""
        early = self.window.limit + 1 >= self.window.ceiling and now < self.window.look_at
        return early or self._is_unused()

    def _is_unused(self) -> bool:
        """Whether others leave much of the limit unused; then a process that is short of it needs a greater part."""
        limit = min(self.window.limit, self._bounds.most)
        return self.share is not None and self.in_flight + self.others < KEPT * limit

    def _grows_at(self) -> float:
        """When the limit grows because nobody was refused; never before its last growth is on its way."""
        window = self.window
        if window.limit >= self._bounds.most or self._is_unused():
            return math.inf
        if self.last_sent < self._moved_at or self.unsent:
            return math.inf
        at = self.last_sent + self.patience
        return max(at, window.look_at) if window.limit + 1 >= window.ceiling else at

    def _grow(self, now: float) -> None:
        window = self.window
        if window.limit + 1 >= window.ceiling:
            window.ceiling, window.step = math.inf, 1.0
            self._looking = True
        elif math.isinf(window.ceiling):
            self._looking, self._in_vain = False, 0
        window.limit = min(window.limit + window.step, window.ceiling - 1)
        window.step = math.ceil(window.step * GROWTH)
        self._credit = 0
        self._proofs = 0
        self._moved_at = now
        self.version += 1

    def _succeeded(self) -> None:
        window = self.window
        if window.on_trial or window.refusals:
            window.on_trial, window.refusals = False, 0
            self._trial = None
            self.version += 1

    def _pause(self, now: float, hint: float | None) -> None:
        """A first refusal: everybody waits, and the limit comes down."""
        window = self.window
        pause = self._delay(hint)
        window.opens_at = max(window.opens_at, now + pause)
        costs = max(hint or self._bounds.cooldown + FIRST_DELAY_S, self._bounds.retry_after) + self.patience
        hold = PAUSES_BETWEEN_LOOKS * costs * 2.0 ** min(self._in_vain, MOST_IN_VAIN)
        window.look_at = now + min(LONGEST_HOLD_S, hold)
        self._in_vain += self._looking
        self._looking = False
        self._crowd = self.in_flight - self.unsent + self.others
        self._known = window.ceiling if math.isinf(self._paused_at) or self._served >= MANY_CALLS else None
        if window.on_trial:  # it is closed still: that tells what is in service, and nothing of what it takes when open
            window.limit, window.step = max(1.0, min(window.limit, self._crowd - 1)), 1.0
            self._crowd = 0
        elif self._crowd > 1:
            self._cut()
        else:
            self._slow_down(now)
        window.refusals += 1
        window.on_trial = True
        self._trial = None
        self._credit = self._served = 0
        self._paused_at = now

    def _refused_again(self, now: float, hint: float | None) -> None:
        """It was sent before the pause began and belongs to the same refusal."""
        window = self.window
        if hint:
            window.opens_at = max(window.opens_at, now + max(hint, self._bounds.retry_after))
        if self._crowd > 1:
            self._crowd -= 1
            self._cut()

    def _cut(self) -> None:
        """So many were too many."""
        window = self.window
        if self._crowd <= 1 and self._known is not None:
            window.ceiling, window.limit, window.step = self._known, 1.0, 1.0  # all were refused: that shows no ceiling
            return
        window.ceiling = max(2.0, self._crowd)
        window.limit = max(1.0, math.floor(KEPT * (window.ceiling - 1)))
        window.step = 1.0

    def _slow_down(self, now: float) -> None:
        """Not even one at a time: with the second proof of that, requests per second are what is counted here."""
        window = self.window
        window.limit, window.step = 1.0, 1.0
        self._proofs += 1
        if window.gap:
            window.gap *= WIDER
        elif self._proofs > 1 and self._served:
            window.gap = max(SMALLEST_GAP_S, (now - self._paused_at) / self._served)
        window.gap = min(window.gap, LONGEST_GAP_S)

    def _narrow(self, now: float) -> None:
        """Try a smaller gap, as rarely as a higher limit."""
        window = self.window
        if window.gap and now >= window.look_at:
            window.gap = window.gap * KEPT if window.gap > SMALLEST_GAP_S else 0.0
            window.look_at = now + PAUSES_BETWEEN_LOOKS * window.gap
            self.version += 1

    def _delay(self, hint: float | None) -> float:
        """Seconds to pause. A hint is obeyed to the point the first time; one that was of no use gets jitter on top."""
        growing = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(self.window.refusals, 16))
        if not hint:
            return max(self._bounds.cooldown + self._jitter(growing), self._bounds.retry_after)
        more = self._jitter(growing / 2) if self.window.refusals else 0.0
        return max(hint + more, self._bounds.retry_after)
