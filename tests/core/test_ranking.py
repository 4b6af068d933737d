from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from litellm_gateway_plugin.ranking import MARGIN, UNKNOWN, Candidate, Name, best_of_base, rank, why
from litellm_gateway_plugin.utilization import Load

GONE = Load(busy=0.0, instances=0)


def one(model: str, busy: float | None = 0.5, number: int = 0, position: int = 0) -> Candidate:
    return Candidate(f"base {number}", model, position, number, load=Load(busy))


def names(candidates: Iterable[Candidate]) -> list[Name]:
    return [candidate.name for candidate in candidates]


def order(candidates: Iterable[Candidate]) -> str:
    return "".join(candidate.model for candidate in candidates)


def after(previous: str, **busy: float | None) -> str:
    """The models' order after a previous one, by how busy each is."""
    return order(rank([one(model, load) for model, load in busy.items()], [("base 0", model) for model in previous]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (one("z", 1.0, 9, 9), replace(one("a"), load=GONE, preferred=True)),
        (replace(one("z", 1.0, 9, 9), preferred=True, certain=False, paused=True), one("a", 0.0)),
        (replace(one("z", 1.0, 9, 9), paused=True), replace(one("a", 0.0), certain=False)),
        (one("z", 0.4, 9, 9), one("a", 0.41)),
        (replace(one("z", 0.9, 9, 9), paused=False), replace(one("a", 0.0), paused=True)),
        (replace(one("z", 0.1, 9, 9), paused=True), replace(one("a", 0.2), paused=True)),
        (one("z", 0.4, 9, 9), replace(one("a"), load=Load(0.3, 0.2))),
        (one("z", 0.49, 9, 9), one("a", None)),
        (one("z", None, 9, 9), one("a", 0.51)),
        (one("z", None, 0, 9), one("a", UNKNOWN, 1, 0)),
        (one("z", 0.5, 0, 9), one("a", 0.5, 1, 0)),
        (one("z", 0.5, 0, 0), one("a", 0.5, 0, 1)),
        (one("a"), one("z")),
    ],
)
def test_which_comes_first(first: Candidate, second: Candidate) -> None:
    assert rank([second, first]) == rank([first, second]) == [first, second]


@pytest.mark.parametrize(
    ("previous", "busy", "now"),
    [
        ("ab", {"a": 0.59, "b": 0.5}, "ab"),
        ("ab", {"a": 0.6, "b": 0.5}, "ba"),
        ("ab", {"a": 0.4, "b": 0.3}, "ba"),  # 0.4 - 0.3 is less than 0.1 in binary
        ("ab", {"a": 0.3, "b": 0.2}, "ba"),  # and so is 0.3 compared with 0.2 + 0.1
        ("ba", {"a": 0.0, "b": 0.0}, "ba"),
        ("ab", {"a": None, "b": 0.45}, "ab"),
        ("ab", {"a": None, "b": 0.4}, "ba"),
        # each step is small, and yet nobody may stay behind one that is much heavier
        ("abc", {"a": 0.5, "b": 0.45, "c": 0.4}, "cab"),
        ("abcd", {"a": 0.5, "b": 0.9, "c": 0.55, "d": 0.46}, "acdb"),
        ("abcde", {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "e": 0.5}, "edcba"),
        # newcomers
        ("ba", {"a": 0.5, "b": 0.5, "c": 0.45}, "bac"),
        ("ba", {"a": 0.5, "b": 0.4, "c": 0.4}, "bca"),
        ("ba", {"a": 0.5, "b": 0.5, "c": 0.4}, "cba"),
        ("c", {"a": 0.32, "b": 0.31, "c": 0.35}, "cba"),
        # the vanished, and one that is named twice
        ("xay", {"a": 0.5}, "a"),
        ("aba", {"a": 0.5, "b": 0.45}, "ab"),
    ],
)
def test_an_order_is_kept_until_the_difference_is_worth_it(
    previous: str, busy: dict[str, float | None], now: str
) -> None:
    assert after(previous, **busy) == now


@pytest.mark.parametrize(
    "worse",
    [
        replace(one("a"), load=GONE, preferred=True),
        replace(one("a"), preferred=False),
        replace(one("a"), preferred=True, certain=False),
        replace(one("a"), preferred=True, paused=True),
    ],
)
def test_who_gets_worse_goes_behind_at_once(worse: Candidate) -> None:
    other = replace(one("b"), preferred=True)
    assert rank([worse, other], [worse.name, other.name]) == [other, worse]


def test_a_newcomer_of_a_better_category_goes_first() -> None:
    assert order(rank([one("a", 0.0), replace(one("b", 1.0), preferred=True)], [("base 0", "a")])) == "ba"


def test_the_same_model_of_another_base_is_another_candidate() -> None:
    here, there = one("m", number=0), one("m", number=1)
    assert rank([here, there], [there.name, here.name]) == [there, here]


def test_the_best_of_a_base() -> None:
    base = [one("a", 0.5), one("b", 0.45), one("c", 0.1), one("d", 0.9)]
    assert order(best_of_base(base, 2)) == "cb"
    assert order(best_of_base(base, 9)) == "cbad"
    assert best_of_base(base, 0) == best_of_base(base, -1) == []


def test_one_that_was_chosen_is_not_given_up_for_a_trifle() -> None:
    chosen = [("base 1", "x"), ("base 0", "a")]
    assert order(best_of_base([one("a", 0.5), one("b", 0.45)], 1, chosen)) == "a"
    assert order(best_of_base([one("a", 0.5), one("b", 0.4)], 1, chosen)) == "b"


def test_a_long_listing_costs_little() -> None:
    many = [one(str(place), place * 7919 % 1000 / 1000, position=place) for place in range(20_000)]
    begin = time.process_time()
    assert names(rank(many, names(many)))
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (replace(one("m", 0.12), preferred=True, load=Load(0.12, 0.03, 4)), "preferred, 12 % busy, 3 % rate-limited"),
        (one("m", None), "load unknown"),
        (one("m", 0.0), "0 % busy"),
        (replace(one("m"), load=Load(limited=0.5)), "50 % rate-limited"),
        (replace(one("m"), load=Load(0.1, 0.2, 0)), "no instances"),
        (replace(one("m"), load=Load(instances=0), preferred=True), "no instances, preferred"),
        (replace(one("m", 1.0), paused=True), "refused a moment ago, 100 % busy"),
        (replace(one("m", None), certain=False), "capabilities not listed, load unknown"),
    ],
)
def test_why(candidate: Candidate, said: str) -> None:
    assert why(candidate) == said


SHARES = st.none() | st.integers(0, 20).map(lambda number: number / 20) | st.floats(0, 1)
LOADS = st.builds(Load, SHARES, SHARES, st.sampled_from([None, 0, 1, 9]))
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        base=st.sampled_from(["one", "two"]),
        model=st.sampled_from("abcdefgh"),
        position=st.integers(0, 3),
        number=st.integers(0, 1),
        preferred=st.booleans(),
        certain=st.booleans(),
        load=LOADS,
        paused=st.booleans(),
    ),
    unique_by=lambda candidate: candidate.name,
    max_size=12,
)
PREVIOUS = st.lists(st.tuples(st.sampled_from(["one", "two"]), st.sampled_from("abcdefgh")))


def category(candidate: Candidate) -> tuple[bool, bool, bool]:
    return candidate.load.instances == 0, not candidate.preferred, not candidate.certain


def weight(candidate: Candidate) -> float:
    told = candidate.load.weight
    return (UNKNOWN if told is None else told) + candidate.paused


@given(CANDIDATES, PREVIOUS, st.randoms())
def test_the_same_candidates_come_out_whatever_their_order(
    candidates: list[Candidate], previous: list[Name], chance: Random
) -> None:
    ranked = rank(candidates, previous)
    assert sorted(names(ranked)) == sorted(names(candidates))
    assert all(candidate in ranked for candidate in candidates)
    shuffled = list(candidates)
    chance.shuffle(shuffled)
    assert rank(shuffled, previous) == ranked


@given(CANDIDATES, PREVIOUS)
def test_ranking_again_changes_nothing(candidates: list[Candidate], previous: list[Name]) -> None:
    ranked = rank(candidates, previous)
    assert rank(candidates, names(ranked)) == ranked


@given(CANDIDATES)
def test_without_a_previous_order_the_rules_are_the_order(candidates: list[Candidate]) -> None:
    def by_rules(candidate: Candidate) -> tuple[object, ...]:
        return category(candidate), round(weight(candidate), 6), candidate.number, candidate.position, candidate.name

    assert rank(candidates) == sorted(candidates, key=by_rules)


@given(CANDIDATES, PREVIOUS)
def test_nobody_stands_behind_a_worse_category_or_a_much_heavier_one(
    candidates: list[Candidate], previous: list[Name]
) -> None:
    ranked = rank(candidates, previous)
    assert [category(each) for each in ranked] == sorted(map(category, candidates))
    for place, behind in enumerate(ranked):
        for ahead in ranked[:place]:
            assert category(ahead) != category(behind) or weight(ahead) - weight(behind) < MARGIN + 1e-5


@given(CANDIDATES, PREVIOUS)
def test_gone_ones_are_last(candidates: list[Candidate], previous: list[Name]) -> None:
    gone = [candidate.load.is_gone for candidate in rank(candidates, previous)]
    assert gone == sorted(gone)


@given(CANDIDATES, PREVIOUS)
def test_the_lightest_by_more_than_the_margin_is_the_first_of_its_category(
    candidates: list[Candidate], previous: list[Name]
) -> None:
    assume(candidates)
    lightest = min(candidates, key=weight)
    alike = [each for each in rank(candidates, previous) if category(each) == category(lightest)]
    assume(all(weight(each) - weight(lightest) > MARGIN for each in alike if each is not lightest))
    assert alike[0] == lightest


@given(CANDIDATES, PREVIOUS)
def test_only_heavier_ones_are_passed_and_only_with_one_that_is_much_heavier(
    candidates: list[Candidate], previous: list[Name]
) -> None:
    places = {name: previous.index(name) for name in previous}
    ranked = [each for each in rank(candidates, previous) if each.name in places]
    for place, behind in enumerate(ranked):
        passed_by = [each for each in ranked[:place] if places[each.name] > places[behind.name]]
        for ahead in passed_by:
            if category(ahead) == category(behind):
                assert weight(ahead) < weight(behind) + 1e-5
                others = (each for each in ranked[ranked.index(ahead) :] if category(each) == category(ahead))
                assert any(weight(each) - weight(ahead) > MARGIN - 1e-5 for each in others)


@given(CANDIDATES, st.lists(st.lists(st.floats(0, 0.09), min_size=12, max_size=12), max_size=5))
def test_loads_that_tremble_within_the_margin_change_nothing(
    candidates: list[Candidate], trembling: list[list[float]]
) -> None:
    calm = [replace(each, load=Load(0.4, None, each.load.instances), paused=False) for each in candidates]
    given_out = now = names(rank(calm))
    for more in trembling:
        loads = zip(calm, more, strict=False)
        now = names(rank([replace(each, load=replace(each.load, busy=0.4 + add)) for each, add in loads], now))
        assert now == given_out
