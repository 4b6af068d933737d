"""Calls through the handle that `install()` returns, without litellm around it: reads how many, writes what each cost.

    python -m benchmarks.gate_worker API_BASE

The environment says whether the gate is on. Lines in and out as `worker`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from .answers import MODEL
from .contenders import KEY, MESSAGES


class Handle:
    """One call after the other, from a thread and from a coroutine."""

    def __init__(self, base: str) -> None:
        import litellm_gateway_plugin
        from litellm_gateway_plugin.exchange import Job

        self._gateway = litellm_gateway_plugin.install()
        self._base, self._job = base, Job
        self._loop = asyncio.new_event_loop()
        self.ways: Mapping[str, Callable[[int], None]] = {"sync": self._sync, "async": self._async}

    def _sync(self, count: int) -> None:
        for _ in range(count):
            self._gateway.send(self._next())

    def _async(self, count: int) -> None:
        async def calls() -> None:
            for _ in range(count):
                await self._gateway.asend(self._next())

        self._loop.run_until_complete(calls())

    def _next(self) -> Any:
        ask, _ = self._gateway.ask(
            surface="chat/completions", model=MODEL, api_base=self._base, api_key=KEY, headers={}
        )
        return self._job(ask, {"model": MODEL, "messages": MESSAGES}, timeout=60)


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    handle = Handle(sys.argv[1])
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        cpu, wall = time.process_time(), time.perf_counter()
        handle.ways[order["way"]](order["count"])
        took = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        print(json.dumps({name: value / order["count"] for name, value in took.items()}), file=replies, flush=True)


if __name__ == "__main__":
    main()
