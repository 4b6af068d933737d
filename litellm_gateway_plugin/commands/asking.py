"""Gateways asked past litellm, for the commands that need no more than their listings and loads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from ..errors import ConnectFailed, Full, GatewayError, KeyRefused, NotAGateway, TimedOut, TLSFailed
from ..handle import Gateway
from ..settings import GatewaySettings
from ..urls import Base
from ..wire.environment import options_from

HINTS: tuple[tuple[type[GatewayError], str], ...] = (
    (ConnectFailed, "Check host and port of the base, and whether the gateway runs."),
    (TLSFailed, "Name its authority with SSL_CERT_FILE."),
    (TimedOut, "Try again later."),
    (Full, "Try again later."),
    (KeyRefused, "Check the key{}."),
    (NotAGateway, "Check the base: it is what stands before /chat/completions."),
)
"""What to do, by what went wrong."""


@contextmanager
def asking(settings: GatewaySettings) -> Iterator[Gateway]:
    """A handle of its own, with the wire's options from the environment; closed at the end.

    It leaves Redis alone: a person's look at the gateways is no load that others have to know of.
    """
    options = options_from(os.environ)
    gateway = Gateway(settings.model_copy(update={"redis_url": SecretStr("off")}), lambda: options)
    try:
        yield gateway
    finally:
        gateway.close()


def advice(error: GatewayError, key_name: str | None, base: Base) -> str:
    """What went wrong with a base that is named already, and what to do."""
    hint = next((words for kind, words in HINTS if isinstance(error, kind)), "")
    where = f" in {key_name}" if key_name else ""
    return f"{without_origin(error.message, base)} {hint.format(where)}".strip()


def without_origin(message: str, base: Base) -> str:
    """A message about a base where that stands before it anyway."""
    return message.removeprefix(f"{base.origin}: ")
