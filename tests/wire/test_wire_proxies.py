"""Proxies from the environment."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from litellm_gateway_plugin.errors import ConnectFailed, InvalidInput, TimedOut
from litellm_gateway_plugin.wire import Deadline, proxy_for
from tests.wire.conftest import Edge, Wire, environment, fetched
from tests.wire.servers import Peer, answer, answering, serving, shovel, tunnelling
from tests.wire.test_wire_tls import server_context


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "http://a.example/", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://a.example/", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "http://a.example/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://q:1"}, "http://a.example/", "http://q:1"),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": ""}, "http://a.example/", None),
        ({"HTTP_PROXY": "http://p:1"}, "https://a.example/", None),
        ({"HTTPS_PROXY": "p:1"}, "https://a.example/", "http://p:1"),
        ({"ALL_PROXY": "socks5://p:1"}, "https://a.example/", "socks5://p:1"),
        ({"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https://a.example/", "http://q:1"),
    ],
)
def test_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, expected: str | None) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == expected


@pytest.mark.parametrize(
    ("entries", "url", "bypassed"),
    [
        ("*", "http://a.example/", True),
        ("x.example, *", "http://a.example/", True),
        ("example", "http://a.example/", True),
        (".example", "http://a.example/", True),
        ("*.example", "http://a.example/", True),
        ("a.example", "http://A.Example/", True),
        ("xample", "http://a.example/", False),
        ("a.example:80", "http://a.example/", True),
        ("a.example:8080", "http://a.example/", False),
        ("a.example:8080", "http://a.example:8080/", True),
        ("localhost,127.0.0.1", "http://127.0.0.1:5/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.1:81", "http://10.0.0.1:81/", True),
        ("10.0.0.1:81", "http://10.0.0.1/", False),
        ("::1", "http://[::1]:5/", True),
        ("[::1]", "http://[::1]/", True),
        ("[::1]:5", "http://[::1]:5/", True),
        ("fd00::/8", "http://[fd12::1]/", True),
        ("", "http://a.example/", False),
        (" , ,", "http://a.example/", False),
    ],
)
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, entries: str, url: str, bypassed: bool) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", entries)
    assert (proxy_for(url) is None) is bypassed


@pytest.mark.parametrize(
    "proxy", ["socks4://u:s3cret@p:1", "gopher://p", "http://", "http://[s3cret", "http://p:s3cret/", "http://p:99999"]
)
def test_proxy_that_cannot_be_used_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(InvalidInput) as caught:
        proxy_for("http://a.example/")
    assert "s3cret" not in str(caught.value)


def test_plain_request_goes_through_the_proxy(wire: Wire) -> None:
    with serving(tunnelling()) as proxy, environment(HTTP_PROXY=f"http://u%40x:p%3A@127.0.0.1:{proxy.port}"):
        found = wire.fetch("http://gateway.invalid/v1/a%2Fb?x=y", headers=(("Authorization", "Bearer k"),))
        seen = proxy.requests[0]
    assert found.body == b"through the proxy"
    assert seen.target == "http://gateway.invalid/v1/a%2Fb?x=y"
    assert seen.header("host") == "gateway.invalid"
    assert seen.header("authorization") == "Bearer k"
    assert seen.header("proxy-authorization") == "Basic dUB4OnA6"


def test_tls_request_goes_through_a_tunnel(wire: Wire, authority: trustme.CA, authority_file: Path) -> None:
    async def body(edge: Edge) -> list[bytes]:
        return [(await fetched(edge, server.url("/a/../%2F"), headers=key)).body for _ in range(3)]

    key = (("Authorization", "Bearer k"),)
    wire.options = replace(wire.options, verify=str(authority_file))
    with (
        serving(answering(answer()), server_context(authority)) as server,
        serving(tunnelling()) as proxy,
        environment(HTTPS_PROXY=f"http://user:word@127.0.0.1:{proxy.port}"),
    ):
        assert wire.run(body) == [b"ok"] * 3
        assert [seen.line for seen in proxy.requests] == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
        assert proxy.requests[0].header("proxy-authorization") == "Basic dXNlcjp3b3Jk"
        assert proxy.requests[0].header("authorization") is None
        assert server.requests[0].header("proxy-authorization") is None
        assert {seen.target for seen in server.requests} == {"/a/../%2F"}


@pytest.mark.parametrize("inner", ["http", "https"])
def test_proxy_that_is_spoken_to_over_tls(wire: Wire, authority: trustme.CA, authority_file: Path, inner: str) -> None:
    """TLS within TLS, for the https gateway."""

    async def body(edge: Edge) -> list[bytes]:
        return [(await fetched(edge, server.url(), body=b"x" * 300_000)).body for _ in range(2)]

    wire.options = replace(wire.options, verify=str(authority_file))
    large = answer(b"y" * 300_000)
    with (
        serving(answering(large), server_context(authority) if inner == "https" else None) as server,
        serving(tunnelling(), server_context(authority)) as proxy,
        environment(ALL_PROXY=f"https://127.0.0.1:{proxy.port}"),
    ):
        if inner == "http":
            assert wire.run(body) == [b"through the proxy"] * 2
        else:
            assert wire.run(body) == [b"y" * 300_000] * 2


def test_no_proxy_is_direct(wire: Wire) -> None:
    with (
        serving(answering(answer(b"direct"))) as server,
        serving(tunnelling()) as proxy,
        environment(HTTP_PROXY=proxy.base, NO_PROXY="127.0.0.0/8"),
    ):
        assert wire.fetch(server.url()).body == b"direct"
        assert proxy.requests == []


def test_trust_env_off_is_direct(wire: Wire) -> None:
    wire.options = replace(wire.options, trust_env=False)
    with (
        serving(answering(answer(b"direct"))) as server,
        serving(tunnelling()) as proxy,
        environment(HTTP_PROXY=proxy.base),
    ):
        assert wire.fetch(server.url()).body == b"direct"


def test_netrc_is_never_read(wire: Wire, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login u password s3cret\n")
    netrc.chmod(0o600)
    with serving(answering(answer())) as server, environment(NETRC=str(netrc)):
        wire.fetch(server.url())
        assert server.requests[0].header("authorization") is None


def test_proxy_that_refuses(wire: Wire) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with (
        serving(tunnelling(refuse=refusal)) as proxy,
        environment(HTTPS_PROXY=f"http://u:s3cret@127.0.0.1:{proxy.port}"),
        pytest.raises(ConnectFailed, match=r"^https://gateway\.invalid: the proxy refused .* 407") as caught,
    ):
        wire.fetch("https://gateway.invalid/v1?key=s3cret")
    assert "s3cret" not in str(caught.value)


def test_proxy_that_is_not_there(wire: Wire) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with environment(ALL_PROXY=f"http://u:s3cret@127.0.0.1:{free.getsockname()[1]}"):
            for scheme in ("http", "https"):
                with pytest.raises(ConnectFailed, match="the proxy cannot be reached") as caught:
                    wire.fetch(f"{scheme}://gateway.invalid/")
                assert "s3cret" not in str(caught.value)


def socks(peer: Peer) -> None:
    """SOCKS 5 with a user and a password, as RFC 1928 and RFC 1929 have it; names are resolved to loopback."""
    sock = peer.sock
    exactly(sock, exactly(sock, 2)[1])
    sock.sendall(b"\x05\x02")
    user = exactly(sock, exactly(sock, 2)[1])
    word = exactly(sock, exactly(sock, 1)[0])
    sock.sendall(b"\x01\x00" if (user, word) == (b"user", b"word") else b"\x01\x01")
    kind = exactly(sock, 4)[3]
    exactly(sock, 4 if kind == 1 else exactly(sock, 1)[0])
    port = int.from_bytes(exactly(sock, 2), "big")
    with socket.create_connection(("127.0.0.1", port), 10) as upstream:
        sock.sendall(b"\x05\x00\x00\x01" + bytes(6))
        shovel(sock, upstream)


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise OSError("gone")
        data += more
    return data


@pytest.mark.parametrize("secure", [False, True])
def test_socks(wire: Wire, authority: trustme.CA, secure: bool) -> None:
    pytest.importorskip("socksio")

    async def body(edge: Edge) -> list[bytes]:
        return [(await fetched(edge, server.url("/a%2Fb"))).body for _ in range(3)]

    wire.options = replace(wire.options, verify=False)
    with (
        serving(answering(answer()), server_context(authority) if secure else None) as server,
        serving(socks) as proxy,
        environment(ALL_PROXY=f"socks5://user:word@127.0.0.1:{proxy.port}"),
    ):
        assert wire.run(body) == [b"ok"] * 3
        assert (server.accepted, server.requests[0].target) == (1, "/a%2Fb")


@pytest.mark.parametrize("fault", ["wrong password", "not SOCKS", "silent"])
def test_socks_that_fails(wire: Wire, fault: str) -> None:
    pytest.importorskip("socksio")

    def odd(peer: Peer) -> None:
        peer.sock.recv(3)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n" if fault == "not SOCKS" else b"")
        peer.server.done.wait(60 if fault == "silent" else 0)

    with (
        serving(socks if fault == "wrong password" else odd) as proxy,
        environment(ALL_PROXY=f"socks5://user:s3cret@127.0.0.1:{proxy.port}"),
        pytest.raises(TimedOut if fault == "silent" else ConnectFailed) as caught,
    ):
        wire.fetch("http://127.0.0.1:9/", Deadline(0.3 if fault == "silent" else 20))
    assert "s3cret" not in str(caught.value)


def test_socks_without_its_package(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litellm_gateway_plugin.wire.pools.find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(InvalidInput, match=r"httpx\[socks\]"):
        wire.fetch("http://127.0.0.1:9/")
