"""The moves of a plan: what each lesson leaves to try."""

from __future__ import annotations

from collections.abc import Iterable

from litellm_gateway_plugin.answers import Answer
from litellm_gateway_plugin.plan import Plan, Route

SAME, OTHER = Answer(401, text="same"), Answer(401, text="other")
GONE = Answer(404)
AB = ("a", "b")


def plan(
    order: Iterable[str] = AB, first: Route | None = None, *, can_toggle: bool = True, known: bool = False
) -> Plan:
    return Plan.begin(order, first, can_toggle=can_toggle, base_known=known)


def walk(walked: Plan, *lessons: Answer | tuple[Answer, list[str]]) -> list[tuple[str, bool]]:
    """The routes that were tried, and the one to try next."""
    path = []
    for lesson in lessons:
        answer, hints = lesson if isinstance(lesson, tuple) else (lesson, [])
        route = walked.current
        assert route is not None
        path.append((route.style, route.toggled))
        if answer.status == 404:
            walked.no_route(route, answer)
        else:
            walked.refuse(route, answer, hints)
    following = walked.current
    return [*path, *([(following.style, following.toggled)] if following else [])]


def test_a_guess_goes_first() -> None:
    assert plan(first=Route("c", True)).current == Route("c", True)
    assert plan(first=Route("c", True), can_toggle=False).current == Route("c")
    assert plan(first=Route("b", slash=True)).styles == ["b", "a"]


def test_one_guard() -> None:
    walked = plan()
    assert walk(walked, SAME, SAME, SAME) == [("a", False), ("b", False), ("a", True)]
    assert walked.refused_key == Route("a")
    assert walked.tried_styles == ["a", "b"]


def test_another_guard_gets_every_style() -> None:
    assert walk(plan(), SAME, SAME, OTHER, OTHER) == [("a", False), ("b", False), ("a", True), ("b", True)]


def test_another_guard_with_a_hint_gets_every_style_all_the_same() -> None:
    path = walk(plan(), SAME, SAME, (OTHER, ["h"]), OTHER, OTHER)
    assert path == [("a", False), ("b", False), ("a", True), ("h", True), ("b", True)]


def test_a_proven_base_is_not_left_for_refusals() -> None:
    assert walk(plan(known=True), SAME, SAME) == [("a", False), ("b", False)]


def test_a_missing_form_is_left_with_the_styles_not_yet_refused() -> None:
    assert walk(plan(), SAME, GONE, SAME) == [("a", False), ("b", False), ("b", True)]
    assert walk(plan(), SAME, GONE, OTHER) == [("a", False), ("b", False), ("b", True), ("a", True)]


def test_a_guard_that_let_a_style_through_did_not_refuse_the_key() -> None:
    walked = plan()
    walk(walked, SAME, GONE, GONE)
    assert walked.current is None
    assert walked.refused_key is None


def test_hints_are_capped_and_known_styles_are_not() -> None:
    walked = plan()
    walk(walked, (SAME, ["b", "h1", "h2", "h3", "a"]))
    assert walked.styles == ["b", "h1", "h2"]
    walk(walked, (SAME, ["h4"]))
    assert walked.styles == ["h1", "h2"]


def test_a_slash_goes_before_the_form() -> None:
    walked = plan(first=Route("a", slash=True))
    walk(walked, GONE)
    assert walked.current == Route("a")
    walked.no_route(Route("a", slash=True), GONE)
    assert walked.current == Route("a")


def test_late_answers_change_nothing_that_is_settled() -> None:
    walked = plan()
    walk(walked, SAME, SAME)
    walked.refuse(Route("a"), OTHER, ["h"])
    assert walked.current == Route("a", True)
    walked.refuse(Route("z"), SAME)
    assert walked.current == Route("a", True)
    walked.no_route(Route("a"), GONE)
    walked.no_route(Route("a", True), GONE)
    walked.no_route(Route("a", True), GONE)
    assert walked.forms == []
    walked.refuse(Route("b", True), SAME)
    assert walk(walked) == []
