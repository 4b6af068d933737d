"""What an operator can set about the wire, and what the environment says about it: TLS and proxies."""

from __future__ import annotations

import ipaddress
import os
import ssl
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from ..errors import InvalidInput

# In both cases, because both are in use; an empty lower-case one switches the upper-case one off.
_LOWER = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
PROXY_VARIABLES = (*_LOWER, *(name.upper() for name in _LOWER))
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class WireOptions:
    """Settings that need clients of their own: two equal options share connections, two different ones never do.

    Attributes:
        verify: True for the usual authorities, False for none at all, a path of a CA file or directory, or a context.
        cert: a client certificate: one PEM file with certificate and key, or the two files.
        trust_env: whether the environment's proxies, SSL_CERT_FILE and SSL_CERT_DIR are honoured.
        local_address: the address to connect from; "0.0.0.0" means IPv4 only.
        aiohttp: whether coroutines use aiohttp; httpx otherwise.
    """

    verify: bool | str | ssl.SSLContext = True
    cert: str | tuple[str, str] | None = None
    trust_env: bool = True
    local_address: str | None = None
    aiohttp: bool = True


def ssl_context(options: WireOptions) -> ssl.SSLContext:
    """The one context that every client of these options shares: loading the authorities takes tens of milliseconds.

    Raises:
        InvalidInput: a CA file, a CA directory or a client certificate cannot be used.
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR") if options.trust_env and options.verify is True else ()
    files = tuple(os.environ.get(name) for name in names)
    return _context(options.verify, options.cert, options.trust_env, files)


@lru_cache(maxsize=16)
def _context(
    verify: bool | str | ssl.SSLContext,
    cert: str | tuple[str, str] | None,
    trust_env: bool,
    files: tuple[str | None, ...],  # noqa: ARG001  # part of the key
) -> ssl.SSLContext:
    """Load it. `files` is only part of the key: httpx reads the two variables itself."""
    try:
        context = _authorities(verify, trust_env)
    except OSError:
        raise InvalidInput("The CA bundle cannot be read: check ssl_verify, SSL_CERT_FILE and SSL_CERT_DIR.") from None
    if cert is not None:
        _load_certificate(context, cert)
    return context


def _authorities(verify: bool | str | ssl.SSLContext, trust_env: bool) -> ssl.SSLContext:
    """True and False mean what they mean to httpx; a path goes around it, because httpx deprecates that form."""
    if isinstance(verify, str):
        kind = "capath" if Path(verify).is_dir() else "cafile"
        return ssl.create_default_context(**{kind: verify})  # type: ignore[arg-type]  # one of two str keywords
    return httpx.create_ssl_context(verify=verify, trust_env=trust_env)


def _load_certificate(context: ssl.SSLContext, cert: str | tuple[str, str]) -> None:
    """The empty password makes an encrypted key an error; without it OpenSSL would ask on the terminal and wait."""
    chain, key = (cert, None) if isinstance(cert, str) else cert
    try:
        context.load_cert_chain(chain, key, password="")
    except OSError:
        raise InvalidInput("The client certificate cannot be used: not there, no PEM, or encrypted.") from None


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a URL, with its user and password, or None.

    Raises:
        InvalidInput: the environment names a proxy that cannot be used. Its URL is not quoted.
    """
    get = os.environ.get  # half a microsecond each, at every request: the usual case asks for few
    upper, lower = ("HTTPS_PROXY", "https_proxy") if url.startswith("https:") else ("HTTP_PROXY", "http_proxy")
    if not (get(upper) or get(lower) or get("ALL_PROXY") or get("all_proxy")):
        return None
    return _choose(tuple(map(get, PROXY_VARIABLES)), url)


@lru_cache(maxsize=512)
def _choose(environment: tuple[str | None, ...], url: str) -> str | None:  # noqa: ARG001  # part of the key
    """Read the environment. It is also the key; the standard library knows which variable comes before which."""
    proxies = urllib.request.getproxies_environment()
    parts = urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or _bypassed(parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0), proxies):
        return None
    return _checked(proxy if "://" in proxy else f"http://{proxy}")


def _checked(proxy: str) -> str:
    try:
        parsed, _ = httpx.URL(proxy), urlsplit(proxy).port  # two parsers: each lets pass what the other does not
    except (httpx.InvalidURL, ValueError):
        raise InvalidInput("The proxy that the environment names is not a URL.") from None
    if parsed.scheme not in PROXY_SCHEMES or not parsed.host:
        raise InvalidInput(f"The proxy that the environment names must be one of {', '.join(PROXY_SCHEMES)}.")
    return proxy


def _bypassed(host: str, port: int, proxies: dict[str, str]) -> bool:
    """NO_PROXY as the standard library reads it, and the forms that it leaves out and people write all the same."""
    entries = [entry.strip().lower() for entry in proxies.get("no", "").split(",")]
    if "*" in entries:
        return True
    address = _address(host)
    if address is not None:
        return any(_holds(entry, address, port) for entry in entries)
    plain = {"no": ",".join(entry.removeprefix("*") for entry in entries)}  # *.example.com as .example.com
    return bool(urllib.request.proxy_bypass_environment(f"{host}:{port}", plain))  # type: ignore[attr-defined]


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
    """Whether an entry of NO_PROXY (address, network, either with a port) covers an address."""
    shown = f"[{address}]" if address.version == 6 else str(address)
    if entry in (shown, f"{shown}:{port}"):
        return True
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
