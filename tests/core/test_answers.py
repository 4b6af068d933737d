from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.answers import (
    WORDS_LIMIT,
    Answer,
    error_fields,
    error_object,
    error_status,
    sayings,
    shorten,
)
from tests.support.core import answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "detail", "message", "code", "status", "type", "errors", "x"]), inner
        )
    ),
)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "Invalid API Key"}}, "Invalid API Key"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}, "and more"]}, "field required and more"),
        ({"errors": ["a", "b"]}, "a b"),
        ({"title": "T", "detail": "D"}, "D T"),
        ({"error": {"error": {"error": {"error": {"error": {"message": "deep"}}}}}}, '{"error":'),
        ('"just a string"', "just a string"),
        ("<html><head><style>x</style></head><body>Two <b>words</b></body>", "Two words"),
        ("<title> 502  Bad\nGateway </title>rest", "502 Bad Gateway"),
        ("plain\x00\x1b[31m text", "plain [31m text"),
        ("", ""),
    ],
)
def test_an_answer_speaks_in_every_dialect(body: Any, words: str) -> None:
    assert answer(400, body).words.startswith(words)


def test_words_are_bounded() -> None:
    assert len(answer(400, {"error": "x" * 100_000}).words) == WORDS_LIMIT
    assert shorten("abcdef", 4) == "abc…"


def test_deep_json_is_no_json() -> None:
    assert Answer(400, text="[" * 100_000).json is None


def test_what_is_a_page() -> None:
    assert Answer(200, text="\ufeff <!DOCTYPE html>").is_html
    assert Answer(200, {"content-type": "text/HTML; charset=utf-8"}).is_html
    assert not Answer(200, text="{}").is_html


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 429}}, 429),
        ({"error": {"code": "503"}}, 503),
        ({"error": {"code": "x", "status": 529}}, 529),
        ({"code": 404}, 404),
        ([{"error": {"code": 400}}], 400),
        ({"error": {"code": 200}}, None),
        ({"error": {"code": 429.0}}, 429),
        ([], None),
        ("x", None),
    ],
)
def test_the_status_that_an_error_names(body: Any, status: int | None) -> None:
    assert error_status(body) == status


def test_an_error_object() -> None:
    assert error_object({"error": "x"})
    assert error_object({"error": "x", "choices": []})
    assert not any(
        map(error_object, [{}, {"error": None}, {"error": "x", "choices": [1]}, [], {"error": 1, "data": [1]}])
    )


@given(JSON)
def test_any_body_can_be_read(body: Any) -> None:
    assert all(isinstance(words, str) for words in sayings(body))
    assert error_status(body) in (None, *range(400, 600))
    assert isinstance(error_fields(body), dict)
    assert isinstance(error_object(body), bool)
