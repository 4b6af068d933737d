"""Many calls at once, from a process of their own.

    python -m benchmarks.load_worker

One line of JSON in, which says who calls whom and how often; one line out, when everything is ready; one line in, to
begin; one line of JSON out, with what happened. Times are those of the system's monotonic clock, so that those of
several processes can be laid side by side.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import Any

from .load_callers import Caller, Order, caller
from .open_files import allow_many

TICK_SECONDS = 0.005
MOCK = "ready"


@dataclass
class Took:
    """What the calls of one process took.

    Attributes:
        calls: begun and answered, in seconds, of every call that was answered.
        failures: the others, by the class of their exception.
        begun: when the first call was due.
        cpu: seconds, of all threads.
        late: how late a ticker in the event loop was, as pairs of time and seconds; empty for threads.
        started: when the last call began.
    """

    begun: float
    calls: list[tuple[float, float]] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    late: list[tuple[float, float]] = field(default_factory=list)
    started: float = 0.0
    cpu: float = 0.0

    def answered(self, begun: float) -> None:
        self.calls.append((begun, time.monotonic()))

    def failed(self, what: str) -> None:
        self.failures[what] = self.failures.get(what, 0) + 1


class Ticker:
    """How late the event loop is: a task that wants to run every few milliseconds."""

    def __init__(self) -> None:
        self.late: list[tuple[float, float]] = []

    async def run(self) -> None:
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            self.late.append((now, now - due))


async def tasks(calls: Caller, order: Order) -> Took:
    """All calls at once, in one event loop."""
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    await asyncio.sleep(0)
    took = Took(begun=time.monotonic())

    async def call() -> None:
        took.started = begun = time.monotonic()
        try:
            await calls.acall()
        except Exception as error:  # noqa: BLE001  every failure is counted, whatever it is
            took.failed(type(error).__name__)
        else:
            took.answered(begun)

    everything = [asyncio.create_task(call()) for _ in range(order["calls"])]
    _, unfinished = await asyncio.wait(everything, timeout=order["limit"])
    ticking.cancel()
    for task in unfinished:
        took.failed("unfinished")
        task.cancel()
    took.late = ticker.late
    return took


def threads(calls: Caller, order: Order) -> Took:
    """So many threads, each with the next call as soon as it is done with one."""
    took = Took(begun=time.monotonic())
    lock = threading.Lock()

    def call() -> None:
        begun = time.monotonic()
        try:
            calls.call()
        except Exception as error:  # noqa: BLE001  every failure is counted, whatever it is
            with lock:
                took.failed(type(error).__name__)
        else:
            with lock:
                took.answered(begun)

    pool = ThreadPoolExecutor(order["threads"])
    everything = [pool.submit(call) for _ in range(order["calls"])]
    unfinished = wait(everything, timeout=order["limit"]).not_done
    pool.shutdown(wait=False, cancel_futures=True)
    with lock:
        for _ in unfinished:
            took.failed("unfinished")
    return took


def prepared(order: Order) -> Callable[[], Took]:
    """Everything but the calls. litellm is warm: a made-up answer has gone all the way through it, and no further."""
    calls = caller(order)
    if order["threads"]:
        calls.call(mock_response=MOCK)
        return lambda: threads(calls, order)
    loop = asyncio.new_event_loop()

    def run(work: Awaitable[Any]) -> Any:
        return loop.run_until_complete(work)

    run(calls.acall(mock_response=MOCK))
    return lambda: run(tasks(calls, order))


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    allow_many()
    run = prepared(json.loads(sys.stdin.readline()))
    print(json.dumps("ready"), file=replies, flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    took = run()
    took.cpu = time.process_time() - cpu
    print(json.dumps(asdict(took)), file=replies, flush=True)
    os._exit(0)  # threads that are still at it would hold the process


if __name__ == "__main__":
    main()
