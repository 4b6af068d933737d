"""In which order candidates are asked. Pure: standard library only; what is known of each is given from outside.

The rules, of which an earlier one outweighs all later ones:

1. Without instances comes last: nobody can answer.
2. What the operator has named comes first.
3. What the listing says that it can comes before that of which the listing is silent.
4. The lighter comes first. Unknown is between idle and busy; one that has just refused counts as one that is full.
5. The operator's order of bases, then the order of a base's listing.

Rules 1 to 3 make categories and hold at once. Rule 4 is a measurement, which trembles: an order that was given out
before is kept until the difference is worth a change, because a change costs warm caches and learnt limits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .utilization import UNKNOWN_LOAD, Load

UNKNOWN = 0.5
"""The weight of a load that nobody tells: after an idle one and before a busy one."""

MARGIN = 0.1
"""By how much one has to be lighter to go ahead of one that it stood behind: a tenth of a model's room."""

REFUSED = 1.0
"""What a refusal of just now adds to the weight: as much as being full."""

DIGITS = 6
"""Decimals of a weight that count; so that 0.3 is lighter than 0.4 by all of 0.1 in binary as well."""

Name = tuple[str, str]
"""Base and model."""

Category = tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of a gateway that may be asked.

    Attributes:
        base: the label of the configured gateway.
        model: the id as that gateway lists it.
        position: its place in the gateway's listing.
        number: the gateway's place among the configured ones.
        preferred: whether the operator has named this model.
        certain: whether the listing says that it can what is required; False when the listing is silent.
        load: how busy it is.
        paused: whether it has just refused, so that the gate is closed for it now.
    """

    base: str
    model: str
    position: int
    number: int
    preferred: bool = False
    certain: bool = True
    load: Load = UNKNOWN_LOAD
    paused: bool = False

    @property
    def name(self) -> Name:
        """What it is known by from one ranking to the next."""
        return self.base, self.model


def best_of_base(candidates: Iterable[Candidate], count: int, previous: Sequence[Name] = ()) -> list[Candidate]:
    """The best of one base, best first.

    Args:
        candidates: of the base.
        count: how many at most.
        previous: names in the order of the last ranking, also those of other bases; they are not given up for others
            that are lighter by less than `MARGIN`.
    """
    return rank(candidates, previous)[: max(0, count)]


def rank(candidates: Iterable[Candidate], previous: Sequence[Name] = ()) -> list[Candidate]:
    """The order in which candidates are asked.

    Those that were ranked before queue up in that order, and newcomers behind them by the rules. Then each in turn
    goes ahead of the first one that is of a later category, or of its own and heavier by `MARGIN` at least.

    What this guarantees, each name being given once:

    - Nobody stands behind one of a later category, or behind one of its own that is heavier by `MARGIN` or more. (All
      that come after the first heavier one are less than `MARGIN` lighter than that one: so they are heavier than who
      goes ahead of it.)
    - Within a category the queue is left only to go past heavier ones, and only when one of them is `MARGIN` heavier:
      differences below it never change an order.
    - So a newcomer goes behind its equals, and without `previous` the order is that of the rules.
    - A ranking whose own order is given as `previous` is the same again, and the order of `candidates` is of no effect.

    Args:
        candidates: each name once.
        previous: names in the order of the last ranking; those that are no candidates any more are passed over.
    """
    places = {name: place for place, name in reversed(list(enumerate(previous)))}
    ranked: list[Candidate] = []
    worst: list[tuple[Category, float]] = []  # up to each place; that it ascends is why halving finds the first heavier
    for candidate in sorted(candidates, key=lambda each: (places.get(each.name, len(places)), _by_rules(each))):
        category, weight = _category(candidate), _weight(candidate)
        place = bisect_left(worst, (category, round(weight + MARGIN, DIGITS)))
        ranked.insert(place, candidate)
        worst.insert(place, max([(category, weight), *worst[max(0, place - 1) : place]]))
    return ranked


def why(candidate: Candidate) -> str:
    """What decided a candidate's place, in one line for a person. Nothing of what a gateway wrote is in it."""
    load = candidate.load
    said = {
        "no instances": load.is_gone,
        "preferred": candidate.preferred,
        "capabilities not listed": not candidate.certain,
        "refused a moment ago": candidate.paused,
        "load unknown": load.weight is None and not load.is_gone,
        f"{_percent(load.busy)} busy": load.busy is not None and not load.is_gone,
        f"{_percent(load.limited)} rate-limited": load.limited is not None and not load.is_gone,
    }
    return ", ".join(words for words, holds in said.items() if holds)


def _by_rules(candidate: Candidate) -> tuple[Category, float, int, int, Name]:
    """The rules as a key; the name makes it an order in which no two are equal."""
    return _category(candidate), _weight(candidate), candidate.number, candidate.position, candidate.name


def _category(candidate: Candidate) -> Category:
    return candidate.load.is_gone, not candidate.preferred, not candidate.certain


def _weight(candidate: Candidate) -> float:
    weight = candidate.load.weight
    return round((UNKNOWN if weight is None else weight) + REFUSED * candidate.paused, DIGITS)


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0.0):.0f} %"
