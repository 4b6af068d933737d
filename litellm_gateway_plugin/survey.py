"""Asks every base at once what it lists and how busy it is, and does not wait for those that are slow or dead."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from .catalogue import Listing
from .discovery import Flight, heard
from .errors import Answered, Full, GatewayError, KeyRefused, NotAGateway, Unreachable
from .handle import Gateway
from .negotiation import Ask
from .settings import GatewayBase
from .urls import origin_of, parse_base
from .utilization import Load, utilization_url

Loads = Mapping[str, Load]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one base.

    Attributes:
        base: as it is configured.
        number: its place among the configured ones.
        label: the base without user, password and query, and with a number where several accounts have the same.
        listing: what it lists; None when it has no listing, or when it is dead.
        loads: how busy its models are, as far as it says.
        dead: why it cannot be used, "" when it can.
    """

    base: GatewayBase
    number: int
    label: str
    listing: Listing | None
    loads: Loads = field(default_factory=dict)
    dead: str = ""


def labelled(bases: Sequence[GatewayBase]) -> dict[str, GatewayBase]:
    """The bases by what people call them: no user, password or query, and a number where several accounts share one."""
    names = [str(parse_base(base.api_base)) for base in bases]
    again = [names[:place].count(name) for place, name in enumerate(names)]
    labels = [f"{name} ({count + 1})" if count else name for name, count in zip(names, again, strict=True)]
    return dict(zip(labels, bases, strict=True))


class Survey:
    """One look at all bases; it begins when it is made.

    Args:
        gateway: the installation.
        bases: the configured bases, by label.
        seconds: for the whole survey.
        anew: whether every listing is read now; else one that is fresh will do.
    """

    def __init__(self, gateway: Gateway, bases: Mapping[str, GatewayBase], seconds: float, *, anew: bool) -> None:
        self._bases = bases
        self._seconds = seconds
        self._asks = [gateway.listing_ask(base.api_base, base.key) for base in bases.values()]
        self._listings = [_listing(gateway, ask, anew=anew) for ask in self._asks]
        self._loads = [_started(lambda ask=ask: gateway.loads(ask, seconds)) for ask in self._asks]  # type: ignore[misc]  # a default argument keeps the loop's value

    def wait(self) -> list[Finding]:
        """What was found out, from a thread."""
        concurrent.futures.wait([*self._listings, *self._loads], self._seconds)
        return self._findings()

    async def await_(self) -> list[Finding]:
        """The same from a coroutine."""
        flights = [asyncio.wrap_future(flight) for flight in (*self._listings, *self._loads)]
        await asyncio.wait(flights, timeout=self._seconds)
        for flight in flights:
            flight.add_done_callback(heard)
        return self._findings()

    def _findings(self) -> list[Finding]:
        found = zip(self._bases.items(), self._listings, self._loads, strict=True)
        return [self._finding(number, base, label, *each) for number, ((label, base), *each) in enumerate(found)]

    def _finding(
        self, number: int, base: GatewayBase, label: str, listing: Flight, loads: Future[Loads | None]
    ) -> Finding:
        if not listing.done():
            return Finding(base, number, label, None, dead=f"no answer within {self._seconds:g} seconds")
        error = listing.exception() or _broken(base, loads)
        if error is not None:
            return Finding(base, number, label, None, _result(loads) or {}, _reason(error))
        return Finding(base, number, label, listing.result(), _result(loads) or {})


def _listing(gateway: Gateway, ask: Ask, *, anew: bool) -> Flight:
    known = None if anew else gateway.listings.fresh(ask)
    if known is None:
        return gateway.discovery.start(ask, anew=anew)
    flight: Flight = Future()
    flight.set_result(known)
    return flight


def _broken(base: GatewayBase, loads: Future[Loads | None]) -> BaseException | None:
    """Why the base's own host could not be asked how busy it is: a listing that is kept does not tell a dead one."""
    known = parse_base(base.api_base)
    if not loads.done() or origin_of(utilization_url(known)) != known.origin:
        return None
    error = loads.exception()
    return error if isinstance(error, Unreachable) else None


def _reason(error: BaseException) -> str:
    """Why a base cannot be used, "" when all that it has not is a listing."""
    if isinstance(error, (NotAGateway, Full)) or (isinstance(error, Answered) and not isinstance(error, KeyRefused)):
        return ""
    return error.message if isinstance(error, GatewayError) else type(error).__name__


def _result(flight: Future[Any]) -> Any:
    return flight.result() if flight.done() and flight.exception() is None else None


def _started(task: Callable[[], Any]) -> Future[Any]:
    """Do something in a daemon thread."""
    flight: Future[Any] = Future()
    threading.Thread(target=_run, args=(task, flight), name="litellm-gateway-survey", daemon=True).start()
    return flight


def _run(task: Callable[[], Any], flight: Future[Any]) -> None:
    try:
        flight.set_result(task())
    except BaseException as error:  # noqa: BLE001  whatever it is, whoever waits gets it
        flight.set_exception(error)
