"""The LiteLLM proxy: it knows its models, says so with a 400, and lists them."""

from __future__ import annotations

import litellm
import pytest

from tests.cassettes.conftest import Door, Play, fact
from tests.support.redaction import WRONG_KEY

pytestmark = pytest.mark.cassette

SERVER = "LiteLLM proxy"
MODEL = "acme/Tiny-Chat"
ANSWER = "Hello from the tiny model."
CHAT = "POST /v1/chat/completions"


def test_a_chat(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        response = door.chat(MODEL, api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 200"]
    assert response.choices[0].message.content == ANSWER


def test_a_stream(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        chunks = door.chat(MODEL, api_base=f"{tape.origin}/v1", stream=True)
    assert tape.steps == [f"{CHAT} bearer 200"]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER


def test_an_unknown_model_names_the_nearest(door: Door, play: Play) -> None:
    with play(SERVER) as tape, pytest.raises(litellm.NotFoundError) as unknown:
        door.chat("acme/Tiny-Chap", api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 400", "GET /v1/models bearer 200"]
    assert "Invalid model name passed in model=acme/Tiny-Chap" in str(unknown.value)
    assert "Did you mean 'acme/Tiny-Chat'" in str(unknown.value)


def test_an_unknown_model_in_a_stream(door: Door, play: Play) -> None:
    with play(SERVER) as tape, pytest.raises(litellm.NotFoundError):
        door.chat("acme/Tiny-Chap", api_base=f"{tape.origin}/v1", stream=True)
    assert tape.steps == [f"{CHAT} bearer 400", "GET /v1/models bearer 200"]


def test_an_id_spelt_otherwise_is_served_as_listed(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        response = door.chat("tiny-chat", api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 400", "GET /v1/models bearer 200", f"{CHAT} bearer 200"]
    assert response.choices[0].message.content == ANSWER
    assert (fact(response, "requested_model"), fact(response, "served_model")) == ("tiny-chat", MODEL)


def test_a_wrong_key_is_refused_in_every_style(door: Door, play: Play) -> None:
    """Without a database it answers 400 to a wrong key, and 401 to a raw one."""
    with play(SERVER) as tape, pytest.raises(litellm.AuthenticationError) as refused:
        door.chat(MODEL, api_base=f"{tape.origin}/v1", api_key=WRONG_KEY)
    answers = {"bearer": 400, "x-api-key": 400, "raw": 401, "api-key": 400}
    assert sorted(tape.steps[:4]) == sorted(f"{CHAT} {style} {status}" for style, status in answers.items())
    assert tape.steps[4:] == ["POST /chat/completions bearer 400"]
    assert "Styles tried: bearer, " in str(refused.value)
    assert WRONG_KEY not in str(refused.value)
