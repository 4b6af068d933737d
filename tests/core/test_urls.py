from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.errors import InvalidInput
from litellm_gateway_plugin.urls import origin_of, parse_base, split_url


@pytest.mark.parametrize(
    ("given", "cleaned", "toggled"),
    [
        ("https://h.example", "https://h.example", "/v1"),
        ("https://h.example/", "https://h.example", "/v1"),
        (" https://H.Example:443/v1/ \n", "https://h.example/v1", ""),
        ("http://h.example:80//api//v1//", "http://h.example/api/v1", "/api"),
        ("https://h.example/V1", "https://h.example/V1", ""),
        ("https://h.example/v1/chat/completions", "https://h.example/v1", ""),
        ("https://h.example/v1/models", "https://h.example/v1", ""),
        ("https://h.example/models", "https://h.example/models", "/models/v1"),
        ("https://h.example/api/openai", "https://h.example/api/openai", "/api/openai/v1"),
        ("https://h.example/v3", "https://h.example/v3", None),
        ("https://h.example/api/paas/v4", "https://h.example/api/paas/v4", None),
        ("https://h.example/v1beta/openai", "https://h.example/v1beta/openai", None),
        ("https://h.example/a%2Fb#part", "https://h.example/a%2Fb", "/a%2Fb/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1", ""),
        ("http://my_host", "http://my_host", "/v1"),
    ],
)
def test_bases_are_cleaned_and_toggled(given: str, cleaned: str, toggled: str | None) -> None:
    base = parse_base(given)
    assert str(base) == cleaned
    assert base.toggled == toggled
    assert base.form(True) == (cleaned if toggled is None else base.origin + toggled)


@pytest.mark.parametrize(
    "text",
    [
        "", "h.example", "ftp://h.example", "https://", "https:///v1", "https://h.example:port", "https://[::1", "https://[x:y]",
        "https://a b", "https://h\n.example", "https://hä.example", "https://.h", "https://a..b", "https://h.example:99999",
        "https://-h",
    ],
)  # fmt: skip
def test_what_is_no_base_is_one_clear_error(text: str) -> None:
    with pytest.raises(InvalidInput, match="api_base") as caught:
        parse_base(text)
    assert caught.value.__cause__ is None


def test_user_password_and_query_are_reported_nowhere() -> None:
    base = parse_base("https://user:p%40ss@h.example/v1?api-version=secret")
    assert base.userinfo == "user:p@ss"
    assert "ss" not in str(base) + repr(base)
    assert base.url("models") == "https://h.example/v1/models?api-version=secret"
    assert base.url("models", toggled=True, slash=True) == "https://h.example/models/?api-version=secret"


@pytest.mark.parametrize(
    ("base", "private"),
    [
        ("http://localhost", True), ("http://a.localhost", True), ("http://127.0.0.1:1", True), ("http://[::1]", True),
        ("http://10.1.2.3", True), ("http://192.168.1.1", True), ("http://169.254.1.1", True), ("http://gpu", True),
        ("http://[fe80::1%25eth0]", True), ("http://gpu.local", True), ("http://llm.default.svc", True),
        ("http://x.internal.", True),
        ("http://8.8.8.8", False), ("http://h.example.com", False), ("http://localhost.example.com", False),
    ],
)  # fmt: skip
def test_several_styles_need_tls_or_a_private_network(base: str, private: bool) -> None:
    assert parse_base(base).private is private
    assert parse_base(base).guarded is private
    assert parse_base(base.replace("http:", "https:")).guarded


@pytest.mark.parametrize(
    ("url", "base", "surface"),
    [
        ("https://h.example/v1/chat/completions", "https://h.example/v1", "chat/completions"),
        ("https://h.example/chat/completions?x=1", "https://h.example", "chat/completions"),
        ("https://h.example/models/v1/audio/speech", "https://h.example/models/v1", "audio/speech"),
        ("https://h.example/v1/files/abc/content", "https://h.example/v1", "files/abc/content"),
    ],
)
def test_a_complete_url_is_split(url: str, base: str, surface: str) -> None:
    found = split_url(url)
    assert found is not None
    assert (str(found[0]), found[1]) == (base, surface)
    assert found[0].url(surface) == url


def test_a_url_of_something_else_is_not_split() -> None:
    assert split_url("https://h.example/v1/other") is None


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://H.example:443/x", "https://h.example"),
        ("http://h:8080", "http://h:8080"),
        ("/relative", None),
        ("mailto:x", None),
        ("https://[::1", None),
        ("https://h:port/", None),
    ],
)
def test_origins(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


@given(st.text(max_size=60))
def test_anything_is_a_base_or_one_clear_error(text: str) -> None:
    try:
        base = parse_base("https://" + text)
    except InvalidInput:
        return
    assert str(parse_base(str(base))) == str(base)
    assert origin_of(base.url("models")) == base.origin
