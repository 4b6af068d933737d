"""llama.cpp's own server: everything that a model does, every style refused, and a surface that is elsewhere."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from tests.cassettes.conftest import HELLO, Door, Play, fact
from tests.support.redaction import KEY, WRONG_KEY

pytestmark = pytest.mark.cassette

SERVER = "llama.cpp"
ANSWER = "Hello from the tiny model."
CHAT = "POST /v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_chat(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        response = door.chat(api_base=f"{tape.origin}/v1")
    assert tape.steps == [f"{CHAT} bearer 200"]
    assert response.choices[0].message.content == ANSWER
    assert response.choices[0].finish_reason == "stop"
    assert response.usage.completion_tokens == 7
    assert fact(response, "auth_style") == "bearer"
    assert fact(response, "api_base") == f"{tape.origin}/v1"
    assert fact(response, "requests") == "1"


def test_a_stream(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        chunks = door.chat(api_base=f"{tape.origin}/v1", stream=True, stream_options={"include_usage": True})
    assert tape.steps == [f"{CHAT} bearer 200"]
    assert text_of(chunks) == ANSWER
    assert "stop" in [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert [chunk.usage.completion_tokens for chunk in chunks if getattr(chunk, "usage", None)] == [7]


def test_json_mode(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        response = door.chat(api_base=f"{tape.origin}/v1", response_format={"type": "json_object"})
    assert tape.steps == [f"{CHAT} bearer 200"]
    assert response.choices[0].message.content == '{"ok":true}'


def test_a_tool_is_called_and_its_result_answered(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        base = f"{tape.origin}/v1"
        (call,) = door.chat(api_base=base, tools=[WEATHER]).choices[0].message.tool_calls
        called = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
        asked = {"id": call.id, "type": "function", "function": called}
        said = {"role": "assistant", "content": "", "tool_calls": [asked]}
        result = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}
        answer = door.chat(api_base=base, tools=[WEATHER], messages=[*HELLO, said, result])
    assert tape.steps == [f"{CHAT} bearer 200"] * 2
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city":"Paris"}')
    assert answer.choices[0].message.content == ANSWER


def test_a_tool_call_in_a_stream(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        chunks = door.chat(api_base=f"{tape.origin}/v1", tools=[WEATHER], stream=True)
    assert tape.steps == [f"{CHAT} bearer 200"]
    whole: Any = litellm.stream_chunk_builder(chunks)
    (call,) = whole.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city":"Paris"}')
    assert whole.choices[0].finish_reason == "tool_calls"


def test_embeddings(provider_door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        response = provider_door.embed("a", api_base=f"{tape.origin}/v1")
    assert tape.steps == ["POST /v1/embeddings bearer 200"]
    (entry,) = response.data
    assert entry["embedding"][ord("a")] == pytest.approx(1.0)
    assert sum(entry["embedding"]) == pytest.approx(1.0)


def test_embeddings_of_another_shape_without_v1(provider_door: Door, play: Play) -> None:
    """Under the bare origin it answers 200 with a bare array: the body decides, not the status."""
    with play(SERVER) as tape:
        response = provider_door.embed("a", api_base=tape.origin)
    assert tape.steps == ["POST /embeddings bearer 200", "POST /v1/embeddings bearer 200"]
    assert response.data[0]["embedding"][ord("a")] == pytest.approx(1.0)
    assert fact(response, "api_base") == f"{tape.origin}/v1"


def test_a_wrong_key_is_refused_in_every_style(door: Door, play: Play) -> None:
    with play(SERVER) as tape, pytest.raises(litellm.AuthenticationError, match="Invalid API Key") as refused:
        door.chat(api_base=f"{tape.origin}/v1", api_key=WRONG_KEY)
    styles = ["bearer", "x-api-key", "raw", "api-key"]
    assert tape.steps == [f"{CHAT} {style} 401" for style in styles] + ["POST /chat/completions bearer 401"]
    assert f"Styles tried: {', '.join(styles)}" in str(refused.value)
    assert WRONG_KEY not in str(refused.value)


def test_a_key_in_the_callers_own_header_goes_first(provider_door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        provider_door.chat(api_base=f"{tape.origin}/v1", api_key=None, extra_headers={"x-api-key": KEY})
    assert tape.steps == [f"{CHAT} x-api-key 200"]


def test_what_was_learnt_is_not_asked_again(door: Door, play: Play) -> None:
    with play(SERVER) as tape:
        for _ in range(2):
            door.chat(api_base=tape.origin)
    assert tape.steps == ["POST /chat/completions bearer 200"] * 2
