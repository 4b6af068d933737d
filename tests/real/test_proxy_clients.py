"""The LiteLLM proxy with the plugin, asked by the libraries that people have: OpenAI's and Anthropic's.

Behind it is a real llama.cpp with a small model, directly and behind a gateway that wants the key in `x-api-key`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from litellm_gateway_plugin.testing import Manners, PickyGateway
from litellm_gateway_plugin.testing.llamacpp import LlamaServer
from litellm_gateway_plugin.testing.tinymodel import CHAT_ANSWER, write_tiny_model
from tests.support.litellm_proxy import PLUGIN, LiteLLMProxy, proxy_venv

CLIENTS = Path(__file__).parents[1] / "support" / "proxy_clients.py"
_MISSING = [name for name in ("xllamacpp", "gguf") if importlib.util.find_spec(name) is None]


def _has(library: str) -> bool:
    venv = proxy_venv()
    return venv is not None and any(venv.glob(f"lib/python3*/site-packages/{library}/__init__.py"))


pytestmark = [
    pytest.mark.proxy,
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(proxy_venv() is None, reason="there is no environment with the LiteLLM proxy: make proxy-venv"),
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: pip install {' '.join(_MISSING)}"),
    pytest.mark.skipif(not (_has("openai") and _has("anthropic")), reason="no client libraries there: make proxy-venv"),
]

KEY = "sk-llama"
SECRET = "sk-picky-secret"
DIRECT, PICKY, WILD = "direct", "picky", "gateway/tiny"


@dataclass
class House:
    proxy: LiteLLMProxy
    llama: LlamaServer
    picky: PickyGateway
    told: dict[str, dict[str, Any]]
    """By model, then by call, what the libraries got."""

    def base(self, model: str) -> str:
        return self.llama.base if model == DIRECT else self.picky.base()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    path = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")
    with ExitStack() as stack:
        llama = stack.enter_context(LlamaServer(path, api_key=KEY, embeddings=True))
        manners = Manners(
            key=SECRET, styles={"*": ("x-api-key",)}, models=("tiny",), upstream=llama.base, upstream_key=KEY
        )
        picky = stack.enter_context(PickyGateway(manners))
        other = stack.enter_context(PickyGateway(Manners(key=f"{SECRET}-other", models=("test/other",))))
        deployments = {
            DIRECT: {"model": "gateway/tiny", "api_base": llama.base, "api_key": KEY},
            PICKY: {"model": "openai/tiny", "api_base": picky.url, "api_key": SECRET},  # without the /v1
            "gateway/*": {"model": "gateway/*"},
        }
        config = {
            "model_list": [{"model_name": name, "litellm_params": params} for name, params in deployments.items()],
            "litellm_settings": {"callbacks": [PLUGIN]},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }
        environment = {
            "LITELLM_GATEWAY_API_BASE_1": other.base(),
            "LITELLM_GATEWAY_API_KEY_1": f"{SECRET}-other",
            "LITELLM_GATEWAY_API_BASE_2": picky.base(),
            "LITELLM_GATEWAY_API_KEY_2": SECRET,
            "LITELLM_GATEWAY_CACHE": "false",
            "LITELLM_GATEWAY_REDIS_URL": "off",
        }
        proxy = stack.enter_context(LiteLLMProxy(json.dumps(config), env=environment))
        told = {model: _asked(proxy, model) for model in (DIRECT, PICKY, WILD)}
        assert "test/other" not in {seen.model for seen in picky.seen}
        assert other.requests(verdict="refused") == []
        yield House(proxy, llama, picky, told)


def _asked(proxy: LiteLLMProxy, model: str) -> dict[str, Any]:
    venv = proxy_venv()
    assert venv is not None
    command = [str(venv / "bin" / "python"), str(CLIENTS), proxy.origin, proxy.master_key, model, model]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={"NO_PROXY": "127.0.0.1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


MODELS = pytest.mark.parametrize("model", [DIRECT, PICKY, WILD])


@MODELS
@pytest.mark.parametrize("call", ["whole", "stream"])
def test_a_chat(house: House, model: str, call: str) -> None:
    told = house.told[model][call]
    assert told.pop("tokens") > 0
    assert told == {"text": CHAT_ANSWER, "base": house.base(model)}


@MODELS
def test_a_tool_is_called_and_its_result_is_taken(house: House, model: str) -> None:
    told = house.told[model]["tool"]
    assert told["name"] == "weather"
    assert isinstance(told["arguments"]["city"], str)
    assert told["text"] == CHAT_ANSWER
    assert house.told[model]["streamed_tool"] == {"name": "weather", "arguments": told["arguments"]}


@MODELS
def test_the_responses_api(house: House, model: str) -> None:
    assert house.told[model]["responses"]["text"] == CHAT_ANSWER
    assert house.told[model]["responses"]["tokens"] > 0
    streamed = house.told[model]["streamed_responses"]
    assert (streamed["text"], streamed["last"]) == (CHAT_ANSWER, "response.completed")


@MODELS
def test_embeddings(house: House, model: str) -> None:
    first, second = house.told[model]["embeddings"]["vectors"]
    assert first == second > 0


@MODELS
@pytest.mark.parametrize("call", ["messages", "streamed_messages"])
def test_the_messages_api(house: House, model: str, call: str) -> None:
    assert house.told[model][call] == {"text": CHAT_ANSWER, "stop": "end_turn", "base": house.base(model)}


@MODELS
def test_the_messages_api_with_a_tool(house: House, model: str) -> None:
    told = house.told[model]["messages_tool"]
    assert (told["name"], told["stop"]) == ("weather", "tool_use")
    assert isinstance(told["arguments"]["city"], str)


@MODELS
def test_a_model_that_no_gateway_lists(house: House, model: str) -> None:
    assert house.told[model]["unknown"] == {"class": "NotFoundError", "status": 404}
    assert house.told[model]["unknown_messages"] == {"class": "NotFoundError", "status": 404}


def test_the_models_that_are_listed_are_those_of_the_config(house: House) -> None:
    """litellm shows a wildcard as it is, newer ones when they are asked to; what the gateways list is not in it."""
    assert set(house.told[DIRECT]["models"]) - {"gateway/*"} == {DIRECT, PICKY}
    with house.proxy.client() as client:
        listed = client.get("/v1/models", params={"return_wildcard_routes": True}).json()["data"]
    assert {each["id"] for each in listed} == {DIRECT, "gateway/*", PICKY}


def test_the_picky_gateway_refused_no_more_than_the_first_chats_at_each_spelling_of_its_base(house: House) -> None:
    refused = [(seen.path, seen.style) for seen in house.picky.requests("chat") if seen.verdict != "served"]
    as_given = [("/chat/completions", "bearer"), ("/v1/chat/completions", "bearer")]
    assert refused == [*as_given, ("/v1/chat/completions", "bearer")]  # the last one of the base that ends in /v1
    assert {seen.style for seen in house.picky.requests("embeddings")} == {"x-api-key"}


def test_no_key_is_in_the_log(house: House) -> None:
    assert "/v1/responses" in house.proxy.log()
    assert SECRET not in house.proxy.log()
