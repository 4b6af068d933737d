"""What the edges exchange with the engine: plain values, standard library only.

A request is complete when it gets here: the URL is final, every header is decided. An edge adds only what HTTP itself
needs (Host, Content-Length, Accept-Encoding) and never follows a redirect.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP request. `headers` holds the credential, so it never shows in a `repr`."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Deadline:
    """The moment by which the next thing must have happened.

    For a call that is not streamed it is set once and covers connect, TLS, writing, head and body together. For a
    stream the reader calls `restart` at each event, so that it bounds the time to the first event and between events.

    Args:
        seconds: the allowed time, None for no limit.
        connect: a shorter limit for connecting (TCP, proxy and TLS together), None for no limit of its own.
        clock: monotonic seconds; injected so that tests need not wait.
    """

    __slots__ = ("_clock", "connect", "expires_at", "seconds")

    def __init__(
        self,
        seconds: float | None,
        connect: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self.connect = connect
        self._clock = clock
        self.expires_at: float | None = None
        self.restart()

    def restart(self) -> None:
        """Begin the allowed time anew."""
        self.expires_at = None if self.seconds is None else self._clock() + self.seconds

    def spend(self, seconds: float) -> None:
        """So much of the allowed time had passed before it began."""
        if self.expires_at is not None:
            self.expires_at -= seconds

    def remaining(self) -> float | None:
        """Seconds left, never below zero; None for no limit."""
        return None if self.expires_at is None else max(0.0, self.expires_at - self._clock())


class SyncReply(Protocol):
    """The head of an answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; a repeated header is joined with ', '."""

    def read(self, limit: int | None = None) -> bytes:
        """The decoded body. With `limit`, at most that many bytes of it, and not much more is ever held in memory.

        The reply is closed afterwards; its connection is kept only when the body was read to its end.

        Raises:
            TimedOut, ConnectionBroken: from `litellm_gateway_plugin.errors`.
        """

    def chunks(self) -> Iterator[bytes]:
        """The decoded body, piece by piece as it arrives. Raises like `read`."""

    def close(self) -> None:
        """Give the connection up (or back, when the body was read to its end). May be called twice."""


class AsyncReply(Protocol):
    """The same, for coroutines."""

    status: int
    headers: Mapping[str, str]

    async def read(self, limit: int | None = None) -> bytes:
        """As `SyncReply.read`."""

    def chunks(self) -> AsyncIterator[bytes]:
        """As `SyncReply.chunks`."""

    async def aclose(self) -> None:
        """As `SyncReply.close`."""


class SyncEdge(Protocol):
    """Sends a request from a thread."""

    name: str
    """What `transport` reports, such as "httpx"."""

    def send(self, request: WireRequest, deadline: Deadline) -> SyncReply:
        """Send, and return when the head has arrived.

        Raises:
            ConnectFailed, TLSFailed, TimedOut, ConnectionBroken: from `litellm_gateway_plugin.errors`.
        """

    def close(self) -> None:
        """Close every connection."""


class AsyncEdge(Protocol):
    """Sends a request from a coroutine of one event loop."""

    name: str

    async def send(self, request: WireRequest, deadline: Deadline) -> AsyncReply:
        """As `SyncEdge.send`."""

    async def aclose(self) -> None:
        """Close every connection."""
