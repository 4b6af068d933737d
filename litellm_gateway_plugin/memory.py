"""What the process has learnt. State only: which route was proven, which plans are open, which keys were refused.

One lock, held for a few dictionary operations and never while anything waits, is read from disk or asks a hook.
Everything is bounded: the profile that was not used for longest goes first. Nothing here holds a key, only its
fingerprint.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from .answers import Answer
from .catalogue import Listing
from .credentials import BASIC, DEFAULT_ORDER, NONE
from .forking import renew_after_fork
from .listings import Listings
from .negotiation import LISTING, Ask, Claim, Probe, Profile, Spent
from .plan import Plan, Route
from .recent import Recent

REFUSED_FOR = 60.0
"""Seconds for which refusals count: a key that every style refused is tried once per call and no more, and a plan that
nobody finished goes on where it was left."""

MAX_PROFILES = 4096

EVIDENCE = ("chat/completions", "embeddings", "completions")
"""The surfaces whose route is a good first guess for another one."""


class Guesses(Protocol):
    """Orders of guesses that outlive the process; never keyed by a key, never needed for success."""

    def recall(self, base: str, surface: str) -> Route | None: ...
    def note(self, base: str, surface: str, route: Route) -> None: ...
    def after_fork(self) -> None: ...


@dataclass(slots=True)
class Open:
    """A plan in progress, until when its lessons count, and its one outstanding probe."""

    plan: Plan
    until: float
    probe: Probe | None = None


@dataclass(slots=True)
class Refused:
    """A key that every style refused, until when, and what was tried."""

    until: float
    styles: list[str]
    route: Route


@dataclass(eq=False)
class Memory:
    """The store behind `negotiation.Memory`.

    Args:
        guesses: where orders of guesses outlive the process, None for nowhere.
        order: the hook that names the styles to try on a base and surface, None for the default order.
        hint: the hook that names a first route, None for no opinion.
        listings: what the gateways list.
        negotiate: False tries the first guess alone.
        clock: monotonic seconds.
    """

    guesses: Guesses | None = None
    order: Callable[[Ask], Sequence[str] | None] = lambda ask: None
    hint: Callable[[Ask], Route | None] = lambda ask: None
    listings: Listings = field(default_factory=Listings)
    negotiate: bool = True
    clock: Callable[[], float] = time.monotonic
    size: int = MAX_PROFILES
    _proven: Recent[Profile, Route] = field(init=False)
    _open: Recent[Profile, Open] = field(init=False)
    _refused: Recent[Profile, Refused] = field(init=False)
    _ids: Recent[tuple[str, str], str] = field(init=False)
    _reading: Recent[tuple[str, str], Probe] = field(init=False)
    _likely: Recent[Profile, Route] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.clear()
        renew_after_fork(self)

    def clear(self) -> None:
        """Forget everything learnt in this process."""
        self._proven = Recent(self.size)
        self._open = Recent(self.size)
        self._refused = Recent(self.size)
        self._ids = Recent(self.size)
        self._reading = Recent(self.size)
        self.listings.forget()
        self._likely = Recent(self.size)

    def proven(self, ask: Ask) -> Route | None:
        """The route that is known to work for this profile, or None."""
        return self._proven.get(ask.profile)

    def is_new(self, ask: Ask) -> bool:
        """Whether nothing is known here by which a first attempt could be better than any."""
        profile = ask.profile
        if profile in self._proven or profile in self._open or profile in self._refused or profile in self._likely:
            return False
        return not (self._elsewhere(profile) or self._recalled(ask, NONE))

    def claim(self, ask: Ask, ahead: Probe | None) -> Claim | Spent:
        """What this caller may do now.

        Args:
            ask: what it wants.
            ahead: the probe that it has waited for; when that is still out after the grace, it goes ahead the same way.
        """
        fresh: Plan | None = None
        while True:
            with self._lock:
                claim = self._settled(ask) or self._next(ask, ahead, fresh)
            if claim is not None:
                return claim
            fresh = self._begin(ask)

    def _settled(self, ask: Ask) -> Claim | None:
        """The claim of a profile about which all is known; a style that a caller names may be news about it."""
        route = self._proven.use(ask.profile)
        if route is not None:
            return Claim(route, proven=True)
        refused = self._refused.get(ask.profile)
        if refused is not None and self.clock() < refused.until and ask.named in (None, *refused.styles):
            return Claim(refused.route, last=True)
        return None

    def _next(self, ask: Ask, ahead: Probe | None, fresh: Plan | None) -> Claim | Spent | None:
        """The next step of the profile's plan, or None when it has none and no fresh one is given."""
        opened = self._opened(ask.profile, fresh)
        if opened is None:
            return None
        if ask.named is not None and ask.key is not None and self._several(ask):
            opened.plan.name(ask.named)
        route = opened.plan.current
        if route is None:
            return self._close(ask.profile, opened.plan)
        if opened.probe is None:
            opened.probe = Probe()
            return Claim(route, opened.probe)
        return Claim(route, opened.probe, mine=opened.probe is ahead or opened.probe.promising)

    def _opened(self, profile: Profile, fresh: Plan | None) -> Open | None:
        opened = self._open.use(profile)
        if opened is not None and self.clock() < opened.until:
            return opened
        if fresh is None:
            return None
        opened = Open(fresh, self.clock() + REFUSED_FOR)
        self._open.put(profile, opened)
        return opened

    def _close(self, profile: Profile, plan: Plan) -> Spent:
        """Nothing is left to try: remember a refused key for a while, and begin anew at the next call."""
        self._open.pop(profile, None)
        if plan.refused_key is not None:
            self._refused.put(profile, Refused(self.clock() + REFUSED_FOR, plan.tried_styles, plan.refused_key))
        return Spent(plan)

    def prove(self, ask: Ask, claim: Claim) -> None:
        """The claimed route works: everybody may take it from now on."""
        profile = ask.profile
        with self._lock:
            self._proven.put(profile, claim.route)
            self._refused.pop(profile, None)
            self._likely.pop(profile, None)
            opened = self._open.pop(profile, None)
        _settle(claim.probe, opened.probe if opened else None)
        if self.guesses is not None and claim.route.style not in (NONE, BASIC):
            self.guesses.note(str(ask.base), ask.surface, claim.route)

    def refuse(self, ask: Ask, claim: Claim, answer: Answer, hints: Sequence[str]) -> None:
        """The style was refused on the claimed route."""
        allowed = hints if ask.key is not None and self._several(ask) else ()
        self._teach(ask, claim, lambda plan: plan.refuse(claim.route, answer, allowed))

    def no_route(self, ask: Ask, claim: Claim, answer: Answer) -> None:
        """The claimed form of the base has no such route."""
        self._teach(ask, claim, lambda plan: plan.no_route(claim.route, answer))

    def _teach(self, ask: Ask, claim: Claim, lesson: Callable[[Plan], None]) -> None:
        """Open the profile's plan, anew if need be, and change it."""
        profile = ask.profile
        try:
            fresh = self._begin(ask, self._proven.get(profile)) if profile not in self._open else None
            with self._lock:
                opened = self._reopened(ask, claim, fresh)
                if opened is not None:
                    lesson(opened.plan)
                    opened.until = self.clock() + REFUSED_FOR
        finally:
            self._free(ask, claim)

    def _reopened(self, ask: Ask, claim: Claim, fresh: Plan | None) -> Open | None:
        """The plan that an answer on the claimed route belongs to; None when all is settled otherwise meanwhile."""
        profile = ask.profile
        proven = self._proven.get(profile)
        if proven is not None and proven != claim.route:
            return None
        if claim.last:
            self._refused.pop(profile, None)
        if proven is None and self._settled(ask) is not None:
            return None
        self._proven.pop(profile, None)
        return self._opened(profile, fresh)

    def release(self, ask: Ask, claim: Claim, *, promising: bool = False) -> None:
        """The attempt ended without a lesson; `promising` keeps its route as the next first guess."""
        if promising and not claim.proven:
            with self._lock:
                self._likely.put(ask.profile, claim.route)
        self._free(ask, claim)

    def refused_styles(self, ask: Ask) -> list[str]:
        """The styles that were refused for this profile, as far as is remembered."""
        with self._lock:
            refused = self._refused.get(ask.profile)
            return list(refused.styles) if refused else []

    def has_refused(self, ask: Ask) -> bool:
        """Whether every style of this key was refused a moment ago."""
        with self._lock:
            refused = self._refused.get(ask.profile)
            return refused is not None and self.clock() < refused.until

    def served_id(self, ask: Ask) -> str | None:
        """The id under which the gateway serves what the caller asks for, when it was looked up before."""
        return self._ids.get((str(ask.base), ask.model)) if ask.model else None

    def learn_id(self, ask: Ask, served: str) -> None:
        """The gateway serves the asked id under this one; the asked id itself needs no memory."""
        name = str(ask.base), ask.model
        with self._lock:
            if served == ask.model:
                self._ids.pop(name, None)
            else:
                self._ids.put(name, served)

    def listing(self, ask: Ask, *, old: bool = False) -> Sequence[str] | None:
        """The ids of the last listing, a fresh one or however old; none for a gateway without; None when unknown."""
        found = self.listings.find(ask) if old else self.listings.fresh(ask)
        return None if found is None else found.ids

    def read_listing(self, ask: Ask) -> Probe | None:
        """Whoever reads the listing just now; None for nobody, and then the caller is the one."""
        with self._lock:
            probe = self._reading.get((str(ask.base), ask.profile[2]))
            if probe is None:
                self._reading.put((str(ask.base), ask.profile[2]), Probe())
            return probe

    def learn_listing(self, ask: Ask, listing: Listing | None) -> None:
        """What the gateway lists, or None when that could not be read; whoever waits for it goes on."""
        if listing is not None:
            self.listings.learn(ask, listing)
        with self._lock:
            probe = self._reading.pop((str(ask.base), ask.profile[2]), None)
        _settle(probe)

    def _several(self, ask: Ask) -> bool:
        """Whether more than one style may be tried."""
        return self.negotiate and ask.base.guarded and ask.named != BASIC

    def _begin(self, ask: Ask, proven: Route | None = None) -> Plan:
        order = [NONE] if ask.key is None else [*(self.order(ask) or DEFAULT_ORDER)]
        if ask.surface == LISTING:
            order.append(NONE)  # a public listing may refuse a credential that it does not know (Chutes)
        first = proven or self._first_guess(ask, order[0])
        if first is not None and (first.style == NONE) != (ask.key is None):
            first = Route(ask.named) if ask.named and ask.key is not None else None
        plan = Plan.begin(order, first, can_toggle=ask.base.toggled is not None, base_known=proven is not None)
        if not self._several(ask):
            del plan.styles[1:]
        return plan

    def _first_guess(self, ask: Ask, usual: str) -> Route | None:
        likely = self._likely.get(ask.profile)
        if likely is not None:
            return likely
        guess = self._elsewhere(ask.profile) or self._recalled(ask, usual)
        if ask.named is not None:
            return replace(guess, style=ask.named) if guess else Route(ask.named)
        return guess or self.hint(ask)

    def _elsewhere(self, profile: Profile) -> Route | None:
        """What works for the same key on another surface. A listing proves nothing."""
        base, surface, key = profile
        routes = (self._proven.get((base, other, key)) for other in EVIDENCE if other != surface)
        return next((route for route in routes if route is not None), None)

    def _recalled(self, ask: Ask, usual: str) -> Route | None:
        """What worked in an earlier process; where one style has to do, that is no reason for an unusual one."""
        guess = self.guesses.recall(str(ask.base), ask.surface) if self.guesses is not None else None
        return guess if guess is None or self._several(ask) else replace(guess, style=usual)

    def _free(self, ask: Ask, claim: Claim) -> None:
        """Whoever waits for this claim's probe looks again; the next one to come may ask."""
        if claim.probe is None:
            return
        with self._lock:
            opened = self._open.get(ask.profile)
            if opened is not None and opened.probe is claim.probe:
                opened.probe = None
        _settle(claim.probe)

    def after_fork(self) -> None:
        """In the child: the parent's lock and probes belong to threads that do not exist here."""
        self._lock = threading.Lock()
        self._open = Recent(self.size)
        self._reading = Recent(self.size)
        self.listings.after_fork()
        if self.guesses is not None:
            self.guesses.after_fork()


def _settle(*probes: Probe | None) -> None:
    for probe in probes:
        if probe is not None:
            probe.settle()
