from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from litellm_gateway_plugin.catalogue import (
    LONGEST_ID,
    Ids,
    Listing,
    Model,
    equal_id,
    id_of,
    listed_ids,
    namespace,
    nearest_ids,
)


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, ("a", "b")),
        ({"models": [{"name": "a", "model": "x"}, {"model": "b"}]}, ("a", "b")),
        ([{"id": "a"}, "b", 3, {}, {"id": 7}, {"id": ""}, {"id": "x" * (LONGEST_ID + 1)}], ("a", "b")),
        ({"data": []}, ()),
        ({"data": None, "models": [{"name": "a"}]}, ("a",)),
        (["a\nb", "\x1b[31m", "\ud800", "a\u202eb", "模型"], ("模型",)),
        ({"data": {}}, None),
        ({}, None),
        ("x", None),
        (None, None),
    ],
)
def test_listings_of_every_dialect(body: Any, ids: tuple[str, ...] | None) -> None:
    assert listed_ids(body) == ids


@pytest.mark.parametrize(
    ("asked", "listing", "equal"),
    [
        ("a", ["a", "A"], "a"),
        ("qwen/qwen3", ["Qwen/Qwen3", "Qwen/Qwen3-8B"], "Qwen/Qwen3"),
        ("Qwen3", ["Qwen/Qwen3"], "Qwen/Qwen3"),
        ("Qwen/Qwen3", ["qwen3"], "qwen3"),
        ("openrouter/Qwen/Qwen3", ["Qwen/Qwen3"], "Qwen/Qwen3"),
        ("qwen3", ["a/Qwen3", "b/qwen3"], None),
        ("x", ["X", "X"], "X"),
        ("x", ["X", "y/x"], "X"),
        ("qwen3", ["qwen3-instruct", "qwen-3"], None),
        ("a", [], None),
    ],
)
def test_ids_are_equal_or_they_are_not(asked: str, listing: list[str], equal: str | None) -> None:
    assert equal_id(asked, listing) == equal


def by_walking(asked: str, listing: list[str]) -> str | None:
    """The rules, one after the other, over the whole listing."""
    lower = asked.lower()
    rules: list[list[str]] = [
        [name for name in listing if name == asked],
        [name for name in listing if name.lower() == lower],
        [name for name in listing if name.lower().endswith("/" + lower) or lower.endswith("/" + name.lower())],
    ]
    candidates = next(filter(None, map(set, rules)), set())
    return candidates.pop() if len(candidates) == 1 else None


NAMES = st.text("aAbİß/", max_size=8) | st.lists(st.sampled_from(["a", "A", "b", ""]), max_size=4).map("/".join)


@example("a/", ["", "a/"])
@example("/", ["/", "//"])
@example("ax/b", ["x/b"])
@given(NAMES, st.lists(NAMES, max_size=8))
def test_the_rules_are_those_of_a_walk(asked: str, listing: list[str]) -> None:
    assert equal_id(asked, listing) == by_walking(asked, listing)
    assert equal_id(asked, Ids(listing)) == by_walking(asked, listing)


def test_an_id_is_found_without_a_walk() -> None:
    class Walked(Ids):
        walks = 0

        def __iter__(self) -> Any:
            Walked.walks += 1
            return super().__iter__()

    ids = Walked(f"vendor-{number % 7}/Model-{number}" for number in range(20_000))
    asked = ["vendor-0/Model-7", "VENDOR-0/model-7", "model-8", "x/vendor-2/model-9", "model-20001", "vendor-0/model-8"]
    found = [equal_id(name, ids) for name in asked]
    assert found == ["vendor-0/Model-7", "vendor-0/Model-7", "vendor-1/Model-8", "vendor-2/Model-9", None, None]
    walks = Walked.walks
    for name in asked * 100:
        equal_id(name, ids)
    assert Walked.walks == walks <= 3


def test_a_listing_is_a_sequence_of_models() -> None:
    models = (Model("a"), Model("b", kind="embedding"))
    listing = Listing(models)
    assert (len(listing), listing[1], list(listing), listing[:1]) == (2, models[1], list(models), models[:1])
    assert "a" in listing.ids
    assert "A" not in listing.ids
    assert listing.get("b") is models[1]
    assert listing.get("B") is None
    assert (Listing().body(), bool(Listing()), bool(listing)) == ([], False, True)


def test_what_a_model_can_is_known_or_not() -> None:
    model = Model("a", has=frozenset({"tools"}), lacks=frozenset({"vision"}))
    assert [model.can(each) for each in ("tools", "vision", "json")] == [True, False, None]
    assert [Model("a", kind=kind).may_chat for kind in (None, "chat", "embedding", "other")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_id_of_an_entry() -> None:
    assert id_of({"name": "n", "model": "m"}) == "n"
    assert id_of({"id": 7, "model": "m"}) == "m"
    assert id_of(None) == ""


def test_the_nearest_ids_are_bounded() -> None:
    assert nearest_ids("vendor/qwen3", ["Qwen/Qwen3-8B", "llama"]) == ["Qwen/Qwen3-8B"]
    assert len(nearest_ids("m1", (f"m{number}" for number in range(10**6)))) == 3


@pytest.mark.parametrize(
    ("model", "vendor"), [("Qwen/Q", "Qwen"), ("a/b/c", "a"), ("gpt", None), ("/x", None), ("x/", None)]
)
def test_namespaces(model: str, vendor: str | None) -> None:
    assert namespace(model) == vendor


def test_a_listing_answers_by_place_and_by_id() -> None:
    listing = Listing(tuple(Model(name) for name in ("a", "b", "c", "d", "e", "f")))
    assert (listing[0].id, listing["b"].id, [model.id for model in listing[1:3]]) == ("a", "b", ["b", "c"])
    assert "c" in listing  # type: ignore[comparison-overlap]  # an id will do
    assert listing[0] in listing
    assert "C" not in listing  # type: ignore[comparison-overlap]  # as above
    assert listing.get("x") is None
    assert listing.get("x", listing[0]) is listing[0]
    assert repr(listing) == "<Listing of 6: 'a', 'b', 'c', 'd', 'e', …>"
    with pytest.raises(KeyError):
        listing["x"]
