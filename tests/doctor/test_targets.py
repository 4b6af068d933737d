"""Which gateways the doctor looks at, and which key goes to which."""

from __future__ import annotations

import os

import pytest

from litellm_gateway_plugin.doctor.targets import Models, Target, targets_of
from litellm_gateway_plugin.errors import InvalidInput, NoBase
from litellm_gateway_plugin.settings import load_settings

NO_MODELS = Models()
ONE, TWO = "https://one.example.com/v1", "https://two.example.com/v1"


@pytest.fixture
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return isolated_environment


def targets(*bases: str, key_name: str | None = None, models: Models = NO_MODELS) -> list[Target]:
    return targets_of(load_settings(), os.environ, bases, key_name, models)


def given(environment: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        environment.setenv(f"LITELLM_GATEWAY_{name}", value)


def test_nothing_is_named(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoBase, match="litellm-gateway doctor https"):
        targets()


def test_all_bases_of_the_environment_with_the_names_of_their_variables(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE=ONE, API_KEY="test-key-1", API_BASE_7=TWO, API_KEY_7="test-key-7")
    one, two = targets()
    assert (str(one.base), one.key, one.key_name, one.configured) == (
        ONE,
        "test-key-1",
        "LITELLM_GATEWAY_API_KEY",
        True,
    )
    assert (str(two.base), two.key, two.key_name) == (TWO, "test-key-7", "LITELLM_GATEWAY_API_KEY_7")
    assert (one.base_name, two.base_name) == ("LITELLM_GATEWAY_API_BASE", "LITELLM_GATEWAY_API_BASE_7")


def test_older_names(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CHUTES_API_BASE", ONE)
    environment.setenv("CHUTES_API_KEY", "test-key")
    environment.setenv("CHUTES_TEXT_MODEL", "a/text")
    (one,) = targets()
    assert (one.base_name, one.key_name, one.models.text) == ("CHUTES_API_BASE", "CHUTES_API_KEY", "a/text")


def test_two_accounts_on_one_base_have_labels_and_variables_of_their_own(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE_1=ONE, API_KEY_1="test-key-1", API_BASE_2=ONE, API_KEY_2="test-key-2")
    one, two = targets()
    assert (one.label, two.label) == (ONE, f"{ONE} (2)")
    assert (one.base_name, two.base_name) == ("LITELLM_GATEWAY_API_BASE_1", "LITELLM_GATEWAY_API_BASE_2")


def test_typed_base_takes_the_key_of_its_origin(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE_1=ONE, API_KEY_1="test-key-1", API_BASE_2=TWO, API_KEY_2="test-key-2")
    (two,) = targets("https://two.example.com")
    assert (str(two.base), two.key, two.key_name) == (
        "https://two.example.com",
        "test-key-2",
        "LITELLM_GATEWAY_API_KEY_2",
    )
    assert (two.configured, two.base_name) == (True, "LITELLM_GATEWAY_API_BASE_2")


def test_typed_base_that_no_variable_names_gets_one_that_names_no_other(environment: pytest.MonkeyPatch) -> None:
    """What the doctor has people type must not put another gateway's key beside this base."""
    assert [(each.configured, each.base_name) for each in targets(TWO)] == [(False, "LITELLM_GATEWAY_API_BASE")]
    given(environment, API_BASE=ONE, API_KEY="test-key-1")
    environment.setenv("CHUTES_API_BASE_1", ONE)
    assert [(each.configured, each.base_name) for each in targets(TWO)] == [(False, "LITELLM_GATEWAY_API_BASE_2")]


def test_variables_that_are_overruled_may_hold_anything(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE=ONE, API_KEY="test-key-1")
    environment.setenv("CHUTES_API_BASE", "no base at all")
    assert [each.base_name for each in targets()] == ["LITELLM_GATEWAY_API_BASE"]


@pytest.mark.parametrize("typed", ["https://user:pass-word@one.example.com/v1", f"{ONE}?code=secret-code"])
def test_base_with_a_secret_of_its_own_is_another_one(environment: pytest.MonkeyPatch, typed: str) -> None:
    given(environment, API_BASE=ONE)
    assert [(each.configured, each.base_name) for each in targets(typed)] == [(False, "LITELLM_GATEWAY_API_BASE_1")]


def test_typed_base_of_another_origin_gets_no_key(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE=ONE, API_KEY="test-key-1")
    (other,) = targets("https://else.example.com")
    assert (other.key, other.key_name) == (None, None)


def test_unnumbered_key_is_for_a_typed_base_when_it_belongs_to_no_other(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_KEY="test-key")
    (one,) = targets(ONE)
    assert (one.key, one.key_name) == ("test-key", "LITELLM_GATEWAY_API_KEY")


def test_named_key(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE=ONE, API_KEY="test-key-1")
    environment.setenv("MY_KEY", " test-mine \n")
    (one,) = targets(ONE, key_name="MY_KEY")
    assert (one.key, one.key_name) == ("test-mine", "MY_KEY")


@pytest.mark.parametrize("value", [None, ""])
def test_named_key_that_is_not_there(environment: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        environment.setenv("MY_KEY", value)
    with pytest.raises(InvalidInput, match="MY_KEY is not set"):
        targets(ONE, key_name="MY_KEY")


def test_user_and_password_in_the_base(environment: pytest.MonkeyPatch) -> None:
    (one,) = targets("https://user:pass-word@one.example.com/v1")
    assert (one.key, one.named, one.key_name) == ("user:pass-word", "basic", None)
    assert (one.label, str(one.base)) == (ONE, ONE)
    assert "pass-word" not in repr(one)


def test_models_typed_before_those_of_the_base_before_those_of_all(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE_1=ONE, TEXT_MODEL_1="one/text", VLM_MODEL="all/eyes", TOOLS_MODEL="all/tools")
    (one,) = targets(models=Models(tools="typed/tools"))
    assert one.models == Models(text="one/text", vlm="all/eyes", tools="typed/tools")


def test_repr_holds_no_key(environment: pytest.MonkeyPatch) -> None:
    given(environment, API_BASE=ONE, API_KEY="test-key-1")
    assert "test-key-1" not in repr(targets())


def test_base_that_cannot_be_read(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"^BASE is not a URL: .* as in https://llm"):
        targets("llm.example.com/v1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sk-very-secret", "and this is none: export MY_KEY=..., then --key-env MY_KEY"),
        ("sk_very_secret", "and this is none"),
        ("my_key", "and this is none"),
        ("AKI0SECRET7WORDS", "and this is none"),
        ("12345678", "and this is none"),
        ("$SECRET_KEY", "without the $"),
        ("${SECRET_KEY}", "without the $"),
    ],
)
def test_what_may_be_a_key_is_not_shown(environment: pytest.MonkeyPatch, name: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        targets(ONE, key_name=name)
    assert words in caught.value.message
    assert name.strip("${}") not in caught.value.message


@pytest.mark.parametrize("name", ["lower_key", "Mixed-Key"])
def test_a_name_that_is_set_is_a_name(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "test-mine")
    (one,) = targets(ONE, key_name=name)
    assert (one.key, one.key_name) == ("test-mine", name)
    environment.setenv(name, "")
    with pytest.raises(InvalidInput, match=f"{name} is not set"):
        targets(ONE, key_name=name)


def test_a_key_needs_a_typed_base(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MY_KEY", "test-mine")
    given(environment, API_BASE=ONE)
    with pytest.raises(InvalidInput, match="type one"):
        targets(key_name="MY_KEY")


def test_what_is_misspelt_comes_before_what_to_set(environment: pytest.MonkeyPatch) -> None:
    given(environment, APIBASE=ONE)
    with pytest.raises(
        NoBase, match=r"^LITELLM_GATEWAY_APIBASE is no setting: did you mean LITELLM_GATEWAY_API_BASE\? No "
    ):
        targets()


@pytest.mark.parametrize("name", ["LITELLM_GATEWAY_API_KEY", "LITELLM_GATEWAY_API_KEY_2", "CHUTES_API_KEY"])
def test_a_key_with_a_line_break_is_told_by_its_variable(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "test\nkey")
    environment.setenv(name.replace("KEY", "BASE"), ONE)
    with pytest.raises(InvalidInput, match=f"^The API key in {name} holds a line break"):
        targets()
