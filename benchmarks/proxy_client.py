"""The clients of a proxy, in one process of their own. They do not retry.

    python -m benchmarks.proxy_client

One line of JSON in, for a slice of load; one line of JSON out, with what the clients saw. Every client has a connection
of its own, opened anew for each slice and one after the other: of all that come at once, one worker of the proxy takes
most.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp

from .contenders import MESSAGES

TIMEOUT = aiohttp.ClientTimeout(total=120)
END = b"data: [DONE]"
ERROR = b'"error"'
REPORT_HEADER = "x-litellm-gateway-api-base"
"""On what the plugin has carried."""

Order = Mapping[str, Any]


@dataclass
class Seen:
    """What the clients of one slice saw. Times are in seconds.

    Attributes:
        took: from the first call to the last answer.
        latencies: of every call that was answered, until its last byte.
        first: of the same calls, until their first byte.
        failures: the others, by status, or by the class of the exception.
        by_plugin: answers that carry the plugin's report.
    """

    took: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    by_plugin: int = 0

    def failed(self, what: str) -> None:
        self.failures[what] = self.failures.get(what, 0) + 1


async def call(client: aiohttp.ClientSession, order: Order, seen: Seen) -> None:
    """One call, to its end."""
    begun = time.perf_counter()
    body = {"model": order["model"], "messages": MESSAGES, **({"stream": True} if order["stream"] else {})}
    try:
        async with client.post("/v1/chat/completions", json=body) as response:
            data = await response.content.readany()
            first = time.perf_counter()
            data += await response.read()
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        seen.failed(type(error).__name__)
        return
    if response.status != 200:
        seen.failed(str(response.status))
    elif order["stream"] and (END not in data or ERROR in data):
        seen.failed("broken stream")
    else:
        seen.first.append(first - begun)
        seen.latencies.append(time.perf_counter() - begun)
        seen.by_plugin += REPORT_HEADER in response.headers


async def calls(client: aiohttp.ClientSession, order: Order, turns: Iterator[object], seen: Seen) -> None:
    """One call after the other, while there are turns and time."""
    until = time.perf_counter() + order["seconds"]
    for _ in turns:
        if time.perf_counter() > until:
            return
        await call(client, order, seen)


async def slice_of_load(order: Order) -> Seen:
    seen = Seen()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_client(order)) for _ in range(order["clients"])]
        for client in clients:
            async with client.get("/health/liveliness") as response:
                await response.read()
        turns = iter(range(order["calls"]))
        begun = time.perf_counter()
        await asyncio.gather(*(calls(client, order, turns, seen) for client in clients))
        seen.took = time.perf_counter() - begun
    return seen


def _client(order: Order) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {order['key']}"}
    return aiohttp.ClientSession(order["origin"], headers=headers, timeout=TIMEOUT)


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like a reply
    for line in sys.stdin:
        print(json.dumps(asdict(asyncio.run(slice_of_load(json.loads(line))))), file=replies, flush=True)


if __name__ == "__main__":
    main()
