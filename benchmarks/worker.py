"""A contender in its own process: reads how much to do, does it, writes what that cost.

    python -m benchmarks.worker CONTENDER API_BASE

One line of JSON in, `{"way": "sync", "count": 100}`; one line of JSON out, `{"cpu": …, "wall": …}`, in seconds for each
call or chunk.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from .contenders import CONTENDERS, Contender

WIDTH = 32
SETTLE_SECONDS = 0.05
"""After the calls, for what litellm does in other threads and tasks when a call has ended; waiting costs no CPU."""


class Ways:
    """The ways in which a contender is called. Each returns how many calls, or chunks, that was."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._loop = asyncio.new_event_loop()
        self.by_name: dict[str, Callable[[int], int]] = {
            "sync": self._sync,
            "async": self._async,
            "wide": self._wide,
            "stream": self._stream,
            "astream": self._astream,
        }

    def settle(self) -> None:
        self._loop.run_until_complete(asyncio.sleep(SETTLE_SECONDS))

    def _sync(self, count: int) -> int:
        for _ in range(count):
            self._contender.call()
        return count

    def _async(self, count: int) -> int:
        self._loop.run_until_complete(self._one_by_one(count))
        return count

    def _wide(self, count: int) -> int:
        self._loop.run_until_complete(self._side_by_side(count // WIDTH))
        return count // WIDTH * WIDTH

    def _stream(self, count: int) -> int:
        return sum(self._contender.stream() for _ in range(count))

    def _astream(self, count: int) -> int:
        async def streams() -> int:
            return sum([await self._contender.astream() for _ in range(count)])

        return self._loop.run_until_complete(streams())

    async def _one_by_one(self, count: int) -> None:
        for _ in range(count):
            await self._contender.acall()

    async def _side_by_side(self, each: int) -> None:
        await asyncio.gather(*(self._one_by_one(each) for _ in range(WIDTH)))


def measured(ways: Ways, way: str, count: int) -> dict[str, float]:
    """Seconds of CPU (of all threads) and of time, for each call or chunk."""
    cpu, wall = time.process_time(), time.perf_counter()
    done = ways.by_name[way](count)
    took = time.perf_counter() - wall
    ways.settle()
    return {"cpu": (time.process_time() - cpu) / done, "wall": took / done}


def main() -> None:
    name, base = sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    ways = Ways(CONTENDERS[name](base))
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        print(json.dumps(measured(ways, order["way"], order["count"])), file=replies, flush=True)


if __name__ == "__main__":
    main()
