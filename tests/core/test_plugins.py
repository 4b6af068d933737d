"""The seam: built-in manners, vendor packages, misspelt hooks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint

import pluggy
import pytest

from litellm_gateway_plugin import hookimpl
from litellm_gateway_plugin.credentials import DEFAULT_ORDER
from litellm_gateway_plugin.errors import InvalidInput
from litellm_gateway_plugin.plan import Route
from litellm_gateway_plugin.plugins import check_pending, hint_of, order_of, plugin_manager, policy_of
from litellm_gateway_plugin.urls import Base
from tests.support.core import ask


class Vendor:
    @hookimpl
    def gateway_auth_order(self, base: Base, surface: str) -> Sequence[str] | None:
        return ["x-acme"] if "acme" in base.origin else None

    @hookimpl
    def gateway_route_hint(self, base: Base) -> Route | None:
        return Route("raw", True)

    @hookimpl
    def gateway_is_capacity(self, status: int) -> bool | None:
        return True if status == 418 else None

    @hookimpl
    def gateway_negotiated(self, tried: Sequence[Route]) -> None:
        raise ValueError("an observer that fails")


def test_the_built_in_manners() -> None:
    manager = plugin_manager()
    policy = policy_of(manager)
    none: Mapping[str, str] = {}
    assert policy.is_capacity(429, none, "")
    assert not policy.is_capacity(400, none, "")
    assert policy.model_id(ask().base, "qwen3", ["Qwen/Qwen3"]) == "Qwen/Qwen3"
    assert policy.model_id(ask().base, "qwen3", []) is None
    listing = policy.read_listing({"data": [{"id": "a"}]})
    assert listing is not None
    assert listing.ids == ("a",)
    assert policy.now() > 1_700_000_000
    assert order_of(manager)(ask()) == DEFAULT_ORDER
    assert hint_of(manager)(ask()) is None
    policy.negotiated(ask().base, "models", Route("raw"), ())


def test_a_vendor_is_asked_first_and_may_have_no_opinion(caplog: pytest.LogCaptureFixture) -> None:
    manager = plugin_manager()
    manager.register(Vendor())
    check_pending(manager)
    policy = policy_of(manager)
    assert order_of(manager)(ask("https://acme.example")) == ["x-acme"]
    assert order_of(manager)(ask()) == DEFAULT_ORDER
    assert hint_of(manager)(ask()) == Route("raw", True)
    assert policy.is_capacity(418, {}, "")
    assert policy.is_capacity(429, {}, "")
    with caplog.at_level(logging.WARNING):
        policy.negotiated(ask().base, "models", Route("raw"), ())
    assert "hook failed" in caplog.text


def test_a_misspelt_hook_is_an_error() -> None:
    class Misspelt:
        @hookimpl
        def gateway_auth_ordre(self) -> None: ...

    manager = plugin_manager()
    manager.register(Misspelt())
    with pytest.raises(InvalidInput, match="gateway_auth_ordre"):
        check_pending(manager)


def test_a_vendor_package_that_cannot_be_imported_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: pluggy.PluginManager, group: str) -> int:
        return len(str(EntryPoint("x", "no_such_module_here", group).load()))

    monkeypatch.setattr(pluggy.PluginManager, "load_setuptools_entrypoints", load)
    with pytest.raises(InvalidInput, match="ModuleNotFoundError"):
        plugin_manager()
