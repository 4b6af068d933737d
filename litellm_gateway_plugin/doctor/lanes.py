"""Drives many flows side by side: each flow asks round by round, all questions of all flows are under way together.

A flow is a generator. It yields a round (a sequence of questions, at least one), is sent their answers in the same
order, and returns its end. So a flow knows no thread, and a slow flow holds up nobody: each goes on when its own round
is complete. The threads are daemons, so that whatever interrupts the caller (Ctrl-C) ends the wait at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

Question = TypeVar("Question")
Reply = TypeVar("Reply")
End = TypeVar("End")

Flow = Generator[Sequence[Question], Sequence[Reply], End]

MOST_THREADS = 128
"""Questions under way at a time, over all flows; as much room as a dozen silent gateways fill."""


class _Job(NamedTuple):
    """One question: of which flow, and at which place of its round."""

    flow: int
    place: int
    question: Any


class _Done(NamedTuple):
    job: _Job
    reply: Any
    error: BaseException | None = None


class _Lanes(Generic[Question, Reply, End]):
    """One run."""

    def __init__(self, flows: Sequence[Flow[Question, Reply, End]], work: Callable[[Question], Reply], threads: int):
        self._flows = flows
        self._work = work
        self._most = threads
        self._threads = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: SimpleQueue[_Done] = SimpleQueue()
        self._rounds: dict[int, dict[int, Reply]] = {}
        self._sizes: dict[int, int] = {}
        self._ends: dict[int, End] = {}

    def run(self, tell: Callable[[Reply], None]) -> list[End]:
        try:
            for number, flow in enumerate(self._flows):
                self._begin(number, lambda flow=flow: next(flow))  # type: ignore[misc]  # a default binds it now
            while self._rounds:
                self._take(self._done.get(), tell)
        finally:
            for _ in range(self._threads):
                self._jobs.put(None)
        return [self._ends[number] for number in range(len(self._flows))]

    def _take(self, done: _Done, tell: Callable[[Reply], None]) -> None:
        if done.error is not None:
            raise done.error
        tell(done.reply)
        number = done.job.flow
        replies = self._rounds[number]
        replies[done.job.place] = done.reply
        if len(replies) == self._sizes[number]:
            del self._rounds[number]
            ordered = [replies[place] for place in sorted(replies)]
            self._begin(number, lambda: self._flows[number].send(ordered))

    def _begin(self, number: int, step: Callable[[], Sequence[Question]]) -> None:
        try:
            questions = step()
        except StopIteration as stop:
            self._ends[number] = stop.value
            return
        self._rounds[number], self._sizes[number] = {}, len(questions)
        for place, question in enumerate(questions):
            self._jobs.put(_Job(number, place, question))
        self._hire()

    def _hire(self) -> None:
        under_way = sum(self._sizes[number] - len(replies) for number, replies in self._rounds.items())
        while self._threads < min(self._most, under_way):
            self._threads += 1
            threading.Thread(target=self._serve, name="litellm-gateway-doctor", daemon=True).start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._done.put(_Done(job, self._work(job.question)))
            except BaseException as error:  # noqa: BLE001  whatever it is, whoever waits gets it
                self._done.put(_Done(job, None, error))


def side_by_side(
    flows: Sequence[Flow[Question, Reply, End]],
    work: Callable[[Question], Reply],
    *,
    tell: Callable[[Reply], None] = lambda reply: None,
    threads: int = MOST_THREADS,
) -> list[End]:
    """Drive all flows to their ends.

    Args:
        flows: not begun yet.
        work: answers one question; called in threads.
        tell: told each answer as it comes, in the caller's thread.
        threads: how many there are at most.

    Returns:
        The ends, in the order of the flows.

    Raises:
        Whatever `work` or a flow raises; what is still under way is left behind.
    """
    return _Lanes(flows, work, threads).run(tell)
