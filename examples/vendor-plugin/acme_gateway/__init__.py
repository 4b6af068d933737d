"""The manners of Acme's gateway: the header that it wants, and the names that its models have for short."""

from __future__ import annotations

from collections.abc import Sequence

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.urls import Base

HOSTS = ("//api.acme.example", "//127.0.0.1")  # the second one for the tests
SHORT_NAMES = {"acme-large": "acme/large-2026-01"}


def is_acme(base: Base) -> bool:
    return any(host in base.origin for host in HOSTS)


@lgp.hookimpl
def gateway_auth_order(base: Base) -> Sequence[str] | None:
    """Acme's own header first, and the usual Bearer for its older hosts; no opinion about anybody else.

    A hook takes those of its specification's arguments that it needs; this one also has `surface`.
    """
    return ("x-acme-token", "bearer") if is_acme(base) else None


@lgp.hookimpl
def gateway_model_id(base: Base, model: str, listing: Sequence[str]) -> str | None:
    """Asked when the gateway has said that it does not know `model`; `listing` holds the ids that it does know."""
    full = SHORT_NAMES.get(model)
    return full if is_acme(base) and full in listing else None
