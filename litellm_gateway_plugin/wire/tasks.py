"""The edges for coroutines: aiohttp's, and httpx's for where aiohttp cannot or shall not be used.

Each belongs to one event loop and is used in no other.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import httpx
from yarl import URL

from ..errors import InvalidInput, Unreachable
from . import faults
from .options import WireOptions, proxy_for, ssl_context
from .pools import KEPT_SECONDS, TaskPool, pool_settings
from .replies import Alarm, TaskReply
from .sockets import Limit, TaskBackend
from .targets import Target, message_for, prepared, target
from .transports import close_quietly, drop, mute, readable, transport_of, transport_socket
from .values import Deadline, WireRequest

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

# A longer body is sent in slices: aiohttp warns when it is given more than a megabyte at once.
_SLICE = 1 << 18
_LONG_BODY = 1 << 20
# What aiohttp would add; it is told so for each request, because telling it costs and few requests lack one of them.
AUTOMATIC = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})
# As long as what httpx takes; aiohttp's own limit is 8 KiB, less than some gateways' policies and cookies.
_MAX_FIELD = 1 << 16
_DNS_SECONDS = 30


class TaskEdge(ABC):
    """What the two edges share: a life that ends with the event loop's, and counting what is under way.

    Args:
        options: TLS, proxies, the address to connect from.
        guarded: whether the loop still ends its generators; one that runs on after it has done so does not do it again.
    """

    name: str

    def __init__(self, options: WireOptions, *, guarded: bool = True) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self._active = 0
        self._retired = False
        self.ended = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._life = self._live()
        if guarded:
            # Run to its `yield`, the first thing in it that suspends; the loop's hook has taken note of it then.
            with suppress(StopIteration):
                self._life.__anext__().send(None)

    async def _live(self) -> AsyncGenerator[None, None]:
        """`asyncio.run` closes every generator that is left, within the loop: the one moment to close connections."""
        try:
            yield
        finally:
            self.ended = True  # a loop may run on after that (`loop.shutdown_asyncgens()` alone): it gets a new edge
            await self.aclose()

    async def send(self, request: WireRequest, deadline: Deadline) -> TaskReply:
        """As `values.AsyncEdge.send`; InvalidInput too, for what cannot be sent."""
        where = target(request.url)
        proxy = proxy_for(where.origin) if self.options.trust_env else None
        self._active += 1
        try:
            return await self.transmit(request, where, proxy, deadline, self._done)
        except BaseException:
            self._done()
            raise

    @abstractmethod
    async def transmit(
        self, request: WireRequest, where: Target, proxy: str | None, deadline: Deadline, done: Callable[[], None]
    ) -> TaskReply:
        """Send, and return a reply that calls `done`."""

    def _done(self) -> None:
        self._active -= 1
        if self._retired and not self._active and not self.loop.is_closed():
            self.close_soon()

    def close_soon(self) -> None:
        """Close, in the loop that is running."""
        self.spawn(self.aclose())

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine to its end; the loop itself would hold it only weakly."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def retire(self) -> None:
        """No new requests are coming: close as soon as the last answer under way has ended."""
        self._retired = True
        if not self._active:
            self.close_soon()

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection, also those in use."""

    @abstractmethod
    def discard(self) -> None:
        """The same, without the loop: it is closed, or stopped for good."""

    @abstractmethod
    def stop(self) -> None:
        """The same, for a loop that is stopped and may run again: it then finds everything closed."""

    @abstractmethod
    def silence(self) -> None:
        """Touch nothing, but have no finaliser act: the connections are a parent process's, or another thread's."""


class AiohttpEdge(TaskEdge):
    """Sends requests from the coroutines of one event loop, through aiohttp."""

    name = "aiohttp"

    def __init__(self, options: WireOptions, *, guarded: bool = True) -> None:
        context = ssl_context(options)
        self._connector = _Connector(
            limit=0,
            ttl_dns_cache=_DNS_SECONDS,
            keepalive_timeout=KEPT_SECONDS,
            ssl=context,
            local_addr=None if options.local_address is None else (options.local_address, 0),
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # it would also read ~/.netrc, and send a credential that nobody named
            auto_decompress=False,
            max_line_size=_MAX_FIELD,
            max_field_size=_MAX_FIELD,
        )
        self._other: HttpxTaskEdge | None = None
        # Held so that an abandoned answer which the garbage collector finds in a cycle does not take its connection
        # with it: the collector finalises in any order, and aiohttp's connections complain when they go unclosed.
        self._open: set[aiohttp.ClientResponse] = set()
        super().__init__(options, guarded=guarded)

    async def transmit(
        self, request: WireRequest, where: Target, proxy: str | None, deadline: Deadline, done: Callable[[], None]
    ) -> TaskReply:
        if self._session.closed:
            raise faults.broken(where.origin, "this client has been closed")
        if proxy is not None and _beyond_aiohttp(proxy, where):
            return await self._httpx().transmit(request, where, proxy, deadline, done)
        headers = prepared(request)
        try:
            with Alarm(where.origin, deadline):
                response = await self._session.request(
                    request.method,
                    _url(where.text),
                    data=_payload(request.body),
                    headers=headers,
                    proxy=proxy,
                    skip_auto_headers=AUTOMATIC.difference(name.lower() for name, _ in headers) or None,
                    allow_redirects=False,
                    timeout=_connecting(deadline.connect),
                )
        except Exception as error:
            found = from_aiohttp(error, where, deadline)
            if found is None:
                raise
            raise found from None
        self._open.add(response)
        return AiohttpReply(response, where, deadline, self._open, done)

    def _httpx(self) -> HttpxTaskEdge:
        if self._other is None:
            self._other = HttpxTaskEdge(self.options)
        return self._other

    async def aclose(self) -> None:
        self._break_off()
        await self._session.close()
        if self._other is not None:
            await self._other.aclose()

    def discard(self) -> None:
        for transport in self._connector.transports():
            close_quietly(transport)
        self.silence()
        while self._open:
            _close(self._open.pop())
        if self._other is not None:
            self._other.discard()

    def stop(self) -> None:
        self._break_off()
        self.silence()
        if self._other is not None:
            self._other.stop()

    def _break_off(self) -> None:
        while self._open:
            _close(self._open.pop())
        self._connector.drop_all()

    def silence(self) -> None:
        self._session.detach()
        self._connector.silence()


class AiohttpReply(TaskReply):
    """An answer of aiohttp's. Only what vcrpy's stand-in has too is used."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        where: Target,
        deadline: Deadline,
        held: set[aiohttp.ClientResponse],
        done: Callable[[], None],
    ) -> None:
        super().__init__(response.status, response.raw_headers or _encoded(response), where, deadline, done)
        self._held = held
        self._response = response
        self._content = response.content
        self._where = where

    def _ready(self) -> bytes | None:
        return self._content.read_nowait(-1) or (b"" if self._content.is_eof() else None)

    async def _wait(self) -> bytes:
        return await self._content.readany()

    def _fault(self, error: Exception) -> Exception | None:
        found = from_aiohttp(error, self._where, self._deadline)
        return found or faults.from_httpx(error, self._origin, self._deadline)  # decoding is httpx's

    async def _release(self) -> None:
        self._abandon()

    def _abandon(self) -> None:
        self._held.discard(self._response)
        if not self._content.is_eof():  # else aiohttp has released the connection when the last byte came
            _close(self._response)


def _encoded(response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """The raw headers, which what older releases of vcrpy play back does not have."""
    return [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in response.headers.items()
    ]


def _close(response: aiohttp.ClientResponse) -> None:
    connection = response.connection
    response.close()
    if connection is not None:
        connection.close()  # once more, because the response of a closed loop leaves it open


class HttpxTaskEdge(TaskEdge):
    """Sends requests from the coroutines of one event loop, through httpx: for SOCKS, and for those who ask for it."""

    name = "httpx"

    def __init__(self, options: WireOptions, *, guarded: bool = True) -> None:
        self._transports: dict[str | None, TaskTransport] = {}
        self._sockets: weakref.WeakSet[object] = weakref.WeakSet()
        super().__init__(options, guarded=guarded)

    async def transmit(
        self, request: WireRequest, where: Target, proxy: str | None, deadline: Deadline, done: Callable[[], None]
    ) -> TaskReply:
        message = message_for(request, where)
        limit = Limit(where, deadline, proxy)
        message.extensions["timeout"] = {"connect": limit}
        transport = self._transports.get(proxy) or self._make(proxy)
        try:
            with Alarm(where.origin, deadline):
                response = await transport.handle_async_request(message)
        except BaseException as error:
            drop(transport_of(limit.opened))
            found = faults.from_httpx(error, where.origin, deadline)
            if found is None:
                raise
            raise found from None
        return HttpxReply(response, where, deadline, self, done)

    def _make(self, proxy: str | None) -> TaskTransport:
        _, maker, settings = pool_settings(proxy, self.options)
        pool = TaskPool(maker(network_backend=TaskBackend(self._sockets.add), **settings))
        transport = self._transports[proxy] = TaskTransport(pool)
        return transport

    async def aclose(self) -> None:
        self.stop()
        for transport in list(self._transports.values()):
            await transport.aclose()

    def discard(self) -> None:
        for sock in list(self._sockets):
            close_quietly(transport_of(sock))

    def stop(self) -> None:
        for sock in list(self._sockets):
            drop(transport_of(sock))

    def silence(self) -> None:
        """Nothing of httpx's has a finaliser."""


class TaskTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over another pool. `handle_async_request` is inherited: vcrpy replaces it."""

    def __init__(self, pool: TaskPool) -> None:  # no super().__init__(): all it does is to make a pool
        self._pool = pool  # type: ignore[assignment]  # a pool by what it can do, not by its class


class HttpxReply(TaskReply):
    """An answer of httpx's."""

    def __init__(
        self,
        response: httpx.Response,
        where: Target,
        deadline: Deadline,
        edge: HttpxTaskEdge,
        done: Callable[[], None],
    ) -> None:
        super().__init__(response.status_code, response.headers.raw, where, deadline, done)
        self._response = response
        self._edge = edge
        self._raw: AsyncIterator[bytes] = response.stream.__aiter__()  # type: ignore[union-attr]  # it is an async one

    def _ready(self) -> bytes | None:
        return None

    async def _wait(self) -> bytes:
        return await anext(self._raw, b"")

    def _fault(self, error: Exception) -> Exception | None:
        return faults.from_httpx(error, self._origin, self._deadline)

    async def _release(self) -> None:
        with anyio.CancelScope(shield=True):  # a connection must be given back by a cancelled task too
            await self._response.aclose()

    def _abandon(self) -> None:
        if self._loop.is_closed():
            self._edge.discard()
        else:
            self._edge.spawn(self._release())


class _Connector(aiohttp.TCPConnector):
    """aiohttp's connector, except for two manners.

    A connection that is broken off is dropped, not waited for (see `transports.drop`). And one that was idle is looked
    at before it is used again: when the program has kept the loop from running, the loop has not heard that it ended.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._rested: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own parameter
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or protocol not in self._rested:
                return connection
            self._rested.discard(protocol)
            if not readable(transport_socket(protocol.transport)):
                return connection
            connection.close()

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if self._loop.is_closed():
            close_quietly(protocol.transport)
            self._acquired.discard(protocol)
            return
        if should_close or protocol.should_close:
            drop(protocol.transport)
        else:
            self._rested.add(protocol)
        super()._release(key, protocol, should_close=should_close)

    def transports(self) -> list[asyncio.BaseTransport | None]:
        """Those of idle connections and of those in use."""
        idle = [protocol for kept in self._conns.values() for protocol, _ in kept]
        return [protocol.transport for protocol in (*idle, *self._acquired)]

    def drop_all(self) -> None:
        for transport in self.transports():
            drop(transport)

    def silence(self) -> None:
        for transport in self.transports():
            mute(transport)
        self._closed = True


def from_aiohttp(error: Exception, where: Target, deadline: Deadline) -> Unreachable | InvalidInput | None:
    """Our error for one of aiohttp's, or None for anything else, which the caller lets pass."""
    origin = where.origin
    if isinstance(error, (aiohttp.ServerTimeoutError, asyncio.TimeoutError)):
        return faults.timed_out(origin, deadline, connecting=isinstance(error, aiohttp.ConnectionTimeoutError))
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return faults.tls_failed(origin, error.certificate_error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return faults.proxy_refused(origin, str(error.status))
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unconnected(error, where)
    if isinstance(error, UnicodeError):  # a host name that IDNA cannot write
        return faults.connect_failed(origin, error)
    if isinstance(error, aiohttp.InvalidURL):
        return InvalidInput("The request URL cannot be used.")
    if isinstance(error, aiohttp.ClientResponseError):
        return faults.not_http(origin)
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return faults.broken(origin)
    return None


def _unconnected(error: aiohttp.ClientConnectorError, where: Target) -> Unreachable:
    """One step of aiohttp's connects and shakes hands: a connection that is reset there was standing already."""
    proxied = isinstance(error, aiohttp.ClientProxyConnectionError)
    reset = where.secure and not proxied and isinstance(error.os_error, (ConnectionResetError, ConnectionAbortedError))
    if reset or isinstance(error, aiohttp.ClientConnectorSSLError):
        return faults.tls_failed(where.origin, error.os_error)
    return faults.connect_failed(where.origin, error.os_error, proxied=proxied)


def _beyond_aiohttp(proxy: str, where: Target) -> bool:
    """SOCKS; and, before Python 3.11, TLS to the gateway within TLS to the proxy."""
    nested = where.secure and proxy.startswith("https:")
    return proxy.startswith("socks") or (nested and sys.version_info < (3, 11))


@lru_cache(maxsize=512)
def _url(text: str) -> URL:
    return URL(text, encoded=True)  # as it is: yarl would turn %2F into a slash, and a route into another


@lru_cache(maxsize=64)
def _connecting(seconds: float | None) -> aiohttp.ClientTimeout:
    """Only for connecting (name, TCP, proxy and TLS together), and to the point; the rest is the alarm's."""
    connect = None if seconds is None else max(seconds, 1e-6)  # zero would be no limit
    return aiohttp.ClientTimeout(total=None, connect=connect, ceil_threshold=float("inf"))


def _payload(body: bytes) -> bytes | AsyncIterator[bytes] | None:
    if len(body) <= _LONG_BODY:
        return body or None
    return _in_slices(body)


async def _in_slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE]
