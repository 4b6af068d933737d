from __future__ import annotations

from typing import Any

import pytest

from litellm_gateway_plugin.catalogue import LONGEST_ID, equal_id, listed_ids, namespace, nearest_ids


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, ("a", "b")),
        ({"models": [{"name": "a", "model": "x"}, {"model": "b"}]}, ("a", "b")),
        ([{"id": "a"}, "b", 3, {}, {"id": 7}, {"id": ""}, {"id": "x" * (LONGEST_ID + 1)}], ("a", "b")),
        ({"data": []}, ()),
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


def test_the_nearest_ids_are_bounded() -> None:
    assert nearest_ids("vendor/qwen3", ["Qwen/Qwen3-8B", "llama"]) == ["Qwen/Qwen3-8B"]
    assert len(nearest_ids("m1", (f"m{number}" for number in range(10**6)))) == 3


@pytest.mark.parametrize(
    ("model", "vendor"), [("Qwen/Q", "Qwen"), ("a/b/c", "a"), ("gpt", None), ("/x", None), ("x/", None)]
)
def test_namespaces(model: str, vendor: str | None) -> None:
    assert namespace(model) == vendor
