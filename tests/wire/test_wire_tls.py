"""Certificates, ours and theirs."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from litellm_gateway_plugin.errors import InvalidInput, TLSFailed
from litellm_gateway_plugin.wire import WireOptions
from litellm_gateway_plugin.wire.options import ssl_context
from tests.wire.conftest import Edge, Wire, environment, fetched
from tests.wire.servers import Peer, Server, answer, answering, serving


def server_context(authority: trustme.CA, *, clients: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Server]:
    with serving(answering(answer()), server_context(authority)) as server:
        yield server


def test_unknown_authority_is_refused(wire: Wire, secure: Server) -> None:
    with pytest.raises(TLSFailed, match=rf"^{secure.base}: the certificate was not accepted \(.*certificate"):
        wire.fetch(secure.url())
    assert secure.requests == []


def test_verify_false(wire: Wire, secure: Server) -> None:
    wire.options = replace(wire.options, verify=False)
    assert wire.fetch(secure.url()).body == b"ok"


def test_verify_with_a_file(wire: Wire, secure: Server, authority_file: Path) -> None:
    wire.options = replace(wire.options, verify=str(authority_file))
    assert wire.fetch(secure.url()).body == b"ok"


def test_verify_with_a_context(wire: Wire, secure: Server, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    wire.options = replace(wire.options, verify=context)
    assert wire.fetch(secure.url()).body == b"ok"


def test_ssl_cert_file(wire: Wire, secure: Server, authority_file: Path) -> None:
    with environment(SSL_CERT_FILE=str(authority_file)):
        assert wire.fetch(secure.url()).body == b"ok"


def test_ssl_cert_file_is_left_alone_without_trust_env(wire: Wire, secure: Server, authority_file: Path) -> None:
    wire.options = replace(wire.options, trust_env=False)
    with environment(SSL_CERT_FILE=str(authority_file)), pytest.raises(TLSFailed):
        wire.fetch(secure.url())


def test_certificate_for_another_name(wire: Wire, authority: trustme.CA, authority_file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    wire.options = replace(wire.options, verify=str(authority_file))
    with serving(answering(answer()), context) as server, pytest.raises(TLSFailed, match="not accepted"):
        wire.fetch(server.url())


@pytest.mark.parametrize("files", [1, 2])
def test_client_certificate(
    wire: Wire, authority: trustme.CA, authority_file: Path, tmp_path: Path, files: int
) -> None:
    issued = authority.issue_cert("client.example")
    both, chain, key = (str(tmp_path / name) for name in ("both.pem", "chain.pem", "key.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(both)
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    wire.options = replace(wire.options, verify=str(authority_file), cert=both if files == 1 else (chain, key))
    with serving(answering(answer()), server_context(authority, clients=True)) as server:
        assert wire.fetch(server.url()).body == b"ok"


def test_server_that_does_not_speak_tls(wire: Wire) -> None:
    def plain(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(plain) as server, pytest.raises(TLSFailed, match=rf"^https://127.0.0.1:{server.port}: the TLS"):
        wire.fetch(f"https://127.0.0.1:{server.port}/")


def test_server_that_goes_away_in_the_handshake(wire: Wire) -> None:
    def rude(peer: Peer) -> None:
        peer.sock.recv(1)

    with serving(rude) as server, pytest.raises(TLSFailed):
        wire.fetch(f"https://127.0.0.1:{server.port}/")


def test_connection_is_used_again(wire: Wire, secure: Server) -> None:
    async def body(edge: Edge) -> None:
        for _ in range(4):
            await fetched(edge, secure.url())

    wire.options = replace(wire.options, verify=False)
    wire.run(body)
    assert (len(secure.requests), secure.accepted) == (4, 1)


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_bodies_over_tls(wire: Wire, authority: trustme.CA, size: int) -> None:
    wire.options = replace(wire.options, verify=False)
    with serving(answering(answer(b"y" * size)), server_context(authority)) as server:
        assert wire.fetch(server.url(), body=b"x" * size).body == b"y" * size
        assert len(server.requests[0].body) == size


@pytest.mark.parametrize("options", [WireOptions(verify="/nowhere.pem"), WireOptions(cert="/nowhere.pem")])
def test_file_that_cannot_be_used_is_one_clear_error(options: WireOptions) -> None:
    with pytest.raises(InvalidInput, match="cannot be"):
        ssl_context(options)


def test_encrypted_key_is_an_error_and_nobody_is_asked(tmp_path: Path, authority: trustme.CA) -> None:
    from cryptography.hazmat.primitives import serialization

    issued = authority.issue_cert("client.example")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"locked"),
    )
    path = tmp_path / "locked.pem"
    path.write_bytes(locked + issued.cert_chain_pems[0].bytes())
    with pytest.raises(InvalidInput, match="client certificate"):
        ssl_context(WireOptions(cert=str(path)))


def test_context_is_made_once() -> None:
    assert ssl_context(WireOptions()) is ssl_context(WireOptions(aiohttp=False))
    assert ssl_context(WireOptions()) is not ssl_context(WireOptions(verify=False))


def test_ca_directory(authority_file: Path) -> None:
    assert ssl_context(WireOptions(verify=str(authority_file.parent))).verify_mode is ssl.CERT_REQUIRED
