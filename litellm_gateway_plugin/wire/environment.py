"""The wire's options for a program that does not import litellm: what litellm would read from the same environment."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import certifi

from ..errors import InvalidInput
from .options import WireOptions


def options_from(environment: Mapping[str, str]) -> WireOptions:
    """TLS, client certificate and transport, as litellm reads them (`get_ssl_configuration` there).

    `SSL_VERIFY` is `false` (in any case), or the path of a CA file. Any other value, and a path where nothing is, mean
    the authorities in `SSL_CERT_FILE`, or else those of certifi. `SSL_CERTIFICATE` is a client certificate with its
    key, and `SSL_SECURITY_LEVEL` a list of ciphers. Proxies are read for each request, by the wire itself.

    Call it once and keep the result: with a list of ciphers, no two results are equal.

    Raises:
        InvalidInput: the list of ciphers, or the CA file that goes with it, cannot be used.
    """
    certificate = environment.get("SSL_CERTIFICATE") or None
    aiohttp = environment.get("DISABLE_AIOHTTP_TRANSPORT", "").lower() != "true"
    return WireOptions(_verify(environment), certificate, aiohttp=aiohttp)


def _verify(environment: Mapping[str, str]) -> bool | str | ssl.SSLContext:
    named = environment.get("SSL_VERIFY", "")
    if named.strip().lower() == "false" and not Path(named).exists():
        return False
    authorities = next(filter(_is_there, (named, environment.get("SSL_CERT_FILE", ""))), certifi.where())
    ciphers = environment.get("SSL_SECURITY_LEVEL")
    return _context(authorities, ciphers) if ciphers else authorities


def _is_there(path: str) -> bool:
    return bool(path) and Path(path).exists()


def _context(authorities: str, ciphers: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authorities)
        context.set_ciphers(ciphers)
    except OSError:  # ssl.SSLError is one
        raise InvalidInput(
            "SSL_SECURITY_LEVEL cannot be used: no list of ciphers, or the CA bundle cannot be read."
        ) from None
    return context
