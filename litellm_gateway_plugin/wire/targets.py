"""Where a request goes and which headers it carries: checked once, the same for every edge.

What is checked here never reaches a library whose error message would quote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

import httpx

from ..errors import InvalidInput
from .decoding import accept_encoding
from .options import DEFAULT_PORTS
from .values import WireRequest

# RFC 9110: a field name is a token (5.1); a field value is visible characters, spaces and tabs (5.5).
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_URL = re.compile(r"[\x21-\x7e]+")

# The framing of a request belongs to the edge: two that disagree are how requests are smuggled.
_FRAMING = frozenset({"content-length", "transfer-encoding"})
# The request extension that holds the path and query to send, where httpx would have changed them.
RAW_TARGET = "gateway.target"
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True)
class Target:
    """A request URL, taken apart.

    Attributes:
        origin: scheme, host and port: the only part that a message may name.
        secure: whether it is https.
        url: the URL as httpx needs it.
        text: the URL without user, password and fragment, otherwise as given.
        raw: path and query byte for byte, when httpx would have changed them; None when not.
        host: the value of the Host header.
    """

    origin: str
    secure: bool
    url: httpx.URL = field(repr=False)
    text: str = field(repr=False)
    raw: bytes | None = field(repr=False)
    host: str


@lru_cache(maxsize=512)
def target(url: str) -> Target:
    """Take a URL apart.

    Raises:
        InvalidInput: not an absolute http or https URL in plain ASCII. It is not quoted.
    """
    if not _URL.fullmatch(url):
        raise InvalidInput("The request URL holds a space, a line break or a non-ASCII character.")
    try:
        parts, parsed = urlsplit(url), httpx.URL(url)
        port = parts.port
    except (httpx.InvalidURL, ValueError):
        raise InvalidInput("The request URL cannot be parsed.") from None
    if parts.scheme not in DEFAULT_PORTS or not parsed.host or port == 0:
        raise InvalidInput("The request URL needs http or https, and a host.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parsed.netloc.decode("ascii")
    return Target(
        origin=f"{parts.scheme}://{host}",
        secure=parts.scheme == "https",
        url=parsed,
        text=f"{parts.scheme}://{host}{path}",
        raw=None if parsed.raw_path == path.encode("ascii") else path.encode("ascii"),
        host=host,
    )


def prepared(request: WireRequest) -> list[tuple[str, str]]:
    """The headers to send, Host aside: those of the request, Accept-Encoding and the framing.

    Raises:
        InvalidInput: a method or a header that HTTP does not allow. Neither its name nor its value is quoted.
    """
    headers: list[tuple[str, str]] = []
    seen = set()
    if not _NAME.fullmatch(request.method):
        raise InvalidInput("The request method is not one that HTTP allows.")
    for name, value in request.headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise InvalidInput("A request header holds a line break or another character that HTTP does not allow.")
        lower = name.lower()
        if lower not in _FRAMING:
            seen.add(lower)
            headers.append((name, value.strip(" \t")))  # RFC 9110 5.5: white space around it is no part of a value
    if "accept-encoding" not in seen:
        headers.append(("Accept-Encoding", accept_encoding()))
    if request.body or request.method.upper() not in _WITHOUT_BODY:
        headers.append(("Content-Length", str(len(request.body))))
    return headers


def message_for(request: WireRequest, where: Target) -> httpx.Request:
    """The request as httpx's transports take it. Given a stream instead of content, httpx adds nothing of its own.

    Raises:
        InvalidInput: as `targets.prepared`.
    """
    headers = prepared(request)
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("Host", where.host))
    extensions = {} if where.raw is None else {RAW_TARGET: where.raw}
    stream = httpx.ByteStream(request.body)
    return httpx.Request(request.method, where.url, headers=headers, stream=stream, extensions=extensions)


def folded(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers of an answer: names in lower case, a repeated one joined with ', ' (RFC 9110 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), _text(raw_value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
