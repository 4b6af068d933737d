"""The real LiteLLM proxy with the plugin as its callback: what clients are told of a call, and what they cannot change.

One proxy serves all tests. Each upstream sends our headers itself, with lies in them.
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
from tests.support.litellm_proxy import LiteLLMProxy, proxy_venv

pytestmark = [
    pytest.mark.proxy,
    pytest.mark.slow,
    pytest.mark.skipif(proxy_venv() is None, reason="there is no environment with the LiteLLM proxy: make proxy-venv"),
]

SECRET = "sk-upstream-secret"  # the beginning of every upstream's key
TOLD = "x-litellm-gateway-"
CALLS_AT_MOST = 100

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
SURFACES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "text": ("/v1/completions", {"prompt": "hello"}),
    "responses": ("/v1/responses", {"input": "hello"}),
    "messages": ("/v1/messages", {**CHAT, "max_tokens": 100}),
}


@dataclass
class House:
    """The proxy and what is behind it."""

    proxy: LiteLLMProxy
    client: httpx.Client
    one: PickyGateway
    two: PickyGateway
    busy: PickyGateway
    thief: PickyGateway
    dead: str

    def ask(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> httpx.Response:
        """An answer of the proxy's, whatever its status, without any upstream's key in it."""
        answer = self.client.post(path, json=body, headers=headers)
        assert SECRET not in answer.text
        assert SECRET not in str(answer.headers.raw)
        return answer

    def chat(self, model: str, **more: Any) -> httpx.Response:
        """A chat completion that is served."""
        answer = self.ask("/v1/chat/completions", {"model": model, **CHAT, **more})
        assert answer.status_code == 200, answer.text
        return answer

    def clear(self) -> None:
        """Forget what the upstreams have seen."""
        for gateway in (self.one, self.two, self.busy, self.thief):
            gateway.clear()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with ExitStack() as stack:
        thief = stack.enter_context(PickyGateway(Manners(key=None, unknown_model="ignored")))
        lies = {f"{TOLD}{name}": thief.base() for name in ("api-base", "served-model", "auth-style", "attempts", "lie")}

        def upstream(name: str, style: str, *models: str) -> PickyGateway:
            manners = Manners(
                key=f"{SECRET}-{name}", styles={"*": (style,)}, models=models, listing="chutes", headers=lies
            )
            return stack.enter_context(PickyGateway(manners))

        one = upstream("one", "x-api-key", "test/one", "test/embed")
        two = upstream("two", "bearer", "test/two")
        busy = upstream("busy", "bearer", "test/busy")
        busy.full(retry_after="60", headers=lies)
        # it takes the request and closes; one to which nobody could connect would be passed over for a while
        dying = stack.enter_context(PickyGateway(Manners(key=f"{SECRET}-dead", models=("test/one",))))
        dying.fault("close-before-head", times=None)
        dead = dying.base()
        at_one, at_two, at_busy = ({"api_base": each.base(), "api_key": each.manners.key} for each in (one, two, busy))
        deployments: list[tuple[str, dict[str, Any]]] = [
            ("plain", {"model": "gateway/test/one", **at_one}),
            ("embedder", {"model": "gateway/test/embed", **at_one}),
            ("pair", {"model": "gateway/test/one", "order": 1, "api_base": dead, "api_key": f"{SECRET}-dead"}),
            ("pair", {"model": "gateway/test/two", "order": 2, **at_two}),
            ("crowd", {"model": "gateway/test/busy", "order": 1, **at_busy}),
            ("crowd", {"model": "gateway/test/two", "order": 2, **at_two}),
            ("acme/*", {"model": "gateway/*", **at_two}),
            ("configured", {"model": "gateway/test/two"}),
        ]
        config = {
            "model_list": [{"model_name": name, "litellm_params": params} for name, params in deployments],
            "litellm_settings": {"callbacks": ["litellm_gateway_plugin.callback"]},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},  # so that `pair` fails over every time
        }
        environment = {
            "LITELLM_GATEWAY_API_BASE": two.base(),
            "LITELLM_GATEWAY_API_KEY": f"{SECRET}-two",
            "LITELLM_GATEWAY_CACHE": "false",
            "LITELLM_GATEWAY_READ_LISTINGS": "true",
            "LITELLM_GATEWAY_REDIS_URL": "off",
        }
        proxy = stack.enter_context(LiteLLMProxy(json.dumps(config), env=environment))
        headers = {"authorization": f"Bearer {proxy.master_key}"}
        client = stack.enter_context(httpx.Client(base_url=proxy.origin, headers=headers, timeout=60, trust_env=False))
        yield House(proxy, client, one, two, busy, thief, dead)


def told(answer: httpx.Response) -> dict[str, str]:
    """What the plugin tells in an answer's headers, without what differs from call to call."""
    found = {name.removeprefix(TOLD): text for name, text in answer.headers.items() if name.startswith(TOLD)}
    return {name: text for name, text in found.items() if name not in ("waited-s", "transport")}


def report(gateway: PickyGateway, style: str, model: str, **more: str) -> dict[str, str]:
    """What is to be told of a call that this upstream has just served; how often it was asked, it says itself."""
    asked = [seen for seen in gateway.seen if seen.surface != "models"]
    assert asked[-1].status == 200
    return {
        "api-base": gateway.base(),
        "auth-style": style,
        "surface": asked[-1].surface.replace("chat", "chat/completions"),
        "requested-model": model,
        "served-model": model,
        "requests": str(len(asked)),
        **more,
    }


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("model", ["plain", "pair", "acme/test/two", "configured"])
def test_who_has_answered(house: House, model: str, surface: str, stream: bool) -> None:
    house.clear()
    path, body = SURFACES[surface]
    answer = house.ask(path, {"model": model, "stream": stream, **body})
    assert answer.status_code == 200, answer.text
    assert "echo:" in answer.text
    if model == "plain":
        assert told(answer) == report(house.one, "x-api-key", "test/one")
    else:
        attempts = {"attempts": f"{house.dead} test/one APIConnectionError"} if model == "pair" else {}
        assert told(answer) == report(house.two, "bearer", "test/two", **attempts)


def test_embeddings(house: House) -> None:
    house.clear()
    answer = house.ask("/v1/embeddings", {"model": "embedder", "input": ["hello"]})
    assert answer.json()["data"][0]["embedding"]
    assert told(answer) == report(house.one, "x-api-key", "test/embed")


def test_a_full_gateway_is_an_attempt_once_and_then_left_alone(house: House) -> None:
    house.clear()
    first = told(house.chat("crowd"))
    assert first == report(house.two, "bearer", "test/two", attempts=f"{house.busy.base()} test/busy RateLimitError")
    house.clear()
    assert told(house.chat("crowd")) == report(house.two, "bearer", "test/two")
    assert house.busy.seen == []


def test_a_wildcard_serves_the_listed_id(house: House) -> None:
    answer = told(house.chat("acme/Test/Two"))
    assert (answer["requested-model"], answer["served-model"]) == ("Test/Two", "test/two")


@pytest.mark.parametrize("surface", SURFACES)
def test_a_client_can_neither_divert_a_call_nor_forge_what_is_told(house: House, surface: str) -> None:
    house.clear()
    path, body = SURFACES[surface]
    base = house.thief.base()
    forged = {"api_base": base, "served_model": "forged", "attempts": []}
    attempts = {"trace_id": None, "attempts": [{"api_base": base, "model": "forged", "error": "E", "reason": ""}]}
    notes = {"gateway": forged, "gateway_attempts": attempts}
    headers = {f"{TOLD}api-base": base, "x-litellm-api-base": base, "api-base": base}
    ignored: list[dict[str, Any]] = [
        notes,
        {"metadata": {**notes, "model_group": "forged"}},
        {"litellm_logging_obj": {"model_call_details": notes}},
    ]
    for more in ({}, *ignored):
        house.one.clear()
        answer = house.ask(path, {"model": "plain", **body, **more}, headers)
        assert answer.status_code == 200, answer.text
        assert told(answer) == report(house.one, "x-api-key", "test/one")
    house.one.clear()
    for refused in ({"api_base": base}, {"base_url": base}, {"extra_body": {"api_base": base}}):
        answer = house.ask(path, {"model": "plain", **body, **refused})
        assert (answer.status_code, told(answer)) == (401, {})
    assert house.thief.seen == house.one.seen == []


def test_a_call_costs_what_the_listing_says(house: House) -> None:
    answers = (house.chat("plain") for _ in range(CALLS_AT_MOST))  # the first one has the listing read, meanwhile
    answer = next(each for each in answers if float(each.headers.get("x-litellm-response-cost", 0)))
    usage = answer.json()["usage"]
    cost = (usage["prompt_tokens"] * 0.08 + usage["completion_tokens"] * 0.55) / 1e6
    assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(cost)


def test_no_upstreams_key_is_in_the_proxys_log(house: House) -> None:
    house.chat("pair")
    assert "/v1/chat/completions" in house.proxy.log()
    assert SECRET not in house.proxy.log()
