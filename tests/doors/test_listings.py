"""What a gateway lists, through the public face; which base a call goes to; the operator's own names of models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin import handle
from litellm_gateway_plugin.testing import FAKE_KEY, LISTINGS, Manners, PickyGateway, html_answer, json_answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.testing.presets import CHUTES
from tests.doors.conftest import Door
from tests.support.nginx import free_port

IDS = ("Vendor/Model-7B", "plain")
WRONG_KEY = "sk-test-wrong-0123456789"
LONG_S = 20.0  # until when something has to happen
DOORS = (Door("gateway/", False), Door("gateway/", True))


def list_now(awaited: bool, *given: Any, **more: Any) -> Any:
    """`list_models` or `alist_models`."""
    return asyncio.run(lgp.alist_models(*given, **more)) if awaited else lgp.list_models(*given, **more)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def awaited(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=DOORS, ids=str)
def way(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


def bases(*servers: PickyGateway | str) -> list[dict[str, str]]:
    return [
        {"api_base": server if isinstance(server, str) else server.base(), "api_key": FAKE_KEY} for server in servers
    ]


def install(*servers: PickyGateway | str, **settings: Any) -> Any:
    lgp.uninstall()
    return lgp.install(bases=bases(*servers), cache=False, **settings)


# What is listed -------------------------------------------------------------------------------------------------------


def test_a_public_listing_that_refuses_a_credential(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(CHUTES)
    assert len(list_now(awaited, server.base(), api_key=WRONG_KEY)) > 0


@pytest.mark.parametrize("dialect", LISTINGS)
def test_a_listing_in_every_dialect(dialect: str, awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=IDS, listing=dialect, facts={"plain": {"colour": "blue"}}))
    listing = list_now(awaited, server.base(), api_key=FAKE_KEY)
    assert listing.ids == IDS
    assert all(model.may_chat for model in listing)
    assert listing.get("plain") is listing[1]
    assert listing.entry("plain")["colour"] == "blue"
    again = list_now(not awaited, server.base(), api_key=FAKE_KEY)
    assert again is listing
    assert len(server.seen) == 1


def test_a_listing_of_the_configured_base(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=IDS))
    install(server)
    assert list_now(awaited).ids == IDS


@pytest.mark.parametrize("style", ["x-api-key", "raw", "api-key"])
def test_the_style_is_negotiated(style: str, awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(Manners(styles={"*": (style,)}))
    assert len(list_now(awaited, server.base(), api_key=FAKE_KEY)) == 2
    assert server.styles("models")[-1] == style
    server.clear()
    list_now(awaited, server.base(), api_key=FAKE_KEY, refresh=True)
    assert server.styles("models") == [style]


def test_a_base_without_v1(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    assert len(list_now(awaited, server.url, api_key=FAKE_KEY)) == 2
    assert server.paths() == ["/models", "/v1/models"]


def test_refresh_reads_it_now(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=IDS))
    assert list_now(awaited, server.base(), api_key=FAKE_KEY).ids == IDS
    server.change(models=("new",))
    assert list_now(awaited, server.base(), api_key=FAKE_KEY).ids == IDS
    assert list_now(awaited, server.base(), api_key=FAKE_KEY, refresh=True).ids == ("new",)
    assert list_now(awaited, server.base(), api_key=FAKE_KEY).ids == ("new",)
    assert len(server.seen) == 2


def test_many_wait_for_one_request(gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=IDS))
    discovery = lgp.install().discovery
    come, start = threading.Semaphore(0), discovery.start

    def counted(*given: Any, **more: Any) -> Any:
        flight = start(*given, **more)
        come.release()
        return flight

    discovery.start = counted
    held = server.hold(surfaces=["models"])

    async def together() -> list[Any]:
        return await asyncio.gather(*(lgp.alist_models(server.base(), api_key=FAKE_KEY) for _ in range(250)))

    with ThreadPoolExecutor(202) as pool:
        threads = [pool.submit(lgp.list_models, server.base(), api_key=FAKE_KEY) for _ in range(200)]
        loops = [pool.submit(asyncio.run, together()) for _ in range(2)]
        for _ in range(700):
            assert come.acquire(timeout=LONG_S)
        held.release()
        found = [thread.result() for thread in threads] + [each for loop in loops for each in loop.result()]
    assert {listing.ids for listing in found} == {IDS}
    assert len(server.seen) == 1


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manners", "key", "kind", "words"),
    [
        (Manners(), WRONG_KEY, litellm.AuthenticationError, "Styles tried: bearer"),
        (Manners(absent=("models", "responses")), FAKE_KEY, litellm.NotFoundError, "gave 404"),
        (Manners(listing=html_answer(200, "Welcome")), FAKE_KEY, litellm.openai.OpenAIError, "a web page"),
        (Manners(listing=json_answer(429, {"detail": "slow down"})), FAKE_KEY, litellm.RateLimitError, "slow down"),
        (Manners(listing=json_answer(500, {"detail": "ouch"})), FAKE_KEY, litellm.openai.OpenAIError, "ouch"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong_and_not_the_key(
    manners: Manners, key: str, kind: type[Exception], words: str, awaited: bool, gateway: GatewayFactory
) -> None:
    server = gateway(manners)
    with pytest.raises(kind) as caught:
        list_now(awaited, server.base(), api_key=key)
    assert words in str(caught.value)
    assert server.url in str(caught.value)
    assert key not in str(caught.value) + repr(caught.value)


def test_a_dead_port(awaited: bool) -> None:
    origin = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(litellm.APIConnectionError) as caught:
        list_now(awaited, f"{origin}/v1", api_key=WRONG_KEY)
    assert origin in str(caught.value)
    assert WRONG_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"), [((), "LITELLM_GATEWAY_API_BASE"), (("not a base",), "base"), (("http://h/v1", "a\nb"), "key")]
)
def test_what_cannot_be_asked(given: tuple[str, ...], words: str, awaited: bool) -> None:
    base, key = (*given, None, None)[:2]
    with pytest.raises(litellm.BadRequestError, match=words):
        list_now(awaited, base, api_key=key)


def test_who_cannot_wait_is_told_so(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    with server.hold(surfaces=["models"]), pytest.raises(litellm.Timeout, match=r"within 0\.01 seconds"):
        list_now(awaited, server.base(), api_key=FAKE_KEY, timeout=0.01)
    assert len(list_now(awaited, server.base(), api_key=FAKE_KEY)) == 2
    assert len(server.seen) == 1


def test_no_answer_blocks_the_loop(gateway: GatewayFactory) -> None:
    """What the answer waits for, only the loop can do."""
    server = gateway(Manners(models=IDS))
    held = server.hold(surfaces=["models"])

    async def both() -> Any:
        task = asyncio.ensure_future(lgp.alist_models(server.base(), api_key=FAKE_KEY, timeout=LONG_S))
        await asyncio.to_thread(held.wait_held)
        held.release()
        return await task

    assert asyncio.run(both()).ids == IDS


# Which base -----------------------------------------------------------------------------------------------------------


def chats(*servers: PickyGateway) -> list[int]:
    return [len(server.requests("chat")) for server in servers]


def test_a_call_goes_to_the_base_that_lists_exactly_its_id(way: Door, gateway: GatewayFactory) -> None:
    equal, exact, none = (gateway(Manners(models=(name,))) for name in ("vendor/model-x", "Vendor/Model-X", "other"))
    install(none, equal, exact)
    way.chat("Vendor/Model-X")
    assert chats(none, equal, exact) == [0, 0, 1]
    way.chat("model-x")
    assert chats(none, equal, exact) == [0, 2, 1]  # as it was asked, and then as it is listed
    assert [seen.model for seen in equal.requests("chat")] == ["model-x", "vendor/model-x"]
    assert [len(server.requests("models")) for server in (none, equal, exact)] == [1, 1, 1]


def test_what_nobody_lists_goes_to_the_first(way: Door, gateway: GatewayFactory) -> None:
    first, second = gateway(Manners(models=("a",), unknown_model="ignored")), gateway(Manners(models=("b",)))
    install(first, second)
    way.chat("c")
    assert chats(first, second) == [1, 0]


def test_a_dead_base_and_a_slow_one_are_no_hindrance(way: Door, gateway: GatewayFactory) -> None:
    slow, good = gateway(Manners(models=("slow",))), gateway(Manners(models=("wanted",)))
    install(f"http://127.0.0.1:{free_port()}/v1", slow, good)
    held = slow.hold(surfaces=["models"])

    def let_go() -> None:
        held.wait_held()
        good.wait_for(1, LONG_S, surface="models", ended=True)
        held.release()

    with ThreadPoolExecutor(1) as pool:
        helper = pool.submit(let_go)
        way.chat("wanted")
        helper.result()
    assert chats(slow, good) == [0, 1]
    way.chat("wanted")
    way.chat("slow")
    assert chats(slow, good) == [1, 2]
    assert [len(server.requests("models")) for server in (slow, good)] == [1, 1]


def test_a_base_that_never_answers_is_not_waited_for_twice(
    way: Door, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "LISTING_TIMEOUT_S", 0.3)
    mute, good = gateway(Manners(models=("mute",))), gateway(Manners(models=("wanted",)))
    installed = install(mute, good)
    with mute.hold(surfaces=["models"]):
        way.chat("wanted")
        assert installed.listings.has_failed(installed.listing_ask(mute.base()))
        way.chat("wanted")
    assert chats(mute, good)[0] == 0
    assert len(mute.requests("models")) == 1


def test_choosing_a_base_does_not_block_the_loop(gateway: GatewayFactory) -> None:
    """The listing that decides is let go by the loop alone."""
    first, second = gateway(Manners(models=("a",))), gateway(Manners(models=("b",)))
    install(first, second)
    held = second.hold(surfaces=["models"])

    async def both() -> Any:
        task = asyncio.ensure_future(
            litellm.acompletion(model="gateway/b", messages=[{"role": "user", "content": "hello"}])
        )
        await asyncio.to_thread(held.wait_held)
        held.release()
        return await task

    assert asyncio.run(both()).choices[0].message.content == "echo: hello"
    assert chats(first, second) == [0, 1]


def test_a_cold_crowd_with_another_spelling_reads_the_listing_once(
    gateway: GatewayFactory,
) -> None:
    server = gateway(Manners(models=("Vendor/Model-X",)))
    install(server, cold_grace_s=LONG_S)

    async def together() -> None:
        call: Callable[[], Any] = lambda: litellm.acompletion(  # noqa: E731  the same twenty times
            model="gateway/model-x", messages=[{"role": "user", "content": "hello"}]
        )
        await asyncio.gather(*(call() for _ in range(20)))

    asyncio.run(together())
    assert len(server.requests("models")) == 1
    assert len(server.requests("chat", status=200)) == 20


# The operator's own names ---------------------------------------------------------------------------------------------


def test_a_mapped_id_is_sent_in_its_place(
    way: Door, gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch
) -> None:
    server = gateway(Manners(models=IDS))
    isolated_environment.setenv("LITELLM_GATEWAY_MODEL_MAP", '{"their-favourite": "Vendor/Model-7B"}')
    lgp.uninstall()
    lgp.install()
    response = way.chat("their-favourite", api_base=server.base(), api_key=FAKE_KEY)
    assert [(seen.surface, seen.model) for seen in server.seen] == [("chat", "Vendor/Model-7B")]
    report = response._hidden_params["gateway"]
    assert (report["requested_model"], report["served_model"]) == ("their-favourite", "Vendor/Model-7B")


def test_a_mapped_id_chooses_the_base(way: Door, gateway: GatewayFactory) -> None:
    first, second = gateway(Manners(models=("their-favourite",))), gateway(Manners(models=IDS))
    install(first, second, model_map={"their-favourite": "plain"})
    way.chat("their-favourite")
    assert chats(first, second) == [0, 1]


def test_a_mapped_id_may_be_spelt_otherwise(way: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=IDS))
    install(server, model_map={"their-favourite": "model-7b"})
    report = way.chat("their-favourite")._hidden_params["gateway"]
    assert (report["requested_model"], report["served_model"]) == ("their-favourite", "Vendor/Model-7B")


@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_only_similar_is_never_taken(mapped: bool, way: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=IDS))
    install(server, model_map={"their-favourite": "Vendor/Model-7"} if mapped else {})
    with pytest.raises(litellm.NotFoundError, match="Vendor/Model-7B") as caught:
        way.chat("their-favourite" if mapped else "Vendor/Model-7")
    assert {seen.model for seen in server.requests("chat")} == {"Vendor/Model-7"}
    assert FAKE_KEY not in str(caught.value)
