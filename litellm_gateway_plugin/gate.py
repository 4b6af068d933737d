"""The gate: who may go to which upstream now, and who has to wait. It decides and wakes; the engine is what waits.

One gate serves all threads and event loops of a process. Every request passes two throttles: that of its upstream (a
model on an origin) and that of its account (a key on an origin). Who cannot go at once takes a place in line; the line
is served in the order of arrival, except that nobody waits behind somebody who waits for something else.

The lock is held for a few dictionary operations and never while anything waits. A moment that is to come is waited for
by one daemon thread, the pacemaker, which lives as long as there is a line: no event loop and no caller has to be alive
for the others to go on. What the garbage collector finds left behind comes back through a queue that takes no lock.
"""

from __future__ import annotations

import itertools
import math
import queue
import random
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .forking import renew_after_fork
from .shared_throttle import HOLD_S, News, SharedThrottle, Standing
from .throttle import FIRST_LIMIT, Bounds, Throttle, Trip

FULL = 429
"""The status to report when nobody has said another one."""
IDLE_S = 600.0
"""Seconds after which an upstream that nobody asks for is forgotten."""
MAX_THROTTLES = 4096
TAKE_S = 5.0
"""Seconds for which room is kept for somebody who does not come: an event loop may have been stopped for good."""
LINGER_S = 1.0
LONGEST_REST_S = 5.0
"""Seconds after which the pacemaker looks whether there still is a line."""
SHORTEST_BEAT_S = 0.001

Name = tuple[str, str, str]
"""What a throttle is for: "model" or "key", the origin, and the id or the key's fingerprint."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes.

    Attributes:
        upstream: the name of its upstream's throttle.
        account: the name of its account's.
    """

    upstream: Name
    account: Name

    @classmethod
    def of(cls, origin: str, model: str, account: str) -> Place:
        """The place of a model on an origin, asked for with a key of this fingerprint."""
        return cls(("model", origin, model.casefold()), ("key", origin, account))


@dataclass(frozen=True, slots=True)
class Closed:
    """Why somebody was sent away.

    Attributes:
        seconds: until the place opens, as far as is known; 0 when it is only crowded.
        words: what the gateway said when it last refused somebody with the same key.
        status: that it answered then, or 429.
    """

    seconds: float
    words: str = ""
    status: int = FULL


@dataclass(slots=True, eq=False)
class Ticket:
    """Somebody who wants to go.

    Args:
        places: where; the first one that opens is taken.
        expires_at: on the gate's clock, None for never.
        wake: called once, from any thread, when the ticket was served or sent away.
    """

    places: tuple[Place, ...]
    expires_at: float | None
    wake: Callable[[], None]
    number: int = -1
    granted: Pass | None = None
    closed: Closed | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What is told of one throttle.

    Attributes:
        name: of the throttle.
        throttle: itself; only the gate touches it.
        standing: what the others are to know.
    """

    name: Name
    throttle: SharedThrottle
    standing: Standing


@dataclass(slots=True, eq=False)
class _Line:
    place: Place
    upstream: SharedThrottle
    account: SharedThrottle
    tickets: OrderedDict[int, Ticket] = field(default_factory=OrderedDict)

    def first(self) -> int:
        return next(iter(self.tickets))


class Pass:
    """The right to have one request under way. It is given back with `leave`, or when nobody holds it any more."""

    __slots__ = ("__weakref__", "_epoch", "_gate", "_left", "_of_account", "_of_upstream", "place")

    def __init__(self, gate: Gate, place: Place, of_upstream: tuple[Throttle, Trip], of_account: tuple[Throttle, Trip]):
        self.place = place
        self._gate = gate
        self._of_upstream = of_upstream
        self._of_account = of_account
        self._epoch = gate._epoch
        self._left = False

    def send(self) -> bool:
        """The request is on its way from now on; False when it must not, because somebody was refused in between."""
        return self._gate._send(self)

    def accepted(self) -> None:
        """The request was let in."""
        self._gate._accepted(self)

    def refused(self, hint: float | None, words: str, *, account: bool, status: int = FULL) -> float:
        """The request was refused; the pass is given back.

        Args:
            hint: seconds that the refusal names, None without one.
            words: what the gateway said, without any credential.
            account: whether it was about the account and not about the model.
            status: that it answered.

        Returns:
            Seconds until the next one may go.
        """
        said = _Said(self.place.account, words, status)
        return self._gate._refused(self, self._of_account if account else self._of_upstream, hint, said)

    def leave(self) -> None:
        """The request is over. May be called twice, from any thread."""
        if not self._left:
            self._gate._leave(self)

    def _is_sent(self) -> bool:
        return all(trip.sent for _, trip in self._parts())

    def _parts(self) -> tuple[tuple[Throttle, Trip], tuple[Throttle, Trip]]:
        return self._of_upstream, self._of_account

    def __del__(self) -> None:
        """The collector runs anywhere, also inside the gate's lock: only the queue may be touched."""
        if not self._left:
            self._left = True
            self._gate._left_behind.put(_Ghost(self._epoch, self._parts()))


@dataclass(slots=True, eq=False)
class _Ghost:
    """What is left of a pass that nobody gave back."""

    epoch: object
    parts: tuple[tuple[Throttle, Trip], tuple[Throttle, Trip]]


@dataclass(frozen=True, slots=True)
class _Said:
    """A refusal, and to which account it was said: another one's words are nobody's business."""

    account: Name
    words: str
    status: int


class Gate:
    """See the module.

    Args:
        upstreams: the operator's bounds for an upstream.
        accounts: those for an account.
        clock: monotonic seconds.
        chance: a random number of seconds between 0 and the given one.
        pacemaker: whether moments to come are waited for; a simulation calls `beat` itself.
    """

    def __init__(
        self,
        upstreams: Bounds = Bounds(),  # noqa: B008  a frozen value
        accounts: Bounds = Bounds(),  # noqa: B008  as above
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float], float] = lambda seconds: random.uniform(0.0, seconds),  # noqa: S311  no secret
        *,
        pacemaker: bool = True,
    ) -> None:
        self._bounds = {"model": upstreams, "key": accounts}
        self._clock = clock
        self._chance = chance
        self._numbers = itertools.count()
        self._throttles: dict[Name, SharedThrottle] = {}
        self._said: dict[Name, _Said] = {}
        self._lines: dict[Place, _Line] = {}
        self._upstreams: dict[Name, dict[Place, _Line]] = {}
        self._sweep_at = clock() + IDLE_S
        self._has_pacemaker = pacemaker
        self.shared: Callable[[], None] = _nothing
        self._ask_others: Callable[[], None] | None = None
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._left_behind: queue.SimpleQueue[_Ghost | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._beats_at = math.inf
        self._granted: deque[tuple[float, weakref.ref[Pass]]] = deque()
        self._epoch = object()  # a pass of the parent's is of no meaning in a forked child

    def ask(self, ticket: Ticket) -> bool:
        """Take a place in line.

        Returns:
            True when `ticket.granted` or `ticket.closed` is set at once; otherwise `ticket.wake` will be called, and
            who does not want to wait for it calls `withdraw`.
        """
        with self._lock:
            now = self._clock()
            self._welcome_back(now)
            again = ticket.number >= 0
            if not again:
                ticket.number = next(self._numbers)
            if self._ask_others is not None and ticket.expires_at is not None and ticket.expires_at < now + HOLD_S:
                self._hurry(ticket, now)
            if self._lines or not self._grant_first(ticket, now):
                self._line_up(ticket, now, again=again)
            woken = self._serve(now) if self._lines else []
            self._arm(now)
        self._wake(each for each in woken if each is not ticket)
        return ticket.granted is not None or ticket.closed is not None

    def withdraw(self, ticket: Ticket) -> Closed | None:
        """Nobody waits for this ticket any more.

        Returns:
            How things stand when it was still waiting, None when it had been served or sent away in the meantime.
        """
        with self._lock:
            waiting = ticket.granted is None and ticket.closed is None
            closed = self._state(ticket, self._clock()) if waiting else None
            self._remove(ticket)
        return closed

    def wait_for(self, places: Iterable[Place]) -> list[float]:
        """For each place the seconds for which somebody who comes now would wait at least; math.inf when not known."""
        with self._lock:
            now = self._clock()
            self._welcome_back(now)
            return [self._wait_for(place, now) for place in places]

    def is_paused(self, place: Place) -> bool:
        """Whether a refusal keeps everybody from going there now. Nothing is kept of a place that was never asked."""
        with self._lock:
            known = (self._throttles.get(name) for name in (place.upstream, place.account))
            return any(throttle is not None and throttle.window.opens_at > self._clock() for throttle in known)

    def pause(self, place: Place, seconds: float) -> None:
        """A request to this upstream that did not come through here was refused."""
        with self._lock:
            self._throttle(place.upstream).pause(self._clock(), seconds)
            self._said.pop(place.upstream, None)
            woken = self._send_away(place.upstream)
        self._wake(woken)
        self.shared()

    def beat(self) -> float:
        """Serve whoever can go by now. Returns when to be called again; math.inf when nothing is to come."""
        with self._lock:
            now = self._clock()
            self._welcome_back(now)
            woken = self._serve(now)
            self._beats_at = self._next_beat(now)
        self._wake(woken)
        return self._beats_at

    def join(self, ask_others: Callable[[], None]) -> None:
        """There are other processes. `ask_others` has `survey` and `learn` called soon, without a lock or a wait."""
        with self._lock:
            self._ask_others = ask_others
            for throttle in self._throttles.values():
                throttle.join(ask_others)

    def part(self) -> None:
        """The other processes cannot be reached: from now on this one goes by what it knows itself."""
        with self._lock:
            self._ask_others = None
            for throttle in self._throttles.values():
                throttle.part()
            woken = self._serve(self._clock())
            self._arm(self._clock())
        self._wake(woken)

    def survey(self, recent: float) -> tuple[list[Told], bool]:
        """What other processes should know.

        Args:
            recent: seconds for which a throttle stays in use after somebody asked for room.

        Returns:
            What to tell of each throttle in use, and whether somebody waits or has asked recently.
        """
        with self._lock:
            now = self._clock()
            self._welcome_back(now)
            waiting = self._waiting()
            told, busy = [], False
            for name, throttle in self._throttles.items():
                asked = name in waiting or throttle.used_at > now - recent
                busy = busy or asked
                if asked or throttle.in_flight or throttle.is_member:
                    leaving = not asked and not throttle.in_flight
                    standing = throttle.standing(waiting.get(name, 0), now, leaving=leaving)
                    told.append(Told(name, throttle, standing))
        return told, busy

    def learn(self, answers: Iterable[tuple[Told, News]]) -> None:
        """What the other processes have answered."""
        with self._lock:
            now = self._clock()
            for told, news in answers:
                told.throttle.learn(news, told.standing, now)
            woken = self._serve(now) if self._lines else []
            self._arm(now)
        self._wake(woken)

    def after_fork(self) -> None:
        """This is a forked child: who waits, and what is under way, is the parent's."""
        for line in self._lines.values():
            line.tickets.clear()
        self._lines.clear()
        self._upstreams.clear()
        for throttle in self._throttles.values():
            throttle.forget_requests()
        self._begin()

    def _send(self, passed: Pass) -> bool:
        with self._lock:
            now = self._clock()
            if passed._left or not all(throttle.may_send(trip, now) for throttle, trip in passed._parts()):
                return False
            for throttle, trip in passed._parts():
                throttle.send(trip, now)
            woken = self._serve(now) if self._lines else []
            self._arm(now)
        self._wake(woken)
        return True

    def _accepted(self, passed: Pass) -> None:
        with self._lock:
            now = self._clock()
            (upstream, one), (account, other) = passed._parts()
            on_trial = upstream.window.on_trial or account.window.on_trial
            upstream.accepted(one, now, demand=passed.place.upstream in self._upstreams)
            account.accepted(other, now, demand=bool(self._lines))
            woken = self._serve(now) if self._lines else []
            self._arm(now)
        self._wake(woken)
        if on_trial:  # the others wait for its outcome
            self.shared()

    def _refused(self, passed: Pass, by: tuple[Throttle, Trip], hint: float | None, said: _Said) -> float:
        account = by is passed._of_account
        name = passed.place.account if account else passed.place.upstream
        with self._lock:
            now = self._clock()
            seconds = by[0].refused(by[1], now, hint)
            self._said[name] = said
            woken = self._send_away(name)
            self._end(passed)
            woken += self._serve(now) if self._lines else []
            self._arm(now)
        self._wake(woken)
        self.shared()
        return seconds

    def _leave(self, passed: Pass) -> None:
        with self._lock:
            now = self._clock()
            self._end(passed)
            woken = self._serve(now) if self._lines else []
            self._arm(now)
        self._wake(woken)

    def _end(self, passed: Pass) -> None:
        if passed._left:
            return
        passed._left = True
        if passed._epoch is self._epoch:
            for throttle, trip in passed._parts():
                throttle.done(trip)

    def _welcome_back(self, now: float) -> None:
        """What the collector found, and what time has done."""
        found = False
        while not self._left_behind.empty():
            try:
                ghost = self._left_behind.get_nowait()
            except queue.Empty:  # the pacemaker was faster
                break
            found = True
            for throttle, trip in ghost.parts if ghost and ghost.epoch is self._epoch else ():
                throttle.done(trip)
        if found and self._thread not in (None, threading.current_thread()):
            self._left_behind.put(None)  # it was the pacemaker's call, too
        self._take_back(now)
        if now >= self._sweep_at or len(self._throttles) > MAX_THROTTLES:
            self._sweep(now)

    def _take_back(self, now: float) -> None:
        """What was granted to somebody who has not come for it. Should he come after all, he has to ask again."""
        while self._granted:
            granted_at, kept = self._granted[0]
            passed = kept()
            if passed is not None and not passed._left and not passed._is_sent():
                if now < granted_at + TAKE_S:
                    return
                self._end(passed)
            self._granted.popleft()

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + IDLE_S
        idle = IDLE_S if len(self._throttles) <= MAX_THROTTLES else 0.0
        in_use = {name for place in self._lines for name in (place.upstream, place.account)}
        for name, throttle in list(self._throttles.items()):
            if throttle.in_flight or name in in_use or throttle.opens_at() > now or throttle.used_at > now - idle:
                continue
            del self._throttles[name]
            self._said.pop(name, None)

    def _throttle(self, name: Name) -> SharedThrottle:
        throttle = self._throttles.get(name)
        if throttle is None:
            first_limit = math.inf if name[0] == "key" else FIRST_LIMIT
            throttle = SharedThrottle(self._bounds[name[0]], self._chance, first_limit)
            if self._ask_others is not None:
                throttle.join(self._ask_others)
            self._throttles[name] = throttle
        return throttle

    def _waiting(self) -> dict[Name, int]:
        waiting: dict[Name, int] = {}
        for place, line in self._lines.items():
            for name in (place.upstream, place.account):
                waiting[name] = waiting.get(name, 0) + len(line.tickets)
        return waiting

    def _hurry(self, ticket: Ticket, now: float) -> None:
        for place in ticket.places:
            self._throttle(place.upstream).hurry(now)
            self._throttle(place.account).hurry(now)

    def _grant_first(self, ticket: Ticket, now: float) -> bool:
        """Serve a ticket at once, when nobody is in front of it."""
        for place in ticket.places:
            upstream, account = self._throttle(place.upstream), self._throttle(place.account)
            if upstream.has_room(now) and account.has_room(now):
                self._grant(ticket, place, upstream, account, now)
                return True
        return False

    def _grant(self, ticket: Ticket, place: Place, upstream: Throttle, account: Throttle, now: float) -> None:
        ticket.granted = Pass(self, place, (upstream, upstream.go(now)), (account, account.go(now)))
        self._granted.append((now, weakref.ref(ticket.granted)))

    def _line_up(self, ticket: Ticket, now: float, *, again: bool) -> None:
        ticket.closed = self._hopeless(ticket, now, newcomer=not again)
        if ticket.closed is not None:
            return
        for place in ticket.places:
            line = self._lines.get(place)
            if line is None:
                line = _Line(place, self._throttle(place.upstream), self._throttle(place.account))
                self._lines[place] = self._upstreams.setdefault(place.upstream, {})[place] = line
            line.tickets[ticket.number] = ticket
            if again:  # it has been served before, and goes on with the same call
                line.tickets.move_to_end(ticket.number, last=False)

    def _serve(self, now: float) -> list[Ticket]:
        """Whoever can go now, in the order of arrival."""
        served: list[Ticket] = []
        while ready := list(self._ready(now)):
            line = min(ready, key=_Line.first)
            ticket = line.tickets[line.first()]
            self._grant(ticket, line.place, line.upstream, line.account, now)
            self._remove(ticket)
            served.append(ticket)
        return served

    def _ready(self, now: float) -> Iterator[_Line]:
        """The lines that move. An upstream without room is looked at once, however many keys wait for it."""
        for lines in self._upstreams.values():
            if next(iter(lines.values())).upstream.has_room(now):
                yield from (line for line in lines.values() if line.account.has_room(now))

    def _remove(self, ticket: Ticket) -> None:
        for place in ticket.places:
            line = self._lines.get(place)
            if line is not None and line.tickets.pop(ticket.number, None) is not None and not line.tickets:
                del self._lines[place], self._upstreams[place.upstream][place]
                if not self._upstreams[place.upstream]:
                    del self._upstreams[place.upstream]

    def _send_away(self, name: Name) -> list[Ticket]:
        """Who cannot wait for as long as this place is closed now is told so at once."""
        now, opens_at = self._clock(), self._throttle(name).closed_until(0)
        concerned = [line for place, line in self._lines.items() if name in (place.upstream, place.account)]
        away = [
            ticket for line in concerned for ticket in line.tickets.values() if self._has_no_hope(ticket, now, opens_at)
        ]
        for ticket in away:
            self._remove(ticket)
        return away

    def _has_no_hope(self, ticket: Ticket, now: float, opens_at: float) -> bool:
        """A ticket in several lines is met in each; most can wait, and that is seen without a closer look."""
        if ticket.closed is not None or ticket.expires_at is None or ticket.expires_at > opens_at:
            return False
        ticket.closed = self._hopeless(ticket, now)
        return ticket.closed is not None

    def _hopeless(self, ticket: Ticket, now: float, *, newcomer: bool = False) -> Closed | None:
        """How things stand when no place opens before the ticket expires, as far as is known."""
        if ticket.expires_at is None:
            return None
        state = self._state(ticket, now, newcomer=newcomer)
        return state if state.seconds and now + state.seconds >= ticket.expires_at else None

    def _state(self, ticket: Ticket, now: float, *, newcomer: bool = False) -> Closed:
        states = (self._closed(place, now, newcomer=newcomer) for place in ticket.places)
        return min(states, key=lambda each: each.seconds)

    def _closed(self, place: Place, now: float, *, newcomer: bool) -> Closed:
        ahead = self._in_line(place.account) if newcomer and self._bounds["key"].interval else 0
        of_upstream = self._throttle(place.upstream).closed_until(0), place.upstream
        of_account = self._throttle(place.account).closed_until(ahead), place.account
        opens_at, name = max(of_upstream, of_account)
        said = self._said.get(name)
        if said is None:
            return Closed(max(0.0, opens_at - now))
        words = said.words if said.account == place.account else ""
        return Closed(max(0.0, opens_at - now), words, said.status)

    def _in_line(self, account: Name) -> int:
        return sum(len(line.tickets) for place, line in self._lines.items() if place.account == account)

    def _wait_for(self, place: Place, now: float) -> float:
        upstream, account = self._throttle(place.upstream), self._throttle(place.account)
        if self._ask_others is not None:  # others may know more, soon
            for throttle in (upstream, account):
                throttle.used_at = now
                throttle.is_held(now)
        if place not in self._lines and upstream.is_open(now) and account.is_open(now):
            return 0.0
        opens_at = max(upstream.opens_at(), account.opens_at())
        return opens_at - now if opens_at > now else math.inf

    def _next_beat(self, now: float) -> float:
        self._take_back(now)
        soonest = min((self._moves_at(lines, now) for lines in self._upstreams.values()), default=math.inf)
        if self._lines and self._granted:
            soonest = min(soonest, self._granted[0][0] + TAKE_S)
        return max(soonest, now + SHORTEST_BEAT_S)

    def _moves_at(self, lines: Mapping[Place, _Line], now: float) -> float:
        upstream = next(iter(lines.values())).upstream
        if not upstream.has_room(now):
            return upstream.room_at(now)
        return min(line.account.room_at(now) for line in lines.values())

    def _wake(self, tickets: Iterable[Ticket]) -> None:
        pending = list(tickets)
        while pending:
            lost = [ticket.granted for ticket in pending if not _is_told(ticket) and ticket.granted is not None]
            pending = self._pass_on(lost) if lost else []

    def _pass_on(self, lost: Iterable[Pass]) -> list[Ticket]:
        """Somebody else gets what was granted to those who are gone."""
        with self._lock:
            for passed in lost:
                self._end(passed)
            return self._serve(self._clock())

    def _arm(self, now: float) -> None:
        """Have the pacemaker look in time, when there is a line."""
        if not self._lines or not self._has_pacemaker:
            return
        if self._thread is None or not self._thread.is_alive():
            self._start_pacemaker()
        elif (at := self._next_beat(now)) < self._beats_at:
            self._beats_at = at
            self._left_behind.put(None)

    def _start_pacemaker(self) -> None:
        self._beats_at = -math.inf
        self._thread = threading.Thread(target=self._pace, name="litellm-gateway-pacemaker", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads: each call goes on with its own time limit, and the next one tries again
            self._thread = None

    def _pace(self) -> None:
        me = threading.current_thread()
        while self._thread is me:
            at = self.beat()
            self._rest(at)
            with self._lock:
                if not self._lines and self._left_behind.empty() and self._thread is me:
                    self._thread = None

    def _rest(self, at: float) -> None:
        """Until then, or until something comes back; for a moment when there is nothing to wait for."""
        seconds = LINGER_S if not self._lines else min(LONGEST_REST_S, max(0.0, at - self._clock()))
        try:
            ghost = self._left_behind.get(timeout=seconds)
        except queue.Empty:
            return
        if ghost is not None:
            self._left_behind.put(ghost)


def _is_told(ticket: Ticket) -> bool:
    """Wake somebody; False when his event loop is closed, and nobody in it waits any more."""
    try:
        ticket.wake()
    except RuntimeError:
        return False
    return True


def _nothing() -> None:
    """What is told to nobody."""
