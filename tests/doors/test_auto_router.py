"""`auto_router_from_env` before real gateways: who is asked, in which order, and what the Router is made of."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin import auto_router
from litellm_gateway_plugin.auto_router import RankKeeper
from litellm_gateway_plugin.testing import FAKE_KEY, PRESETS, PickyGateway
from litellm_gateway_plugin.testing.answers import Answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.utilization import Load

MESSAGES = [{"role": "user", "content": "hello"}]
MODEL = "Qwen/Qwen3-32B"
OTHER = "moonshotai/Kimi-K2"
CHUTES = replace(PRESETS["chutes"], models=(MODEL,))
VLLM = replace(PRESETS["vllm"], models=(MODEL,))
DEAD = "http://127.0.0.1:9/v1"

pytestmark = pytest.mark.matrix


def busy(share: float, *models: str, **more: Any) -> Mapping[str, object]:
    """A page that tells how busy models are."""
    fields = {"active_instance_count": 2, "utilization_current": share, **more}
    return {"/chutes/utilization": [{"name": name, **fields} for name in models or (MODEL,)]}


Start = Callable[..., PickyGateway]


@pytest.fixture
def start(gateway: GatewayFactory) -> Start:
    """Start a gateway with these manners, but for what is named."""
    return lambda manners, **knobs: gateway(replace(manners, **knobs))


@pytest.fixture
def keepers(isolated_environment: pytest.MonkeyPatch) -> list[RankKeeper]:
    """The keepers that are made, which look when they are told to."""
    made: list[RankKeeper] = []

    class Kept(RankKeeper):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    isolated_environment.setattr(auto_router, "RankKeeper", Kept)
    return made


@pytest.fixture
def configure(isolated_environment: pytest.MonkeyPatch) -> Any:
    """Put bases and keys into the environment under the numbers 1, 2, …"""

    def put(*bases: str, key: str = FAKE_KEY, **more: str) -> None:
        for number, base in enumerate(bases, start=1):
            isolated_environment.setenv(f"CHUTES_API_BASE_{number}", base)
            isolated_environment.setenv(f"CHUTES_API_KEY_{number}", key)
        for name, value in more.items():
            isolated_environment.setenv(name, value)

    return put


class Caller:
    """One way of calling a Router."""

    def __init__(self, name: str, *, awaited: bool, stream: bool) -> None:
        self._name = name
        self._awaited = awaited
        self._stream = stream

    def __str__(self) -> str:
        return self._name

    def ask(self, router: litellm.Router, group: str = "text") -> str:
        if self._awaited:
            return asyncio.run(self._aask(router, group))
        response = router.completion(group, MESSAGES, stream=self._stream)
        return (
            "".join(chunk.choices[0].delta.content or "" for chunk in response) if self._stream else text_of(response)
        )

    async def _aask(self, router: litellm.Router, group: str) -> str:
        response = await router.acompletion(group, MESSAGES, stream=self._stream)
        if not self._stream:
            return text_of(response)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in response])


def text_of(response: Any) -> str:
    return str(response.choices[0].message.content)


CALLERS = [
    Caller("sync", awaited=False, stream=False),
    Caller("async", awaited=True, stream=False),
    Caller("sync stream", awaited=False, stream=True),
    Caller("async stream", awaited=True, stream=True),
]


@pytest.fixture(params=CALLERS, ids=str)
def caller(request: pytest.FixtureRequest) -> Caller:
    found: Caller = request.param
    return found


def chats(server: PickyGateway) -> int:
    return len(server.requests("chat"))


def deployments_of(router: Any) -> list[dict[str, Any]]:
    """The Router's own deployments; newer Routers are asked through their registry."""
    return list(router.registry().deployments() if hasattr(router, "registry") else router.get_model_list())


def made_of(router: litellm.Router) -> list[tuple[str, str]]:
    """Base and model of each deployment, in their order."""
    params = sorted((each["litellm_params"] for each in deployments_of(router)), key=lambda each: each["order"])
    return [(each["api_base"], each["model"]) for each in params]


def bases_of(router: litellm.Router) -> list[str]:
    return [base for base, _ in made_of(router)]


def test_the_least_busy_one_gets_the_requests(start: Start, configure: Any, caller: Caller) -> None:
    full, half, idle = (start(CHUTES, pages=busy(share)) for share in (0.95, 0.5, 0.05))
    configure(full.base(), half.base(), idle.base())
    router = lgp.auto_router_from_env(refresh_s=0)
    for _ in range(3):
        assert caller.ask(router) == "echo: hello"
    assert [chats(each) for each in (full, half, idle)] == [0, 0, 3]
    assert made_of(router) == [(each.base(), f"gateway/{MODEL}") for each in (idle, half, full)]


def test_unknown_is_between_idle_and_busy(start: Start, configure: Any) -> None:
    busiest, silent, idle = (
        start(CHUTES, pages=busy(0.9)),
        start(CHUTES),
        start(CHUTES, pages=busy(0.1)),
    )
    configure(busiest.base(), silent.base(), idle.base())
    assert bases_of(lgp.auto_router_from_env()) == [each.base() for each in (idle, silent, busiest)]


def test_rate_limits_and_missing_instances_count_too(start: Start, configure: Any) -> None:
    gone = start(CHUTES, pages=busy(0.0, active_instance_count=0))
    limited = start(CHUTES, pages=busy(0.2, rate_limit_ratio_5m=0.7))
    steady = start(CHUTES, pages=busy(0.6))
    configure(gone.base(), limited.base(), steady.base())
    assert bases_of(lgp.auto_router_from_env()) == [each.base() for each in (steady, limited, gone)]


FAILURES = {
    "dead": lambda server: server.stop(),
    "wrong key": lambda server: server.change(key="another-key-of-theirs"),
    "model gone": lambda server: server.change(models=(OTHER,)),
    "broken": lambda server: server.fault("500", times=None),
    "full": lambda server: server.full(retry_after="30"),
    "full without a word": lambda server: server.full(),
    "a console": lambda server: server.fault("html", times=None),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_rest_are_its_fallbacks(start: Start, configure: Any, caller: Caller, failure: str) -> None:
    servers = [start(CHUTES, pages=busy(share)) for share in (0.1, 0.3, 0.6)]
    configure(*(each.base() for each in servers))
    router = lgp.auto_router_from_env(refresh_s=0)
    for server in servers[:2]:
        FAILURES[failure](server)
    assert caller.ask(router) == "echo: hello"
    assert [each.worked for each in servers[2].requests("chat")] == [True]
    assert all(
        not seen.worked or failure in ("broken", "a console") for each in servers[:2] for seen in each.requests("chat")
    )


def test_a_gateway_that_lies_about_being_idle_does_not_hold_up_the_others(
    start: Start, configure: Any, caller: Caller
) -> None:
    liar, honest = start(CHUTES, pages=busy(0.0)), start(CHUTES, pages=busy(0.8))
    configure(liar.base(), honest.base())
    router = lgp.auto_router_from_env(refresh_s=0)
    liar.full(retry_after="60")
    for _ in range(5):
        assert caller.ask(router) == "echo: hello"
    assert chats(honest) == 5
    assert chats(liar) == 1


def test_what_has_just_refused_is_ranked_behind_the_others(start: Start, configure: Any) -> None:
    liar, honest = start(CHUTES, pages=busy(0.0)), start(CHUTES, pages=busy(0.8))
    configure(liar.base(), honest.base())
    liar.full(retry_after="60")
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=liar.base(), api_key=FAKE_KEY)
    assert bases_of(lgp.auto_router_from_env()) == [honest.base(), liar.base()]


def test_a_dead_base_is_skipped_with_a_warning_that_names_it(
    start: Start, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    alive = start(CHUTES)
    configure(DEAD, alive.base())
    with caplog.at_level(logging.WARNING, "litellm_gateway_plugin"):
        router = lgp.auto_router_from_env()
    assert made_of(router) == [(alive.base(), f"gateway/{MODEL}")]
    warned = [record.getMessage() for record in caplog.records if record.name == "litellm_gateway_plugin"]
    assert len(warned) == 1
    assert DEAD in warned[0]
    assert "cannot be reached" in warned[0]


def test_a_slow_base_does_not_hold_up_the_others(
    start: Start, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    slow, alive = start(CHUTES), start(CHUTES)
    slow.hold(surfaces=("models",))
    configure(slow.base(), alive.base())
    router = lgp.auto_router_from_env(probe_timeout_s=0.5)
    slow.release()
    assert made_of(router) == [(alive.base(), f"gateway/{MODEL}")]
    assert "no answer within 0.5 seconds" in caplog.text


def test_a_known_listing_does_not_make_a_dead_base_alive(start: Start, configure: Any) -> None:
    server, alive = start(CHUTES), start(CHUTES)
    assert len(lgp.list_models(server.base(), api_key=FAKE_KEY)) == 1
    configure(server.base(), alive.base())
    server.stop()
    assert made_of(lgp.auto_router_from_env()) == [(alive.base(), f"gateway/{MODEL}")]


def test_without_a_gateway_the_error_names_the_variables() -> None:
    with pytest.raises(litellm.BadRequestError, match=r"LITELLM_GATEWAY_API_BASE.*CHUTES_API_BASE.*_1"):
        lgp.auto_router_from_env()


def test_when_all_are_dead_the_error_names_each(start: Start, configure: Any) -> None:
    locked = start(replace(VLLM, key="another-key-of-theirs"))
    configure(DEAD, locked.base())
    with pytest.raises(litellm.BadRequestError) as raised:
        lgp.auto_router_from_env()
    said = str(raised.value)
    assert DEAD in said
    assert locked.base() in said
    assert "bearer" in said
    assert FAKE_KEY not in said


@pytest.mark.parametrize("wrong", [{"kind": "sound"}, {"max_bases": 0}, {"max_candidates_per_base": 0}])
def test_wrong_arguments_are_one_clear_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(litellm.BadRequestError, match=r"'text'|at least"):
        lgp.auto_router_from_env(**wrong)


def test_numbers_may_have_gaps_and_no_gateway_counts_twice(
    start: Start, isolated_environment: pytest.MonkeyPatch
) -> None:
    first, second = start(CHUTES), start(CHUTES)
    names = {
        "CHUTES_API_BASE": first.base(), "CHUTES_API_KEY": FAKE_KEY,
        "CHUTES_API_BASE_4": first.base() + "/", "CHUTES_API_KEY_4": FAKE_KEY,
        "LITELLM_GATEWAY_API_BASE_17": second.base(), "LITELLM_GATEWAY_API_KEY_17": FAKE_KEY,
    }  # fmt: skip
    for name, value in names.items():
        isolated_environment.setenv(name, value)
    router = lgp.auto_router_from_env()
    assert bases_of(router) == [first.base(), second.base()]
    assert len(first.requests("models")) == 1


def test_two_accounts_at_one_gateway_are_two(start: Start, isolated_environment: pytest.MonkeyPatch) -> None:
    server = start(replace(VLLM, styles={"*": ("bearer",), "models": ("none", "bearer")}))
    for number, key in ((1, "one-of-two-keys"), (2, FAKE_KEY)):
        isolated_environment.setenv(f"CHUTES_API_BASE_{number}", server.base())
        isolated_environment.setenv(f"CHUTES_API_KEY_{number}", key)
    router = lgp.auto_router_from_env(refresh_s=0)
    assert len(made_of(router)) == 2
    assert text_of(router.completion("text", MESSAGES)) == "echo: hello"
    assert [seen.key_ok for seen in server.requests("chat")][-1] is True


def test_keys_from_the_environment_are_written_as_references(start: Start, configure: Any) -> None:
    server = start(CHUTES)
    configure(server.base())
    listed = lgp.auto_model_list_from_env()
    assert [each["litellm_params"]["api_key"] for each in listed] == ["os.environ/CHUTES_API_KEY_1"]
    assert FAKE_KEY not in repr(listed)
    router = litellm.Router(model_list=listed)
    assert text_of(router.completion("text", MESSAGES)) == "echo: hello"
    assert [(seen.style, seen.key_ok) for seen in server.requests("chat")] == [("bearer", True)]


def test_gateways_of_the_code_are_taken_when_the_environment_names_none(start: Start) -> None:
    server = start(CHUTES)
    lgp.install(api_base=server.base(), api_key=FAKE_KEY)
    assert text_of(lgp.auto_router_from_env().completion("text", MESSAGES)) == "echo: hello"


def entry(**facts: Any) -> dict[str, Any]:
    return {"supported_features": ["tools", "json_mode"], "input_modalities": ["text"], **facts}


def test_candidates_by_what_the_listing_says(start: Start, configure: Any) -> None:
    facts = {
        "a/embedder": entry(output_modalities=["embeddings"]),
        "b/plain": entry(supported_features=["reasoning"]),
        "c/json": entry(supported_features=["structured_outputs"]),
        "d/tools": entry(supported_features=["tools"]),
        "e/all": entry(),
        "f/sees": entry(input_modalities=["text", "image"]),
    }
    server = start(CHUTES, models=tuple(facts), facts=facts)
    configure(server.base())

    def chosen(**asked: Any) -> list[str]:
        listed = lgp.auto_model_list_from_env(max_candidates_per_base=9, **asked)
        return [each["litellm_params"]["model"].removeprefix("gateway/") for each in listed]

    assert chosen() == ["b/plain", "c/json", "d/tools", "e/all", "f/sees"]
    assert chosen(require_json=True) == ["c/json", "e/all", "f/sees"]
    assert chosen(require_tools=True) == chosen(kind="tools") == ["d/tools", "e/all", "f/sees"]
    assert chosen(require_json=True, require_tools=True) == ["e/all", "f/sees"]
    assert chosen(kind="vlm") == ["f/sees"]


def test_a_listing_without_features_may_serve_json_and_says_nothing_of_pictures(start: Start, configure: Any) -> None:
    silent, sure = start(VLLM), start(CHUTES)
    configure(silent.base(), sure.base())
    assert bases_of(lgp.auto_router_from_env(require_json=True)) == [sure.base(), silent.base()]
    with pytest.raises(litellm.BadRequestError, match=r"pictures.*LITELLM_GATEWAY_VLM_MODEL"):
        lgp.auto_router_from_env("vlm")


def test_preferences_go_first_each_on_its_base(start: Start, configure: Any) -> None:
    pages = busy(0.9, OTHER) | {}
    first = start(CHUTES, models=(MODEL, OTHER), pages=pages)
    second = start(VLLM, models=("a/b", MODEL, OTHER))
    configure(
        first.base(), second.base(), CHUTES_TEXT_MODEL=OTHER.lower(), CHUTES_TEXT_MODEL_2="a/b", CHUTES_VLM_MODEL=OTHER
    )
    assert made_of(lgp.auto_router_from_env(max_candidates_per_base=1)) == [
        (second.base(), "gateway/a/b"),
        (first.base(), f"gateway/{OTHER}"),
    ]
    assert made_of(lgp.auto_router_from_env("vlm")) == [
        (second.base(), f"gateway/{OTHER}"),
        (first.base(), f"gateway/{OTHER}"),
    ]


def test_a_gateway_without_a_listing_serves_what_the_operator_names(start: Start, configure: Any) -> None:
    server = start(PRESETS["litserve"])
    configure(server.url)
    with pytest.raises(litellm.BadRequestError, match=r"it gives no listing.*LITELLM_GATEWAY_TEXT_MODEL"):
        lgp.auto_router_from_env()
    configure(server.url, CHUTES_TEXT_MODEL="my/model")
    assert text_of(lgp.auto_router_from_env().completion("text", MESSAGES)) == "echo: hello"
    assert [seen.model for seen in server.requests("chat") if seen.worked] == ["my/model"]


def test_a_gateway_that_is_too_full_for_its_listing_has_the_one_that_is_known(
    start: Start, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    known, unknown, alive = start(CHUTES, pages=busy(0.1)), start(CHUTES), start(CHUTES, pages=busy(0.5))
    assert len(lgp.list_models(known.base(), api_key=FAKE_KEY)) == 1
    for server in (known, unknown):
        server.full(surfaces=("models",))
    configure(known.base(), unknown.base(), alive.base())
    assert bases_of(lgp.auto_router_from_env()) == [known.base(), alive.base()]
    assert f"{unknown.base()} is skipped: it gives no listing" in caplog.text


def test_so_many_bases_and_candidates_and_no_more(start: Start, configure: Any) -> None:
    models = tuple(f"v/m{number}" for number in range(5))
    servers = [start(CHUTES, models=models, pages=busy(share, *models)) for share in (0.9, 0.1, 0.5)]
    configure(*(each.base() for each in servers))
    made = made_of(lgp.auto_router_from_env(max_bases=2, max_candidates_per_base=3))
    assert [base for base, _ in made] == [servers[1].base()] * 3 + [servers[2].base()] * 3
    assert [model for _, model in made[:3]] == ["gateway/v/m0", "gateway/v/m1", "gateway/v/m2"]


def test_a_hook_tells_how_busy_a_gateway_is(start: Start, configure: Any) -> None:
    first, second = start(VLLM), start(VLLM, pages={"/load": {"load": 0.1}})
    configure(first.base(), second.base())

    class Own:
        @lgp.hookimpl
        def gateway_utilization(self, base: Any, fetch: Any) -> Any:
            found = fetch(base.origin + "/load")
            return {MODEL: Load(busy=found["load"])} if found else None

    lgp.install().plugins.register(Own())
    assert bases_of(lgp.auto_router_from_env()) == [second.base(), first.base()]


def test_a_key_is_shown_to_the_gateways_own_origin_when_it_asks_for_one(start: Start, configure: Any) -> None:
    elsewhere = start(CHUTES, pages={"/load": Answer(401, b"{}")})
    server = start(CHUTES, pages={"/chutes/utilization": Answer(401, b"{}")})
    configure(server.base())

    class Own:
        @lgp.hookimpl
        def gateway_utilization(self, base: Any, fetch: Any) -> Any:
            assert fetch(elsewhere.url + "/load") is None
            return None

    lgp.install().plugins.register(Own())
    lgp.auto_router_from_env()
    assert [(seen.path, seen.style) for seen in server.seen if seen.path.startswith("/chutes")] == [
        ("/chutes/utilization", "none"),
        ("/chutes/utilization", "bearer"),
    ]
    assert [seen.style for seen in elsewhere.seen] == ["none"]


def test_the_order_follows_the_load_while_the_router_lives(
    start: Start, configure: Any, keepers: list[RankKeeper], caller: Caller
) -> None:
    first, second = start(CHUTES, pages=busy(0.1)), start(CHUTES, pages=busy(0.7))
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env()
    caller.ask(router)
    first.change(pages=busy(0.9))
    keepers[0].look()
    caller.ask(router)
    assert (chats(first), chats(second)) == (1, 1)
    second.change(pages=busy(0.85))
    keepers[0].look()
    caller.ask(router)
    assert (chats(first), chats(second)) == (1, 2)
    assert len(first.requests("models")) == 1, "a listing that is fresh is not read again"


def test_two_equal_gateways_do_not_flap(start: Start, configure: Any, keepers: list[RankKeeper]) -> None:
    first, second = start(CHUTES, pages=busy(0.50)), start(CHUTES, pages=busy(0.52))
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env()
    before = made_of(router)
    for one, other in ((0.54, 0.47), (0.46, 0.55), (0.55, 0.46)):
        first.change(pages=busy(one))
        second.change(pages=busy(other))
        keepers[0].look()
        assert made_of(router) == before


def test_a_gateway_that_dies_goes_last_and_comes_back(start: Start, configure: Any, keepers: list[RankKeeper]) -> None:
    first, second = start(CHUTES, pages=busy(0.1)), start(CHUTES, pages=busy(0.7))
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env()
    first.stop()
    keepers[0].look()
    assert bases_of(router) == [second.base(), first.base()]
    assert text_of(router.completion("text", MESSAGES)) == "echo: hello"


def test_ranks_are_looked_at_until_the_router_is_discarded(start: Start, configure: Any) -> None:
    first, second = start(CHUTES), start(CHUTES)
    configure(first.base(), second.base())
    looks = [threading.Event() for _ in range(4)]
    seen = iter(looks)

    class Own:
        @lgp.hookimpl
        def gateway_utilization(self, base: Any, fetch: Any) -> Any:
            if base.origin == first.url:
                next(seen, looks[-1]).set()
            return {}

    lgp.install().plugins.register(Own())
    router = lgp.auto_router_from_env(refresh_s=0.01)
    assert looks[2].wait(10)
    threads = [each for each in threading.enumerate() if each.name == "litellm-gateway-ranks"]
    getattr(router, "retire", router.discard)()
    for each in threads:
        each.join(10)
    assert threads
    assert not any(each.is_alive() for each in threads)


def test_ranks_are_not_looked_at_after_uninstall(start: Start, configure: Any) -> None:
    first, second = start(CHUTES), start(CHUTES)
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env(refresh_s=3600)
    threads = [each for each in threading.enumerate() if each.name == "litellm-gateway-ranks"]
    lgp.uninstall()
    for each in threads:
        each.join(10)
    assert threads
    assert not any(each.is_alive() for each in threads)
    del router


def test_a_new_installation_does_not_end_the_looks(start: Start, configure: Any, keepers: list[RankKeeper]) -> None:
    first, second = start(CHUTES, pages=busy(0.1)), start(CHUTES, pages=busy(0.7))
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env()
    lgp.install(cold_grace_s=0.3)
    first.change(pages=busy(0.9))
    keepers[0].look()
    assert bases_of(router) == [second.base(), first.base()]


@pytest.mark.parametrize(("bases", "refresh_s"), [(1, None), (2, 0)])
def test_nobody_looks_when_there_is_nothing_to_rank(
    start: Start, configure: Any, keepers: list[RankKeeper], bases: int, refresh_s: float | None
) -> None:
    configure(*(start(CHUTES).base() for _ in range(bases)))
    lgp.auto_router_from_env(refresh_s=refresh_s)
    assert keepers == []


def test_the_event_loop_goes_on_while_gateways_are_asked(start: Start, configure: Any) -> None:
    server = start(CHUTES)
    configure(server.base())
    let_go = threading.Event()

    class Own:
        @lgp.hookimpl
        def gateway_utilization(self, base: Any, fetch: Any) -> Any:
            assert let_go.wait(10), "the event loop stood still"
            return {}

    async def both() -> tuple[litellm.Router, list[dict[str, Any]]]:
        lgp.install().plugins.register(Own())
        asyncio.get_running_loop().call_later(0.05, let_go.set)
        return await lgp.aauto_router_from_env(), await lgp.aauto_model_list_from_env()

    router, listed = asyncio.run(both())
    assert made_of(router) == [(server.base(), f"gateway/{MODEL}")]
    assert [each["litellm_params"]["model"] for each in listed] == [f"gateway/{MODEL}"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first", "second"])
def test_when_all_are_full_the_call_waits_for_the_one_that_is_free_first(
    start: Start, configure: Any, order: tuple[int, int]
) -> None:
    servers = [start(CHUTES, pages=busy(share)) for share in (0.1, 0.8)]
    soon, late = (servers[place] for place in order)
    configure(*(each.base() for each in servers))
    router = lgp.auto_router_from_env(refresh_s=0, timeout=20)
    soon.full(times=1, retry_after="0.3")
    late.full(retry_after="60")
    response = asyncio.run(router.acompletion("text", MESSAGES))
    assert (lgp.attribution(response) or {})["api_base"] == soon.base()
    assert chats(late) <= 1


def test_a_key_that_is_refused_is_no_reason_to_be_first(
    start: Start, configure: Any, keepers: list[RankKeeper]
) -> None:
    locked = start(CHUTES, pages=busy(0.1), key="another-key-of-theirs", public_checks_authorization=False)
    alive = start(CHUTES, pages=busy(0.6))
    configure(locked.base(), alive.base())
    router = lgp.auto_router_from_env()
    assert bases_of(router) == [locked.base(), alive.base()]
    assert text_of(router.completion("text", MESSAGES)) == "echo: hello"
    keepers[0].look()
    assert bases_of(router) == [alive.base(), locked.base()]


def test_a_web_page_in_the_place_of_a_listing_is_no_gateway(start: Start, configure: Any) -> None:
    console, alive = start(CHUTES), start(CHUTES)
    console.fault("html", times=None, surfaces=("models",))
    configure(console.base(), alive.base(), CHUTES_TEXT_MODEL_1="their/model")
    assert bases_of(lgp.auto_router_from_env()) == [alive.base()]


def test_a_preference_that_is_not_listed_is_named(
    start: Start, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(CHUTES)
    configure(server.base(), CHUTES_TEXT_MODEL_1="Qwen/Qwen3-33B")
    assert made_of(lgp.auto_router_from_env()) == [(server.base(), f"gateway/{MODEL}")]
    assert f"The preferred model of the gateway at {server.base()} is not in its listing" in caplog.text


def test_one_gateway_in_two_spellings_counts_once(start: Start, configure: Any) -> None:
    server = start(CHUTES)
    configure(server.base(), server.url, server.base() + "/")
    assert len(made_of(lgp.auto_router_from_env())) == 1


def test_the_router_is_the_stock_one_with_the_options_given(start: Start, configure: Any) -> None:
    configure(start(CHUTES).base())
    router = lgp.auto_router_from_env(model_name="mine", num_retries=3, timeout=7)
    assert type(router) is litellm.Router
    assert (router.num_retries, router.timeout) == (3, 7)
    assert text_of(router.completion("mine", MESSAGES)) == "echo: hello"
    info = deployments_of(router)[0]["model_info"]
    assert (info["max_input_tokens"], info["input_cost_per_token"]) == (262144, 8e-08)


def test_a_router_that_is_full_everywhere_is_asked_again_when_there_is_room(
    start: Start, configure: Any, caller: Caller
) -> None:
    servers = [start(CHUTES), start(CHUTES)]
    configure(*(each.base() for each in servers))
    router = lgp.auto_router_from_env(refresh_s=0, timeout=20)
    for server in servers:
        server.full(times=1, retry_after="0.2")
    assert caller.ask(router) == "echo: hello"
    assert sum(chats(each) for each in servers) <= 4
