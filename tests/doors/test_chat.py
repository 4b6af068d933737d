"""A picky gateway through every way of writing a call: what was sent, and what came back."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import httpx
import litellm
import pytest
from pydantic import BaseModel

from litellm_gateway_plugin.testing import FAKE_KEY, Manners, ToolCall
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL = "test/model-small"
PICKY = Manners(styles={"*": ("x-api-key",), "models": ("none",)}, refusal="vllm")
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
    },
}


def path_of(gateway: Any) -> list[tuple[str, str, int]]:
    """Style, base and status of every chat request that the gateway saw."""
    return [(seen.style, seen.base, seen.status) for seen in gateway.requests("chat")]


def test_the_style_and_the_base_are_learnt_once(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"api_base": server.url, "api_key": FAKE_KEY}

    first = door.chat(MODEL, **options)
    assert path_of(server) == [("bearer", "", 404), ("bearer", "/v1", 401), ("x-api-key", "/v1", 200)]
    assert first.choices[0].message.content == "echo: hello"

    server.clear()
    door.chat(MODEL, **options)
    assert path_of(server) == [("x-api-key", "/v1", 200)]
    assert all(seen.credential_headers == ("x-api-key",) for seen in server.seen)


@pytest.mark.parametrize("style", ["bearer", "x-api-key", "raw", "api-key"])
def test_every_style_is_found(style: str, door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(styles={"*": (style,)}))
    door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    order = ["bearer", "x-api-key", "raw", "api-key"]
    assert server.styles("chat") == order[: order.index(style) + 1]
    assert server.worked_twice() == []


def test_the_answer_reports_what_was_negotiated(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    response = provider_door.chat(MODEL, api_base=server.url, api_key=FAKE_KEY)
    report = response._hidden_params["gateway"]
    assert report == {
        "api_base": server.base(),
        "auth_style": "x-api-key",
        "surface": "chat/completions",
        "requested_model": MODEL,
        "served_model": MODEL,
        "requests": 3,
        "waited_s": 0.0,
        "transport": "aiohttp" if provider_door.awaited else "httpx",
        "attempts": [],
    }


def test_the_session_door_reports_in_headers(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    response = litellm.completion(
        model=f"openai/{MODEL}", messages=[{"role": "user", "content": "x"}], api_base=server.url, api_key=FAKE_KEY
    )
    headers = response._hidden_params["additional_headers"]
    assert headers["llm_provider-x-litellm-gateway-auth-style"] == "x-api-key"
    assert headers["llm_provider-x-litellm-gateway-requests"] == "3"


def test_the_gateways_headers_are_where_litellm_users_look(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(headers={"x-ratelimit-remaining-requests": "7", "x-trace": "abc"}))
    response = door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    headers = response._hidden_params["additional_headers"]
    assert headers["x-ratelimit-remaining-requests"] == "7"
    assert headers["llm_provider-x-trace"] == "abc"


def test_one_debug_line_names_the_route_and_never_the_key(
    provider_door: Door, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = gateway(PICKY)
    with caplog.at_level(logging.DEBUG, logger="litellm_gateway_plugin"):
        provider_door.chat(MODEL, api_base=server.url, api_key=FAKE_KEY)
    lines = [record.getMessage() for record in caplog.records if record.name == "litellm_gateway_plugin"]
    assert len(lines) == 1
    assert f"gateway_auth_style=x-api-key gateway_base={server.base()}" in lines[0]
    assert FAKE_KEY not in caplog.text


def test_a_header_of_the_callers_is_the_key_and_the_first_guess(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"api_base": server.base(), "api_key": None}
    provider_door.chat(MODEL, extra_headers={"X-API-Key": FAKE_KEY, "x-team": "blue"}, **options)
    assert server.styles("chat") == ["x-api-key"]
    assert server.seen[-1].headers["x-team"] == "blue"

    server.change(styles={"*": ("bearer",)})
    provider_door.chat(MODEL, extra_headers={"X-API-Key": FAKE_KEY}, **options)
    assert server.styles("chat") == ["x-api-key", "x-api-key", "bearer"]
    assert all(len(seen.credential_headers) == 1 for seen in server.seen)


def test_a_gateway_without_keys_gets_no_credential(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(key=None, styles={"*": ("none",)}))
    provider_door.chat(MODEL, api_base=server.base())
    assert [seen.credential_headers for seen in server.seen] == [()]


def test_user_and_password_in_the_base_are_a_credential_of_last_resort(gateway: GatewayFactory) -> None:
    server = gateway(Manners(key=None, styles={"*": ("none",)}))
    base = server.base().replace("http://", "http://user:secret@")
    response = litellm.completion(model=f"gateway/{MODEL}", messages=[], api_base=base)
    assert server.seen[-1].credential_headers == ("authorization",)
    assert response._hidden_params["gateway"]["api_base"] == server.base()


def test_a_rotated_style_is_renegotiated_within_the_call(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"api_base": server.base(), "api_key": FAKE_KEY}
    provider_door.chat(MODEL, **options)
    server.clear()
    server.change(styles={"*": ("api-key",)})
    provider_door.chat(MODEL, **options)
    assert server.styles("chat") == ["x-api-key", "bearer", "raw", "api-key"]


def test_a_pasted_endpoint_and_doubled_slashes_are_cleaned(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    provider_door.chat(MODEL, api_base=f" {server.url}//v1/chat/completions/ ", api_key=FAKE_KEY)
    assert path_of(server) == [("bearer", "/v1", 200)]


def test_a_query_in_the_base_is_kept(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    provider_door.chat(MODEL, api_base=f"{server.base()}?api-version=7", api_key=FAKE_KEY)
    assert server.seen[-1].query == "api-version=7"


def test_a_base_of_another_version_is_left_alone(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ("/api/v4",)}))
    provider_door.chat(MODEL, api_base=server.base("/api/v4"), api_key=FAKE_KEY)
    assert path_of(server) == [("bearer", "/api/v4", 200)]


def test_an_id_is_sent_as_the_gateway_lists_it(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("Qwen/Qwen3-32B",)))
    options = {"api_base": server.base(), "api_key": FAKE_KEY}
    response = provider_door.chat("qwen3-32b", **options)
    assert response._hidden_params["gateway"]["served_model"] == "Qwen/Qwen3-32B"
    assert [(seen.surface, seen.model) for seen in server.seen] == [
        ("chat", "qwen3-32b"),
        ("models", ""),
        ("chat", "Qwen/Qwen3-32B"),
    ]
    server.clear()
    provider_door.chat("qwen3-32b", **options)
    assert [seen.model for seen in server.seen] == ["Qwen/Qwen3-32B"]


def test_a_redirect_to_a_slash_keeps_the_body_and_is_remembered(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(replace(Manners(), trailing_slash="required"))
    options = {"api_base": server.base(), "api_key": FAKE_KEY}
    response = provider_door.chat(MODEL, **options)
    assert response.choices[0].message.content == "echo: hello"
    server.clear()
    provider_door.chat(MODEL, **options)
    assert [seen.status for seen in server.seen] == [200]


def test_tools_and_parallel_tool_calls(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(
        Manners(reply=lambda body: [ToolCall("look_up", {"what": "a"}), ToolCall("look_up", {"what": "b"})])
    )
    response = door.chat(
        MODEL, api_base=server.base(), api_key=FAKE_KEY, tools=[TOOL], tool_choice="auto", parallel_tool_calls=True
    )
    assert [call.function.name for call in response.choices[0].message.tool_calls] == ["look_up", "look_up"]
    assert response.choices[0].finish_reason == "tool_calls"
    assert server.seen[-1].body["tools"] == [TOOL]
    assert server.seen[-1].body["parallel_tool_calls"] is True


class Verdict(BaseModel):
    """A schema of a test's."""

    ok: bool


@pytest.mark.parametrize("response_format", [{"type": "json_object"}, Verdict], ids=["json mode", "schema"])
def test_json(response_format: Any, door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    response = door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, response_format=response_format)
    assert json.loads(response.choices[0].message.content) == {"ok": True}
    sent = server.seen[-1].body["response_format"]
    assert sent == response_format if isinstance(response_format, dict) else sent["json_schema"]["name"] == "Verdict"


def test_reasoning_logprobs_pictures_and_several_choices(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(reasoning="because"))
    content = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    response = door.chat(
        MODEL,
        messages=[{"role": "user", "content": content}],
        api_base=server.base(),
        api_key=FAKE_KEY,
        n=2,
        logprobs=True,
        top_logprobs=1,
    )
    assert server.seen[-1].body["messages"][0]["content"] == content
    assert [choice.message.reasoning_content for choice in response.choices] == ["because", "because"]
    assert response.choices[0].logprobs is not None
    assert response.usage.total_tokens > 0


@pytest.fixture
def stock_body(gateway: GatewayFactory) -> Any:
    """What stock `openai/` sends for the same call, seen by an own gateway through a session of the program's own."""

    def body(options: dict[str, Any]) -> Any:
        server = gateway(Manners())
        session, litellm.client_session = litellm.client_session, httpx.Client()
        litellm.in_memory_llm_clients_cache.flush_cache()
        try:
            litellm.completion(
                model=f"openai/{MODEL}",
                messages=[{"role": "user", "content": "hello"}],
                api_base=server.base(),
                api_key=FAKE_KEY,
                **options,
            )
        finally:
            litellm.client_session.close()
            litellm.client_session = session
            litellm.in_memory_llm_clients_cache.flush_cache()
        return server.seen[-1].body

    return body


PARAMETERS: dict[str, dict[str, Any]] = {
    "sampling": {"temperature": 0.1, "max_tokens": 3, "top_p": 0.5, "seed": 1, "stop": ["a"], "logit_bias": {"1": 2}},
    "unknown to OpenAI": {
        "top_k": 4,
        "min_p": 0.1,
        "guided_json": {"a": 1},
        "chat_template_kwargs": {"thinking": False},
    },
    "the newer limit": {"max_completion_tokens": 5},
    "extra_body": {"extra_body": {"x": 1, "metadata": {"q": 1}, "provider": {"only": ["a"]}}},
    "litellm's own": {"metadata": {"a": "b"}, "tags": ["t"], "num_retries": 0, "max_retries": 0, "timeout": 9},
    "prices": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "model_info": {"id": "x"}},
    "accounting": {
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "store": True,
        "service_tier": "auto",
        "user": "u",
    },
    "functions": {"functions": [{"name": "f", "parameters": {"type": "object", "properties": {}}}]},
}


@pytest.mark.parametrize("options", PARAMETERS.values(), ids=PARAMETERS)
def test_the_body_is_the_one_that_stock_litellm_sends(
    options: dict[str, Any], provider_door: Door, gateway: GatewayFactory, stock_body: Any
) -> None:
    server = gateway(Manners())
    provider_door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, **options)
    assert server.seen[-1].body == stock_body(options)


def test_several_prompts_get_an_answer_each(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    response = litellm.text_completion(
        model=f"gateway/{MODEL}", prompt=["one", "two"], api_base=server.base(), api_key=FAKE_KEY
    )
    assert [choice.text for choice in response.choices] == ["echo: one", "echo: two"]
    assert [seen.surface for seen in server.seen] == ["completions"]
