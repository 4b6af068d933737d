from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from litellm_gateway_plugin.admission import CROWDED_S, Admission, Reserved, refuse, reserved
from litellm_gateway_plugin.credentials import fingerprint
from litellm_gateway_plugin.errors import Full
from litellm_gateway_plugin.gate import Gate, Pass, Place, Ticket
from litellm_gateway_plugin.negotiation import Ask
from litellm_gateway_plugin.throttle import Bounds
from litellm_gateway_plugin.wire import Deadline
from tests.support.core import BASE, KEY, Clock, ask, policy

MODEL = "vendor/model"
PATIENCE = 60.0
LONG = 3600.0


def admission(
    gate: Gate | None,
    timeout: float | None = PATIENCE,
    longest: float | None = None,
    elsewhere: Callable[[], bool] | None = None,
    wanted: Ask | None = None,
) -> Admission:
    return Admission(gate, wanted or ask(), Deadline(timeout), longest, elsewhere, time.monotonic)


def narrow() -> Gate:
    """One at a time."""
    return Gate(Bounds(most=1))


def closed(gate: Gate, seconds: float = LONG, words: str = "We are full.") -> Gate:
    granted(gate).refused(seconds, words, account=False)
    return gate


def place(model: str = MODEL) -> Place:
    return Place.of(ask().base.origin, model, fingerprint(KEY))


def in_flight(gate: Gate) -> int:
    return gate._throttle(place().upstream).in_flight


def in_line(gate: Gate) -> int:
    with gate._lock:
        return sum(len(line.tickets) for line in gate._lines.values())


def soon(condition: Callable[[], bool]) -> None:
    """It comes true; looked at again and again, because nobody tells when a thread has begun to wait."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)


async def asoon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


def granted(gate: Gate, model: str = MODEL) -> Pass:
    ticket = Ticket((place(model),), None, lambda: None)
    assert gate.ask(ticket)
    assert ticket.granted is not None
    return ticket.granted


Enter = Callable[[Admission], None]


def by_thread(entering: Admission) -> None:
    entering.enter(MODEL)


def by_task(entering: Admission) -> None:
    asyncio.run(entering.aenter(MODEL))


@pytest.fixture(params=[by_thread, by_task], ids=["thread", "task"])
def enter(request: pytest.FixtureRequest) -> Enter:
    found: Enter = request.param
    return found


def refusal(enter: Enter, entering: Admission) -> Full:
    with pytest.raises(Full) as caught:
        enter(entering)
    return caught.value


# in and out


def test_without_a_gate_everybody_goes(enter: Enter) -> None:
    entering = admission(None)
    enter(entering)
    entering.accepted()
    entering.refused(full(), policy())
    assert entering.take() is None
    entering.leave()
    assert entering.waited_s == 0.0


def test_a_request_takes_its_room_and_gives_it_back_once(enter: Enter) -> None:
    gate = narrow()
    entering = admission(gate)
    enter(entering)
    assert in_flight(gate) == 1
    assert gate._throttle(place().upstream).unsent == 0
    entering.accepted()
    entering.leave()
    entering.leave()
    assert in_flight(gate) == 0


def test_the_next_request_of_the_same_call_gives_the_last_ones_room_back(enter: Enter) -> None:
    gate = narrow()
    entering = admission(gate)
    for _ in range(3):
        enter(entering)
        assert in_flight(gate) == 1
    entering.leave()


def test_a_call_on_its_second_request_goes_before_those_that_came_after_it() -> None:
    gate, order, lock = narrow(), list[str](), threading.Lock()
    first = admission(gate)
    first.enter(MODEL)

    def call(entering: Admission, name: str) -> None:
        entering.enter(MODEL)
        with lock:
            order.append(name)
        entering.leave()

    blocker = Ticket((place(),), None, lambda: None)
    with ThreadPoolExecutor(2) as pool:
        gate.ask(blocker)
        soon(lambda: in_line(gate) == 1)
        running = pool.submit(call, admission(gate), "other")
        soon(lambda: in_line(gate) == 2)
        first.leave()  # the blocker goes; then the first call's next request, before the other call
        again = pool.submit(call, first, "first")
        soon(lambda: in_line(gate) == 2)
        assert blocker.granted is not None
        blocker.granted.leave()
        again.result(PATIENCE)
        running.result(PATIENCE)
    assert order == ["first", "other"]


def test_a_pass_can_be_handed_over(enter: Enter) -> None:
    gate = narrow()
    entering = admission(gate)
    enter(entering)
    passed = entering.take()
    entering.leave()
    assert passed is not None
    assert in_flight(gate) == 1
    passed.leave()
    assert in_flight(gate) == 0


# threads and loops together


def test_threads_and_the_tasks_of_two_loops_stand_in_one_line() -> None:
    gate, order, lock = narrow(), list[str](), threading.Lock()
    busy = granted(gate)
    loops = [asyncio.new_event_loop() for _ in range(2)]
    runners = [threading.Thread(target=loop.run_forever) for loop in loops]
    for runner in runners:
        runner.start()

    def served(name: str, entering: Admission) -> None:
        with lock:
            order.append(name)
        entering.leave()

    def in_thread(name: str) -> None:
        entering = admission(gate)
        entering.enter(MODEL)
        served(name, entering)

    async def in_task(name: str) -> None:
        entering = admission(gate)
        await entering.aenter(MODEL)
        served(name, entering)

    names = [f"{number}" for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        running: list[Any] = []
        for number, name in enumerate(names):
            if number % 3 == 2:
                running.append(pool.submit(in_thread, name))
            else:
                running.append(asyncio.run_coroutine_threadsafe(in_task(name), loops[number % 3]))
            soon(lambda number=number: in_line(gate) == number + 1)  # type: ignore[misc]  # a default binds it
        busy.leave()
        for each in running:
            each.result(PATIENCE)
    # the pass goes from hand to hand in this order; who is quicker to write his name down is another matter
    assert sorted(order, key=int) == names
    assert in_flight(gate) == 0
    for loop, runner in zip(loops, runners, strict=True):
        loop.call_soon_threadsafe(loop.stop)
        runner.join(PATIENCE)
        loop.close()


def test_a_task_that_is_cancelled_while_it_waits_frees_its_place() -> None:
    async def scene() -> None:
        gate = narrow()
        busy = granted(gate)
        first, second = (admission(gate) for _ in range(2))
        tasks = [asyncio.ensure_future(each.aenter(MODEL)) for each in (first, second)]
        await asoon(lambda: in_line(gate) == 2)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert in_line(gate) == 1
        busy.leave()
        await tasks[1]
        assert in_flight(gate) == 1
        first.leave()
        second.leave()
        assert in_flight(gate) == 0

    asyncio.run(scene())


def test_a_task_that_is_cancelled_when_it_has_just_been_served_can_give_its_pass_back() -> None:
    async def scene() -> None:
        gate = narrow()
        busy = granted(gate)
        entering, next_one = admission(gate), admission(gate)
        task, waiting = (asyncio.ensure_future(each.aenter(MODEL)) for each in (entering, next_one))
        await asoon(lambda: in_line(gate) == 2)
        busy.leave()  # it is served here, and has not been told yet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert in_flight(gate) == 1
        entering.leave()  # as the engine does, whatever ends the call
        await waiting
        next_one.leave()
        assert in_flight(gate) == 0

    asyncio.run(scene())


def test_a_loop_that_is_closed_while_its_tasks_wait_holds_nobody_up() -> None:
    gate = narrow()
    busy = granted(gate)
    loop = asyncio.new_event_loop()
    gone = admission(gate)
    task = loop.create_task(gone.aenter(MODEL))
    while not in_line(gate):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    with ThreadPoolExecutor(1) as pool:
        entering = admission(gate)
        running = pool.submit(entering.enter, MODEL)
        soon(lambda: in_line(gate) == 2)
        busy.leave()
        running.result(PATIENCE)
    assert in_flight(gate) == 1
    entering.leave()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is left behind on purpose
    with suppress(RuntimeError):
        task.get_coro().close()


def test_a_loop_has_its_turns_while_a_thousand_tasks_wait() -> None:
    async def scene() -> None:
        gate = narrow()
        busy = granted(gate)
        served = 0

        async def call() -> None:
            nonlocal served
            entering = admission(gate)
            await entering.aenter(MODEL)
            served += 1
            entering.leave()

        tasks = [asyncio.ensure_future(call()) for _ in range(1000)]
        await asoon(lambda: in_line(gate) == 1000)
        turns = 0
        for _ in range(100):
            await asyncio.sleep(0)
            turns += 1
        assert (turns, served) == (100, 0)
        busy.leave()
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            turns += 1
        assert served == 1000
        assert turns >= 100 + 2, "they were served in more than one go"
        assert in_flight(gate) == 0

    asyncio.run(scene())


# who may not go


def test_who_cannot_wait_for_so_long_is_told_at_once_and_nothing_was_sent(enter: Enter) -> None:
    gate = closed(Gate())
    error = refusal(enter, admission(gate, timeout=5.0))
    assert not error.sent
    assert error.status == 429
    assert error.retry_after == pytest.approx(LONG, abs=PATIENCE)
    assert error.api_base == BASE
    assert "We are full." in error.message
    assert "this call cannot wait for that" in error.message
    assert "Nothing was sent." in error.message
    assert in_line(gate) == in_flight(gate) == 0


def test_whose_time_is_over_in_the_line_is_told_so(enter: Enter) -> None:
    gate = narrow()
    busy = granted(gate)
    entering = admission(gate, timeout=0.05)
    error = refusal(enter, entering)
    assert not error.sent
    assert error.retry_after == CROWDED_S
    assert "is busy" in error.message
    assert "its time is over" in error.message
    assert entering.waited_s > 0
    assert in_line(gate) == 0
    busy.leave()
    assert in_flight(gate) == 0


def test_a_call_is_held_no_longer_than_the_operator_wants(enter: Enter) -> None:
    error = refusal(enter, admission(closed(Gate()), timeout=None, longest=5.0))
    assert error.retry_after == pytest.approx(LONG, abs=PATIENCE)


def test_a_refusal_that_comes_while_somebody_waits_ends_the_wait_when_it_is_for_long() -> None:
    gate = narrow()
    busy = granted(gate)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(admission(gate, timeout=PATIENCE).enter, MODEL)
        soon(lambda: in_line(gate) == 1)
        busy.refused(LONG, "come back tomorrow", account=False)
        with pytest.raises(Full, match="come back tomorrow"):
            running.result(PATIENCE)
    assert in_flight(gate) == 0


@pytest.mark.parametrize(("seconds", "said"), [(3600.0, "in 3600 s,"), (12.34, "in 12.3 s,"), (0.01, "in 0.1 s,")])
def test_the_time_is_told_in_plain_numbers(seconds: float, said: str) -> None:
    clock = Clock()
    gate = closed(Gate(clock=clock, pacemaker=False), seconds)
    entering = Admission(gate, ask(), Deadline(0.001, clock=clock), None, None, clock)
    assert said in refusal(by_thread, entering).message


def test_who_would_be_served_elsewhere_does_not_wait_here(enter: Enter) -> None:
    gate = closed(Gate(), 30.0)
    error = refusal(enter, admission(gate, elsewhere=lambda: True))
    assert error.retry_after == pytest.approx(30.0, abs=20.0)
    assert in_line(gate) == 0


def test_elsewhere_is_asked_only_when_there_is_something_to_wait_for(enter: Enter) -> None:
    asked: list[bool] = []

    def elsewhere() -> bool:
        asked.append(True)
        return True

    entering = admission(Gate(), elsewhere=elsewhere)
    enter(entering)
    enter(entering)
    assert asked == []
    entering.leave()


def test_where_nobody_else_is_free_a_call_waits_after_all(enter: Enter) -> None:
    gate = closed(Gate(), 0.05)
    entering = admission(gate, elsewhere=lambda: False)
    enter(entering)
    assert in_flight(gate) == 1
    assert entering.waited_s > 0
    entering.leave()


# a pass that somebody has got already


def test_a_reserved_pass_is_taken_once_and_its_waiting_counts(enter: Enter) -> None:
    gate = narrow()
    token = reserved.set(Reserved(granted(gate), waited_s=7.0, number=3))
    try:
        entering = admission(gate, timeout=PATIENCE)
        enter(entering)
        assert in_flight(gate) == 1
        assert entering.waited_s == 7.0
        assert entering._number == 3, "its next request keeps the place in line"
        left = entering._deadline.remaining()
        assert left is not None
        assert left <= PATIENCE - 7.0
        entering.leave()
        assert in_flight(gate) == 0
        enter(admission_kept := admission(gate))
        assert admission_kept.waited_s == 0.0
        admission_kept.leave()
    finally:
        reserved.reset(token)


def test_a_pass_that_was_given_before_a_pause_is_of_no_use_in_it(enter: Enter) -> None:
    gate = Gate()
    token = reserved.set(Reserved(granted(gate), waited_s=0.0, number=3))
    closed(gate)
    try:
        with pytest.raises(Full, match="We are full") as caught:
            enter(admission(gate, timeout=PATIENCE))
    finally:
        reserved.reset(token)
    assert not caught.value.sent
    assert in_flight(gate) == 0


def test_a_reserved_pass_is_for_its_own_place_alone(enter: Enter) -> None:
    gate = Gate()
    other = granted(gate, "another/model")
    kept = Reserved(other, waited_s=7.0, number=3)
    token = reserved.set(kept)
    try:
        entering = admission(gate)
        enter(entering)
        assert kept.passed is other
        assert entering.waited_s < 7.0
        entering.leave()
    finally:
        reserved.reset(token)
    other.leave()


# what the gate is told


def full(retry_after: float | None = None, **headers: str) -> Full:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Full("full", api_base=BASE, status=429, headers=named, retry_after=retry_after)


def test_a_refusal_without_a_time_gets_that_of_the_gate(enter: Enter) -> None:
    gate = Gate(chance=lambda seconds: seconds)
    entering = admission(gate)
    enter(entering)
    error = full()
    entering.refused(error, policy())
    assert error.retry_after == pytest.approx(0.5, abs=0.01)
    assert in_flight(gate) == 0


def test_a_refusal_with_a_time_keeps_it(enter: Enter) -> None:
    entering = admission(Gate())
    enter(entering)
    error = full(12.5)
    entering.refused(error, policy())
    assert error.retry_after == 12.5


@pytest.mark.parametrize(("about_key", "others"), [(False, 0.0), (True, 20.0)])
def test_a_refusal_is_about_the_model_or_about_the_key(about_key: bool, others: float, enter: Enter) -> None:
    gate = Gate()
    entering = admission(gate)
    enter(entering)
    entering.refused(full(20.0), policy(is_account_limit=lambda headers, body: about_key))
    same, other = gate.wait_for((place(), place("another/model")))
    assert same == pytest.approx(20.0, abs=10.0)
    assert other == pytest.approx(others, abs=10.0 if others else 0.0)


def test_a_refusal_without_a_pass_is_told_to_nobody() -> None:
    error = full()
    refuse(None, error, policy())
    assert error.retry_after is None


def test_infinite_patience_is_no_number(enter: Enter) -> None:
    gate = closed(Gate(), 0.02)
    entering = admission(gate, timeout=None)
    enter(entering)
    assert math.isfinite(entering.waited_s)
    entering.leave()
