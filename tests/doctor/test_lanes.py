"""Flows side by side: who waits for whom, and what happens to errors."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence

import pytest

from litellm_gateway_plugin.doctor.lanes import side_by_side

Asking = Generator[Sequence[int], Sequence[int], list[int]]


def flow(*rounds: Sequence[int]) -> Asking:
    heard: list[int] = []
    for asked in rounds:
        heard += yield asked
    return heard


def test_answers_come_in_the_order_of_the_questions_and_ends_in_that_of_the_flows() -> None:
    ends = side_by_side([flow([3, 1, 2], [5]), flow([4])], lambda number: number * 10)
    assert ends == [[30, 10, 20, 50], [40]]


def test_answers_keep_their_order_when_the_first_question_is_the_last_to_be_answered() -> None:
    rest = threading.Semaphore(0)

    def work(number: int) -> int:
        if number == 3:
            assert all(rest.acquire(timeout=20) for _ in range(2))
        return number

    assert side_by_side([flow([3, 1, 2])], work, tell=lambda number: rest.release()) == [[3, 1, 2]]


def test_flow_that_asks_nothing() -> None:
    assert side_by_side([flow(), flow([1])], lambda number: number) == [[], [1]]


def test_slow_flow_holds_up_nobody() -> None:
    released = threading.Event()
    told: list[int] = []

    def work(number: int) -> int:
        if number < 0:
            assert released.wait(20), "the quick flow waited for the slow one"
        return number

    def tell(number: int) -> None:
        told.append(number)
        if number == 3:
            released.set()

    assert side_by_side([flow([-1]), flow([1], [2], [3])], work, tell=tell) == [[-1], [1, 2, 3]]
    assert told == [1, 2, 3, -1]


def test_questions_of_a_round_are_under_way_together() -> None:
    together = threading.Barrier(3, timeout=20)
    side_by_side([flow([1, 2]), flow([3])], lambda number: together.wait())


def test_number_of_threads_is_bounded() -> None:
    before = set(threading.enumerate())
    seen: set[threading.Thread] = set()

    def work(number: int) -> int:
        seen.update(thread for thread in threading.enumerate() if thread.name == "litellm-gateway-doctor")
        return number

    assert side_by_side([flow(range(50)), flow(range(50))], work, threads=2) == [[*range(50)], [*range(50)]]
    assert len(seen - before) == 2


def test_answers_are_told_in_the_callers_thread() -> None:
    tellers = []
    side_by_side([flow([1, 2])], lambda number: number, tell=lambda number: tellers.append(threading.current_thread()))
    assert tellers == [threading.current_thread()] * 2


def test_error_of_a_question_ends_it_and_leaves_the_others_behind() -> None:
    released = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            raise LookupError("no answer to 1")
        released.wait(20)
        return number

    with pytest.raises(LookupError, match="no answer to 1"):
        side_by_side([flow([1, 2])], work)
    assert not released.is_set()
    released.set()


def test_threads_end_with_their_work() -> None:
    threads: set[threading.Thread] = set()

    def work(number: int) -> int:
        threads.add(threading.current_thread())
        return number

    side_by_side([flow([1, 2, 3])], work)
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert all(thread.daemon for thread in threads)
