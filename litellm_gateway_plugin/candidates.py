"""Which listed models can do what is asked for. Pure: standard library only; a model's name says nothing.

A capability that a listing denies rules a model out. One that it does not mention rules it out too, unless no entry of
that listing mentions it: servers such as vLLM list no features at all, and can do them. Pictures are the exception:
most models cannot see, so a listing has to say it, or the operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .catalogue import JSON_MODE, SCHEMA, TOOLS, VISION, Listing, Model, equal_id
from .ranking import Candidate
from .utilization import Load, Loads, load_of

KINDS: Mapping[str, tuple[str, ...]] = {"text": (), "vlm": (VISION,), "tools": (TOOLS,)}
"""What a kind of Router needs."""

SAME: Mapping[str, tuple[str, ...]] = {JSON_MODE: (JSON_MODE, SCHEMA)}
"""Capabilities of which one will do: whoever keeps to a schema gives JSON."""

NEVER_ASSUMED = (VISION,)

NAMES: Mapping[str, str] = {VISION: "pictures", TOOLS: "tool calls", JSON_MODE: "JSON answers"}
"""Capabilities for people."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        kind: "text", "vlm" or "tools".
        needs: capabilities that every candidate has to have.
    """

    kind: str
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return " and ".join(["chat", *(NAMES[need] for need in self.needs)])


def wanted(kind: str, *, require_json: bool = False, require_tools: bool = False) -> Wanted:
    """What a Router of this kind asks for. Raises KeyError for a kind that does not exist."""
    more = ((JSON_MODE,) if require_json else ()) + ((TOOLS,) if require_tools else ())
    return Wanted(kind, tuple(dict.fromkeys((*KINDS[kind], *more))))


def candidates_of(
    base: str,
    number: int,
    listing: Listing | None,
    asked: Wanted,
    preferred: str | None = None,
    loads: Mapping[str, Load] | None = None,
) -> Iterator[Candidate]:
    """The models of a base that can do what is asked for, in the order of its listing.

    Args:
        base: the label of the base.
        number: its place among the bases.
        listing: what it lists; None for a base that answers and has none: there only the preferred model is known.
        asked: what is asked for.
        preferred: the model that the operator has named for this kind, as he wrote it.
        loads: how busy its models are.
    """
    loads = loads if isinstance(loads, Loads) else Loads(loads or {})
    if listing is None:
        if preferred is not None:
            yield Candidate(base, preferred, 0, number, preferred=True, load=load_of(loads, preferred))
        return
    favourite = None if preferred is None else equal_id(preferred, listing.ids)
    silent = {need for need in asked.needs if not _speaks_of(listing, need)}
    for position, model in enumerate(listing):
        named = model.id == favourite
        vouched = KINDS[asked.kind] if named else ()  # the operator's word for a kind stands above the listing's
        verdicts = [_verdict(model, need, need in silent) for need in asked.needs if need not in vouched]
        if (model.may_chat or named) and None not in verdicts and "*" not in model.id:
            load = load_of(loads, model.id)
            yield Candidate(base, model.id, position, number, named, all(verdicts), load)


def _verdict(model: Model, need: str, silent: bool) -> bool | None:
    """Whether a model can do this for certain; False for it may, None for it cannot."""
    said = [model.can(each) for each in SAME.get(need, (need,))]
    if True in said:
        return True
    if False in said or need in NEVER_ASSUMED or not silent:
        return None
    return False


def _speaks_of(listing: Sequence[Model], need: str) -> bool:
    return any(model.can(each) is not None for model in listing for each in SAME.get(need, (need,)))
