"""What a gateway says about how busy its models are. Pure: standard library only.

The only shape that is published is Chutes'; what others might send is read as far as it resembles it. Everything read
here is hostile: what is odd is unknown and takes nothing else with it, and nothing here raises. Unknown is neither idle
nor busy: what it counts for is decided where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from .catalogue import LONGEST_ID, MOST_LISTED
from .urls import Base

CHUTES_DOMAIN = ".chutes.ai"
CHUTES_URL = "https://api.chutes.ai/chutes/utilization"
"""One host answers for all of Chutes' model hosts."""

PATH = "/chutes/utilization"

WRAPPERS = ("data", "items", "models")
"""Members that hold the array when the body is an object."""

ID_FIELDS = ("name", "id", "model")
"""Where the id stands: at Chutes in `name`, so that comes first."""

BUSY_FIELD, LIMITED_FIELD, INSTANCES_FIELD = "utilization", "rate_limit_ratio", "active_instance_count"

WINDOWS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.5, ("_current", "")),
    (0.3, ("_5m",)),
    (0.15, ("_15m",)),
    (0.05, ("_1h",)),
)
"""How much each window counts, the present most, since that is what the next request meets; and the ends of a field's
name that stand for it, of which the first that is given counts. A field without an end is of the present."""

PERCENT_FROM = 1.5
"""A share above it is no share. Below it may be one: a queue makes a model a little more than fully busy."""

LONGEST_NUMBER = 40
"""Characters; a longer string is no number."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a model is.

    Attributes:
        busy: the part of it that is in use, 0..1; None when unknown.
        limited: the part of its requests that are rate-limited, 0..1; None when unknown.
        instances: those that are active; None when unknown.
    """

    busy: float | None = None
    limited: float | None = None
    instances: int | None = None

    @property
    def weight(self) -> float | None:
        """How loaded it is, 0..2, where higher is later: the sum of what is known; None when nothing is."""
        known = [part for part in (self.busy, self.limited) if part is not None]
        return sum(known) if known else None

    @property
    def is_gone(self) -> bool:
        """Whether no instance is active, so that nobody can answer."""
        return self.instances == 0


UNKNOWN_LOAD = Load()
"""Of a model of which the gateway says nothing."""


def utilization_url(base: Base) -> str:
    """Where a gateway may tell how busy its models are.

    For Chutes that is another host than the base's: whether a key goes there is the caller's decision.
    """
    host = (urlsplit(base.origin).hostname or "").rstrip(".")
    return CHUTES_URL if host.endswith(CHUTES_DOMAIN) else base.origin + PATH


def read_utilization(body: Any) -> dict[str, Load] | None:
    """The load of each model, by id; None when the body tells of none.

    Read are an array of objects, bare or in one of `WRAPPERS`, and a plain mapping of ids to numbers. An empty array is
    an answer: no model is known. Of several windows it is the weighted mean of those that are given.

    Several entries may have one name, since many may serve a model; then the least loaded one with instances counts:
    the gateway itself sends a request where there is room, so the name is as free as the freest behind it.

    Args:
        body: parsed JSON. What comes after the first `MOST_LISTED` entries is not looked at.
    """
    entries = _entries(body)
    if entries is None:
        return None
    percent = {field: _is_percent(entries, field) for field in (BUSY_FIELD, LIMITED_FIELD)}
    loads: dict[str, Load] = {}
    for name, entry in entries:
        load = _load(entry, percent)
        if name not in loads or _loadedness(load) < _loadedness(loads[name]):
            loads[name] = load
    return loads


def load_of(loads: Mapping[str, Load], model_id: str) -> Load:
    """The load of a listed model: under the same id, else under the only one that is the same but for case.

    A name that is merely similar is another model's, so everything else is unknown.
    """
    if model_id in loads:
        return loads[model_id]
    wanted = model_id.lower()
    alike = [load for name, load in loads.items() if name.lower() == wanted]
    return alike[0] if len(alike) == 1 else UNKNOWN_LOAD


Entries = list[tuple[str, Mapping[str, Any]]]
"""Ids, each with the fields that tell of it."""


def _entries(body: Any) -> Entries | None:
    if isinstance(body, Mapping):
        wrapped = next((body[name] for name in WRAPPERS if isinstance(body.get(name), list)), None)
        return _pairs(body) if wrapped is None else _objects(wrapped)
    return _objects(body) if isinstance(body, list) else None


def _objects(items: list[Any]) -> Entries | None:
    """The entries of an array; None when it holds something, and none of it has an id."""
    named = ((_id(item), item) for item in islice(items, MOST_LISTED) if isinstance(item, Mapping))
    found = [(name, item) for name, item in named if name]
    return found if found or not items else None


def _pairs(body: Mapping[Any, Any]) -> Entries | None:
    """The entries of a mapping of ids to numbers; None when anything else is in it: an error has numbers too."""
    found = [(name, value) for name, value in islice(body.items(), MOST_LISTED) if _is_id(name)]
    told = [value for _, value in found if value is not None]
    if not told or any(_float(value) is None for value in told):
        return None
    return [(name, {BUSY_FIELD: value}) for name, value in found]


def _id(item: Mapping[str, Any]) -> str | None:
    return next((item[name] for name in ID_FIELDS if _is_id(item.get(name))), None)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID


def _load(entry: Mapping[str, Any], percent: Mapping[str, bool]) -> Load:
    return Load(
        busy=_mean(entry, BUSY_FIELD, percent[BUSY_FIELD]),
        limited=_mean(entry, LIMITED_FIELD, percent[LIMITED_FIELD]),
        instances=_count(entry.get(INSTANCES_FIELD)),
    )


def _loadedness(load: Load) -> tuple[bool, bool, float]:
    """The order among entries of one name: what is gone is free because nobody can use it, and comes last."""
    return load.is_gone, load.weight is None, load.weight or 0.0


def _is_percent(entries: Entries, field: str) -> bool:
    """Whether a field is per cent, which one value alone cannot tell: 1 is all in one unit and next to nothing in the
    other. So the whole answer decides, for each field apart.
    """
    return any(value > PERCENT_FROM for _, entry in entries for _, value in _windows(entry, field))


def _mean(entry: Mapping[str, Any], field: str, is_percent: bool) -> float | None:
    """The weighted mean of the windows that are given, 0..1."""
    known = [(share, min(1.0, value / 100 if is_percent else value)) for share, value in _windows(entry, field)]
    total = sum(share for share, _ in known)
    return sum(share * value for share, value in known) / total if known else None


def _windows(entry: Mapping[str, Any], field: str) -> Iterator[tuple[float, float]]:
    """How much each known window counts, and its value as the gateway wrote it."""
    for share, ends in WINDOWS:
        values = (_number(entry.get(field + end)) for end in ends)
        value = next((value for value in values if value is not None), None)
        if value is not None:
            yield share, value


def _count(value: Any) -> int | None:
    """A whole number: half an instance is a mistake, and must not be rounded to none."""
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _number(value: Any) -> float | None:
    """A number that can be a share or a count: finite and not negative."""
    number = _float(value)
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _float(value: Any) -> float | None:
    """Any number or string of one; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and len(value) > LONGEST_NUMBER:
        return None
    try:
        return float(value)
    except OverflowError:  # JSON's integers have no bound
        return math.inf
    except ValueError:
        return None
