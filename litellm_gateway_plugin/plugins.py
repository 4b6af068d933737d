"""Loads the hook implementations and presents them to the core as plain functions."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from . import hookspecs, manners
from .dialects import read_listing
from .errors import InvalidInput
from .negotiation import Ask, Policy
from .plan import Route
from .urls import Base

logger = logging.getLogger("litellm_gateway_plugin")


def plugin_manager() -> pluggy.PluginManager:
    """A manager with the built-in implementations and those of installed vendor packages.

    Raises:
        InvalidInput: a package implements a hook that does not exist (a misspelt name), or cannot be imported.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(manners, name="built-in")
    try:
        manager.load_setuptools_entrypoints(hookspecs.PROJECT)
    except Exception as error:  # a vendor package may fail with anything while it is imported
        raise InvalidInput(f"A vendor package cannot be loaded: {type(error).__name__}: {error}.") from error
    check_pending(manager)
    return manager


def check_pending(manager: pluggy.PluginManager) -> None:
    """Turn a misspelt hook name into an error.

    Raises:
        InvalidInput: naming the package and the hook that does not exist.
    """
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise InvalidInput(f"A vendor package implements a hook that does not exist: {error}.") from None


def policy_of(manager: pluggy.PluginManager, *, map_503: bool = True) -> Policy:
    """The hooks as the core calls them, and what the operator has decided."""
    hook = manager.hook

    def is_capacity(status: int, headers: Mapping[str, str], body: str) -> bool:
        return bool(hook.gateway_is_capacity(status=status, headers=headers, body=body))

    def is_account_limit(headers: Mapping[str, str], body: str) -> bool:
        return bool(hook.gateway_is_account_limit(headers=headers, body=body))

    def model_id(base: Base, model: str, listing: Sequence[str]) -> str | None:
        found: str | None = hook.gateway_model_id(base=base, model=model, listing=listing)
        return found

    def negotiated(base: Base, surface: str, route: Route, tried: Sequence[Route]) -> None:
        try:
            hook.gateway_negotiated(base=base, surface=surface, route=route, tried=tried)
        except Exception:
            logger.warning("A gateway_negotiated hook failed", exc_info=True)

    return Policy(is_capacity, model_id, read_listing, negotiated, time.time, is_account_limit, map_503)


def order_of(manager: pluggy.PluginManager) -> Any:
    """The hook for the order of styles, as the memory calls it."""
    return lambda ask: manager.hook.gateway_auth_order(base=ask.base, surface=ask.surface)


def hint_of(manager: pluggy.PluginManager) -> Any:
    """The hook for a first route, as the memory calls it."""

    def hint(ask: Ask) -> Route | None:
        found: Route | None = manager.hook.gateway_route_hint(base=ask.base, surface=ask.surface)
        return found

    return hint
