from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.catalogue import LONGEST_ID, MOST_LISTED
from litellm_gateway_plugin.urls import parse_base
from litellm_gateway_plugin.utilization import UNKNOWN_LOAD, Load, Loads, load_of, read_utilization, utilization_url


def entry(name: str = "m", **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


def busy(name: str = "m", now: Any = 0.5, **more: Any) -> dict[str, Any]:
    return entry(name, utilization_current=now, **more)


def read(*entries: Any) -> dict[str, Load]:
    loads = read_utilization(list(entries))
    assert loads is not None
    return loads


@pytest.mark.parametrize(
    ("load", "weight"),
    [
        (Load(), None),
        (Load(instances=3), None),
        (Load(busy=0.25), 0.25),
        (Load(limited=0.5), 0.5),
        (Load(busy=0.25, limited=0.5), 0.75),
        (Load(busy=0.0, limited=0.0), 0.0),
        (Load(busy=1.0, limited=1.0), 2.0),
    ],
)
def test_a_weight_is_the_sum_of_what_is_known(load: Load, weight: float | None) -> None:
    assert load.weight == weight


@pytest.mark.parametrize(("instances", "gone"), [(0, True), (1, False), (None, False)])
def test_gone_is_only_what_has_no_instance(instances: int | None, gone: bool) -> None:
    assert Load(instances=instances).is_gone is gone


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://llm.chutes.ai/v1", "https://api.chutes.ai/chutes/utilization"),
        ("http://Some-Chute.chutes.ai:8443", "https://api.chutes.ai/chutes/utilization"),
        ("https://llm.chutes.ai./v1", "https://api.chutes.ai/chutes/utilization"),
        ("https://llm.chutes.ai.example.com/v1", "https://llm.chutes.ai.example.com/chutes/utilization"),
        ("https://not-chutes.ai/v1", "https://not-chutes.ai/chutes/utilization"),
        ("http://user:key@127.0.0.1:8000/api/v1?key=1", "http://127.0.0.1:8000/chutes/utilization"),
    ],
)
def test_where_it_is_asked(base: str, url: str) -> None:
    assert utilization_url(parse_base(base)) == url


def test_an_answer_of_chutes() -> None:
    answer = {
        "chute_id": "0f5e",
        "name": "Qwen/Qwen3-32B",
        "timestamp": "2026-01-01T00:00:00",
        "utilization_current": 0.8,
        "utilization_5m": 0.6,
        "utilization_15m": 0.4,
        "utilization_1h": 0.2,
        "rate_limit_ratio_5m": 0.1,
        "rate_limit_ratio_15m": 0.2,
        "rate_limit_ratio_1h": 0.4,
        "total_instance_count": 9,
        "active_instance_count": 7,
        "scalable": True,
    }
    load = read(answer)["Qwen/Qwen3-32B"]
    assert load.busy == pytest.approx(0.4 + 0.18 + 0.06 + 0.01)
    assert load.limited == pytest.approx((0.03 + 0.03 + 0.02) / 0.5)
    assert load.instances == 7


@pytest.mark.parametrize(
    "body",
    [
        [busy("a"), busy("b")],
        {"data": [busy("a"), busy("b")]},
        {"items": [busy("a"), busy("b")], "total": 2},
        {"models": [busy("a"), busy("b")]},
        {"data": None, "models": [busy("a"), busy("b")]},
        [{"id": "a", "utilization": 0.5}, {"model": "b", "utilization": "0.5"}],
        [{"name": "a", "id": "x", "utilization": 0.5}, {"name": "", "id": "b", "model": "x", "utilization": 0.5}],
        [3, None, "c", [], {}, busy(""), busy("a"), {"name": 7, "utilization": 0.5}, busy("b")],
        {"a": 0.5, "b": "0.5", "": 0.1},
    ],
)
def test_shapes(body: Any) -> None:
    assert read_utilization(body) == {"a": Load(0.5), "b": Load(0.5)}


@pytest.mark.parametrize(
    "body",
    [
        *(None, 0.5, True, "a", {}, {"data": None}, ["a", 0.5], [{"utilization": 0.5}], {"data": [{}]}),
        *({"detail": "Not Found"}, {"error": "x", "code": 404}, {"ok": True}, {"a": 0.5, "b": {}}, {"a": 0.5, "b": ""}),
    ],
)
def test_what_tells_of_no_load(body: Any) -> None:
    assert read_utilization(body) is None


@pytest.mark.parametrize("body", [[], {"data": []}])
def test_an_empty_answer_is_an_answer(body: Any) -> None:
    assert read_utilization(body) == {}


def test_a_number_that_says_nothing_does_not_spoil_a_mapping() -> None:
    assert read_utilization({"a": -1, "b": None, "c": 10**400, "d": 0.5}) == {
        **dict.fromkeys("abc", Load()),
        "d": Load(0.5),
    }


@pytest.mark.parametrize(
    ("fields", "mean"),
    [
        ({"utilization_current": 1.0, "utilization_5m": 0.0, "utilization_15m": 0.0, "utilization_1h": 0.0}, 0.5),
        ({"utilization_current": 0.0, "utilization_5m": 1.0, "utilization_15m": 0.0, "utilization_1h": 0.0}, 0.3),
        ({"utilization_current": 0.0, "utilization_5m": 0.0, "utilization_15m": 1.0, "utilization_1h": 0.0}, 0.15),
        ({"utilization_current": 0.0, "utilization_5m": 0.0, "utilization_15m": 0.0, "utilization_1h": 1.0}, 0.05),
        ({"utilization_current": 1.0, "utilization_5m": 0.0}, 0.5 / 0.8),
        ({"utilization_current": None, "utilization_5m": 0.0, "utilization_1h": 1.0}, 0.05 / 0.35),
        ({"utilization_1h": 0.7}, 0.7),
        ({"utilization": 0.7, "utilization_5m": 0.7}, 0.7),
        ({"utilization": 0.7, "utilization_current": 0.2}, 0.2),
        ({"utilization": 0.7, "utilization_current": "?"}, 0.7),
        ({"utilization": 1.0, "utilization_5m": 0.0}, 0.5 / 0.8),
        ({}, None),
    ],
)
def test_the_present_counts_most_among_the_windows_that_are_given(fields: dict[str, Any], mean: float | None) -> None:
    assert read(entry(**fields))["m"].busy == (None if mean is None else pytest.approx(mean))


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, True, "x", "", "nan", "-1", "85 %", None, [], 10**400])
def test_what_is_no_share_is_unknown(value: Any) -> None:
    loads = read(busy("m", value, rate_limit_ratio_5m=value, active_instance_count=value), busy("other", 0.5))
    assert loads == {"m": UNKNOWN_LOAD, "other": Load(0.5)}


def test_a_string_of_a_number_is_one_unless_it_is_very_long() -> None:
    assert read(busy("m", " 0.25 ", active_instance_count="0"))["m"] == Load(0.25, None, 0)
    assert read(busy("m", "0." + "1" * 50))["m"] == UNKNOWN_LOAD


@pytest.mark.parametrize(("value", "count"), [(3, 3), (3.0, 3), (0, 0), ("4", 4), (0.5, None), (-1, None)])
def test_instances_are_whole(value: Any, count: int | None) -> None:
    assert read(entry(active_instance_count=value, total_instance_count=9))["m"].instances == count


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        ([1.5, 0.5], [1.0, 0.5]),
        ([1.51, 0.5], [0.0151, 0.005]),
        ([85, 1, "40"], [0.85, 0.01, 0.4]),
        ([250, 85], [1.0, 0.85]),
        ([0.5, 1.2], [0.5, 1.0]),
    ],
)
def test_the_whole_answer_tells_shares_from_percentages(values: list[Any], shares: list[float]) -> None:
    loads = read(*(busy(str(place), value) for place, value in enumerate(values)))
    assert [load.busy for load in loads.values()] == pytest.approx(shares)
    mapped = read_utilization({str(place): value for place, value in enumerate(values)})
    assert mapped == loads


def test_each_window_is_clamped_before_the_mean() -> None:
    assert read(busy("m", 1.5, utilization_5m=0.2))["m"].busy == pytest.approx((0.5 + 0.06) / 0.8)


@pytest.mark.parametrize("field", ["utilization_current", "utilization_5m", "utilization_15m", "utilization_1h"])
def test_any_window_may_show_that_they_are_percentages(field: str) -> None:
    assert read(entry("a", **{field: 85}), busy("b", 1.0))["b"].busy == 0.01


def test_the_two_fields_have_units_of_their_own() -> None:
    assert read(busy("m", 85, rate_limit_ratio_5m=0.25))["m"] == Load(0.85, 0.25)
    assert read(busy("m", 0.85, rate_limit_ratio_5m=25))["m"] == Load(0.85, 0.25)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (busy(now=0.2), busy(now=0.9)),
        (busy(now=0.4, rate_limit_ratio_5m=0.0), busy(now=0.3, rate_limit_ratio_5m=0.9)),
        (busy(now=0.9), entry()),
        (busy(now=0.9, active_instance_count=1), busy(now=0.0, active_instance_count=0)),
    ],
)
def test_of_one_name_the_freest_that_can_answer_counts(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert read(one, other) == read(other, one) == read(one)


def test_what_is_read_is_bounded() -> None:
    assert read(busy("x" * (LONGEST_ID + 1)), busy("y" * LONGEST_ID)).keys() == {"y" * LONGEST_ID}
    many = [f"m{number}" for number in range(MOST_LISTED + 5)]
    begin = time.process_time()
    assert list(read(*map(busy, many))) == many[:MOST_LISTED]
    assert list(read_utilization(dict.fromkeys(many, 0.5)) or ()) == many[:MOST_LISTED]
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        (["a", "A"], "A", "A"),
        (["Qwen/Q"], "qwen/q", "Qwen/Q"),
        (["qwen/q", "Qwen/Q"], "QWEN/Q", None),
        (["Qwen/Q"], "q", None),
        (["Qwen/Q-8B"], "Qwen/Q", None),
        ([], "a", None),
    ],
)
def test_a_load_belongs_to_an_equal_id(names: list[str], asked: str, found: str | None) -> None:
    loads = {name: Load(instances=place + 1) for place, name in enumerate(names)}
    for known in (loads, Loads(loads)):
        assert load_of(known, asked) == (UNKNOWN_LOAD if found is None else loads[found])


def test_a_page_that_names_no_listed_model_takes_no_walk_for_each() -> None:
    loads = read(*(busy(f"Vendor/m{number}") for number in range(MOST_LISTED)))
    begin = time.process_time()
    assert {load_of(loads, f"vendor/n{number}") for number in range(MOST_LISTED)} == {UNKNOWN_LOAD}
    assert time.process_time() - begin < 1


NUMBERS = st.floats() | st.integers() | st.floats().map(str) | st.sampled_from([10**400, -0.0, 85, 0.5])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
FIELDS = st.sampled_from(
    [
        *("name", "id", "model", "data", "items", "models", "utilization", "active_instance_count"),
        *("utilization_current", "utilization_5m", "utilization_1h", "rate_limit_ratio_5m", "rate_limit_ratio_1h"),
    ]
)
ENTRIES = st.lists(st.dictionaries(FIELDS, JSON | st.sampled_from(["a", "b"])) | JSON)
BODIES = JSON | ENTRIES | st.dictionaries(FIELDS, ENTRIES) | st.dictionaries(st.text(max_size=3), NUMBERS)


@given(BODIES)
def test_whatever_is_read_every_share_is_one_or_unknown(body: Any) -> None:
    for name, load in (read_utilization(body) or {}).items():
        assert 0 < len(name) <= LONGEST_ID
        assert all(share is None or 0 <= share <= 1 for share in (load.busy, load.limited))
        assert load.instances is None or load.instances >= 0
        assert load.weight is None or 0 <= load.weight <= 2
