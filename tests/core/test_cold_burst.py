"""Many callers at once, on real threads, over a sender that is no network. Nothing here sleeps."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import pytest

from litellm_gateway_plugin.answers import Answer
from litellm_gateway_plugin.errors import ConnectionBroken, GatewayError, KeyRefused
from litellm_gateway_plugin.memory import Memory
from litellm_gateway_plugin.negotiation import Ask, Attempt, Served, Wait, negotiate
from tests.support.core import answer, ask, ok, policy

CALLERS = 200
PATIENCE = 60.0
REFUSAL = answer(401, {"error": "Unauthorized"})

Send = Callable[[Attempt], Answer]


class Gateway:
    """Takes one style, counts what it is asked, and can hold answers back until it is told."""

    def __init__(self, style: str = "x-api-key") -> None:
        self.style = style
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.arrived = threading.Event()
        self.go = threading.Event()
        self.go.set()

    @property
    def refusals(self) -> int:
        return sum(count for style, count in self.asked.items() if style != self.style)

    def __call__(self, attempt: Attempt) -> Answer:
        with self.lock:
            self.asked[attempt.route.style] += 1
        self.arrived.set()
        assert self.go.wait(PATIENCE)
        return ok() if attempt.route.style == self.style else REFUSAL


def serve(memory: Memory, send: Send, wanted: Ask | None = None, grace: float = PATIENCE) -> Served:
    """What the engine does, with a sender that is a function."""
    flow = negotiate(wanted or ask(), memory, policy())
    try:
        step = next(flow)
        while True:
            if isinstance(step, Wait):
                try:
                    step.probe.settled.result(timeout=grace)
                except NotYet:
                    assert grace == 0, "nobody may have to wait as long as that"
                step = flow.send(None)
                continue
            try:
                reply = send(step)
            except BaseException as error:
                flow.throw(error)
                raise
            step.head(reply.status)
            step = flow.send(reply)
    except StopIteration as stop:
        served: Served = stop.value
        return served
    finally:
        flow.close()


def burst(count: int, caller: Callable[[int], object]) -> list[object]:
    """All callers at the same moment; their results or errors."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait(PATIENCE)
        try:
            return caller(number)
        except (GatewayError, KeyboardInterrupt) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_a_cold_burst_makes_at_most_two_refused_requests() -> None:
    memory, gateway = Memory(), Gateway()
    results = burst(CALLERS, lambda number: serve(memory, gateway))
    assert all(isinstance(result, Served) for result in results)
    assert gateway.refusals <= 2
    assert gateway.asked["x-api-key"] == CALLERS


def test_a_burst_on_several_profiles_keeps_them_apart() -> None:
    memory, gateway = Memory(), Gateway()
    keys = [f"key-number-{number}" for number in range(10)]
    burst(CALLERS, lambda number: serve(memory, gateway, ask(key=keys[number % 10])))
    assert gateway.refusals <= 2 * len(keys)


@pytest.mark.parametrize("error", [ConnectionBroken("gone"), KeyboardInterrupt()])
def test_a_leader_that_fails_or_is_cancelled_hands_over(error: BaseException) -> None:
    memory, gateway = Memory(), Gateway()
    first = threading.Lock()

    def send(attempt: Attempt) -> Answer:
        if first.acquire(blocking=False):
            raise error
        return gateway(attempt)

    results = burst(CALLERS, lambda number: serve(memory, send))
    assert sum(isinstance(result, Served) for result in results) == CALLERS - 1
    assert gateway.refusals <= 2
    assert not memory._open


def test_after_the_grace_the_others_go_ahead_with_the_same_guess() -> None:
    memory, gateway = Memory(), Gateway("bearer")
    gateway.go.clear()
    with ThreadPoolExecutor(10) as pool:
        leader = pool.submit(serve, memory, gateway)
        assert gateway.arrived.wait(PATIENCE)
        gateway.arrived.clear()
        follower = pool.submit(serve, memory, gateway, None, 0)
        assert gateway.arrived.wait(PATIENCE)
        assert gateway.asked == {"bearer": 2}
        gateway.go.set()
        assert leader.result(PATIENCE).route == follower.result(PATIENCE).route
    assert gateway.refusals == 0


def test_without_any_grace_nobody_hangs_and_everybody_is_served() -> None:
    memory, gateway = Memory(), Gateway("api-key")
    results = burst(50, lambda number: serve(memory, gateway, None, 0))
    assert all(isinstance(result, Served) for result in results)
    assert not memory._open


def test_a_status_line_is_enough_for_the_others() -> None:
    memory, gateway = Memory(), Gateway("bearer")
    flow = negotiate(ask(), memory, policy())
    step = next(flow)
    assert isinstance(step, Attempt)
    with ThreadPoolExecutor(20) as pool:
        others = [pool.submit(serve, memory, gateway) for _ in range(20)]
        step.head(200)
        assert all(other.result(PATIENCE).route.style == "bearer" for other in others)
    with pytest.raises(StopIteration):
        flow.send(ok())


def test_a_burst_with_a_bad_key_costs_one_request_each_beside_the_first_pass() -> None:
    memory, gateway = Memory(), Gateway("nothing")
    results = burst(CALLERS, lambda number: serve(memory, gateway))
    assert all(isinstance(result, KeyRefused) for result in results)
    assert sum(gateway.asked.values()) <= CALLERS + 5
    assert serve(memory, Gateway("bearer"), ask(key="a-good-key")).route.style == "bearer"
