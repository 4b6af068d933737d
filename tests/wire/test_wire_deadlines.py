"""The time-out is kept, whatever the peer does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from litellm_gateway_plugin.errors import TimedOut
from litellm_gateway_plugin.wire import Deadline
from tests.wire.conftest import Edge, Wire, environment, fetched, request
from tests.wire.servers import Handler, Peer, answer, answering, serving, tunnelling

SHORT = 0.3


def dribbling(opening: bytes, drop: bytes) -> Handler:
    """Sends a byte now and then: each read of the client's is in time, the whole never ends."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(opening)
        while not peer.server.done.wait(0.02):
            peer.send(drop)

    return handle


def silent(peer: Peer) -> None:
    peer.request()
    peer.server.done.wait(60)


def deaf(peer: Peer) -> None:
    peer.server.done.wait(60)


STALLS: dict[str, Handler] = {
    "no answer": silent,
    "dribbled head": dribbling(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "interim answers without end": dribbling(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "stalled body": dribbling(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b""),
    "dribbled body": dribbling(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x"),
    "dribbled chunks": dribbling(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("stall", STALLS)
def test_deadline_covers_head_and_body_together(wire: Wire, stall: str) -> None:
    with serving(STALLS[stall]) as server, pytest.raises(TimedOut, match=rf"{server.base}: .*within 0.3 s"):
        wire.fetch(server.url(), Deadline(SHORT))


@pytest.mark.parametrize("stall", STALLS)
def test_what_timed_out_is_closed(wire: Wire, stall: str) -> None:
    closed = threading.Event()

    def handle(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            STALLS[stall](peer)
        if peer.gone():
            closed.set()

    async def body(edge: Edge) -> None:
        with pytest.raises(TimedOut):
            await fetched(edge, server.url(), Deadline(SHORT))
        server.done.set()
        assert await asyncio.to_thread(closed.wait, 10)

    with serving(handle) as server:
        wire.run(body)


def test_server_that_never_reads(wire: Wire) -> None:
    with serving(deaf) as server, pytest.raises(TimedOut):
        wire.fetch(server.url(), Deadline(SHORT), body=b"x" * (32 << 20))


def test_connection_with_unsent_bytes_is_dropped(wire: Wire) -> None:
    """Closing it politely would wait until the server reads, and keep the body in memory until then."""
    got: list[int] = []
    broken_off = threading.Event()

    def handle(peer: Peer) -> None:
        broken_off.wait(20)
        with contextlib.suppress(OSError):
            while data := peer.sock.recv(1 << 16):
                got.append(len(data))

    async def body(edge: Edge) -> None:
        with pytest.raises(TimedOut):
            await fetched(edge, server.url(), Deadline(SHORT), body=b"x" * (32 << 20))
        broken_off.set()
        await asyncio.to_thread(wait_until, lambda: server.open == 0)

    with serving(handle) as server:
        wire.run(body)
    assert sum(got) < 32 << 20


def test_server_that_reads_a_little_now_and_then(wire: Wire) -> None:
    def handle(peer: Peer) -> None:
        while not peer.server.done.wait(0.02):
            peer.sock.recv(4096)

    with serving(handle) as server, pytest.raises(TimedOut):
        wire.fetch(server.url(), Deadline(SHORT), body=b"x" * (32 << 20))


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port that takes no more connections: the client's first packet stays without an answer."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("deadline", "message"),
    [
        (lambda: Deadline(SHORT), "no complete answer within 0.3 s"),
        (lambda: Deadline(60, connect=SHORT), "no connection within 0.3 s"),
        (lambda: Deadline(None, connect=SHORT), "no connection within 0.3 s"),
        (lambda: Deadline(SHORT, connect=60), "no complete answer within 0.3 s"),
    ],
)
def test_connecting_is_bounded(wire: Wire, deadline: Callable[[], Deadline], message: str) -> None:
    with full_backlog() as port, pytest.raises(TimedOut, match=message):
        wire.fetch(f"http://127.0.0.1:{port}/", deadline())


@pytest.mark.parametrize(
    ("deadline", "message"),
    [
        (lambda: Deadline(SHORT), "no complete answer within 0.3 s"),
        (lambda: Deadline(None, connect=SHORT), "no connection within 0.3 s"),
    ],
)
def test_tls_handshake_that_never_ends(wire: Wire, deadline: Callable[[], Deadline], message: str) -> None:
    with serving(deaf) as server, pytest.raises(TimedOut, match=message):
        wire.fetch(f"https://127.0.0.1:{server.port}/", deadline())


@pytest.mark.parametrize(
    ("deadline", "message"),
    [
        (lambda: Deadline(SHORT), "no complete answer within 0.3 s"),
        (lambda: Deadline(None, connect=SHORT), "no connection within 0.3 s"),
    ],
)
def test_proxy_that_never_opens_the_tunnel(wire: Wire, deadline: Callable[[], Deadline], message: str) -> None:
    with serving(silent) as proxy, environment(HTTPS_PROXY=proxy.base), pytest.raises(TimedOut, match=message):
        wire.fetch("https://gateway.invalid/", deadline())


def test_handshake_behind_a_proxy_is_connecting_too(wire: Wire) -> None:
    with (
        serving(deaf) as server,
        serving(tunnelling()) as proxy,
        environment(HTTPS_PROXY=proxy.base),
        pytest.raises(TimedOut, match=r"no connection within 0\.3 s"),
    ):
        wire.fetch(f"https://127.0.0.1:{server.port}/", Deadline(None, connect=SHORT))


def test_limit_for_connecting_ends_when_the_connection_stands(wire: Wire) -> None:
    def late(peer: Peer) -> None:
        peer.request()
        peer.server.done.wait(3 * SHORT)
        peer.send(answer())

    with serving(late) as server:
        assert wire.fetch(server.url(), Deadline(20, connect=SHORT)).body == b"ok"


def test_name_resolution_is_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    genuine = socket.getaddrinfo

    def stuck(host: str | bytes, port: int, *rest: object, **options: object) -> object:
        if host in ("slow.invalid", b"slow.invalid") and options.get("flags") != socket.AI_NUMERICHOST:
            over.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "late")
        return genuine(host, port, *rest, **options)  # type: ignore[arg-type]

    async def body(edge: Edge) -> None:
        try:
            with pytest.raises(TimedOut):
                await fetched(edge, "http://slow.invalid/", Deadline(SHORT))
        finally:
            over.set()

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    wire.run(body)


def test_stream_goes_on_as_long_as_the_reader_restarts_the_deadline(wire: Wire) -> None:
    pieces = 8

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(pieces):
            peer.server.done.wait(SHORT / 2)
            peer.send(b"1\r\nx\r\n")
        peer.server.done.wait(60)

    async def body(edge: Edge) -> int:
        deadline = Deadline(SHORT * 2)
        reply = await edge.send(request(server.url()), deadline)
        seen: list[bytes] = []

        async def read() -> None:
            async for chunk in reply.chunks():
                seen.append(chunk)
                deadline.restart()

        with pytest.raises(TimedOut):
            await read()
        return len(b"".join(seen))

    with serving(handle) as server:
        assert wire.run(body) == pieces


def test_no_deadline_is_no_limit(wire: Wire) -> None:
    with serving(answering(answer())) as server:
        assert wire.fetch(server.url(), Deadline(None)).body == b"ok"


def test_users_own_cancellation_stays_one_and_releases_the_connection(async_wire: Wire) -> None:
    closed = threading.Event()
    arrived = threading.Event()

    def handle(peer: Peer) -> None:
        peer.request()
        arrived.set()
        if peer.gone():
            closed.set()

    async def body(edge: Edge) -> None:
        task = asyncio.ensure_future(edge.send(request(server.url()), Deadline(60)))
        await asyncio.to_thread(arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(closed.wait, 10)

    with serving(handle) as server:
        async_wire.run(body)


@pytest.mark.parametrize("how", ["read", "chunks"])
def test_cancellation_within_a_body_releases_the_connection(async_wire: Wire, how: str) -> None:
    closed = threading.Event()

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        if peer.gone():
            closed.set()

    async def body(edge: Edge) -> None:
        reply = await edge.send(request(server.url()), Deadline(60))
        started = asyncio.Event()

        async def read() -> None:
            if how == "read":
                started.set()
                await reply.read()
            async for _ in reply.chunks():
                started.set()

        task = asyncio.create_task(read())
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(closed.wait, 10)

    with serving(handle) as server:
        async_wire.run(body)


def test_task_goes_on_after_a_time_out(async_wire: Wire) -> None:
    """The cancellation that the time-out is made of leaves nothing behind."""

    async def body(edge: Edge) -> None:
        with pytest.raises(TimedOut):
            await fetched(edge, server.url(), Deadline(0.05))
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert getattr(task, "cancelling", int)() == 0

    with serving(silent) as server:
        async_wire.run(body)


def wait_until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(2000):
        if condition():
            return
        tick.wait(0.005)
    pytest.fail("the condition did not come true within ten seconds")
