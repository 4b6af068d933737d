"""The LiteLLM proxy with the plugin: what no client can say, whatever it puts into its headers and its body.

The proxy is the loosest that an operator can make without giving clients a say: it forwards their headers. One gateway
is the configured one, another one is a client's; a call is served as configured, or nothing is sent anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from litellm_gateway_plugin.testing import Manners, PickyGateway
from tests.support.litellm_proxy import PLUGIN, LiteLLMProxy, proxy_venv

pytestmark = [
    pytest.mark.proxy,
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(proxy_venv() is None, reason="there is no environment with the LiteLLM proxy: make proxy-venv"),
]

SECRET = "sk-upstream-secret"
CLIENTS = "sk-clients-own"
THIEF = "http://thief"
"""Stands for the base of the client's own gateway."""

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
SURFACES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", "plain", CHAT),
    "stream": ("/v1/chat/completions", "plain", {**CHAT, "stream": True}),
    "text": ("/v1/completions", "plain", {"prompt": "hello"}),
    "responses": ("/v1/responses", "plain", {"input": "hello"}),
    "messages": ("/v1/messages", "plain", {**CHAT, "max_tokens": 100}),
    "embeddings": ("/v1/embeddings", "embedder", {"input": ["hello"]}),
}
PROVIDERS = ("openai", "anthropic", "gateway", "Qwen", "openai_like", "azure", "gemini", "deepseek", "hosted_vllm")
CREDENTIALS = {
    "authorization": f"Bearer {CLIENTS}",
    "Authorization": CLIENTS,
    "x-api-key": CLIENTS,
    "API-Key": CLIENTS,
    "x-goog-api-key": CLIENTS,
    "ocp-apim-subscription-key": CLIENTS,
    "x-auth-token": CLIENTS,
    "proxy-authorization": f"Basic {CLIENTS}",
    "cookie": f"session={CLIENTS}",
}
DIVERTED = {"model_name": "plain", "litellm_params": {"model": "gateway/test/one", "api_base": THIEF, "api_key": "k"}}

BODIES: dict[str, dict[str, Any]] = {
    "api_base": {"api_base": THIEF},
    "base_url": {"base_url": THIEF},
    "api_key": {"api_key": CLIENTS},
    "no api_key": {"api_key": None},
    "api_key and api_base": {"api_key": CLIENTS, "api_base": THIEF},
    "azure": {"azure": True},
    "deployment_id": {"deployment_id": "other"},
    "use_litellm_proxy": {"use_litellm_proxy": True},
    "organization": {"organization": "other"},
    "api_version": {"api_version": "2024-02-01"},
    "another credential": {"litellm_credential_name": "other"},
    "litellm_params": {"litellm_params": {"api_base": THIEF, "api_key": CLIENTS, "custom_llm_provider": "openai"}},
    "metadata": {"metadata": {"model_group": "other", "deployment": "other", "model_info": {"id": "other"}}},
    "metadata with a base": {"metadata": {"api_base": THIEF}},
    "litellm_metadata": {"litellm_metadata": {"model_group": "other", "model_info": {"original_model_id": "other"}}},
    "model_info": {"model_info": {"id": "other", "original_model_id": "other"}},
    "user_config": {"user_config": {"model_list": [DIVERTED]}},
    "model_list": {"model_list": [DIVERTED]},
    "fallbacks": {"fallbacks": [{"model": "plain", "api_base": THIEF}]},
    "fallbacks by group": {"fallbacks": [{"plain": [{"model": "gateway/test/one", "api_base": THIEF}]}]},
    "router settings": {"router_settings_override": {"fallbacks": [{"plain": [{"model": "x", "api_base": THIEF}]}]}},
    "proxy_server_request": {"proxy_server_request": None},
    "a forged proxy_server_request": {"proxy_server_request": {"url": THIEF, "headers": {"x-api-key": CLIENTS}}},
    "extra_body": {"extra_body": {"api_key": CLIENTS, "extra_headers": {"x-api-key": CLIENTS}}},
    "extra_body with a base": {"extra_body": {"api_base": THIEF}},
    "mock_response": {"mock_response": "forged"},
    "default_headers": {"default_headers": {"x-api-key": CLIENTS}},
    **{f"provider {name}": {"custom_llm_provider": name} for name in PROVIDERS},
    **{f"provider {name} and a key": {"custom_llm_provider": name, "api_key": CLIENTS} for name in PROVIDERS[:3]},
    **{f"extra_headers {name}": {"extra_headers": {name: value}} for name, value in CREDENTIALS.items()},
    **{f"headers {name}": {"headers": {name: value}} for name, value in CREDENTIALS.items()},
    "headers of a provider": {
        "provider_specific_header": {"custom_llm_provider": "gateway", "extra_headers": {"x-api-key": CLIENTS}}
    },
    "headers of providers": {
        "provider_specific_header": [{"custom_llm_provider": "gateway", "extra_headers": {"x-api-key": CLIENTS}}]
    },
    "Host": {"extra_headers": {"Host": "thief.example", "x-forwarded-host": "thief.example"}},
}
HEADERS: dict[str, dict[str, str]] = {
    **{name: {name: value} for name, value in CREDENTIALS.items() if name.lower() != "authorization"},
    "bases": {"x-litellm-api-base": THIEF, "api-base": THIEF, "x-api-base": THIEF, "base-url": THIEF},
    "x-litellm": {"x-litellm-model": "gateway/other", "x-litellm-provider": "openai"},
    "all": {name.lower(): value for name, value in CREDENTIALS.items() if name.lower() != "authorization"},
}


@dataclass
class House:
    proxy: LiteLLMProxy
    client: httpx.Client
    gateway: PickyGateway
    thief: PickyGateway

    def ask(self, surface: str, more: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> httpx.Response:
        path, model, body = SURFACES[surface]
        asked = json.dumps({"model": model, **body, **more}).replace(THIEF, self.thief.base())
        sent = {name: value.replace(THIEF, self.thief.base()) for name, value in (headers or {}).items()}
        self.gateway.clear()
        self.thief.clear()
        return self.client.post(path, content=asked, headers={"content-type": "application/json", **sent})

    def work(self) -> list[tuple[str, bool, tuple[str, ...], str]]:
        """Style, whether the key was right, all credentials, and model of what the configured gateway was asked."""
        asked = [seen for seen in self.gateway.seen if seen.surface != "models"]
        return [(seen.style, seen.key_ok, seen.credential_headers, seen.model) for seen in asked]


AS_CONFIGURED = [("x-api-key", True, ("x-api-key",), "test/one")]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with ExitStack() as stack:
        # it takes any key in any style: what reaches it would be served
        thief = stack.enter_context(PickyGateway(Manners(key=None, unknown_model="ignored")))
        manners = Manners(key=SECRET, styles={"*": ("x-api-key",)}, models=("test/one", "claude-3-haiku-20240307"))
        gateway = stack.enter_context(PickyGateway(manners))
        here = {"api_base": gateway.base(), "api_key": SECRET}
        deployments: dict[str, dict[str, Any]] = {
            "plain": {"model": "gateway/test/one", **here},
            "embedder": {"model": "gateway/test/one", **here},
            "foreign": {"model": "openai/test/one", **here},
            "claude": {"model": "openai/claude-3-haiku-20240307", **here},
            "tenant": {"model": "gateway/test/one", "extra_headers": {"x-tenant": "ours"}, **here},
            "open": {"model": "gateway/test/one", "configurable_clientside_auth_params": ["api_key"], **here},
            "stock": {"model": "groq/llama", "api_key": f"{SECRET}-of-groq"},
        }
        config = {
            "model_list": [{"model_name": name, "litellm_params": params} for name, params in deployments.items()],
            "credential_list": [
                {
                    "credential_name": "other",
                    "credential_values": {"api_key": f"{SECRET}-other", "api_base": thief.base()},
                    "credential_info": {},
                }
            ],
            "litellm_settings": {"callbacks": [PLUGIN]},
            "general_settings": {"forward_client_headers_to_llm_api": True},
            "router_settings": {"num_retries": 0},
        }
        environment = {
            "LITELLM_GATEWAY_API_BASE": thief.base(),  # where calls of ours without a base would go
            "LITELLM_GATEWAY_CACHE": "false",
            "LITELLM_GATEWAY_REDIS_URL": "off",
        }
        proxy = stack.enter_context(LiteLLMProxy(json.dumps(config), env=environment))
        client = stack.enter_context(proxy.client())
        made = House(proxy, client, gateway, thief)
        for surface in SURFACES:  # negotiated, so that every further request counts
            assert made.ask(surface, {}).status_code == 200
        yield made
        assert SECRET not in proxy.log()


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("said", BODIES)
def test_in_a_body(house: House, surface: str, said: str) -> None:
    answer = house.ask(surface, BODIES[said])
    assert house.thief.seen == []
    assert house.work() == (AS_CONFIGURED if answer.status_code == 200 else [])
    assert SECRET not in answer.text + str(answer.headers.raw)
    assert house.ask(surface, {}).status_code == 200, "the others were made to suffer"
    assert house.work() == AS_CONFIGURED


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("said", HEADERS)
def test_in_headers(house: House, surface: str, said: str) -> None:
    assert house.ask(surface, {}, HEADERS[said]).status_code == 200
    assert house.thief.seen == []
    assert house.work() == AS_CONFIGURED
    assert CLIENTS not in str(house.gateway.seen[-1].headers)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("said", ["api_key", "azure", "provider anthropic", "extra_headers x-api-key"])
def test_nor_for_a_model_of_openais_provider(house: House, surface: str, said: str) -> None:
    assert house.ask(surface, {**BODIES[said], "model": "foreign"}).status_code == 200
    assert house.work() == AS_CONFIGURED


@pytest.mark.parametrize("surface", SURFACES)
def test_an_id_that_litellm_gives_to_another_provider_stays_with_the_gateway(house: House, surface: str) -> None:
    for more in ({}, {"custom_llm_provider": "anthropic"}):
        assert house.ask(surface, {"model": "claude", **more}).status_code == 200
        assert house.work() == [("x-api-key", True, ("x-api-key",), "claude-3-haiku-20240307")]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", ["headers", "extra_headers"])
def test_an_operators_header_stands(house: House, surface: str, name: str) -> None:
    assert house.ask(surface, {"model": "tenant", name: {"X-Tenant": "theirs", "x-trace": "7"}}).status_code == 200
    sent = house.gateway.seen[-1].headers
    assert (sent["x-tenant"], sent["x-trace"]) == ("ours", "7")


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("provider", ["gateway", "Qwen", "openai_like"])
def test_the_key_of_another_provider_goes_to_no_gateway(house: House, surface: str, provider: str) -> None:
    """Nobody answers for the stock model here; what counts is that the configured gateway is not asked in its place."""
    answer = house.ask(surface, {"model": "stock", "custom_llm_provider": provider})
    assert answer.status_code != 200
    assert house.thief.seen == house.gateway.seen == []


def test_an_operator_may_let_clients_bring_their_keys(house: House) -> None:
    answer = house.ask("chat", {"model": "open", "api_key": CLIENTS})
    assert answer.status_code == 401
    assert {(style, right) for style, right, _, _ in house.work()} >= {("bearer", False), ("x-api-key", False)}
    assert CLIENTS not in answer.text
