"""The sentences of the errors: what was tried, what came back, what to do; never the key."""

from __future__ import annotations

import base64
from difflib import SequenceMatcher
from urllib.parse import quote

import pytest

from litellm_gateway_plugin.errors import Full, KeyRefused, ModelUnknown, NotAGateway
from litellm_gateway_plugin.refusals import PIECE, without_key, without_pieces
from tests.support.core import answer, ask, call, listing, scripted

SLASHED = 'sk/with/slashes/and"quote'


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"key {SLASHED}.", "key [key]."),
        ('key sk/with/slashes/and\\"quote', "key [key]"),
        ('key sk\\/with\\/slashes\\/and"quote', "key [key]"),
    ],
)
def test_every_copy_of_the_key_goes(text: str, clean: str) -> None:
    assert without_key(text, SLASHED) == clean
    assert without_key(text, None) == text
    assert without_key("abc", "abc") == "abc"


@pytest.mark.parametrize(
    "spelt",
    [
        quote(SLASHED, safe=""),
        base64.b64encode(SLASHED.encode()).decode().rstrip("="),
        base64.b64encode(f"u:{SLASHED}:x".encode()).decode(),
        base64.urlsafe_b64encode(f"user:{SLASHED}".encode()).decode(),
        SLASHED.upper(),
        SLASHED[: PIECE + 1],
        SLASHED[-PIECE:],
        f"{SLASHED[:PIECE]}…{SLASHED[PIECE:]}",
    ],
)
def test_pieces_of_the_key_go_in_every_spelling(spelt: str) -> None:
    left = without_pieces(f"İt was {spelt}.", SLASHED)
    assert left.startswith("İt was ")
    assert "[key]" in left
    assert longest_common(left, spelt) < PIECE


def test_a_few_letters_of_the_key_stay() -> None:
    masked = f"{SLASHED[: PIECE - 1]}***{SLASHED[-4:]}"
    assert without_pieces(masked, SLASHED) == masked
    assert without_pieces("a short key", "short") == "a short key"
    assert without_pieces("no key", None) == "no key"


def longest_common(one: str, other: str) -> int:
    return SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size


def test_a_gateway_that_quotes_the_key_does_not_make_us_tell_it() -> None:
    key = "sk-" + "secret" * 10
    refusal = answer(401, {"error": "x" * 960 + key}, x_echo=f"Bearer {key}", set_cookie="session=1", authorization="x")
    error = call(lambda attempt: refusal, wanted=ask(key=key)).error
    assert isinstance(error, KeyRefused)
    assert "secret" not in str(error) + error.body + str(error.headers)
    assert error.headers == {}


def test_a_full_gateway_says_when_to_come_back() -> None:
    error = call(scripted(answer(429, {"detail": "model at capacity"}, retry_after="7"))).error
    assert isinstance(error, Full)
    assert error.retry_after == 7
    assert (
        str(error) == "The gateway at https://llm.example.com/v1 is full (429): model at capacity (it asks to wait 7 s)"
    )
    bare = call(scripted(answer(503))).error
    assert str(bare) == "The gateway at https://llm.example.com/v1 is full (503): no explanation"


def test_where_no_route_was_found_each_form_is_accounted_for() -> None:
    away = answer(302, "", location="https://login.example/x")
    error = call(scripted(away, answer(200, "<html>"))).error
    assert type(error) is NotAGateway
    assert "v1/chat/completions gave 302, a redirect to https://login.example (redirects to another origin" in str(
        error
    )
    assert "llm.example.com/chat/completions gave 200 with a web page" in str(error)
    pages = call(scripted(answer(301, "", location="/x"), answer(404, "<html>"))).error
    assert "a redirect to another page" in str(pages)
    assert "404 (a web page)" in str(pages)


def test_a_key_that_was_let_through_to_a_missing_route_is_not_blamed() -> None:
    outcome = call(scripted(answer(401, "no"), answer(404, "gone"), answer(404, "gone")))
    assert outcome.path == [("bearer", False), ("x-api-key", False), ("x-api-key", True)]
    assert type(outcome.error) is NotAGateway


def test_unknown_models_name_what_is_listed() -> None:
    unknown = answer(404, {"error": {"message": "no", "param": "model"}})
    error = call(scripted(unknown, listing("zzz", "yyy"))).error
    assert isinstance(error, ModelUnknown)
    assert "Nothing like it is listed; the first of 2 ids: 'zzz', 'yyy'." in str(error)


def test_no_key_no_query_and_no_password_is_in_any_sentence() -> None:
    wanted = ask("https://user:hidden@h.example/v1?token=hidden")
    for refusal in (answer(401), answer(404), answer(500), answer(403, "plan"), answer(400, "x")):
        assert "hidden" not in str(call(lambda attempt, given=refusal: given, wanted=wanted).error)  # type: ignore[misc]


def test_ids_that_hold_a_piece_of_the_key_are_not_proposed() -> None:
    key, unknown = "made-up-key-of-ours", answer(404, {"error": {"message": "no", "param": "model"}})
    quoting = listing(f"vendor/{key[:12]}", f"vendor/made-{key[4:]}", "vendor/good")
    near = call(scripted(unknown, quoting), wanted=ask(key=key, model="made-up-xx")).error
    assert "Nothing like it is listed; the first of 3 ids: 'vendor/good'." in str(near)
    alone = call(scripted(unknown, listing(f"vendor/{key[:12]}")), wanted=ask(key=key, model="zzz")).error
    assert "no listing to compare with" in str(alone)
    assert key[:9] not in f"{near} {alone}"


def test_values_of_the_query_are_secret_as_they_are_written_too() -> None:
    secrets = ask("https://h.example/v1?code=a%2Fbcd&other=x%20y").secrets
    assert {"a%2Fbcd", "a/bcd", "x%20y"} <= set(secrets)


def test_a_quota_that_is_used_up_is_a_rate_limit_in_other_words() -> None:
    error = call(scripted(answer(429, {"error": {"message": "Gone.", "code": "insufficient_quota"}}))).error
    assert isinstance(error, Full), "as every 429 in litellm"
    assert str(error) == "The gateway at https://llm.example.com/v1 has no quota left for this key (429): Gone."
