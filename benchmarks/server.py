"""The gateway of the benchmarks: as little work as possible, in a process of its own, with connections kept alive.

POST …/chat/completions           a small answer, or a stream of 200 chunks, one write for each
POST /picky/…/chat/completions    the same for `x-api-key`, after a moment; every other credential is refused
GET  /refused                     how many requests were refused
"""

from __future__ import annotations

import asyncio
import json
import sys

from .answers import ANSWER, CHUNKS, STREAM_CHUNKS

BACKLOG = 2048
WORK_SECONDS = 0.1
"""How long the picky gateway works on what it accepts: generations are slow, refusals are fast."""
CHUNK_SECONDS = 0.001
"""Between two chunks, so that a client reads each by itself, as it does from a model."""

END = b"data: [DONE]\n\n"
EVENTS = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS]


def answer(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


SERVED = answer("200 OK", json.dumps(ANSWER).encode())
REFUSED = answer(
    "401 Unauthorized", b'{"error":{"message":"Invalid or missing API key","type":"invalid_request_error"}}'
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Counter:
    """What the whole server has seen."""

    refused = 0


class Requests(asyncio.Protocol):
    """One connection. A client sends its next request when it has the answer to the last, so nothing is pipelined."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ends, body = self._received.partition(b"\r\n\r\n")
        if ends and len(body) >= body_length(head):
            self._received = b""
            self._serve(head, body)

    def _serve(self, head: bytes, body: bytes) -> None:
        """Answer one request."""
        raise NotImplementedError


class Connection(Requests):
    """Counts what it answers."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter

    def _serve(self, head: bytes, body: bytes) -> None:
        line, _, fields = head.partition(b"\r\n")
        if line.startswith(b"GET /refused"):
            self._write(answer("200 OK", b"%d" % self._counter.refused))
        elif b" /picky/" in line:
            self._judge(b"x-api-key:" in fields.lower())
        elif b'"stream":true' in body.replace(b" ", b""):
            self._write(STREAM_HEAD)
            self._send_chunk(0)
        else:
            self._write(SERVED)

    def _judge(self, accepted: bool) -> None:
        if accepted:
            asyncio.get_running_loop().call_later(WORK_SECONDS, self._write, SERVED)
        else:
            self._counter.refused += 1
            self._write(REFUSED)

    def _send_chunk(self, number: int) -> None:
        if number == STREAM_CHUNKS:
            self._write(framed(END) + b"0\r\n\r\n")
            return
        self._write(framed(EVENTS[number]))
        asyncio.get_running_loop().call_later(CHUNK_SECONDS, self._send_chunk, number + 1)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


def body_length(head: bytes) -> int:
    found = head.lower().partition(b"content-length:")[2]
    return int(found.partition(b"\r\n")[0] or 0)


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def main() -> None:
    """Serve until the standard input ends; the first line of output is the port."""
    counter = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counter), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
