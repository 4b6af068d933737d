"""The session door: litellm's stock setting for one's own HTTP client, under its OpenAI client.

A wrapping transport. A request to a gateway is negotiated like any other and its answer handed back as if the gateway
had taken it at once; every other request goes through the client that litellm would have used, untouched.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import litellm
import openai
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_ssl_configuration

from .attributions import error_headers, headers_of
from .bodies import CHAT, TEXT
from .doors import PROVIDER, is_foreign, is_process_wide
from .engine import Result
from .errors import (
    Answered,
    BrokenAnswer,
    ConnectFailed,
    Full,
    GatewayError,
    InvalidInput,
    KeyRefused,
    ModelUnknown,
    NotAGateway,
    TimedOut,
)
from .exchange import Job
from .handle import Gateway
from .litellm_errors import CARRIED, is_own_header, to_litellm
from .negotiation import Ask
from .urls import Base, split_url

DROPPED = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})
HOP = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding"})
STREAMED = frozenset({CHAT, TEXT})
PASSED_UNREAD = frozenset({"chat/completions", "completions", "embeddings", "models"})
"""Surfaces whose successes are read and judged; those of all others are handed over unread."""

FORM_MODEL = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{1,200})\r\n')
DEPLOYMENTS = "/openai/deployments/"  # Azure's own paths, which litellm's Azure client serves


def openai_httpx() -> Any:
    """The HTTP library of the installed OpenAI client: httpx, or httpx2 from version 3 on."""
    major = int(openai.__version__.partition(".")[0])
    return importlib.import_module("httpx2" if major >= 3 else "httpx")


class Sessions:
    """Sets `litellm.client_session` and `litellm.aclient_session`, unless the program has its own.

    Args:
        gateway: gives the installation in force.
    """

    def __init__(self, gateway: Callable[[], Gateway]) -> None:
        self._gateway = gateway
        self._sync: Any = None
        self._tasks: Any = None

    def register(self) -> None:
        """Set both sessions; a session that is already there stays."""
        lib = openai_httpx()
        changed = False
        if litellm.client_session is None:
            self._sync = self._sync or lib.Client(transport=thread_transport(lib, self._gateway), follow_redirects=True)
            litellm.client_session = self._sync
            changed = True
        if litellm.aclient_session is None:
            self._tasks = self._tasks or lib.AsyncClient(
                transport=task_transport(lib, self._gateway), follow_redirects=True
            )
            litellm.aclient_session = self._tasks
            changed = True
        if changed:
            _forget_openai_clients()

    def unregister(self) -> None:
        """Take our sessions out; a program's own stays."""
        if litellm.client_session is self._sync:
            litellm.client_session = None
        if litellm.aclient_session is self._tasks:
            litellm.aclient_session = None
        if self._sync is not None:
            self._sync.close()
        self._sync = self._tasks = None
        _forget_openai_clients()


def _forget_openai_clients() -> None:
    """Litellm keeps its OpenAI clients under a key that ignores the HTTP client inside them."""
    litellm.in_memory_llm_clients_cache.flush_cache()  # type: ignore[no-untyped-call]  # litellm's


def job_for(gateway: Gateway, request: Any, body: bytes) -> Job | None:
    """A request of the OpenAI client as a job, or None when it is not for a gateway.

    Raises:
        InvalidInput: something in it cannot be sent.
    """
    url = str(request.url)
    if DEPLOYMENTS in url or not is_foreign(gateway, url.partition("?")[0]):
        return None
    found = split_url(url)
    if found is None:
        return None
    base, surface = found
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
    given, others = gateway.ask(surface=surface, model="", api_base=_text(base), api_key=None, headers=headers)
    ask = _without_foreign_key(gateway, given)
    data = _json(request.headers.get("content-type", ""), body)
    if data is None:
        ask = replace(ask, model=_form_model(body), fixed_id=True)
        opaque = surface not in PASSED_UNREAD
        return _timed(Job(ask, raw=body, headers=others, opaque=opaque, method=request.method), request)
    model = str(data.get("model") or "")
    wanted = gateway.settings.model_map.get(model, model)
    ask = replace(ask, model=wanted, requested=model if wanted != model else "", fixed_id="model" not in data)
    stream = bool(data.get("stream")) and surface in STREAMED
    opaque = surface not in PASSED_UNREAD
    return _timed(
        Job(ask, data, headers=others, stream=stream, opaque=opaque, usage_last=True, method=request.method), request
    )


def _timed(job: Job, request: Any) -> Job:
    limits = request.extensions.get("timeout") or {}
    job.timeout, job.connect = limits.get("read"), limits.get("connect")
    return job


def _text(base: Base) -> str:
    return str(base) + (f"?{base.query}" if base.query else "")


def _without_foreign_key(gateway: Gateway, ask: Ask) -> Ask:
    """A key of the whole process stays here; the gateway's own configured key goes in its place."""
    if ask.key is None or not is_process_wide(ask.key, ask.base):
        return ask
    configured, _ = gateway.ask(surface=ask.surface, model="", api_base=_text(ask.base), api_key=None, headers={})
    return configured


def _form_model(body: bytes) -> str:
    """The id in a multipart form, for an error message."""
    found = FORM_MODEL.search(body[-4096:]) or FORM_MODEL.search(body[:4096])
    return found[1].decode("utf-8", "replace") if found else ""


def _json(content_type: str, body: bytes) -> dict[str, Any] | None:
    if "json" not in content_type:
        return None
    try:
        data = json.loads(body)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _headers(result: Result) -> dict[str, str]:
    """The gateway's headers, and our report under names that litellm keeps in `additional_headers`."""
    kept = {name: value for name, value in result.headers.items() if name not in DROPPED and not is_own_header(name)}
    return {**kept, **headers_of(result.report.as_dict()), "x-should-retry": "false"}


def _error_response(lib: Any, error: GatewayError, request: Any) -> Any:
    """An error as the OpenAI client expects it; it must not retry by itself what the negotiation has settled."""
    status = _status(error)
    given = getattr(error, "headers", {}).items()
    kept = {name: value for name, value in given if name not in DROPPED and not is_own_header(name)}
    if isinstance(error, Full) and error.retry_after is not None:
        kept["retry-after"] = str(int(-(-error.retry_after // 1)))
    kept[CARRIED] = "true"
    body = {"error": {"message": error.message, "type": type(error).__name__, "param": None, "code": str(status)}}
    told = error_headers(error, request, PROVIDER)
    headers = {**kept, **told, "content-type": "application/json", "x-should-retry": "false"}
    return lib.Response(status, headers=headers, content=json.dumps(body).encode(), request=request)


# The status that makes litellm raise what the provider raises, whatever the gateway answered: some refuse a key, or do
# not know a model, with a 400.
STATUS: tuple[tuple[type[GatewayError], int], ...] = (
    (KeyRefused, 401),
    (ModelUnknown, 404),
    (InvalidInput, 400),
    (TimedOut, 408),
)


def _status(error: GatewayError) -> int:
    if isinstance(error, Full):
        return 429 if error.mapped else error.status
    for kind, status in STATUS:
        if isinstance(error, kind):
            return status
    if isinstance(error, NotAGateway):
        return 404 if 300 <= error.status < 500 and not isinstance(error, BrokenAnswer) else 502
    return error.status if isinstance(error, Answered) and error.status >= 400 else 502


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def _content(result: Result) -> bytes:
    return json.dumps(result.data, ensure_ascii=False).encode()


def thread_transport(lib: Any, gateway: Callable[[], Gateway]) -> Any:  # noqa: C901  two classes, their bases chosen at run time
    """A transport for litellm's synchronous OpenAI clients.

    Args:
        lib: httpx, or httpx2.
        gateway: gives the installation in force.
    """

    class Body(lib.SyncByteStream):  # type: ignore[misc]  # the base class is chosen at run time
        def __init__(self, parts: Iterator[bytes], close: Callable[[], None]) -> None:
            self._parts = parts
            self._close = close

        def __iter__(self) -> Iterator[bytes]:
            return self._parts

        def close(self) -> None:
            self._close()

    class Transport(lib.BaseTransport):  # type: ignore[misc]  # as above
        """Negotiates what is for a gateway; passes on what is not."""

        def __init__(self) -> None:
            self._plain: Any = None

        def handle_request(self, request: Any) -> Any:
            try:
                job = job_for(gateway(), request, request.read())
                if job is None:
                    return self._stock().send(request, stream=True, follow_redirects=False)
                return self._response(gateway().send(job), request)
            except ConnectFailed as error:
                raise lib.ConnectError(error.message, request=request) from None
            except GatewayError as error:
                return _error_response(lib, error, request)

        def close(self) -> None:
            if self._plain is not None:
                self._plain.close()

        def _stock(self) -> Any:
            """The client that litellm would have made."""
            if self._plain is None:
                self._plain = lib.Client(verify=get_ssl_configuration())
            return self._plain

        def _response(self, result: Result, request: Any) -> Any:
            headers = _headers(result)
            if result.reply is not None:
                stream = Body(result.reply.chunks(), result.reply.close)
            elif result.stream is not None:
                headers["content-type"] = "text/event-stream"
                stream = Body(self._events(result.stream, result.report.requested_model), result.stream.close)
            else:
                return lib.Response(result.status, headers=headers, content=_content(result), request=request)
            return lib.Response(result.status, headers=headers, stream=stream, request=request)

        def _events(self, stream: Any, model: str) -> Iterator[bytes]:
            try:
                for chunk in stream:
                    yield _event(chunk)
            except GatewayError as error:
                # the OpenAI client knows no status in the middle of a stream; litellm lets its own errors through
                raise to_litellm(error, model, PROVIDER) from None
            yield b"data: [DONE]\n\n"

    return Transport()


def task_transport(lib: Any, gateway: Callable[[], Gateway]) -> Any:  # noqa: C901  as above
    """The same for litellm's asynchronous OpenAI clients."""

    class Body(lib.AsyncByteStream):  # type: ignore[misc]  # as above
        def __init__(self, parts: AsyncIterator[bytes], close: Callable[[], Any]) -> None:
            self._parts = parts
            self._close = close

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._parts

        async def aclose(self) -> None:
            await self._close()

    class Transport(lib.AsyncBaseTransport):  # type: ignore[misc]  # as above
        """Negotiates what is for a gateway; passes on what is not, with one stock transport for each event loop."""

        def __init__(self) -> None:
            self._plain: dict[asyncio.AbstractEventLoop, Any] = {}

        async def handle_async_request(self, request: Any) -> Any:
            try:
                job = job_for(gateway(), request, await request.aread())
                if job is None:
                    return await (await self._stock()).handle_async_request(request)
                return self._response(await gateway().asend(job), request)
            except ConnectFailed as error:
                raise lib.ConnectError(error.message, request=request) from None
            except GatewayError as error:
                return _error_response(lib, error, request)

        async def _stock(self) -> Any:
            loop = asyncio.get_running_loop()
            if loop not in self._plain:
                for closed in [known for known in self._plain if known.is_closed()]:
                    del self._plain[closed]
                transport = stock_task_transport(lib)
                guard = closing(transport)
                await guard.__anext__()
                self._plain[loop] = (transport, guard)
            return self._plain[loop][0]

        def _response(self, result: Result, request: Any) -> Any:
            headers = _headers(result)
            if result.reply is not None:
                stream = Body(result.reply.chunks(), result.reply.aclose)
            elif result.stream is not None:
                headers["content-type"] = "text/event-stream"
                stream = Body(self._events(result.stream, result.report.requested_model), result.stream.aclose)
            else:
                return lib.Response(result.status, headers=headers, content=_content(result), request=request)
            return lib.Response(result.status, headers=headers, stream=stream, request=request)

        async def _events(self, stream: Any, model: str) -> AsyncIterator[bytes]:
            try:
                async for chunk in stream:
                    yield _event(chunk)
            except GatewayError as error:
                # the OpenAI client knows no status in the middle of a stream; litellm lets its own errors through
                raise to_litellm(error, model, PROVIDER) from None
            yield b"data: [DONE]\n\n"

    return Transport()


async def closing(transport: Any) -> AsyncIterator[None]:
    """Close a transport with its event loop, which ends every asynchronous generator that is still suspended in it."""
    try:
        yield
    finally:
        await transport.aclose()


def stock_task_transport(lib: Any) -> Any:
    """The transport that litellm itself would use in an event loop.

    Its factory was called `_create_async_transport` up to 1.105.3; without either, and for httpx2, the library's own.
    """
    make = getattr(AsyncHTTPHandler, "create_async_transport", None) or getattr(
        AsyncHTTPHandler, "_create_async_transport", None
    )
    verify = get_ssl_configuration()
    if make is not None and lib.__name__ == "httpx":
        transport = make(ssl_context=verify) if not isinstance(verify, bool) else make(ssl_verify=verify)
        if transport is not None:
            return transport
    return lib.AsyncHTTPTransport(verify=verify)
