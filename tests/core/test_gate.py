"""Nothing here waits for time to pass, except where real threads are the subject; they have a deadline."""

from __future__ import annotations

import gc
import math
import os
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from litellm_gateway_plugin import gate as module
from litellm_gateway_plugin.gate import IDLE_S, MAX_THROTTLES, Closed, Gate, Name, Pass, Place, Ticket
from litellm_gateway_plugin.shared_throttle import SharedThrottle
from litellm_gateway_plugin.throttle import FIRST_LIMIT, PATIENCE_S, Bounds
from tests.support.core import Clock

ORIGIN = "https://llm.example.com"
PATIENCE = 60.0
X, Y, Z = (Place.of(ORIGIN, model, "key") for model in "xyz")


class Desk:
    """A gate with a clock that stands still, and who was woken in which order."""

    def __init__(self, most: float = math.inf, interval: float = 0.0) -> None:
        self.clock = Clock()
        upstreams, accounts = Bounds(most=most), Bounds(interval=interval)
        self.gate = Gate(upstreams, accounts, self.clock, lambda seconds: seconds / 2, pacemaker=False)
        self.woken: list[str] = []
        self.tickets: dict[str, Ticket] = {}

    def ask(self, name: str, *places: Place, within: float | None = None) -> Ticket:
        expires_at = None if within is None else self.clock() + within
        ticket = Ticket(places or (X,), expires_at, lambda: self._come(name))
        self.tickets[name] = ticket
        self.again(ticket)
        if ticket.granted is not None:
            ticket.granted.send()
        return ticket

    def _come(self, name: str) -> None:
        """Somebody is woken, and goes."""
        self.woken.append(name)
        passed = self.tickets[name].granted
        if passed is not None:
            passed.send()

    def again(self, ticket: Ticket) -> bool:
        served = self.gate.ask(ticket)
        assert served == (ticket.granted is not None or ticket.closed is not None)
        return served

    def go(self, *places: Place) -> Pass:
        """Somebody who need not wait, and is on the way."""
        ticket = self.ask("first", *places)
        assert ticket.granted is not None
        ticket.granted.send()
        return ticket.granted

    def fill(self, place: Place = X) -> list[Pass]:
        """Everybody for whom there is room."""
        passes = []
        while self.throttle(place.upstream).has_room(self.clock()):
            passes.append(self.go(place))
        return passes

    def throttle(self, name: Name) -> SharedThrottle:
        return self.gate._throttles[name] if name in self.gate._throttles else self.gate._throttle(name)

    def in_flight(self, place: Place = X) -> tuple[int, int]:
        return self.throttle(place.upstream).in_flight, self.throttle(place.account).in_flight

    def pass_(self, seconds: float) -> list[str]:
        """Time passes; who was woken by that."""
        before = len(self.woken)
        self.clock.pass_(seconds)
        self.gate.beat()
        return self.woken[before:]


def granted(ticket: Ticket) -> Pass:
    assert ticket.granted is not None
    return ticket.granted


# who goes when


def test_who_need_not_wait_is_not_woken() -> None:
    desk = Desk()
    assert desk.ask("a").granted is not None
    assert desk.woken == []
    assert desk.in_flight() == (1, 1)
    assert desk.gate._lines == {}


def test_the_line_is_served_in_the_order_of_arrival() -> None:
    desk = Desk(most=2)
    busy = desk.fill()
    names = [f"caller {number}" for number in range(6)]
    for name in names:
        assert desk.ask(name).granted is None
    for served in range(6):
        busy.pop(0).leave()
        assert desk.woken == names[: served + 1]
        busy.append(granted(desk.tickets[names[served]]))
    assert desk.in_flight() == (2, 2)


def test_nobody_overtakes_the_line_because_room_came_back_a_moment_ago() -> None:
    desk = Desk(most=1)
    (busy,) = desk.fill()
    desk.ask("old")
    busy._left = True  # its room comes back through the collector's queue, which is looked at when somebody asks
    desk.gate._left_behind.put(module._Ghost(busy._epoch, busy._parts()))
    assert desk.ask("new").granted is None
    assert desk.woken == ["old"]


def test_nobody_waits_behind_somebody_who_waits_for_another_model() -> None:
    desk = Desk()
    granted(desk.ask("a", X)).refused(30.0, "x is full", account=False)
    assert desk.ask("waits", X).granted is None
    assert desk.ask("free", Y).granted is not None
    assert desk.gate.wait_for((X, Y)) == [pytest.approx(30.0), 0.0]


def test_nobody_waits_behind_somebody_who_waits_for_another_key() -> None:
    desk = Desk()
    other = Place.of(ORIGIN, "x", "another key")
    granted(desk.ask("a", X)).refused(30.0, "your key is limited", account=True)
    assert desk.ask("waits", X).granted is None
    assert desk.ask("waits too", Y).granted is None
    assert desk.ask("free", other).granted is not None
    assert desk.ask("free too", other).granted is not None


def test_ids_differ_by_more_than_case_and_origins_do_not_know_each_other() -> None:
    desk = Desk()
    granted(desk.ask("a", X)).refused(30.0, "full", account=False)
    assert desk.ask("same model", Place.of(ORIGIN, "X", "key")).granted is None
    assert desk.ask("elsewhere", Place.of("https://other.example.com", "x", "key")).granted is not None


def test_a_ticket_for_two_places_takes_the_first_that_opens_and_only_that() -> None:
    desk = Desk()
    granted(desk.ask("x", X)).refused(30.0, "x is full", account=False)
    granted(desk.ask("y", Y)).refused(10.0, "y is full", account=False)
    ticket = desk.ask("either", X, Y)
    behind = desk.ask("x only", X)
    assert desk.pass_(10.0) == ["either"]
    assert granted(ticket).place == Y
    assert Y not in desk.gate._lines
    assert desk.pass_(20.0) == ["x only"]
    assert granted(behind).place == X
    assert (desk.in_flight(X)[0], desk.in_flight(Y)[0]) == (1, 1)


def test_a_ticket_for_two_places_goes_at_once_where_it_can() -> None:
    desk = Desk()
    granted(desk.ask("x", X)).refused(30.0, "x is full", account=False)
    assert granted(desk.ask("either", X, Y)).place == Y


def test_a_ticket_that_asks_again_keeps_its_number_and_goes_first() -> None:
    desk = Desk(most=1)
    first = desk.ask("first")
    desk.ask("second")
    desk.ask("third")
    number = first.number
    again = Ticket((X,), None, lambda: desk.woken.append("first again"), number)
    desk.again(again)
    assert again.number == number
    granted(first).leave()
    assert desk.woken == ["first again"]


# who leaves the line


def test_who_does_not_want_to_wait_any_more_is_told_how_things_stand_and_is_never_served() -> None:
    desk = Desk()
    granted(desk.ask("a")).refused(30.0, "words", account=False)
    ticket = desk.ask("b")
    desk.clock.pass_(12.0)
    assert desk.gate.withdraw(ticket) == Closed(18.0, "words")
    assert desk.gate._lines == {}
    assert desk.pass_(100.0) == []
    assert ticket.granted is None


def test_who_is_served_in_the_moment_of_withdrawing_keeps_the_pass() -> None:
    desk = Desk(most=1)
    (busy,) = desk.fill()
    ticket = desk.ask("b")
    busy.leave()
    assert desk.gate.withdraw(ticket) is None
    granted(ticket).leave()
    assert desk.in_flight() == (0, 0)


def test_who_cannot_wait_as_long_as_the_pause_is_sent_away_at_once() -> None:
    desk = Desk()
    granted(desk.ask("a")).refused(30.0, "come back later", account=False)
    assert desk.ask("short", within=29.0).closed == Closed(30.0, "come back later")
    assert desk.ask("exactly", within=30.0).closed is not None
    assert desk.ask("long", within=31.0).closed is None
    assert desk.ask("no bound").closed is None
    assert desk.woken == [], "who asks is answered and not woken"


def test_a_pause_that_comes_while_somebody_waits_sends_away_whom_it_is_too_long_for() -> None:
    desk = Desk(most=1)
    (busy,) = desk.fill()
    short, long = desk.ask("short", within=5.0), desk.ask("long", within=50.0)
    busy.refused(20.0, "full", account=False)
    assert desk.woken == ["short"]
    assert short.closed == Closed(20.0, "full")
    assert desk.pass_(20.0) == ["long"]
    granted(long)


def test_a_pause_that_grows_sends_away_too_and_a_free_place_elsewhere_keeps_the_hope() -> None:
    desk = Desk(most=1)
    busy = [*desk.fill(X), *desk.fill(Y)]
    short, either = desk.ask("short", X, within=5.0), desk.ask("either", X, Y, within=5.0)
    desk.gate.pause(X, 2.0)
    assert desk.woken == []
    desk.gate.pause(X, 20.0)
    assert desk.woken == ["short"]
    assert short.closed == Closed(20.0)
    assert either.closed is None
    desk.gate.pause(Y, 20.0)
    assert desk.woken == ["short", "either"]
    assert len(busy) == 2


def test_who_is_too_far_behind_for_the_operators_rate_is_sent_away_at_once_with_the_right_seconds() -> None:
    desk = Desk(interval=0.5)
    desk.go()
    for number in range(3):
        assert desk.ask(f"in line {number}", within=2.0).closed is None
    assert desk.ask("fourth", within=2.0).closed == Closed(2.0)
    assert desk.ask("patient", within=2.1).closed is None
    assert desk.ask("another model", Y, within=2.5).closed == Closed(2.5)
    for name in ("in line 0", "in line 1", "in line 2", "patient"):
        assert desk.pass_(0.5) == [name]
        granted(desk.tickets[name]).send()


def test_how_long_somebody_would_wait() -> None:
    desk = Desk(most=1)
    assert desk.gate.wait_for((X, Y)) == [0.0, 0.0]
    (busy,) = desk.fill()
    assert desk.gate.wait_for((X, Y)) == [math.inf, 0.0]
    busy.refused(3.0, "full", account=False)
    assert desk.gate.wait_for((X,)) == [pytest.approx(3.0)]
    desk.ask("waits")
    desk.clock.pass_(3.0)
    assert desk.gate.wait_for((X,)) == [math.inf], "somebody is in front, and it is not known for how long"


# what comes back


def test_a_pass_is_given_back_once_however_often_it_is_left() -> None:
    desk = Desk()
    passed = desk.go()
    for _ in range(3):
        passed.leave()
    passed.accepted()
    assert desk.in_flight() == (0, 0)


def test_a_refused_pass_is_given_back() -> None:
    desk = Desk()
    passed = desk.go()
    assert passed.refused(2.0, "full", account=False) == pytest.approx(2.0)
    passed.leave()
    assert desk.in_flight() == (0, 0)
    assert not desk.throttle(X.account).window.on_trial


def test_a_pass_that_nobody_holds_any_more_gives_its_room_back_and_the_next_one_goes() -> None:
    desk = Desk(most=1)
    desk.fill().clear()
    desk.tickets.clear()
    gc.collect()
    assert desk.gate._left_behind.qsize() == 1
    assert desk.ask("next").granted is not None
    desk.ask("waits")
    desk.tickets.pop("next")
    gc.collect()
    assert desk.pass_(0.0) == ["waits"]


def test_a_pass_is_dropped_inside_the_gates_lock_without_harm() -> None:
    desk = Desk(most=1)
    desk.fill().clear()
    with desk.gate._lock:
        desk.tickets.clear()
        gc.collect()
    assert desk.ask("next").granted is not None


def test_room_for_somebody_whose_event_loop_is_closed_goes_to_the_next() -> None:
    desk = Desk(most=1)
    (busy,) = desk.fill()

    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    gone = Ticket((X,), None, closed)
    desk.again(gone)
    desk.ask("next")
    busy.leave()
    assert desk.woken == ["next"]
    assert desk.in_flight() == (1, 1)


def test_the_gate_is_to_be_looked_at_when_the_pause_ends_and_not_without_a_line() -> None:
    desk = Desk()
    assert desk.gate.beat() == math.inf
    granted(desk.ask("a")).refused(7.0, "full", account=False)
    assert desk.gate.beat() == math.inf
    desk.ask("b")
    assert desk.gate.beat() == pytest.approx(desk.clock() + 7.0)
    desk.pass_(7.0)
    assert desk.gate.beat() == math.inf


def test_whoever_waits_for_two_reasons_is_looked_at_when_each_is_over() -> None:
    desk = Desk()
    first, second = desk.go(X), desk.go(X)
    first.refused(3.0, "model", account=False)
    second.refused(9.0, "key", account=True)
    desk.ask("c")
    began = desk.clock()
    assert desk.gate.beat() == pytest.approx(began + 3.0)
    desk.clock.pass_(3.5)
    assert desk.gate.beat() == pytest.approx(began + 9.0)


def test_silence_counts_as_acceptance_for_the_line() -> None:
    desk = Desk()
    busy = desk.fill()
    assert len(busy) == FIRST_LIMIT
    names = [str(number) for number in range(3)]
    for name in names:
        desk.ask(name)
    assert desk.pass_(PATIENCE_S / 2) == []
    assert desk.pass_(PATIENCE_S) == names


# what is remembered


def test_what_nobody_asks_for_is_forgotten() -> None:
    desk = Desk()
    desk.go(X).leave()
    held = desk.go(Y)
    granted(desk.ask("z", Z)).refused(2 * IDLE_S, "closed for long", account=False)
    desk.ask("waits", Z)
    desk.clock.pass_(IDLE_S)
    desk.gate.beat()
    desk.clock.pass_(1.0)
    desk.gate.beat()
    names = {name[2] for name in desk.gate._throttles if name[0] == "model"}
    assert names == {"y", "z"}
    assert {name: said.words for name, said in desk.gate._said.items()} == {Z.upstream: "closed for long"}
    held.leave()


def test_ten_thousand_ids_are_bounded_and_what_is_paused_used_or_waited_for_stays() -> None:
    desk = Desk()
    granted(desk.ask("paused", X)).refused(1000.0, "full", account=False)
    held = desk.go(Y)
    granted(desk.ask("short pause", Z)).refused(0.5, "full", account=False)
    desk.ask("waits", Z)
    for number in range(10_000):
        place = Place.of(ORIGIN, f"model {number}", "key")
        ticket = Ticket((place,), None, lambda: None)
        assert desk.gate.ask(ticket)
        granted(ticket).leave()
        desk.clock.pass_(0.001)
    assert len(desk.gate._throttles) <= MAX_THROTTLES + 2
    for place in (X, Y, Z):
        assert place.upstream in desk.gate._throttles
    assert desk.throttle(X.upstream).opens_at() > desk.clock()
    held.leave()
    assert desk.in_flight(Y)[0] == 0


# processes and threads


def held_by_a_thread(gate: Gate) -> bool:
    return gate._thread is not None and gate._thread.is_alive()


def pacemakers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "litellm-gateway-pacemaker"]


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it comes true; looked at again and again, because nothing tells of a thread's end."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return condition()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # that is the subject
def test_a_forked_child_has_nothing_under_way_no_line_and_no_thread_and_works() -> None:
    gate = Gate(Bounds(most=1))
    first, second = (Ticket((X,), None, lambda: None) for _ in range(2))
    assert gate.ask(first)
    assert not gate.ask(second)
    assert held_by_a_thread(gate)
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process, which must not run pytest's own end
        code = 1
        try:
            code = _in_the_child(gate)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    granted(first).leave()
    assert second.granted is not None
    granted(second).leave()
    assert gate._throttles[X.upstream].in_flight == 0


def _in_the_child(gate: Gate) -> int:
    """An exit code for each thing that may be wrong, 0 when all is well."""
    if gate._throttles[X.upstream].in_flight or gate._throttles[X.account].in_flight:
        return 2
    if gate._lines or gate._thread is not None:
        return 3
    arrived = threading.Event()
    mine, next_one = Ticket((X,), None, lambda: None), Ticket((X,), None, arrived.set)
    if not gate.ask(mine) or mine.granted is None:
        return 4
    if gate.ask(next_one) or not held_by_a_thread(gate):
        return 5
    mine.granted.leave()
    return 0 if arrived.wait(PATIENCE) else 6


def test_many_threads_leave_nothing_behind_and_never_exceed_the_limit() -> None:
    gate = Gate(Bounds(most=5))
    here, most, lock = Counter[str](), Counter[str](), threading.Lock()
    start = threading.Barrier(50)

    def work(number: int) -> int:
        chance = random.Random(number)
        start.wait(PATIENCE)
        return sum(_one_call(gate, chance, here, most, lock) for _ in range(200))

    with ThreadPoolExecutor(50) as pool:
        served = sum(pool.map(work, range(50)))
    assert served == 50 * 200
    assert set(most) == {"x", "y"}
    assert all(number <= 5 for number in most.values())
    assert [throttle.in_flight for throttle in gate._throttles.values()] == [0] * len(gate._throttles)
    assert gate._lines == {}


def _one_call(gate: Gate, chance: random.Random, here: Counter[str], most: Counter[str], lock: threading.Lock) -> int:
    place = chance.choice((X, Y))
    arrived = threading.Event()
    ticket = Ticket((place,), None, arrived.set)
    if not gate.ask(ticket):
        assert arrived.wait(PATIENCE), "nobody may be forgotten in the line"
    passed = granted(ticket)
    name = passed.place.upstream[2]
    with lock:
        here[name] += 1
        most[name] = max(most[name], here[name])
    passed.send()
    if chance.random() < 0.5:
        passed.accepted()
    with lock:
        here[name] -= 1
    if chance.random() < 0.02:  # now nobody goes but by the pacemaker
        gate.pause(place, 0.002)
    passed.leave()
    return 1


def test_the_pacemaker_serves_the_line_when_nobody_else_does_and_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.05)
    gate = Gate()
    arrived = threading.Event()
    first = Ticket((X,), None, lambda: None)
    assert gate.ask(first)
    granted(first).refused(0.05, "full", account=False)
    assert not held_by_a_thread(gate), "without a line there is nothing to wait for"
    ticket = Ticket((X,), None, arrived.set)
    assert not gate.ask(ticket)
    thread = gate._thread
    assert thread in pacemakers()
    assert arrived.wait(PATIENCE)
    granted(ticket).leave()
    assert soon(lambda: thread not in pacemakers())
    assert gate._thread is None


def test_the_pacemaker_is_told_when_something_is_to_come_sooner() -> None:
    gate = Gate()
    waits, arrived = Ticket((X,), None, lambda: None), threading.Event()
    for place, seconds in ((X, 1000.0), (Y, 0.05)):
        ticket = Ticket((place,), None, lambda: None)
        assert gate.ask(ticket)
        granted(ticket).refused(seconds, "full", account=False)
    assert not gate.ask(waits)
    assert soon(lambda: gate._beats_at > time.monotonic() + 100)
    assert not gate.ask(Ticket((Y,), None, arrived.set))
    assert arrived.wait(PATIENCE)
    gate.withdraw(waits)


def test_a_call_to_the_pacemaker_is_not_lost_to_somebody_who_asks_meanwhile() -> None:
    desk = Desk(most=1)
    gate, (busy,) = desk.gate, desk.fill()
    desk.ask("waits")
    gate._thread = threading.Thread()  # it is about to look into the queue
    for left_behind in (None, module._Ghost(busy._epoch, busy._parts())):
        gate._left_behind.put(left_behind)
        gate.wait_for((Y,))
        assert gate._left_behind.get_nowait() is None
    busy._left = True
    assert desk.woken == []
    gate.beat()
    assert desk.woken == ["waits"]


def test_the_pacemaker_ends_too_when_the_line_dissolves_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_REST_S", 0.01)
    gate = Gate(Bounds(most=1))
    first, second = Ticket((X,), None, lambda: None), Ticket((X,), None, lambda: None)
    assert gate.ask(first)
    granted(first).send()
    assert not gate.ask(second)
    thread = gate._thread
    assert soon(lambda: gate._beats_at == math.inf), "only an answer can change anything"
    granted(first).leave()
    granted(second).leave()
    assert soon(lambda: thread not in pacemakers())


def test_the_pacemaker_hands_on_what_was_left_behind() -> None:
    gate = Gate(Bounds(most=1))
    first, arrived = Ticket((X,), None, lambda: None), threading.Event()
    assert gate.ask(first)
    assert not gate.ask(Ticket((X,), None, arrived.set))
    first.granted = None
    gc.collect()
    assert arrived.wait(PATIENCE)


def test_a_queue_that_somebody_else_has_emptied_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    class Emptied:
        def empty(self) -> bool:
            return False

        def get_nowait(self) -> Any:
            raise queue.Empty

    monkeypatch.setattr(desk.gate, "_left_behind", Emptied())
    assert desk.ask("a").granted is not None


# who does not come any more


def test_a_closed_loop_with_a_thousand_waiters_costs_the_living_nothing() -> None:
    gate, arrived = Gate(Bounds(most=1), pacemaker=False), threading.Event()
    first = Ticket((X,), None, lambda: None)
    assert gate.ask(first)
    for _ in range(1000):
        assert not gate.ask(Ticket((X,), None, _closed_loop))
    living = Ticket((X,), None, arrived.set)
    assert not gate.ask(living)
    granted(first).leave()
    assert arrived.is_set()
    assert gate._throttle(X.upstream).in_flight == 1
    assert gate._lines == {}


def _closed_loop() -> None:
    raise RuntimeError("Event loop is closed")


def test_what_is_granted_and_not_taken_for_long_goes_to_the_next_and_has_to_be_asked_for_again() -> None:
    desk = Desk(most=1)
    never_comes = Ticket((X,), None, lambda: None)
    assert desk.gate.ask(never_comes)
    desk.ask("waits")
    assert desk.pass_(module.TAKE_S - 1) == []
    assert desk.pass_(2) == ["waits"]
    assert not granted(never_comes).send()
    granted(never_comes).leave()
    assert desk.in_flight() == (1, 1)


def test_a_pass_is_given_back_once_whatever_comes_together() -> None:
    desk = Desk()
    passed = desk.go()
    passed.leave()
    passed.refused(1.0, "full", account=False)
    passed.leave()
    assert desk.in_flight() == (0, 0)


def test_a_pass_of_the_parent_is_of_no_meaning_in_a_forked_child() -> None:
    desk = Desk(most=1)
    passed = desk.go()
    desk.gate.after_fork()
    passed.leave()
    assert desk.in_flight() == (0, 0)
    assert desk.ask("one").granted is not None
    assert desk.ask("two").granted is None


def test_what_was_said_to_one_key_is_not_told_to_another() -> None:
    desk = Desk()
    other = Place.of(ORIGIN, "x", "another key")
    granted(desk.ask("a", X)).refused(30.0, "org-1 is over its limit", account=False, status=503)
    mine, theirs = desk.ask("mine", X, within=5).closed, desk.ask("theirs", other, within=5).closed
    assert mine == Closed(30.0, "org-1 is over its limit", 503)
    assert theirs == Closed(30.0, "", 503)


def test_who_cannot_wait_at_all_goes_where_there_is_room_although_others_wait_elsewhere() -> None:
    desk = Desk()
    granted(desk.ask("a", X)).refused(30.0, "full", account=False)
    desk.ask("waits", X)
    assert desk.ask("now or never", Y, within=0).granted is not None
