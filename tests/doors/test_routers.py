"""What of a Router can be seen and steered from the provider."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import litellm
import pytest
from litellm import CustomLLM, CustomStreamWrapper
from litellm.integrations.custom_logger import CustomLogger
from litellm.types.router import RouterRateLimitError
from litellm.types.utils import EmbeddingResponse, ModelResponse, ModelResponseStream

from litellm_gateway_plugin.routers import RouterCall, group_params, leave_uncooled, router_call

MESSAGES = [{"role": "user", "content": "hello"}]
LISTS = (
    "callbacks",
    "success_callback",
    "failure_callback",
    "_async_success_callback",
    "_async_failure_callback",
    "custom_provider_map",
    "provider_list",
    "_custom_providers",
)
FIRST, SECOND = "http://first.invalid", "http://second.invalid"

pytestmark = pytest.mark.matrix


def full() -> litellm.RateLimitError:
    """A refusal as the provider raises it."""
    response = httpx.Response(429, headers={"retry-after": "30"}, request=httpx.Request("POST", FIRST))
    return litellm.RateLimitError("full", llm_provider="upstream", model="m", response=response)


@dataclass
class Upstream(CustomLLM):
    """A provider that says who called, and refuses when `refuses` says so."""

    seen: list[tuple[str, RouterCall | None]] = field(default_factory=list)
    refuses: Callable[[str], bool] = lambda base: False
    uncooled: bool = False

    def _serve(self, api_base: str, logging_obj: Any) -> None:
        self.seen.append((api_base, router_call(logging_obj.litellm_params)))
        if self.refuses(api_base):
            if self.uncooled:
                leave_uncooled(logging_obj)
            raise full()

    def completion(self, api_base: str, logging_obj: Any, model_response: ModelResponse, **_: Any) -> ModelResponse:
        self._serve(api_base, logging_obj)
        return model_response

    async def acompletion(
        self, api_base: str, logging_obj: Any, model_response: ModelResponse, **_: Any
    ) -> ModelResponse:
        return self.completion(api_base, logging_obj, model_response)

    def streaming(self, api_base: str, logging_obj: Any, **_: Any) -> Iterator[ModelResponseStream]:
        self._serve(api_base, logging_obj)
        return iter([chunk()])

    async def astreaming(self, api_base: str, logging_obj: Any, **_: Any) -> CustomStreamWrapper:
        self._serve(api_base, logging_obj)

        async def chunks() -> Any:
            yield chunk()

        return CustomStreamWrapper(chunks(), "m", logging_obj, "upstream")

    def embedding(
        self, api_base: str, logging_obj: Any, model_response: EmbeddingResponse, **_: Any
    ) -> EmbeddingResponse:
        self._serve(api_base, logging_obj)
        return model_response

    async def aembedding(
        self, api_base: str, logging_obj: Any, model_response: EmbeddingResponse, **_: Any
    ) -> EmbeddingResponse:
        return self.embedding(api_base, logging_obj, model_response)


def chunk() -> ModelResponseStream:
    return ModelResponseStream(choices=[{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}])


class EagerStreams(CustomLogger):
    """What our own hook does for a stream: its coroutine is awaited before the caller has the stream."""

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        return {**kwargs, "stream": 1} if kwargs.get("stream") is True else None


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """The provider under the name `upstream`; litellm's lists are put back, and the Routers with them."""
    before = {name: list(getattr(litellm, name)) for name in LISTS}
    provider = Upstream()
    litellm.custom_provider_map.append({"provider": "upstream", "custom_handler": provider})
    litellm.provider_list.append("upstream")
    litellm._custom_providers.append("upstream")
    litellm.callbacks.append(EagerStreams())
    yield provider
    for name, entries in before.items():
        getattr(litellm, name)[:] = entries


def deployment(base: str, name: str = "group", **params: Any) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": "upstream/m", "api_base": base, "api_key": "sk-test", **params},
        "model_info": {"id": f"{name} at {base}"},
    }


def build(*deployments: dict[str, Any], **options: Any) -> litellm.Router:
    return litellm.Router(model_list=list(deployments), **{"num_retries": 0, **options})


async def achat(router: litellm.Router, model: str) -> None:
    await router.acompletion(model, MESSAGES)


async def astream(router: litellm.Router, model: str) -> None:
    async for _ in await router.acompletion(model, MESSAGES, stream=True):
        pass


async def aembed(router: litellm.Router, model: str) -> None:
    await router.aembedding(model, input=["one"])


async def atext(router: litellm.Router, model: str) -> None:
    await router.atext_completion(model, prompt="hello")


async def respond(router: litellm.Router, model: str) -> None:
    await router.aresponses(model=model, input="hello")


async def anthropic(router: litellm.Router, model: str) -> None:
    await router.aanthropic_messages(model=model, messages=MESSAGES, max_tokens=5)


def chat(router: litellm.Router, model: str) -> None:
    router.completion(model, MESSAGES)


def stream(router: litellm.Router, model: str) -> None:
    list(router.completion(model, MESSAGES, stream=True))


def embed(router: litellm.Router, model: str) -> None:
    router.embedding(model, input=["one"])


REFUSALS = (litellm.RateLimitError, RouterRateLimitError)
SYNC = (chat, stream, embed)
SURFACES = (*SYNC, achat, astream, aembed, atext, respond, anthropic)
Ask = Callable[..., Any]


@pytest.fixture(params=SURFACES, ids=lambda surface: surface.__name__)
def surface(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


def ask(surface: Ask, router: litellm.Router, *models: str) -> list[str]:
    """Call once for each name, in one event loop; the class of each outcome."""

    async def each() -> list[str]:
        said = []
        for model in models:
            try:
                await surface(router, model)
                said.append("answered")
            except REFUSALS as error:
                said.append(type(error).__name__)
        return said

    if surface not in SYNC:
        return asyncio.run(each())
    said = []
    for model in models:
        try:
            surface(router, model)
            said.append("answered")
        except REFUSALS as error:
            said.append(type(error).__name__)
    return said


def bases(call: RouterCall | None) -> list[str]:
    assert call is not None
    return [params["api_base"] for params in group_params(call)]


def test_a_routers_attempt_is_known(surface: Ask, upstream: Upstream) -> None:
    router = build(deployment(FIRST), model_group_alias={"nickname": "group"})
    assert ask(surface, router, "group", "nickname") == ["answered", "answered"]
    expected = [RouterCall(name, f"group at {FIRST}") for name in ("group", "nickname")]
    assert upstream.seen == [(FIRST, call) for call in expected]


def test_a_direct_call_is_none(upstream: Upstream) -> None:
    build(deployment(FIRST))
    litellm.completion("upstream/m", MESSAGES, api_base=FIRST, metadata={"trace": "mine"})
    asyncio.run(litellm.aembedding("upstream/m", input=["one"], api_base=FIRST))
    assert upstream.seen == [(FIRST, None), (FIRST, None)]


@pytest.mark.parametrize("params", [{}, {"metadata": None}, {"metadata": "x"}, {"metadata": {"model_group": "g"}}])
def test_odd_params_are_none(params: dict[str, Any]) -> None:
    assert router_call(params) is None


def test_the_callers_own_metadata_does_not_hide_the_router(upstream: Upstream) -> None:
    router = build(deployment(FIRST))
    router.completion("group", MESSAGES, metadata={"trace": "mine"})
    router.completion("group", MESSAGES, litellm_metadata={"trace": "mine"})
    assert {call for _, call in upstream.seen} == {RouterCall("group", f"group at {FIRST}")}


def test_the_group_of_an_attempt(surface: Ask, upstream: Upstream) -> None:
    router = build(deployment(FIRST), deployment(SECOND), deployment("http://x.invalid", "other"))
    build(deployment("http://y.invalid"))
    ask(surface, router, "group")
    (_, call) = upstream.seen[0]
    assert bases(call) == [FIRST, SECOND]


def test_the_group_under_other_names(upstream: Upstream) -> None:
    wildcard = deployment(SECOND, "upstream/*", model="upstream/*")
    router = build(deployment(FIRST), deployment(SECOND), wildcard, model_group_alias={"nickname": "group"})
    for name in ("nickname", f"group at {FIRST}", "upstream/anything"):
        router.completion(name, MESSAGES)
    assert [bases(call) for _, call in upstream.seen] == [[FIRST, SECOND], [FIRST], [SECOND]]


def test_the_group_of_a_team(upstream: Upstream) -> None:
    owned = deployment(FIRST, "internal")
    owned["model_info"] |= {"team_id": "red", "team_public_model_name": "public"}
    build(owned, deployment(SECOND, "public"))
    assert bases(RouterCall("public", f"internal at {FIRST}", "red")) == [FIRST]


def test_of_two_routers_the_newer_is_asked(upstream: Upstream) -> None:
    build(deployment(FIRST))
    build(deployment(FIRST), deployment(SECOND))
    build(deployment(SECOND, "other"))
    assert bases(RouterCall("group", f"group at {FIRST}")) == [FIRST, SECOND]


def test_changed_deployments_are_seen_at_once(upstream: Upstream) -> None:
    router = build(deployment(FIRST))
    call = RouterCall("group", f"group at {FIRST}")
    assert bases(call) == [FIRST]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer litellm has other names for it
        router.set_model_list([deployment(FIRST), deployment(SECOND)])
        assert bases(call) == [FIRST, SECOND]
        router.delete_deployment(id=f"group at {FIRST}")
    assert group_params(call) == ()


def test_no_router_no_group(upstream: Upstream) -> None:
    assert group_params(RouterCall("group", "nobody's")) == ()
    build(deployment(FIRST))
    assert group_params(RouterCall("group", "nobody's")) == ()


def test_a_refused_deployment_is_cooled_by_default(surface: Ask, upstream: Upstream) -> None:
    upstream.refuses = lambda base: True
    said = ask(surface, build(deployment(FIRST), deployment(SECOND)), "group", "group", "group")
    assert said == ["RateLimitError", "RateLimitError", "RouterRateLimitError"]
    assert len(upstream.seen) == 2


def test_a_deployment_left_uncooled_is_asked_again(surface: Ask, upstream: Upstream) -> None:
    upstream.refuses, upstream.uncooled = lambda base: True, True
    router = build(deployment(FIRST), deployment(SECOND))
    assert ask(surface, router, *["group"] * 4) == ["RateLimitError"] * 4
    assert len(upstream.seen) == 4
    upstream.uncooled = False
    assert ask(surface, router, *["group"] * 3)[-1] == "RouterRateLimitError"  # it was for those calls alone


@pytest.mark.parametrize("place", ["litellm_params", "model_info"])
def test_the_operators_cooldown_time_stays_in_force_for_other_errors(place: str, upstream: Upstream) -> None:
    upstream.refuses, upstream.uncooled = lambda base: True, True
    deployments = [deployment(FIRST), deployment(SECOND)]
    for entry in deployments:
        entry[place]["cooldown_time"] = 20
    router = build(*deployments)
    assert ask(achat, router, *["group"] * 4) == ["RateLimitError"] * 4
    assert ask(chat, router, *["group"] * 4) == ["RateLimitError"] * 4
    params = group_params(RouterCall("group", f"group at {FIRST}"))
    assert [found.get("cooldown_time") for found in params] == [20 if place == "litellm_params" else None] * 2
    upstream.uncooled = False
    assert ask(chat, router, *["group"] * 3)[-1] == "RouterRateLimitError"


@pytest.mark.parametrize("retry", [achat, astream, aembed, chat, stream, embed])
def test_a_cooled_deployment_is_avoided_by_the_very_next_attempt(retry: Ask, upstream: Upstream) -> None:
    upstream.refuses = lambda base: base == FIRST
    for _ in range(5):
        assert ask(retry, build(deployment(FIRST), deployment(SECOND), num_retries=1), "group") == ["answered"]
    assert 5 <= len(upstream.seen) <= 10


def test_nothing_to_leave_uncooled() -> None:
    leave_uncooled(object())
    leave_uncooled(type("Logging", (), {"model_call_details": {}})())
