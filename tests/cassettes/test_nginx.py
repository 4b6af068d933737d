"""What stands in front of a server: nginx with the manners of real gateways, and a real server behind it."""

from __future__ import annotations

from typing import Any

import litellm
import openai
import pytest

from tests.cassettes.conftest import Door, Play, fact

pytestmark = pytest.mark.cassette

ANSWER = "Hello from the tiny model."
CHAT = "POST /v1/chat/completions"


def test_x_api_key_behind_a_prefix(door: Door, play: Play) -> None:
    """Three things are wrong at once: nothing tells of the /v1 but a page, and nothing of the style but a 401."""
    with play("nginx: x-api-key behind a prefix") as tape:
        response = door.chat(api_base=f"{tape.origin}/api/openai")
    assert tape.steps == [
        "POST /api/openai/chat/completions bearer 404",
        "POST /api/openai/v1/chat/completions bearer 401",
        "POST /api/openai/v1/chat/completions x-api-key 200",
    ]
    assert response.choices[0].message.content == ANSWER
    assert fact(response, "api_base") == f"{tape.origin}/api/openai/v1"


def test_a_header_that_the_refusal_names_is_tried_next(door: Door, play: Play) -> None:
    with play("nginx: API management") as tape:
        response = door.chat(api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 401", f"{CHAT} ocp-apim-subscription-key 200"]
    assert fact(response, "auth_style") == "ocp-apim-subscription-key"


def test_a_raw_key(door: Door, play: Play) -> None:
    with play("nginx: raw key") as tape:
        response = door.chat(api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 403", f"{CHAT} x-api-key 403", f"{CHAT} raw 200"]
    assert fact(response, "auth_style") == "raw"


def test_a_console_page_is_no_answer(door: Door, play: Play) -> None:
    with play("nginx: console") as tape:
        response = door.chat(api_base=tape.origin)
    assert tape.steps == ["POST /chat/completions bearer 200", f"{CHAT} bearer 200"]
    assert response.choices[0].message.content == ANSWER


def test_a_console_page_is_no_stream(door: Door, play: Play) -> None:
    with play("nginx: console") as tape:
        chunks = door.chat(api_base=tape.origin, stream=True)
    assert tape.steps == ["POST /chat/completions bearer 200", f"{CHAT} bearer 200"]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER


def test_console_pages_alone_are_one_clear_error(door: Door, play: Play) -> None:
    with play("nginx: console") as tape, pytest.raises(openai.APIError, match="a web page") as wrong:
        door.chat(api_base=f"{tape.origin}/console")
    assert tape.steps == [
        "POST /console/chat/completions bearer 200",
        "POST /console/v1/chat/completions bearer 200",
    ]
    assert "Check api_base" in str(wrong.value)
    assert wrong.value.status_code == 502  # type: ignore[attr-defined]  # litellm's errors have one


def test_a_listing_that_wants_another_style_than_the_chat(door: Door, play: Play) -> None:
    with play("nginx: a style per surface") as tape:
        response = door.chat("tiny-chat", api_base=f"{tape.origin}/v1")
    assert tape.steps == [
        f"{CHAT} bearer 400",
        "GET /v1/models bearer 401",
        "GET /v1/models x-api-key 200",
        f"{CHAT} bearer 200",
    ]
    assert fact(response, "auth_style") == "bearer"
    assert fact(response, "served_model") == "acme/Tiny-Chat"


def test_full_with_a_503_page(door: Door, play: Play) -> None:
    with play("nginx: full") as tape, pytest.raises(litellm.RateLimitError, match="503 Service Temporarily"):
        door.chat(api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 503"]


def test_full_with_a_503_page_for_a_stream(door: Door, play: Play) -> None:
    with play("nginx: full") as tape, pytest.raises(litellm.RateLimitError, match="503 Service Temporarily"):
        door.chat(api_base=f"{tape.origin}/v1", stream=True)
    assert tape.steps == [f"{CHAT} bearer 503"]


def test_full_with_a_time_to_come_back(door: Door, play: Play) -> None:
    with play("nginx: one per minute") as tape:
        base = f"{tape.origin}/v1"
        door.chat(api_base=base)
        with pytest.raises(litellm.RateLimitError, match="Too many requests") as full:
            door.chat(api_base=base)
    assert tape.steps == [f"{CHAT} bearer 200", f"{CHAT} bearer 429"]
    headers: Any = getattr(full.value, "litellm_response_headers", {})
    assert headers["retry-after"] == "17"
