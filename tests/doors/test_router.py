"""The stock Router over every way of writing a deployment."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory

VENDOR_ID = "Qwen/Qwen3-235B-A22B-Instruct-2507"
PICKY = Manners(styles={"*": ("x-api-key",), "models": ("none",)}, models=(VENDOR_ID,))
MESSAGES = [{"role": "user", "content": "hello"}]


def deployment(model: str, server: Any, name: str = "group", **more: Any) -> dict[str, Any]:
    """One entry of a Router's model list."""
    params = {"model": model, "api_base": server.url, "api_key": FAKE_KEY, **more}
    return {"model_name": name, "litellm_params": params, "model_info": {"id": f"{model}@{server.url}"}}


@pytest.mark.parametrize(
    "model", [f"gateway/{VENDOR_ID}", VENDOR_ID, f"openai/{VENDOR_ID}", f"openai_like/{VENDOR_ID}"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_deployment(model: str, stream: bool, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    router = litellm.Router(model_list=[deployment(model, server)], num_retries=0)

    async def said() -> str:
        response = await router.acompletion("group", MESSAGES, stream=stream)
        if not stream:
            return str(response.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in response])

    assert asyncio.run(said()) == "echo: hello"
    response = router.completion("group", MESSAGES, stream=stream)
    chunks = list(response) if stream else []
    text = "".join(c.choices[0].delta.content or "" for c in chunks) if stream else response.choices[0].message.content
    assert text == "echo: hello"
    assert [(seen.style, seen.status) for seen in server.requests("chat")][-1] == ("x-api-key", 200)
    assert len(server.refused) <= 1
    assert all("model_info" not in seen.body and "metadata" not in seen.body for seen in server.served)


@pytest.mark.parametrize("stream", [False, True])
def test_fail_over_to_another_gateway(stream: bool, gateway: GatewayFactory) -> None:
    full, free = gateway(PICKY), gateway(PICKY)
    full.full(retry_after="30")
    router = litellm.Router(
        model_list=[deployment(VENDOR_ID, full, order=1), deployment(VENDOR_ID, free, order=2)], num_retries=1
    )

    async def said() -> str:
        response = await router.acompletion("group", MESSAGES, stream=stream)
        if not stream:
            return str(response.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in response])

    assert asyncio.run(said()) == "echo: hello"
    assert len(free.served) == 1


def test_embeddings_and_fallbacks(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    dead = {
        "model_name": "dead",
        "litellm_params": {"model": VENDOR_ID, "api_base": "http://127.0.0.1:9", "api_key": "x"},
    }
    router = litellm.Router(
        model_list=[dead, deployment(VENDOR_ID, server)], fallbacks=[{"dead": ["group"]}], num_retries=0
    )
    assert len(router.embedding("group", input=["one"]).data) == 1
    assert router.completion("dead", MESSAGES).choices[0].message.content == "echo: hello"


def test_the_refused_key_error_reaches_the_routers_caller(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    wrong = deployment(VENDOR_ID, server)
    wrong["litellm_params"]["api_key"] = "sk-test-wrong"
    router = litellm.Router(model_list=[wrong], num_retries=2)
    with pytest.raises(litellm.AuthenticationError, match="Styles tried"):
        router.completion("group", MESSAGES)
    assert len(server.seen) <= 8
