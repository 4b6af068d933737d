"""Refusals and streams of real services that the first tables missed; each is read as what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from litellm_gateway_plugin.answers import Answer, error_object
from litellm_gateway_plugin.bodies import is_ours
from litellm_gateway_plugin.capacity import is_capacity
from litellm_gateway_plugin.credentials import clean_key, plain_text, secrets_in
from litellm_gateway_plugin.errors import BrokenAnswer, InvalidInput
from litellm_gateway_plugin.exchange import answer_of
from litellm_gateway_plugin.negotiation import Ask
from litellm_gateway_plugin.refusals import without_secrets
from litellm_gateway_plugin.streams import CompletionStream, ErrorEvent
from litellm_gateway_plugin.urls import parse_base
from litellm_gateway_plugin.verdicts import Verdict, read_verdict, unwrapped

MODEL = "my-model"


def error(message: str, **more: Any) -> dict[str, Any]:
    """An error body in OpenAI's dialect."""
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (400, error("Invalid schema for function 'authorize_payment': 'required' is missing"), Verdict.REJECTED),
        (400, error("the access token is missing", param="tools[0]"), Verdict.REJECTED),
        (400, error("invalid role. Got: 'please authenticate the user'"), Verdict.REJECTED),
        (400, error("Invalid value for 'max_tokens': access tokens limit"), Verdict.REJECTED),
        (400, error("API key not valid. Please pass a valid API key."), Verdict.STYLE),
        (403, error("\u7528\u6237\u989d\u5ea6\u4e0d\u8db3", code="insufficient_user_quota"), Verdict.FORBIDDEN),
        (403, error("You have run out.", code="insufficient_quota"), Verdict.FORBIDDEN),
        (403, error("Request blocked by guardrail", code="content_filter"), Verdict.FORBIDDEN),
        (401, error("To access this model, send your key in the X-API-Key header."), Verdict.STYLE),
        (401, error("This model is not part of your plan."), Verdict.FORBIDDEN),
        (404, error("Model not found, inaccessible, and/or not deployed"), Verdict.MODEL),
        (404, error("No endpoints found for my-model."), Verdict.MODEL),
        (404, error("Unable to access model my-model.", code="model_not_available"), Verdict.MODEL),
        (400, error("Model Not Exist"), Verdict.MODEL),
        (503, error("No available channel for model my-model", code="model_not_found"), Verdict.MODEL),
        (503, error("No available channel"), Verdict.FULL),
        (200, error("Number of tokens exceeded", type="rate_limit_error", code="rate_limit_exceeded"), Verdict.FULL),
    ],
)
def test_what_it_says(status: int, body: dict[str, Any], verdict: Verdict) -> None:
    answer = answer_of("chat/completions", status, {"content-type": "application/json"}, json.dumps(body).encode())
    assert read_verdict(unwrapped(answer), MODEL, is_capacity) is verdict


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"content": ""}, "finish_reason": "error"},
        {"delta": {}, "error": {"message": "it broke", "code": 502}},
    ],
)
def test_an_error_in_a_choice_is_an_error(choice: dict[str, Any]) -> None:
    body = {"choices": [{"index": 0, **choice}]}
    assert error_object(body)
    with pytest.raises(ErrorEvent):
        list(CompletionStream().event(json.dumps(body)))
    assert error_object({"error": {"code": 502}, "choices": [{"delta": {}}]})
    assert not error_object({"error": None, "choices": [{"delta": {}}]})
    assert not error_object([])


def test_the_words_of_an_error_in_a_choice() -> None:
    body = {"choices": [{"error": {"message": "it broke", "code": 502}}]}
    assert Answer(200, text=json.dumps(body)).words == "it broke"


def chunk(index: int, **more: Any) -> str:
    """An event with one choice."""
    return json.dumps({"choices": [{"index": index, "delta": {}, "finish_reason": None, **more}]})


def test_a_choice_that_was_asked_for_and_never_came_is_missed() -> None:
    stream = CompletionStream(expected=2)
    list(stream.event(chunk(0, finish_reason="stop")))
    assert not stream.finished
    with pytest.raises(BrokenAnswer):
        list(stream.end())
    list(stream.event("[DONE]"))
    assert len(list(stream.end())) == 1


def test_a_heartbeat_is_no_progress() -> None:
    stream = CompletionStream()
    for data in ("", '{"type":"ping"}'):
        list(stream.event(data))
    assert stream.progress == 0
    for data in ('{"choices":[]}', '{"usage":{"total_tokens":1}}', "[DONE]"):
        list(stream.event(data))
    assert stream.progress == 3


def test_tool_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    stream = CompletionStream()

    def numbers(*calls: dict[str, Any]) -> list[int]:
        (made,) = stream.event(chunk(0, delta={"tool_calls": list(calls)}))
        return [call["index"] for call in made["choices"][0]["delta"]["tool_calls"]]

    assert numbers({"id": "a"}) == [0]
    assert numbers({"function": {"arguments": "{"}}) == [0]
    assert numbers({"id": "b"}) == [1]
    assert numbers({"function": {}}, {"id": "a"}) == [1, 0]


@pytest.mark.parametrize(
    ("body", "ours"),
    [
        (b'{"id":"chatcmpl-1","object":"chat.completion","choices":[', True),
        (b'{"hello":', False),
    ],
)
def test_an_answer_of_this_api_that_was_cut_off(body: bytes, ours: bool) -> None:
    assert answer_of("chat/completions", 200, {"content-type": "application/json"}, body).ours is ours


def test_embeddings_without_numbers_are_of_this_api() -> None:
    assert is_ours({"data": [{"object": "embedding", "embedding": []}]})
    assert not is_ours([])


class Secret:
    """A key as pydantic wraps it."""

    def get_secret_value(self) -> str:
        return "sk-test"


def test_keys_come_in_many_types() -> None:
    assert [clean_key(given) for given in (Secret(), lambda: "sk-test", b"sk-test", "sk-test")] == ["sk-test"] * 4
    with pytest.raises(InvalidInput, match="not dict"):
        plain_text({})


def test_no_secret_of_the_call_is_quoted() -> None:
    base = parse_base("https://user:hunter2pass@llm.example.com/v1?code=querysecret")
    others = secrets_in({"cf-aig-authorization": "Bearer secondsecret", "x-team": "blue"})
    ask = Ask(base, "chat/completions", base.userinfo, MODEL, others=others)
    said = "hunter2pass dXNlcjpodW50ZXIycGFzcw== querysecret secondsecret blue"
    assert without_secrets(said, ask) == "[key] [key] [key] [key] blue"


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (500, error("Provider returned error", code=502, metadata={"raw": '{"error":{"code":429}}'}), Verdict.FULL),
        (500, error("\u5f53\u524d\u5206\u7ec4\u4e0a\u6e38\u8d1f\u8f7d\u5df2\u9971\u548c"), Verdict.FULL),
        (200, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Verdict.FULL),
        (498, error("Flex tier capacity exceeded", code="capacity_exceeded"), Verdict.FULL),
        (498, error("Invalid token."), Verdict.REJECTED),
        (500, error("CUDA out of memory"), Verdict.FAILED),
        (500, error("The model overloaded-7b crashed"), Verdict.FAILED),
        (402, error("You reached your capacity", code="rate_limit_exceeded"), Verdict.REJECTED),
    ],
)
def test_whether_it_says_full(status: int, body: dict[str, Any], verdict: Verdict) -> None:
    answer = answer_of("chat/completions", status, {"content-type": "application/json"}, json.dumps(body).encode())
    assert read_verdict(unwrapped(answer), MODEL, is_capacity) is verdict
