"""The environment without litellm: it means what litellm makes of it."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest
import trustme

from litellm_gateway_plugin.errors import InvalidInput, TLSFailed
from litellm_gateway_plugin.wire.environment import options_from
from tests.wire.conftest import Wire
from tests.wire.servers import answer, answering, serving
from tests.wire.test_wire_tls import server_context

TLS_NAMES = ("SSL_VERIFY", "SSL_CERT_FILE", "SSL_SECURITY_LEVEL", "SSL_CERTIFICATE")


def test_without_anything_it_is_certifi_s_authorities() -> None:
    options = options_from({})
    assert (options.verify, options.cert, options.aiohttp, options.trust_env) == (certifi.where(), None, True, True)


def test_equal_environments_share_their_connections() -> None:
    assert options_from({"SSL_VERIFY": "true"}) == options_from({})


@pytest.mark.parametrize("value", ["false", "False", " FALSE "])
def test_ssl_verify_false(value: str) -> None:
    assert options_from({"SSL_VERIFY": value}).verify is False


def test_a_ca_file_may_be_called_false(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To litellm too, what is a file is no word."""
    monkeypatch.chdir(tmp_path)
    Path("false").touch()
    assert options_from({"SSL_VERIFY": "false"}).verify == "false"


@pytest.mark.parametrize("value", ["true", "True", "", "0", "no", "/nothing/there.pem"])
def test_any_other_ssl_verify_verifies(value: str) -> None:
    assert options_from({"SSL_VERIFY": value}).verify == certifi.where()


def test_a_ca_file_in_ssl_verify_goes_before_ssl_cert_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    first.touch()
    second.touch()
    named = {"SSL_VERIFY": str(first), "SSL_CERT_FILE": str(second)}
    assert options_from(named).verify == str(first)
    assert options_from({**named, "SSL_VERIFY": "true"}).verify == str(second)
    assert options_from({**named, "SSL_VERIFY": "/nothing/there.pem"}).verify == str(second)


def test_a_missing_ssl_cert_file_is_passed_over() -> None:
    assert options_from({"SSL_CERT_FILE": "/nothing/there.pem"}).verify == certifi.where()


def test_certificate_and_transport() -> None:
    options = options_from({"SSL_CERTIFICATE": "client.pem", "DISABLE_AIOHTTP_TRANSPORT": "True"})
    assert (options.cert, options.aiohttp) == ("client.pem", False)


def test_a_list_of_ciphers() -> None:
    context = options_from({"SSL_SECURITY_LEVEL": "ECDHE-RSA-AES256-GCM-SHA384"}).verify
    assert isinstance(context, ssl.SSLContext)
    assert "ECDHE-RSA-AES128-GCM-SHA256" not in {each["name"] for each in context.get_ciphers()}
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_ciphers_that_do_not_exist() -> None:
    with pytest.raises(InvalidInput, match="SSL_SECURITY_LEVEL"):
        options_from({"SSL_SECURITY_LEVEL": "nothing"})


def test_a_request_is_verified_with_the_file(wire: Wire, authority: trustme.CA, authority_file: Path) -> None:
    with serving(answering(answer()), server_context(authority)) as server:
        wire.options = options_from({})
        with pytest.raises(TLSFailed):
            wire.fetch(server.url())
        assert server.requests == []
        wire.options = options_from({"SSL_CERT_FILE": str(authority_file)})
        assert wire.fetch(server.url()).body == b"ok"


@pytest.mark.matrix
@pytest.mark.parametrize("value", [None, "true", "false", "False", "", "0", "/nothing/there.pem", certifi.where()])
def test_litellm_agrees_on_whether_to_verify(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    import litellm
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    for name in TLS_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(litellm, "ssl_verify", True)
    environment = {} if value is None else {"SSL_VERIFY": value}
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert (get_ssl_configuration() is False) == (options_from(environment).verify is False)
