"""Calls that name no base, before real gateways: who waits for a listing, whose key goes where, and for how long."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin import bases
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MESSAGES = [{"role": "user", "content": "hello"}]
WAIT_S = 0.2
DEAD = "http://127.0.0.1:9/v1"
KEY_A, KEY_B, STRANGE = "sk-test-of-gateway-a", "sk-test-of-gateway-b", "sk-test-of-nobody"
ANSWER = "echo: hello"

WAYS = (Door("gateway/", False), Door("gateway/", True))
MAPPED = (*WAYS, Door("openai/", False), Door("openai/", True))

pytestmark = pytest.mark.matrix


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


def install(*servers: PickyGateway | str, **settings: Any) -> Any:
    named = [{"api_base": each, "api_key": FAKE_KEY} if isinstance(each, str) else base_of(each) for each in servers]
    return lgp.install(bases=named, cache=False, **settings)


def base_of(server: PickyGateway) -> dict[str, str]:
    key = server.manners.key
    return {"api_base": server.base(), **({"api_key": key} if key else {})}


def chats(*servers: PickyGateway) -> list[int]:
    return [len(server.requests("chat")) for server in servers]


def text_of(response: Any) -> str:
    return str(response.choices[0].message.content)


class Waits:
    """Who has waited for how many listings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.in_threads: list[int] = []
        self.in_coroutines: list[int] = []
        self.on_a_loop = 0
        self._settled = bases.settled
        futures = SimpleNamespace(wait=self._wait)
        monkeypatch.setattr(bases, "WAIT_S", WAIT_S)
        monkeypatch.setattr(bases, "concurrent", SimpleNamespace(futures=futures))
        monkeypatch.setattr(bases, "settled", self._settle)

    def _wait(self, flights: Sequence[Any], seconds: float) -> Any:
        try:
            asyncio.get_running_loop()
            self.on_a_loop += 1
        except RuntimeError:
            self.in_threads.append(len(flights))
        return concurrent.futures.wait(flights, seconds)

    async def _settle(self, flights: Sequence[Any], seconds: float) -> None:
        if flights:
            self.in_coroutines.append(len(flights))
        await self._settled(flights, seconds)


@pytest.fixture
def waits(isolated_environment: pytest.MonkeyPatch) -> Waits:
    return Waits(isolated_environment)


# While a listing hangs ------------------------------------------------------------------------------------------------


def test_a_coroutines_call_never_waits_on_the_loop(waits: Waits, gateway: GatewayFactory) -> None:
    first, mute = gateway(Manners(models=("a",), unknown_model="ignored")), gateway(Manners(models=("b",)))
    install(first, mute)

    async def calls() -> list[str]:
        return [text_of(await litellm.acompletion(f"gateway/{model}", MESSAGES)) for model in ("c", "d", "a")]

    with mute.hold(surfaces=("models",)):
        assert asyncio.run(calls()) == [ANSWER] * 3
    assert (waits.on_a_loop, waits.in_threads) == (0, [])
    assert waits.in_coroutines == [2]
    assert chats(first, mute) == [3, 0]


def test_a_router_whose_deployments_name_no_base_never_waits_on_the_loop(waits: Waits, gateway: GatewayFactory) -> None:
    mute, good = gateway(Manners(models=("mute",))), gateway(Manners(models=("a", "b")))
    install(mute, good)
    router = litellm.Router(
        model_list=[{"model_name": "m", "litellm_params": {"model": f"gateway/{name}"}} for name in ("a", "b")],
        num_retries=0,
    )

    async def calls() -> list[str]:
        return [text_of(await router.acompletion("m", MESSAGES)) for _ in range(3)]

    with mute.hold(surfaces=("models",)):
        assert asyncio.run(calls()) == [ANSWER] * 3
    assert (waits.on_a_loop, waits.in_threads) == (0, [])
    assert waits.in_coroutines == [2]
    assert chats(mute, good) == [0, 3]


def test_the_loop_goes_on_while_the_listing_hangs(
    isolated_environment: pytest.MonkeyPatch, gateway: GatewayFactory
) -> None:
    """What hangs is let go by the loop, and by nobody else."""
    isolated_environment.setattr(bases, "WAIT_S", 20.0)
    first, second = gateway(Manners(models=("a",))), gateway(Manners(models=("b", "c")))
    install(first, second)
    router = litellm.Router(
        model_list=[{"model_name": "m", "litellm_params": {"model": f"gateway/{name}"}} for name in ("b", "c")],
        num_retries=0,
    )
    held = second.hold(surfaces=("models",))

    async def both() -> str:
        task = asyncio.ensure_future(router.acompletion("m", MESSAGES))
        await asyncio.to_thread(held.wait_held)
        assert not task.done()
        held.release()
        return text_of(await task)

    assert asyncio.run(both()) == ANSWER
    assert chats(first, second) == [0, 1]


def test_who_hangs_is_waited_for_once(way: Door, waits: Waits, gateway: GatewayFactory) -> None:
    mute, good = gateway(Manners(models=("mute",))), gateway(Manners(models=("a",), unknown_model="ignored"))
    install(good, mute)
    with mute.hold(surfaces=("models",)):
        for model in ("b", "c", "b"):
            assert text_of(way.chat(model)) == ANSWER
    assert (waits.in_coroutines if way.awaited else waits.in_threads) == [2]
    assert waits.on_a_loop == 0
    assert len(mute.requests("models")) == 1


# Whose key ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [False, True])
def test_a_calls_own_key_goes_to_the_gateway_that_has_it(header: bool, way: Door, gateway: GatewayFactory) -> None:
    style = "x-api-key" if header else "bearer"
    mine = gateway(Manners(models=("a",), key=KEY_A, styles={"*": (style,)}, unknown_model="ignored"))
    other = gateway(Manners(models=("b",), key=KEY_B, styles={"*": (style,)}))
    install(other, mine)
    own: dict[str, Any] = {"extra_headers": {"x-api-key": KEY_A}} if header else {"api_key": KEY_A}
    assert text_of(way.chat("b", **own)) == ANSWER
    assert chats(mine, other) == [1, 0]
    assert [(seen.style, seen.key_ok) for seen in mine.requests("chat")] == [(style, True)]
    assert KEY_A not in repr([seen.headers for seen in other.seen])
    assert [seen.style for seen in other.seen if seen.style == style and not seen.key_ok] == []


@pytest.mark.parametrize("header", [False, True])
def test_a_key_that_nobody_has_goes_to_a_gateway_without_one(header: bool, way: Door, gateway: GatewayFactory) -> None:
    style = "x-api-key" if header else "bearer"
    guarded = gateway(Manners(models=("b",), key=KEY_B, styles={"*": (style,)}))
    free = gateway(Manners(models=("a",), key=None, unknown_model="ignored"))
    install(guarded, free)
    own: dict[str, Any] = {"extra_headers": {"x-api-key": STRANGE}} if header else {"api_key": STRANGE}
    assert text_of(way.chat("b", **own)) == ANSWER
    assert chats(guarded, free) == [0, 1]
    assert all(seen.key_ok for seen in guarded.seen if seen.style == style)


def test_a_key_that_nobody_has_goes_to_the_first_and_not_to_who_lists_the_id(
    way: Door, gateway: GatewayFactory
) -> None:
    first = gateway(Manners(models=("a",), key=KEY_A))
    lister = gateway(Manners(models=("b",), key=KEY_B))
    install(first, lister)
    with pytest.raises(litellm.AuthenticationError):
        way.chat("b", api_key=STRANGE)
    assert len(first.requests("chat")) > 0
    assert chats(lister) == [0]
    assert all(seen.key_ok for seen in lister.seen if seen.style == "bearer")


def test_of_two_accounts_at_one_base_the_one_that_lists_it(way: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("one", "two"), key=KEY_B))
    named = [{"api_base": server.base(), "api_key": key} for key in (KEY_A, KEY_B)]
    installed = lgp.install(bases=named, cache=False)
    for key, model in ((KEY_A, "one"), (KEY_B, "two")):
        installed.listings.learn(installed.listing_ask(server.base(), key), read_listing({"data": [{"id": model}]}))
    assert text_of(way.chat("two")) == ANSWER
    assert [(seen.style, seen.key_ok) for seen in server.seen] == [("bearer", True)]


# The operator's own names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", MAPPED, ids=str)
def test_a_mapped_id_at_every_door(
    door: Door, gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch
) -> None:
    server = gateway(Manners(models=("Vendor/Model-7B",)))
    isolated_environment.setenv("LITELLM_GATEWAY_MODEL_MAP", '{"fav": "Vendor/Model-7B"}')
    lgp.uninstall()
    lgp.install()
    assert text_of(door.chat("fav", api_base=server.base(), api_key=FAKE_KEY)) == ANSWER
    assert [seen.model for seen in server.requests("chat")] == ["Vendor/Model-7B"]


def test_a_preference_may_be_a_mapped_id(gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch) -> None:
    server = gateway(Manners(models=("a", "Vendor/Model-7B")))
    for name, value in {
        "LITELLM_GATEWAY_API_BASE": server.base(), "LITELLM_GATEWAY_API_KEY": FAKE_KEY,
        "LITELLM_GATEWAY_TEXT_MODEL": "fav", "LITELLM_GATEWAY_MODEL_MAP": '{"fav": "Vendor/Model-7B"}',
    }.items():  # fmt: skip
        isolated_environment.setenv(name, value)
    lgp.uninstall()
    lgp.install()
    listed = lgp.auto_model_list_from_env()
    assert [each["litellm_params"]["model"] for each in listed] == ["gateway/Vendor/Model-7B", "gateway/a"]


# A dead gateway is no alternative -------------------------------------------------------------------------------------


def over(*given: str, **options: Any) -> litellm.Router:
    """A Router over these bases, in this order."""
    shared = {"model": "gateway/a", "api_key": FAKE_KEY}
    params = [{**shared, "api_base": base, "order": order} for order, base in enumerate(given, start=1)]
    deployments = [{"model_name": "m", "litellm_params": each} for each in params]
    return litellm.Router(model_list=deployments, timeout=20, **options)


def ask(router: litellm.Router, *, awaited: bool) -> str:
    return text_of(asyncio.run(router.acompletion("m", MESSAGES)) if awaited else router.completion("m", MESSAGES))


@pytest.fixture
def dead() -> str:
    """A base of which it is known that nobody is there."""
    with pytest.raises(litellm.APIConnectionError):
        litellm.completion("gateway/a", MESSAGES, api_base=DEAD, api_key=FAKE_KEY)
    return DEAD


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_full_gateway_is_waited_for_when_the_other_is_dead(awaited: bool, dead: str, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("a",)))
    server.full(times=1, retry_after="0.3")
    assert ask(over(server.base(), dead, num_retries=2), awaited=awaited) == ANSWER
    assert [seen.verdict for seen in server.requests("chat")] == ["full", "served"]


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_so_is_one_that_is_known_to_be_full(awaited: bool, dead: str, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("a",)))
    server.full(times=1, retry_after="0.3")
    with pytest.raises(litellm.RateLimitError):
        litellm.completion("gateway/a", MESSAGES, api_base=server.base(), api_key=FAKE_KEY, timeout=0.2)
    assert ask(over(server.base(), dead, num_retries=0), awaited=awaited) == ANSWER
    assert [seen.verdict for seen in server.requests("chat")] == ["full", "served"]


# What is no model -----------------------------------------------------------------------------------------------------


def test_wildcards_in_a_listing_are_no_models(gateway: GatewayFactory) -> None:
    price = {"pricing": {"prompt": "0.000001", "completion": "0.000002"}}
    ids = ("*", "openai/*", "vendor/of-this-test")
    server = gateway(Manners(models=ids, facts=dict.fromkeys(ids, price)))
    before = set(litellm.model_cost)
    install(server)
    listed = lgp.auto_model_list_from_env(max_candidates_per_base=9)
    assert [each["litellm_params"]["model"] for each in listed] == ["gateway/vendor/of-this-test"]
    added = set(litellm.model_cost) - before
    assert any("vendor/of-this-test" in name for name in added)
    assert [name for name in added if "*" in name] == []
