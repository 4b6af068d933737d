"""Gateways with any manners, callers in any order: what the negotiation promises holds.

A gateway of this model takes one credential style on each surface (or anything), serves the surface on some of the two
forms of its base, and on the others either has no route (behind or before its guard) or is somebody else's site with a
guard of its own. A refusal may name the header that it wants.

**Admissible** is a combination of style, form and id for a call when, all the while,

1. the gateway takes this key in this style, or needs none;
2. the style is in the default order, or the caller named it, or the refusal does;
3. the surface exists on a form that the base admits;
4. the form that was proven before is not a stranger's now: refusals on a proven base are about the key;
5. the id is served as asked, or the listing (itself admissible by these rules) has its equal;
6. this key was not refused within the last minute, and what is remembered is about these manners: lessons count for a
   minute and a listing for five.

A call for which one exists must succeed, unless the gateway is full, the connection breaks or the caller leaves.

**Budget** of one call on its surface, and again for its listing, with f forms, the default order of 4 styles, one guess
or named style, `MAX_HINTED` hints and (for the listing alone) one attempt without a key:

    f · (4 + 1 + MAX_HINTED [+ 1]) + 2

where the 2 are a slash given up and one more id. No route is tried twice but for another id, or for the one try that a
key gets which somebody else's call saw refused in between. When manners change, or lessons grow old, while a call is
under way, it begins anew with what it knows, and `MAX_ATTEMPTS` is what ends it at last.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from litellm_gateway_plugin.answers import Answer
from litellm_gateway_plugin.capacity import is_capacity
from litellm_gateway_plugin.catalogue import equal_id
from litellm_gateway_plugin.credentials import CREDENTIAL_HEADERS, DEFAULT_ORDER, MAX_HINTED
from litellm_gateway_plugin.errors import ConnectionBroken, GatewayError, KeyRefused
from litellm_gateway_plugin.exchange import Job, request_for
from litellm_gateway_plugin.listings import FRESH_S, Listings
from litellm_gateway_plugin.memory import REFUSED_FOR, Memory
from litellm_gateway_plugin.negotiation import (
    LISTING,
    MAX_ATTEMPTS,
    Ask,
    Attempt,
    Flow,
    Probe,
    Served,
    Wait,
    listing_ask,
    negotiate,
)
from litellm_gateway_plugin.plan import Route
from litellm_gateway_plugin.urls import Base, parse_base
from litellm_gateway_plugin.verdicts import Verdict, read_verdict, unwrapped
from tests.support.core import CHAT, COMPLETION, Clock, answer, listing, policy

Reply = tuple[int, Any]
UNLISTED = "x-acme-key"
STYLES = (*DEFAULT_ORDER, UNLISTED)
KEYS = ("first-good-key", "second-good-key", "a-wrong-key")
BASES = tuple(map(parse_base, ("https://one.example/v1", "https://two.example/api", "https://three.example/v3")))
IDS = (("vendor/model",), ("Vendor/Model", "other"), ("other",))
REFUSALS: tuple[Reply, ...] = (
    (401, {"error": "Unauthorized"}),
    (403, {"message": "Forbidden"}),
    (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}),
    (401, "<html><title>401</title></html>"),
    (401, {"detail": "no: Host, Cookie, Content-Length, X-Junk-Token, X-More-Token, X-Most-Token are wrong"}),
    (200, {"error": {"code": 401, "message": "Unauthorized"}}),
)
MISSING: tuple[Reply, ...] = (
    (404, {"detail": "Not Found"}),
    (404, "404 page not found"),
    (405, ""),
    (302, ""),
    (200, "<html>console</html>"),
    (403, {"message": "Missing Authentication Token"}),
)
UNKNOWN: Reply = (404, {"error": {"message": "The model does not exist.", "param": "model"}})
STRANGER: Reply = (401, {"message": "Sign in to the console"})
RESULTS: dict[str, Any] = {CHAT: COMPLETION, "embeddings": {"data": [{"index": 0, "embedding": [0.5]}]}}


@dataclass(frozen=True)
class Desk:
    """How one surface is served. `style` None takes anything; `forms` are those that serve it."""

    style: str | None
    forms: frozenset[bool]
    guard_first: bool
    stranger: bool


@dataclass(frozen=True)
class Manners:
    surfaces: dict[str, Desk]
    keys: frozenset[str]
    ids: tuple[str, ...]
    refusal: int
    missing: int
    hints: bool

    def reply(self, attempt: Attempt, key: str | None) -> Answer:
        surface, route = attempt.surface, attempt.route
        desk = self.surfaces[surface]
        allowed = desk.style is None or (key in self.keys and route.style == desk.style)
        if route.toggled not in desk.forms:
            if desk.stranger:
                return answer(*STRANGER, surface)
            if allowed or not desk.guard_first:
                return answer(*MISSING[self.missing], surface)
        if not allowed:
            return self._refused(desk, surface)
        if surface == LISTING:
            return listing(*self.ids)
        return answer(200, RESULTS[surface], surface) if attempt.model in self.ids else answer(*UNKNOWN, surface)

    def _refused(self, desk: Desk, surface: str) -> Answer:
        named = {"bearer": "Bearer", "raw": "Bearer, Custom name=authorization"}
        challenge = named.get(str(desk.style), f'Custom name="{desk.style}"')
        return answer(*REFUSALS[self.refusal], surface, www_authenticate=challenge if self.hints else "")


DESKS = st.builds(
    Desk,
    st.sampled_from((*STYLES, None)),
    st.frozensets(st.booleans()) | st.just(frozenset({False})) | st.just(frozenset({True})),
    st.booleans(),
    st.booleans(),
)
MANNERS = st.builds(
    Manners,
    st.fixed_dictionaries({CHAT: DESKS, "embeddings": DESKS, LISTING: DESKS}),
    st.sampled_from([frozenset(KEYS[:2]), frozenset(KEYS[:1])]),
    st.sampled_from(IDS),
    st.integers(0, len(REFUSALS) - 1),
    st.integers(0, len(MISSING) - 1),
    st.booleans(),
)


@dataclass(eq=False)
class Caller:
    ask: Ask
    flow: Flow
    must_succeed: bool
    proven: bool
    refused: bool
    step: Attempt | Wait | None = None
    head: Answer | None = None
    disturbed: bool = False
    seen: list[tuple[str, Route, Verdict]] = field(default_factory=list)
    served: Served | None = None
    error: GatewayError | None = None

    def attempts(self, surface: str) -> list[tuple[Route, Verdict]]:
        return [(route, verdict) for at, route, verdict in self.seen if at == surface]


class Notes:
    """Guesses that outlive a process; here they outlive nothing, and are as stale as they can be."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], Route] = {}

    def recall(self, base: str, surface: str) -> Route | None:
        return self.routes.get((base, surface))

    def note(self, base: str, surface: str, route: Route) -> None:
        self.routes[base, surface] = route

    def after_fork(self) -> None: ...


class Negotiations(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.memory = Memory(Notes(), clock=self.clock, size=40, listings=Listings(clock=self.clock))
        self.manners: dict[str, Manners] = {}
        self.callers: list[Caller] = []
        self.refused: dict[tuple[str, str, str], float] = {}
        self.unsure_until = 0.0

    @initialize(manners=st.lists(MANNERS, min_size=3, max_size=3))
    def gateways(self, manners: list[Manners]) -> None:
        self.manners = {str(base): each for base, each in zip(BASES, manners, strict=True)}

    # what callers do

    @rule(
        base=st.sampled_from(BASES),
        surface=st.sampled_from([CHAT, CHAT, "embeddings"]),
        key=st.sampled_from((*KEYS, None)),
        named=st.sampled_from((None, None, None, *STYLES)),
    )
    def begin(self, base: Base, surface: str, key: str | None, named: str | None) -> None:
        if len(self.callers) >= 6:
            return
        asked = Ask(base, surface, key, "vendor/model", named=named if key else None)
        sure = self.clock() >= self.unsure_until
        caller = Caller(
            asked,
            negotiate(asked, self.memory, policy()),
            must_succeed=sure and self._admissible(asked),
            proven=sure and self.memory.proven(asked) is not None and self._works(asked),
            refused=sure and self.clock() < self.refused.get(asked.profile, 0),
            disturbed=not sure,
        )
        self.callers.append(caller)
        self._advance(caller, None)

    @precondition(lambda self: self.callers)
    @rule(which=st.integers(0, 5))
    def hear(self, which: int) -> None:
        """The answer arrives, or the grace is over."""
        caller = self.callers[which % len(self.callers)]
        self._go_on(caller)

    @precondition(lambda self: self.callers)
    @rule(which=st.integers(0, 5))
    def hear_status_line(self, which: int) -> None:
        caller = self.callers[which % len(self.callers)]
        if isinstance(caller.step, Attempt) and caller.head is None:
            caller.head = self.manners[str(caller.ask.base)].reply(caller.step, caller.ask.key)
            caller.step.head(caller.head.status)

    @precondition(lambda self: self.callers)
    @rule(which=st.integers(0, 5), how=st.sampled_from(["full", "breaks", "cancelled"]))
    def suffer(self, which: int, how: str) -> None:
        caller = self.callers[which % len(self.callers)]
        if how == "cancelled":
            caller.flow.close()
            self.callers.remove(caller)
        elif not isinstance(caller.step, Attempt):
            return
        elif how == "breaks":
            caller.must_succeed = False
            self._fail(caller)
        else:
            caller.must_succeed = False
            self._send(caller, answer(429, "slow down", caller.step.surface))

    # what time does

    @rule(base=st.sampled_from(BASES), manners=MANNERS)
    def change(self, base: Base, manners: Manners) -> None:
        """The gateway changes its manners, and time passes until nothing counts that was learnt for a while."""
        self.manners[str(base)] = manners
        self._disturb(FRESH_S + 1)

    @rule(seconds=st.sampled_from([1.0, REFUSED_FOR]))
    def wait(self, seconds: float) -> None:
        self._disturb(seconds)

    def _disturb(self, seconds: float) -> None:
        self.clock.pass_(seconds)
        for caller in self.callers:
            caller.disturbed = True

    # how a step goes

    def _go_on(self, caller: Caller) -> None:
        if isinstance(caller.step, Wait):
            self._advance(caller, None)
        elif caller.step is not None:
            reply = caller.head or self.manners[str(caller.ask.base)].reply(caller.step, caller.ask.key)
            self._send(caller, reply)

    def _send(self, caller: Caller, reply: Answer) -> None:
        assert isinstance(caller.step, Attempt)
        caller.step.head(reply.status)
        verdict = read_verdict(unwrapped(reply), caller.step.model, is_capacity)
        caller.seen.append((caller.step.surface, caller.step.route, verdict))
        self._advance(caller, reply)

    def _fail(self, caller: Caller) -> None:
        try:
            caller.flow.throw(ConnectionBroken("gone"))
        except ConnectionBroken:
            self.callers.remove(caller)
        else:
            raise AssertionError("a broken connection was answered with another attempt")

    def _advance(self, caller: Caller, reply: Answer | None) -> None:
        caller.head = None
        try:
            caller.step = caller.flow.send(reply)
        except StopIteration as stop:
            caller.served = stop.value
            self._ended(caller)
        except GatewayError as error:
            caller.error = error
            self._ended(caller)
        else:
            if isinstance(caller.step, Attempt):
                self._check_request(caller, caller.step)

    # what has to hold

    def _check_request(self, caller: Caller, attempt: Attempt) -> None:
        job = Job(caller.ask, {"model": "vendor/model"}, headers={"X-Trace": "1", "Authorization": "stray"})
        request = request_for(job, attempt)
        key, style = caller.ask.key, attempt.route.style
        assert request.url.startswith(caller.ask.base.origin + "/")
        names = [name.lower() for name, _ in request.headers]
        carried = [name for name in names if name in CREDENTIAL_HEADERS or name == style]
        assert len(carried) == (0 if key is None or style == "none" else 1)
        assert sum((key or "\0") in value for _, value in request.headers) == len(carried)
        assert len(names) == len(set(names))
        if attempt.surface != LISTING:
            assert json.loads(request.body)["model"] == attempt.model

    def _ended(self, caller: Caller) -> None:
        self.callers.remove(caller)
        mine = caller.attempts(caller.ask.surface)
        self._check_budget(caller)
        assert all(verdict in (Verdict.STYLE, Verdict.BASE, Verdict.MODEL) for _, verdict in mine[:-1])
        if caller.served is not None:
            assert mine[-1][1] is Verdict.PROVEN
        if caller.disturbed:
            self.unsure_until = self.clock() + FRESH_S
            return
        if isinstance(caller.error, KeyRefused) and all(verdict is not Verdict.FULL for _, verdict in mine):
            self.refused.setdefault(caller.ask.profile, 0)
            if len(mine) != 1 or not caller.refused:
                self.refused[caller.ask.profile] = self.clock() + REFUSED_FOR
        if caller.must_succeed:
            assert caller.served is not None, (caller.error, caller.seen)
        if caller.proven:
            assert all(verdict not in (Verdict.STYLE, Verdict.BASE) for _, verdict in mine)
        if caller.refused:
            assert len(mine) <= 1 or caller.served is not None

    def _check_budget(self, caller: Caller) -> None:
        forms = 1 if caller.ask.base.toggled is None else 2
        for surface, bare in ((caller.ask.surface, 0), (LISTING, 1)):
            attempts = caller.attempts(surface)
            assert len(attempts) <= MAX_ATTEMPTS
            if not caller.disturbed:
                assert len(attempts) <= forms * (len(DEFAULT_ORDER) + 1 + MAX_HINTED + bare) + 2
                again = sum(count - 1 for count in Counter(route for route, _ in attempts).values())
                assert again <= 1 + sum(verdict is Verdict.MODEL for _, verdict in attempts)

    @invariant()
    def memory_is_bounded(self) -> None:
        memory = self.memory
        for store in (memory._proven, memory._open, memory._refused, memory._ids, memory._likely):
            assert len(store) <= memory.size

    @invariant()
    def probes_never_leak(self) -> None:
        if self.callers:
            return
        assert all(opened.probe is None for opened in self.memory._open.values())

    @invariant()
    def every_probe_that_is_out_is_somebodys(self) -> None:
        out: set[Probe | None] = {each.step.probe for each in self.callers if isinstance(each.step, Attempt)}
        assert {opened.probe for opened in self.memory._open.values()} <= out | {None}

    def teardown(self) -> None:
        while self.callers:
            self._go_on(next((each for each in self.callers if isinstance(each.step, Attempt)), self.callers[0]))
        self.probes_never_leak()
        for base in BASES:
            flow = negotiate(Ask(base, CHAT, KEYS[0], "vendor/model"), self.memory, policy())
            assert isinstance(next(flow), Attempt)
            flow.close()

    # the definition at the top, in code

    def _admissible(self, asked: Ask) -> bool:
        manners = self.manners[str(asked.base)]
        if not self._reachable(asked, manners):
            return False
        if asked.model in manners.ids:
            return True
        return equal_id(asked.model, manners.ids) is not None and self._reachable(listing_ask(asked), manners)

    def _reachable(self, asked: Ask, manners: Manners) -> bool:
        desk = manners.surfaces[asked.surface]
        forms = desk.forms & ({False} if asked.base.toggled is None else {False, True})
        known = desk.style in DEFAULT_ORDER or manners.hints or (desk.style == asked.named and asked.surface != LISTING)
        taken = desk.style is None or (asked.key in manners.keys and known)
        proven = self.memory.proven(asked)
        lost = proven is not None and desk.stranger and proven.toggled not in desk.forms
        refused = self.clock() < self.refused.get(asked.profile, 0) or self.memory._settled(asked) is not None
        return bool(forms) and taken and not lost and (proven is not None or not refused)

    def _works(self, asked: Ask) -> bool:
        manners = self.manners[str(asked.base)]
        proven = self.memory.proven(asked)
        assert proven is not None
        desk = manners.surfaces[asked.surface]
        taken = desk.style is None or (asked.key in manners.keys and desk.style == proven.style)
        return taken and proven.toggled in desk.forms


TestNegotiations = Negotiations.TestCase
TestNegotiations.settings = settings(
    max_examples=150,
    stateful_step_count=35,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
