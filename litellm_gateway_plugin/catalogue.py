"""What a gateway lists, and which listed id equals an asked one. Pure: standard library only.

Two ids are equal or they are not: nothing is ever swapped for something similar. Similar ids are named in the error.
What a listing does not say is unknown, which is neither yes nor no; a model's name says nothing.
"""

from __future__ import annotations

import difflib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

LONGEST_ID = 500
"""Characters; what is longer is no id."""

MOST_LISTED = 20_000
"""Models of one listing; what comes after them is not looked at."""

SHOWN = 5
"""Ids in the `repr` of a listing."""

MOST_COMPARED = 5000
"""Ids that are compared for an error message: a listing is somebody else's, and comparing takes time."""

CHAT_KIND, EMBEDDING_KIND = "chat", "embedding"
VISION, TOOLS, JSON_MODE, SCHEMA, REASONING = "vision", "tools", "json", "schema", "reasoning"


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs.

    Attributes:
        input: USD per prompt token.
        output: USD per completion token, None when the listing does not say.
        cached: USD per prompt token that was read from a cache, None when the listing does not say.
        source: the fields of the listing that gave them, and their unit.
    """

    input: float
    output: float | None = None
    cached: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """What a listing says of one model.

    Attributes:
        id: as the gateway lists it.
        kind: "chat", "embedding", or another word of the listing's; None when it does not say.
        context: tokens of the whole window, None when it does not say.
        max_output: tokens of an answer at most, None when it does not say.
        has: the capabilities that it has: "vision", "tools", "json", "schema", "reasoning".
        lacks: those that it does not have; what is in neither is unknown.
        price: None when the listing does not say.
    """

    id: str
    kind: str | None = None
    context: int | None = None
    max_output: int | None = None
    has: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    price: Price | None = None

    @property
    def may_chat(self) -> bool:
        """Whether it is one for chat, as far as the listing says."""
        return self.kind in (None, CHAT_KIND)

    def can(self, capability: str) -> bool | None:
        """Whether it has a capability; None when the listing does not say."""
        return True if capability in self.has else False if capability in self.lacks else None


class Ids(tuple[str, ...]):  # noqa: SLOT001  what it has looked up is kept in its dictionary
    """The ids of a listing, which find an equal one without a walk over all."""

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(self)

    @cached_property
    def _lower(self) -> dict[str, list[str]]:
        return _grouped((name.lower(), name) for name in self)

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        return _grouped((_short(name), name) for name in self)

    def __contains__(self, name: object) -> bool:
        return name in self._exact

    def equals(self, asked: str) -> Iterator[list[str]]:
        """The candidates under each alias rule, in the order of the rules."""
        yield [asked] if asked in self else []
        yield self._lower.get(asked.lower(), [])
        yield [name for name in self._by_end.get(_short(asked), ()) if _is_prefixed(name.lower(), asked.lower())]


@dataclass(frozen=True, repr=False)
class Listing(Sequence[Model]):
    """What a gateway lists.

    Attributes:
        models: in the gateway's order, each id once.
        packed: the entries as the gateway wrote them, unknown fields too: zlib over JSON.
    """

    models: tuple[Model, ...] = ()
    packed: bytes = field(default=b"", repr=False)

    @cached_property
    def ids(self) -> Ids:
        """Their ids."""
        return Ids(model.id for model in self.models)

    @cached_property
    def _by_id(self) -> dict[str, Model]:
        return {model.id: model for model in self.models}

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, index: Any) -> Any:
        """The model at a place, or under exactly this id."""
        return self._by_id[index] if isinstance(index, str) else self.models[index]

    def __contains__(self, item: object) -> bool:
        return item in self._by_id if isinstance(item, str) else item in self.models

    def __repr__(self) -> str:
        some = ", ".join(map(repr, islice(self.ids, SHOWN)))
        return f"<Listing of {len(self)}: {some}{', …' if len(self) > SHOWN else ''}>"

    def get(self, name: str, default: Model | None = None) -> Model | None:
        """The model that is listed under exactly this id."""
        return self._by_id.get(name, default)

    def entry(self, name: str) -> dict[str, Any]:
        """Everything that the gateway says of a listed model, as it wrote it.

        Raises:
            KeyError: no such id is listed.
        """
        if name not in self._by_id:
            raise KeyError(name)
        found: dict[str, Any] = next(each for each in self.body() if id_of(each) == name)
        return found

    def body(self) -> list[Any]:
        """The entries as the gateway wrote them."""
        entries: list[Any] = json.loads(zlib.decompress(self.packed)) if self.packed else []
        return entries


def entries_of(body: Any) -> list[Any] | None:
    """The entries in a listing of any dialect, or None when the body is no listing.

    OpenAI, vLLM, Chutes, OpenRouter and LM Studio keep them in `data`, llama.cpp in `data` and `models`, Together
    answers a bare array.
    """
    places = [body.get("data"), body.get("models")] if isinstance(body, dict) else [body]
    return next((entries for entries in places if isinstance(entries, list)), None)


def listed_ids(body: Any) -> tuple[str, ...] | None:
    """The ids in a listing of any dialect, or None when the body is no listing."""
    entries = entries_of(body)
    return None if entries is None else tuple(dict.fromkeys(name for name in map(id_of, entries) if name))


def id_of(entry: Any) -> str:
    """The id of a listing's entry, "" when it has none; what cannot be printed is no id."""
    named = [entry.get(name) for name in ("id", "name", "model")] if isinstance(entry, Mapping) else [entry]
    return next((name for name in named if isinstance(name, str) and _is_id(name)), "")


def equal_id(asked: str, listing: Sequence[str]) -> str | None:
    """The one listed id that equals the asked one under the alias rules, or None.

    The rules, of which the first that has candidates decides, and has to leave exactly one: the same; the same but for
    case; the same but for a vendor or provider prefix on one of the two.
    """
    ids = listing if isinstance(listing, Ids) else Ids(listing)
    candidates = next(filter(None, ids.equals(asked)), [])
    return candidates[0] if len(candidates) == 1 else None


def nearest_ids(asked: str, listing: Iterable[str], count: int = 3) -> list[str]:
    """The listed ids that look most like the asked one, for an error message; never used in its place."""
    known = {_short(name): name for name in islice(listing, MOST_COMPARED)}
    return [known[name] for name in difflib.get_close_matches(_short(asked), known, n=count, cutoff=0.5)]


def namespace(model: str) -> str | None:
    """The vendor part of an id such as "Qwen/Qwen3-32B", or None."""
    vendor, slash, rest = model.partition("/")
    return vendor if slash and vendor and rest else None


def _is_id(name: str) -> bool:
    return 0 < len(name) <= LONGEST_ID and name.isprintable()


def _is_prefixed(one: str, other: str) -> bool:
    """Whether one of the two is the other with something in front of a slash."""
    return one.endswith("/" + other) or other.endswith("/" + one)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for name, listed in pairs:
        groups[name][listed] = None
    return {name: list(listed) for name, listed in groups.items()}


def _short(name: str) -> str:
    return name.rpartition("/")[2].lower()
