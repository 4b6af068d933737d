"""What is done to sockets besides sending and receiving: looking whether they have ended, and closing them for good."""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from typing import Any

import httpcore


def innermost(stream: httpcore.AsyncNetworkStream) -> object:
    """The socket, as anyio has it, under a stream of httpcore's: it stays the same when TLS is wrapped around it."""
    return getattr(stream, "_stream", stream)


def transport_of(innermost: object) -> asyncio.BaseTransport | None:
    """The asyncio transport under anyio's socket; None when it cannot be found."""
    return getattr(innermost, "_transport", None)


def drop(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection that is of no more use, in a loop that is not closed: at once, unsent bytes and all.

    `close` would first wait until the peer has taken the unsent bytes, or answered TLS's goodbye: perhaps for ever.
    """
    if transport is not None:
        getattr(transport, "abort", transport.close)()  # by name: uvloop's transports are none of asyncio's classes


def transport_socket(transport: asyncio.BaseTransport | None) -> Any:
    """The socket of a transport, good for looking at; None when it is closed."""
    return None if transport is None else transport.get_extra_info("socket")


def readable(sock: Any) -> bool:
    """Whether there is something to read. On an idle connection that can only be its end, or nonsense."""
    if sock is None or sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows, where select has no limit on descriptor numbers
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def close_quietly(transport: asyncio.BaseTransport | None) -> None:
    """Close the socket under a transport whose loop will never run again.

    There is no public way: every method of a transport wants its loop, and one that is merely dropped warns. What is
    not found here (the transports of other kinds of loop) is left to its own finaliser.
    """
    mute(transport)
    tls = getattr(transport, "_ssl_protocol", None)
    if tls is not None:
        close_quietly(getattr(tls, "_transport", None))
    sock = getattr(transport, "_sock", None)
    if sock is not None:
        with suppress(OSError, AttributeError):
            transport._sock = None  # type: ignore[union-attr]
            sock.close()


def mute(transport: asyncio.BaseTransport | None) -> None:
    """Keep a TLS transport's finaliser from acting: before Python 3.11 it even sends TLS's goodbye."""
    if getattr(transport, "_ssl_protocol", None) is not None:
        with suppress(AttributeError):
            transport._closed = True  # type: ignore[union-attr]
