"""The negotiation: yields what to send next and is sent what came back. No I/O, no clock, no httpx, no litellm.

The shape is that of `httpx.Auth.auth_flow`: one generator, driven by a thread or by a coroutine. It yields

    Attempt   send the caller's request (or the listing's) this way, then send in the `Answer`
    Wait      somebody else has just asked the same gateway the same question; wait for the answer's status line, at
              most for the grace, then go on

and returns a `Served`, or raises one of our errors. What one call may cost: one pass over the styles, one look at the
other form of the base, one listing. Nothing that may have done work is ever sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import parse_qsl

from . import refusals
from .answers import Answer
from .capacity import is_account_limit
from .catalogue import Listing
from .credentials import BASIC, fingerprint, header_for, hinted_styles
from .errors import Answered, Full, NotAGateway, UpstreamFailed
from .plan import Plan, Route
from .urls import Base
from .verdicts import Verdict, read_verdict, unwrapped

LISTING = "models"
MAX_ATTEMPTS = 16
"""A last guard against a gateway that answers differently each time: every style of the default order, a guess and two
hints on both forms, a path without its slash and another id. Nothing admissible in the default order needs more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller wants to reach.

    Attributes:
        base: where.
        surface: what, such as "chat/completions".
        key: the credential, None for none.
        model: the wanted id, "" when the surface has none.
        requested: what the caller wrote instead, when the operator's map has made that id of it.
        named: the style of the header in which the caller gave the key, if so.
        others: further secrets of the caller's headers, which no error may hold.
        fixed_id: whether the id cannot be replaced in the body (multipart).
    """

    base: Base
    surface: str
    key: str | None = field(repr=False)
    model: str = ""
    named: str | None = None
    fixed_id: bool = False
    others: tuple[str, ...] = field(default=(), repr=False)
    requested: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that no message may hold, should the gateway quote it; the longest first."""
        key, query = self.key or "", self.base.query
        basic = header_for(BASIC, key) if ":" in key else None
        parts = [key, key.rpartition(":")[2], basic[1].rpartition(" ")[2] if basic else "", query]
        parts += [value for _, value in parse_qsl(query)]
        parts += [part.partition("=")[2] for part in query.split("&")]  # as they are written: a%2Fb
        return tuple(sorted({part for part in (*parts, *self.others) if len(part) > 3}, key=len, reverse=True))

    @property
    def profile(self) -> Profile:
        """What is learnt is remembered under this."""
        return str(self.base), self.surface, fingerprint(self.key)


Profile = tuple[str, str, str]
"""Base as given, surface, fingerprint of the key."""


class Probe:
    """One outstanding question about a profile; others wait for its status line."""

    __slots__ = ("promising", "settled")

    def __init__(self) -> None:
        self.settled: Future[None] = Future()
        self.promising = False

    def head(self, status: int) -> None:
        """The status line is here: a success lets the others go ahead the same way."""
        if 200 <= status < 300:
            self.promising = True
            self.settle()

    def settle(self) -> None:
        """Wake whoever waits. May be called twice, from any thread."""
        if not self.settled.done():
            try:
                self.settled.set_result(None)
            except Exception:  # noqa: BLE001  two threads may pass the check above together; the loser has nothing to do
                return


@dataclass(frozen=True, slots=True)
class Attempt:
    """Send this; then send in its `Answer`, or throw in what went wrong."""

    surface: str
    route: Route
    model: str
    probe: Probe | None = None

    def head(self, status: int) -> None:
        """To be called when the status line has arrived, before the body is read."""
        if self.probe is not None:
            self.probe.head(status)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until this is settled, at most for the grace; then send in None."""

    probe: Probe


Step = Attempt | Wait


@dataclass(frozen=True, slots=True)
class Served:
    """How the request was served.

    Attributes:
        route: what worked.
        model: the id that was sent.
        tried: the styles and forms of every attempt of this call, the last one being `route`.
        answer: the last answer, which fits.
    """

    route: Route
    model: str
    tried: tuple[Route, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class Claim:
    """What a caller may do now: take `route`, or wait for somebody else's probe when this one is not `mine`.

    Attributes:
        proven: the route is known to work.
        last: the key was refused a moment ago; one try and no more.
    """

    route: Route
    probe: Probe | None = None
    mine: bool = True
    proven: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """Nothing is left to try; the plan knows why."""

    plan: Plan


class Memory(Protocol):
    """What the negotiation asks of the store."""

    def claim(self, ask: Ask, ahead: Probe | None) -> Claim | Spent: ...
    def prove(self, ask: Ask, claim: Claim) -> None: ...
    def refuse(self, ask: Ask, claim: Claim, answer: Answer, hints: Sequence[str]) -> None: ...
    def no_route(self, ask: Ask, claim: Claim, answer: Answer) -> None: ...
    def release(self, ask: Ask, claim: Claim, *, promising: bool = False) -> None: ...
    def refused_styles(self, ask: Ask) -> list[str]: ...
    def served_id(self, ask: Ask) -> str | None: ...
    def learn_id(self, ask: Ask, served: str) -> None: ...
    def listing(self, ask: Ask, *, old: bool = False) -> Sequence[str] | None: ...
    def read_listing(self, ask: Ask) -> Probe | None: ...
    def learn_listing(self, ask: Ask, listing: Listing | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """The decisions that a vendor may change (`hookspecs.py`), as plain functions."""

    is_capacity: Callable[[int, Mapping[str, str], str], bool]
    model_id: Callable[[Base, str, Sequence[str]], str | None]
    read_listing: Callable[[Any], Listing | None]
    negotiated: Callable[[Base, str, Route, Sequence[Route]], None]
    now: Callable[[], float]
    is_account_limit: Callable[[Mapping[str, str], str], bool] = is_account_limit
    map_503: bool = True


Flow = Generator[Step, Answer | None, Served]


def negotiate(ask: Ask, memory: Memory, policy: Policy) -> Flow:
    """Bring one request to the gateway.

    Raises:
        errors.GatewayError: the subclass that says what the gateway's answers mean. Whatever the driver throws in at an
            `Attempt` (a broken connection, a cancellation) goes through, and teaches nothing.
    """
    tried: list[Route] = []
    unknown: list[str] = []
    ahead: Probe | None = None
    model = ask.model if ask.fixed_id else memory.served_id(ask) or ask.model
    while len(tried) < MAX_ATTEMPTS:
        claim = memory.claim(ask, ahead)
        if isinstance(claim, Spent):
            raise refusals.nothing_left(ask, claim.plan)
        if claim.probe is not None and not claim.mine:
            ahead = claim.probe
            yield Wait(claim.probe)
            continue
        answer, verdict = yield from _attempt(ask, memory, policy, claim, model, tried)
        if verdict is Verdict.PROVEN:
            route = _remember(ask, memory, policy, claim, answer, tried)
            return Served(route, model, tuple(tried), answer)
        if verdict is Verdict.MODEL:
            memory.release(ask, claim, promising=True)
            unknown.append(model)
            model = yield from _another_id(ask, memory, policy, claim.route, unknown, answer)
        elif verdict in RETRY and not (claim.last and verdict is Verdict.STYLE):
            RETRY[verdict](ask, memory, claim, answer)
        else:
            memory.release(ask, claim, promising=verdict is not Verdict.STYLE)
            raise refusals.error_for(verdict, ask, claim, answer, tried, memory.refused_styles(ask), policy.now())
    raise refusals.never_settled(ask, tried)


def _attempt(
    ask: Ask, memory: Memory, policy: Policy, claim: Claim, model: str, tried: list[Route]
) -> Generator[Step, Answer | None, tuple[Answer, Verdict]]:
    tried.append(claim.route)
    try:
        given = yield Attempt(ask.surface, claim.route, model, claim.probe)
        if given is None:
            raise TypeError("an Attempt has to be sent its Answer")  # noqa: TRY301  a driver's mistake frees the probe too
        answer = unwrapped(given)
        verdict = read_verdict(answer, model, policy.is_capacity)
    except BaseException:  # whatever ends it, a cancellation or a failing hook, must free the probe for the others
        memory.release(ask, claim)
        raise
    if verdict is Verdict.BASE and answer.status < 300 and claim.proven:
        return answer, Verdict.BROKEN  # this route has worked before: what it did now may have been work
    return answer, verdict


def _style_refused(ask: Ask, memory: Memory, claim: Claim, answer: Answer) -> None:
    memory.refuse(ask, claim, answer, _asked_for(answer, ask.key))


def _asked_for(answer: Answer, key: str | None) -> list[str]:
    """The styles that a refusal asks for, but no name made from the key, which some refusals quote."""
    secret = (key or "").lower()
    styles = hinted_styles(answer.headers, answer.words)
    return [style for style in styles if style not in secret and (len(secret) < 8 or secret not in style)]


def _base_missing(ask: Ask, memory: Memory, claim: Claim, answer: Answer) -> None:
    memory.no_route(ask, claim, answer)


RETRY: dict[Verdict, Callable[[Ask, Memory, Claim, Answer], None]] = {
    Verdict.STYLE: _style_refused,
    Verdict.BASE: _base_missing,
}
"""The verdicts after which the call goes on, and what they teach. Every other one is surfaced."""


def _remember(ask: Ask, memory: Memory, policy: Policy, claim: Claim, answer: Answer, tried: Sequence[Route]) -> Route:
    route = replace(claim.route, slash=True) if answer.slashed else claim.route
    if not claim.proven or route != claim.route:
        memory.prove(ask, replace(claim, route=route))
        policy.negotiated(ask.base, ask.surface, route, tuple(tried))
    return route


def _another_id(
    ask: Ask, memory: Memory, policy: Policy, route: Route, unknown: Sequence[str], answer: Answer
) -> Generator[Step, Answer | None, str]:
    """The id to send after these were unknown: the asked one itself, then what the gateway lists as its equal.

    Raises:
        errors.ModelUnknown: it lists nothing equal, or nothing at all, or an id that it does not know either.
    """
    served: str | None = ask.model
    ids: Sequence[str] = ()
    if ask.model in unknown:
        ids = yield from _listing(ask, memory, policy, route)
        served = policy.model_id(ask.base, ask.model, ids)
    if served is None or served in unknown or ask.fixed_id:
        raise refusals.model_unknown(ask, answer, ids, listed=served in unknown)
    memory.learn_id(ask, served)
    return served


def _listing(ask: Ask, memory: Memory, policy: Policy, route: Route) -> Generator[Step, Answer | None, Sequence[str]]:
    """The ids that the gateway lists, asked for once and remembered; none when it has no listing, or not now."""
    ids = memory.listing(ask)
    if ids is not None:
        return ids
    reader = memory.read_listing(ask)
    if reader is not None:
        yield Wait(reader)
        ids = memory.listing(ask)
        if ids is not None:
            return ids
    else:  # the reader before this one may have ended between the two looks
        ids = memory.listing(ask)
        if ids is not None:
            memory.learn_listing(ask, None)
            return ids
    yield from _read_listing(ask, memory, policy, route)
    return memory.listing(ask, old=True) or ()


def _read_listing(ask: Ask, memory: Memory, policy: Policy, route: Route) -> Generator[Step, Answer | None, None]:
    found: Listing | None = None
    try:
        served = yield from negotiate(listing_ask(ask, route), memory, policy)
        found = policy.read_listing(served.answer.data)
    except (Full, UpstreamFailed):
        pass  # that passes: the next call asks again
    except (Answered, NotAGateway):
        found = Listing()  # a gateway without a listing is a gateway all the same
    finally:
        memory.learn_listing(ask, found)


def listing_ask(ask: Ask, route: Route | None = None) -> Ask:
    """The question for the listing of the same base, in the style that works elsewhere on it."""
    return replace(ask, surface=LISTING, model="", named=route.style if route else ask.named)
