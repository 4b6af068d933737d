"""The configured gateways: whose key belongs where, and which of them serves a call that names none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Sequence
from functools import cached_property

from .credentials import BASIC, clean_key
from .discovery import Discovery, Flight, settled
from .errors import NoBase
from .negotiation import LISTING, Ask
from .recent import Recent
from .settings import GatewayBase
from .urls import Base, parse_base

WAIT_S = 5.0
"""Seconds for which a call that names no base waits, once, for the listings of the configured ones."""

CHOICE_S = 1.0
"""Seconds for which a choice among them holds; a listing that is read meanwhile ends it."""

MOST_CHOICES = 4096

ModelId = Callable[[Base, str, Sequence[str]], str | None]


class Bases:
    """The gateways that the operator has named.

    Args:
        configured: in the operator's order.
        discovery: what they list.
        model_id: the listed id that equals an asked one, None without one.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        configured: Sequence[GatewayBase],
        discovery: Discovery,
        model_id: ModelId,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = [(parse_base(each.api_base), each.key) for each in configured]
        self._discovery = discovery
        self._model_id = model_id
        self._clock = clock
        self._choices: Recent[str, tuple[Ask, float, int]] = Recent(MOST_CHOICES)
        self._waited_for: set[Ask] = set()

    @cached_property
    def all(self) -> tuple[Base, ...]:
        """Without their keys."""
        return tuple(base for base, _ in self._keys)

    @cached_property
    def origins(self) -> frozenset[str]:
        """Their origins."""
        return frozenset(base.origin for base in self.all)

    def credential(self, base: Base, api_key: object) -> tuple[str | None, str | None]:
        """The key for a base, and the style in which it was given: the call's, the one in the base, the configured one.

        Raises:
            InvalidInput: a key that cannot be sent.
        """
        given = clean_key(api_key)
        if given is None and base.userinfo:
            return clean_key(base.userinfo), BASIC
        return given or self._configured_key(base), None

    def first(self) -> Ask:
        """For the listing of the first. Raises NoBase without one."""
        if not self._asks:
            raise NoBase(
                "No gateway was named: pass api_base=, or set LITELLM_GATEWAY_API_BASE (and LITELLM_GATEWAY_API_KEY)."
            )
        return self._asks[0]

    def choose(self, model: str, key: str | None = None) -> Ask:
        """For the listing of the one that serves a model: the first that lists it, else the first of all.

        One that lists exactly this id goes before one that lists its equal. Waits for listings that were never read,
        once for each gateway.

        Args:
            model: the wanted id.
            key: the call's own, if it has one: it goes to a gateway that has the same, or none; else to the first.

        Raises:
            NoBase: none is configured.
        """
        first = self.first()
        if len(self._asks) == 1:
            return first
        if key is not None:
            mine = [ask for ask in self._asks if ask.key in (None, key)] or [first]
            found = (self._exact(model, mine) or self._after_reading(model, mine)) if len(mine) > 1 else None
            return found or mine[0]
        chosen, until, version = self._choices.get(model) or (first, 0.0, -1)
        if self._clock() < until and version == self._discovery.listings.version:
            return chosen
        chosen = self._exact(model, self._asks) or self._after_reading(model, self._asks) or first
        self._choices.put(model, (chosen, self._clock() + CHOICE_S, self._discovery.listings.version))
        return chosen

    async def prepare(self, model: str) -> None:
        """Before a coroutine's call that names no base: have the listings by which its base is chosen."""
        if len(self._asks) < 2 or model in self._choices:
            return
        if not all(map(self._discovery.listings.is_known, self._asks)):
            unread = await asyncio.to_thread(self._unread, self._asks)  # it may read from a disk
            await settled([flight for _, flight in unread], WAIT_S)
            self._waited_for.update(ask for ask, _ in unread)

    @cached_property
    def _asks(self) -> tuple[Ask, ...]:
        """The questions for their listings."""
        credentials = [(base, *self.credential(base, key)) for base, key in self._keys]
        return tuple(Ask(base, LISTING, key, named=named) for base, key, named in credentials)

    def _configured_key(self, base: Base) -> str | None:
        exact = (key for known, key in self._keys if str(known) == str(base))
        same_origin = (key for known, key in self._keys if known.origin == base.origin)
        return next((key for key in (*exact, *same_origin) if key), None)

    def _exact(self, model: str, asks: Sequence[Ask]) -> Ask | None:
        return next((ask for ask in asks if model in self._ids(ask)), None)

    def _after_reading(self, model: str, asks: Sequence[Ask]) -> Ask | None:
        unread = self._unread(asks)
        if unread:
            concurrent.futures.wait([flight for _, flight in unread], WAIT_S)
            self._waited_for.update(ask for ask, _ in unread)
        found = self._exact(model, asks) if unread else None
        known = ((ask, self._ids(ask)) for ask in asks)
        return found or next((ask for ask, ids in known if ids and self._model_id(ask.base, model, ids)), None)

    def _ids(self, ask: Ask) -> Sequence[str]:
        """What a gateway lists, as far as is known; what is old is read anew meanwhile."""
        found = self._discovery.listings.find(ask)
        if found is None:
            return ()
        self._discovery.refresh(ask)
        return found.ids

    def _unread(self, asks: Sequence[Ask]) -> list[tuple[Ask, Flight]]:
        """The readings of those listings that are not known; one that was waited for is not waited for again."""
        listings = self._discovery.listings
        unknown = [ask for ask in asks if listings.find(ask) is None and listings.is_due(ask)]
        started = [(ask, self._discovery.start(ask, anew=False)) for ask in unknown]
        return [(ask, flight) for ask, flight in started if ask not in self._waited_for]
