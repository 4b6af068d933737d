"""Which models of which bases a Router is to be made of, and in which order. No litellm here: the Router is its own."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .admission import place_for
from .bodies import CHAT
from .candidates import Wanted, candidates_of
from .errors import NoBase
from .handle import Gateway
from .ranking import Candidate, Name, best_of_base, rank
from .settings import GatewayBase
from .survey import Finding, Survey
from .utilization import Load

logger = logging.getLogger("litellm_gateway_plugin")

PROBE_S = 5.0
"""Seconds for the look at all bases together."""

RETRIES_WHEN_FULL = 2
"""How often the Router itself asks again when a gateway is full; any other failure takes the next candidate at once."""

GONE = Load(instances=0)

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the Router is to be made of.

    Attributes:
        asked: what every candidate can do.
        ranked: the candidates in their order.
        findings: what was found out about each base, by its label.
        ids: the deployments' ids, by candidate.
    """

    asked: Wanted
    ranked: tuple[Candidate, ...]
    findings: Mapping[str, Finding]
    ids: Mapping[Name, str]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the caller wants, and where it may be found.

    Attributes:
        gateway: the installation.
        bases: the configured gateways, by label.
        asked: what every candidate has to be able to do.
        preferred: the model that is preferred where a base has no preference of its own.
        max_bases: so many gateways, at most.
        per_base: so many models of each, at most.
    """

    gateway: Gateway
    bases: Mapping[str, GatewayBase]
    asked: Wanted
    preferred: str | None
    max_bases: int
    per_base: int

    def survey(self, seconds: float, *, anew: bool) -> Survey:
        """Begin to look at all bases. Raises NoBase without any."""
        if not self.bases:
            raise NoBase(
                "No gateway is configured. Set LITELLM_GATEWAY_API_BASE and LITELLM_GATEWAY_API_KEY (or "
                "CHUTES_API_BASE and CHUTES_API_KEY); further gateways have the same names with _1, _2, … at their end."
            )
        return Survey(self.gateway, self.bases, seconds, anew=anew)

    def plan(self, findings: Sequence[Finding]) -> Plan:
        """The candidates in their order. Raises NoBase when there is none."""
        for label, reason in self.left_out(findings).items():
            logger.warning("The gateway at %s is skipped: %s.", label, reason)
        chosen = self.candidates(findings)
        for label in self.unmet(findings):
            logger.warning("The preferred model of the gateway at %s is not in its listing.", label)
        if not chosen:
            raise NoBase(self.nobody(self.left_out(findings)))
        number = next(_numbers)
        ids = {each.name: f"{self.asked.kind}-{number}: {each.model} at {each.base}" for each in chosen}
        return Plan(self.asked, tuple(chosen), {found.label: found for found in findings}, ids)

    def nobody(self, left_out: Mapping[str, str]) -> str:
        """That there is no candidate at all, with these reasons, and what to do."""
        reasons = "; ".join(f"{label}: {reason}" for label, reason in left_out.items())
        return (
            f"No gateway has a model for {self.asked}. {reasons}{'. ' if reasons else ''}Name one with "
            f"LITELLM_GATEWAY_{self.asked.kind.upper()}_MODEL if a listing does not say what its models can do."
        )

    def unmet(self, findings: Sequence[Finding]) -> list[str]:
        """The gateways that do not list the model which the operator prefers there."""
        with_own = [found for found in findings if found.listing and found.base.preferred(self.asked.kind)]
        return [found.label for found in with_own if not any(each.preferred for each in self._of(found))]

    def left_out(self, findings: Sequence[Finding]) -> dict[str, str]:
        """The gateways that cannot be used, by label, each with the reason."""
        return {found.label: self._reason(found) for found in findings if not self._of(found)}

    def _reason(self, found: Finding) -> str:
        if found.dead:
            return found.dead.rstrip(".")
        if found.listing is None:
            return f"it gives no listing ({found.unlisted.rstrip('.')})"
        count = f"none of its {len(found.listing)} models is" if len(found.listing) > 1 else "its one model is not"
        return f"{count} listed as one for {self.asked}"

    def candidates(self, findings: Sequence[Finding]) -> list[Candidate]:
        """The best of the best bases, in their order."""
        best = (best_of_base(self._of(found), self.per_base) for found in findings)
        ranked = rank(self._with_pauses([each for of_base in best for each in of_base]))
        bases = list(dict.fromkeys(each.base for each in ranked))[: self.max_bases]
        return [each for each in ranked if each.base in bases]

    def again(self, findings: Sequence[Finding], ranked: Sequence[Candidate]) -> list[Candidate]:
        """The same candidates, in the order that holds now. What cannot be read just now has not changed."""
        now = {each.name: each for found in findings for each in self._of(found)}
        unread = {found.label for found in findings if found.loads is None}
        same = [now.get(each.name, replace(each, load=GONE)) for each in ranked]
        kept = [
            replace(each, load=before.load) if each.base in unread and not each.load.is_gone else each
            for each, before in zip(same, ranked, strict=True)
        ]
        return rank(self._with_pauses(kept), [each.name for each in ranked])

    def _of(self, found: Finding) -> list[Candidate]:
        if found.dead:
            return []
        named = found.base.preferred(self.asked.kind) or self.preferred
        preferred = self.gateway.settings.model_map.get(named, named) if named else None
        return list(candidates_of(found.label, found.number, found.listing, self.asked, preferred, found.loads))

    def _with_pauses(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The same, with a note on those that have refused a request a moment ago, or could not be reached."""
        return [replace(each, paused=self._has_refused(each)) for each in candidates]

    def _has_refused(self, candidate: Candidate) -> bool:
        base, model, gateway = self.bases[candidate.base], candidate.model, self.gateway
        ask, _ = gateway.ask(surface=CHAT, model=model, api_base=base.api_base, api_key=base.key, headers={})
        is_full = gateway.gate is not None and gateway.gate.is_paused(place_for(ask, ask.model))
        return is_full or gateway.memory.has_refused(ask) or gateway.down_for(ask.base.origin) > 0
