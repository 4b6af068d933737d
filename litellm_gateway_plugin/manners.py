"""The built-in behaviour, as the first implementations of our own hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import capacity, catalogue
from .credentials import DEFAULT_ORDER
from .hookspecs import hookimpl
from .urls import Base
from .utilization import Load, read_utilization, utilization_url


@hookimpl(trylast=True)
def gateway_auth_order(base: Base, surface: str) -> Sequence[str]:  # noqa: ARG001  pluggy knows arguments by name
    """bearer, x-api-key, raw, api-key."""
    return DEFAULT_ORDER


@hookimpl(trylast=True)
def gateway_model_id(base: Base, model: str, listing: Sequence[str]) -> str | None:  # noqa: ARG001  as above
    """Equal but for case or a prefix, when that leaves exactly one."""
    return catalogue.equal_id(model, listing)


@hookimpl(trylast=True)
def gateway_is_capacity(status: int, headers: Mapping[str, str], body: str) -> bool:
    """429, 503, 529, and capacity wording on another 5xx."""
    return capacity.is_capacity(status, headers, body)


@hookimpl(trylast=True)
def gateway_is_account_limit(headers: Mapping[str, str], body: str) -> bool:
    """Words that name the key or the account, and a rate limit with nothing remaining."""
    return capacity.is_account_limit(headers, body)


@hookimpl(trylast=True)
def gateway_utilization(base: Base, fetch: Callable[[str], Any]) -> Mapping[str, Load] | None:
    """Chutes' endpoint and shape; for other hosts the same path under their origin."""
    return read_utilization(fetch(utilization_url(base)))
