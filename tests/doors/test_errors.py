"""Wrong input and wrong gateways: litellm's own classes, one sentence for a person, no credential."""

from __future__ import annotations

import logging
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin import errors
from litellm_gateway_plugin.litellm_errors import MAP, to_litellm
from litellm_gateway_plugin.testing import FAKE_KEY, Fault, Manners, html_answer, json_answer, redirect
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL = "test/model-small"
WRONG_KEY = "sk-test-wrong-0123456789"


def every_error(kind: type[errors.GatewayError] = errors.GatewayError) -> list[type[errors.GatewayError]]:
    """The whole tree."""
    children = (child for child in kind.__subclasses__() if child.__module__ == errors.__name__)
    return [kind, *(leaf for child in children for leaf in every_error(child))]


def test_the_map_to_litellm_is_total() -> None:
    assert set(every_error()) == set(MAP)
    for kind in every_error():
        facts = {"status": 500} if issubclass(kind, errors.Answered) else {}
        made = to_litellm(kind("words", **facts), "m", "gateway")
        assert isinstance(made, litellm.openai.OpenAIError)
        assert "words" in str(made)


def test_a_wrong_key_names_the_styles_and_the_base(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    with pytest.raises(litellm.AuthenticationError) as caught:
        door.chat(MODEL, api_base=server.base(), api_key=WRONG_KEY)
    assert "Styles tried: bearer, x-api-key, raw, api-key" in str(caught.value)
    assert server.base() in str(caught.value)
    assert WRONG_KEY not in str(caught.value)
    # the other form of the base is looked at once: nothing has told yet which of the two it is
    assert server.styles("chat") == ["bearer", "x-api-key", "raw", "api-key", "bearer"]

    server.clear()
    with pytest.raises(litellm.AuthenticationError, match="bearer, x-api-key, raw, api-key"):
        door.chat(MODEL, api_base=server.base(), api_key=WRONG_KEY)
    assert server.styles("chat") == ["bearer"]

    server.clear()
    door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    assert [seen.status for seen in server.seen] == [200]


def test_an_unknown_model_names_the_nearest_ids(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    with pytest.raises(litellm.NotFoundError) as caught:
        door.chat("test/model-smal", api_base=server.base(), api_key=FAKE_KEY)
    assert "'test/model-small'" in str(caught.value)
    assert [seen.surface for seen in server.seen] == ["chat", "models"]


def test_a_web_page_is_no_gateway(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(absent=("chat", "responses"), missing_route=html_answer(200, "Welcome to the console")))
    with pytest.raises(litellm.openai.OpenAIError, match="a web page"):
        door.chat(MODEL, api_base=server.base("/v1"), api_key=FAKE_KEY)
    assert [seen.path for seen in server.seen] == ["/v1/chat/completions", "/chat/completions"]


def test_no_such_route_names_both_addresses(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ("/elsewhere",)}))
    with pytest.raises(litellm.NotFoundError) as caught:
        door.chat(MODEL, api_base=server.base("/v1"), api_key=FAKE_KEY)
    assert f"{server.url}/v1/chat/completions gave 404" in str(caught.value)
    assert f"{server.url}/chat/completions gave 404" in str(caught.value)


def test_no_base_names_the_variables() -> None:
    with pytest.raises(litellm.BadRequestError, match="LITELLM_GATEWAY_API_BASE"):
        litellm.completion(model=f"gateway/{MODEL}", messages=[])


@pytest.mark.parametrize(
    "base",
    ["nonsense", "ftp://host/v1", "http://", "http://host:port/v1", "http://ho st/v1", "https://hé.example/v1"],
)
def test_a_base_that_is_no_url(base: str, provider_door: Door) -> None:
    with pytest.raises(litellm.BadRequestError, match="api_base"):
        provider_door.chat(MODEL, api_base=base, api_key=FAKE_KEY)


def test_a_base_that_litellm_cannot_parse_either() -> None:
    """A sync call fails inside litellm before any door; the hook is asked before that."""
    for prefix in ("gateway/", "openai/", ""):
        with pytest.raises(litellm.BadRequestError, match="api_base"):
            Door(prefix, True).chat(MODEL, api_base="http://[::1/v1", api_key=FAKE_KEY)


@pytest.mark.parametrize("key", ["two\nlines", "sk-é", "sk-\x00"])
def test_a_key_that_no_header_can_carry(key: str, provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    with pytest.raises(litellm.BadRequestError) as caught:
        provider_door.chat(MODEL, api_base=server.base(), api_key=key)
    assert "API key" in str(caught.value)
    assert key not in str(caught.value)
    assert server.seen == []


def test_a_key_read_from_a_file_is_trimmed(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    provider_door.chat(MODEL, api_base=server.base(), api_key=f"{FAKE_KEY}\n")
    assert server.served[-1].key_ok


@pytest.mark.parametrize("headers", [{"x-team": "a\r\nb"}, {"x-team": "blé"}, {"bad name": "x"}])
def test_a_header_that_cannot_be_sent(headers: dict[str, str], gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    with pytest.raises(litellm.BadRequestError, match="header"):
        litellm.completion(
            model=f"gateway/{MODEL}", messages=[], api_base=server.base(), api_key=FAKE_KEY, extra_headers=headers
        )
    assert server.seen == []


def test_no_network(door: Door) -> None:
    # litellm's name for a connection error of the OpenAI client is InternalServerError
    with pytest.raises((litellm.APIConnectionError, litellm.InternalServerError)):
        door.chat(MODEL, api_base="http://127.0.0.1:9/v1", api_key=FAKE_KEY, max_retries=0)


def test_a_redirect_to_another_origin_is_not_followed(provider_door: Door, gateway: GatewayFactory) -> None:
    elsewhere = gateway(Manners())
    server = gateway(
        Manners(absent=("chat", "responses"), missing_route=redirect(302, f"{elsewhere.base()}/chat/completions"))
    )
    with pytest.raises(litellm.NotFoundError, match=elsewhere.url):
        provider_door.chat(MODEL, api_base=server.base("/v1"), api_key=FAKE_KEY)
    assert elsewhere.seen == []


@pytest.mark.parametrize("status", [400, 402, 403, 404, 408, 409, 413, 422, 429, 451, 500, 501, 502, 503, 504, 529])
def test_every_status_keeps_its_number(status: int, provider_door: Door, gateway: GatewayFactory) -> None:
    words = {"error": {"message": "your plan does not include this", "type": "t", "code": status}}
    server = gateway(Manners(fault=Fault(answer=json_answer(status, words))))
    with pytest.raises(litellm.openai.OpenAIError) as caught:
        provider_door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    error: Any = caught.value
    full = status in (429, 503, 529)
    assert error.status_code == (429 if full else status)
    assert isinstance(error, litellm.RateLimitError) == full
    assert "your plan does not include this" in str(error)


def test_the_context_window_error_is_litellms_own(provider_door: Door, gateway: GatewayFactory) -> None:
    words = {"error": {"message": "This model's maximum context length is 2048 tokens.", "type": "BadRequestError"}}
    server = gateway(Manners(fault=Fault(answer=json_answer(400, words))))
    with pytest.raises(litellm.ContextWindowExceededError):
        provider_door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)


def test_no_log_at_any_level_holds_the_key(
    door: Door, gateway: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = gateway(Manners(styles={"*": ("x-api-key",)}, refusal="vllm"))
    with caplog.at_level(logging.DEBUG, logger="litellm_gateway_plugin"):
        door.chat(MODEL, api_base=server.url, api_key=FAKE_KEY)
        with pytest.raises(litellm.AuthenticationError):
            door.chat(MODEL, api_base=server.url, api_key=WRONG_KEY)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("litellm_gateway_plugin")]
    assert ours
    assert not [line for line in ours if FAKE_KEY in line or WRONG_KEY in line]


def test_a_gateway_that_quotes_the_key_does_not_get_it_into_the_error(
    provider_door: Door, gateway: GatewayFactory
) -> None:
    refusal = json_answer(401, {"error": {"message": f"Incorrect API key provided: {WRONG_KEY}"}})
    server = gateway(Manners(refusal=refusal))
    with pytest.raises(litellm.AuthenticationError) as caught:
        provider_door.chat(MODEL, api_base=server.base(), api_key=WRONG_KEY)
    assert WRONG_KEY not in str(caught.value)
    assert WRONG_KEY not in str(vars(caught.value.response))


def test_settings_that_cannot_be_used_name_the_setting(isolated_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.InvalidInput, match=r"cold_grace_s|COLD_GRACE"):
        lgp.install(cold_grace_s=-1)
    with pytest.raises(errors.InvalidInput, match="api_base"):
        lgp.install(api_base="nonsense")
    isolated_environment.setenv("LITELLM_GATEWAY_INTERCEPT", "sometimes")
    with pytest.raises(errors.InvalidInput, match=r"(?i)intercept"):
        lgp.install(negotiate=True)


def test_nothing_of_ours_shows_a_key_in_its_repr() -> None:
    handle = lgp.install(api_base="https://user:secret@llm.example.com/v1", api_key=FAKE_KEY)
    ask, _ = handle.ask(surface="chat/completions", model="m", api_base=None, api_key=None, headers={})
    for value in (handle, handle.settings, ask, ask.base, handle.bases, handle.memory):
        assert FAKE_KEY not in repr(value)
        assert "secret" not in repr(value)
