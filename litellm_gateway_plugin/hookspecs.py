"""The decisions that a vendor package can change, as pluggy specifications.

All are synchronous and `firstresult`: an implementation that returns None has no opinion, and the next one is asked;
the built-in ones (`manners.py`) are asked last. A package offers its implementations through the entry-point group
`litellm_gateway_plugin`; a program registers an object with `install().plugins.register(...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from .plan import Route
from .urls import Base
from .utilization import Load

PROJECT = "litellm_gateway_plugin"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def gateway_auth_order(base: Base, surface: str) -> Sequence[str] | None:
    """The credential styles to try, the likeliest first: "bearer", "raw", or a header's name such as "x-api-key"."""


@hookspec(firstresult=True)
def gateway_route_hint(base: Base, surface: str) -> Route | None:
    """The first route to try while nothing was learnt about this base and surface."""


@hookspec(firstresult=True)
def gateway_model_id(base: Base, model: str, listing: Sequence[str]) -> str | None:
    """The listed id that is the same model as the asked one, after the gateway has said that it does not know that."""


@hookspec(firstresult=True)
def gateway_is_capacity(status: int, headers: Mapping[str, str], body: str) -> bool | None:
    """Whether this error answer means that the gateway is full."""


@hookspec(firstresult=True)
def gateway_is_account_limit(headers: Mapping[str, str], body: str) -> bool | None:
    """Whether such a refusal holds for the caller's key, with every model, and not for the model that was asked for."""


@hookspec(firstresult=True)
def gateway_utilization(base: Base, fetch: Callable[[str], Any]) -> Mapping[str, Load] | None:
    """How busy the models of a base are, by id.

    Asked in a thread of its own, so it may take its time. `fetch(url)` gives the parsed JSON at a URL, None when there
    is none; the base's key is shown to its own origin alone, and only when that asks for one.
    """


@hookspec
def gateway_negotiated(base: Base, surface: str, route: Route, tried: Sequence[Route]) -> None:
    """Told after a route was proven: `tried` is the path that led to it. For logs and metrics."""
