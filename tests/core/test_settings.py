from __future__ import annotations

import os

import pytest

from litellm_gateway_plugin.errors import InvalidInput
from litellm_gateway_plugin.settings import GatewayBase, GatewaySettings, load_settings, numbered_bases


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("LITELLM_GATEWAY", "CHUTES", "SCILLM"))]:
        monkeypatch.delenv(name)


def test_without_anything_there_is_no_base() -> None:
    settings = load_settings()
    assert settings.all_bases == ()
    assert (settings.negotiate, settings.intercept, settings.cold_grace_s, settings.cache) == (True, "auto", 1.0, True)


@pytest.mark.parametrize("prefix", ["LITELLM_GATEWAY", "CHUTES"])
def test_the_environment_names_gateways(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    for name, value in {
        "API_BASE": "https://a.example/v1",
        "API_KEY": "key-a\n",
        "API_BASE_2": "https://b.example",
        "API_KEY_2": "key-b",
        "API_BASE_1": "https://a.example/other",
        "API_BASE_10": "https://c.example",
        "API_BASE_X": "ignored",
        "API_KEY_7": "without a base",
        "API_BASE_8": "",
    }.items():
        monkeypatch.setenv(f"{prefix}_{name}", value)
    bases = load_settings().all_bases
    assert [(base.api_base, base.key) for base in bases] == [
        ("https://a.example/v1", "key-a"),
        ("https://a.example/other", "key-a"),
        ("https://b.example", "key-b"),
        ("https://c.example", None),
    ]
    assert "key-b" not in repr(bases)


def test_our_own_names_win_and_keyword_arguments_win_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUTES_API_BASE", "https://old.example")
    monkeypatch.setenv("LITELLM_GATEWAY_API_BASE", "https://new.example")
    assert load_settings().api_base == "https://new.example"
    assert load_settings(api_base="https://given.example").api_base == "https://given.example"


def test_a_base_given_twice_counts_once() -> None:
    both = (
        {"api_base": "https://b.example/"},
        {"api_base": "https://a.example/v1/", "api_key": "late"},
        {"api_base": "https://a.example/v1/", "api_key": "k"},
    )
    settings = load_settings(api_base="https://a.example/v1", api_key="k", bases=both)
    assert [(base.api_base, base.key) for base in settings.all_bases] == [
        ("https://a.example/v1", "k"),
        ("https://b.example/", None),
        ("https://a.example/v1/", "late"),  # another account at the same gateway
    ]


def test_further_bases_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_GATEWAY_BASES", '[{"api_base": "https://a.example", "api_key": "k"}]')
    assert load_settings().bases == (GatewayBase.model_validate({"api_base": "https://a.example", "api_key": "k"}),)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"api_base": "no-url-secret"}, "api_base"),
        ({"bases": [{"api_base": "no-url-secret"}]}, "bases"),
        ({"cold_grace_s": -1}, "greater than or equal to 0"),
        ({"intercept": "secret"}, "intercept|INTERCEPT"),
        ({"no_such_knob": "secret"}, "no_such_knob"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_clear_error(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        load_settings(**overrides)
    assert "secret" not in str(caught.value)


def test_a_key_goes_to_the_origin_that_it_was_set_for() -> None:
    environment = {
        "LITELLM_GATEWAY_API_BASE": "https://a.example",
        "LITELLM_GATEWAY_API_KEY": "k",
        "LITELLM_GATEWAY_API_BASE_1": "https://a.example:8443",
        "LITELLM_GATEWAY_API_BASE_2": "https://a.example/v1",
    }
    assert [base.key for base in numbered_bases(environment)] == [None, "k"]


def test_every_knob_says_what_it_is_for() -> None:
    assert all(field.description for field in GatewaySettings.model_fields.values())


@pytest.mark.parametrize("name", ["LITELLM_GATEWAY_RATE_LIMIT_QPS", "SCILLM_RATE_LIMIT_QPS", "LITELLM_TIMEOUT"])
def test_nought_is_no_limit(name: str, isolated_environment: pytest.MonkeyPatch) -> None:
    isolated_environment.setenv(name, "0")
    settings = load_settings()
    assert (settings.rate_limit_qps, settings.timeout_s) == (None, None)


@pytest.mark.parametrize("url", ["hello", "http://host:1", ""])
def test_a_redis_that_is_named_must_be_a_url(url: str) -> None:
    with pytest.raises(InvalidInput, match="redis://"):
        load_settings(redis_url=url)
    assert load_settings(redis_url="off").redis_url is not None


@pytest.mark.parametrize("name", ["MODEL_MAP", "BASES", "NAMESPACES"])
def test_what_is_no_json_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"LITELLM_GATEWAY_{name}", "{not json: sk-secret")
    with pytest.raises(InvalidInput, match=f"LITELLM_GATEWAY_{name} must be JSON") as raised:
        load_settings()
    assert "sk-secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_one_base_in_two_forms_counts_once() -> None:
    both = ({"api_base": "https://a.example", "api_key": "k"}, {"api_base": "https://a.example/v1", "api_key": "other"})
    settings = load_settings(api_base="https://a.example/v1/", api_key="k", bases=both)
    assert [(base.api_base, base.key) for base in settings.all_bases] == [
        ("https://a.example/v1/", "k"),
        ("https://a.example/v1", "other"),
    ]


def test_preferences_and_the_names_of_keys_are_those_of_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CHUTES_API_BASE": "https://a.example", "CHUTES_API_KEY": "k", "CHUTES_VLM_MODEL": "v",
        "CHUTES_API_BASE_2": "https://a.example/other", "LITELLM_GATEWAY_TEXT_MODEL_2": "t",
        "LITELLM_GATEWAY_API_BASE_5": "https://b.example", "LITELLM_GATEWAY_API_KEY_5": "five",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found = [(base.key_name, base.text_model, base.vlm_model) for base in load_settings().all_bases]
    assert found == [
        ("CHUTES_API_KEY", None, "v"),
        ("CHUTES_API_KEY", "t", None),
        ("LITELLM_GATEWAY_API_KEY_5", None, None),
    ]


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"LITELLM_GATEWAY_API_BASE": "secret-word"}, "LITELLM_GATEWAY_API_BASE"),
        ({"CHUTES_API_BASE": "secret-word"}, "CHUTES_API_BASE"),
        ({"LITELLM_GATEWAY_API_BASE_3": "secret-word"}, "LITELLM_GATEWAY_API_BASE_3"),
        ({"CHUTES_API_BASE_0": "secret-word", "LITELLM_GATEWAY_API_BASE_1": "https://a"}, "CHUTES_API_BASE_0"),
        ({"LITELLM_GATEWAY_BASES": '[{"api_base": "secret-word"}]'}, "LITELLM_GATEWAY_BASES[0].api_base"),
    ],
)
def test_a_base_that_is_none_is_told_once_by_its_variable(
    isolated_environment: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    for each, value in variables.items():
        isolated_environment.setenv(each, value)
    with pytest.raises(InvalidInput) as caught:
        load_settings()
    assert caught.value.message.startswith(f"The settings cannot be used: {name} is not a URL: it must begin with")
    assert "secret-word" not in caught.value.message


def test_a_base_that_is_none_in_code(isolated_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="used: api_base is not a URL"):
        load_settings(api_base="secret-word")
    with pytest.raises(InvalidInput, match=r"used: bases\[1\].api_base is not a URL"):
        load_settings(bases=[{"api_base": "https://a"}, {"api_base": "secret-word"}])
