"""Which credentials a request carries, seen from outside: names of styles and headers, never a value.

The gateway decides with `manners` what it likes; this module only says what is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "<redacted>"

KNOWN_HEADERS = frozenset(
    {
        "api-key",
        "apikey",
        "authorization",
        "ocp-apim-subscription-key",
        "proxy-authorization",
        "subscription-key",
        "x-api-key",
        "x-api-token",
        "x-auth-token",
        "x-goog-api-key",
        "x-litellm-api-key",
        "x-token",
    }
)


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential header of a request.

    Args:
        header: its name, lower case.
        style: `bearer`, `raw`, another scheme of `Authorization`, or the header's name.
        right: whether it holds the one right key.
    """

    header: str
    style: str
    right: bool


def find_credentials(
    headers: Iterable[tuple[str, str]], key: str | None, extra: Iterable[str] = ()
) -> list[Credential]:
    """Every credential header, Authorization first, then in the order in which they were sent.

    A header counts when its name is known for credentials, is in `extra`, or when its value holds the key.
    """
    named = KNOWN_HEADERS.union(extra)
    found = [_credential(name, value, key) for name, value in headers if name in named or (key and key in value)]
    return sorted(found, key=lambda credential: credential.header != "authorization")


def _credential(name: str, value: str, key: str | None) -> Credential:
    if name != "authorization":
        return Credential(name, name, value == key)
    scheme, space, token = value.partition(" ")
    if not space:
        return Credential(name, "raw", value == key)
    return Credential(name, scheme.lower(), token.strip() == key)


def redact(name: str, value: str, key: str | None, credentials: frozenset[str]) -> str:
    """A header's value without the secret; the scheme of an Authorization stays."""
    if name in credentials:
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {REDACTED}" if space and name.endswith("authorization") else REDACTED
    return value.replace(key, REDACTED) if key else value
