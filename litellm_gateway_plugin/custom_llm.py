"""The custom provider: litellm calls it for `gateway/…`, `openai_like/…` and vendor namespaces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any

import litellm
from litellm import CustomLLM, CustomStreamWrapper
from litellm.types.utils import EmbeddingResponse, ModelResponse, ModelResponseStream

from .calls import (
    asked_parameters,
    chat_job,
    chat_response,
    embedding_job,
    embedding_response,
    facts_of,
    hidden_params,
    is_text_completion,
    stream_chunk,
)
from .engine import Result, TaskStream, ThreadStream
from .errors import Full, GatewayError
from .exchange import Job
from .handle import Gateway
from .litellm_errors import to_litellm
from .routing import settle_cooldown

PROVIDER = "gateway"


class GatewayLLM(CustomLLM):
    """One handler object per provider name, because litellm cuts that name from the id.

    Args:
        gateway: gives the installation in force.
        name: the provider name under which this object is registered.
        namespace: whether that name is the vendor part of the id, to be put back.
    """

    def __init__(self, gateway: Callable[[], Gateway], name: str, *, namespace: bool = False) -> None:
        super().__init__()
        self._gateway = gateway
        self._name = name
        self._prefix = f"{name}/" if namespace else ""

    def __repr__(self) -> str:
        return f"<GatewayLLM {self._name}>"

    def completion(self, **asked: Any) -> ModelResponse:  # type: ignore[override]  # litellm calls by keyword
        """A chat completion from a thread. Raises litellm's own exceptions."""
        with self._errors(asked):
            return chat_response(self._gateway().send(self._chat(asked)), asked["model_response"])

    async def acompletion(self, **asked: Any) -> ModelResponse:  # type: ignore[override]  # as above
        """A chat completion from a coroutine. Raises litellm's own exceptions."""
        with self._errors(asked):
            return chat_response(await self._gateway().asend(self._chat(asked)), asked["model_response"])

    def streaming(self, **asked: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]  # as above
        """A stream from a thread, opened before it is handed back. Raises litellm's own exceptions."""
        with self._errors(asked):
            return ThreadChunks(self._gateway().send(self._chat(asked, stream=True)), asked["model"], self._name)

    def astreaming(  # type: ignore[override]  # as above
        self, **asked: Any
    ) -> Coroutine[Any, Any, CustomStreamWrapper] | AsyncIterator[ModelResponseStream]:
        """A stream from a coroutine.

        litellm wraps what it gets when `stream is True`, before anything can be awaited: then the stream opens with its
        first chunk. The deployment hook puts another truthy value there, and litellm awaits this coroutine: the stream
        is open, and its first event read, before the caller gets it, so that a full gateway is a RateLimitError.
        """
        with self._errors(asked):
            job = self._chat(asked, stream=True)
        model, logging_obj = asked["model"], asked["logging_obj"]
        chunks = TaskChunks(self._gateway(), job, model, self._name, logging_obj)
        return self._opened(chunks, model, logging_obj) if facts_of(logging_obj).eager else chunks

    async def _opened(self, chunks: TaskChunks, model: str, logging_obj: Any) -> CustomStreamWrapper:
        result = await chunks.open()
        wrapper = CustomStreamWrapper(
            completion_stream=chunks,
            model=model,
            custom_llm_provider=self._name,
            logging_obj=logging_obj,
            _response_headers=result.headers,
        )
        wrapper._hidden_params["gateway"] = result.report.as_dict()
        return wrapper

    def embedding(self, **asked: Any) -> EmbeddingResponse:  # type: ignore[override]  # as above
        """Embeddings from a thread. Raises litellm's own exceptions."""
        with self._errors(asked):
            return embedding_response(self._gateway().send(self._embed(asked)), asked["model_response"])

    async def aembedding(self, **asked: Any) -> EmbeddingResponse:  # type: ignore[override]  # as above
        """Embeddings from a coroutine. Raises litellm's own exceptions."""
        with self._errors(asked):
            return embedding_response(await self._gateway().asend(self._embed(asked)), asked["model_response"])

    def _errors(self, asked: Mapping[str, Any]) -> _LitellmErrors:
        return _LitellmErrors(asked["model"], self._name, self._gateway, asked["logging_obj"])

    def _chat(self, asked: Mapping[str, Any], *, stream: bool = False) -> Job:
        logging_obj = asked["logging_obj"]
        return chat_job(
            **self._common(asked),
            messages=asked["messages"],
            headers=asked.get("headers"),
            optional_params=asked_parameters(asked["optional_params"], logging_obj),
            stream=stream,
            text=is_text_completion(logging_obj),
        )

    def _embed(self, asked: Mapping[str, Any]) -> Job:
        return embedding_job(
            **self._common(asked),
            input=asked["input"],
            headers=facts_of(asked["logging_obj"]).headers or litellm.headers,
            optional_params=asked["optional_params"],
        )

    def _common(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What chat and embeddings make of a call in the same way."""
        facts, model = facts_of(asked["logging_obj"]), asked["model"]
        return {
            "gateway": self._gateway(),
            "model": self._prefix + (model.removeprefix(facts.prefix) if facts.prefix else model),
            "api_base": asked.get("api_base"),
            "api_key": asked.get("api_key"),
            "timeout": facts.timeout or asked.get("timeout"),
            "litellm_params": getattr(asked["logging_obj"], "litellm_params", None),
        }


class _LitellmErrors:
    """Our errors leave this block as litellm's own, and the Router, if there is one, is told what it has to know."""

    __slots__ = ("_gateway", "_logging_obj", "_model", "_name")

    def __init__(
        self, model: str, name: str, gateway: Callable[[], Gateway] | None = None, logging_obj: Any = None
    ) -> None:
        self._model = model
        self._name = name
        self._gateway = gateway
        self._logging_obj = logging_obj

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, GatewayError):
            return
        made = to_litellm(error, self._model, self._name)
        if isinstance(error, Full) and self._gateway is not None:
            settle_cooldown(self._gateway(), self._logging_obj, made)
        raise made from None


class ThreadChunks(Iterator[ModelResponseStream]):
    """An opened stream as litellm's chunks."""

    def __init__(self, result: Result, model: str, name: str) -> None:
        self._stream: ThreadStream = result.stream
        self._hidden = hidden_params(result)
        self._model = model
        self._name = name

    def __next__(self) -> ModelResponseStream:
        with _LitellmErrors(self._model, self._name):
            return stream_chunk(next(self._stream), self._hidden)

    def close(self) -> None:
        """Give the connection up."""
        self._stream.close()


class TaskChunks(AsyncIterator[ModelResponseStream]):
    """A stream as litellm's chunks; it opens when it is told to, or with its first chunk."""

    def __init__(self, gateway: Gateway, job: Job, model: str, name: str, logging_obj: Any) -> None:
        self._gateway = gateway
        self._job = job
        self._logging_obj = logging_obj
        self._stream: TaskStream | None = None
        self._hidden: dict[str, Any] = {}
        self._model = model
        self._name = name

    async def open(self) -> Result:
        """Send the request and read the first event. Raises litellm's own exceptions."""
        with _LitellmErrors(self._model, self._name, lambda: self._gateway, self._logging_obj):
            result = await self._gateway.asend(self._job)
        self._stream = result.stream
        self._hidden = hidden_params(result)
        return result

    def __aiter__(self) -> TaskChunks:
        return self

    async def __anext__(self) -> ModelResponseStream:
        if self._stream is None:
            await self.open()
        assert self._stream is not None
        with _LitellmErrors(self._model, self._name):
            return stream_chunk(await self._stream.__anext__(), self._hidden)

    async def aclose(self) -> None:
        """Give the connection up."""
        if self._stream is not None:
            await self._stream.aclose()
