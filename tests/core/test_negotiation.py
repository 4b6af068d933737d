"""The negotiation, driven with answers made by hand: which way it goes, and how it ends."""

from __future__ import annotations

import pytest

from litellm_gateway_plugin.answers import Answer
from litellm_gateway_plugin.errors import (
    BrokenAnswer,
    ConnectionBroken,
    Forbidden,
    Full,
    KeyRefused,
    ModelUnknown,
    NotAGateway,
    RequestRejected,
    UpstreamFailed,
)
from litellm_gateway_plugin.memory import Memory
from litellm_gateway_plugin.negotiation import MAX_ATTEMPTS, Attempt, Wait, listing_ask, negotiate
from litellm_gateway_plugin.plan import Route
from tests.support.core import KEY, Clock, answer, ask, call, guarded, listing, ok, policy, scripted

UNAUTHORIZED = answer(401, {"error": "Unauthorized"})
NOT_FOUND = answer(404, {"detail": "Not Found"})
UNKNOWN = answer(404, {"error": {"message": "The model `vendor/model` does not exist.", "param": "model", "code": 404}})


def test_a_first_guess_that_works_is_one_request() -> None:
    outcome = call(scripted(ok()))
    assert outcome.path == [("bearer", False)]
    assert outcome.served is not None
    assert outcome.served.tried == (Route("bearer"),)
    assert outcome.served.model == "vendor/model"


@pytest.mark.parametrize("style", ["bearer", "x-api-key", "raw", "api-key"])
def test_styles_are_tried_in_order_until_one_is_accepted_and_then_kept(style: str) -> None:
    memory = Memory()
    gateway = guarded({False: style}, UNAUTHORIZED)
    order = ["bearer", "x-api-key", "raw", "api-key"]
    assert call(gateway, memory).styles == order[: order.index(style) + 1]
    assert call(gateway, memory).styles == [style]


@pytest.mark.parametrize(
    ("base", "accepted"),
    [("https://h.example", {True: "bearer"}), ("https://h.example/v1", {True: "bearer"})],
)
def test_a_missing_route_goes_to_the_other_form(base: str, accepted: dict[bool, str]) -> None:
    outcome = call(guarded(accepted, UNAUTHORIZED), wanted=ask(base))
    assert outcome.path == [("bearer", False), ("bearer", True)]


@pytest.mark.parametrize(
    "page",
    [
        answer(200, "<!doctype html><title>Console</title>", content_type="text/html"),
        answer(200, "plain words"),
        answer(200, {"status": "ok"}),
        answer(204, ""),
        answer(302, "", location="https://login.example/"),
        answer(405, "<html><h1>405 Not Allowed</h1></html>"),
        answer(404, "404 page not found"),
        answer(403, {"message": "Missing Authentication Token"}),
    ],
)
def test_what_is_no_answer_of_this_api_goes_to_the_other_form(page: Answer) -> None:
    assert call(guarded({True: "bearer"}, UNAUTHORIZED, page)).path == [("bearer", False), ("bearer", True)]


def test_wrong_style_and_wrong_base_with_the_guard_first() -> None:
    def gateway(attempt: Attempt) -> Answer:
        if attempt.route.style != "x-api-key":
            return UNAUTHORIZED
        return ok() if attempt.route.toggled else NOT_FOUND

    assert call(gateway).path == [("bearer", False), ("x-api-key", False), ("x-api-key", True)]


def test_wrong_style_and_wrong_base_with_the_route_first() -> None:
    outcome = call(guarded({True: "x-api-key"}, UNAUTHORIZED))
    assert outcome.path == [("bearer", False), ("bearer", True), ("x-api-key", True)]


def test_one_guard_before_both_forms_costs_one_look_at_the_other() -> None:
    outcome = call(lambda attempt: UNAUTHORIZED)
    assert outcome.path == [
        ("bearer", False),
        ("x-api-key", False),
        ("raw", False),
        ("api-key", False),
        ("bearer", True),
    ]
    assert isinstance(outcome.error, KeyRefused)


def test_another_guard_on_the_other_form_is_given_every_style() -> None:
    other = answer(401, {"message": "no"})

    def gateway(attempt: Attempt) -> Answer:
        if not attempt.route.toggled:
            return UNAUTHORIZED
        return ok() if attempt.route.style == "api-key" else other

    outcome = call(gateway)
    assert outcome.path[4:] == [("bearer", True), ("x-api-key", True), ("raw", True), ("api-key", True)]
    assert outcome.served is not None


def test_a_style_refused_by_the_first_guard_is_taken_by_the_second() -> None:
    def gateway(attempt: Attempt) -> Answer:
        style, toggled = attempt.route.style, attempt.route.toggled
        if toggled:
            return ok() if style == "bearer" else answer(401, {"message": "bearer only here"})
        return NOT_FOUND if style == "x-api-key" else UNAUTHORIZED

    assert call(gateway).path[-1] == ("bearer", True)


def test_a_hint_goes_first() -> None:
    kong = answer(401, {"message": "No API key found in request"}, www_authenticate='Key realm="kong"')
    assert call(guarded({False: "apikey"}, kong)).styles == ["bearer", "apikey"]


def test_a_hint_that_quotes_the_key_makes_no_style_of_it() -> None:
    key = "sk-my-secret-key-123456"
    refusal = answer(401, {"error": f"Unknown token {key} in header {key.upper()} and x-{key}"})
    outcome = call(lambda attempt: refusal, wanted=ask(key=key))
    assert all("my-secret" not in style for style in outcome.styles)
    assert key not in str(outcome.error)


def test_a_proven_style_that_is_refused_later_is_renegotiated_in_the_same_call() -> None:
    memory = Memory()
    call(guarded({False: "bearer"}, UNAUTHORIZED), memory)
    outcome = call(guarded({False: "raw"}, UNAUTHORIZED), memory)
    assert outcome.styles == ["bearer", "x-api-key", "raw"]
    assert outcome.served is not None


def test_a_proven_base_that_has_moved_is_found_in_the_same_call() -> None:
    memory = Memory()
    call(guarded({False: "bearer"}, UNAUTHORIZED), memory)
    outcome = call(guarded({True: "bearer"}, UNAUTHORIZED), memory)
    assert outcome.path == [("bearer", False), ("bearer", True)]


def test_a_proven_base_is_not_left_when_its_guard_refuses_everything() -> None:
    memory = Memory()
    call(scripted(ok()), memory)
    outcome = call(lambda attempt: UNAUTHORIZED, memory)
    assert {toggled for _, toggled in outcome.path} == {False}
    assert isinstance(outcome.error, KeyRefused)


def test_a_success_of_another_shape_on_a_proven_route_is_never_sent_again() -> None:
    memory = Memory()
    call(scripted(ok()), memory)
    outcome = call(scripted(answer(200, {"status": "ok"})), memory)
    assert len(outcome.path) == 1
    assert isinstance(outcome.error, BrokenAnswer)


def test_an_unusable_answer_of_this_api_is_never_sent_again() -> None:
    outcome = call(scripted(answer(200, {"object": "chat.completion", "choices": []})))
    assert len(outcome.path) == 1
    assert isinstance(outcome.error, BrokenAnswer)
    assert "without a result" in str(outcome.error)


@pytest.mark.parametrize(
    ("given", "error", "status"),
    [
        (answer(429, {"detail": "Infrastructure is at maximum capacity, try again later"}), Full, 429),
        (answer(500, {"detail": "exhausted all available targets to no avail"}), Full, 500),
        (answer(200, {"error": {"code": 429, "message": "slow down"}}), Full, 429),
        (answer(200, {"error": {"message": "no"}}), UpstreamFailed, 500),
        (answer(502, "<html><title>502 Bad Gateway</title></html>"), UpstreamFailed, 502),
        (answer(400, {"error": {"message": "max_tokens is too large"}}), RequestRejected, 400),
        (answer(402, {"detail": {"message": "Quota exceeded"}}), RequestRejected, 402),
        (answer(403, {"error": "Your plan does not include vendor/model"}), Forbidden, 403),
        (answer(401, {"error": "model not supported for this format"}), Forbidden, 401),
    ],
)
def test_everything_else_is_surfaced_after_one_request(given: Answer, error: type[Exception], status: int) -> None:
    outcome = call(scripted(given))
    assert len(outcome.path) == 1
    assert type(outcome.error) is error
    assert getattr(outcome.error, "status", None) == status


def test_what_came_before_a_full_answer_is_remembered() -> None:
    memory = Memory()
    call(scripted(UNAUTHORIZED, answer(429, "slow down")), memory)
    assert call(scripted(ok()), memory).styles == ["x-api-key"]


def test_no_route_on_either_form() -> None:
    outcome = call(lambda attempt: NOT_FOUND)
    assert outcome.path == [("bearer", False), ("bearer", True)]
    assert type(outcome.error) is NotAGateway
    assert "/v1/chat/completions gave 404" in str(outcome.error)


def test_a_base_with_another_version_has_one_form() -> None:
    assert call(lambda attempt: NOT_FOUND, wanted=ask("https://h.example/v3")).path == [("bearer", False)]


def test_over_plain_http_to_the_world_one_style_is_offered() -> None:
    outcome = call(lambda attempt: UNAUTHORIZED, wanted=ask("http://h.example.com/v1"))
    assert outcome.path == [("bearer", False), ("bearer", True)]
    assert "use https" in str(outcome.error)


def test_a_header_that_the_caller_gave_is_the_first_guess() -> None:
    assert call(scripted(ok()), wanted=ask(named="x-api-key")).styles == ["x-api-key"]


def test_without_a_key_nothing_is_made_up() -> None:
    outcome = call(lambda attempt: UNAUTHORIZED, wanted=ask(key=None))
    assert set(outcome.styles) == {"none"}
    assert "No API key was given" in str(outcome.error)


def test_a_key_that_was_refused_is_one_request_for_a_minute() -> None:
    clock = Clock()
    memory = Memory(clock=clock)
    call(lambda attempt: UNAUTHORIZED, memory)
    for _ in range(5):
        outcome = call(lambda attempt: UNAUTHORIZED, memory)
        assert outcome.styles == ["bearer"]
        assert isinstance(outcome.error, KeyRefused)
        assert "bearer, x-api-key, raw, api-key" in str(outcome.error)
    assert call(scripted(ok()), memory, ask(key="another-key")).served is not None
    clock.pass_(60)
    assert len(call(lambda attempt: UNAUTHORIZED, memory).path) == 5


def test_a_refused_key_that_is_taken_again_is_proven() -> None:
    memory = Memory()
    call(lambda attempt: UNAUTHORIZED, memory)
    assert call(scripted(ok()), memory).served is not None
    assert memory.proven(ask()) == Route("bearer")


def test_a_refused_key_that_passes_the_guard_goes_on() -> None:
    memory = Memory()
    call(lambda attempt: UNAUTHORIZED, memory)
    assert call(guarded({True: "bearer"}, UNAUTHORIZED), memory).path == [("bearer", False), ("bearer", True)]


def test_an_unknown_id_is_looked_up_once_and_remembered() -> None:
    memory = Memory()
    outcome = call(scripted(UNKNOWN, listing("Vendor/Model", "other"), ok()), memory)
    assert outcome.models == ["vendor/model", "Vendor/Model"]
    assert outcome.listings == [("bearer", False)]
    assert call(scripted(ok()), memory).models == ["Vendor/Model"]


def test_an_id_that_was_looked_up_and_is_refused_later_gives_way_to_the_asked_one() -> None:
    memory = Memory()
    call(scripted(UNKNOWN, listing("Vendor/Model"), ok()), memory)
    outcome = call(scripted(UNKNOWN, ok()), memory)
    assert outcome.models == ["Vendor/Model", "vendor/model"]
    assert memory.served_id(ask()) is None


def test_an_id_that_is_listed_and_refused_all_the_same() -> None:
    outcome = call(scripted(UNKNOWN, listing("vendor/model")))
    assert isinstance(outcome.error, ModelUnknown)
    assert "lists this id all the same" in str(outcome.error)
    twice = call(scripted(UNKNOWN, listing("Vendor/Model"), UNKNOWN))
    assert twice.models == ["vendor/model", "Vendor/Model"]
    assert isinstance(twice.error, ModelUnknown)


def test_nothing_similar_is_ever_used() -> None:
    outcome = call(scripted(UNKNOWN, listing("vendor/model-2", "vendor/modal")))
    assert len(outcome.path) == 1
    assert "Did you mean 'vendor/model-2' or 'vendor/modal'?" in str(outcome.error)


def test_an_id_that_cannot_be_replaced_is_not() -> None:
    memory = Memory()
    memory.learn_id(ask(), "Vendor/Model")
    outcome = call(scripted(UNKNOWN, listing("Vendor/Model")), memory, ask(fixed_id=True))
    assert outcome.models == ["vendor/model"]
    assert isinstance(outcome.error, ModelUnknown)


def test_a_gateway_without_a_listing_is_asked_for_it_once() -> None:
    memory = Memory()
    first = call(lambda a: NOT_FOUND if a.surface == "models" else UNKNOWN, memory)
    second = call(lambda a: NOT_FOUND if a.surface == "models" else UNKNOWN, memory)
    assert len(first.listings) == 2
    assert second.listings == []
    assert "It has no listing" in str(second.error)


@pytest.mark.parametrize("passing", [answer(503, "full"), answer(500, "oops")])
def test_a_listing_that_fails_for_now_is_asked_for_again(passing: Answer) -> None:
    memory = Memory()
    call(lambda a: passing if a.surface == "models" else UNKNOWN, memory)
    assert call(scripted(UNKNOWN, listing("Vendor/Model"), ok()), memory).served is not None


def test_a_listing_that_talks_of_models_does_not_recurse() -> None:
    body = answer(404, {"error": {"message": "no such model", "code": "model_not_found"}})
    outcome = call(lambda attempt: body)
    assert isinstance(outcome.error, ModelUnknown)
    assert len(outcome.listings) == 2


def test_a_public_listing_is_asked_without_the_key_at_last() -> None:
    outcome = call(
        lambda a: (
            ok()
            if a.model == "Vendor/Model"
            else UNKNOWN
            if a.surface != "models"
            else (listing("Vendor/Model") if a.route.style == "none" else UNAUTHORIZED)
        )
    )
    assert outcome.served is not None
    assert outcome.listings[-1] == ("none", False)
    assert outcome.styles == ["bearer", "bearer"]


def test_the_listing_is_asked_in_the_style_that_works() -> None:
    wanted = listing_ask(ask(), Route("raw"))
    assert (wanted.surface, wanted.model, wanted.named) == ("models", "", "raw")
    assert listing_ask(ask(named="api-key")).named == "api-key"


def test_a_slash_that_a_redirect_asked_for_is_remembered_and_given_up_when_it_fails() -> None:
    memory = Memory()
    slashed = Answer(200, data={}, slashed=True)
    first = call(scripted(slashed), memory)
    assert first.served is not None
    assert first.served.route == Route("bearer", slash=True)
    outcome = call(lambda a: NOT_FOUND if a.route.slash else ok(), memory)
    assert outcome.served is not None
    assert outcome.served.tried == (Route("bearer", slash=True), Route("bearer"))


def test_a_gateway_that_contradicts_itself_is_left() -> None:
    memory = Memory()
    asked = ask()

    def moody(attempt: Attempt) -> Answer:
        memory._open.clear()
        return UNAUTHORIZED

    outcome = call(moody, memory, asked)
    assert len(outcome.path) == MAX_ATTEMPTS
    assert "contradicts itself" in str(outcome.error)


def test_observers_are_told_once_about_each_proven_route() -> None:
    told: list[object] = []
    rules = policy(negotiated=lambda base, surface, route, tried: told.append((route, tried)))
    memory = Memory()
    gateway = guarded({False: "x-api-key"}, UNAUTHORIZED)
    call(gateway, memory, rules=rules)
    call(gateway, memory, rules=rules)
    assert told == [(Route("x-api-key"), (Route("bearer"), Route("x-api-key")))]


@pytest.mark.parametrize("end", ["close", "throw", "none", "hook"])
def test_whatever_ends_an_attempt_frees_its_probe(end: str) -> None:
    memory = Memory()
    broken = policy(is_capacity=lambda status, headers, body: 1 / 0)
    flow = negotiate(ask(), memory, broken if end == "hook" else policy())
    first = next(flow)
    assert isinstance(first, Attempt)
    assert first.probe is not None
    if end == "close":
        flow.close()
    else:
        error = {"throw": ConnectionBroken, "none": TypeError, "hook": ZeroDivisionError}[end]
        goes_on = {"none": lambda: flow.send(None), "hook": lambda: flow.send(UNAUTHORIZED)}
        with pytest.raises(error):
            goes_on.get(end, lambda: flow.throw(ConnectionBroken("gone")))()
    assert first.probe.settled.done()
    assert isinstance(next(negotiate(ask(), memory, policy())), Attempt)


def test_the_others_wait_for_the_first_and_then_take_its_lesson() -> None:
    memory = Memory()
    first, second = (negotiate(ask(), memory, policy()) for _ in range(2))
    leading = next(first)
    waiting = next(second)
    assert isinstance(leading, Attempt)
    assert isinstance(waiting, Wait)
    assert waiting.probe is leading.probe
    assert not waiting.probe.settled.done()
    again = first.send(UNAUTHORIZED)
    assert waiting.probe.settled.done()
    assert isinstance(again, Attempt)
    still = next(second)
    assert isinstance(still, Wait)
    again.head(200)
    assert still.probe.settled.done()
    following = next(second)
    assert isinstance(following, Attempt)
    assert following.route == again.route == Route("x-api-key")


def test_after_the_grace_the_others_go_ahead_the_same_way() -> None:
    memory = Memory()
    first, second, third = (negotiate(ask(), memory, policy()) for _ in range(3))
    next(first)
    next(second)
    ahead = second.send(None)
    assert isinstance(ahead, Attempt)
    assert ahead.route == Route("bearer")
    assert isinstance(second.send(UNAUTHORIZED), Attempt)
    assert isinstance(next(third), Wait)
    late = first.send(UNAUTHORIZED)
    assert isinstance(late, Wait)


def test_settling_twice_is_harmless() -> None:
    flow = negotiate(ask(), Memory(), policy())
    step = next(flow)
    assert isinstance(step, Attempt)
    assert step.probe is not None
    step.head(500)
    assert not step.probe.settled.done()
    step.head(200)
    step.probe.settle()
    flow.close()
    Attempt("chat/completions", Route("bearer"), "m").head(200)


def test_two_threads_may_settle_together() -> None:
    class Racing:
        def done(self) -> bool:
            return False

        def set_result(self, value: None) -> None:
            raise RuntimeError("the other one was first")

    step = next(negotiate(ask(), Memory(), policy()))
    assert isinstance(step, Attempt)
    assert step.probe is not None
    step.probe.settled = Racing()  # type: ignore[assignment]  # a future that somebody settles in between
    step.probe.settle()


def test_nothing_shows_the_key() -> None:
    assert KEY not in repr(ask())
    step = next(negotiate(ask(), Memory(), policy()))
    assert KEY not in repr(step)
