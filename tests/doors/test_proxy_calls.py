"""What a call of the LiteLLM proxy may not be told by its client, and what a client is told: through a stock Router."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.deployment_hook import GatewayCallback
from litellm_gateway_plugin.handle import Gateway
from litellm_gateway_plugin.installation import current
from litellm_gateway_plugin.proxy_calls import as_configured, failure_headers
from litellm_gateway_plugin.testing import FAKE_KEY, PUBLIC, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory

pytestmark = pytest.mark.matrix

MODEL = "test/model-small"
THEIRS = "sk-clients-own"
MESSAGES = [{"role": "user", "content": "hello"}]
OF_PROXY: dict[str, Any] = {"proxy_server_request": {"url": "http://proxy/v1/chat/completions", "body": {}}}
SAID: dict[str, dict[str, Any]] = {
    "api_key": {"api_key": THEIRS},
    "provider": {"custom_llm_provider": "anthropic"},
    "azure": {"azure": True},
    "deployment_id": {"deployment_id": "other"},
    "credential": {"litellm_credential_name": "other"},
    "extra_headers": {"extra_headers": {"X-API-Key": THEIRS}},
    "headers": {"headers": {"authorization": f"Bearer {THEIRS}"}},
    "cookie": {"extra_headers": {"cookie": THEIRS, "proxy-authorization": THEIRS}},
}
WARM = [("x-api-key", True, ("x-api-key",))]


@pytest.fixture
def server(gateway: GatewayFactory) -> PickyGateway:
    """A gateway that takes one style, about which all is known."""
    server = gateway(Manners(styles={"*": ("x-api-key",)}))
    litellm.completion(f"gateway/{MODEL}", MESSAGES, api_base=server.base(), api_key=FAKE_KEY)
    server.clear()
    return server


def router_of(server: PickyGateway, **more: Any) -> litellm.Router:
    params = {"model": f"gateway/{MODEL}", "api_base": server.base(), "api_key": FAKE_KEY, **more}
    return litellm.Router([{"model_name": "m", "litellm_params": params}], num_retries=0)


def handle() -> Gateway:
    installation = current()
    assert installation is not None
    return installation.gateway


def called(router: litellm.Router, **more: Any) -> Any:
    return asyncio.run(router.acompletion("m", MESSAGES, **more))


def seen(server: PickyGateway) -> list[tuple[str, bool, tuple[str, ...]]]:
    return [(each.style, each.key_ok, each.credential_headers) for each in server.seen]


@pytest.mark.parametrize("said", SAID)
def test_a_client_cannot_steer(said: str, server: PickyGateway) -> None:
    called(router_of(server), **OF_PROXY, **SAID[said])
    assert seen(server) == WARM


@pytest.mark.parametrize("said", SAID)
def test_nor_at_embeddings(said: str, server: PickyGateway) -> None:
    asyncio.run(router_of(server).aembedding("m", ["hello"], **OF_PROXY, **SAID[said]))
    assert seen(server) == WARM


def test_a_call_that_is_not_the_proxys_says_what_it_likes(server: PickyGateway) -> None:
    with pytest.raises(litellm.AuthenticationError):
        called(router_of(server), extra_headers={"x-api-key": THEIRS})
    assert server.seen[0].style == "x-api-key"
    assert not server.seen[0].key_ok


def test_an_operators_headers_stand_beside_a_clients(server: PickyGateway) -> None:
    router = router_of(server, extra_headers={"x-tenant": "ours"})
    called(router, **OF_PROXY, extra_headers={"X-Tenant": "theirs", "x-trace": "7"})
    assert (server.seen[0].headers["x-tenant"], server.seen[0].headers["x-trace"]) == ("ours", "7")


def test_an_operators_key_in_a_header_stands(server: PickyGateway) -> None:
    router = router_of(server, api_key=None, extra_headers={"x-api-key": FAKE_KEY})
    called(router, **OF_PROXY, extra_headers={"x-api-key": THEIRS, "authorization": THEIRS})
    assert seen(server) == WARM


@pytest.mark.parametrize("more", [{}, {"api_key": None}])
def test_a_named_credential_of_the_operators_is_used(
    more: dict[str, Any], server: PickyGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litellm.types.utils import CredentialItem

    named = CredentialItem(credential_name="ours", credential_values={"api_key": FAKE_KEY}, credential_info={})
    monkeypatch.setattr(litellm, "credential_list", [named])
    router = router_of(server, litellm_credential_name="ours", api_key=None)
    called(router, **OF_PROXY, litellm_credential_name="theirs", **more)
    assert seen(server) == WARM


def test_an_operator_may_let_clients_bring_keys(server: PickyGateway) -> None:
    with pytest.raises(litellm.AuthenticationError):
        called(router_of(server, configurable_clientside_auth_params=["api_key"]), **OF_PROXY, api_key=THEIRS)
    assert not any(each.key_ok for each in server.seen)


@pytest.mark.parametrize("own", [{}, {"extra_headers": {"x-api-key": FAKE_KEY}}, {"api_key": None}])
@pytest.mark.parametrize("theirs", [None, THEIRS])
def test_a_deployments_key_stays_at_home_where_clients_may_name_a_base(
    own: dict[str, Any], theirs: str | None, server: PickyGateway, gateway: GatewayFactory
) -> None:
    elsewhere = gateway(Manners(styles={"*": (PUBLIC,)}))
    allowed = ["api_base", "api_key"] if theirs else ["api_base"]
    router = router_of(server, configurable_clientside_auth_params=allowed, **own)
    called(router, **OF_PROXY, api_base=elsewhere.base(), **({"api_key": theirs} if theirs else {}))
    assert set(seen(elsewhere)) == {("bearer", False, ("authorization",)) if theirs else ("none", False, ())}
    assert server.seen == []


@pytest.mark.parametrize("allowed", [None, ["api_key"]])
@pytest.mark.parametrize("name", ["api_base", "base_url"])
def test_a_client_cannot_name_a_base_in_fallbacks(
    name: str, allowed: list[str] | None, server: PickyGateway, gateway: GatewayFactory
) -> None:
    """The proxy of litellm 1.90 does not look into them."""
    elsewhere = gateway(Manners(styles={"*": (PUBLIC,)}))
    server.full(times=1, retry_after="0")
    router = router_of(server, configurable_clientside_auth_params=allowed)
    called(router, **OF_PROXY, fallbacks=[{"model": "m", name: elsewhere.base()}])
    assert (seen(server), elsewhere.seen) == (WARM * 2, [])


def test_a_key_stays_at_home_in_whatever_spelling_a_base_is_named(
    server: PickyGateway, gateway: GatewayFactory
) -> None:
    elsewhere = gateway(Manners(styles={"*": (PUBLIC,)}))
    router = router_of(server, configurable_clientside_auth_params=["base_url"])
    called(router, **OF_PROXY, base_url=elsewhere.base())
    assert (set(seen(elsewhere)), server.seen) == ({("none", False, ())}, [])


def test_a_key_of_a_deployment_without_a_base_is_for_the_configured_gateway(
    server: PickyGateway, gateway: GatewayFactory
) -> None:
    lgp.install(api_base=server.base())
    elsewhere = gateway(Manners(styles={"*": (PUBLIC,)}))
    opted = {"api_base": None, "configurable_clientside_auth_params": ["api_base"]}
    called(router_of(server, **opted), **OF_PROXY, api_base=elsewhere.base())
    assert (set(seen(elsewhere)), server.seen) == ({("none", False, ())}, [])
    # another Router: with litellm 1.90 the client's base stays in the group of the first one
    called(router_of(server, **opted), **OF_PROXY, api_base=server.base())
    assert all(each.key_ok for each in server.seen)
    assert server.seen


def test_a_key_stays_at_home_where_litellm_itself_carries_the_call(
    server: PickyGateway, gateway: GatewayFactory
) -> None:
    """To it the plugin leaves every base but the configured ones."""
    lgp.install(api_base=server.base(), intercept="configured")
    elsewhere = gateway(Manners(styles={"*": (PUBLIC,)}))
    router = router_of(server, model=f"openai/{MODEL}", configurable_clientside_auth_params=["api_base"])
    with pytest.raises((litellm.AuthenticationError, litellm.InternalServerError), match="api_key"):
        called(router, **OF_PROXY, api_base=elsewhere.base())  # litellm wants one
    called(router, **OF_PROXY, api_base=elsewhere.base(), api_key=THEIRS)
    assert (seen(elsewhere), server.seen) == ([("bearer", False, ("authorization",))], [])


def test_a_named_credentials_base_is_its_deployments(server: PickyGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from litellm.types.utils import CredentialItem

    values = {"api_key": FAKE_KEY, "api_base": server.base()}
    named = CredentialItem(credential_name="ours", credential_values=values, credential_info={})
    monkeypatch.setattr(litellm, "credential_list", [named])
    for allowed in (None, ["api_base"]):
        own = {"api_base": None, "api_key": None, "configurable_clientside_auth_params": allowed}
        router = router_of(server, litellm_credential_name="ours", **own)
        called(router, **OF_PROXY)
        asyncio.run(router.aresponses(model="m", input="hello", **OF_PROXY))  # where litellm calls itself
    called(router, **OF_PROXY, api_base=server.base())  # which is at home
    assert seen(server) == WARM * 5


def test_a_client_cannot_steer_where_an_operator_has_replaced_the_callback_lists(
    server: PickyGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Router is else found by its methods there."""
    router = router_of(server)
    with monkeypatch.context() as replaced:  # the lists are back before the Router is discarded
        for name in ("failure_callback", "success_callback"):
            replaced.setattr(litellm, name, [])
        replaced.setitem(sys.modules, "litellm.proxy.proxy_server", SimpleNamespace(llm_router=router))
        called(router, **OF_PROXY, **SAID["extra_headers"])
    assert seen(server) == WARM


def test_no_client_names_a_deployment_by_which_we_would_find_its_key() -> None:
    data = {"model": "gateway/x", "messages": MESSAGES, "model_info": {"id": "some"}, **OF_PROXY}
    left = asyncio.run(lgp.callback.async_pre_call_hook(None, None, dict(data), "completion"))
    assert left == {name: value for name, value in data.items() if name != "model_info"}


@pytest.mark.parametrize("provider", ["gateway", "openai_like", "Qwen"])
def test_another_providers_call_is_not_made_ours(provider: str) -> None:
    lgp.install(api_base="https://llm.example.com/v1", api_key=FAKE_KEY)  # where calls of ours without a base go
    info = {"id": "stock"}
    params = {"model": "groq/llama", "api_key": FAKE_KEY}
    router = litellm.Router([{"model_name": "m", "litellm_params": params, "model_info": info}])
    asked = {"model": "groq/llama", "model_info": info, "custom_llm_provider": provider, **OF_PROXY}
    callback: GatewayCallback = lgp.callback
    assert router is not None  # it is known to litellm for as long as it lives
    changed = asyncio.run(callback.async_pre_call_deployment_hook(asked, "acompletion"))
    assert changed == {**asked, "custom_llm_provider": None}
    # where litellm calls itself it has cut the provider off the id, and names it
    inner = {**asked, "model": "llama", "custom_llm_provider": "groq"}
    assert asyncio.run(callback.async_pre_call_deployment_hook(inner, "acompletion")) is None


@pytest.mark.parametrize("name", ["m", "some/id"])
@pytest.mark.parametrize(
    ("params", "stays"),
    [
        ({}, False),
        ({"configurable_clientside_auth_params": ["api_key"]}, True),
        ({"model": "groq/llama", "api_base": None}, True),
    ],
    ids=["ours", "allowed", "another provider's"],
)
def test_a_clients_key_is_taken_out_before_the_router_sees_it(
    name: str, params: dict[str, Any], stays: bool, server: PickyGateway
) -> None:
    """Before 1.105 litellm would keep a deployment with that key in the group."""
    given = {"model": f"gateway/{MODEL}", "api_base": server.base(), "api_key": FAKE_KEY, **params}
    groups = [{"model_name": group, "litellm_params": given} for group in ("m", "some/*")]
    router = litellm.Router(groups)
    assert router is not None  # it is known to litellm for as long as it lives
    data = {"model": name, "messages": MESSAGES, "api_key": THEIRS, **OF_PROXY}
    left = asyncio.run(lgp.callback.async_pre_call_hook(None, None, dict(data), "completion"))
    assert left == (data if stays else {key: value for key, value in data.items() if key != "api_key"})


def test_an_operators_credential_stands_where_litellm_has_moved_it(server: PickyGateway) -> None:
    own = {"x-api-key": FAKE_KEY}
    params = {"model": f"gateway/{MODEL}", "extra_headers": own}
    router = litellm.Router([{"model_name": "m", "litellm_params": params, "model_info": {"id": "ours"}}])
    assert router is not None  # it is known to litellm for as long as it lives
    asked = {"model": params["model"], "model_info": {"id": "ours"}, **OF_PROXY}
    assert as_configured(handle(), {**asked, "headers": {**own, "cookie": THEIRS}})["headers"] == own
    assert as_configured(handle(), {**asked, "headers": {"X-API-Key": THEIRS}})["headers"] == {}


def test_a_call_of_an_unknown_deployment_is_left_as_it_is() -> None:
    for info in ({"id": "nobody"}, None):
        asked = {"model": "gateway/x", "model_info": info, "api_key": THEIRS, **OF_PROXY}
        assert as_configured(handle(), asked) is asked


def test_a_failed_call_tells_when_to_come_back_and_what_was_tried(server: PickyGateway) -> None:
    server.full(times=1, retry_after="7", headers={"x-ratelimit-remaining-requests": "0", "x-litellm-gateway-lie": "1"})
    with pytest.raises(litellm.RateLimitError) as caught:
        called(router_of(server))
    hook = lgp.callback.async_post_call_failure_hook
    asyncio.run(hook(request_data={}, original_exception=caught.value, user_api_key_dict=None))
    told = caught.value.headers  # type: ignore[attr-defined]  # where the proxy looks first
    assert (told["retry-after"], told["x-ratelimit-remaining-requests"]) == ("7", "0")
    assert told["x-litellm-gateway-attempts"] == f"{server.base()} {MODEL} RateLimitError"
    assert [name for name in told if "x-litellm-gateway" in name] == ["x-litellm-gateway-attempts"]


def test_of_a_failure_elsewhere_nothing_is_told() -> None:
    error = ValueError("not ours")
    assert failure_headers(error) is None
    asyncio.run(lgp.callback.async_post_call_failure_hook({}, error, None))
    assert not hasattr(error, "headers")
