"""Reads listings: one request for all who want the same one, side by side for several bases, in the background on use.

Every reading is done by a daemon thread of its own, which ends with it. So whoever waits, in a thread or in any event
loop, may be cancelled or give up without taking the answer from the others.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import Future

from .catalogue import Listing
from .errors import Full, GatewayError, TimedOut, Unreachable, UpstreamFailed
from .listings import Listings
from .negotiation import Ask

Flight = Future[Listing]

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
        self._flights: dict[tuple[str, str], Flight] = {}
        self._lock = threading.Lock()

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
            return self.start(ask).result(seconds)
        except concurrent.futures.TimeoutError:
            raise _too_slow(ask, seconds) from None

    async def alisting(self, ask: Ask, seconds: float | None = None, *, anew: bool = False) -> Listing:
        """The same from a coroutine."""
        known = None if anew else self._known(ask)
        if known is not None:
            return known
        flight = asyncio.wrap_future(self.start(ask))
        try:
            return await asyncio.wait_for(asyncio.shield(flight), seconds)
        except asyncio.TimeoutError:
            flight.add_done_callback(heard)
            raise _too_slow(ask, seconds) from None

    def start(self, ask: Ask) -> Flight:
        """Have the listing read now, unless it is being read already."""
        name = str(ask.base), ask.profile[2]
        with self._lock:
            flight = self._flights.get(name)
            if flight is not None:
                return flight
            flight = self._flights[name] = Flight()
        task = (name, ask, flight)
        threading.Thread(target=self._fly, args=task, name="litellm-gateway-listing", daemon=True).start()
        return flight

    def after_fork(self) -> None:
        """In the child: the threads that read are the parent's."""
        self._lock = threading.Lock()
        self._flights = {}

    def _known(self, ask: Ask) -> Listing | None:
        known = self.listings.find(ask)
        if known is not None and self.listings.is_due(ask):
            self.start(ask)
        return known

    def _fly(self, name: tuple[str, str], ask: Ask, flight: Flight) -> None:
        try:
            listing = self._read(ask)
            self.listings.learn(ask, listing)
        except BaseException as error:  # noqa: BLE001  whatever it is, those who wait get it
            self.listings.failed(ask, passing=isinstance(error, PASSING))
            self._land(name)
            flight.set_exception(error)
        else:
            self._land(name)
            flight.set_result(listing)

    def _land(self, name: tuple[str, str]) -> None:
        with self._lock:
            self._flights.pop(name, None)


def _too_slow(ask: Ask, seconds: float | None) -> GatewayError:
    return TimedOut(f"The listing of {ask.base} did not come within {seconds:g} seconds.")


def heard(flight: asyncio.Future[Listing]) -> None:
    """Nobody waits for it any more, and that is no reason for a complaint about an exception never retrieved."""
    if not flight.cancelled():
        flight.exception()
