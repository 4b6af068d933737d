"""Who is measured. Each is made in a process of its own, so that none of them sees what another has installed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol

from .answers import ANSWER, CHUNKS, MODEL

MESSAGES = [{"role": "user", "content": "Say something short."}]
KEY = "sk-benchmark"


class Contender(Protocol):
    """One way to ask for a completion."""

    def call(self) -> object: ...
    async def acall(self) -> object: ...
    def stream(self) -> int: ...
    async def astream(self) -> int: ...


class Litellm:
    """Through `litellm.completion` and its twin."""

    def __init__(self, model: str, base: str | None) -> None:
        import litellm

        self._litellm: Any = litellm
        self._arguments: dict[str, Any] = {"model": model, "messages": MESSAGES, "api_base": base, "api_key": KEY}

    def call(self) -> object:
        return self._litellm.completion(**self._arguments)

    def call_base(self, base: str) -> object:
        """One call to another base."""
        return self._litellm.completion(**{**self._arguments, "api_base": base})

    async def acall(self) -> object:
        return await self._litellm.acompletion(**self._arguments)

    def stream(self) -> int:
        return sum(1 for _ in self._litellm.completion(**self._arguments, stream=True))

    async def astream(self) -> int:
        count = 0
        async for _ in await self._litellm.acompletion(**self._arguments, stream=True):
            count += 1
        return count


class RawHttpx:
    """httpx alone: what the bare exchange costs."""

    def __init__(self, base: str) -> None:
        import httpx

        self._url = f"{base}/chat/completions"
        self._headers = {"Authorization": f"Bearer {KEY}"}
        self._body: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
        self._sync = httpx.Client()
        self._tasks = httpx.AsyncClient()

    def call(self) -> object:
        return self._sync.post(self._url, headers=self._headers, json=self._body).json()

    async def acall(self) -> object:
        return (await self._tasks.post(self._url, headers=self._headers, json=self._body)).json()

    def stream(self) -> int:
        asked = self._sync.stream("POST", self._url, headers=self._headers, json={**self._body, "stream": True})
        with asked as response:
            return sum(1 for line in response.iter_lines() if _is_chunk(line))

    async def astream(self) -> int:
        count = 0
        asked = self._tasks.stream("POST", self._url, headers=self._headers, json={**self._body, "stream": True})
        async with asked as response:
            async for line in response.aiter_lines():
                count += _is_chunk(line)
        return count


def _is_chunk(line: str) -> bool:
    return line.startswith("data: {") and bool(json.loads(line[6:]))


def _floor(_: str) -> Contender:
    """A custom provider that answers at once: what litellm itself costs around any provider."""
    import litellm
    from litellm.types.utils import ModelResponse, ModelResponseStream

    class Instant(litellm.CustomLLM):
        def completion(self, *_: Any, **__: Any) -> ModelResponse:
            return ModelResponse(**ANSWER)

        async def acompletion(self, *_: Any, **__: Any) -> ModelResponse:
            return ModelResponse(**ANSWER)

        def streaming(self, *_: Any, **__: Any) -> Iterator[Any]:
            return (ModelResponseStream(**chunk) for chunk in CHUNKS)

        async def astreaming(  # type: ignore[override]  # declared as a coroutine, and used as this iterator
            self, *_: Any, **__: Any
        ) -> AsyncIterator[Any]:
            for chunk in CHUNKS:
                yield ModelResponseStream(**chunk)

    litellm.custom_provider_map = [{"provider": "instant", "custom_handler": Instant()}]
    return Litellm(f"instant/{MODEL}", None)


def _installed(model: str) -> Callable[[str], Contender]:
    def make(base: str) -> Contender:
        import litellm_gateway_plugin

        litellm_gateway_plugin.install()
        return Litellm(model, base)

    return make


CONTENDERS: Mapping[str, Callable[[str], Contender]] = {
    "openai": lambda base: Litellm(f"openai/{MODEL}", base),
    "hosted_vllm": lambda base: Litellm(f"hosted_vllm/{MODEL}", base),
    "floor": _floor,
    "gateway": _installed(f"gateway/{MODEL}"),
    "vendor": _installed(f"Qwen/{MODEL}"),
    "session": _installed(f"openai/{MODEL}"),
    "httpx": RawHttpx,
}

LABELS: Mapping[str, str] = {
    "openai": "stock openai/",
    "hosted_vllm": "stock hosted_vllm/",
    "floor": "a provider without HTTP",
    "gateway": "ours, gateway/…",
    "vendor": "ours, a vendor's id",
    "session": "ours, openai/…",
    "httpx": "httpx alone",
}
OURS = ("gateway", "vendor", "session")
