"""The custom provider: litellm calls it for `gateway/…`, `openai_like/…` and vendor namespaces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any

import litellm
from litellm import CustomLLM, CustomStreamWrapper
from litellm.types.utils import EmbeddingResponse, ModelResponse, ModelResponseStream

from . import attributions
from .attributions import NAME, Attempts, attempts_of, base_named, headers_of, put_on
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
from .exchange import Job, Report
from .handle import Gateway
from .litellm_errors import to_litellm
from .routing import settle_cooldown


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
        with self._call(asked) as call:
            result = self._gateway().send(call.sends(self._chat(asked)))
            return chat_response(call.served(result), asked["model_response"], asked["logging_obj"])

    async def acompletion(self, **asked: Any) -> ModelResponse:  # type: ignore[override]  # as above
        """A chat completion from a coroutine. Raises litellm's own exceptions."""
        with self._call(asked) as call:
            await self._prepare(asked)
            result = await self._gateway().asend(call.sends(self._chat(asked)))
            return chat_response(call.served(result), asked["model_response"], asked["logging_obj"])

    def streaming(self, **asked: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]  # as above
        """A stream from a thread, opened before it is handed back. Raises litellm's own exceptions."""
        with self._call(asked) as call:
            result = self._gateway().send(call.sends(self._chat(asked, stream=True)))
            return ThreadChunks(call.served(result), call)

    def astreaming(  # type: ignore[override]  # as above
        self, **asked: Any
    ) -> Coroutine[Any, Any, CustomStreamWrapper] | AsyncIterator[ModelResponseStream]:
        """A stream from a coroutine.

        litellm wraps what it gets when `stream is True`, before anything can be awaited: then the stream opens with its
        first chunk. The deployment hook puts another truthy value there, and litellm awaits this coroutine: the stream
        is open, and its first event read, before the caller gets it, so that a full gateway is a RateLimitError.
        """
        with self._call(asked) as call:
            job = call.sends(self._chat(asked, stream=True))
        model, logging_obj = asked["model"], asked["logging_obj"]
        chunks = TaskChunks(self._gateway(), job, call)
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
        hidden: dict[str, Any] = wrapper._hidden_params
        hidden[NAME] = result.report.as_dict()
        hidden.setdefault("additional_headers", {}).update(headers_of(hidden[NAME]))
        return wrapper

    def embedding(self, **asked: Any) -> EmbeddingResponse:  # type: ignore[override]  # as above
        """Embeddings from a thread. Raises litellm's own exceptions."""
        with self._call(asked) as call:
            result = self._gateway().send(call.sends(self._embed(asked)))
            return embedding_response(call.served(result), asked["model_response"], asked["logging_obj"])

    async def aembedding(self, **asked: Any) -> EmbeddingResponse:  # type: ignore[override]  # as above
        """Embeddings from a coroutine. Raises litellm's own exceptions."""
        with self._call(asked) as call:
            await self._prepare(asked)
            result = await self._gateway().asend(call.sends(self._embed(asked)))
            return embedding_response(call.served(result), asked["model_response"], asked["logging_obj"])

    async def _prepare(self, asked: Mapping[str, Any]) -> None:
        """The deployment hook has done that, but where litellm 1.90.0 does not tell it a model given by position."""
        if not asked.get("api_base"):
            await self._gateway().prepare(self._prefix + asked["model"])

    def _call(self, asked: Mapping[str, Any]) -> _Call:
        return _Call(asked, self._name, self._gateway)

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


class _Call:
    """One of litellm's calls: our errors leave this block as litellm's own, and who has to know is told.

    A Router is told what it has to know about a full gateway; callers, loggers and the attempts that follow are told
    which attempts failed and who answered.
    """

    __slots__ = ("_asked", "_gateway", "_job", "_notes", "_report", "name")

    def __init__(self, asked: Mapping[str, Any], name: str, gateway: Callable[[], Gateway]) -> None:
        self.name = name
        self._asked = asked
        self._gateway = gateway
        self._job: Job | None = None
        self._report: Report | None = None
        self._notes: attributions.Call | None = None

    @property
    def logging_obj(self) -> Any:
        """litellm's, of this call."""
        return self._asked["logging_obj"]

    def sends(self, job: Job) -> Job:
        """This is what it sends."""
        self._job = job
        return job

    def served(self, result: Result) -> Result:
        """This is what it got: leave the report, before litellm has the response."""
        report = self._report = result.report
        notes = self._notes = attributions.Call(self._asked["logging_obj"])
        report.attempts = [*notes.attempts, *self._attempts(report.failed)] if report.failed else notes.attempts
        notes.served(report.as_dict())
        return result

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, GatewayError):
            return
        made = to_litellm(error, self._asked["model"], self.name)
        if isinstance(error, Full) and self._report is None:
            settle_cooldown(self._gateway(), self._asked["logging_obj"], made)
        notes = self._notes or attributions.Call(self._asked["logging_obj"])
        before = notes.attempts if self._report is None else self._report.attempts
        put_on(made, notes.failed([*before, *self._attempts(error)]))
        raise made from None

    def _attempts(self, error: GatewayError | None) -> Attempts:
        ask = self._job.ask if self._job is not None else None
        base = base_named(self._asked.get("api_base")) if ask is None else str(ask.base)
        model = self._asked["model"] if ask is None else ask.requested or ask.model
        return attempts_of(error, api_base=base, model=model, provider=self.name)


class ThreadChunks(Iterator[ModelResponseStream]):
    """An opened stream as litellm's chunks."""

    def __init__(self, result: Result, call: _Call) -> None:
        self._stream: ThreadStream = result.stream
        self._hidden = _hidden(result, call)
        self._call = call

    def __next__(self) -> ModelResponseStream:
        with self._call:
            return stream_chunk(next(self._stream), self._hidden, self._call.logging_obj)

    def close(self) -> None:
        """Give the connection up."""
        self._stream.close()


class TaskChunks(AsyncIterator[ModelResponseStream]):
    """A stream as litellm's chunks; it opens when it is told to, or with its first chunk."""

    def __init__(self, gateway: Gateway, job: Job, call: _Call) -> None:
        self._gateway = gateway
        self._job = job
        self._call = call
        self._stream: TaskStream | None = None
        self._hidden: dict[str, Any] = {}

    async def open(self) -> Result:
        """Send the request and read the first event. Raises litellm's own exceptions."""
        with self._call:
            result = self._call.served(await self._gateway.asend(self._job))
        self._stream = result.stream
        self._hidden = _hidden(result, self._call)
        return result

    def __aiter__(self) -> TaskChunks:
        return self

    async def __anext__(self) -> ModelResponseStream:
        if self._stream is None:
            await self.open()
        assert self._stream is not None
        with self._call:
            return stream_chunk(await self._stream.__anext__(), self._hidden, self._call.logging_obj)

    async def aclose(self) -> None:
        """Give the connection up."""
        if self._stream is not None:
            await self._stream.aclose()


def _hidden(result: Result, call: _Call) -> dict[str, Any]:
    """What each chunk carries: from the name of the provider litellm computes what a stream has cost."""
    return {**hidden_params(result), "custom_llm_provider": call.name}
