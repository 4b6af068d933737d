from __future__ import annotations

from typing import Any

import pytest

from litellm_gateway_plugin.candidates import KINDS, Wanted, candidates_of, wanted
from litellm_gateway_plugin.catalogue import JSON_MODE, TOOLS, VISION, Listing
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.ranking import Candidate
from litellm_gateway_plugin.utilization import Load


def listing(*entries: Any) -> Listing:
    found = read_listing(list(entries))
    assert found is not None
    return found


def chosen(listed: Listing | None, asked: Wanted, **more: Any) -> list[Candidate]:
    return list(candidates_of("base", 0, listed, asked, **more))


TALKS = {"id": "talks", "supported_features": ["reasoning"]}
CALLS = {"id": "calls", "supported_features": ["tools"]}
SCHEMA = {"id": "schema", "supported_features": ["structured_outputs"]}
SEES = {"id": "sees", "input_modalities": ["text", "image"]}
BLIND = {"id": "blind", "input_modalities": ["text"]}
EMBEDS = {"id": "embeds", "output_modalities": ["embeddings"]}


def test_what_is_wanted() -> None:
    assert wanted("text") == Wanted("text", ())
    assert wanted("vlm", require_json=True) == Wanted("vlm", (VISION, JSON_MODE))
    assert wanted("tools", require_tools=True).needs == (TOOLS,)
    assert str(wanted("vlm", require_tools=True)) == "chat and pictures and tool calls"
    with pytest.raises(KeyError):
        wanted("sound")


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (wanted("text"), ["talks", "calls", "schema", "sees", "blind", "x"]),
        (wanted("text", require_json=True), ["schema"]),
        (wanted("tools"), ["calls"]),
        (wanted("vlm"), ["sees"]),
        (wanted("vlm", require_tools=True), []),
    ],
    ids=str,
)
def test_what_a_listing_denies_or_only_says_of_others_is_left_out(asked: Wanted, names: list[str]) -> None:
    listed = listing(TALKS, CALLS, SCHEMA, SEES, BLIND, EMBEDS, "x")
    assert [each.model for each in chosen(listed, asked)] == names


def test_a_silent_listing_may_do_all_but_see() -> None:
    listed = listing("a", "b")
    assert [each.certain for each in chosen(listed, wanted("text"))] == [True, True]
    assert [each.certain for each in chosen(listed, wanted("tools", require_json=True))] == [False, False]
    assert chosen(listed, wanted("vlm")) == []


def test_the_operators_word_stands_above_the_listing_for_the_kind_alone() -> None:
    listed = listing(BLIND, CALLS, EMBEDS)
    [found] = chosen(listed, wanted("vlm"), preferred="Blind")
    assert (found.model, found.preferred, found.certain) == ("blind", True, True)
    assert [each.model for each in chosen(listed, wanted("text"), preferred="embeds")] == ["blind", "calls", "embeds"]
    assert chosen(listing(TALKS), wanted("text", require_tools=True), preferred="talks") == []


def test_a_preferred_model_is_an_equal_one_or_none() -> None:
    listed = listing("v/one", "v/two")
    assert [each.preferred for each in chosen(listed, wanted("text"), preferred="ONE")] == [True, False]
    assert not any(each.preferred for each in chosen(listed, wanted("text"), preferred="v/thre"))


def test_without_a_listing_the_preferred_model_is_the_only_one() -> None:
    load = Load(busy=0.5)
    assert chosen(None, wanted("vlm"), preferred="m", loads={"m": load}) == [
        Candidate("base", "m", 0, 0, preferred=True, load=load)
    ]
    assert chosen(None, wanted("text")) == []


def test_places_and_loads_are_those_of_the_listing() -> None:
    found = chosen(listing(EMBEDS, "a", "b"), wanted("text"), loads={"b": Load(busy=0.25)})
    assert [(each.model, each.position, each.load.busy) for each in found] == [("a", 1, None), ("b", 2, 0.25)]


def test_every_kind_has_its_needs() -> None:
    assert set(KINDS) == {"text", "vlm", "tools"}
