from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litellm_gateway_plugin.throttle import (
    FIRST_DELAY_S,
    FIRST_LIMIT,
    LONGEST_DELAY_S,
    MANY_CALLS,
    PATIENCE_S,
    PAUSES_BETWEEN_LOOKS,
    SLOWEST_REFUSAL_S,
    SMALLEST_GAP_S,
    Bounds,
    Throttle,
    Trip,
    Window,
)
from tests.support.simulated import HALF_WAY_S, Bucket, Outage, Room, Server, Simulation, Sliding


class Upstream:
    """A throttle and its clock; chance always takes a fixed part of what it may."""

    def __init__(self, bounds: Bounds = Bounds(), part: float = 1.0, **more: Any) -> None:  # noqa: B008  a frozen value
        self.now = 100.0
        self.throttle = Throttle(bounds, lambda seconds: part * seconds, **more)

    @property
    def window(self) -> Window:
        return self.throttle.window

    def has_room(self) -> bool:
        return self.throttle.has_room(self.now)

    def go(self) -> Trip:
        assert self.has_room()
        trip = self.throttle.go(self.now)
        self.throttle.send(trip, self.now)
        return trip

    def go_all(self) -> list[Trip]:
        trips = []
        while self.has_room():
            trips.append(self.go())
        return trips

    def accepted(self, *trips: Trip, demand: bool = True) -> None:
        for trip in trips:
            self.throttle.accepted(trip, self.now, demand=demand)

    def served(self, *trips: Trip, demand: bool = True) -> None:
        for trip in trips:
            self.throttle.accepted(trip, self.now, demand=demand)
            self.throttle.done(trip)

    def refused(self, *trips: Trip, hint: float | None = None) -> float:
        seconds = 0.0
        for trip in trips:
            seconds = self.throttle.refused(trip, self.now, hint)
            self.throttle.done(trip)
        return seconds

    def open(self) -> None:
        """Time passes until somebody may go."""
        self.now = max(self.now, self.throttle.opens_at())


def known_room(most: float) -> Upstream:
    """One of which is known that so many are taken, and one more is not."""
    upstream = Upstream()
    upstream.throttle.adopt(Window(limit=most, ceiling=most + 1, step=1.0, look_at=math.inf), upstream.now)
    return upstream


# a refusal and its pause


@pytest.mark.parametrize("hint", [0.001, 0.3, 7.5, 3600.0])
def test_a_hint_is_obeyed_to_the_point_the_first_time(hint: float) -> None:
    upstream = Upstream()
    assert upstream.refused(upstream.go(), hint=hint) == pytest.approx(hint)
    upstream.now += hint - 1e-6
    assert not upstream.has_room()
    upstream.open()
    assert upstream.has_room()


def test_a_hint_that_was_of_no_use_gets_growing_jitter_on_top() -> None:
    upstream = Upstream()
    pauses = []
    for _ in range(5):
        pauses.append(upstream.refused(upstream.go(), hint=2.0))
        upstream.open()
    assert pauses == pytest.approx([2.0, 2.5, 3.0, 4.0, 6.0])


def test_without_a_hint_the_delay_grows_up_to_a_bound_and_a_success_begins_it_anew() -> None:
    upstream = Upstream()
    pauses = []
    for _ in range(9):
        pauses.append(upstream.refused(upstream.go()))
        upstream.open()
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, LONGEST_DELAY_S, LONGEST_DELAY_S])
    upstream.served(upstream.go())
    upstream.now += 1
    assert upstream.refused(upstream.go()) == pytest.approx(FIRST_DELAY_S)


def test_the_delay_is_bounded_however_long_the_outage() -> None:
    upstream = Upstream()
    for _ in range(2000):
        assert upstream.refused(upstream.go()) <= LONGEST_DELAY_S + 1e-6
        upstream.open()


def test_the_jitter_is_full() -> None:
    for part in (0.0, 0.4, 1.0):
        upstream = Upstream(part=part)
        assert upstream.refused(upstream.go()) == pytest.approx(part * FIRST_DELAY_S)


@pytest.mark.parametrize("hint", [None, 0.0])
def test_a_hint_of_nothing_is_none(hint: float | None) -> None:
    upstream = Upstream()
    assert upstream.refused(upstream.go(), hint=hint) == pytest.approx(FIRST_DELAY_S)


@pytest.mark.parametrize(
    ("bounds", "hint", "pause"),
    [
        (Bounds(cooldown=3.0), None, 3.5),
        (Bounds(cooldown=3.0), 1.0, 1.0),
        (Bounds(retry_after=3.0), None, 3.0),
        (Bounds(retry_after=3.0), 1.0, 3.0),
        (Bounds(retry_after=3.0), 7.0, 7.0),
        (Bounds(cooldown=2.0, retry_after=9.0), None, 9.0),
    ],
)
def test_the_operators_floors(bounds: Bounds, hint: float | None, pause: float) -> None:
    upstream = Upstream(bounds)
    assert upstream.refused(upstream.go(), hint=hint) == pytest.approx(pause)


def test_a_later_refusal_of_the_same_episode_may_make_the_pause_longer_and_never_shorter() -> None:
    upstream = Upstream()
    trips = upstream.go_all()
    upstream.now += 0.01
    assert upstream.refused(trips[0], hint=2.0) == pytest.approx(2.0)
    assert upstream.refused(trips[1], hint=5.0) == pytest.approx(5.0)
    assert upstream.refused(trips[2], hint=1.0) == pytest.approx(5.0)
    assert upstream.refused(trips[3]) == pytest.approx(5.0)
    assert upstream.window.refusals == 1


def test_somebody_elses_refusal_closes_it_and_costs_no_room() -> None:
    upstream = Upstream()
    before, version = upstream.window.limit, upstream.throttle.version
    upstream.throttle.pause(upstream.now, 4.0)
    upstream.throttle.pause(upstream.now, 2.0)
    assert not upstream.has_room()
    assert upstream.throttle.room_at(upstream.now) == upstream.now + 4.0
    assert upstream.throttle.version == version + 1
    upstream.open()
    assert len(upstream.go_all()) == before


# after the pause


def test_after_a_pause_one_goes_and_the_others_follow_when_it_was_accepted() -> None:
    upstream = known_room(4)
    trips = upstream.go_all()
    upstream.now += 0.01
    upstream.refused(trips.pop(), hint=1.0)
    upstream.served(*trips)
    upstream.open()
    trial = upstream.go()
    assert not upstream.has_room()
    upstream.accepted(trial)
    assert len(upstream.go_all()) + 1 == upstream.window.limit


def test_after_a_pause_the_others_follow_when_the_first_one_was_not_refused_for_a_while() -> None:
    upstream = known_room(10)
    upstream.refused(upstream.go(), hint=1.0)
    upstream.throttle.adopt(Window(limit=5.0, on_trial=True, refusals=1), upstream.now)
    trial = upstream.go()
    assert upstream.throttle.room_at(upstream.now) == pytest.approx(trial.sent_at + upstream.throttle.patience)
    upstream.now += upstream.throttle.patience - 1e-6
    assert not upstream.has_room()
    upstream.now += 1e-5
    assert upstream.has_room()
    assert upstream.window.refusals == 0


def test_a_slow_refusal_makes_it_more_patient() -> None:
    upstream = Upstream()
    assert upstream.throttle.patience == PATIENCE_S
    trip = upstream.go()
    upstream.now += 0.4
    upstream.refused(trip)
    assert upstream.throttle.patience == pytest.approx(0.8)
    upstream.open()
    trip = upstream.go()
    upstream.now += 1000
    upstream.refused(trip)
    assert upstream.throttle.patience == 2 * SLOWEST_REFUSAL_S


def test_a_trial_that_was_given_up_makes_way_for_another_one() -> None:
    upstream = Upstream()
    upstream.refused(upstream.go(), hint=1.0)
    upstream.open()
    upstream.throttle.done(upstream.go())
    assert upstream.has_room()
    assert upstream.window.on_trial


def test_a_trial_finds_its_room_below_the_limit_like_everybody() -> None:
    upstream = known_room(1)
    slow = upstream.go()
    upstream.window.look_at = 0.0
    upstream.throttle._served = MANY_CALLS
    upstream.now += PATIENCE_S
    upstream.refused(upstream.go(), hint=1.0)
    upstream.open()
    assert upstream.throttle.in_flight == upstream.window.limit == 1
    assert not upstream.has_room()
    assert upstream.throttle.room_at(upstream.now) == math.inf
    upstream.served(slow)
    assert upstream.has_room()


def test_a_trial_that_is_refused_beside_others_tells_what_is_in_service_and_nothing_of_the_ceiling() -> None:
    upstream = known_room(10)
    trips = upstream.go_all()
    upstream.now += 0.01
    upstream.refused(trips.pop(), hint=1.0)
    upstream.served(*trips[:3])
    upstream.open()
    trial = upstream.go()
    assert upstream.throttle.in_flight == 7
    upstream.now += 0.01
    upstream.refused(trial, hint=1.0)
    assert (upstream.window.ceiling, upstream.window.limit) == (10, 6)
    assert upstream.window.refusals == 2


def test_only_the_process_that_may_sends_the_trial() -> None:
    upstream = Upstream()
    upstream.refused(upstream.go(), hint=1.0)
    upstream.open()
    upstream.throttle.may_try = False
    assert not upstream.has_room()
    upstream.throttle.may_try, upstream.throttle.share = True, 0.0
    assert upstream.has_room()


def test_an_answer_from_before_the_pause_proves_nothing() -> None:
    upstream = Upstream()
    early, late = upstream.go(), upstream.go()
    upstream.now += 0.01
    upstream.refused(late, hint=1.0)
    upstream.served(early)
    assert upstream.window.on_trial
    assert upstream.window.refusals == 1


def test_a_request_is_settled_once() -> None:
    upstream = Upstream()
    trip = upstream.go()
    upstream.refused(trip, hint=1.0)
    upstream.accepted(trip)
    assert upstream.window.on_trial
    upstream.open()
    trip = upstream.go()
    upstream.throttle.done(trip)
    upstream.accepted(trip)
    assert upstream.window.on_trial


# how many at a time


def test_the_limit_grows_by_half_while_nobody_is_refused_as_answers_show() -> None:
    upstream = Upstream()
    limits = []
    for _ in range(4):
        upstream.served(*upstream.go_all())
        limits.append(upstream.window.limit)
    assert limits == [12, 18, 27, 41]


def test_the_limit_grows_by_half_while_nobody_is_refused_as_silence_shows() -> None:
    upstream = Upstream()
    limits = []
    for _ in range(4):
        upstream.go_all()
        limits.append(upstream.throttle.in_flight)
        assert upstream.throttle.room_at(upstream.now) == pytest.approx(upstream.now + PATIENCE_S)
        upstream.now += PATIENCE_S
    assert limits == [FIRST_LIMIT, 12, 18, 27]


def test_the_limit_does_not_grow_while_nobody_needs_it() -> None:
    upstream = Upstream()
    for _ in range(100):
        upstream.now += 1
        upstream.served(upstream.go(), demand=False)
    assert upstream.window.limit == FIRST_LIMIT


def test_it_does_not_grow_again_before_its_last_growth_was_made_use_of() -> None:
    upstream = Upstream()
    upstream.go_all()
    upstream.now += 1
    assert upstream.has_room()
    limit = upstream.window.limit
    upstream.throttle.in_flight = int(limit)  # all of it is taken, and nobody of the new ones was sent yet
    assert not upstream.has_room()
    assert upstream.throttle.room_at(upstream.now) == math.inf
    assert upstream.window.limit == limit


@pytest.mark.parametrize("room", [1, 2, 4, 16, 100])
def test_a_burst_of_twice_the_room_shows_the_ceiling(room: int) -> None:
    upstream = Upstream(first_limit=2.0 * room)
    trips = upstream.go_all()
    assert len(trips) == 2 * room
    upstream.now += 0.01
    upstream.refused(*trips[room:])
    assert upstream.window.ceiling == room + 1
    assert upstream.window.limit == max(1, math.floor(0.9 * room))


def test_an_episode_cuts_once_however_late_its_refusals() -> None:
    upstream = Upstream(first_limit=8)
    trips = upstream.go_all()
    upstream.now += 0.01
    upstream.refused(trips[0], hint=0.1)
    upstream.open()
    upstream.refused(*trips[1:4], hint=0.1)
    upstream.served(*trips[4:])
    assert upstream.window.ceiling == 5
    assert upstream.window.refusals == 1


def test_between_refusals_it_stays_just_below_the_ceiling() -> None:
    upstream = known_room(10)
    upstream.refused(*upstream.go_all()[9:], hint=1.0)
    limits = set()
    for _ in range(PAUSES_BETWEEN_LOOKS):
        upstream.open()
        upstream.now += PATIENCE_S / 2
        for trip in upstream.go_all():
            upstream.accepted(trip)
        limits.add(upstream.window.limit)
        upstream.throttle.in_flight = 0
    assert max(limits) == upstream.window.ceiling - 1
    assert upstream.throttle._grows_at() >= upstream.window.look_at


def test_it_looks_above_the_ceiling_after_fifteen_pauses_and_twice_as_late_after_each_look_in_vain() -> None:
    upstream = known_room(4)
    holds = []
    for _ in range(5):
        upstream.throttle.window = Window(limit=4.0, ceiling=5.0, step=1.0, look_at=upstream.now)
        trips = upstream.go_all()
        upstream.now += PATIENCE_S
        trips += upstream.go_all()
        assert len(trips) == 5
        upstream.now += 0.01
        upstream.refused(trips.pop(), hint=2.0)
        holds.append(upstream.window.look_at - upstream.now)
        upstream.served(*trips)
        upstream.open()
    once = PAUSES_BETWEEN_LOOKS * (2.0 + PATIENCE_S)
    assert holds == pytest.approx([once, 2 * once, 4 * once, 8 * once, 8 * once])


def test_an_outage_does_not_put_off_the_next_look() -> None:
    upstream = Upstream()
    for _ in range(8):
        trips = upstream.go_all()
        upstream.now += 0.01
        upstream.refused(*trips)
        upstream.open()
    assert upstream.window.refusals == 8
    assert upstream.window.look_at - upstream.now <= PAUSES_BETWEEN_LOOKS * (FIRST_DELAY_S + PATIENCE_S)


def test_a_first_crowd_that_is_refused_as_a_whole_shows_no_ceiling() -> None:
    upstream = Upstream()
    for trip in upstream.go_all():
        upstream.refused(trip, hint=1.0)
    assert (upstream.window.limit, upstream.window.ceiling) == (1.0, math.inf)
    upstream.open()
    for _ in range(7):
        upstream.served(*upstream.go_all())
    assert upstream.window.limit > FIRST_LIMIT


def test_above_the_ceiling_it_goes_in_growing_steps() -> None:
    upstream = known_room(4)
    upstream.window.look_at = 0.0
    upstream.throttle._served = MANY_CALLS
    limits = []
    for _ in range(5):
        upstream.go_all()
        limits.append(upstream.throttle.in_flight)
        upstream.now += PATIENCE_S
    assert limits == [4, 5, 7, 10, 15]


def test_the_limit_never_leaves_its_bounds() -> None:
    upstream = Upstream(Bounds(most=3))
    for _ in range(5):
        assert len(upstream.go_all()) == 3
        upstream.now += PATIENCE_S
        assert not upstream.has_room()
        assert upstream.throttle.room_at(upstream.now) == math.inf
        upstream.served(*[Trip(upstream.now) for _ in range(3)])
    assert upstream.window.limit == 3


def test_an_account_has_no_limit_until_it_is_refused() -> None:
    upstream = Upstream(first_limit=math.inf)
    trips = [upstream.go() for _ in range(1000)]
    upstream.refused(*trips[600:], hint=1.0)
    assert upstream.window.ceiling == 601


def test_a_share_is_kept_to() -> None:
    upstream = known_room(8)
    upstream.throttle.share = 2.0
    assert len(upstream.go_all()) == 2


# how many a second


def test_the_operators_interval_is_kept() -> None:
    upstream = Upstream(Bounds(interval=0.5))
    upstream.go()
    assert not upstream.has_room()
    assert upstream.throttle.room_at(upstream.now) == upstream.now + 0.5
    assert upstream.throttle.closed_until(3) == upstream.now + 2.0
    upstream.now += 0.5
    assert upstream.has_room()


def test_slots_are_used_one_by_one_and_none_means_that_they_have_to_be_asked_for() -> None:
    upstream = Upstream(Bounds(interval=0.5))
    upstream.throttle.slots = deque([upstream.now, upstream.now + 3.0])
    upstream.go()
    assert not upstream.has_room()
    assert upstream.throttle.room_at(upstream.now) == upstream.now + 3.0
    upstream.now += 3.0
    upstream.go()
    assert upstream.throttle.room_at(upstream.now) == math.inf
    assert upstream.throttle.closed_until(5) <= upstream.now


def test_a_gap_is_learnt_from_the_second_proof_and_grows_when_it_was_too_small() -> None:
    upstream, begun = known_room(1), 0.0
    for _ in range(2):
        begun = upstream.now
        for _ in range(10):
            upstream.served(upstream.go(), demand=False)
            upstream.now += 0.1
        upstream.refused(upstream.go(), hint=1.0)
        upstream.open()
    assert upstream.window.gap == pytest.approx((upstream.now - begun) / 10, rel=0.2)
    gap = upstream.window.gap
    upstream.served(upstream.go())
    upstream.open()
    upstream.refused(upstream.go(), hint=1.0)
    assert upstream.window.gap == pytest.approx(1.25 * gap)


def test_a_gap_narrows_and_vanishes() -> None:
    upstream = known_room(1)
    upstream.throttle.adopt(Window(limit=1.0, ceiling=2.0, gap=0.01, look_at=0.0), upstream.now)
    gaps = []
    for _ in range(2000):
        upstream.open()
        upstream.served(upstream.go(), demand=False)
        upstream.now += 0.01
        gaps.append(upstream.window.gap)
    assert gaps == sorted(gaps, reverse=True)
    assert min(gap for gap in gaps if gap) > 0.9 * SMALLEST_GAP_S - 1e-9
    assert gaps[-1] == 0.0


# what others know, and a fork


def test_what_others_have_learnt_is_taken_over() -> None:
    upstream = Upstream()
    early = upstream.go()
    theirs = Window(limit=3.0, ceiling=4.0, opens_at=upstream.now + 2.0, refusals=1, on_trial=True)
    upstream.now += 0.01
    upstream.throttle.adopt(theirs, upstream.now)
    upstream.served(early)
    assert upstream.window.on_trial, "what was sent before proves nothing about their refusal"
    upstream.open()
    upstream.accepted(upstream.go())
    assert len(upstream.go_all()) + 1 == 3


def test_a_forked_child_has_nothing_under_way() -> None:
    upstream = Upstream()
    upstream.refused(upstream.go(), hint=1.0)
    upstream.open()
    upstream.go()
    upstream.throttle.share, upstream.throttle.slots, upstream.throttle.may_try = 1.0, deque(), False
    upstream.throttle.forget_requests()
    assert upstream.throttle.in_flight == 0
    assert upstream.has_room()


# whatever happens

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["go", "go", "go", "accepted", "refused", "done", "close", "wait", "wait"]),
        st.integers(0, 20),
        st.sampled_from([None, 0.0, 0.05, 1.0, 30.0]),
        st.sampled_from([0.0, 0.001, 0.05, 0.1, 1.0, 20.0, 400.0]),
    ),
    max_size=60,
)
BOUNDS = st.builds(
    Bounds,
    cooldown=st.sampled_from([0.0, 2.0]),
    retry_after=st.sampled_from([0.0, 2.0]),
    most=st.sampled_from([1.0, 3.0, 50.0, math.inf]),
    interval=st.sampled_from([0.0, 0.25]),
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(steps=STEPS, bounds=BOUNDS, part=st.sampled_from([0.0, 0.5, 1.0]), first=st.sampled_from([8.0, math.inf]))
def test_whatever_happens_the_rules_hold(
    steps: list[tuple[str, int, float | None, float]], bounds: Bounds, part: float, first: float
) -> None:
    upstream = Upstream(bounds, part, first_limit=first)
    throttle, under_way = upstream.throttle, list[Trip]()
    trial: Trip | None = None
    for what, which, hint, seconds in steps:
        trip = under_way[which % len(under_way)] if under_way else None
        if what == "wait":
            upstream.now += seconds
        elif what == "close":
            throttle.pause(upstream.now, seconds)
        elif what == "go":
            had_room, on_trial = upstream.has_room(), upstream.window.on_trial
            if had_room:
                assert upstream.now >= throttle.opens_at()
                assert throttle.in_flight < min(throttle.allowed, bounds.most)
                if on_trial:
                    waited = trial is not None and upstream.now - trial.sent_at >= throttle.patience
                    assert trial is None or trial not in under_way or trial.settled or waited
                under_way.append(throttle.go(upstream.now))
                trial = under_way[-1] if on_trial else trial
        elif trip is not None and what == "accepted":
            throttle.accepted(trip, upstream.now, demand=bool(which % 2))
        elif trip is not None:
            under_way.remove(trip)
            if what == "refused" and not trip.settled:
                assert throttle.refused(trip, upstream.now, hint) >= (hint or 0.0) - 1e-6
                assert throttle.opens_at() >= upstream.now + (hint or 0.0) - 1e-6
            throttle.done(trip)
        assert throttle.in_flight == len(under_way)
        assert 1 <= upstream.window.limit <= max(1.0, bounds.most)
        assert upstream.window.limit < upstream.window.ceiling or upstream.window.ceiling == math.inf
        if not upstream.has_room():
            assert throttle.room_at(upstream.now) > upstream.now, "whoever waits for that would turn in circles"


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(steps=STEPS, part=st.sampled_from([0.0, 1.0]))
def test_whatever_happens_somebody_goes_in_the_end(
    steps: list[tuple[str, int, float | None, float]], part: float
) -> None:
    upstream = Upstream(part=part)
    under_way: list[Trip] = []
    for what, which, hint, seconds in steps:
        upstream.now += seconds
        if what == "go" and upstream.has_room():
            under_way.append(upstream.throttle.go(upstream.now))
        elif what == "refused" and under_way:
            upstream.refused(under_way.pop(which % len(under_way)), hint=hint)
    upstream.served(*under_way)
    upstream.open()
    assert upstream.has_room()


# a server in made-up time


def ideal(calls: int, room: int, service: float) -> float:
    """Seconds for so many calls when nobody is ever refused and no room is ever empty."""
    return calls * (service + 2 * HALF_WAY_S) / room


@pytest.mark.parametrize("hint", [None, 1.0])
@pytest.mark.parametrize("service", [0.05, 5.0])
@pytest.mark.parametrize("room", [1, 4, 16, 100])
def test_a_server_with_room_for_some_is_kept_busy_and_hardly_asked_in_vain(
    room: int, service: float, hint: float | None
) -> None:
    simulation = Simulation(Room(room, service, hint), calls=2000, callers=2 * room)
    story = simulation.run()
    assert story.served == 2000
    assert story.refusals_per_call <= 0.1
    assert story.took <= 1.3 * (ideal(2000, room, service) + (hint or FIRST_DELAY_S))
    assert story.sent_too_soon() == []
    assert simulation.limit in (room, room + 1, math.floor(0.9 * room))
    assert simulation.throttle.in_flight == 0


@pytest.mark.parametrize("early", [True, False])
def test_a_crowd_is_no_different_from_a_few(early: bool) -> None:
    story = Simulation(Room(4, 1.0), calls=2000, callers=2000, early=early).run()
    assert story.served == 2000
    assert story.refusals_per_call <= 0.1
    assert story.took <= 1.1 * ideal(2000, 4, 1.0)


@pytest.mark.parametrize("part", [0.0, 0.1, 1.0])
def test_chance_decides_nothing(part: float) -> None:
    story = Simulation(Room(4, 1.0), calls=2000, callers=20, chance=lambda seconds: part * seconds).run()
    assert story.served == 2000
    assert story.refusals_per_call <= 0.1
    assert story.took <= 1.1 * ideal(2000, 4, 1.0)


@pytest.mark.parametrize("hint", [None, 1.0])
@pytest.mark.parametrize("service", [0.05, 5.0])
@pytest.mark.parametrize("then", [1, 4, 64])
def test_a_room_that_changes_is_followed(then: int, service: float, hint: float | None) -> None:
    simulation = Simulation(Room(16, service, hint, changes={500: then}), calls=2000, callers=100)
    story = simulation.run()
    assert story.served == 2000
    assert story.refusals_per_call <= 0.1
    # what was added is not seen before the next look, which comes after fifteen pauses, or twice as many
    unseen = 2 * PAUSES_BETWEEN_LOOKS * ((hint or FIRST_DELAY_S) + PATIENCE_S) if then > 16 else 0.0
    best = ideal(500, 16, service) + ideal(1500, then, service)
    assert story.took <= 1.3 * (best + (hint or FIRST_DELAY_S)) + unseen
    assert story.sent_too_soon() == []


@pytest.mark.parametrize("hint", [None, 1.0])
@pytest.mark.parametrize("seconds", [5.0, 60.0, 600.0])
@pytest.mark.parametrize("begins", [1000.0, 1010.0], ids=["from the start", "later"])
def test_an_outage_costs_little_more_than_itself(begins: float, seconds: float, hint: float | None) -> None:
    server = Outage(16, 1.0, hint, begins=begins, ends_at=begins + seconds)
    simulation = Simulation(server, calls=2000, callers=100)
    story = simulation.run()
    assert story.served == 2000
    assert story.refusals_per_call <= 0.1
    slow = LONGEST_DELAY_S + PAUSES_BETWEEN_LOOKS * ((hint or FIRST_DELAY_S) + PATIENCE_S)
    assert story.took <= 1.1 * ideal(2000, 16, 1.0) + seconds + slow
    assert story.sent_too_soon() == []


@pytest.mark.parametrize("hint", [None, 1.0])
@pytest.mark.parametrize("server", [Bucket(2, 2, 0.05), Sliding(2, 1.0, 0.05), Sliding(10, 10.0, 0.05)], ids=repr)
def test_a_server_that_counts_requests_per_second_teaches_a_gap(server: Any, hint: float | None) -> None:
    server = type(server)(**{**_arguments(server), "hint": hint})
    simulation = Simulation(server, calls=1000, callers=50)
    story = simulation.run()
    assert story.served == 1000
    rate = server.rate if isinstance(server, Bucket) else server.most / server.window
    assert simulation.throttle.window.gap == pytest.approx(1 / rate, rel=0.4)
    assert story.refusals_per_call <= 0.1
    assert story.took <= 1.3 * 1000 / rate
    assert story.sent_too_soon() == []


@pytest.mark.parametrize("server", [Bucket(20, 20, 2.0), Sliding(20, 1.0, 2.0)], ids=repr)
def test_a_server_that_counts_requests_and_is_slow_is_served_by_the_limit(server: Server) -> None:
    story = Simulation(server, calls=2000, callers=500).run()
    assert story.served == 2000
    assert story.refusals_per_call <= 0.1
    assert story.took <= 2.5 * 2000 / 20  # a window that everybody of whom starts at once is half empty


def test_two_at_a_time_and_an_interval_from_the_operator_leave_nothing_to_refuse() -> None:
    bounds = Bounds(most=2, interval=0.1)
    story = Simulation(Room(2, 0.15), calls=500, callers=50, bounds=bounds).run()
    assert story.served == 500
    assert story.refused == []
    assert story.took == pytest.approx(50.0, rel=0.01)


def test_time_alone_wakes_the_gate_no_more_often_than_somebody_goes() -> None:
    story = Simulation(Room(4, 5.0), calls=1000, callers=200).run()
    assert story.beats <= len(story.sent)


def _values(window: Window) -> dict[str, Any]:
    return {name: getattr(window, name) for name in Window.__slots__}


def _arguments(server: Any) -> dict[str, Any]:
    names = {Bucket: ("rate", "size", "service"), Sliding: ("most", "window", "service")}[type(server)]
    return {name: getattr(server, name) for name in names}
