"""Prices, limits and capabilities of a listing, as litellm tells them: what calls cost, and what models can do."""

from __future__ import annotations

import asyncio
import copy
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin import cost_map
from litellm_gateway_plugin.calls import chat_response
from litellm_gateway_plugin.catalogue import Listing, Model, Price
from litellm_gateway_plugin.cost_map import COSTS, LISTED, SOURCE
from litellm_gateway_plugin.doors import in_cost_map, other_provider
from litellm_gateway_plugin.engine import Result
from litellm_gateway_plugin.exchange import Report
from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.testing.presets import PRESETS
from tests.doors.conftest import HOOK_DOORS, PROVIDER_DOORS, Door

MODEL, VISION_MODEL = PRESETS["chutes"].models
CHUTES = PRESETS["chutes"]
MESSAGES = [{"role": "user", "content": "one two three"}]
SAID = {"messages": MESSAGES}
COST = 3 * 0.08e-6 + 4 * 0.55e-6
"""Of `MESSAGES`, three tokens, and the four of the echo, at the prices of the Chutes dialect."""

DEAR_COST = 3 * 100e-6 + 4 * 200e-6
DEAR = replace(CHUTES, facts={MODEL: {"price": {"input": {"usd": 100.0}, "output": {"usd": 200.0}}}})
"""The same models for more."""

EMBEDDING_DOORS = [door for door in (*PROVIDER_DOORS, *HOOK_DOORS) if door.awaited or door.prefix == "gateway/"]
"""litellm embeds by itself for `openai_like/` in a thread."""

WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(autouse=True)
def own_map(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What Routers write into litellm's map is gone after the test."""
    lgp.uninstall()
    monkeypatch.setattr(litellm, "model_cost", copy.deepcopy(litellm.model_cost))
    lgp.install()
    yield
    lgp.uninstall()
    litellm.utils._invalidate_model_cost_lowercase_map()


class Costs(CustomLogger):
    """A logger that keeps what the calls with its own messages cost: litellm may still log those of other tests."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = [{"role": "user", "content": f"one two {uuid.uuid4()}"}]
        self.seen: list[float] = []
        self.told = threading.Event()

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._keep(kwargs)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._keep(kwargs)

    def _keep(self, kwargs: Any) -> None:
        if kwargs["messages"] == self.messages:
            self.seen.append(kwargs["response_cost"])
            self.told.set()


@pytest.fixture
def logger() -> Iterator[Costs]:
    found = Costs()
    litellm.callbacks.append(found)
    yield found
    lists = (litellm.callbacks, litellm.success_callback, litellm._async_success_callback)
    for entries in (*lists, litellm.failure_callback, litellm._async_failure_callback):
        entries[:] = [entry for entry in entries if entry is not found]  # litellm adds no second one of a class


def listed(server: Any) -> dict[str, Any]:
    """Have a gateway's listing read, and say how it is called."""
    options = {"api_base": server.base(), "api_key": FAKE_KEY}
    lgp.list_models(options["api_base"], api_key=FAKE_KEY)
    return options


def deployment(model: str, server: Any, **info: Any) -> dict[str, Any]:
    params = {"model": model, "api_base": server.base(), "api_key": FAKE_KEY}
    return {"model_name": "group", "litellm_params": params, "model_info": info}


def built_cost(chunks: list[Any]) -> float:
    return float(litellm.completion_cost(litellm.stream_chunk_builder(chunks, messages=MESSAGES)))


# What calls cost -----------------------------------------------------------------------------------------------------


def test_a_chat_costs_what_the_listing_says(door: Door, gateway: GatewayFactory) -> None:
    options = listed(gateway(CHUTES))
    response = door.chat(MODEL, **SAID, **options)
    assert litellm.completion_cost(response) == pytest.approx(COST)
    assert response._hidden_params["response_cost"] == pytest.approx(COST)


def test_a_stream_costs_what_the_listing_says(door: Door, gateway: GatewayFactory) -> None:
    options = listed(gateway(CHUTES))
    assert built_cost(door.chat(MODEL, **SAID, **WITH_USAGE, **options)) == pytest.approx(COST)


@pytest.mark.parametrize("door", EMBEDDING_DOORS, ids=str)
def test_embeddings_cost_what_the_listing_says(door: Door, gateway: GatewayFactory) -> None:
    facts = {"embed/small": {"type": "embedding", "pricing": {"prompt": "0.00000002", "completion": "0"}}}
    options = listed(gateway(replace(PRESETS["seed-000"], listing="openrouter", models=("embed/small",), facts=facts)))
    response = door.embed("embed/small", input=["one two", "three"], **options)
    assert litellm.completion_cost(response) == pytest.approx(3 * 0.02e-6)
    assert response._hidden_params["response_cost"] == pytest.approx(3 * 0.02e-6)
    assert litellm.get_model_info("gateway/embed/small")["mode"] == "embedding"


def test_prices_per_token_are_the_same_dollars(gateway: GatewayFactory) -> None:
    options = listed(gateway(replace(CHUTES, listing="openrouter")))
    response = litellm.completion(model=f"gateway/{MODEL}", messages=MESSAGES, **options)
    assert response._hidden_params["response_cost"] == pytest.approx(COST)
    assert litellm.model_cost[MODEL][SOURCE] == "pricing.prompt and pricing.completion, in USD per token"


def test_cached_tokens_have_their_own_price(gateway: GatewayFactory) -> None:
    listed(gateway(CHUTES))
    counted = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}}
    response = litellm.ModelResponse(model=MODEL, usage=litellm.Usage(total_tokens=110, **counted))
    cost = litellm.completion_cost(response, model=MODEL, custom_llm_provider="gateway")
    assert cost == pytest.approx(60 * 0.08e-6 + 40 * 0.04e-6 + 10 * 0.55e-6)


@pytest.mark.parametrize("stream", [False, True])
def test_a_logger_hears_the_cost_of_a_thread(stream: bool, gateway: GatewayFactory, logger: Costs) -> None:
    options = listed(gateway(CHUTES))
    more = WITH_USAGE if stream else {}
    Door("gateway/", False).chat(MODEL, messages=logger.messages, **more, **options)
    assert logger.told.wait(10)
    assert logger.seen == [pytest.approx(COST)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_logger_hears_the_cost_of_a_coroutine(stream: bool, gateway: GatewayFactory, logger: Costs) -> None:
    options = listed(gateway(CHUTES))
    asyncio.run(collected(logger, {**options, **(WITH_USAGE if stream else {})}))
    assert logger.seen == [pytest.approx(COST)]


async def collected(logger: Costs, options: dict[str, Any]) -> None:
    """A call, read to its end, and heard of by the loggers."""
    response = await litellm.acompletion(model=f"gateway/{MODEL}", messages=logger.messages, **options)
    if options.get("stream"):
        async for _ in response:
            pass
    await asyncio.sleep(0)
    await GLOBAL_LOGGING_WORKER.flush()


@pytest.mark.parametrize("first", ["listing", "router"])
@pytest.mark.parametrize("name", [f"gateway/{MODEL}", MODEL, f"openai/{MODEL}", f"openai_like/{MODEL}"])
def test_a_router_knows_the_cost_whichever_was_first(name: str, first: str, gateway: GatewayFactory) -> None:
    server = gateway(CHUTES)
    if first == "listing":
        listed(server)
    routers = [litellm.Router(model_list=[deployment(name, server)], num_retries=0) for _ in range(2)]
    if first == "router":
        listed(server)
    for router in routers:
        response = asyncio.run(router.acompletion("group", MESSAGES))
        assert response._hidden_params["response_cost"] == pytest.approx(COST)
        response = router.completion("group", MESSAGES)
        assert response._hidden_params["response_cost"] == pytest.approx(COST)
        assert built_cost(list(router.completion("group", MESSAGES, **WITH_USAGE))) == pytest.approx(COST)


def test_a_model_without_a_price_costs_nothing(gateway: GatewayFactory) -> None:
    options = listed(gateway(Manners(listing="vllm")))
    response = litellm.completion(model="gateway/test/model-small", messages=MESSAGES, **options)
    assert response._hidden_params["response_cost"] == 0.0


# What models can do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "gateway/", "openai_like/", "openai/"])
def test_limits_and_capabilities(prefix: str, gateway: GatewayFactory) -> None:
    listed(gateway(CHUTES))
    assert litellm.get_max_tokens(prefix + MODEL) == 65536
    info = litellm.get_model_info(prefix + MODEL)
    assert (info["max_input_tokens"], info["max_output_tokens"], info["mode"]) == (262144, 65536, "chat")
    assert info["input_cost_per_token"] == pytest.approx(0.08e-6)
    assert litellm.supports_function_calling(prefix + MODEL)
    assert litellm.supports_response_schema(prefix + MODEL)
    assert not litellm.supports_vision(prefix + MODEL)
    assert litellm.supports_vision(prefix + VISION_MODEL)
    assert litellm.model_cost[MODEL]["supports_reasoning"] is False


def test_what_the_listing_does_not_say_is_left_out(gateway: GatewayFactory) -> None:
    server = gateway(Manners(listing="vllm"))
    listed(server)
    entry = litellm.model_cost["test/model-small"]
    assert entry == {"litellm_provider": None, LISTED: server.url, "max_input_tokens": 32768}


def test_a_listing_without_facts_adds_nothing(gateway: GatewayFactory) -> None:
    before = set(litellm.model_cost)
    listed(gateway(Manners()))
    assert set(litellm.model_cost) == before


@pytest.mark.parametrize("first", ["listing", "router"])
@pytest.mark.parametrize("prefix", ["", "gateway/", "openai/"])
def test_the_routers_checks_before_a_call_know_the_window(prefix: str, first: str, gateway: GatewayFactory) -> None:
    small = gateway(replace(CHUTES, models=("Qwen/small",), facts={"Qwen/small": {"max_model_len": 5}}))
    large = gateway(replace(CHUTES, models=("Qwen/large",)))
    if first == "listing":
        listed(small), listed(large)
    deployments = [deployment(f"{prefix}Qwen/small", small), deployment(f"{prefix}Qwen/large", large)]
    router = litellm.Router(model_list=deployments, enable_pre_call_checks=True, num_retries=0)
    if first == "router":
        listed(small), listed(large)
    for _ in range(6):
        router.completion("group", [{"role": "user", "content": "far more words than five tokens can hold"}])
    assert (len(small.requests("chat")), len(large.requests("chat"))) == (0, 6)


# What is litellm's own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt-4o", "GPT-4o"])
def test_a_model_that_litellm_prices_is_left_alone(name: str, gateway: GatewayFactory) -> None:
    before = copy.deepcopy(litellm.model_cost["gpt-4o"])
    options = listed(gateway(replace(CHUTES, models=(name,))))
    assert litellm.model_cost["gpt-4o"] == before
    assert litellm.get_model_info("gpt-4o")["litellm_provider"] == "openai"
    assert litellm.get_model_info(f"gateway/{name}")["input_cost_per_token"] == pytest.approx(0.08e-6)
    for door in PROVIDER_DOORS[:2]:
        response = door.chat(name, **SAID, **options)
        assert response._hidden_params["response_cost"] == pytest.approx(COST)
        assert litellm.completion_cost(response) == pytest.approx(COST)


def test_a_price_of_the_programs_own_is_left_alone(gateway: GatewayFactory) -> None:
    own = {"input_cost_per_token": 1.0, "output_cost_per_token": 1.0, "litellm_provider": "gateway"}
    litellm.model_cost["gateway/gpt-4o"] = dict(own)
    litellm.model_cost[MODEL] = dict(own)
    listed(gateway(replace(CHUTES, models=("gpt-4o", MODEL))))
    assert litellm.model_cost["gateway/gpt-4o"] == own
    assert litellm.model_cost[MODEL] == own


def test_our_entries_are_no_reason_to_leave_a_call_to_litellm(gateway: GatewayFactory) -> None:
    server = gateway(replace(CHUTES, models=("house-model",)))
    lgp.install(api_base=server.base(), api_key=FAKE_KEY)
    listed(server)
    litellm.Router(model_list=[deployment("gateway/house-model", server)])
    assert "house-model" in litellm.model_cost
    assert not in_cost_map("house-model")
    assert not other_provider("house-model")
    response = asyncio.run(litellm.acompletion(model="house-model", messages=MESSAGES))
    assert response.choices[0].message.content == "echo: one two three"
    assert response._hidden_params["response_cost"] == pytest.approx(COST)


def test_uninstalling_leaves_the_map_as_it_was(gateway: GatewayFactory) -> None:
    litellm.model_cost[f"gateway/{MODEL}"] = {"id": "a Router's"}
    before = copy.deepcopy(litellm.model_cost)
    options = listed(gateway(replace(CHUTES, models=(MODEL, "gpt-4o"))))
    litellm.completion(model=f"gateway/{MODEL}", messages=MESSAGES, **options)
    assert litellm.model_cost != before
    lgp.uninstall()
    assert litellm.model_cost == before
    with pytest.raises(Exception, match="mapped"):
        litellm.get_model_info(MODEL)


def test_an_entry_that_somebody_has_replaced_stays(gateway: GatewayFactory) -> None:
    listed(gateway(CHUTES))
    litellm.model_cost[MODEL] = {"litellm_provider": "gateway", "input_cost_per_token": 1.0}
    lgp.uninstall()
    assert litellm.model_cost[MODEL]["input_cost_per_token"] == 1.0


def test_nothing_is_learnt_after_uninstalling() -> None:
    before = set(litellm.model_cost)
    learnt = lgp.install().listings.learnt
    lgp.uninstall()
    learnt(lgp.install().listing_ask("http://127.0.0.1:9/v1"), Listing((Model("vendor/late", context=1),)))
    assert set(litellm.model_cost) == before


@pytest.mark.parametrize("with_ours", [False, True])
def test_a_map_that_was_replaced_gets_everything_again(with_ours: bool, gateway: GatewayFactory) -> None:
    stock = copy.deepcopy(litellm.model_cost)
    options = listed(gateway(CHUTES))
    if with_ours:
        stock = copy.deepcopy(litellm.model_cost)
    litellm.model_cost = stock
    assert (MODEL in stock) is with_ours
    response = litellm.completion(model=f"gateway/{MODEL}", messages=MESSAGES, **options)
    assert response._hidden_params["response_cost"] == pytest.approx(COST)
    assert MODEL in stock
    lgp.uninstall()
    assert MODEL not in stock


# Two gateways --------------------------------------------------------------------------------------------------------


def test_each_of_two_gateways_has_its_own_price(provider_door: Door, gateway: GatewayFactory) -> None:
    cheap, dear = listed(gateway(CHUTES)), listed(gateway(DEAR))
    for own, cost in ((cheap, COST), (dear, DEAR_COST), (cheap, COST)):
        response = provider_door.chat(MODEL, **SAID, **own)
        assert response._hidden_params["response_cost"] == pytest.approx(cost)
    assert litellm.model_cost[MODEL]["input_cost_per_token"] == pytest.approx(0.08e-6)


@pytest.mark.parametrize("door", EMBEDDING_DOORS, ids=str)
def test_each_of_two_gateways_has_its_own_price_for_embeddings(door: Door, gateway: GatewayFactory) -> None:
    cheap, dear = listed(gateway(CHUTES)), listed(gateway(DEAR))
    for own, price in ((cheap, 0.08e-6), (dear, 100e-6), (cheap, 0.08e-6)):
        response = door.embed(MODEL, input=["one two", "three"], **own)
        assert response._hidden_params["response_cost"] == pytest.approx(3 * price)


def test_the_loggers_hear_each_gateways_price(gateway: GatewayFactory, logger: Costs) -> None:
    for server in (gateway(CHUTES), gateway(DEAR)):
        asyncio.run(collected(logger, listed(server)))
    assert logger.seen == [pytest.approx(COST), pytest.approx(DEAR_COST)]


@pytest.mark.skipif(version("litellm") == "1.106.2", reason="this one counts a stream with the price that it knows")
def test_the_loggers_hear_the_price_of_each_gateways_stream(gateway: GatewayFactory, logger: Costs) -> None:
    for server in (gateway(CHUTES), gateway(DEAR)):
        asyncio.run(collected(logger, {**listed(server), **WITH_USAGE}))
    assert logger.seen == [pytest.approx(COST), pytest.approx(DEAR_COST)]


def test_only_the_first_gateways_new_price_changes_the_entry(gateway: GatewayFactory) -> None:
    first, second = gateway(CHUTES), gateway(DEAR)
    options = [listed(first), listed(second)]
    second.change(facts={})
    lgp.list_models(second.base(), api_key=FAKE_KEY, refresh=True)
    assert litellm.model_cost[MODEL]["input_cost_per_token"] == pytest.approx(0.08e-6)
    first.change(facts=DEAR.facts)
    lgp.list_models(first.base(), api_key=FAKE_KEY, refresh=True)
    assert litellm.model_cost[MODEL]["input_cost_per_token"] == pytest.approx(100e-6)
    for own, cost in zip(options, (DEAR_COST, COST), strict=True):
        response = litellm.completion(model=f"gateway/{MODEL}", messages=MESSAGES, **own)
        assert response._hidden_params["response_cost"] == pytest.approx(cost)


def test_the_callers_own_price_goes_before_every_listing(gateway: GatewayFactory) -> None:
    listed(gateway(CHUTES))
    options = listed(gateway(DEAR))
    own = {"input_cost_per_token": 1.0, "output_cost_per_token": 2.0}
    response = litellm.completion(model=f"gateway/{MODEL}", messages=MESSAGES, **own, **options)
    assert response._hidden_params["response_cost"] == pytest.approx(3 * 1.0 + 4 * 2.0)


def test_a_deployments_own_price_goes_before_every_listing() -> None:
    for base, price in (("http://a", 1e-6), ("http://b", 2e-6)):
        COSTS.learn(base, Listing((Model("vendor/x", price=Price(price, price)),)))
    body = {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    result = Result(body, {}, Report(api_base="http://b/v1", served_model="vendor/x"))

    class Logging:
        def __init__(self, **params: Any) -> None:
            self.litellm_params = params

    def cost(logging_obj: Any) -> Any:
        filled = chat_response(copy.deepcopy(result), litellm.ModelResponse(), logging_obj)
        return filled._hidden_params.get("response_cost")

    assert cost(Logging()) == pytest.approx(4e-6)
    assert cost(Logging(metadata={"model_info": {"input_cost_per_token": 7.0}})) is None


# What is listed no more -----------------------------------------------------------------------------------------------

A, B = "http://a", "http://b"


def told(**prices: float) -> Listing:
    """A listing of these models, each at this price."""
    return Listing(tuple(Model(f"vendor/{name}", price=Price(price, price)) for name, price in prices.items()))


def price_of(name: str) -> Any:
    return litellm.model_cost.get(f"vendor/{name}", {}).get("input_cost_per_token")


def test_what_a_gateway_lists_no_more_leaves_the_map(gateway: GatewayFactory) -> None:
    litellm.model_cost[f"openai/{MODEL}"] = {"id": "a Router's"}
    before = copy.deepcopy(litellm.model_cost)
    server = gateway(replace(CHUTES, models=(MODEL, "gpt-4o")))
    listed(server)
    assert {MODEL, "gateway/gpt-4o"} <= set(litellm.model_cost)
    server.change(models=("vendor/new",))
    lgp.list_models(server.base(), api_key=FAKE_KEY, refresh=True)
    assert litellm.model_cost.pop("vendor/new")
    assert litellm.model_cost == before
    with pytest.raises(Exception, match="mapped"):
        litellm.get_model_info(MODEL)


def test_what_another_gateway_lists_has_the_entry_of_that_one() -> None:
    COSTS.learn(A, told(x=1e-6, y=1e-6))
    COSTS.learn(B, told(x=2e-6))
    COSTS.learn(A, told(z=3e-6))
    assert (price_of("x"), price_of("y"), price_of("z")) == (2e-6, None, 3e-6)
    assert litellm.model_cost["vendor/x"][LISTED] == B
    COSTS.learn(B, told(x=4e-6))
    assert price_of("x") == 4e-6


def test_what_another_gateway_says_nothing_of_leaves_the_map() -> None:
    COSTS.learn(A, told(x=1e-6))
    COSTS.learn(B, Listing((Model("vendor/x"),)))
    COSTS.learn(A, told(y=1e-6))
    assert "vendor/x" not in litellm.model_cost


def test_the_entry_of_another_gateway_stays() -> None:
    COSTS.learn(A, told(x=1e-6))
    COSTS.learn(B, told(x=2e-6))
    COSTS.learn(B, told(y=2e-6))
    assert price_of("x") == 1e-6


def test_what_is_listed_for_another_account_stays() -> None:
    COSTS.learn(A, told(x=1e-6), "one")
    COSTS.learn(A, told(y=1e-6), "other")
    assert (price_of("x"), price_of("y")) == (1e-6, 1e-6)
    COSTS.learn(B, told(x=2e-6))
    COSTS.learn(A, told(x=1e-6, y=3e-6), "other")
    COSTS.learn(A, told(z=1e-6), "one")
    assert (price_of("x"), price_of("y"), price_of("z")) == (1e-6, 3e-6, 1e-6)
    COSTS.learn(A, told(y=1e-6), "other")
    assert price_of("x") == 2e-6


def test_an_entry_that_somebody_has_replaced_stays_when_it_is_listed_no_more() -> None:
    COSTS.learn(A, told(x=1e-6))
    litellm.model_cost["vendor/x"] = {"litellm_provider": "gateway", "input_cost_per_token": 1.0}
    COSTS.learn(A, told(y=1e-6))
    assert price_of("x") == 1.0


def test_an_id_that_looks_like_the_spelling_of_another_one_stays() -> None:
    both = [Model(name, context=8) for name in ("openai/x", "x")]
    COSTS.learn(A, Listing(tuple(both)))
    COSTS.learn(A, Listing(tuple(both)))  # now the first one's entry is there when the second is written
    COSTS.learn(A, Listing((both[0],)))
    assert "x" not in litellm.model_cost
    assert litellm.model_cost["openai/x"]["max_input_tokens"] == 8
    COSTS.learn(A, Listing(tuple(both)))
    COSTS.learn(A, told(y=1e-6))
    assert not {"x", "openai/x"} & set(litellm.model_cost)


def test_a_full_map_has_room_again_for_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_map, "MOST_ENTRIES", 2)
    COSTS.learn(A, told(x=1e-6, y=1e-6, z=1e-6))
    assert (price_of("x"), price_of("y"), price_of("z")) == (1e-6, 1e-6, None)
    COSTS.learn(A, told(y=1e-6, z=1e-6))
    assert (price_of("x"), price_of("y"), price_of("z")) == (None, 1e-6, 1e-6)


def test_the_same_installation_again_keeps_what_is_known(gateway: GatewayFactory) -> None:
    lgp.install(cache=False)
    server = gateway(replace(PRESETS["chutes"], models=("Qwen/X",)))
    before = lgp.install(cache=False)
    lgp.list_models(server.base(), FAKE_KEY)
    assert lgp.install(cache=False) is before
    assert litellm.get_max_tokens("Qwen/X") == 65536
    assert lgp.install(cache=False, cold_grace_s=0.5) is not before
