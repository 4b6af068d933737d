from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.credentials import (
    check_headers,
    clean_key,
    fingerprint,
    header_for,
    hinted_styles,
    is_style,
    take_credential,
)
from litellm_gateway_plugin.errors import InvalidInput

AZURE = 'AzureApiManagementKey realm="https://x/",name="Ocp-Apim-Subscription-Key",type="header"'


@pytest.mark.parametrize(
    ("style", "key", "header"),
    [
        ("bearer", "k", ("Authorization", "Bearer k")),
        ("raw", "k", ("Authorization", "k")),
        ("basic", "u:p", ("Authorization", "Basic dTpw")),
        ("x-api-key", "k", ("x-api-key", "k")),
        ("none", "k", None),
        ("bearer", None, None),
    ],
)
def test_one_header_for_each_style(style: str, key: str | None, header: tuple[str, str] | None) -> None:
    assert header_for(style, key) == header


@pytest.mark.parametrize(("given", "cleaned"), [(" k\n", "k"), (None, None), ("", None), ("\n", None), ("a b", "a b")])
def test_a_key_from_a_file_is_trimmed(given: str | None, cleaned: str | None) -> None:
    assert clean_key(given) == cleaned


@pytest.mark.parametrize("key", ["a\nb", "a\rb", "schlüssel", "a\x00b", "a\x7fb"])
def test_a_key_that_no_header_can_carry_is_one_error_without_it(key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        clean_key(key)
    assert key not in str(caught.value)
    assert caught.value.__cause__ is None


def test_headers_are_checked() -> None:
    assert check_headers({"A": 1, "B": None, "C": b"x ", "D": "y"}) == {"A": "1", "C": "x", "D": "y"}
    with pytest.raises(InvalidInput, match="'X-Secret'"):
        check_headers({"X-Secret": "a\r\nHost: evil"})
    for name in ("a b", "", "a:b", 3, "ü"):
        with pytest.raises(InvalidInput, match="header name"):
            check_headers({name: "x"})


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, None),
        ({"X-Trace": "1"}, None),
        ({"Authorization": "Bearer k", "X-Trace": "1"}, ("bearer", "k", {"X-Trace": "1"})),
        ({"authorization": "bEARER  k"}, ("bearer", "k", {})),
        ({"Authorization": "k"}, ("raw", "k", {})),
        ({"Authorization": "Basic dTpw"}, ("raw", "Basic dTpw", {})),
        ({"Authorization": "Bearer k", "X-API-Key": "other"}, ("x-api-key", "other", {})),
        ({"Ocp-Apim-Subscription-Key": "k"}, ("ocp-apim-subscription-key", "k", {})),
        ({"Authorization": "Bearer ", "x-api-key": " "}, None),
    ],
)
def test_a_header_that_the_caller_gave_is_the_credential(headers: dict[str, str], taken: object) -> None:
    assert take_credential(headers) == taken


def test_a_fingerprint_tells_keys_apart_and_nothing_else() -> None:
    assert fingerprint(None) == "none"
    assert fingerprint("a") == fingerprint("a") != fingerprint("b")
    assert "secret" not in fingerprint("secret")


@pytest.mark.parametrize(
    ("challenge", "text", "styles"),
    [
        (AZURE, "", ("ocp-apim-subscription-key",)),
        ("", "Access denied due to missing subscription key.", ("ocp-apim-subscription-key",)),
        ('Key realm="kong"', "", ("apikey",)),
        ("", "No API key found in request", ("apikey",)),
        ("APIKey", "Not authenticated", ("x-api-key",)),
        ("Api-Key", "", ("api-key", "x-api-key")),
        ('Bearer realm="x"', "", ("bearer",)),
        ('Bearer realm="x", Key', "", ("bearer", "apikey")),
        ('Bearer error="invalid_token", error_description="no header"', "", ("bearer",)),
        ("X-Acme-Token", "", ("x-acme-token",)),
        ("Basic realm=x, Digest, Negotiate, Quantum", "", ()),
        ('Custom header="X-Secret-Key"', "", ("x-secret-key",)),
        ("", "Please pass your key in the X-Auth-Token header", ("x-auth-token",)),
        ("", 'missing header "x-acme-key"', ("x-acme-key",)),
        ("", "header named my_key", ("my_key",)),
        ("", "Use the Authorization header", ("bearer", "raw")),
        ("", "Use Authorization: Bearer <key>", ("bearer",)),
        ("", "send the key without the Bearer prefix", ("raw",)),
        ("", "Missing x-goog-api-key", ("x-goog-api-key",)),
        ("", "Unauthorized", ()),
        ("", "see https://docs.example/headers", ()),
        ("", "Missing header value", ()),
    ],
)
def test_what_refusals_ask_for(challenge: str, text: str, styles: tuple[str, ...]) -> None:
    assert hinted_styles({"www-authenticate": challenge} if challenge else {}, text) == styles


HOSTILE = [
    "Host",
    "Content-Length",
    "Cookie",
    "Set-Cookie",
    "Transfer-Encoding",
    "X-Forwarded-For",
    "Proxy-Authorization",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_refusal_names_no_header_of_the_protocol(name: str) -> None:
    for text in (
        f"header {name}",
        f'missing "{name}" header',
        f"the key goes into {name}",
        f"header X-Token\r\n{name}: x",
    ):
        assert set(hinted_styles({"www-authenticate": f'Custom name="{name}"'}, text)) <= {"x-token"}


@pytest.mark.parametrize("name", ["host", "cookie", "none", "raw", "basic"])
def test_styles_are_not_named_by_a_challenge(name: str) -> None:
    assert hinted_styles({"www-authenticate": f'Custom name="{name}"'}, "") == ()


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_a_refusal_says_its_hints_are_header_names(challenge: str, text: str) -> None:
    for style in hinted_styles({"www-authenticate": challenge}, text):
        assert is_style(style)
        assert len(style) <= 64
        assert style.isascii()
        assert not set(style) & set(" \r\n:\t\0")


def test_names_that_are_styles() -> None:
    assert all(map(is_style, ["bearer", "raw", "basic", "none", "x-api-key"]))
    assert not any(map(is_style, ["host", "a b", "-x", "x" * 65, "cf-token", ""]))
