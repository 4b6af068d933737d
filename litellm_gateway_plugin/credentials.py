"""Credential styles: how a key travels in a header, and which header a refusal asks for. Pure: standard library only.

A style is a name that may be logged; the key never is. `bearer` and `raw` share the Authorization header, every other
style is the (lower-case) name of its header. Exactly one of them is ever in a request.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import InvalidInput

BEARER, X_API_KEY, RAW, API_KEY, BASIC, NONE = "bearer", "x-api-key", "raw", "api-key", "basic", "none"
DEFAULT_ORDER = (BEARER, X_API_KEY, RAW, API_KEY)
MAX_HINTED = 2
"""A refusal may add this many styles of its own to one negotiation: what it says is hostile input."""

AUTHORIZATION_STYLES = {BEARER: "Bearer {}", RAW: "{}"}

# Headers that carry a credential when a caller gives them. The key in one of these is the key, and its style the guess.
CREDENTIAL_HEADERS = frozenset(
    {
        "authorization",
        "x-api-key",
        "api-key",
        "apikey",
        "ocp-apim-subscription-key",
        "x-goog-api-key",
        "x-auth-token",
        "x-api-token",
        "x-access-token",
        "x-auth-key",
        "x-authorization",
    }
)

# RFC 9110 and its relatives: headers that steer the protocol or belong to others. A refusal that names one of these is
# not asking for a credential, whatever it says.
PROTOCOL_HEADERS = frozenset(
    """
    host content-length content-type content-encoding content-language content-location content-range content-md5
    transfer-encoding te trailer connection keep-alive upgrade expect via date server location allow vary age etag
    cookie set-cookie accept accept-charset accept-encoding accept-language accept-ranges user-agent referer origin from
    forwarded max-forwards cache-control pragma expires warning range if-match if-none-match if-modified-since
    if-unmodified-since if-range retry-after www-authenticate proxy-authenticate proxy-authorization
    proxy-connection strict-transport-security x-real-ip x-request-id x-correlation-id x-http-method-override
    x-powered-by x-frame-options dnt http2-settings alt-svc link refresh
    """.split()  # noqa: SIM905  as a list of literals this would fill a page
)
NO_CREDENTIAL_HEADERS = PROTOCOL_HEADERS | {RAW, BASIC, NONE}  # the latter are styles, and no header has their names
PROTOCOL_PREFIXES = ("x-forwarded-", "sec-", "access-control-", "x-envoy-", "x-litellm-", "x-ratelimit-", "cf-")
LONGEST_NAME = 64
HEADER_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.IGNORECASE)

# Authentication schemes (IANA registry, and what gateways put there) that name no header of their own.
SCHEMES: Mapping[str, tuple[str, ...]] = {
    "bearer": (BEARER,),
    "apikey": (X_API_KEY,),
    "api-key": (API_KEY, X_API_KEY),
    "key": ("apikey",),  # Kong's key-auth plugin; its default key name is `apikey`
    "basic": (),
    "digest": (),
    "negotiate": (),
    "ntlm": (),
    "oauth": (),
    "dpop": (),
    "hoba": (),
    "mutual": (),
    "token": (),
    "custom": (),
    "azureapimanagementkey": (),
}
CHALLENGE_PARAMETER = re.compile(
    r"\b(?:name|header|header_name|headername|key_name|param|parameter)\s*=\s*\"?([A-Za-z0-9_-]{2,64})\"?",
    re.IGNORECASE,
)

# What well-known gateways say instead of naming the header.
PHRASES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"no api key found in request", re.IGNORECASE), "apikey"),  # Kong
    (re.compile(r"missing subscription key", re.IGNORECASE), "ocp-apim-subscription-key"),  # Azure API Management
    (re.compile(r"authorization: bearer|\bbearer (?:token|auth)", re.IGNORECASE), BEARER),
    (re.compile(r"without (?:the )?[\"'`]?bearer|no [\"'`]?bearer[\"'`]? prefix|\braw (?:api )?key", re.I), RAW),
)
NAMED_HEADER = re.compile(
    r"(?:header|headers)\s*(?:named|called|name|is|:|=)?\s*[\"'`]?([A-Za-z][A-Za-z0-9_-]{2,63})"
    r"|[\"'`]?([A-Za-z][A-Za-z0-9_-]{2,63})[\"'`]?\s+(?:request\s+|http\s+)?header\b",
    re.IGNORECASE,
)
DASHED_NAME = re.compile(r"\b([A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+)\b")
CREDENTIAL_WORD = re.compile(r"key|token|auth|secret|credential|passw|subscription", re.IGNORECASE)

_OWN_KEY = os.urandom(16)
_fingerprint_key = _OWN_KEY


def header_for(style: str, key: str | None) -> tuple[str, str] | None:
    """The one credential header of a style, or None for `none` and for a missing key."""
    if key is None or style == NONE:
        return None
    if style == BASIC:
        return "Authorization", "Basic " + base64.b64encode(key.encode()).decode()
    template = AUTHORIZATION_STYLES.get(style)
    return (style, key) if template is None else ("Authorization", template.format(key))


def plain_text(value: object) -> str:
    """A value as text: secrets of pydantic's are opened, functions asked, bytes decoded.

    Raises:
        InvalidInput: none of these. The value is not quoted.
    """
    value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    value = value() if callable(value) else value
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(value, (str, int, float)):
        raise InvalidInput(f"A key or a header value must be text, not {type(value).__name__}.")
    return str(value)


def clean_key(given: object) -> str | None:
    """A key fit for a header: white space around it (a file's line end) goes, an empty one is no key.

    Raises:
        InvalidInput: a line break inside it or a character that no header can carry. The key is not quoted.
    """
    if given is None or not (key := plain_text(given).strip()):
        return None
    if not _printable(key):
        raise InvalidInput("The API key holds a line break or a non-ASCII character. Copy it anew, without quotes.")
    return key


def check_headers(headers: Mapping[Any, object]) -> dict[str, str]:
    """The caller's headers as text.

    Raises:
        InvalidInput: a name or a value that HTTP cannot carry (RFC 9110, section 5). The value is not quoted.
    """
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise InvalidInput("A header name in extra_headers cannot be sent: letters, digits and dashes only.")
        if value is None:
            continue
        text = plain_text(value).strip()
        if not _printable(text):
            raise InvalidInput(f"The value of the header {name!r} holds a line break or a non-ASCII character.")
        checked[name] = text
    return checked


def take_credential(headers: Mapping[str, str]) -> tuple[str, str, dict[str, str]] | None:
    """The credential among a caller's headers, as (style, key, the other headers), or None when there is none.

    Where several are given, a header of its own name wins over Authorization, which client libraries add unasked. An
    empty one, `Bearer ` with nothing after it included, is none.
    """
    empty = ("", BEARER)
    given = {
        name.lower(): name
        for name, value in headers.items()
        if name.lower() in CREDENTIAL_HEADERS and value.strip().lower() not in empty
    }
    if not given:
        return None
    chosen = next((name for name in given if name != "authorization"), "authorization")
    others = {name: value for name, value in headers.items() if name.lower() not in given}
    value = headers[given[chosen]]
    if chosen != "authorization":
        return chosen, value, others
    scheme, _, rest = value.partition(" ")
    return (BEARER, rest.strip(), others) if scheme.lower() == BEARER else (RAW, value, others)


def secrets_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values of headers whose names say that they are secret, and their last words (the key after a scheme)."""
    values = [value for name, value in headers.items() if CREDENTIAL_WORD.search(name)]
    return tuple(part for value in values for part in (value, value.rpartition(" ")[2]))


def fingerprint(key: str | None) -> str:
    """A name for a key: a keyed hash, different in every process that does not share it, so that it tells nothing."""
    if key is None:
        return NONE
    return hashlib.blake2b(key.encode(), key=_fingerprint_key, digest_size=12).hexdigest()


def share_fingerprints(secret: bytes | None) -> None:
    """Have the fingerprints of all processes with this secret (at most 64 bytes); None: those of this one alone."""
    global _fingerprint_key
    _fingerprint_key = _OWN_KEY if secret is None else secret


def hinted_styles(headers: Mapping[str, str], text: str) -> tuple[str, ...]:
    """The styles that a refusal itself asks for, the clearest hint first.

    Sources, in this order: the parameters and the scheme of `WWW-Authenticate` (RFC 9110, section 11.6.1; Azure API
    Management names its header in `name=`), well-known phrases, header names in the words.
    """
    challenge = headers.get("www-authenticate", "")[:2000]
    found = [*_challenged(challenge), *_worded(text[:4000])]
    return tuple(dict.fromkeys(found))


def is_style(name: str) -> bool:
    """Whether this names a style that a credential may travel in."""
    return name in (BEARER, RAW, BASIC, NONE) or bool(_styles_named(name))


def _challenged(challenge: str) -> Iterable[str]:
    for name in CHALLENGE_PARAMETER.findall(challenge):
        yield from _styles_named(name)
    for scheme in re.findall(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)(?=\s|,|$)", challenge):
        if scheme.lower() in SCHEMES:
            yield from SCHEMES[scheme.lower()]
        elif "-" in scheme or CREDENTIAL_WORD.search(scheme):
            yield from _styles_named(scheme)


def _worded(text: str) -> Iterable[str]:
    for phrase, style in PHRASES:
        if phrase.search(text):
            yield style
    for pair in NAMED_HEADER.findall(text):
        name = pair[0] or pair[1]
        if "-" in name or "_" in name or CREDENTIAL_WORD.search(name):
            yield from _styles_named(name)
    for name in DASHED_NAME.findall(text):
        if CREDENTIAL_WORD.search(name):
            yield from _styles_named(name)


def _styles_named(header: str) -> tuple[str, ...]:
    """The styles that send this header; none when the name is not one that may carry a credential."""
    name = header.lower()
    if name in NO_CREDENTIAL_HEADERS or name.startswith(PROTOCOL_PREFIXES):
        return ()
    if not HEADER_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        return ()
    return (BEARER, RAW) if name == "authorization" else (name,)


def _printable(text: str) -> bool:
    return text.isascii() and all(32 <= ord(letter) < 127 or letter == "\t" for letter in text)
