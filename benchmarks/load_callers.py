"""Who carries the load: litellm with the plugin, litellm without it, and a provider without HTTP that is never refused.

Each is made in a process of its own, from the order that the process has read.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .answers import ANSWER, MODEL
from .contenders import KEY, MESSAGES

RETRIES = 5
TIMEOUT_SECONDS = 600
GROUP = "group"
"""The Router's name for all deployments together."""

Order = Mapping[str, Any]


class Direct:
    """`litellm.completion` and its twin."""

    def __init__(self, model: str, bases: list[str]) -> None:
        import litellm

        self._litellm: Any = litellm
        self._arguments = {
            "model": model,
            "messages": MESSAGES,
            "api_base": bases[0],
            "api_key": KEY,
            "num_retries": RETRIES,
            "timeout": TIMEOUT_SECONDS,
        }

    def call(self, **more: object) -> object:
        return self._litellm.completion(**self._arguments, **more)

    async def acall(self, **more: object) -> object:
        return await self._litellm.acompletion(**self._arguments, **more)


class Routed:
    """The stock Router, with one deployment for each base."""

    def __init__(self, model: str, bases: list[str]) -> None:
        from litellm import Router

        deployments = [
            {"model_name": GROUP, "litellm_params": {"model": model, "api_base": base, "api_key": KEY}}
            for base in bases
        ]
        self._router: Any = Router(model_list=deployments, num_retries=RETRIES, timeout=TIMEOUT_SECONDS)

    def call(self, **more: object) -> object:
        return self._router.completion(model=GROUP, messages=MESSAGES, **more)

    async def acall(self, **more: object) -> object:
        return await self._router.acompletion(model=GROUP, messages=MESSAGES, **more)


Caller = Direct | Routed


class Places:
    """A room whose places are given out in the order in which they are asked for, to whatever thread or task."""

    def __init__(self, count: int, service: float, jitter: float) -> None:
        self._lock = threading.Lock()
        self._free_at = [0.0] * count
        self._chance = random.Random(count)
        self._service, self._jitter = service, jitter

    def take(self) -> float:
        """Take the place that is free first: how many seconds until the work there is done."""
        with self._lock:
            now = time.monotonic()
            work = self._service * self._chance.uniform(1 - self._jitter, 1 + self._jitter)
            done = max(now, heapq.heappop(self._free_at)) + work
            heapq.heappush(self._free_at, done)
            return done - now


def _floor(order: Order) -> str:
    """A provider without HTTP that knows the room and lets nobody in too early: the best that litellm leaves to any."""
    import litellm
    from litellm.types.utils import ModelResponse

    places = Places(order["room"], order["service"], order["jitter"])

    class Patient(litellm.CustomLLM):
        def completion(self, *_: Any, **__: Any) -> ModelResponse:
            time.sleep(places.take())
            return ModelResponse(**ANSWER)

        async def acompletion(self, *_: Any, **__: Any) -> ModelResponse:
            await asyncio.sleep(places.take())
            return ModelResponse(**ANSWER)

    litellm.custom_provider_map = [{"provider": "patient", "custom_handler": Patient()}]
    return f"patient/{MODEL}"


def _installed(_: Order) -> str:
    import litellm_gateway_plugin

    litellm_gateway_plugin.install()
    return f"gateway/{MODEL}"


MODELS: Mapping[str, Callable[[Order], str]] = {
    "ours": _installed,
    "stock": lambda order: f"openai/{MODEL}",
    "floor": _floor,
}


def caller(order: Order) -> Caller:
    """The one that the order names, ready for its first call."""
    import litellm

    litellm.suppress_debug_info = True  # it prints four lines at every refusal
    model = MODELS[order["who"]](order)
    return (Routed if order["way"] == "router" else Direct)(model, order["bases"])
