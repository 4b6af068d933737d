"""What a cassette proves: another style, another body, one request too few or too many fails the test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import vcr

from tests.support.cassettes import CASSETTES, Tape, open_cassette
from tests.support.redaction import (
    KEY,
    ORIGIN,
    WRONG_KEY,
    clean_request_headers,
    clean_response_headers,
    clean_text,
    redact,
    style_of,
)

pytestmark = pytest.mark.cassette

REFUSED_THEN_SERVED = CASSETTES / "test_litserve" / "test_a_chat.yaml"
URL = f"{ORIGIN}/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "Say hello"}], "model": "tiny"}
BEARER, X_API_KEY = {"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}


def post(headers: Mapping[str, str], body: object = BODY) -> int:
    return httpx.post(URL, headers=headers, json=body).status_code


@pytest.fixture
def played() -> Iterator[Tape]:
    with open_cassette(REFUSED_THEN_SERVED) as tape:
        yield tape


def test_a_client_that_switches_its_style_is_played(played: Tape) -> None:
    assert [post(BEARER), post(X_API_KEY)] == [401, 200]
    assert played.steps == ["POST /v1/chat/completions bearer 401", "POST /v1/chat/completions x-api-key 200"]


def test_a_client_that_never_switches_is_not() -> None:
    def stubborn_client() -> None:
        with open_cassette(REFUSED_THEN_SERVED):
            assert post(BEARER) == 401
            post(BEARER)

    with pytest.raises(AssertionError, match="the credential style 'bearer', model 'tiny'"):
        stubborn_client()


def test_vcrpy_alone_would_have_played_it() -> None:
    """The reason for the matcher, and for a look at it when this test fails one day."""
    with vcr.use_cassette(str(REFUSED_THEN_SERVED), record_mode="none"):
        assert [post(BEARER), post(BEARER)] == [401, 200]


def test_an_error_that_the_client_swallows_fails_the_test_all_the_same() -> None:
    def swallowing_client() -> None:
        with open_cassette(REFUSED_THEN_SERVED):
            assert [post(BEARER), post(X_API_KEY)] == [401, 200]
            with contextlib.suppress(vcr.errors.CannotOverwriteExistingCassetteException):
                post({"api-key": KEY})

    with pytest.raises(AssertionError, match="the credential style 'api-key'"):
        swallowing_client()


@pytest.mark.parametrize("body", [{**BODY, "model": "other"}, {**BODY, "stream": True}, {}, [BODY]])
def test_another_body_is_not_played(body: object) -> None:
    with pytest.raises(AssertionError, match="does not hold"), open_cassette(REFUSED_THEN_SERVED):
        post(BEARER, body)


def test_the_order_of_names_in_a_body_does_not_matter(played: Tape) -> None:
    turned = dict(reversed(BODY.items()))
    assert [post(BEARER, turned), post(X_API_KEY, turned)] == [401, 200]


def test_two_credentials_in_one_request_are_a_style_of_their_own() -> None:
    with pytest.raises(AssertionError, match=r"'bearer\+x-api-key'"), open_cassette(REFUSED_THEN_SERVED):
        post({**BEARER, **X_API_KEY})


def test_a_cassette_that_is_played_in_part_fails_the_test() -> None:
    in_part = pytest.raises(AssertionError, match="in part: POST /v1/chat/completions x-api-key")
    with in_part, open_cassette(REFUSED_THEN_SERVED):
        post(BEARER)


def test_a_cassette_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="make record"), open_cassette(tmp_path / "none.yaml"):
        pass


def test_an_error_of_the_test_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), open_cassette(REFUSED_THEN_SERVED):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("headers", "style"),
    [
        ({"Authorization": f"Bearer {KEY}"}, "bearer"),
        ({"authorization": f"bearer {KEY}"}, "bearer"),
        ({"Authorization": KEY}, "raw"),
        ({"Authorization": "two words"}, "raw"),
        ({"Authorization": "Basic dTpw"}, "basic"),
        ({"X-API-Key": KEY}, "x-api-key"),
        ({"api-key": KEY}, "api-key"),
        ({"Ocp-Apim-Subscription-Key": KEY}, "ocp-apim-subscription-key"),
        ({"X-Tenant": KEY}, "x-tenant"),
        ({"X-Tenant": f"team {WRONG_KEY}"}, "x-tenant"),
        ({"Content-Type": "application/json", "User-Agent": "x"}, "none"),
        ({}, "none"),
    ],
)
def test_the_style_survives_redaction(headers: dict[str, str], style: str) -> None:
    cleaned = clean_request_headers(headers)
    assert style_of(headers) == style
    assert KEY not in str(cleaned)
    assert WRONG_KEY not in str(cleaned)
    assert clean_request_headers(cleaned) == cleaned
    assert style_of(cleaned) == style


@pytest.mark.parametrize(
    ("value", "redacted"),
    [
        ("Bearer abc", "Bearer <redacted>"),
        ("bearer abc def", "bearer <redacted>"),
        ("abc", "<redacted>"),
        ("abc def", "<redacted>"),
        ("Bearer", "<redacted>"),
        ("Bearer <redacted>", "Bearer <redacted>"),
    ],
)
def test_a_redacted_value_keeps_its_scheme_and_nothing_else(value: str, redacted: str) -> None:
    assert redact(value) == redacted


def test_an_answer_keeps_only_headers_that_matter() -> None:
    headers = {
        "Content-Type": ["application/json"],
        "Set-Cookie": ["session=abc"],
        "Date": ["Sun, 22 Nov 2026 04:12:34 GMT"],
        "WWW-Authenticate": [f"Bearer error={KEY}"],
        "Retry-After": ["3"],
        "x-litellm-call-id": ["13bdb904"],
    }
    assert clean_response_headers(headers) == {
        "content-type": ["application/json"],
        "www-authenticate": ["Bearer error=<redacted>"],
        "retry-after": ["3"],
    }


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"key {KEY} and {WRONG_KEY}", "key <redacted> and <redacted>"),
        ("see http://127.0.0.1:8123/v1", "see http://gateway.internal/v1"),
        ("host 127.0.0.1:8123", "host gateway.internal"),
        ("http://127.0.0.1:9/v1", "http://upstream.internal/v1"),
        ("http://localhost:9/v1", "http://upstream.internal/v1"),
        ('{"created":1795320711}', '{"created":1700000000}'),
        ('{"a":1,"timings":{"prompt_ms":1.5}}', '{"a":1}'),
        (f'{{"id":"chatcmpl-{"a" * 32}"}}', '{"id":"chatcmpl-1"}'),
        (f'["{"a" * 32}","{"b" * 32}","{"a" * 32}"]', '["call-1","call-2","call-1"]'),
        (f"hash {'0f' * 32}", "hash <redacted>"),
        ('{"id":"tiny"}', '{"id":"tiny"}'),
    ],
)
def test_what_changes_at_every_recording_is_replaced(text: str, cleaned: str) -> None:
    assert clean_text(text, "http://127.0.0.1:8123") == cleaned
    assert clean_text(cleaned, "http://127.0.0.1:8123") == cleaned
