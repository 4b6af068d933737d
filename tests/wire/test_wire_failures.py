"""What the network and its machines do wrong: one clear error each, naming the origin and nothing that is secret."""

from __future__ import annotations

import socket
import struct
import threading
import traceback

import pytest

from litellm_gateway_plugin.errors import ConnectFailed, ConnectionBroken, GatewayError
from litellm_gateway_plugin.wire import Deadline
from tests.wire.conftest import Edge, Wire, fetched, request
from tests.wire.servers import OK, Handler, Peer, answer, answering, chunked, serving

SECRET = "tercess"[::-1]  # backwards, because a traceback quotes the lines of this file
KEY = (("Authorization", f"Bearer {SECRET}"),)


def then_close(data: bytes) -> Handler:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(data)

    return handle


def resetting(data: bytes) -> Handler:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return handle


def echoing(peer: Peer) -> None:
    """Sends our own headers back, where a library would quote them in its message."""
    seen = peer.request()
    assert seen is not None
    peer.send(f"HTTP/1.1 200 OK\r\nAuthorization {seen.header('authorization')}\r\n\r\n".encode())


BROKEN: dict[str, Handler] = {
    "closed without a word": then_close(b""),
    "closed within the head": then_close(b"HTTP/1.1 200 OK\r\nContent-"),
    "reset": resetting(b""),
    "reset within the body": resetting(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
    "body shorter than its length": then_close(answer(b"abc", length=9)),
    "chunks cut short": then_close(chunked(b"abc", end=False)),
    "chunk cut short": then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"),
    "chunk size that is none": then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n"),
    "garbage": then_close(f"SSH-2.0-OpenSSH_9.2 {SECRET}\r\n\r\n".encode()),
    "echoed garbage": echoing,
    "two lengths": then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
    "length that is none": then_close(f"HTTP/1.1 200 OK\r\nContent-Length: {SECRET}\r\n\r\nabc".encode()),
    "oversized header": then_close(b"HTTP/1.1 200 OK\r\nX: " + SECRET.encode() * 50_000 + b"\r\n\r\n"),
    "headers without end": then_close(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60_000),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_answer_is_one_clear_error(wire: Wire, fault: str) -> None:
    with serving(BROKEN[fault]) as server, pytest.raises(ConnectionBroken, match=f"^{server.base}: ") as caught:
        wire.fetch(server.url(f"/v1?key={SECRET}"), headers=KEY)
    quotes_nothing(caught.value)


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_stream_is_one_clear_error(wire: Wire, fault: str) -> None:
    async def body(edge: Edge) -> None:
        reply = await edge.send(request(server.url(), headers=KEY), Deadline(20))
        async for _ in reply.chunks():
            pass

    with serving(BROKEN[fault]) as server, pytest.raises(ConnectionBroken, match=f"^{server.base}: ") as caught:
        wire.run(body)
    quotes_nothing(caught.value)


def test_nothing_listens(wire: Wire) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(ConnectFailed, match=rf"^http://127.0.0.1:{port}: .*refused") as caught:
            wire.fetch(f"http://u:{SECRET}@127.0.0.1:{port}/v1?key={SECRET}", headers=KEY)
    quotes_nothing(caught.value)
    assert caught.value.api_base == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid", "x..invalid"])
def test_name_that_does_not_resolve(wire: Wire, host: str) -> None:
    with pytest.raises(GatewayError) as caught:
        wire.fetch(f"http://{host}/")
    quotes_nothing(caught.value)
    assert isinstance(caught.value, ConnectFailed)


def test_first_address_fails_and_the_second_answers(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = socket.getaddrinfo

    def two(host: str | bytes, port: int, *rest: object, **options: object) -> object:
        found = genuine("127.0.0.1", port, type=socket.SOCK_STREAM)
        if host not in ("two.invalid", b"two.invalid"):
            return genuine(host, port, *rest, **options)  # type: ignore[arg-type]
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        return [(*found[0][:4], ("127.0.0.99", port)), *found]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with serving(answering(answer())) as server:
        assert wire.fetch(f"http://two.invalid:{server.port}/").body == b"ok"


def test_connection_closed_while_idle_does_not_break_the_next_request(wire: Wire) -> None:
    """The server says keep-alive, and then closes; and the program keeps the event loop from hearing of it."""

    async def body(edge: Edge) -> None:
        for _ in range(4):
            assert (await fetched(edge, server.url())).body == b"ok"
            while server.open:
                threading.Event().wait(0.001)

    with serving(then_close(OK)) as server:
        wire.run(body)
        assert server.accepted == 4


def test_connection_after_connection_close_is_not_kept(wire: Wire) -> None:
    async def body(edge: Edge) -> None:
        for _ in range(3):
            await fetched(edge, server.url())

    with serving(answering(answer(headers=(("Connection", "close"),)))) as server:
        wire.run(body)
        assert server.accepted == 3


def test_answer_before_the_body_is_read_is_the_answer(wire: Wire) -> None:
    """A server that refuses a large body answers and closes, while the client is still writing."""

    def handle(peer: Peer) -> None:
        peer.sock.recv(1024)
        peer.send(answer(b"too large", "413 Content Too Large", (("Connection", "close"),)))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.gone()

    with serving(handle) as server:
        assert wire.fetch(server.url(), body=b"x" * (8 << 20)).status == 413


def test_bytes_after_an_answer_are_no_answer_to_the_next_request(wire: Wire) -> None:
    async def body(edge: Edge) -> list[bytes]:
        return [(await fetched(edge, server.url())).body for _ in range(2)]

    stray = answer(b"stray")
    with serving(answering(answer(b"one") + stray, answer(b"two"))) as server:
        assert b"stray" not in wire.run(body)


def test_body_without_length_ends_with_the_connection(wire: Wire) -> None:
    with serving(then_close(b"HTTP/1.1 200 OK\r\n\r\nto the end")) as server:
        assert wire.fetch(server.url()).body == b"to the end"


def quotes_nothing(error: BaseException) -> None:
    assert SECRET not in str(error)
    assert SECRET not in "".join(traceback.format_exception(error))
