"""The LiteLLM proxy as two processes that share a Redis: what one has learnt holds for both, and either may die.

One proxy serves all tests; each test has an upstream of its own, which nobody has asked before.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from litellm_gateway_plugin import sharing
from litellm_gateway_plugin.testing import Manners, PickyGateway
from tests.support.litellm_proxy import PLUGIN, LiteLLMProxy, proxy_venv
from tests.support.redis_server import RedisServer, redis_binary

pytestmark = [
    pytest.mark.proxy,
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(proxy_venv() is None, reason="there is no environment with the LiteLLM proxy: make proxy-venv"),
    pytest.mark.skipif(redis_binary() is None, reason="redis-server is not installed: apt-get install redis-server"),
]

SECRET = "sk-upstream-secret"
PAUSE_S = 3
LONG_S = 30.0
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
UPSTREAMS = ("learnt", "told", "full", "crowd", "restyled", "redis", "killed")
SURFACES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "responses": ("/v1/responses", {"input": "hello"}),
    "messages": ("/v1/messages", {**CHAT, "max_tokens": 100}),
}


@dataclass
class House:
    """The proxy, its Redis, and its upstreams by the name of their model."""

    proxy: LiteLLMProxy
    redis: RedisServer
    upstreams: dict[str, PickyGateway]

    def clients(self, stack: ExitStack) -> list[httpx.Client]:
        """One for each worker."""
        return [stack.enter_context(self.proxy.client(worker)) for worker in self.proxy.workers()]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        manners = Manners(key=SECRET, styles={"*": ("x-api-key",)}, models=("test/one",))
        upstreams = {name: stack.enter_context(PickyGateway(manners)) for name in UPSTREAMS}
        config = {
            "model_list": [
                {
                    "model_name": name,
                    "litellm_params": {"model": "gateway/test/one", "api_base": each.url, "api_key": SECRET},
                }
                for name, each in upstreams.items()
            ],
            "litellm_settings": {"callbacks": [PLUGIN]},
            "router_settings": {"num_retries": 0},
        }
        environment = {"LITELLM_GATEWAY_CACHE": "false", "LITELLM_GATEWAY_REDIS_URL": redis.url}
        proxy = stack.enter_context(LiteLLMProxy(json.dumps(config), env=environment, workers=2))
        assert len(proxy.workers()) == 2
        yield House(proxy, redis, upstreams)
        assert SECRET not in proxy.log()
        assert SECRET not in str(redis.dump())


@pytest.fixture
def workers(house: House) -> Iterator[list[httpx.Client]]:
    """A client for each worker."""
    with ExitStack() as stack:
        yield house.clients(stack)


def chat(client: httpx.Client, model: str, **more: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, **CHAT}, **more)


def until(true: Callable[[], Any], what: str) -> None:
    """Wait for something that is no event of ours: another process, or the Redis."""
    deadline = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < deadline, f"waited {LONG_S:g} s until {what}"
        time.sleep(0.01)


def guesses(redis: RedisServer) -> int:
    """How many guesses are in the Redis; their names are keyed hashes."""
    return len(redis.dump().get(sharing.GUESSES.encode(), ()))


def processes(redis: RedisServer, gateway: PickyGateway) -> int:
    """How many processes share the limit of an upstream."""
    shared = [entry for name, entry in redis.dump().items() if gateway.url in name.decode() and isinstance(entry, dict)]
    return max((sum(field.startswith(b"m:") for field in entry) for entry in shared), default=0)


def learn(house: House, client: httpx.Client, model: str) -> httpx.Response:
    """A first call to an upstream, after which all processes may know what it wants."""
    before = guesses(house.redis)
    answer = chat(client, model)
    until(lambda: guesses(house.redis) > before, "what was learnt is in the Redis")
    return answer


def test_what_one_worker_has_learnt_the_other_one_knows(house: House, workers: list[httpx.Client]) -> None:
    first, second = workers
    gateway = house.upstreams["learnt"]
    assert learn(house, first, "learnt").headers["x-litellm-gateway-requests"] == "3"
    assert gateway.styles() == ["bearer", "bearer", "x-api-key"]
    assert chat(second, "learnt").headers["x-litellm-gateway-requests"] == "1"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: httpx_chat(house, "learnt"), range(32)))
    assert {answer.status_code for answer in answers} == {200}
    assert gateway.styles()[3:] == ["x-api-key"] * 33


def httpx_chat(house: House, model: str) -> httpx.Response:
    """A call over a connection of its own, to whichever worker takes it."""
    with house.proxy.client() as client:
        return chat(client, model)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", SURFACES)
def test_either_worker_tells_who_has_answered(
    house: House, workers: list[httpx.Client], surface: str, stream: bool
) -> None:
    path, body = SURFACES[surface]
    for client in workers:
        answer = client.post(path, json={"model": "told", "stream": stream, **body})
        assert "echo:" in answer.text
        assert answer.headers["x-litellm-gateway-api-base"] == house.upstreams["told"].base()
        assert answer.headers["x-litellm-gateway-auth-style"] == "x-api-key"
        assert answer.headers["x-litellm-gateway-served-model"] == "test/one"


def test_while_an_upstream_is_full_no_worker_asks_it(house: House, workers: list[httpx.Client]) -> None:
    first, second = workers
    gateway = house.upstreams["full"]
    assert chat(first, "full").status_code == 200
    gateway.full(times=1, retry_after=str(PAUSE_S))
    refused = chat(first, "full")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(PAUSE_S))
    assert refused.headers["x-litellm-gateway-attempts"].endswith("test/one RateLimitError")
    refusal = gateway.seen[-1]
    hurried = chat(second, "full", headers={"x-litellm-timeout": "0.5"})
    assert hurried.status_code == 429
    assert 0 < int(hurried.headers["retry-after"]) <= PAUSE_S
    assert gateway.seen[-1] is refusal
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda client: [chat(client, "full") for _ in range(4)], workers))
    assert [answer.status_code for each in answers for answer in each] == [200] * 8
    after = [seen for seen in gateway.seen if seen.number > refusal.number]
    assert len(after) == 8
    assert min(seen.at for seen in after) >= refusal.at + PAUSE_S - 0.1


def test_a_crowd_at_both_workers_stays_within_what_the_upstream_takes(house: House) -> None:
    gateway = house.upstreams["crowd"]
    gateway.change(room=4, full_headers={"retry-after": "1"}, delay=0.2)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: httpx_chat(house, "crowd"), range(48)))
    refused = gateway.requests(verdict="full")
    assert sorted({answer.status_code for answer in answers}) in ([200], [200, 429])
    assert sum(answer.status_code == 429 for answer in answers) == len(refused) < 12
    assert all(answer.headers.get("retry-after") for answer in answers if answer.status_code == 429)
    assert len(gateway.served) + len(refused) == 48


def test_an_upstream_that_comes_back_with_another_style_costs_one_refused_request_a_process(
    house: House, workers: list[httpx.Client]
) -> None:
    gateway = house.upstreams["restyled"]
    assert [chat(client, "restyled").status_code for client in workers] == [200, 200]
    gateway.clear()
    gateway.change(styles={"*": ("bearer",)})
    for client in workers:
        before = len(gateway.refused)
        assert chat(client, "restyled").headers["x-litellm-gateway-auth-style"] == "bearer"
        assert len(gateway.refused) - before <= 1
    assert [chat(client, "restyled").headers["x-litellm-gateway-requests"] for client in workers] == ["1", "1"]


class Load:
    """Calls one after the other at each worker, until it is told to end."""

    def __init__(self, house: House, model: str) -> None:
        self.statuses: list[int] = []
        self._ends = threading.Event()
        self._stack = ExitStack()
        self._threads = [
            threading.Thread(target=self._run, args=(client, model)) for client in house.clients(self._stack)
        ]

    def _run(self, client: httpx.Client, model: str) -> None:
        while not self._ends.is_set():
            self.statuses.append(chat(client, model).status_code)

    def more(self, number: int) -> None:
        """Wait until so many more calls are done."""
        wanted = len(self.statuses) + number
        until(lambda: len(self.statuses) >= wanted, f"{number} more calls are done")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self._stack.close()


def test_calls_go_on_while_the_redis_is_gone_and_share_again_when_it_is_back(
    house: House, workers: list[httpx.Client]
) -> None:
    gateway = house.upstreams["redis"]
    with Load(house, "redis") as load:
        load.more(10)
        house.redis.kill()
        load.more(20)
        house.redis.start()
        load.more(20)
        until(lambda: processes(house.redis, gateway) == 2, "both workers are in it again")
    assert set(load.statuses) == {200}
    first, second = workers
    gateway.full(times=1, retry_after=str(PAUSE_S))
    assert chat(first, "redis").status_code == 429
    hurried = {"x-litellm-timeout": "0.5"}
    # who has heard of the others within the last 50 ms goes ahead
    until(lambda: chat(second, "redis", headers=hurried).status_code == 429, "the other one has heard of it")
    asked = len(gateway.seen)
    assert chat(second, "redis", headers=hurried).status_code == 429
    assert len(gateway.seen) == asked


def test_a_killed_worker_takes_only_its_own_calls_with_it_and_is_replaced(house: House) -> None:
    gateway = house.upstreams["killed"]
    victim, other = house.proxy.workers()
    with house.proxy.client(victim) as doomed, house.proxy.client(other) as safe:
        assert [learn(house, doomed, "killed").status_code, chat(safe, "killed").status_code] == [200, 200]
        asked = len(gateway.seen)
        gateway.hold(2)
        with ThreadPoolExecutor(2) as pool:
            lost = pool.submit(chat, doomed, "killed")
            gateway.wait_for(asked + 1)
            kept = pool.submit(chat, safe, "killed")
            gateway.wait_for(asked + 2)
            house.proxy.kill(victim)
            with pytest.raises(httpx.TransportError):
                lost.result(LONG_S)
            gateway.release()
            assert kept.result(LONG_S).status_code == 200
        assert [chat(safe, "killed").status_code for _ in range(8)] == [200] * 8
    house.proxy.wait_for_starts(3)
    (newcomer,) = set(house.proxy.workers()) - {victim, other}
    with house.proxy.client(newcomer) as client:
        answer = chat(client, "killed")
    assert answer.headers["x-litellm-gateway-requests"] == "1"
    assert [seen.style for seen in gateway.refused] == ["bearer"]
