"""What a gateway says about how busy its models are. Pure: standard library only.

The only shape that is published is Chutes'; what others might send is read as far as it resembles it. Everything read
here is hostile: what is odd is unknown and takes nothing else with it, and nothing here raises. Unknown is neither idle
nor busy: what it counts for is decided where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
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

NAMES: Mapping[str, tuple[tuple[float, tuple[str, ...]], ...]] = {
    field: tuple((share, tuple(field + end for end in ends)) for share, ends in WINDOWS)
    for field in (BUSY_FIELD, LIMITED_FIELD)
}
"""The same with the whole names, for each field."""

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


class Loads(dict[str, Load]):
    """Loads by id, which find one under another case without a walk over all. Not to be changed once it was asked."""

    @cached_property
    def by_lower(self) -> dict[str, Load]:
        """By id in lower case; unknown where several ids are the same but for case."""
        found: dict[str, Load] = {}
        for name, load in self.items():
            lower = name.lower()
            found[lower] = UNKNOWN_LOAD if lower in found else load
        return found


def utilization_url(base: Base) -> str:
    """Where a gateway may tell how busy its models are.

    For Chutes that is another host than the base's: whether a key goes there is the caller's decision.
    """
    host = (urlsplit(base.origin).hostname or "").rstrip(".")
    return CHUTES_URL if host.endswith(CHUTES_DOMAIN) else base.origin + PATH


def read_utilization(body: Any) -> Loads | None:
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
    told = [entry for _, entry in entries]
    means = zip(_means(told, BUSY_FIELD), _means(told, LIMITED_FIELD), strict=True)
    loads = Loads()
    for (name, entry), (busy, limited) in zip(entries, means, strict=True):
        load = Load(busy, limited, _count(entry.get(INSTANCES_FIELD)))
        if name not in loads or _loadedness(load) < _loadedness(loads[name]):
            loads[name] = load
    return loads


def load_of(loads: Mapping[str, Load], model_id: str) -> Load:
    """The load of a listed model: under the same id, else under the only one that is the same but for case.

    A name that is merely similar is another model's, so everything else is unknown.
    """
    if model_id in loads:
        return loads[model_id]
    known = loads if isinstance(loads, Loads) else Loads(loads)
    return known.by_lower.get(model_id.lower(), UNKNOWN_LOAD)


Entries = list[tuple[str, Mapping[str, Any]]]
"""Ids, each with the fields that tell of it."""

Windows = list[tuple[float, float]]
"""How much each window of a field counts, and its value."""


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


def _loadedness(load: Load) -> tuple[bool, bool, float]:
    """The order among entries of one name: what is gone is free because nobody can use it, and comes last."""
    return load.is_gone, load.weight is None, load.weight or 0.0


def _means(entries: Iterable[Mapping[str, Any]], field: str) -> list[float | None]:
    """A field's weighted mean in each entry, 0..1.

    Whether a field is per cent, one value alone cannot tell: 1 is all in one unit and next to nothing in the other. So
    the whole answer decides, for each field apart.
    """
    read = [_windows(entry, field) for entry in entries]
    is_percent = any(value > PERCENT_FROM for windows in read for _, value in windows)
    return [_mean(windows, 100 if is_percent else 1) for windows in read]


def _mean(windows: Windows, whole: int) -> float | None:
    """The weighted mean of the windows that are given, 0..1, where `whole` is all."""
    if not windows:
        return None
    return sum(share * min(1.0, value / whole) for share, value in windows) / sum(share for share, _ in windows)


def _windows(entry: Mapping[str, Any], field: str) -> Windows:
    """How much each known window counts, and its value as the gateway wrote it."""
    found = []
    for share, names in NAMES[field]:
        values = [value for name in names if name in entry and (value := _number(entry[name])) is not None]
        if values:
            found.append((share, values[0]))
    return found


def _count(value: Any) -> int | None:
    """A whole number: half an instance is a mistake, and must not be rounded to none."""
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _number(value: Any) -> float | None:
    """A number that can be a share or a count: finite and not negative."""
    number = _float(value)
    return number if number is not None and 0 <= number < math.inf else None


def _float(value: Any) -> float | None:
    """Any number or string of one; None for what is none."""
    if isinstance(value, float):
        return value
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
