"""Wildcard deployments of a stock Router: which id reaches which gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.testing import FAKE_KEY, PRESETS, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory

MESSAGES = [{"role": "user", "content": "hello"}]
VLLM = replace(PRESETS["vllm"], models=("Qwen/X", "plain"))

pytestmark = pytest.mark.matrix


def sync(router: litellm.Router, model: str) -> Any:
    return router.completion(model, MESSAGES)


def awaited(router: litellm.Router, model: str) -> Any:
    return asyncio.run(router.acompletion(model, MESSAGES))


@pytest.fixture(params=[sync, awaited], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[[litellm.Router, str], Any]:
    found: Callable[[litellm.Router, str], Any] = request.param
    return found


def router(name: str, model: str, **params: Any) -> litellm.Router:
    return litellm.Router(
        model_list=[{"model_name": name, "litellm_params": {"model": model, **params}}], num_retries=0
    )


def served(server: PickyGateway) -> list[str]:
    return [seen.model for seen in server.requests("chat") if seen.worked]


@pytest.mark.parametrize(
    ("name", "model", "asked", "sent"),
    [
        ("gateway/*", "gateway/*", "gateway/Qwen/X", "Qwen/X"),
        ("gateway/*", "gateway/*", "gateway/plain", "plain"),
        ("acme/*", "gateway/*", "acme/Qwen/X", "Qwen/X"),
        ("acme/*", "gateway/*", "acme/plain", "plain"),
        ("acme/*", "gateway/Qwen/*", "acme/X", "Qwen/X"),
        ("*", "gateway/*", "Qwen/X", "Qwen/X"),
        ("*", "gateway/*", "gateway/Qwen/X", "Qwen/X"),
        ("gateway/*", "gateway/*", "gateway/qwen/x", "Qwen/X"),
    ],
)
def test_a_wildcard_serves_what_the_base_lists(
    gateway: GatewayFactory, ask: Callable[..., Any], name: str, model: str, asked: str, sent: str
) -> None:
    server = gateway(VLLM)
    response = ask(router(name, model, api_base=server.base(), api_key=FAKE_KEY), asked)
    assert response.choices[0].message.content == "echo: hello"
    assert served(server) == [sent]


def test_a_wildcard_names_what_is_listed_when_it_is_asked_for_something_else(
    gateway: GatewayFactory, ask: Callable[..., Any]
) -> None:
    server = gateway(VLLM)
    with pytest.raises(litellm.NotFoundError, match="plain"):
        ask(router("acme/*", "gateway/*", api_base=server.base(), api_key=FAKE_KEY), "acme/plane")
    assert served(server) == []


def test_without_a_base_it_serves_what_the_configured_gateways_list(
    gateway: GatewayFactory, ask: Callable[..., Any]
) -> None:
    first, second = gateway(VLLM), gateway(replace(VLLM, models=("other", "Plain")))
    lgp.install(bases=[{"api_base": each.base(), "api_key": FAKE_KEY} for each in (first, second)])
    asked = router("gateway/*", "gateway/*")
    for model in ("gateway/other", "gateway/Qwen/X", "gateway/Plain", "gateway/plain"):
        ask(asked, model)
    assert served(first) == ["Qwen/X", "plain"]
    assert served(second) == ["other", "Plain"]
    assert (len(first.requests("models")), len(second.requests("models"))) == (1, 1)


def test_what_a_wildcard_serves_can_be_listed(gateway: GatewayFactory) -> None:
    server = gateway(VLLM)
    assert lgp.list_models(server.base(), api_key=FAKE_KEY).ids == ("Qwen/X", "plain")
    assert asyncio.run(lgp.alist_models(server.base(), api_key=FAKE_KEY)).ids == ("Qwen/X", "plain")
