"""Listings and model ids: what a gateway lists, and which listed id equals an asked one. Pure: standard library only.

Two ids are equal or they are not: nothing is ever swapped for something similar. Similar ids are named in the error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

LONGEST_ID = 500
"""Characters; what is longer is no id."""

MOST_COMPARED = 5000
"""Ids that are compared for an error message: a listing is somebody else's, and comparing takes time."""


def listed_ids(body: Any) -> tuple[str, ...] | None:
    """The ids in a listing of any dialect, or None when the body is no listing.

    OpenAI, vLLM, Chutes, OpenRouter and LM Studio keep them in `data`, llama.cpp in `data` and `models`, Together
    answers a bare array.
    """
    entries = body.get("data", body.get("models")) if isinstance(body, dict) else body
    if not isinstance(entries, list):
        return None
    ids = (_id_of(entry) for entry in entries)
    return tuple(dict.fromkeys(name for name in ids if name))


def _id_of(entry: Any) -> str:
    named = [entry.get(name) for name in ("id", "name", "model")] if isinstance(entry, dict) else [entry]
    return next((name for name in named if isinstance(name, str) and 0 < len(name) <= LONGEST_ID), "")


def equal_id(asked: str, listing: Sequence[str]) -> str | None:
    """The one listed id that equals the asked one under the alias rules, or None.

    The rules, of which the first that has candidates decides, and has to leave exactly one: the same; the same but for
    case; the same but for a vendor or provider prefix on one of the two.
    """
    rules = (
        lambda listed: listed == asked,
        lambda listed: listed.lower() == asked.lower(),
        lambda listed: _tail_of(listed.lower(), asked.lower()) or _tail_of(asked.lower(), listed.lower()),
    )
    for same in rules:
        candidates = [listed for listed in listing if same(listed)]
        if candidates:
            return candidates[0] if len(candidates) == 1 else None
    return None


def nearest_ids(asked: str, listing: Iterable[str], count: int = 3) -> list[str]:
    """The listed ids that look most like the asked one, for an error message; never used in its place."""
    known = {_short(name): name for name in islice(listing, MOST_COMPARED)}
    return [known[name] for name in difflib.get_close_matches(_short(asked), known, n=count, cutoff=0.5)]


def namespace(model: str) -> str | None:
    """The vendor part of an id such as "Qwen/Qwen3-32B", or None."""
    vendor, slash, rest = model.partition("/")
    return vendor if slash and vendor and rest else None


def _tail_of(longer: str, shorter: str) -> bool:
    return longer.endswith("/" + shorter)


def _short(name: str) -> str:
    return name.rpartition("/")[2].lower()
