"""Proxies from the environment."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from litellm_gateway_plugin.errors import ConnectFailed, InvalidInput
from litellm_gateway_plugin.wire import proxy_for
from tests.wire.conftest import Edge, Wire, environment, fetched
from tests.wire.servers import answer, answering, serving, tunnelling


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
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
def test_variables(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, expected: str | None) -> None:
    for name, value in environment.items():
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


@pytest.mark.parametrize("proxy", ["socks4://u:s3cret@p:1", "gopher://p", "http://", "http://[s3cret", "http://p:s3cret/"])
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
def test_proxy_that_is_spoken_to_over_tls(
    wire: Wire, authority: trustme.CA, authority_file: Path, inner: str
) -> None:
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
    with serving(answering(answer(b"direct"))) as server, serving(tunnelling()) as proxy:
        with environment(HTTP_PROXY=proxy.base, NO_PROXY="127.0.0.0/8"):
            assert wire.fetch(server.url()).body == b"direct"
        assert proxy.requests == []


def test_trust_env_off_is_direct(wire: Wire) -> None:
    wire.options = replace(wire.options, trust_env=False)
    with serving(answering(answer(b"direct"))) as server, serving(tunnelling()) as proxy:
        with environment(HTTP_PROXY=proxy.base):
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
    with serving(tunnelling(refuse=refusal)) as proxy, environment(HTTPS_PROXY=f"http://u:s3cret@127.0.0.1:{proxy.port}"):
        with pytest.raises(ConnectFailed, match="^https://gateway.invalid: the proxy refused .* 407") as caught:
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


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
