"""What goes out and what comes back, when nothing goes wrong."""

from __future__ import annotations

import pytest

from litellm_gateway_plugin.errors import InvalidInput
from litellm_gateway_plugin.wire import Deadline, WireOptions
from tests.wire.conftest import Edge, Wire, fetched, request
from tests.wire.servers import Peer, answer, answering, serving


def test_request_arrives_as_given_and_nothing_is_added(wire: Wire) -> None:
    headers = (("Authorization", "Bearer k"), ("Content-Type", "application/json"), ("X-Twice", "a"), ("X-Twice", "b"))
    with serving(answering(answer(b"hello"))) as server:
        found = wire.fetch(server.url(), headers=headers, body=b'{"a":1}')
        seen = server.requests[0]
    assert (found.status, found.body) == (200, b"hello")
    assert seen.line == "POST /v1/chat/completions HTTP/1.1"
    assert seen.body == b'{"a":1}'
    names = sorted({name.lower() for name, _ in seen.headers})
    assert names == ["accept-encoding", "authorization", "content-length", "content-type", "host", "x-twice"]
    assert seen.header("x-twice") == "a, b"
    assert seen.header("host") == f"127.0.0.1:{server.port}"
    assert (seen.header("accept-encoding") or "").startswith("gzip, deflate")


def test_request_without_body_has_no_length(wire: Wire) -> None:
    with serving(answering(answer())) as server:
        wire.fetch(server.url("/v1/models"), method="GET", body=b"")
        assert server.requests[0].header("content-length") is None


def test_empty_post_has_the_length_zero(wire: Wire) -> None:
    with serving(answering(answer())) as server:
        wire.fetch(server.url(), body=b"")
        assert server.requests[0].header("content-length") == "0"


def test_callers_framing_is_replaced_and_accept_encoding_kept(wire: Wire) -> None:
    headers = (("Content-Length", "99"), ("Transfer-Encoding", "chunked"), ("accept-encoding", "identity"))
    with serving(answering(answer())) as server:
        wire.fetch(server.url(), headers=headers)
        seen = server.requests[0]
    assert seen.header("content-length") == "2"
    assert seen.header("transfer-encoding") is None
    assert seen.header("accept-encoding") == "identity"


@pytest.mark.parametrize(
    "target", ["/a%2Fb/v1", "/a%2fb", "/v1/../x", "/{x}|'", "/v1?a=%20b+c&d=%2F", "/%zz", "/a//b", "/?q", "/a;b=c,d"]
)
def test_path_is_kept_byte_for_byte(wire: Wire, target: str) -> None:
    with serving(answering(answer())) as server:
        wire.fetch(server.url(target))
        assert server.requests[0].target == target


def test_user_password_and_fragment_stay_here(wire: Wire) -> None:
    with serving(answering(answer())) as server:
        wire.fetch(f"http://user:secret@127.0.0.1:{server.port}/v1#part", headers=(("Authorization", "Bearer k"),))
        seen = server.requests[0]
    assert seen.target == "/v1"
    assert seen.header("authorization") == "Bearer k"


def test_redirect_is_an_answer(wire: Wire) -> None:
    moved = answer(b"", "307 Temporary Redirect", (("Location", "/elsewhere"),))
    with serving(answering(moved)) as server:
        found = wire.fetch(server.url())
        assert (found.status, found.headers["location"], len(server.requests)) == (307, "/elsewhere", 1)


def test_headers_of_an_answer(wire: Wire) -> None:
    raw = (("X-Twice", "a"), ("x-twice", "b"), ("X-Latin", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"))
    with serving(answering(answer(headers=raw))) as server:
        headers = wire.fetch(server.url()).headers
    assert headers["x-twice"] == "a, b"
    assert headers["x-latin"] == "café"
    assert all(name == name.lower() for name in headers)


def test_header_that_is_no_utf8_is_latin1(wire: Wire) -> None:
    with serving(answering(b"HTTP/1.1 200 OK\r\nX-Odd: caf\xe9\r\nContent-Length: 0\r\n\r\n")) as server:
        assert wire.fetch(server.url()).headers["x-odd"] == "café"


def test_interim_answers_are_passed_over(wire: Wire) -> None:
    with serving(answering(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer())) as server:
        assert wire.fetch(server.url()).body == b"ok"


@pytest.mark.parametrize("size", [1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_body_of_any_size_arrives(wire: Wire, size: int) -> None:
    with serving(answering(answer())) as server:
        wire.fetch(server.url(), body=b"x" * size)
        seen = server.requests[0]
    assert len(seen.body) == size
    assert seen.header("content-length") == str(size)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answer_without_a_body(wire: Wire, status: str) -> None:
    with serving(answering(f"HTTP/1.1 {status}\r\n\r\n".encode())) as server:
        assert wire.fetch(server.url()).body == b""


def test_connection_is_used_again(wire: Wire) -> None:
    async def body(edge: Edge) -> None:
        for _ in range(5):
            await fetched(edge, server.url())

    with serving(answering(answer())) as server:
        wire.run(body)
        assert (len(server.requests), server.accepted) == (5, 1)


def test_request_that_expired_before_it_began_is_not_sent(wire: Wire) -> None:
    async def body(edge: Edge) -> None:
        now = [0.0]
        deadline = Deadline(1, clock=lambda: now[0])
        now[0] = 2
        with pytest.raises(Exception, match="no complete answer within 1 s"):
            await edge.send(request(server.url()), deadline)

    with serving(answering(answer())) as server:
        wire.run(body)
        assert server.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer s3cret\r\nX: y"),
        ("Authorization", "Bearer s3cr\N{EURO SIGN}t"),
        ("s3cret\n", "x"),
        ("", "x"),
    ],
)
def test_illegal_header_is_one_clear_error_that_quotes_nothing(wire: Wire, name: str, value: str) -> None:
    with serving(answering(answer())) as server:
        with pytest.raises(InvalidInput) as caught:
            wire.fetch(server.url(), headers=((name, value),))
        assert server.requests == []
    quoted_nowhere(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://s3cret host/",
        "ftp://s3cret/",
        "s3cret",
        "http:///s3cret",
        "http://h:99999/s3cret",
        "http://h:x/s3cret",
        "http://h\r\n/s3cret",
        "http://[::1/s3cret",
        "http://h:0/s3cret",
        "http://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher/s3cret",
    ],
)
def test_url_that_cannot_be_parsed_is_one_clear_error(wire: Wire, url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        wire.fetch(url)
    quoted_nowhere(caught.value)


def test_method_that_is_no_token_is_an_error(wire: Wire) -> None:
    with pytest.raises(InvalidInput, match="method"):
        wire.fetch("http://127.0.0.1:1/", method="GET /x HTTP/1.1\r\n")


def test_local_address_is_connected_from(wire: Wire) -> None:
    wire.options = WireOptions(local_address="127.0.0.9", aiohttp=wire.options.aiohttp)
    peers = []

    def handle(peer: Peer) -> None:
        peers.append(peer.sock.getpeername()[0])
        answering(answer())(peer)

    with serving(handle) as server:
        wire.fetch(server.url())
    assert peers == ["127.0.0.9"]


def quoted_nowhere(error: BaseException) -> None:
    """Neither in the message nor in anything that a traceback would print with it."""
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    assert "s3cr" not in str(error)
