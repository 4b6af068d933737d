"""Sockets that keep a deadline: the network backends that httpcore is given.

httpcore passes a time-out to every socket call, but reads it once per head and once per body, so a peer that sends a
byte now and then is never late; its SOCKS handshake passes none; and name resolution has none at all. What it passes it
never looks into, though. So it is given a `Limit`, which says at each call how much time is left.

Our own errors are raised here and pass through httpcore and httpx as they are.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar, cast

import httpcore

from ..errors import GatewayError
from .faults import connect_failed, timed_out, tls_failed
from .targets import Target
from .transports import innermost, readable
from .values import Deadline

T = TypeVar("T")


class Limit:
    """The deadline of one request, and how far its connection has come.

    Args:
        where: the request's target, for messages.
        proxy: the proxy it goes through.

    Attributes:
        opened: the stream that was opened for this request, None when one was used again. Whoever sees the request fail
            closes it: httpcore leaves one open when SOCKS fails.
    """

    __slots__ = ("_connecting", "_layers", "deadline", "opened", "origin", "proxied")

    def __init__(self, where: Target, deadline: Deadline, proxy: str | None) -> None:
        self.origin = where.origin
        self.deadline = deadline
        self.proxied = proxy is not None
        # Over a proxy connecting lasts until TLS with the gateway itself stands, reads and writes for CONNECT included.
        self._layers = where.secure + bool(proxy and proxy.startswith("https:"))
        self._connecting: Deadline | None = None
        self.opened: object = None

    def begin(self) -> None:
        """Connecting begins: from now its own limit runs."""
        self._connecting = None if self.deadline.connect is None else Deadline(self.deadline.connect)

    def left(self, layers: int) -> float | None:
        """Seconds left for a call on a stream with that many layers of TLS, -1 being one that is not there yet.

        Raises:
            TimedOut: none are left; a socket would take zero for "do not block".
        """
        overall = self.deadline.remaining()
        connecting = self._connecting.remaining() if self._connecting and self.connecting(layers) else None
        if overall == 0 or connecting == 0:
            raise self.timed_out(layers)
        if overall is None or connecting is None:
            return connecting if overall is None else overall
        return min(overall, connecting)

    def connecting(self, layers: int) -> bool:
        """Whether a stream with that many layers of TLS is not yet the one that the request is sent over."""
        return layers < self._layers or layers < 0

    def timed_out(self, layers: int) -> GatewayError:
        first = self._connecting.expires_at if self._connecting and self.connecting(layers) else None
        last = self.deadline.expires_at
        connecting = first is not None and (last is None or first < last)
        return timed_out(self.origin, self.deadline, connecting=connecting, in_tls=layers >= 0 and not self.proxied)


def in_extension(limit: Limit) -> dict[str, Any]:
    """The limit where httpcore looks for time-outs."""
    return {"connect": limit, "read": limit, "write": limit}


class SocketBackend(httpcore.NetworkBackend):
    """Connects in a thread's own time."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002  # none is ever set
    ) -> httpcore.NetworkStream:
        limit = cast(Limit, timeout)
        limit.begin()
        addresses = _resolve(host, port, limit)
        while True:
            family, _, _, _, address = addresses.pop(0)
            try:
                stream = SocketStream(_connect(family, address, local_address, limit, len(addresses)), limit)
            except (OSError, GatewayError) as error:
                failure = error
            else:
                limit.opened = stream
                return stream
            if not addresses:
                raise _connect_fault(failure, limit) from None


class SocketStream(httpcore.NetworkStream):
    """A socket, plain or with TLS on it."""

    def __init__(self, sock: socket.socket, limit: Limit, layers: int = 0) -> None:
        self._sock = sock
        self._limit = limit
        self._layers = layers

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._call(self._sock.recv, max_bytes, httpcore.ReadError, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        while rest:
            rest = rest[self._call(self._sock.send, rest, httpcore.WriteError, timeout) :]

    def _call(self, act: Callable[[Any], T], what: Any, failure: type[Exception], timeout: Any) -> T:
        """One socket call, by the limit of the request that is using the connection now."""
        limit = self._limit = timeout or self._limit
        self._sock.settimeout(limit.left(self._layers))
        try:
            return act(what)
        except TimeoutError:
            raise limit.timed_out(self._layers) from None
        except OSError:
            raise failure from None

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit = self._limit = cast("Limit | None", timeout) or self._limit
        try:
            if self._layers:
                return NestedStream(self, ssl_context, server_hostname)
            self._sock.settimeout(limit.left(-1))
            return SocketStream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname), limit, 1)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise limit.timed_out(self._layers) from None
            if isinstance(error, (OSError, ValueError, httpcore.NetworkError)):
                raise tls_failed(limit.origin, error) from None
            raise

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return readable(self._sock)
        if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket):
            return self._sock
        return self._sock if info == "socket" else None


class NestedStream(httpcore.NetworkStream):
    """TLS within TLS: an https gateway behind an https proxy. The standard library cannot wrap a socket twice."""

    def __init__(self, outer: SocketStream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._outer = outer
        self._timeout: float | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._pump(self._tls.do_handshake)
        outer._layers = 2

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._timeout = timeout
        try:
            return self._pump(partial(self._tls.read, max_bytes))
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError:
            raise httpcore.ReadError from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._timeout = timeout
        rest = memoryview(buffer)
        while rest:
            rest = rest[self._pump(partial(self._tls.write, rest)) :]

    def _pump(self, act: Callable[[], T]) -> T:
        while True:
            try:
                result = act()
            except ssl.SSLWantReadError:
                self._outer.write(self._outgoing.read(), self._timeout)
                data = self._outer.read(1 << 16, self._timeout)
                self._incoming.write(data) if data else self._incoming.write_eof()
            else:
                self._outer.write(self._outgoing.read(), self._timeout)
                return result

    def close(self) -> None:
        self._outer.close()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._outer.get_extra_info(info)


class TaskBackend(httpcore.AsyncNetworkBackend):
    """Connects within an event loop. Here the limit matters only until the connection stands: whoever awaits the
    request has an alarm of his own (`replies.Alarm`), so the stream proper is httpcore's, without a wrapper to pay for.

    Args:
        opened: told of every new socket, as anyio has it.
    """

    def __init__(self, opened: Callable[[object], None]) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._opened = opened

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        limit = cast(Limit, timeout)
        limit.begin()
        try:
            stream = await self._inner.connect_tcp(host, port, limit.left(-1), local_address, socket_options)
        except httpcore.ConnectTimeout:
            raise limit.timed_out(-1) from None
        except (httpcore.ConnectError, OSError) as error:
            raise _connect_fault(_cause(error), limit) from None
        limit.opened = innermost(stream)
        self._opened(limit.opened)
        return ConnectingStream(stream, limit, 0) if limit.connecting(0) else stream


class ConnectingStream(httpcore.AsyncNetworkStream):
    """A stream on its way to being the connection: TLS, and a proxy's CONNECT, by the limit for connecting."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, limit: Limit, layers: int) -> None:
        self._stream = stream
        self._limit = limit
        self._layers = layers

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  # SOCKS passes none
        try:
            return await self._stream.read(max_bytes, self._limit.left(self._layers))
        except httpcore.ReadTimeout:
            raise self._limit.timed_out(self._layers) from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  # SOCKS passes none
        try:
            await self._stream.write(buffer, self._limit.left(self._layers))
        except httpcore.WriteTimeout:
            raise self._limit.timed_out(self._layers) from None

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002  # the limit that connecting began with
    ) -> httpcore.AsyncNetworkStream:
        limit, layers = self._limit, self._layers + 1
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, limit.left(-1))
        except httpcore.ConnectTimeout:
            raise limit.timed_out(self._layers) from None
        except (httpcore.ConnectError, OSError, ValueError) as error:
            raise tls_failed(limit.origin, _cause(error)) from None
        return ConnectingStream(stream, limit, layers) if limit.connecting(layers) else stream

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _connect(family: int, address: Any, local_address: str | None, limit: Limit, others: int) -> socket.socket:
    """Connect to one address, leaving an even share of the time to the others: the first may be a black hole."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        left = limit.left(-1)
        sock.settimeout(None if left is None else left / (others + 1))
        if local_address is not None:
            sock.bind((local_address, 0))
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_fault(error: BaseException | None, limit: Limit) -> GatewayError:
    ours = isinstance(error, TimeoutError) and error.errno is None  # the kernel's own has a number
    if ours or isinstance(error, GatewayError):
        return limit.timed_out(-1)
    return connect_failed(limit.origin, error, proxied=limit.proxied)


def _cause(error: BaseException) -> BaseException:
    """What httpcore wrapped, and in it what anyio did: the former keeps it as its argument, the latter as the cause."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, BaseException):
        return _cause(inner)
    if isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
        several = getattr(error.__cause__, "exceptions", None)  # one for each address
        return several[0] if several else error.__cause__
    return error


def _resolve(host: str, port: int, limit: Limit) -> list[Any]:
    """Look a name up, in a thread that can be left behind: the system's resolver takes no time-out."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass  # a name, then
    left = limit.left(-1)
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
    try:
        threading.Thread(target=_look_up, args=(host, port, answer), daemon=True).start()
        found = answer.get(timeout=left)
    except queue.Empty:
        raise limit.timed_out(-1) from None
    except RuntimeError:  # no threads any more: the interpreter is shutting down
        _look_up(host, port, answer)
        found = answer.get()
    if isinstance(found, BaseException):
        raise connect_failed(limit.origin, found, proxied=limit.proxied) from None
    return cast(list[Any], found)


def _look_up(host: str, port: int, answer: queue.SimpleQueue[Any]) -> None:
    try:
        answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot write
        answer.put(error)
