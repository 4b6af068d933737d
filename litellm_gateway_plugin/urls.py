"""API bases: cleaning, the `/v1` toggle, joining. Pure: standard library only, no I/O, no name is ever resolved.

Two rules. What is reported is never what was given: user, password and query stay out of every message. What is sent
keeps the given path byte for byte: percent-encoding is part of a gateway's routing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from .errors import InvalidInput

VERSION_SEGMENT = re.compile(r"v\d+[a-z0-9]*", re.IGNORECASE)
PASTED_SURFACE = re.compile(r"(/chat/completions|/completions|/embeddings|/responses|(?<=/v1)/models)$", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}
EXAMPLE = "as in https://llm.example.com/v1"

# Names that no public host can have: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), and `internal`,
# which ICANN has set aside for private use; `svc` ends names inside a Kubernetes cluster.
PRIVATE_SUFFIXES = (".localhost", ".local", ".home.arpa", ".internal", ".lan", ".svc")

# The OpenAI API's own paths, for splitting a complete URL into base and surface (the session door sees only URLs).
SURFACES = (
    "chat/completions|completions|embeddings|moderations|models|responses|messages|rerank|audio/[a-z]+|images/[a-z]+"
    "|files|batches|uploads|fine_tuning|fine-tunes|vector_stores|assistants|threads|containers|realtime|videos|evals"
    "|conversations|ocr"
)
SURFACE_IN_PATH = re.compile(rf"^(?P<base>.*?)/(?P<surface>(?:{SURFACES})(?:/.*)?)$")
VERSIONED_BASE = re.compile(rf"^(?P<base>.*/v\d+[a-z0-9]*)/(?P<surface>(?:{SURFACES})(?:/.*)?)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Base:
    """An API base, cleaned.

    Attributes:
        origin: scheme, host and port in canonical form, such as "https://llm.example.com".
        path: "" or a path without a slash at its end, as given, such as "/api/v1".
        query: "" or a query without its question mark; sent with every request, reported nowhere.
        userinfo: "" or "user:password" from the URL; a credential of last resort, reported nowhere.
    """

    origin: str
    path: str
    query: str = field(default="", repr=False)
    userinfo: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.origin + self.path

    @property
    def toggled(self) -> str | None:
        """The same path with its `/v1` taken off or put on; None when another version in it forbids that."""
        if self.path.lower().endswith("/v1"):
            return self.path[: -len("/v1")]
        if any(VERSION_SEGMENT.fullmatch(segment) for segment in self.path.split("/")):
            return None
        return self.path + "/v1"

    def form(self, toggled: bool) -> str:
        """The base as it is reported for one of its two forms."""
        path = self.toggled if toggled else self.path
        return self.origin + (self.path if path is None else path)

    def url(self, surface: str, *, toggled: bool = False, slash: bool = False) -> str:
        """The complete URL of a surface such as "chat/completions"."""
        tail = "/" if slash else ""
        query = f"?{self.query}" if self.query else ""
        return f"{self.form(toggled)}/{surface}{tail}{query}"

    @property
    def private(self) -> bool:
        """Whether a credential may be offered in several styles without TLS: loopback, private address or name."""
        return _private_host(urlsplit(self.origin).hostname or "")

    @property
    def guarded(self) -> bool:
        """Whether several styles may be tried: over TLS, or on a private network."""
        return self.origin.startswith("https://") or self.private


@lru_cache(maxsize=2048)
def parse_base(text: str) -> Base:
    """Clean what a person typed or pasted as an API base.

    Spaces around it, a slash at its end, doubled slashes, a pasted `/chat/completions` and a fragment go; user and
    password are set aside; the query stays.

    Raises:
        InvalidInput: not an http or https URL, or a character that cannot be in one. The value is not quoted.
    """
    text = text.strip()
    if not text.isascii() or any(ord(letter) <= 32 or ord(letter) == 127 for letter in text):
        raise InvalidInput("api_base holds a space, a line break or a non-ASCII character; type it anew, in ASCII.")
    if "://" not in text:
        raise InvalidInput(f"api_base is not a URL: it must begin with https:// or http://, {EXAMPLE}.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInput(f"api_base is not a URL: its host or port cannot be read, {EXAMPLE}.") from None
    host = (parts.hostname or "").lower()
    if parts.scheme.lower() not in DEFAULT_PORTS or not _plausible_host(host):
        raise InvalidInput(f"api_base is no URL of a gateway: it needs http or https and a host, {EXAMPLE}.")
    userinfo = parts.netloc.rpartition("@")[0]
    return Base(
        origin=_origin(parts.scheme.lower(), host, port),
        path=clean_path(parts.path),
        query=parts.query,
        userinfo=unquote(userinfo),
    )


def split_url(url: str) -> tuple[Base, str] | None:
    """Base and surface of a complete request URL, or None when its path is not one of the OpenAI API's."""
    head, _, query = url.partition("?")
    found = VERSIONED_BASE.match(urlsplit(head).path) or SURFACE_IN_PATH.match(urlsplit(head).path)
    if found is None:
        return None
    parts = urlsplit(head)
    base = f"{parts.scheme}://{parts.netloc}{found['base']}"
    return parse_base(f"{base}?{query}" if query else base), found["surface"]


def clean_path(path: str) -> str:
    """A path without doubled slashes, without one at its end, without a pasted surface."""
    path = re.sub(r"/{2,}", "/", path).rstrip("/")
    return PASTED_SURFACE.sub("", path).rstrip("/")


def origin_of(url: str) -> str | None:
    """Scheme, host and port of an absolute URL in canonical form, or None when there is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme.lower() not in DEFAULT_PORTS or not parts.hostname:
            return None
        return _origin(parts.scheme.lower(), parts.hostname.lower(), parts.port)
    except ValueError:
        return None


def _origin(scheme: str, host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")


def _plausible_host(host: str) -> bool:
    if ":" in host:
        return _address(host) is not None
    return bool(re.fullmatch(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?", host)) and ".." not in host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _private_host(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_private or address.is_link_local
    name = host.rstrip(".")
    return "." not in name or name.endswith(PRIVATE_SUFFIXES)
