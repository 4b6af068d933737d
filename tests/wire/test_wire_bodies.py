"""Bodies: codings, limits, and connections that are kept or dropped after them."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import threading
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from litellm_gateway_plugin.errors import ConnectionBroken
from litellm_gateway_plugin.wire import Deadline
from tests.wire.conftest import Edge, Wire, fetched, request
from tests.wire.servers import Peer, answer, answering, chunked, serving

TEXT = b'{"choices": []}' * 1000


def raw_deflate(data: bytes) -> bytes:
    maker = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return maker.compress(data) + maker.flush()


def brotli(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data))


def zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


CODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("GZip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("identity", bytes),
    ("", bytes),
    ("gzip, identity", gzip.compress),
    ("br", brotli),
    ("zstd", zstd),
]


def coded(coding: str, body: bytes) -> bytes:
    return answer(body, headers=(("Content-Encoding", coding),))


@pytest.mark.parametrize(("coding", "encode"), CODINGS)
@pytest.mark.parametrize("limit", [None, 100, 10**6])
def test_body_is_decoded(wire: Wire, coding: str, encode: Callable[[bytes], bytes], limit: int | None) -> None:
    with serving(answering(coded(coding, encode(TEXT)))) as server:
        assert wire.fetch(server.url(), limit=limit).body == TEXT[:limit]


@pytest.mark.parametrize(("coding", "encode"), [*CODINGS, ("gzip, gzip", twice)])
def test_stream_is_decoded(wire: Wire, coding: str, encode: Callable[[bytes], bytes]) -> None:
    async def body(edge: Edge) -> bytes:
        reply = await edge.send(request(server.url()), Deadline(20))
        return b"".join([chunk async for chunk in reply.chunks()])

    data = encode(TEXT)
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    with serving(answering(chunked(*pieces, headers=f"Content-Encoding: {coding}\r\n"))) as server:
        assert wire.run(body) == TEXT


def test_events_come_out_as_they_arrive(wire: Wire) -> None:
    """Each flushed part of a compressed stream is readable before the next one is sent."""
    seen = threading.Semaphore(0)

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        maker = zlib.compressobj(wbits=31)
        for number in range(3):
            part = maker.compress(b"event %d;" % number) + maker.flush(zlib.Z_SYNC_FLUSH)
            peer.send(b"%x\r\n%b\r\n" % (len(part), part))
            if not seen.acquire(timeout=10):
                return
        peer.send(b"0\r\n\r\n")

    async def body(edge: Edge) -> list[bytes]:
        reply = await edge.send(request(server.url()), Deadline(20))
        events = []
        async for chunk in reply.chunks():
            events.append(chunk)
            seen.release()
        return events

    with serving(handle) as server:
        assert b"".join(wire.run(body)) == b"event 0;event 1;event 2;"


@pytest.mark.parametrize("limit", [None, 100])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_body_that_cannot_be_decoded(wire: Wire, coding: str, limit: int | None) -> None:
    broken = answering(coded(coding, b"\xff no such thing"))
    with (
        serving(broken) as server,
        pytest.raises(ConnectionBroken, match=f"^{server.base}: the body cannot be decoded"),
    ):
        wire.fetch(server.url(), limit=limit)


def test_coding_that_nobody_asked_for(wire: Wire) -> None:
    unknown = answering(coded("compress", b"abc"))
    with serving(unknown) as server, pytest.raises(ConnectionBroken, match="was not asked for"):
        wire.fetch(server.url())


def test_bounded_body_that_is_coded_twice(wire: Wire) -> None:
    nested = answering(coded("gzip, gzip", twice(TEXT)))
    with serving(nested) as server, pytest.raises(ConnectionBroken, match="more than once"):
        wire.fetch(server.url(), limit=100)


@pytest.mark.parametrize("limit", [0, 1, 4096, 1 << 20])
@pytest.mark.parametrize(("coding", "bits"), [("gzip", 31), ("deflate", 15)])
def test_compression_bomb_is_not_unpacked(wire: Wire, coding: str, bits: int, limit: int) -> None:
    maker = zlib.compressobj(9, wbits=bits)
    bomb = b"".join([maker.compress(bytes(1 << 20)) for _ in range(300)]) + maker.flush()
    with serving(answering(coded(coding, bomb))) as server:
        tracemalloc.start()
        try:
            assert wire.fetch(server.url(), limit=limit).body == bytes(limit)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < limit * 2 + (6 << 20)  # twice, because the pieces are joined; and the buffers of client and server


@pytest.mark.parametrize(("coding", "package"), [("br", "brotli"), ("zstd", "zstandard")])
def test_bombs_of_the_optional_codings(wire: Wire, coding: str, package: str) -> None:
    pytest.importorskip(package)
    bomb = (brotli if coding == "br" else zstd)(bytes(300 << 20))
    with serving(answering(coded(coding, bomb))) as server:
        assert wire.fetch(server.url(), limit=5000).body == bytes(5000)


def test_accept_encoding_names_what_can_be_decoded(wire: Wire) -> None:
    with serving(answering(answer())) as server:
        wire.fetch(server.url())
        named = {coding.strip() for coding in (server.requests[0].header("accept-encoding") or "").split(",")}
    for coding, packages in (("br", ("brotli", "brotlicffi")), ("zstd", ("zstandard",))):
        assert (coding in named) is any(importable(package) for package in packages)


def importable(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def test_limit_stops_an_endless_body_and_drops_the_connection(wire: Wire) -> None:
    closed = threading.Event()

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while not peer.server.done.is_set():
                peer.send(b"x" * 65536)
        except OSError:
            closed.set()

    async def body(edge: Edge) -> None:
        found = await fetched(edge, server.url(), limit=1000)
        assert found.body == b"x" * 1000
        assert await asyncio.to_thread(closed.wait, 10)

    with serving(handle) as server:
        wire.run(body)


@pytest.mark.parametrize("limit", [None, 3, 100])
def test_connection_is_kept_after_a_body_read_to_its_end(wire: Wire, limit: int | None) -> None:
    async def body(edge: Edge) -> None:
        for _ in range(3):
            await fetched(edge, server.url(), limit=limit)

    with serving(answering(chunked(b"a", b"b"))) as server:
        wire.run(body)
        assert server.accepted == 1


@pytest.mark.parametrize("limit", [None, 100])
def test_connection_is_kept_after_a_decoded_body(wire: Wire, limit: int | None) -> None:
    async def body(edge: Edge) -> None:
        for _ in range(3):
            await fetched(edge, server.url(), limit=limit)

    with serving(answering(coded("gzip", gzip.compress(b"a")))) as server:
        wire.run(body)
        assert server.accepted == 1


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_body_read_in_a_mixture_of_ways(wire: Wire, coding: str) -> None:
    """The first event is looked at before the rest is read."""

    async def body(edge: Edge) -> bytes:
        reply = await edge.send(request(server.url()), Deadline(20))
        first = b""
        async for chunk in reply.chunks():
            first = chunk
            break
        rest = await reply.read()
        assert await reply.read() == b""
        await reply.aclose()
        return first + rest

    data = TEXT if coding == "identity" else gzip.compress(TEXT)
    pieces = [data[start : start + 11] for start in range(0, len(data), 11)]
    with serving(answering(chunked(*pieces, headers=f"Content-Encoding: {coding}\r\n"))) as server:
        assert wire.run(body) == TEXT


def test_reply_may_be_closed_twice_and_at_any_time(wire: Wire) -> None:
    async def body(edge: Edge) -> None:
        for _ in range(3):
            reply = await edge.send(request(server.url()), Deadline(20))
            await reply.aclose()
            await reply.aclose()
        assert (await fetched(edge, server.url())).body == TEXT

    with serving(answering(answer(TEXT))) as server:
        wire.run(body)


def test_large_body(wire: Wire) -> None:
    data = b"0123456789abcdef" * (1 << 18)
    with serving(answering(answer(data))) as server:
        assert wire.fetch(server.url()).body == data
