from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.capacity import is_capacity, retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("status", "headers", "text", "full"),
    [
        (429, {}, "", True),
        (503, {}, "", True),
        (529, {}, "", True),
        (500, {}, "exhausted all available targets", True),
        (502, {"x-envoy-overloaded": "true"}, "", True),
        (500, {}, "division by zero", False),
        (402, {}, "capacity", False),
        (400, {}, "at capacity", False),
    ],
)
def test_what_is_full(status: int, headers: dict[str, str], text: str, full: bool) -> None:
    assert is_capacity(status, headers, text) is full


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "99999"}, 3600.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW + 30).replace("-0000", "")}, 30.0),
        ({"retry-after": formatdate(NOW - 30)}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"llm_provider-retry-after": "4"}, 4.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0.5s"}, 360.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "120ms"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW + 10)}, 10.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int((NOW + 10) * 1000))}, 10.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}, 20.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "tomorrow"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


NAMES = ["retry-after", "retry-after-ms", "llm_provider-retry-after", "x-ratelimit-reset", "x-ratelimit-reset-tokens"]
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "x"]),
    st.integers(0, 40),
    st.sampled_from(["Jan", "Dec", "Foo"]),
    st.integers(-1, 10**6),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["GMT", "+2359", "-9999", "+999999999", ""]),
)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | DATES))
def test_any_hint_is_a_wait_of_at_most_an_hour_or_none(headers: dict[str, str]) -> None:
    zero = {"x-ratelimit-remaining": "0", "x-ratelimit-remaining-tokens": "0"}
    seconds = retry_after(headers | zero, NOW)
    assert seconds is None or 0 <= seconds <= 3600
