"""A process that calls a gateway through the handle of `install()`, without litellm around it.

    python redis_worker.py SETTINGS API_BASE API_KEY

SETTINGS is JSON for `GatewaySettings`. A line with a number in, that many calls at once; a line of JSON out: what they
took and what was logged. `fork N` makes the calls in a forked child.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

from litellm_gateway_plugin.errors import Full
from litellm_gateway_plugin.exchange import Job
from litellm_gateway_plugin.handle import Gateway
from litellm_gateway_plugin.settings import load_settings
from litellm_gateway_plugin.wire import WireOptions

MODEL = "test/model-small"
TIMEOUT_SECONDS = 60
TRIES = 20


class Lines(logging.Handler):
    """What was logged, with its level."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


class Caller:
    def __init__(self, settings: dict[str, Any], base: str, key: str) -> None:
        self._gateway = Gateway(load_settings(**settings), WireOptions)
        if self._gateway.sharer is not None:
            self._gateway.sharer.start(10.0)
        self._base, self._key = base, key

    async def all_of(self, count: int) -> dict[str, Any]:
        begun = time.monotonic()
        outcomes = await asyncio.gather(*[self._one() for _ in range(count)], return_exceptions=True)
        failures = [repr(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]
        took = [outcome for outcome in outcomes if isinstance(outcome, float)]
        return {"failures": failures, "slowest": max(took, default=0.0), "took": time.monotonic() - begun}

    async def _one(self) -> float:
        begun = time.monotonic()
        for _ in range(TRIES):
            ask, headers = self._gateway.ask(
                surface="chat/completions", model=MODEL, api_base=self._base, api_key=self._key, headers={}
            )
            body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
            try:
                await self._gateway.asend(Job(ask, body=body, headers=headers, timeout=TIMEOUT_SECONDS))
            except Full:
                continue
            return time.monotonic() - begun
        raise TimeoutError(f"refused {TRIES} times")

    def close(self) -> None:
        self._gateway.close()


def forked(caller: Caller, count: int) -> dict[str, Any]:
    """The calls, in a child."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writing, "w") as pipe:
            json.dump(asyncio.run(caller.all_of(count)), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        report: dict[str, Any] = json.load(pipe)
    os.wait()
    return report


def main() -> None:
    heard = Lines()
    logging.getLogger("litellm_gateway_plugin").addHandler(heard)
    logging.getLogger("litellm_gateway_plugin").setLevel(logging.INFO)
    caller = Caller(json.loads(sys.argv[1]), *sys.argv[2:])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        *how, count = line.split()
        report = forked(caller, int(count)) if how == ["fork"] else asyncio.run(caller.all_of(int(count)))
        print(json.dumps({**report, "logged": heard.lines}), flush=True)
    caller.close()


if __name__ == "__main__":
    main()
