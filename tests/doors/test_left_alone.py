"""Calls that litellm can serve by itself stay litellm's; a switch restricts what is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.doors import door_for
from litellm_gateway_plugin.handle import Gateway
from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory

MODEL = "test/model-small"
CLAUDE = next(name for name, entry in litellm.model_cost.items() if entry.get("litellm_provider") == "anthropic")
NAMES = frozenset({"gateway", "openai_like", "Qwen"})
FOREIGN = "https://llm.example.com/v1"


@pytest.mark.parametrize(
    ("model", "provider", "base", "taken"),
    [
        ("gateway/x", None, FOREIGN, True),
        ("gateway/x", None, None, True),
        ("x", "openai_like", FOREIGN, True),
        ("Qwen/x", None, FOREIGN, True),
        ("some-lab/x", None, FOREIGN, True),
        ("my-model", None, FOREIGN, True),
        ("gpt-4o", None, FOREIGN, True),
        ("openai/x", None, FOREIGN, True),
        ("custom_openai/x", None, FOREIGN, True),
        ("x", "openai", FOREIGN, True),
        ("openai/x", None, None, False),
        ("openai/gpt-4o", None, "https://api.openai.com/v1", False),
        ("gpt-4o", None, None, False),
        ("gpt-4o", None, "https://api.openai.com/v1", False),
        ("openai/x", None, "https://name.openai.azure.com/openai", False),
        ("groq/llama", None, None, False),
        ("groq/llama", None, FOREIGN, False),
        ("hosted_vllm/x", None, FOREIGN, False),
        ("x", "hosted_vllm", FOREIGN, False),
        ("some-lab/x", None, "https://api.groq.com/openai/v1", False),
        (CLAUDE, None, FOREIGN, False),
        (CLAUDE, None, None, False),
        ("some-lab/x", None, None, False),
    ],
)
def test_what_is_taken(model: str, provider: str | None, base: str | None, taken: bool, plugin: Gateway) -> None:
    assert (door_for(plugin, model, provider, base, NAMES) is not None) == taken


def test_a_configured_base_of_a_known_provider_is_taken() -> None:
    handle = lgp.install(api_base="https://api.groq.com/openai/v1", api_key=FAKE_KEY)
    assert door_for(handle, "some-lab/x", None, "https://api.groq.com/openai/v1", NAMES) is not None
    assert door_for(handle, "some-lab/x", None, None, NAMES) is not None


def test_interception_can_be_restricted() -> None:
    configured = lgp.install(intercept="configured", api_base=FOREIGN)
    assert door_for(configured, "some-lab/x", None, FOREIGN, NAMES) is not None
    assert door_for(configured, "some-lab/x", None, "https://other.example.com/v1", NAMES) is None
    off = lgp.install(intercept="off", api_base=FOREIGN)
    assert door_for(off, "some-lab/x", None, FOREIGN, NAMES) is None
    assert door_for(off, "gateway/x", None, FOREIGN, NAMES) is not None


@pytest.mark.parametrize("mock", [{"mock_response": "hi"}, {"mock_response": "hi", "stream": True}])
def test_a_mocked_call_is_left_alone(mock: dict[str, Any], gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    options = {"messages": [{"role": "user", "content": "x"}], "api_base": server.base(), "api_key": FAKE_KEY, **mock}
    litellm.completion(model=f"gateway/{MODEL}", **options)
    asyncio.run(litellm.acompletion(model=f"openai/{MODEL}", **options))
    assert server.seen == []


def test_with_interception_off_the_session_door_passes_everything_on(gateway: GatewayFactory) -> None:
    lgp.install(intercept="off")
    server = gateway(Manners(styles={"*": ("x-api-key",)}))
    options = {"messages": [{"role": "user", "content": "x"}], "api_base": server.base(), "api_key": FAKE_KEY}
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(model=f"openai/{MODEL}", max_retries=0, **options)
    with pytest.raises(litellm.AuthenticationError):
        asyncio.run(litellm.acompletion(model=f"openai/{MODEL}", max_retries=0, **options))
    assert server.styles("chat") == ["bearer", "bearer"]


def test_a_name_that_litellm_knows_is_never_taken() -> None:
    lgp.install(namespaces=("groq", "deepseek", "acme"))
    registered = [entry["provider"] for entry in litellm.custom_provider_map]
    assert "acme" in registered
    assert "groq" not in registered
    assert "deepseek" not in registered


def test_the_vendors_of_a_listing_are_known_from_then_on(gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("acme-labs/model-one", "acme-labs/model-two")))
    options = {"messages": [{"role": "user", "content": "x"}], "api_base": server.base(), "api_key": FAKE_KEY}
    with pytest.raises(litellm.BadRequestError, match="LLM Provider NOT provided"):
        litellm.completion(model="acme-labs/model-one", **options)
    litellm.completion(model="gateway/MODEL-ONE", **options)
    server.clear()
    litellm.completion(model="acme-labs/model-one", **options)
    assert [seen.model for seen in server.seen] == ["acme-labs/model-one"]


def test_the_vendor_of_an_async_call_is_known_from_then_on(gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("acme-works/model",)))
    options = {"messages": [{"role": "user", "content": "x"}], "api_base": server.base(), "api_key": FAKE_KEY}
    asyncio.run(litellm.acompletion(model="acme-works/model", **options))
    litellm.completion(model="acme-works/model", **options)
    assert [seen.model for seen in server.seen] == ["acme-works/model"] * 2


def test_an_empty_id_is_an_error_before_anything_is_sent(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    with pytest.raises(litellm.BadRequestError, match="No model id"):
        litellm.completion(model="gateway/", messages=[], api_base=server.base(), api_key=FAKE_KEY)
    assert server.seen == []
