from __future__ import annotations

from typing import Any

import pytest

from litellm_gateway_plugin.bodies import is_ours, kind, mismatch

CHOICE = {"message": {"content": None}}


@pytest.mark.parametrize(
    ("surface", "body", "wrong"),
    [
        ("chat/completions", {"choices": [CHOICE]}, ""),
        ("chat/completions", {"choices": [CHOICE], "created": 1.5, "odd": True}, ""),
        ("chat/completions", {"choices": [CHOICE, {}]}, "a JSON object with choices"),
        ("chat/completions", {"choices": []}, "a JSON object with choices"),
        ("chat/completions", {}, "an empty JSON object"),
        ("chat/completions", None, "JSON null"),
        ("chat/completions", [], "a JSON array"),
        ("chat/completions", "x", "a JSON string"),
        ("chat/completions", 3, "a JSON value"),
        ("chat/completions", {"error": "x"}, "an error inside a success"),
        ("completions", {"choices": [{"text": ""}]}, ""),
        ("completions", {"content": "llama.cpp without /v1"}, "a JSON object with content"),
        ("embeddings", {"data": [{"embedding": [1.0]}]}, ""),
        ("embeddings", {"data": [{"embedding": []}]}, "a JSON object with data"),
        ("embeddings", [{"index": 0, "embedding": [[1.0]]}], "a JSON array"),
        ("models", {"data": []}, ""),
        ("models", {"a": 1}, "a JSON object with a"),
        ("rerank", {"anything": 1}, ""),
    ],
)
def test_what_a_surface_gives(surface: str, body: Any, wrong: str) -> None:
    assert mismatch(surface, body) == wrong


def test_what_may_have_done_work() -> None:
    assert is_ours({"choices": []})
    assert is_ours({"object": "text_completion"})
    assert not any(map(is_ours, [{}, [], None, {"object": "list"}]))
    assert kind({"b": 1, "a": 2}) == "a JSON object with a, b"
