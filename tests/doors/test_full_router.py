"""The stock Router before full gateways: where its attempts go, and how many reach whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.answers import Answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory

MESSAGES = [{"role": "user", "content": "hello"}]
MODEL = "Qwen/Qwen3-32B"
PLAIN = Manners(styles={"*": ("bearer",)}, models=(MODEL, "other/model"))
BUSY_SECONDS = 0.4

pytestmark = pytest.mark.matrix


def base_of(server: PickyGateway) -> str:
    return f"{server.url}/v1"


def work(server: PickyGateway) -> list[Any]:
    """The requests that were looked at, served or not."""
    return [seen for seen in server.seen if seen.surface != "models"]


def deployment(server: PickyGateway, number: int = 0, **more: Any) -> dict[str, Any]:
    params = {"model": f"gateway/{MODEL}", "api_base": base_of(server), "api_key": FAKE_KEY, **more}
    return {"model_name": "group", "litellm_params": params, "model_info": {"id": f"{server.url}-{number}"}}


def router(*deployments: dict[str, Any], **more: Any) -> litellm.Router:
    return litellm.Router(model_list=list(deployments), **{"num_retries": 2, "timeout": 20, **more})


class Caller:
    """One way of calling the Router."""

    def __init__(self, *, awaited: bool, stream: bool) -> None:
        self.awaited = awaited
        self.stream = stream

    def __str__(self) -> str:
        return f"{'async' if self.awaited else 'sync'}{' stream' if self.stream else ''}"

    def say(self, asked: litellm.Router, **options: Any) -> str:
        if self.awaited:
            return asyncio.run(self.asay(asked, **options))
        response = asked.completion("group", MESSAGES, stream=self.stream, **options)
        if not self.stream:
            return str(response.choices[0].message.content)
        return "".join(chunk.choices[0].delta.content or "" for chunk in response)

    async def asay(self, asked: litellm.Router, **options: Any) -> str:
        response = await asked.acompletion("group", MESSAGES, stream=self.stream, **options)
        if not self.stream:
            return str(response.choices[0].message.content)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in response])


CALLERS = [Caller(awaited=awaited, stream=stream) for awaited in (False, True) for stream in (False, True)]


@pytest.fixture(params=CALLERS, ids=str)
def caller(request: pytest.FixtureRequest) -> Caller:
    found: Caller = request.param
    return found


def times(server: PickyGateway) -> list[float]:
    """When its chat requests came."""
    return [seen.at for seen in server.requests("chat")]


def test_another_origin_is_taken_at_once_and_the_full_one_is_left_alone(
    caller: Caller, gateway: GatewayFactory
) -> None:
    full, free = gateway(PLAIN), gateway(PLAIN)
    full.full(retry_after="30")
    asked = router(deployment(full, order=1), deployment(free, order=2))
    assert [caller.say(asked) for _ in range(4)] == ["echo: hello"] * 4
    assert len(full.requests("chat")) == 1
    assert len(free.served) == 4


def test_a_router_that_knows_nothing_yet_keeps_off_the_full_one_as_well(
    caller: Caller, gateway: GatewayFactory
) -> None:
    full, free = gateway(PLAIN), gateway(PLAIN)
    full.full(retry_after="30")
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=base_of(full), api_key=FAKE_KEY)
    for _ in range(4):
        assert caller.say(router(deployment(full), deployment(free))) == "echo: hello"
    assert len(full.requests("chat")) == 1
    assert len(free.served) == 4


def test_nobody_hammers_one_upstream_of_several_deployments_and_the_call_succeeds_in_time(
    caller: Caller, gateway: GatewayFactory
) -> None:
    server = gateway(PLAIN)
    server.full(times=1, retry_after=BUSY_SECONDS)
    asked = router(deployment(server, 1), deployment(server, 2), deployment(server, 3))
    assert caller.say(asked) == "echo: hello"
    first, second = times(server)
    assert second - first >= BUSY_SECONDS


def test_all_origins_are_full_and_the_call_waits_for_the_first_that_opens(
    caller: Caller, gateway: GatewayFactory
) -> None:
    servers = [gateway(PLAIN), gateway(PLAIN)]
    for server in servers:
        server.full(times=1, retry_after=BUSY_SECONDS)
    asked = router(*map(deployment, servers), num_retries=3)
    assert caller.say(asked) == "echo: hello"
    assert sum(len(server.served) for server in servers) == 1
    for server in servers:
        assert all(later - sooner >= BUSY_SECONDS for sooner, later in pairwise(times(server)))


def test_many_calls_at_once_over_one_upstream_of_two_deployments(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    server.full(times=3, retry_after=BUSY_SECONDS)
    asked = router(deployment(server, 1), deployment(server, 2), num_retries=3)
    caller = Caller(awaited=True, stream=False)

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*[caller.asay(asked) for _ in range(30)])

    assert asyncio.run(all_at_once()) == ["echo: hello"] * 30
    assert len(server.requests("chat")) == 33


def test_the_routers_cooldown_is_our_hint(gateway: GatewayFactory) -> None:
    full, free = gateway(PLAIN), gateway(PLAIN)
    full.full(retry_after=7.2)
    asked = router(deployment(full, order=1), deployment(free, order=2))
    assert Caller(awaited=True, stream=False).say(asked) == "echo: hello"
    cooling = asked.cooldown_cache.get_active_cooldowns(
        model_ids=[f"{full.url}-0", f"{free.url}-0"], parent_otel_span=None
    )
    assert [(name, value["cooldown_time"]) for name, value in cooling] == [(f"{full.url}-0", 8.0)]


def test_a_call_whose_time_is_too_short_is_refused_at_once_with_the_time_left(
    caller: Caller, gateway: GatewayFactory
) -> None:
    server = gateway(PLAIN)
    server.full(retry_after="30")
    asked = router(deployment(server, 1), deployment(server, 2), num_retries=1)
    with pytest.raises(litellm.RateLimitError) as caught:
        caller.say(asked, timeout=5)
    assert 25 < caught.value.retry_after <= 30  # type: ignore[attr-defined]  # the plugin's own addition
    assert len(server.requests("chat")) == 1


def test_embeddings_fail_over_too(gateway: GatewayFactory) -> None:
    full, free = gateway(PLAIN), gateway(PLAIN)
    full.full(retry_after="30")
    asked = router(deployment(full, order=1), deployment(free, order=2))
    for _ in range(2):
        assert len(asked.embedding("group", input=["one"]).data) == 1
        assert len(asyncio.run(asked.aembedding("group", input=["one"])).data) == 1
    assert (len(full.requests("embeddings")), len(free.served)) == (1, 4)


@pytest.mark.parametrize("strategy", ["latency-based-routing", "least-busy", "simple-shuffle"])
def test_any_strategy_of_the_router_keeps_off_full_gateways(strategy: str, gateway: GatewayFactory) -> None:
    full, free, other = gateway(PLAIN), gateway(PLAIN), gateway(PLAIN)
    full.full(retry_after="30")
    asked = router(*map(deployment, (full, free, other)), routing_strategy=strategy)
    caller = Caller(awaited=True, stream=False)
    assert [caller.say(asked) for _ in range(10)] == ["echo: hello"] * 10
    assert len(full.requests("chat")) <= 1
    assert len(free.served) + len(other.served) == 10


def test_weights_still_count_while_there_is_room(gateway: GatewayFactory) -> None:
    heavy, light = gateway(PLAIN), gateway(PLAIN)
    asked = router(deployment(heavy, weight=1000), deployment(light, weight=1))
    caller = Caller(awaited=True, stream=False)
    for _ in range(10):
        caller.say(asked)
    assert len(heavy.served) >= 9


def test_deployments_of_litellms_own_providers_are_always_open(gateway: GatewayFactory) -> None:
    full = gateway(PLAIN)
    full.full(retry_after="30")
    mocked = {
        "model_name": "group",
        "litellm_params": {"model": "openai/gpt-4o", "api_key": "none", "mock_response": "mocked", "order": 2},
        "model_info": {"id": "mocked"},
    }
    asked = router(deployment(full, order=1), mocked)
    caller = Caller(awaited=True, stream=False)
    assert [caller.say(asked) for _ in range(3)] == ["mocked"] * 3
    assert len(full.requests("chat")) == 1


def test_groups_of_different_size_share_the_load_by_their_room(gateway: GatewayFactory) -> None:
    small, large = (
        gateway(Manners(room=1, models=(MODEL,), key=None)),
        gateway(Manners(room=8, models=(MODEL,), key=None)),
    )
    asked = router(deployment(small), deployment(large), num_retries=5)
    caller = Caller(awaited=True, stream=False)

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*[caller.asay(asked) for _ in range(60)])

    assert asyncio.run(all_at_once()) == ["echo: hello"] * 60
    assert len(small.served) + len(large.served) == 60


def test_max_retries_of_the_environment_is_what_a_router_does_that_was_told_nothing(
    isolated_environment: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    isolated_environment.setenv("LITELLM_MAX_RETRIES", "4")
    lgp.install(lgp.GatewaySettings())
    server = gateway(PLAIN)
    server.full(retry_after="0.05")
    asked = litellm.Router(model_list=[deployment(server, 1), deployment(server, 2)], timeout=20)
    with pytest.raises(litellm.RateLimitError):
        asked.completion("group", MESSAGES)
    assert len(server.requests("chat")) == 5
    told = router(deployment(server, 1), deployment(server, 2), num_retries=1)
    with pytest.raises(litellm.RateLimitError):
        told.completion("group", MESSAGES)
    assert len(server.requests("chat")) == 7


DIRECT: dict[str, Callable[..., Any]] = {
    "sync": lambda **options: litellm.completion(messages=MESSAGES, **options),
    "async": lambda **options: asyncio.run(litellm.acompletion(messages=MESSAGES, **options)),
    "embedding": lambda **options: litellm.embedding(input=["one"], **options),
}


@pytest.mark.parametrize("way", DIRECT)
def test_max_retries_of_the_environment_counts_for_direct_calls_that_name_none(
    way: str, isolated_environment: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    isolated_environment.setenv("LITELLM_MAX_RETRIES", "3")
    isolated_environment.setenv("LITELLM_RETRY_AFTER", "0.05")
    lgp.install(lgp.GatewaySettings())
    server = gateway(PLAIN)
    server.full(times=3)
    options = {"model": f"gateway/{MODEL}", "api_base": base_of(server), "api_key": FAKE_KEY}
    assert DIRECT[way](**options)
    assert len(work(server)) == 4
    server.full()
    with pytest.raises(litellm.RateLimitError):
        DIRECT[way](**options)
    assert len(work(server)) == 8
    seen = [request.at for request in work(server)]
    assert all(later - sooner >= 0.05 for sooner, later in (*pairwise(seen[:4]), *pairwise(seen[4:])))


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("named", [{"num_retries": 1}, {"max_retries": 0}])
def test_a_number_that_the_call_names_goes_before_the_environments(
    way: str, named: dict[str, int], isolated_environment: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    isolated_environment.setenv("LITELLM_MAX_RETRIES", "3")
    lgp.install(lgp.GatewaySettings())
    server = gateway(PLAIN)
    server.full(retry_after="0.05")
    with pytest.raises(litellm.RateLimitError):
        DIRECT[way](model=f"gateway/{MODEL}", api_base=base_of(server), api_key=FAKE_KEY, **named)
    assert len(work(server)) == 1 + named.get("num_retries", 0)


def test_the_environments_time_out_is_litellms_default_until_uninstall(
    isolated_environment: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    before = litellm.request_timeout
    isolated_environment.setenv("LITELLM_TIMEOUT", "0.5")
    lgp.install(lgp.GatewaySettings())
    server = gateway(PLAIN)
    with server.hold():
        for way in DIRECT.values():
            with pytest.raises(litellm.Timeout):
                way(model=f"gateway/{MODEL}", api_base=base_of(server), api_key=FAKE_KEY)
    lgp.uninstall()
    assert litellm.request_timeout == before


def test_a_503_can_stay_one(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    lgp.install(map_503=False)
    server.full(shape=Answer(503, b'{"error": {"message": "down for maintenance"}}'), retry_after="3")
    for prefix in ("gateway/", "openai/"):
        with pytest.raises(litellm.ServiceUnavailableError, match="down for maintenance") as caught:
            litellm.completion(f"{prefix}{MODEL}", MESSAGES, api_base=base_of(server), api_key=FAKE_KEY, timeout=1)
        if prefix == "gateway/":
            assert caught.value.response.headers["retry-after"] == "3"
        lgp.uninstall()
        lgp.install(map_503=False)


def test_a_refusal_on_a_path_that_the_plugin_did_not_carry_teaches_the_gate(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    refusal = litellm.RateLimitError("full", llm_provider="openai", model=MODEL)
    refusal.response.headers["retry-after"] = "30"
    params = {"api_base": base_of(server)}
    lgp.callback.log_failure_event({"exception": refusal, "litellm_params": params, "model": MODEL}, None, None, None)
    with pytest.raises(litellm.RateLimitError, match="Nothing was sent"):
        litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=base_of(server), api_key=FAKE_KEY, timeout=5)
    assert work(server) == []


def test_a_fallback_is_not_kept_waiting_by_a_pause(caller: Caller, gateway: GatewayFactory) -> None:
    full, free = gateway(PLAIN), gateway(PLAIN)
    full.full(retry_after="90")
    spare = {**deployment(free), "model_name": "spare"}
    for members in ([deployment(full, 1), deployment(full, 2)], [deployment(full, 3, order=1), deployment(full, 4)]):
        asked = router(*members, spare, fallbacks=[{"group": ["spare"]}])
        assert caller.say(asked) == "echo: hello"
    assert len(full.requests("chat")) == 1
    assert len(free.served) == 2


@pytest.mark.parametrize("weights", [{"weight": 0}, {}])
def test_a_drained_deployment_stays_drained(weights: dict[str, int], gateway: GatewayFactory) -> None:
    used, drained = gateway(PLAIN), gateway(PLAIN)
    asked = router(deployment(used, weight=1), deployment(drained, **weights))
    caller = Caller(awaited=True, stream=False)
    for _ in range(10):
        caller.say(asked)
    assert (len(used.served), len(drained.served)) == (10, 0)


def test_the_routers_affinity_is_kept(gateway: GatewayFactory) -> None:
    servers = [gateway(PLAIN), gateway(PLAIN)]
    asked = router(*map(deployment, servers), optional_pre_call_checks=["deployment_affinity"])
    caller = Caller(awaited=True, stream=False)
    metadata = {"user_api_key_hash": "somebody"}
    for _ in range(12):
        caller.say(asked, metadata=dict(metadata))
    assert sorted(len(server.served) for server in servers) == [0, 12]


def test_a_time_out_is_spent_once_however_often_a_call_has_to_wait(gateway: GatewayFactory) -> None:
    servers = [gateway(PLAIN), gateway(PLAIN)]
    lgp.install(max_concurrency=1)
    asked = router(*map(deployment, servers), num_retries=0)
    caller = Caller(awaited=True, stream=False)

    async def third() -> float:
        busy = [asyncio.ensure_future(caller.asay(asked)) for _ in range(2)]
        while sum(server.working for server in servers) < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(litellm.RateLimitError) as caught:
            await caller.asay(asked, timeout=1)
        for server in servers:
            server.release()
        await asyncio.gather(*busy)
        return float(str(caught.value).partition("waited ")[2].partition(" s")[0])

    for server in servers:
        server.hold()
    assert asyncio.run(third()) < 1.5


def test_a_503_that_stays_one_stays_one_while_it_holds(gateway: GatewayFactory) -> None:
    server = gateway(PLAIN)
    lgp.install(map_503=False)
    server.full(shape=Answer(503, b'{"error": {"message": "down for maintenance"}}'), retry_after="30")
    for _ in range(2):
        with pytest.raises(litellm.ServiceUnavailableError, match="down for maintenance"):
            litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=base_of(server), api_key=FAKE_KEY, timeout=5)
    assert len(work(server)) == 1
