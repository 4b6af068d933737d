"""What is pure in the sharing: settings, names, clocks, and what a throttle makes of the others' news."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.credentials import fingerprint, share_fingerprints
from litellm_gateway_plugin.guesses import DiskGuesses
from litellm_gateway_plugin.plan import Route
from litellm_gateway_plugin.settings import load_settings, redis_from, sharing_secret
from litellm_gateway_plugin.shared_throttle import (
    FRESH_S,
    HOLD_S,
    LATE_S,
    Moments,
    News,
    SharedThrottle,
    packed,
    slots_wanted,
    unpacked,
)
from litellm_gateway_plugin.sharing import (
    SharedGuesses,
    arguments,
    key_of,
    news,
    read_guess,
    read_window,
    sharer_of,
    shown,
)
from litellm_gateway_plugin.throttle import Bounds, Window

NOTHING = News("1", None, 0.0, math.inf, True, 0, None)


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"REDIS_PORT": "6379", "REDIS_PASSWORD": "p"}, None),
        ({"REDIS_URL": "redis://elsewhere", "REDIS_HOST": "here"}, "redis://elsewhere"),
        ({"REDIS_HOST": "here"}, "redis://here:6379/0"),
        ({"REDIS_HOST": "::1", "REDIS_PORT": "1"}, "redis://[::1]:1/0"),
        ({"REDIS_HOST": "here", "REDIS_PASSWORD": "p@/:?"}, "redis://:p%40%2F%3A%3F@here:6379/0"),
        (
            {"REDIS_HOST": "here", "REDIS_USERNAME": "me", "REDIS_PASSWORD": "p", "REDIS_SSL": "True", "REDIS_DB": "3"},
            "rediss://me:p@here:6379/3",
        ),
        ({"REDIS_HOST": "here", "REDIS_SSL": "false"}, "redis://here:6379/0"),
    ],
)
def test_the_redis_of_litellm(environment: dict[str, str], url: str | None) -> None:
    assert redis_from(environment) == url


def test_our_own_setting_comes_first_and_can_switch_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://of-litellm")
    assert load_settings().redis == "redis://of-litellm"
    assert load_settings(redis_url="redis://ours").redis == "redis://ours"
    assert load_settings(redis_url="off").redis is None


def test_the_secret_is_the_operators() -> None:
    url = "redis://:a-password@here"
    secrets = [
        sharing_secret({"LITELLM_SALT_KEY": "a", "LITELLM_MASTER_KEY": "b"}, url),
        sharing_secret({"LITELLM_MASTER_KEY": "b"}, url),
        sharing_secret({}, url),
        sharing_secret({}, "redis://here"),
    ]
    assert len(set(secrets)) == 4
    assert sharing_secret({"LITELLM_SALT_KEY": "a"}, "redis://elsewhere") == secrets[0]
    assert sharing_secret({}, "redis://[broken") == secrets[3]
    assert not any(b"a-password" in secret for secret in secrets)


def test_fingerprints_are_shared_by_a_secret_alone() -> None:
    own = fingerprint("key")
    try:
        share_fingerprints(b"one")
        shared = fingerprint("key")
        share_fingerprints(b"another")
        assert len({own, shared, fingerprint("key")}) == 3
        share_fingerprints(b"one")
        assert fingerprint("key") == shared
    finally:
        share_fingerprints(None)
    assert fingerprint("key") == own


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://user:pass@here:1/2?password=secret", "redis://here:1/2"),
        ("rediss://:p@ss@here", "rediss://here"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
    ],
)
def test_what_is_told_of_a_redis(url: str, text: str) -> None:
    assert shown(url) == text


def test_a_url_that_cannot_be_read_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert sharer_of("http://:secret@here", b"", None, None) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "secret" not in caplog.text


def test_without_the_client_of_redis_there_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    assert sharer_of("redis://127.0.0.1", b"", None, None) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert 'pip install "litellm-gateway-plugin[redis]"' in caplog.text


def test_names_of_throttles_stay_apart() -> None:
    assert key_of(("model", "https://a:1", "b:c d")) == "litellm-gateway:1:model:https://a:1:b:c%20d"


# Clocks and windows ---------------------------------------------------------------------------------------------------


@given(
    offset=st.floats(-1e6, 1e9),
    trips=st.lists(st.tuples(st.floats(0.0001, 0.2), st.floats(0, 1)), min_size=1),
    moment=st.floats(0, 1e6),
)
def test_a_converted_moment_is_never_early_and_hardly_late(
    offset: float, trips: list[tuple[float, float]], moment: float
) -> None:
    moments = Moments()
    for number, (took, part) in enumerate(trips):
        sent_at = 1000.0 + number
        moments.saw(sent_at, sent_at + part * took + offset, sent_at + took)
    shortest = min(took for took, _ in trips)
    for late in (moments.theirs(moment) - (moment + offset), moments.ours(moment + offset) - moment):
        assert -1e-5 <= late <= shortest + 1e-5


def test_a_clock_that_was_set_anew_is_followed() -> None:
    moments = Moments()
    moments.saw(10.0, 110.0, 10.001)
    moments.saw(20.0, 60.05, 20.1)
    assert moments.ours(60.1) == pytest.approx(20.15)


NUMBERS = st.floats(0, 1e6)
WINDOWS = st.builds(
    Window,
    limit=st.floats(1, 1e6) | st.just(math.inf),
    ceiling=st.floats(2, 1e6) | st.just(math.inf),
    step=st.floats(1, 1e6) | st.just(math.inf),
    look_at=NUMBERS,
    opens_at=NUMBERS,
    gap=NUMBERS,
    refusals=st.integers(0, 1000),
    on_trial=st.booleans(),
)


@given(WINDOWS)
def test_a_window_survives_the_way(window: Window) -> None:
    moments = Moments(ahead=100.0, behind=100.0)
    there = unpacked(packed(window, moments), window.opens_at, moments)
    assert there.look_at == pytest.approx(window.look_at)
    assert replace(there, look_at=window.look_at) == window


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"[1,1,1,1,1,1,true,1]", b'["1",2,1,1,0,0,0]', b"[0,2,1,1,0,0,0]", b"[1,2,1,1,-1,0,0]",
     b"[NaN,2,1,1,0,0,0]", b"\xff", b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_window_is_passed_over(text: bytes) -> None:
    assert read_window(text, 0.0, Moments()) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"style": 5}', '{"style": "host"}', "[" * 100_000])
def test_what_is_no_guess_is_passed_over(text: str) -> None:
    assert read_guess(text) is None


@pytest.mark.parametrize(
    ("waiting", "spacing", "kept", "wanted"),
    [(5, 0.0, 0, 0), (0, 0.1, 0, 0), (5, 0.1, 0, 2), (5, 0.1, 1, 1), (1, 0.1, 2, 0), (5, 3.0, 0, 1), (50, 0.01, 0, 20)],
)
def test_moments_wanted(waiting: int, spacing: float, kept: int, wanted: int) -> None:
    assert slots_wanted(waiting, spacing, kept) == wanted


# A throttle among others ----------------------------------------------------------------------------------------------


class Asked:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def joined(bounds: Bounds | None = None) -> tuple[SharedThrottle, Asked]:
    throttle, asked = SharedThrottle(bounds or Bounds(), lambda seconds: seconds), Asked()
    throttle.join(asked)
    return throttle, asked


def tell(throttle: SharedThrottle, answer: News, now: float, *, leaving: bool = False) -> None:
    throttle.learn(answer, throttle.standing(0, now, leaving=leaving), now)


def test_nobody_goes_before_the_others_were_heard_of() -> None:
    throttle, asked = joined()
    assert not throttle.has_room(10.0)
    assert not throttle.has_room(10.01)
    assert asked.times == 1
    assert throttle.room_at(10.01) == 10.0 + HOLD_S
    tell(throttle, NOTHING, 10.02)
    assert throttle.has_room(10.02 + FRESH_S / 2)
    assert not throttle.has_room(10.02 + 2 * FRESH_S)


def test_the_hold_ends_without_an_answer() -> None:
    throttle, _ = joined()
    assert not throttle.has_room(10.0)
    assert throttle.has_room(10.0 + HOLD_S)
    assert throttle.has_room(11.0)


def test_who_cannot_wait_is_not_held() -> None:
    throttle, asked = joined()
    throttle.hurry(10.0)
    assert throttle.has_room(10.0)
    assert asked.times == 1


def test_alone_nothing_is_held() -> None:
    throttle, asked = joined(Bounds(interval=1.0))
    tell(throttle, replace(NOTHING, share=0.0, may_try=False, others=9, slots=()), 10.0)
    assert not throttle.has_room(10.0)
    throttle.part()
    tell(throttle, replace(NOTHING, share=0.0), 10.0)  # an answer that comes too late
    assert throttle.has_room(10.0)
    assert throttle.others == 0
    assert asked.times == 1


def test_a_share_bounds_this_process_and_free_room_is_asked_for() -> None:
    throttle, asked = joined()
    tell(throttle, replace(NOTHING, share=1.0, others=2), 10.0)
    assert throttle.has_room(10.0)
    throttle.send(throttle.go(10.0), 10.0)
    assert not throttle.has_room(10.0)
    assert asked.times == 1  # 8 may go, and 3 are under way
    tell(throttle, replace(NOTHING, share=1.0, others=7), 10.0)
    assert not throttle.has_room(10.0)
    assert asked.times == 1


def test_moments_are_used_in_turn_and_missed_ones_are_gone() -> None:
    throttle, asked = joined(Bounds(interval=0.05))
    tell(throttle, replace(NOTHING, slots=(10.1, 10.2)), 10.06)
    assert not throttle.has_room(10.09)
    assert throttle.has_room(10.1)
    tell(throttle, replace(NOTHING, slots=()), 10.12)
    assert not throttle.has_room(10.1 + LATE_S + 0.005)
    assert throttle.opens_at() == 10.2
    tell(throttle, replace(NOTHING, slots=()), 10.25)
    assert not throttle.has_room(10.25)
    assert asked.times == 1


def test_anothers_window_is_taken_over() -> None:
    throttle, _ = joined()
    tell(throttle, replace(NOTHING, window=Window(limit=3, opens_at=12.0), opens_at=12.0), 10.0)
    assert throttle.window.limit == 3
    assert not throttle.standing(0, 10.0).changed
    assert not throttle.has_room(10.01)
    assert throttle.room_at(10.01) == 12.0


def test_a_pause_of_others_holds_even_when_our_window_stands() -> None:
    throttle, _ = joined()
    tell(throttle, replace(NOTHING, opens_at=12.0), 10.0)
    assert throttle.room_at(10.01) == 12.0


def with_refusals(count: int, under_way: int) -> SharedThrottle:
    """So many were under way here and five elsewhere, and so many of ours were refused."""
    throttle, _ = joined()
    tell(throttle, replace(NOTHING, others=5), 10.0)
    trips = [throttle.go(10.0) for _ in range(under_way)]
    for trip in trips:
        throttle.send(trip, 10.0)
    for trip in trips[:count]:
        throttle.refused(trip, 10.02, 2.0)
        throttle.done(trip)
    return throttle


def test_a_refusal_counts_those_under_way_elsewhere() -> None:
    assert with_refusals(1, 3).window.ceiling == 8


def test_refusals_here_are_added_to_those_that_others_told_first() -> None:
    throttle = with_refusals(2, 3)
    theirs = Window(limit=6, ceiling=8, on_trial=True, refusals=1, opens_at=12.0)
    tell(throttle, replace(NOTHING, name="2", window=theirs, opens_at=12.0), 10.03)
    assert throttle.window.ceiling == 6
    assert throttle.window.refusals == 1
    standing = throttle.standing(0, 10.03)
    assert standing.changed
    assert standing.refused == 0


def test_a_refusal_outranks_growth_elsewhere() -> None:
    throttle = with_refusals(1, 3)
    cut = throttle.window.limit
    tell(throttle, replace(NOTHING, name="2", window=Window(limit=16.0), opens_at=0.0), 10.03)
    assert throttle.window.limit == cut
    assert throttle.window.on_trial
    standing = throttle.standing(0, 10.03)
    assert standing.changed
    assert standing.base == "2"


def test_what_was_told_is_no_news_any_more() -> None:
    throttle = with_refusals(2, 3)
    assert throttle.standing(0, 10.03).refused == 2
    tell(throttle, replace(NOTHING, name="2"), 10.03)
    assert not throttle.standing(0, 10.03).changed
    assert throttle.standing(0, 10.03).refused == 0


def test_who_leaves_asks_again_when_it_comes_back() -> None:
    throttle, asked = joined()
    tell(throttle, replace(NOTHING, share=3.0), 10.0)
    was_member = throttle.is_member
    tell(throttle, NOTHING, 10.01, leaving=True)
    assert was_member
    assert not throttle.is_member
    assert asked.times == 0
    assert not throttle.has_room(10.02)
    assert asked.times == 1


def test_a_trial_that_nobody_refused_is_told_as_accepted() -> None:
    throttle = with_refusals(1, 1)
    tell(throttle, NOTHING, 12.03)
    trip = throttle.go(12.03)
    throttle.send(trip, 12.03)
    assert throttle.standing(0, 12.04).trying
    assert not throttle.standing(0, 12.04 + throttle.patience).window.on_trial


def test_what_the_script_is_told_and_answers() -> None:
    throttle, _ = joined(Bounds(most=4.0, interval=0.5))
    moments = Moments(ahead=100.0, behind=100.0)
    standing = throttle.standing(3, 10.0)
    assert arguments(standing, moments)[:11] == ("", 0, 0, 0, 3, 1, "0.500000", 4, 4, 0, 0)
    answer = [b"7", 0, packed(Window(limit=2), moments).encode(), b"112.0", -1, 0, 3, b"113.5", 2]
    heard = news(answer, standing, moments, 10.0)
    assert heard == News("7", Window(limit=2, opens_at=12.0), 12.0, math.inf, False, 3, (13.5, 14.0))
    assert news([*answer[:3], b"9e99", *answer[4:]], standing, moments, 10.0).opens_at < 1e5


# Guesses --------------------------------------------------------------------------------------------------------------


def test_a_guess_of_others_comes_before_that_of_the_disk(tmp_path: Path) -> None:
    disk, told = DiskGuesses(tmp_path), Asked()
    one, another = SharedGuesses(b"s", disk, told), SharedGuesses(b"s", None, told)
    disk.note("https://a", "chat", Route("raw"))
    assert one.recall("https://a", "chat") == Route("raw")
    another.note("https://a", "chat", Route("bearer", toggled=True))
    another.note("https://a", "chat", Route("bearer", toggled=True))
    assert told.times == 1
    written = another.news()
    assert "https" not in str(written)
    another.told(written)
    assert another.news() == {}
    one.learn({name.encode(): entry.encode() for name, entry in written.items()} | {b"#": b"1"})
    assert one.recall("https://a", "chat") == Route("bearer", toggled=True)


def test_guesses_that_redis_has_lost_are_told_again() -> None:
    guesses = SharedGuesses(b"s", None, Asked())
    guesses.note("https://a", "chat", Route("raw"))
    guesses.told(guesses.news())
    guesses.learn({})
    assert len(guesses.news()) == 1
    guesses.after_fork()
    assert guesses.news() == {}
    assert guesses.recall("https://a", "chat") == Route("raw")
