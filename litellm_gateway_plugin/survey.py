"""Asks every base at once what it lists and how busy it is, and does not wait for those that are slow or dead."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from .catalogue import Listing
from .discovery import Flight, settled
from .errors import Answered, ConnectFailed, GatewayError, KeyRefused, NotAGateway
from .handle import Gateway
from .settings import GatewayBase
from .urls import origin_of, parse_base
from .utilization import Load, utilization_url

NOT_FOUND = 404
Told = Mapping[str, Load]


class Asked(NamedTuple):
    """The readings of a base's listing and of its loads, and the listing that was known before."""

    listing: Flight
    loads: Future[Any]
    known: Listing | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one base.

    Attributes:
        base: as it is configured.
        number: its place among the configured ones.
        label: the base without user, password and query, and with a number where several accounts have the same.
        listing: what it lists; None when it has no listing, or when it is dead.
        loads: how busy its models are, as far as it says; None when that could not be read.
        dead: why it cannot be used, "" when it can.
        unlisted: why there is no listing, "" when there is one.
    """

    base: GatewayBase
    number: int
    label: str
    listing: Listing | None
    loads: Told | None = None
    dead: str = ""
    unlisted: str = ""


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
        self._over_at = time.monotonic() + seconds
        # starting many threads takes long when the first ones are at work already: no event loop has to wait for that
        self._begun = in_thread(lambda: [_ask(gateway, base, seconds, anew=anew) for base in bases.values()])

    def wait(self) -> list[Finding]:
        """What was found out, from a thread. Raises `errors.InvalidInput`: a base or a key that cannot be sent."""
        concurrent.futures.wait([self._begun], self._left())
        concurrent.futures.wait(self._flights(), self._left())
        return self._findings()

    async def await_(self) -> list[Finding]:
        """The same from a coroutine."""
        await settled([self._begun], self._left())
        await settled(self._flights(), self._left())
        return self._findings()

    def _left(self) -> float:
        return max(0.0, self._over_at - time.monotonic())

    def _asked(self) -> list[Asked]:
        return self._begun.result() if self._begun.done() else []

    def _flights(self) -> list[Future[Any]]:
        return [flight for asked in self._asked() for flight in (asked.listing, asked.loads)]

    def _findings(self) -> list[Finding]:
        never = Asked(Future(), Future(), None)
        found = zip(self._bases.items(), self._asked() or [never] * len(self._bases), strict=True)
        return [self._finding(number, base, label, asked) for number, ((label, base), asked) in enumerate(found)]

    def _finding(self, number: int, base: GatewayBase, label: str, asked: Asked) -> Finding:
        listing, loads, known = asked
        if not listing.done():
            return Finding(base, number, label, None, dead=f"no answer within {self._seconds:g} seconds")
        error = listing.exception() or (_broken(base, loads) if listing.result() is known else None)
        told = _result(loads)
        if error is None:
            return Finding(base, number, label, listing.result(), told)
        words = error.message if isinstance(error, GatewayError) else type(error).__name__
        if not _lives(error):
            return Finding(base, number, label, None, told, dead=words)
        return Finding(base, number, label, known, told, unlisted=words)


def _ask(gateway: Gateway, base: GatewayBase, seconds: float, *, anew: bool) -> Asked:
    """Have a base asked for its listing and for its loads."""
    ask = gateway.listing_ask(base.api_base, base.key)
    known = gateway.listings.find(ask)
    enough = known if known is not None and not anew and not gateway.listings.is_due(ask) else None
    listing = gateway.discovery.start(ask, anew=anew) if enough is None else _landed(enough)
    return Asked(listing, in_thread(lambda: gateway.loads(ask, seconds)), known)


def _landed(listing: Listing) -> Flight:
    flight: Flight = Future()
    flight.set_result(listing)
    return flight


def _broken(base: GatewayBase, loads: Future[Told | None]) -> BaseException | None:
    """Why nobody could connect to the base's own host: a listing that is kept does not tell a dead one."""
    known = parse_base(base.api_base)
    if not loads.done() or origin_of(utilization_url(known)) != known.origin:
        return None
    error = loads.exception()
    return error if isinstance(error, ConnectFailed) else None


def _lives(error: BaseException) -> bool:
    """Whether all that a base has not is a listing, or not just now; a web page in its place is none of a gateway."""
    if isinstance(error, NotAGateway):
        return error.status >= NOT_FOUND
    return isinstance(error, Answered) and not isinstance(error, KeyRefused)


def _result(flight: Future[Any]) -> Any:
    return flight.result() if flight.done() and flight.exception() is None else None


def in_thread(task: Callable[[], Any]) -> Future[Any]:
    """Do something in a daemon thread."""
    flight: Future[Any] = Future()
    threading.Thread(target=_run, args=(task, flight), name="litellm-gateway-survey", daemon=True).start()
    return flight


def _run(task: Callable[[], Any], flight: Future[Any]) -> None:
    try:
        flight.set_result(task())
    except BaseException as error:  # noqa: BLE001  whatever it is, whoever waits gets it
        flight.set_exception(error)
