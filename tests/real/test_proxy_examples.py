"""The configurations of `examples/proxy`, started as their first lines say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from litellm_gateway_plugin.testing import Manners, PickyGateway
from tests.support.litellm_proxy import LiteLLMProxy, proxy_venv
from tests.support.redis_server import RedisServer, redis_binary

pytestmark = [
    pytest.mark.proxy,
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(proxy_venv() is None, reason="there is no environment with the LiteLLM proxy: make proxy-venv"),
]

EXAMPLES = Path(__file__).parents[2] / "examples" / "proxy"
MODEL = "Qwen/Qwen3-32B"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
EU, US = "sk-eu-secret", "sk-us-secret"


def chat(client: httpx.Client, model: str) -> httpx.Response:
    answer = client.post("/v1/chat/completions", json={"model": model, **CHAT})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture
def eu() -> Iterator[PickyGateway]:
    with PickyGateway(Manners(key=EU, styles={"*": ("x-api-key",)}, models=(MODEL, "acme/eu"))) as gateway:
        yield gateway


@pytest.fixture
def us() -> Iterator[PickyGateway]:
    with PickyGateway(Manners(key=US, models=(MODEL, "acme/us"))) as gateway:
        yield gateway


def test_one_gateway(eu: PickyGateway) -> None:
    environment = {"GATEWAY_API_BASE": eu.url, "GATEWAY_API_KEY": EU, "LITELLM_GATEWAY_CACHE": "false"}
    with LiteLLMProxy((EXAMPLES / "config.yaml").read_text(), env=environment) as proxy, proxy.client() as client:
        assert chat(client, "chat").headers["x-litellm-gateway-api-base"] == eu.base()
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["chat"]
    assert [(seen.style, seen.model) for seen in eu.served] == [("x-api-key", MODEL)]


@pytest.mark.skipif(redis_binary() is None, reason="redis-server is not installed: apt-get install redis-server")
def test_several_gateways(eu: PickyGateway, us: PickyGateway) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        environment = {
            "LITELLM_GATEWAY_API_BASE_1": eu.url,
            "LITELLM_GATEWAY_API_KEY_1": EU,
            "LITELLM_GATEWAY_API_BASE_2": us.url,
            "LITELLM_GATEWAY_API_KEY_2": US,
            "LITELLM_GATEWAY_REDIS_URL": redis.url,
            "LITELLM_GATEWAY_CACHE": "false",
        }
        config = (EXAMPLES / "several.yaml").read_text()
        proxy = stack.enter_context(LiteLLMProxy(config, env=environment, workers=2))
        for worker in proxy.workers():
            with proxy.client(worker) as client:
                assert base_of(chat(client, "chat")) == eu.base()
                assert base_of(chat(client, "gateway/acme/eu")) == eu.base()
                assert base_of(chat(client, "gateway/acme/us")) == us.base()
                assert base_of(chat(client, "us/acme/us")) == us.base()
        first, second = proxy.workers()
        eu.full(times=1, retry_after="60")
        with proxy.client(first) as client:
            moved = chat(client, "chat")
            assert base_of(moved) == us.base()
            assert moved.headers["x-litellm-gateway-attempts"] == f"{eu.base()} {MODEL} RateLimitError"
        asked = len(eu.seen)
        with proxy.client(second) as client:
            # the other worker knows that the first gateway is full, and does not even try it
            assert base_of(chat(client, "chat")) == us.base()
        assert len(eu.seen) == asked
    assert us.refused == []


def base_of(answer: httpx.Response) -> str:
    return answer.headers["x-litellm-gateway-api-base"]
