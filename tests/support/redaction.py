"""What is taken out of recorded traffic: credentials, and what changes with every recording. Pure and idempotent.

Two rules. Only headers that are named here stay, so that nobody has to think of the one that must not. A credential
keeps its name and its scheme, because the style in which a key is sent is what the cassettes are for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

KEY = "sk-cassette-right-0123456789abcdef"
"""The key that the recorded servers accept. It is made up, and no cassette may hold it all the same."""

WRONG_KEY = "sk-cassette-wrong-0123456789abcdef"
"""A key that none of them accepts."""

ORIGIN = "http://gateway.internal"
"""Where every recorded server seems to be. A name that no public host can have: over plain http to a public host the
plugin would offer a key in one style only."""

UPSTREAM = "http://upstream.internal"
"""Where a server behind the recorded one seems to be, should an answer name it."""

REDACTED = "<redacted>"
SCHEMES = ("bearer", "basic", "digest", "token", "negotiate", "apikey")

KEPT_REQUEST_HEADERS = frozenset({"content-type"})
KEPT_RESPONSE_HEADERS = re.compile(
    r"content-type|location|www-authenticate|(llm_provider-)?retry-after(-ms)?|(llm_provider-)?x-ratelimit-[a-z-]+"
)
CREDENTIAL_NAME = re.compile(r"auth|key|token|secret|credential|passw|cookie", re.IGNORECASE)

LOOPBACK = re.compile(r"(https?://)?(127\.0\.0\.1|localhost):\d+")
CREATED = re.compile(r'("created": ?)\d+')
TIMINGS = re.compile(r',"timings":\{[^{}]*\}')
MADE_ID = re.compile(
    r'(?<=")(?:(chatcmpl)-(?:[A-Za-z0-9]{32}|[0-9a-f]{6}|[0-9a-f-]{36})|call_[A-Za-z0-9]{8,}|[A-Za-z0-9]{32})(?=")'
)
HASH = re.compile(r"\b[0-9a-f]{64}\b")


def is_credential(name: str, value: str) -> bool:
    """Whether a request header carries a credential: by its name, or because one of our keys is, or was, in it."""
    return bool(CREDENTIAL_NAME.search(name)) or any(secret in value for secret in (KEY, WRONG_KEY, REDACTED))


def redact(value: str) -> str:
    """A credential without its secret part: "Bearer abc" becomes "Bearer <redacted>", "abc" becomes "<redacted>"."""
    scheme, space, rest = value.partition(" ")
    return f"{scheme} {REDACTED}" if space and rest.strip() and scheme.lower() in SCHEMES else REDACTED


def style_of(headers: Mapping[str, str]) -> str:
    """The style of the credential in a request: "bearer", "raw", "none", or the name of its header.

    Several credentials in one request are all named, as in "bearer+x-api-key": no route of ours has that style.
    """
    styles = [_style(name.lower(), value) for name, value in headers.items() if is_credential(name, value)]
    return "+".join(sorted(styles)) or "none"


def _style(name: str, value: str) -> str:
    if name != "authorization":
        return name
    scheme, space, _ = value.partition(" ")
    return scheme.lower() if space and scheme.lower() in SCHEMES else "raw"


def clean_request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that stay, names in lower case, credentials redacted."""
    cleaned = {}
    for name, value in headers.items():
        if is_credential(name, value):
            cleaned[name.lower()] = redact(value)
        elif name.lower() in KEPT_REQUEST_HEADERS:
            cleaned[name.lower()] = value
    return cleaned


def clean_response_headers(headers: Mapping[str, list[str]], origin: str = "") -> dict[str, list[str]]:
    """The headers that stay, names in lower case. Cookies, dates, lengths and what a server says of itself go."""
    return {
        name.lower(): [clean_text(value, origin) for value in values]
        for name, values in headers.items()
        if KEPT_RESPONSE_HEADERS.fullmatch(name.lower())
    }


def clean_text(text: str, origin: str = "") -> str:
    """A body or a header's value with our keys, the server's address and what changes at every recording replaced.

    Args:
        text: as it was sent.
        origin: the server's real origin, while recording.
    """
    for key in (KEY, WRONG_KEY):
        text = text.replace(key, REDACTED)
    if origin:
        text = text.replace(origin, ORIGIN).replace(origin.partition("://")[2], ORIGIN.partition("://")[2])
    text = LOOPBACK.sub(UPSTREAM, text)
    text = HASH.sub(REDACTED, text)
    text = TIMINGS.sub("", CREATED.sub(r"\g<1>1700000000", text))
    return _numbered(text)


def _numbered(text: str) -> str:
    """Ids that a server makes up, as "chatcmpl-1" and "call-1": the same id gets the same number."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        kind = found[1] or "call"
        number = 1 + sum(known.startswith(kind) for known in names.values())
        return names.setdefault(found[0], f"{kind}-{number}")

    return MADE_ID.sub(name, text)
