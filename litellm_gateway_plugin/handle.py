"""The handle that `install()` returns: settings, memory, plug-ins and engine of one installation. No litellm here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .bodies import LISTING
from .capacity import LONGEST_WAIT, retry_after
from .credentials import BASIC, NONE, check_headers, clean_key, secrets_in, take_credential
from .engine import Engine, Result
from .errors import Answered, InvalidInput, NoBase, NotAGateway, Unreachable
from .exchange import Job
from .gate import Gate, Place
from .guesses import DiskGuesses
from .memory import Memory
from .negotiation import Ask
from .plugins import hint_of, order_of, plugin_manager, policy_of
from .settings import GatewaySettings
from .sharing import Sharer, sharer_of
from .throttle import Bounds
from .urls import Base, parse_base
from .wire import Clients, WireOptions

LISTING_TIMEOUT_S = 10.0
"""Seconds for a listing that is asked for on a call's behalf."""


class Gateway:
    """One installation of the plugin.

    Attributes:
        settings: the settings in force.
        plugins: the pluggy manager; `plugins.register(object)` adds hook implementations.
        gate: what every request passes, None when it is switched off.
        sharer: who shares it and the guesses with other processes, None without a Redis.
        names: the provider names that litellm hands over to this installation.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        wire_options: Callable[[], WireOptions],
        listed: Callable[[Sequence[str]], None] = lambda ids: None,
    ) -> None:
        self.settings = settings
        self.plugins = plugin_manager()
        self.policy = policy_of(self.plugins, map_503=settings.map_503)
        self.clients = Clients(wire_options)
        self.gate = gate_of(settings) if settings.gate else None
        disk = DiskGuesses(settings.cache_dir) if settings.cache else None
        self.sharer = _sharer_of(settings, self.gate, disk)
        self.memory = Memory(
            guesses=disk if self.sharer is None else self.sharer.guesses,
            order=order_of(self.plugins),
            hint=hint_of(self.plugins),
            listed=listed,
            negotiate=settings.negotiate,
        )
        self.engine = Engine(
            self.memory,
            self.policy,
            self.clients,
            settings.cold_grace_s,
            time.monotonic,
            gate=self.gate,
            longest_wait=settings.max_wait_s,
            retry_pause=settings.retry_after_s,
        )
        self.names: frozenset[str] = frozenset()
        self._bases = tuple((parse_base(base.api_base), base) for base in settings.all_bases)

    def __repr__(self) -> str:
        return f"<Gateway for {', '.join(str(base) for base, _ in self._bases) or 'any base'}>"

    @property
    def bases(self) -> tuple[Base, ...]:
        """The configured bases, without their keys."""
        return tuple(base for base, _ in self._bases)

    def is_configured(self, base: Base) -> bool:
        """Whether the operator has named this base, or another on the same origin."""
        return any(known.origin == base.origin for known, _ in self._bases)

    def ask(
        self,
        *,
        surface: str,
        model: str,
        api_base: str | None,
        api_key: object,
        headers: Mapping[str, object],
    ) -> tuple[Ask, dict[str, str]]:
        """What a call wants to reach, and the caller's headers without the credential.

        The key is, in this order: the one in a credential header, `api_key`, user and password of the base, the key
        configured for that origin.

        Raises:
            InvalidInput: a key, a header, an id or a base that cannot be sent.
            NoBase: no base was given and none is configured.
        """
        if any(ord(letter) < 32 for letter in model):
            raise InvalidInput("The model id holds a line break or another control character.")
        checked = check_headers(headers)
        base = self._base_for(model) if not api_base else parse_base(api_base)
        given = take_credential(checked)
        if given is not None:
            style, given_key, others = given
            ask = Ask(base, surface, clean_key(given_key), model, named=style, others=secrets_in(others))
            return ask, others
        key_given = clean_key(api_key)
        if key_given is None and base.userinfo:
            key, named = clean_key(base.userinfo), BASIC
        else:
            key, named = key_given or self._configured_key(base), None
        return Ask(base, surface, key, model, named=named, others=secrets_in(checked)), checked

    def send(self, job: Job) -> Result:
        """Serve a job from a thread. Raises `errors.GatewayError`."""
        return self.engine.send(job)

    async def asend(self, job: Job) -> Result:
        """Serve a job from a coroutine. Raises `errors.GatewayError`."""
        return await self.engine.asend(job)

    def listed(self, base: Base) -> tuple[str, ...]:
        """The ids that a configured base lists; () when it cannot be asked. Blocks for a listing not yet known."""
        ask = Ask(base, LISTING, self._configured_key(base))
        known = self.memory.listing(ask)
        if known is None:
            known = self._fetched(ask)
            self.memory.learn_listing(ask, known)
        return known

    def note_refusal(self, base: Base, model: str, headers: Mapping[str, str]) -> None:
        """Somebody else's request to this upstream was refused: leave it alone for the time that the answer names."""
        seconds = retry_after({name.lower(): value for name, value in headers.items()}, time.time())
        if self.gate is not None and seconds:
            self.gate.pause(Place.of(base.origin, model, NONE), seconds)

    def close(self) -> None:
        """Close every connection; a call that is still under way may end, and leaves none open."""
        if self.sharer is not None:
            self.sharer.close()
        self.clients.close(final=True)

    def _fetched(self, ask: Ask) -> tuple[str, ...]:
        try:
            result = self.engine.send(Job(ask, method="GET", timeout=LISTING_TIMEOUT_S))
        except (Answered, NotAGateway, Unreachable):
            return ()  # a base that does not answer lists nothing; the call to it will say what is wrong
        return self.policy.listed_ids(result.data) or ()

    def _base_for(self, model: str) -> Base:
        """The configured base for a call that names none: the only one, or the first that lists the model."""
        if not self._bases:
            raise NoBase(
                "No gateway was named: pass api_base=, or set LITELLM_GATEWAY_API_BASE (and LITELLM_GATEWAY_API_KEY)."
            )
        if len(self._bases) == 1:
            return self._bases[0][0]
        equal = (base for base, _ in self._bases if self.policy.model_id(base, model, self.listed(base)))
        return next(equal, self._bases[0][0])

    def _configured_key(self, base: Base) -> str | None:
        exact = (entry.key for known, entry in self._bases if str(known) == str(base))
        same_origin = (entry.key for known, entry in self._bases if known.origin == base.origin)
        return next((key for key in (*exact, *same_origin) if key), None)


def _sharer_of(settings: GatewaySettings, gate: Gate | None, disk: DiskGuesses | None) -> Sharer | None:
    url = settings.redis
    return None if url is None else sharer_of(url, settings.sharing_secret(url), gate, disk)


def gate_of(settings: GatewaySettings) -> Gate:
    """The gate as the operator wants it."""
    pauses = Bounds(cooldown=settings.cooldown_s, retry_after=min(settings.retry_after_s, LONGEST_WAIT))
    interval = 1 / settings.rate_limit_qps if settings.rate_limit_qps else 0.0
    upstreams = replace(pauses, most=float(settings.max_concurrency or math.inf))
    return Gate(upstreams, replace(pauses, interval=interval))


def time_limits(timeout: Any) -> tuple[float | None, float | None]:
    """Seconds for the whole call and seconds for connecting, of a litellm or httpx timeout.

    Raises:
        InvalidInput: not a number of seconds.
    """
    if hasattr(timeout, "read") and hasattr(timeout, "connect"):  # httpx.Timeout, or that of httpx2
        return timeout.read, timeout.connect
    if timeout is None:
        return None, None
    try:
        seconds = float(timeout)
    except (TypeError, ValueError):
        raise InvalidInput("timeout must be a number of seconds or an httpx.Timeout.") from None
    return (seconds if seconds > 0 else None), None
