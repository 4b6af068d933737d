"""The handle that `install()` returns: settings, memory, plug-ins and engine of one installation. No litellm here."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .bases import Bases
from .bodies import LISTING
from .capacity import LONGEST_WAIT, retry_after
from .catalogue import Listing
from .credentials import DEFAULT_ORDER, NONE, check_headers, clean_key, header_for, secrets_in, take_credential
from .discovery import Discovery
from .engine import Engine, Result
from .errors import ConnectFailed, InvalidInput
from .exchange import Job
from .gate import Gate, Place
from .guesses import DiskGuesses
from .listings import DiskShelf, Listings, Shelf
from .memory import Memory
from .negotiation import Ask, listing_ask
from .plan import Route
from .plugins import hint_of, order_of, plugin_manager, policy_of
from .recent import Recent
from .settings import GatewaySettings
from .shared_listings import RedisShelf
from .sharing import Sharer, sharer_of
from .throttle import Bounds
from .urls import Base, origin_of, parse_base
from .utilization import Load, Loads
from .wire import Clients, WireOptions

LISTING_TIMEOUT_S = 10.0
"""Seconds for reading a listing."""

HEAR_S = 0.1
"""Seconds for which a first request waits, at most, for what other processes have learnt."""

DOWN_S = 5.0
"""Seconds for which a gateway to which nobody could connect counts as no alternative for a full one."""

WANTS_KEY = (401, 403)
NO_PAGE = (*WANTS_KEY, 404, 405, 410)


class Gateway:
    """One installation of the plugin.

    Attributes:
        settings: the settings in force.
        plugins: the pluggy manager; `plugins.register(object)` adds hook implementations.
        gate: what every request passes, None when it is switched off.
        sharer: who shares it and the guesses with other processes, None without a Redis.
        listings: what the gateways list, as far as is known.
        discovery: reads listings.
        names: the provider names that litellm hands over to this installation.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        wire_options: Callable[[], WireOptions],
        learnt: Callable[[Ask, Listing], None] = lambda ask, listing: None,
    ) -> None:
        self.settings = settings
        self.plugins = plugin_manager()
        self.policy = policy_of(self.plugins, map_503=settings.map_503)
        self.clients = Clients(wire_options)
        self.gate = gate_of(settings) if settings.gate else None
        disk = DiskGuesses(settings.cache_dir) if settings.cache else None
        self.sharer = _sharer_of(settings, self.gate, disk)
        self.listings = Listings(_shelves(settings), settings.listing_ttl_s, learnt)
        self.discovery = Discovery(self.listings, self._read_listing)
        self.memory = Memory(
            guesses=disk if self.sharer is None else self.sharer.guesses,
            order=order_of(self.plugins),
            hint=hint_of(self.plugins),
            listings=self.listings,
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
        self._down_until: Recent[str, float] = Recent(256)
        self._no_pages: Recent[str, float] = Recent(256)
        self._bases = Bases(settings.all_bases, self.discovery, self.policy.model_id)

    def __repr__(self) -> str:
        return f"<Gateway for {', '.join(map(str, self.bases)) or 'any base'}>"

    @property
    def bases(self) -> tuple[Base, ...]:
        """The configured bases, without their keys."""
        return self._bases.all

    def is_configured(self, base: Base) -> bool:
        """Whether the operator has named this base, or another on the same origin."""
        return base.origin in self._bases.origins

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
        wanted = self.settings.model_map.get(model, model)
        requested = model if wanted != model else ""
        given = take_credential(checked)
        own = clean_key(given[1] if given is not None else api_key)
        chosen = None if api_base else self._bases.choose(wanted, own)
        base = parse_base(api_base or "") if chosen is None else chosen.base
        key: str | None
        named: str | None
        if given is not None:
            style, given_key, others = given
            key, named, secrets = clean_key(given_key), style, secrets_in(others)
        else:
            others, secrets = checked, secrets_in(checked)
            key, named = self._bases.credential(base, api_key)
            if chosen is not None and own is None:  # of two accounts at one base the one that lists it
                key, named = chosen.key, chosen.named
        return Ask(base, surface, key, wanted, named=named, others=secrets, requested=requested), others

    def send(self, job: Job) -> Result:
        """Serve a job from a thread. Raises `errors.GatewayError`."""
        news = self._news_of(job.ask)
        if news is not None:
            concurrent.futures.wait([news], HEAR_S)
        try:
            result = self.engine.send(job)
        except ConnectFailed:
            self._is_down(job.ask)
            raise
        self._used(job.ask)
        return result

    async def asend(self, job: Job) -> Result:
        """Serve a job from a coroutine. Raises `errors.GatewayError`."""
        news = self._news_of(job.ask)
        if news is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(news), HEAR_S)
        try:
            result = await self.engine.asend(job)
        except ConnectFailed:
            self._is_down(job.ask)
            raise
        self._used(job.ask)
        return result

    def listing_ask(self, api_base: str | None = None, api_key: object = None) -> Ask:
        """The question for a base's listing, by default for that of the first configured one.

        Raises:
            InvalidInput: a base or a key that cannot be sent.
            NoBase: no base was given and none is configured.
        """
        if not api_base and api_key is None:
            return self._bases.first()
        base = parse_base(api_base) if api_base else self._bases.first().base
        key, named = self._bases.credential(base, api_key)
        return Ask(base, LISTING, key, named=named)

    async def prepare(self, model: str) -> None:
        """Before a coroutine's call that names no base: have the listings by which its base is chosen."""
        await self._bases.prepare(self.settings.model_map.get(model, model))

    def loads(self, ask: Ask, seconds: float) -> Mapping[str, Load] | None:
        """How busy the models of a base are; None when it does not say. Blocks.

        Args:
            ask: for its listing.
            seconds: for each request.

        Raises:
            errors.GatewayError: no answer.
        """
        found: Mapping[str, Any] | None = self.plugins.hook.gateway_utilization(
            base=ask.base, fetch=lambda url: self._fetched(url, ask, seconds)
        )
        return None if found is None else Loads({name: load for name, load in found.items() if isinstance(load, Load)})

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

    def down_for(self, origin: str) -> float:
        """Seconds for which a Router had better ask another gateway: nobody could connect to this one a moment ago."""
        return max(0.0, self._down_until.get(origin, 0.0) - time.monotonic())

    def _news_of(self, ask: Ask) -> Future[None] | None:
        """What other processes have learnt of an upstream that is new to this one; None when nobody can tell."""
        return self.sharer.hear() if self.sharer is not None and self.memory.is_new(ask) else None

    def _is_down(self, ask: Ask) -> None:
        self._down_until.put(ask.base.origin, time.monotonic() + DOWN_S)

    def _used(self, ask: Ask) -> None:
        """A gateway has answered; with `read_listings` its listing is read in the background when that is due."""
        self._down_until.pop(ask.base.origin, None)
        if self.settings.read_listings and ask.surface != LISTING:
            listing = listing_ask(ask)
            self.listings.find(listing)  # it may be on a shelf
            if self.listings.is_due(listing):
                self.discovery.start(listing)

    def _read_listing(self, ask: Ask) -> Listing:
        """Raises `errors.GatewayError`."""
        result = self.send(Job(ask, method="GET", timeout=LISTING_TIMEOUT_S))
        return self.policy.read_listing(result.data) or Listing()

    def _fetched(self, url: str, ask: Ask, seconds: float) -> Any:
        """The JSON at a URL; without a credential, unless the gateway's own origin wants one.

        Where there was no such page a moment ago, nobody asks.
        """
        if time.monotonic() < self._no_pages.get(url, 0.0):
            return None
        status, found = self.engine.fetch(url, None, seconds)
        if status in WANTS_KEY and ask.key is not None and origin_of(url) == ask.base.origin:
            route = self.memory.proven(ask) or Route(ask.named or DEFAULT_ORDER[0])
            status, found = self.engine.fetch(url, header_for(route.style, ask.key), seconds)
        if status in NO_PAGE:
            self._no_pages.put(url, time.monotonic() + self.settings.listing_ttl_s)
        return found


def _sharer_of(settings: GatewaySettings, gate: Gate | None, disk: DiskGuesses | None) -> Sharer | None:
    url = settings.redis
    return None if url is None else sharer_of(url, settings.sharing_secret(url), gate, disk)


def _shelves(settings: GatewaySettings) -> tuple[Shelf, ...]:
    """Where listings outlive the process, the shelf that most others fill first."""
    url = settings.redis
    shared = () if url is None else (RedisShelf(url, settings.sharing_secret(url)),)
    return (*shared, DiskShelf(settings.cache_dir)) if settings.cache else shared


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
