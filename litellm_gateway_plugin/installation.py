"""`install()` and `uninstall()`: the one place that touches litellm's globals, and its twin that puts them back."""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol

import litellm
from litellm.constants import DEFAULT_REQUEST_TIMEOUT_SECONDS
from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

from .catalogue import Listing, namespace
from .cost_map import COSTS
from .custom_llm import GatewayLLM
from .deployment_hook import GatewayCallback
from .doors import ALIASES, PROVIDER, VENDORS, is_known_provider
from .errors import InvalidInput
from .forking import renew_after_fork
from .handle import Gateway
from .negotiation import Ask
from .sessions import Sessions
from .settings import GatewaySettings, load_settings
from .wire import WireOptions

OLDEST = (1, 90, 0)
EXCLUDED = (1, 107)
"""A release of this line was reported as tampered with."""

MAX_NAMES = 32
"""Provider names at most: litellm walks over all of them at every call (10 µs each)."""

CALLBACK_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


class Installation:
    """What is registered with litellm.

    Attributes:
        gateway: the handle.
        names: the provider names that are ours.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.gateway = Gateway(settings, lambda: wire_options(settings), self.learnt)
        self.callback = CALLBACK
        self.provider = HANDLER
        self.names: frozenset[str] = frozenset()
        self._handlers: dict[str, GatewayLLM] = {}
        self._added_names: list[str] = []
        self._sessions = Sessions(current_gateway)
        self._timeout_before: float | None = None

    def register(self) -> None:
        """Put provider, callback and sessions where litellm looks for them. May be called again, to repair."""
        for name in (PROVIDER, *ALIASES):
            self._provide(name, namespace=False)
        for vendor in (
            *VENDORS,
            *self.gateway.settings.namespaces,
            *map(namespace, _named_models(self.gateway.settings)),
        ):
            self.add_namespace(vendor)
        self._sessions.register()
        self._time_out()
        self.repair()

    def _time_out(self) -> None:
        """Set litellm's own default time-out, which its Routers take over too, unless the program has set one."""
        wanted = self.gateway.settings.timeout_s
        if wanted is not None and litellm.request_timeout == DEFAULT_REQUEST_TIMEOUT_SECONDS:
            self._timeout_before, litellm.request_timeout = litellm.request_timeout, wanted

    def repair(self) -> None:
        """Put back what a program has replaced wholesale (crewai assigns `litellm.callbacks` at every `LLM()`)."""
        if _current is not self:  # a call that was on its way when the plugin was taken out
            return
        listed = sum(entry is self.callback for entry in litellm.callbacks)
        if listed == 0:
            litellm.callbacks.append(self.callback)
        elif listed > 1:  # the proxy appends what its config names; a new list, since somebody may walk over this one
            litellm.callbacks = [entry for entry in litellm.callbacks if entry is not self.callback] + [self.callback]
        if not any(entry["provider"] == PROVIDER for entry in litellm.custom_provider_map):
            for name in self._handlers:
                self._map(name)
        self._stay_uncounted()
        COSTS.repair()

    def _stay_uncounted(self) -> None:
        """Of all calls, litellm sets up the callbacks of the first that has any: ours alone must not count."""
        counted = getattr(litellm.utils, "callback_list", None)
        if counted and all(entry is self.callback for entry in counted):
            counted.clear()

    def add_namespace(self, vendor: str | None) -> None:
        """Route sync calls for `vendor/…` here; a name that litellm knows is never taken."""
        if vendor and vendor not in self._handlers and not is_known_provider(vendor):
            self._provide(vendor, namespace=True)

    def learnt(self, ask: Ask, listing: Listing) -> None:
        """Route this listing's vendors here, and tell litellm what the listing says of its models."""
        self.saw(listing.ids)
        with _lock:
            if _current is self:
                COSTS.learn(str(ask.base), listing, ask.profile[2])

    def saw(self, ids: Sequence[str]) -> None:
        """Route these ids' vendors here from now on, as many as are worth a look at every call of litellm's."""
        unseen = {vendor for vendor in map(namespace, ids) if vendor is not None} - self.names
        if not unseen:
            return
        with _lock:
            for vendor in sorted(unseen):
                if _current is self and len(self._handlers) < MAX_NAMES:
                    self.add_namespace(vendor)

    def unregister(self) -> None:
        """Take everything out again and close the connections."""
        ours = self._handlers.values()
        litellm.custom_provider_map[:] = [
            entry for entry in litellm.custom_provider_map if entry.get("custom_handler") not in ours
        ]
        for name in self._added_names:
            for names in (litellm.provider_list, litellm._custom_providers):
                if name in names:
                    names.remove(name)
        for attribute in CALLBACK_LISTS:
            entries = getattr(litellm, attribute, None)
            if isinstance(entries, list):
                entries[:] = [entry for entry in entries if entry is not self.callback]
        self._stay_uncounted()
        COSTS.clear()
        self._sessions.unregister()
        if self._timeout_before is not None and litellm.request_timeout == self.gateway.settings.timeout_s:
            litellm.request_timeout = self._timeout_before
        self.gateway.close()

    def _provide(self, name: str, *, namespace: bool) -> None:
        if name not in self._handlers:
            is_main = name == PROVIDER
            self._handlers[name] = self.provider if is_main else GatewayLLM(current_gateway, name, namespace=namespace)
            self.gateway.names = self.names = self.names | {name}
        self._map(name)

    def _map(self, name: str) -> None:
        if any(entry["provider"] == name for entry in litellm.custom_provider_map):
            return
        litellm.custom_provider_map.append({"provider": name, "custom_handler": self._handlers[name]})
        for names in (litellm.provider_list, litellm._custom_providers):
            if name not in names:
                names.insert(0, name)  # in front: litellm looks each of them up at every call, from the first on
                if name not in self._added_names:
                    self._added_names.append(name)


# One of each for the life of the process: a program may hold on to what it has registered.
CALLBACK = GatewayCallback(lambda: current())  # noqa: PLW0108  defined further down
HANDLER = GatewayLLM(lambda: current_gateway(), PROVIDER)  # noqa: PLW0108  as above


class Stoppable(Protocol):
    """What ends when the plugin is uninstalled."""

    def stop(self) -> None: ...


_current: Installation | None = None
_followers: weakref.WeakSet[Stoppable] = weakref.WeakSet()
_lock = threading.RLock()


class _Locks:
    """In a child, the lock may be held by a thread that does not exist there."""

    def after_fork(self) -> None:
        global _lock
        _lock = threading.RLock()


_locks = _Locks()
renew_after_fork(_locks)


def install(settings: GatewaySettings | None = None, **overrides: Any) -> Gateway:
    """Put the plugin beside litellm; every gateway that is named afterwards answers.

    Calling it again verifies that everything is still in its place and repairs it; with other settings it replaces the
    installation, which then learns anew.

    Args:
        settings: all settings at once; by default they come from the environment.
        **overrides: single settings on top of the environment's, by the names of `GatewaySettings`.

    Returns:
        The handle of the installation.

    Raises:
        InvalidInput: settings that cannot be used, or a litellm that is too old or excluded.
    """
    global _current
    with _lock:
        check_litellm(version("litellm"))
        if _current is not None and settings is None and not overrides:
            _current.register()
            return _current.gateway
        chosen = settings if settings is not None and not overrides else _merged(settings, overrides)
        if _current is not None and chosen == _current.gateway.settings:
            _current.register()
            return _current.gateway
        replacement = Installation(chosen)
        _take_out()
        _current = replacement
        _current.register()
        if replacement.gateway.sharer is not None:
            replacement.gateway.sharer.start()
        return _current.gateway


def stop_with_it(thing: Stoppable) -> None:
    """Have `stop()` called when the plugin is uninstalled, if the thing lives until then."""
    _followers.add(thing)


def uninstall() -> None:
    """Put back every global of litellm that was touched, and close the connections; nothing without `install()`."""
    with _lock:
        _take_out()
        for follower in list(_followers):
            follower.stop()


def _take_out() -> None:
    global _current
    installed, _current = _current, None
    if installed is not None:
        installed.unregister()


def current() -> Installation | None:
    """The installation in force."""
    return _current


def current_gateway() -> Gateway:
    """The handle in force, with everything verified to be in its place.

    Raises:
        InvalidInput: after `uninstall()`.
    """
    installed = _current
    if installed is None:
        raise InvalidInput("litellm-gateway-plugin is not installed in this process: call install() first.")
    installed.repair()
    return installed.gateway


def check_litellm(found: str) -> None:
    """Refuse a litellm that cannot work or must not be used.

    Raises:
        InvalidInput: naming the version found and the one to install.
    """
    number = tuple(int(part) for part in re.findall(r"\d+", found)[:3])
    if number < OLDEST:
        raise InvalidInput(f"litellm {found} is too old: before 1.90.0 stream chunks get lost. pip install -U litellm")
    if number[:2] == EXCLUDED:
        raise InvalidInput(f"litellm {found} is excluded: 1.107.0 was reported as tampered with. Install another one.")


TLS_VARIABLES = ("SSL_VERIFY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_SECURITY_LEVEL", "SSL_ECDH_CURVE")
TLS_SETTINGS = ("ssl_verify", "ssl_security_level", "ssl_ecdh_curve")


def wire_options(settings: GatewaySettings) -> WireOptions:
    """The wire's settings, from litellm's own: TLS, client certificate, IPv4, and whether aiohttp may be used.

    Asked at every call; the same object as long as nothing has changed.
    """
    certificate = os.environ.get("SSL_CERTIFICATE", litellm.ssl_certificate)
    verify = _verify(
        tuple(map(os.environ.get, TLS_VARIABLES)), tuple(getattr(litellm, name, None) for name in TLS_SETTINGS)
    )
    address = "0.0.0.0" if litellm.force_ipv4 else None  # noqa: S104  litellm's own way to say IPv4
    return _options(verify, certificate or None, address, not (settings.disable_aiohttp or _aiohttp_is_off()))


@lru_cache(maxsize=8)
def _verify(variables: tuple[Any, ...], attributes: tuple[Any, ...]) -> Any:  # noqa: ARG001  both are the key
    """What litellm makes of its TLS settings. It looks for files each time, and lets other threads run meanwhile."""
    return get_ssl_configuration()


@lru_cache(maxsize=8)
def _options(verify: Any, cert: Any, local_address: str | None, aiohttp: bool) -> WireOptions:
    return WireOptions(verify, cert, trust_env=True, local_address=local_address, aiohttp=aiohttp)


def _aiohttp_is_off() -> bool:
    disabled = os.environ.get("DISABLE_AIOHTTP_TRANSPORT", "").lower() == "true"
    return disabled or bool(litellm.disable_aiohttp_transport)


def _merged(settings: GatewaySettings | None, overrides: dict[str, Any]) -> GatewaySettings:
    if settings is None:
        return load_settings(**overrides)
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return load_settings(**{**given, **overrides})


def _named_models(settings: GatewaySettings) -> tuple[str, ...]:
    return tuple(name for name in (settings.text_model, settings.vlm_model, settings.tools_model) if name)
