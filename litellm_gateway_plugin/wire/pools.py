"""Connections kept for the next request.

httpcore makes the connections; its pool does not keep them, for three reasons. It walks and polls all its connections
twice per request, which costs milliseconds once a hundred are idle. It counts those in use as idle, and so reuses none
as soon as more than its limit are busy. And it holds a lock while it allocates: a stream that the garbage collector
closes at that moment wants the same lock, and the process hangs.

Here a request takes a connection off a stack, last in, first out, and whoever ends the answer puts it back. A deque's
`pop` and `append` are atomic, so there is no lock to hang on: closing is safe wherever it happens, even in a finaliser.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio
import httpcore
import httpx

from ..errors import InvalidInput
from .options import WireOptions, ssl_context
from .targets import RAW_TARGET

# Per origin. The time is below the minute after which common load balancers give an idle connection up.
KEPT_CONNECTIONS = 100
KEPT_SECONDS = 55.0


class _Connection(Protocol):
    def has_expired(self) -> bool: ...
    def is_idle(self) -> bool: ...


C = TypeVar("C", bound=_Connection)


class Shelf(Generic[C]):
    """Idle connections by origin, and those in use. What it hands out in `dead` is for the caller to close.

    Args:
        busy: holds those in use, so that an abandoned answer which the garbage collector finds in a cycle does not take
            its socket with it: the collector finalises in any order, and a socket that goes unclosed complains.
    """

    def __init__(self, busy: set[C]) -> None:
        self.busy = busy
        self._stacks: dict[tuple[bytes, bytes, int], deque[C]] = {}
        self._open = True

    def is_open(self) -> bool:
        return self._open

    def take(self, origin: httpcore.Origin, dead: list[C]) -> C | None:
        """The connection used last, if it is still good."""
        stack = self._stacks.get((origin.scheme, origin.host, origin.port))
        while stack:
            try:
                connection = stack.pop()
            except IndexError:  # another thread took it in between
                break
            if not connection.has_expired():
                self.busy.add(connection)
                return connection
            dead.append(connection)
        return None

    def give(self, origin: httpcore.Origin, connection: C, dead: list[C]) -> None:
        """Keep a connection that was in use, when it can be used again."""
        self.busy.discard(connection)
        if not (self.is_open() and connection.is_idle()) or _left_over(connection):
            dead.append(connection)
            return
        stack = self._stacks.setdefault((origin.scheme, origin.host, origin.port), deque())
        stack.append(connection)
        if len(stack) > KEPT_CONNECTIONS:
            dead.extend(islice(_oldest(stack), 1))
        if not self.is_open():  # closed in between, by another thread
            dead.extend(self.close())

    def sweep(self, dead: list[C]) -> None:
        """Take out what has expired; called when a connection is made, which is rare and slow in any case."""
        for stack in list(self._stacks.values()):
            for connection in _oldest(stack):
                if not connection.has_expired():
                    stack.appendleft(connection)
                    break
                dead.append(connection)

    def close(self) -> list[C]:
        """Keep nothing any more."""
        self._open = False
        return [connection for stack in list(self._stacks.values()) for connection in _oldest(stack)]


def _left_over(connection: object) -> bool:
    """Whether bytes came after the end of the answer: httpcore would take them for the answer to the next request."""
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    state = getattr(connection, "_h11_state", None)
    return state is not None and bool(state.trailing_data[0])


def _oldest(stack: deque[C]) -> Iterator[C]:
    """Pop the oldest, again and again. As a generator: whoever uses it decides when to stop."""
    while stack:
        try:
            yield stack.popleft()
        except IndexError:
            return


# Those of all threads, because an answer may be abandoned, and found by the collector, together with its pool.
_in_use: set[httpcore.ConnectionInterface] = set()


class ThreadPool:
    """What `httpx.HTTPTransport` asks of a pool: `handle_request` and `close`."""

    def __init__(self, maker: httpcore.ConnectionPool) -> None:
        self._maker = maker
        self._shelf = Shelf(_in_use)

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        restore_target(request)
        origin = request.url.origin
        connection = self._take(origin)
        try:
            response = connection.handle_request(request)
        except BaseException:
            self._shelf.busy.discard(connection)
            connection.close()
            raise
        response.stream = ThreadBody(self, origin, connection, response.stream)
        return response

    def _take(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        dead: list[httpcore.ConnectionInterface] = []
        connection = self._shelf.take(origin, dead)
        if connection is None:
            self._shelf.sweep(dead)
            connection = self._maker.create_connection(origin)
            self._shelf.busy.add(connection)
        _close_all(dead)
        return connection

    def give_back(self, origin: httpcore.Origin, connection: httpcore.ConnectionInterface) -> None:
        dead: list[httpcore.ConnectionInterface] = []
        self._shelf.give(origin, connection, dead)
        _close_all(dead)

    def close(self) -> None:
        """Close what is idle. What is in use is closed when its answer ends."""
        _close_all(self._shelf.close())


class ThreadBody:
    """The raw body of an answer, which gives its connection back when it is closed."""

    def __init__(
        self, pool: ThreadPool, origin: httpcore.Origin, connection: httpcore.ConnectionInterface, stream: Any
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._connection: httpcore.ConnectionInterface | None = connection
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._stream.close()
            self._pool.give_back(self._origin, connection)


class TaskPool:
    """The same for `httpx.AsyncHTTPTransport`, whose pool has no locks but walks its connections too."""

    def __init__(self, maker: httpcore.AsyncConnectionPool) -> None:
        self._maker = maker
        self._shelf: Shelf[httpcore.AsyncConnectionInterface] = Shelf(set())

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        restore_target(request)
        origin = request.url.origin
        connection = await self._take(origin)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._shelf.busy.discard(connection)
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            raise
        response.stream = TaskBody(self, origin, connection, response.stream)
        return response

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        dead: list[httpcore.AsyncConnectionInterface] = []
        connection = self._shelf.take(origin, dead)
        if connection is None:
            self._shelf.sweep(dead)
            connection = self._maker.create_connection(origin)
            self._shelf.busy.add(connection)
        await _aclose_all(dead)
        return connection

    async def give_back(self, origin: httpcore.Origin, connection: httpcore.AsyncConnectionInterface) -> None:
        dead: list[httpcore.AsyncConnectionInterface] = []
        self._shelf.give(origin, connection, dead)
        await _aclose_all(dead)

    async def aclose(self) -> None:
        await _aclose_all(self._shelf.close())


class TaskBody:
    """As `ThreadBody`."""

    def __init__(
        self, pool: TaskPool, origin: httpcore.Origin, connection: httpcore.AsyncConnectionInterface, stream: Any
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._connection: httpcore.AsyncConnectionInterface | None = connection
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return cast(AsyncIterator[bytes], self._stream.__aiter__())

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._stream.aclose()
            await self._pool.give_back(self._origin, connection)


def restore_target(request: httpcore.Request) -> None:
    """Send the path as given: httpx has removed dot segments and encoded what it thinks has to be.

    (httpcore's own "target" extension would also replace the target of a proxy's CONNECT.)
    """
    raw = request.extensions.get(RAW_TARGET)
    if raw is not None:
        url = request.url
        request.url = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=raw)


def pool_settings(proxy: str | None, options: WireOptions) -> tuple[type[Any], type[Any], dict[str, Any]]:
    """The two pool classes of httpcore for a proxy, which know how to make connections, and how to call either.

    Raises:
        InvalidInput: a SOCKS proxy, and the package for it is not installed.
    """
    context = ssl_context(options)
    settings: dict[str, Any] = {"ssl_context": context, "keepalive_expiry": KEPT_SECONDS}
    if proxy is None:
        settings["local_address"] = options.local_address
        return httpcore.ConnectionPool, httpcore.AsyncConnectionPool, settings
    parsed = httpx.Proxy(proxy)
    settings |= {"proxy_url": str(parsed.url), "proxy_auth": parsed.raw_auth}
    if parsed.url.scheme.startswith("socks"):
        if find_spec("socksio") is None:
            raise InvalidInput("The environment names a SOCKS proxy; that needs: pip install 'httpx[socks]'")
        return httpcore.SOCKSProxy, httpcore.AsyncSOCKSProxy, settings
    if parsed.url.scheme == "https":
        settings["proxy_ssl_context"] = context
    return httpcore.HTTPProxy, httpcore.AsyncHTTPProxy, settings


def _close_all(connections: list[httpcore.ConnectionInterface]) -> None:
    for connection in connections:
        connection.close()


async def _aclose_all(connections: list[httpcore.AsyncConnectionInterface]) -> None:
    for connection in connections:
        await connection.aclose()
