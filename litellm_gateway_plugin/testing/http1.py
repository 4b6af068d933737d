"""A connection of the gateway: HTTP/1.1 by hand, because a gateway with bad manners breaks it on purpose.

It reads requests and writes bytes; what to write is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

from .request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MAX_HEAD_BYTES = 1_000_000


class Gone(Exception):
    """There is nothing more to read from this connection, or nobody to write to."""


class Connection(asyncio.Protocol):
    """One connection from a client.

    Args:
        serve: what runs for as long as the connection is open.
    """

    def __init__(self, serve: Callable[[Connection], Coroutine[Any, Any, None]]) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._serve = serve
        self._buffer = bytearray()
        self._arrived: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.gone: asyncio.Future[None] = loop.create_future()
        self.number = 0
        self.transport: asyncio.Transport
        self.task: asyncio.Task[None]

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.task = self._loop.create_task(self._serve(self))

    def data_received(self, data: bytes) -> None:
        """Keep what arrived until it is read."""
        self._buffer += data
        self._wake(self._arrived)

    def eof_received(self) -> None:
        """Take a client that sends no more for one that is gone."""
        self._wake(self.gone)
        self._wake(self._arrived)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        """Wake whoever waits for the client."""
        for waiting in (self.gone, self._arrived, self._writable):
            self._wake(waiting)

    def pause_writing(self) -> None:
        """Let writers wait: the client is slow."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._wake(self._writable)
        self._writable = None

    @staticmethod
    def _wake(waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    # Reading.

    async def _more(self) -> None:
        if self.gone.done():
            raise Gone
        self._arrived = self._loop.create_future()
        await self._arrived

    async def _read_until(self, end: bytes) -> bytes:
        while (found := self._buffer.find(end)) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise Gone
            await self._more()
        return self._take(found + len(end))

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def read_head(self) -> Request:
        """The next request without its body.

        Raises:
            Gone: there is none.
        """
        head = (await self._read_until(b"\r\n\r\n"))[:-4].decode("latin-1").lstrip("\r\n")
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        target, _, version = rest.rpartition(" ")
        split = (line.partition(":") for line in lines)
        headers = [(name.strip().lower(), value.strip()) for name, _, value in split]
        return Request(method, target, headers, connection=self.number, http10=version == "HTTP/1.0")

    async def read_body(self, request: Request) -> bytes:
        """The body that belongs to this head.

        Raises:
            Gone: the client left in the middle of it.
        """
        if request.header("expect") == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (request.header("transfer-encoding") or "").lower() == "chunked":
            return await self._read_chunks()
        length = request.header("content-length") or "0"
        if not length.isdecimal():
            raise Gone
        return await self._read_exactly(int(length))

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := await self._chunk_size():
            body += (await self._read_exactly(size + 2))[:-2]
        while (await self._read_until(b"\r\n")) != b"\r\n":
            pass  # trailers
        return bytes(body)

    async def _chunk_size(self) -> int:
        text = (await self._read_until(b"\r\n")).partition(b";")[0]
        try:
            return int(text, 16)
        except ValueError:
            raise Gone from None

    # Writing.

    async def write(self, data: bytes) -> None:
        """Send bytes, and wait while the client is slow to take them.

        Raises:
            Gone: nobody is there to take them.
        """
        if self.gone.done():
            raise Gone
        self.transport.write(data)
        while self._writable is not None and not self.gone.done():
            await self._writable

    async def wait_gone(self, until: asyncio.Future[Any]) -> None:
        """Wait until something happens.

        Raises:
            Gone: the client left first.
        """
        await asyncio.wait((until, self.gone), return_when=asyncio.FIRST_COMPLETED)
        if self.gone.done():
            raise Gone

    def close(self) -> None:
        """Close the connection in good order."""
        self.transport.close()

    def reset(self) -> None:
        """Break the connection: the client sees a reset."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
