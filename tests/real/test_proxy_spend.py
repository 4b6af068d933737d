"""The LiteLLM proxy with `LITELLM_GATEWAY_READ_LISTINGS`: what a call has cost, at the prices that the gateway lists.

A logger of the operator's stands beside the plugin and writes down what litellm gives to every logger.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
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
LONG_S = 30.0
CALLS_AT_MOST = 200
INPUT, OUTPUT = 0.08e-6, 0.55e-6
"""Dollars for a token, in the listing."""

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello, how are you"}]}
SURFACES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "responses": ("/v1/responses", {"input": "hello, how are you"}),
    "messages": ("/v1/messages", {**CHAT, "max_tokens": 100}),
}
LOGGER = """
import json, os
from litellm.integrations.custom_logger import CustomLogger

class Ledger(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        payload = kwargs.get("standard_logging_object") or {}
        told = payload.get("metadata", {}).get("spend_logs_metadata", {}).get("gateway") or {}
        names = ("response_cost", "prompt_tokens", "completion_tokens", "id", "stream")
        with open(os.environ["LEDGER"], "a") as file:
            entry = {name: payload.get(name) for name in names} | {"base": told.get("api_base")}
            print(json.dumps(entry), file=file)

ledger = Ledger()
"""


class House:
    def __init__(self, client: httpx.Client, gateway: PickyGateway, ledger: Path) -> None:
        self.client, self.gateway, self._ledger = client, gateway, ledger

    def ask(self, surface: str, **more: Any) -> httpx.Response:
        path, body = SURFACES[surface]
        answer = self.client.post(path, json={"model": "plain", **body, **more})
        assert answer.status_code == 200, answer.text
        return answer

    def entries(self) -> list[dict[str, Any]]:
        """What the logger was given so far."""
        return [json.loads(line) for line in self._ledger.read_text().splitlines()] if self._ledger.exists() else []

    def next_entry(self, before: int) -> dict[str, Any]:
        """What the logger is given of a call; litellm tells it when the answer is already out."""
        deadline = time.monotonic() + LONG_S
        while len(self.entries()) <= before:
            assert time.monotonic() < deadline, f"nothing was logged within {LONG_S:g} s"
            time.sleep(0.01)
        return self.entries()[before]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    ledger = tmp_path_factory.mktemp("ledger") / "lines"
    with ExitStack() as stack:
        manners = Manners(key=SECRET, styles={"*": ("x-api-key",)}, models=("test/one",), listing="chutes")
        gateway = stack.enter_context(PickyGateway(manners))
        params = {"model": "gateway/test/one", "api_base": gateway.base(), "api_key": SECRET}
        config = {
            "model_list": [{"model_name": "plain", "litellm_params": params}],
            "litellm_settings": {"callbacks": [PLUGIN, "ledger.ledger"]},
        }
        environment = {
            "LEDGER": str(ledger),
            "LITELLM_GATEWAY_CACHE": "false",
            "LITELLM_GATEWAY_READ_LISTINGS": "true",
            "LITELLM_GATEWAY_REDIS_URL": "off",
        }
        proxy = stack.enter_context(LiteLLMProxy(json.dumps(config), env=environment, files={"ledger.py": LOGGER}))
        made = House(stack.enter_context(proxy.client()), gateway, ledger)
        calls = (made.ask("chat") for _ in range(CALLS_AT_MOST))  # the first one has the listing read, meanwhile
        number = next(index for index, each in enumerate(calls) if _cost_told(each))
        made.next_entry(number)
        yield made


def _cost_told(answer: httpx.Response) -> float:
    return float(answer.headers.get("x-litellm-response-cost", 0))


def _at_listed_prices(entry: dict[str, Any]) -> float:
    return float(entry["prompt_tokens"] * INPUT + entry["completion_tokens"] * OUTPUT)


def test_a_whole_answer_tells_its_cost(house: House) -> None:
    before = len(house.entries())
    answer = house.ask("chat")
    usage = answer.json()["usage"]
    cost = usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT
    assert _cost_told(answer) == pytest.approx(cost)
    assert house.next_entry(before)["response_cost"] == pytest.approx(cost)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
def test_loggers_are_given_the_cost_and_who_has_answered(house: House, surface: str, stream: bool) -> None:
    before = len(house.entries())
    house.ask(surface, stream=stream)
    entry = house.next_entry(before)
    assert entry["completion_tokens"] > 0
    assert entry["response_cost"] == pytest.approx(_at_listed_prices(entry))
    assert entry["base"] == house.gateway.base()
