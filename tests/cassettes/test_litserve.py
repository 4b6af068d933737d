"""LitServe: X-API-Key alone, under /v1 alone, and a full server that says so in the middle of a 200."""

from __future__ import annotations

import litellm
import pytest

from tests.cassettes.conftest import Door, Play, fact
from tests.support.litserve_server import ANSWER, FULL
from tests.support.redaction import WRONG_KEY

pytestmark = pytest.mark.cassette

SERVER = "LitServe"
CHAT = "POST /v1/chat/completions"
SAY_FULL = [{"role": "user", "content": FULL}]


def test_a_chat(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        response = door.chat(api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 401", f"{CHAT} x-api-key 200"]
    assert response.choices[0].message.content == ANSWER
    assert fact(response, "auth_style") == "x-api-key"


def test_a_stream(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        chunks = door.chat(api_base=f"{tape.origin}/v1", stream=True)
    assert tape.steps == [f"{CHAT} bearer 401", f"{CHAT} x-api-key 200"]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER


def test_a_base_without_v1(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        response = door.chat(api_base=tape.origin)
    assert tape.steps == ["POST /chat/completions bearer 404", f"{CHAT} bearer 401", f"{CHAT} x-api-key 200"]
    assert fact(response, "api_base") == f"{tape.origin}/v1"


def test_the_second_call_makes_one_request(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        for _ in range(2):
            door.chat(api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 401", f"{CHAT} x-api-key 200", f"{CHAT} x-api-key 200"]


def test_full(door: Door, play: Play) -> None:
    with play(SERVER) as tape, pytest.raises(litellm.RateLimitError, match="model at capacity"):
        door.chat(api_base=f"{tape.origin}/v1", messages=SAY_FULL)
    assert tape.steps == [f"{CHAT} bearer 401", f"{CHAT} x-api-key 429"]


def test_full_in_a_stream_is_an_event_inside_a_200(door: Door, play: Play) -> None:
    with play(SERVER) as tape, pytest.raises(litellm.RateLimitError, match="model at capacity"):
        door.chat(api_base=f"{tape.origin}/v1", messages=SAY_FULL, stream=True)
    assert tape.steps == [f"{CHAT} bearer 401", f"{CHAT} x-api-key 200"]


def test_a_wrong_key_is_refused_in_every_style(door: Door, play: Play) -> None:
    with play(SERVER) as tape, pytest.raises(litellm.AuthenticationError) as refused:
        door.chat(api_base=f"{tape.origin}/v1", api_key=WRONG_KEY)
    styles = ["bearer", "x-api-key", "raw", "api-key"]
    assert tape.steps == [f"{CHAT} {style} 401" for style in styles] + ["POST /chat/completions bearer 404"]
    assert f"Styles tried: {', '.join(styles)}" in str(refused.value)
    assert WRONG_KEY not in str(refused.value)
