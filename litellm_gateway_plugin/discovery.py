"""Reads listings: one request for all who want the same one, side by side for several bases, in the background on use.

Every reading is done by a daemon thread of its own, which ends with it. So whoever waits, in a thread or in any event
loop, may be cancelled or give up without taking the answer from the others.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from .catalogue import Listing
from .errors import Full, GatewayError, TimedOut, Unreachable, UpstreamFailed
from .forking import renew_after_fork
from .listings import Listings, Name, name_of
from .negotiation import Ask

Flight = Future[Listing]
"""A listing that is being read."""

PASSING = (Full, Unreachable, UpstreamFailed)
"""What may be over soon; a gateway that has no listing, or refuses it, is asked again as rarely as one that has."""


class Discovery:
    """The listings, and how they are read.

    Args:
        listings: what is known.
        read: asks a gateway for its listing; raises our errors.
    """

    def __init__(self, listings: Listings, read: Callable[[Ask], Listing]) -> None:
        self.listings = listings
        self._read = read
        self._flights: dict[Name, tuple[Flight, bool]] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def listing(self, ask: Ask, seconds: float | None = None, *, anew: bool = False) -> Listing:
        """The listing, at once when one is known; when that is old, it is read anew in the background.

        Args:
            ask: for the listing of which base, with which key.
            seconds: how long to wait for a listing that is not known, None for as long as the reading takes.
            anew: whether to wait for one that is read now.

        Raises:
            errors.GatewayError: it cannot be read, or not in that time.
        """
        known = None if anew else self._known(ask)
        if known is not None:
            return known
        try:
            return self.start(ask, anew=anew).result(seconds)
        except concurrent.futures.TimeoutError:
            raise _too_slow(ask, seconds) from None

    async def alisting(self, ask: Ask, seconds: float | None = None, *, anew: bool = False) -> Listing:
        """The same from a coroutine."""
        known = None if anew else self._known(ask)
        if known is not None:
            return known
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.start(ask, anew=anew)), seconds)
        except asyncio.TimeoutError:
            raise _too_slow(ask, seconds) from None

    def start(self, ask: Ask, *, anew: bool = True) -> Flight:
        """Have the listing read now, unless it is being read already.

        Args:
            ask: for the listing of which base, with which key.
            anew: whether the gateway is asked in any case; without that, what this process has just learnt is enough,
                and so is what another one has read and put on a shelf.
        """
        with self._lock:
            flight, asks = self._flights.get(name_of(ask), (None, False))
            if flight is not None and (asks or not anew):
                return flight
            settled = None if anew else self.listings.settled(ask)
            flight = Flight()
            flight.set_running_or_notify_cancel()  # one of those who wait cannot take it from the others
            if settled is not None:  # it came between the caller's look and this one
                flight.set_result(settled)
                return flight
            self._flights[name_of(ask)] = flight, anew
        self._begin(ask, flight, anew=anew)
        return flight

    def refresh(self, ask: Ask) -> None:
        """Have the listing read in the background when it is due."""
        if self.listings.is_due(ask):
            self.start(ask, anew=False)

    def after_fork(self) -> None:
        """In the child: the threads that read are the parent's."""
        self._lock = threading.Lock()
        self._flights = {}

    def _known(self, ask: Ask) -> Listing | None:
        known = self.listings.find(ask)
        if known is not None:
            self.refresh(ask)
        return known

    def _begin(self, ask: Ask, flight: Flight, *, anew: bool) -> None:
        task = threading.Thread(target=self._fly, args=(ask, flight, anew), name="litellm-gateway-listing", daemon=True)
        try:
            task.start()
        except RuntimeError as error:  # no more threads, or the interpreter is about to end
            self._land(ask, flight)
            flight.set_exception(Unreachable(f"The listing of {ask.base} cannot be read: {error}."))

    def _fly(self, ask: Ask, flight: Flight, anew: bool) -> None:
        try:
            listing = (None if anew else self.listings.recall_newer(ask)) or self._asked(ask, flight)
        except BaseException as error:  # noqa: BLE001  whatever it is, those who wait get it
            self.listings.failed(ask, passing=isinstance(error, PASSING))
            self._land(ask, flight)
            flight.set_exception(error)
        else:
            self._land(ask, flight)
            flight.set_result(listing)

    def _asked(self, ask: Ask, flight: Flight) -> Listing:
        """What the gateway answers now, to this flight or to the one that somebody has sent after it meanwhile."""
        with self._lock:
            other = self._flights.get(name_of(ask), (None,))[0]
            if other is flight:
                self._flights[name_of(ask)] = flight, True
        if other is not flight:
            settled = self.listings.settled(ask) if other is None else other.result()
            if settled is not None:
                return settled
        listing = self._read(ask)
        self.listings.learn(ask, listing)
        return listing

    def _land(self, ask: Ask, flight: Flight) -> None:
        """It is over before those who wait are told: who asks for it anew then gets another one."""
        with self._lock:
            if self._flights.get(name_of(ask), (None,))[0] is flight:
                del self._flights[name_of(ask)]


def _too_slow(ask: Ask, seconds: float | None) -> GatewayError:
    return TimedOut(f"The listing of {ask.base} did not come within {seconds:g} seconds.")


async def settled(flights: Sequence[Future[Any]], seconds: float) -> None:
    """Wait in a coroutine until all are done, or the time is over. Raises nothing that they raise."""
    waiting = [asyncio.wrap_future(flight) for flight in flights]
    for each in waiting:
        each.add_done_callback(_heard)
    if waiting:
        await asyncio.wait(waiting, timeout=seconds)


def _heard(flight: asyncio.Future[Any]) -> None:
    """Whoever waited may be gone: that is no reason for a complaint about an exception never retrieved."""
    if not flight.cancelled():
        flight.exception()
