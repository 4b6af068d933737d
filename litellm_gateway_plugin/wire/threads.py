"""The edge for threads: httpx's transport without its client, which costs as much again, over our own sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress

import httpx

from ..errors import GatewayError
from .decoding import Slices, coding_of, slice_size
from .faults import from_httpx
from .options import WireOptions, proxy_for
from .pools import ThreadPool, pool_settings
from .sockets import Limit, SocketBackend, SocketStream, in_extension
from .targets import Target, folded, message_for, target
from .values import Deadline, WireRequest


class ThreadTransport(httpx.HTTPTransport):
    """httpx's transport over another pool. `handle_request` is inherited: vcrpy records and plays by replacing it."""

    def __init__(self, pool: ThreadPool) -> None:  # no super().__init__(): all it does is to make a pool
        self._pool = pool  # type: ignore[assignment]  # a pool by what it can do, not by its class


class ThreadEdge:
    """Sends requests from threads. Safe to share among all of them.

    Args:
        options: TLS, proxies, the address to connect from.
    """

    name = "httpx"

    def __init__(self, options: WireOptions) -> None:
        self.options = options
        self._transports: dict[str | None, ThreadTransport] = {}
        self._lock = threading.Lock()
        self._closed = False

    def send(self, request: WireRequest, deadline: Deadline) -> ThreadReply:
        """As `values.SyncEdge.send`; InvalidInput too, for what cannot be sent."""
        where = target(request.url)
        message = message_for(request, where)
        proxy = proxy_for(where.origin) if self.options.trust_env else None
        limit = Limit(where, deadline, proxy)
        limit.left(0)
        message.extensions["timeout"] = in_extension(limit)
        transport = self._transports.get(proxy) or self._make(proxy)
        try:
            response = transport.handle_request(message)
        except BaseException as error:
            if isinstance(limit.opened, SocketStream):
                limit.opened.close()
            found = from_httpx(error, where.origin, deadline)
            if found is None:
                raise
            raise found from None
        return ThreadReply(response, where, deadline)

    def _make(self, proxy: str | None) -> ThreadTransport:
        with self._lock:
            if proxy not in self._transports:
                maker, _, settings = pool_settings(proxy, self.options)
                pool = ThreadPool(maker(network_backend=SocketBackend(), **settings))
                if self._closed:
                    pool.close()
                self._transports[proxy] = ThreadTransport(pool)
            return self._transports[proxy]

    def close(self) -> None:
        """Close what is idle, keep nothing any more. Answers that are being read end undisturbed."""
        self._closed = True
        for transport in list(self._transports.values()):
            transport.close()


class ThreadReply:
    """An answer whose body is still to be read. As `values.SyncReply`; its body can be read once, in any mixture."""

    def __init__(self, response: httpx.Response, where: Target, deadline: Deadline) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = folded(response.headers.raw)
        self._response = response
        self._origin = where.origin
        self._deadline = deadline
        self._raw: Iterator[bytes] = iter(response.stream)  # type: ignore[arg-type]  # a transport's stream is a sync one
        self._slices: Slices | None = None
        self._body: Iterator[bytes] | None = None
        self._closed = False

    def read(self, limit: int | None = None) -> bytes:
        try:
            body = self._decoded(limit is not None)
            if limit is None:
                return b"".join(body)
            pieces, size = [], 0
            while size < limit and (piece := next(body, b"")):
                pieces.append(piece)
                size += len(piece)
            return b"".join(pieces)[:limit]
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._fault(error) from None
        finally:
            self.close()

    def chunks(self) -> Iterator[bytes]:
        """No `finally` here: a generator's finaliser runs wherever the garbage collector happens to."""
        try:
            yield from self._decoded(False)
        except (httpx.HTTPError, httpx.StreamError) as error:
            self.close()
            raise self._fault(error) from None
        except GatewayError:
            self.close()
            raise
        self.close()

    def _decoded(self, bounded: bool) -> Iterator[bytes]:
        """The one iterator over the body; `bounded` makes its pieces small from now on."""
        coding = coding_of(self.headers, self._origin)
        if coding is None:
            return self._raw
        if self._slices is None or self._body is None:
            self._slices = Slices(self._raw)
            self._body = self._slices.decoded(coding)
        if bounded:
            self._slices.size = slice_size(coding, self._origin)
        return self._body

    def _fault(self, error: Exception) -> Exception:
        return from_httpx(error, self._origin, self._deadline) or error

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for iterator in (self._body, self._raw):
                with suppress(AttributeError, ValueError):  # not a generator; or running, in another thread
                    iterator.close()  # type: ignore[union-attr]
            self._response.close()

    def __del__(self) -> None:
        """An abandoned answer gives its connection up. No lock is taken on the way (`pools` says why that matters)."""
        with suppress(Exception):
            self.close()
