"""Many first calls at once, from one process. Prints how many failed and how long all of them took.

python -m benchmarks.burst_worker tasks|threads COUNT API_BASE
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .contenders import CONTENDERS, Contender


async def tasks(contender: Contender, count: int) -> int:
    done = await asyncio.gather(*(contender.acall() for _ in range(count)), return_exceptions=True)
    return sum(isinstance(outcome, BaseException) for outcome in done)


def threads(contender: Contender, count: int) -> int:
    ready = threading.Barrier(count)

    def call() -> object:
        ready.wait()
        return contender.call()

    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(call) for _ in range(count)]
        return sum(call.exception() is not None for call in calls)


def main() -> None:
    kind, count, base = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    contender = CONTENDERS["gateway"](base)
    begun = time.perf_counter()
    failed = asyncio.run(tasks(contender, count)) if kind == "tasks" else threads(contender, count)
    print(json.dumps({"failed": failed, "wall": time.perf_counter() - begun}), flush=True)


if __name__ == "__main__":
    main()
