from __future__ import annotations

import os

import pytest

from litellm_gateway_plugin import forking
from litellm_gateway_plugin.answers import Answer
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.errors import KeyRefused
from litellm_gateway_plugin.listings import FRESH_S, Listings
from litellm_gateway_plugin.memory import REFUSED_FOR, Memory, Open
from litellm_gateway_plugin.negotiation import Attempt, Claim, Profile, Spent, Wait, negotiate
from litellm_gateway_plugin.plan import Route
from litellm_gateway_plugin.recent import Recent
from tests.support.core import Clock, answer, ask, call, guarded, listing, ok, policy, scripted

REFUSAL = answer(401, {"error": "Unauthorized"})
NOT_FOUND = answer(404, {"detail": "Not Found"})


class Notes:
    """Guesses in a dictionary."""

    def __init__(self, **routes: Route) -> None:
        self.routes: dict[str, Route] = dict(routes)
        self.forks = 0

    def recall(self, base: str, surface: str) -> Route | None:
        return self.routes.get(surface)

    def note(self, base: str, surface: str, route: Route) -> None:
        self.routes[surface] = route

    def after_fork(self) -> None:
        self.forks += 1


def test_what_works_is_kept_for_its_key_surface_and_base_alone() -> None:
    memory = Memory()
    call(guarded({False: "raw"}, REFUSAL), memory)
    assert memory.proven(ask()) == Route("raw")
    assert memory.proven(ask(key="other")) is None
    assert memory.proven(ask(surface="embeddings")) is None
    assert memory.proven(ask("https://llm.example.com")) is None
    memory.clear()
    assert memory.proven(ask()) is None


def test_another_surface_is_a_guess_and_a_listing_is_none() -> None:
    memory = Memory()
    call(guarded({True: "raw"}, REFUSAL), memory)
    data = answer(200, {"data": [{"embedding": [1]}]}, "embeddings")
    assert call(scripted(data), memory, ask(surface="embeddings")).path == [("raw", True)]
    memory.clear()
    call(scripted(REFUSAL, listing("a")), memory, ask(surface="models"))
    assert call(scripted(ok()), memory).path == [("bearer", False)]


def test_a_named_style_goes_before_a_guess_on_its_form() -> None:
    guesses = Notes(**{"chat/completions": Route("raw", True)})
    assert call(scripted(ok()), Memory(guesses), ask(named="api-key")).path == [("api-key", True)]


def test_a_style_that_a_caller_names_is_news_about_a_plan_and_about_a_refused_key() -> None:
    gateway = guarded({False: "x-acme"}, REFUSAL)
    memory = Memory()
    flow = negotiate(ask(), memory, policy())
    next(flow)
    flow.send(REFUSAL)
    flow.close()
    assert call(gateway, memory, ask(named="x-acme")).styles == ["x-acme"]
    memory.clear()
    call(gateway, memory)
    assert call(gateway, memory, ask(named="raw")).styles == ["bearer"]
    assert call(gateway, memory, ask(named="x-acme")).styles == ["x-acme"]


def test_guesses_come_from_an_earlier_process() -> None:
    guesses = Notes()
    call(guarded({True: "x-api-key"}, REFUSAL), Memory(guesses))
    assert guesses.routes == {"chat/completions": Route("x-api-key", True)}
    assert call(scripted(ok()), Memory(guesses)).path == [("x-api-key", True)]


@pytest.mark.parametrize("stale", [Route("x-acme"), Route("none"), Route("bearer", True), Route("bearer", slash=True)])
def test_a_stale_guess_costs_one_refused_request_at_most(stale: Route) -> None:
    def gateway(attempt: Attempt) -> Answer:
        if attempt.route.toggled or attempt.route.slash:
            return NOT_FOUND
        return ok() if attempt.route.style == "bearer" else REFUSAL

    outcome = call(gateway, Memory(Notes(**{"chat/completions": stale})))
    assert outcome.served is not None
    assert len(outcome.path) <= 2


def test_where_one_style_has_to_do_a_guess_is_no_reason_for_an_unusual_one() -> None:
    guesses = Notes(**{"chat/completions": Route("x-acme", True)})
    assert call(scripted(ok()), Memory(guesses), ask("http://h.example.com/v1")).path == [("bearer", True)]
    assert call(scripted(ok()), Memory(guesses, negotiate=False)).path == [("bearer", True)]


def test_a_route_without_a_key_is_no_first_guess_for_a_key() -> None:
    memory = Memory(hint=lambda ask: Route("none"))
    assert call(scripted(ok()), memory).path == [("bearer", False)]
    wanted = ask(surface="models", named="raw")
    refused = lambda attempt: listing("a") if attempt.route.style == "none" else REFUSAL  # noqa: E731  a gateway in one line
    memory = Memory()
    assert call(refused, memory, wanted).styles[-1] == "none"
    assert call(lambda attempt: NOT_FOUND, memory, wanted).styles == ["none", "raw"]


def test_what_needs_no_key_or_a_password_is_no_guess_for_others() -> None:
    guesses = Notes()
    call(scripted(ok()), Memory(guesses), ask(key=None))
    call(scripted(ok()), Memory(guesses), ask(key="u:p", named="basic"))
    assert guesses.routes == {}


def test_user_and_password_are_sent_as_such_and_never_otherwise() -> None:
    refusal = answer(401, "", www_authenticate="Bearer, APIKey")
    outcome = call(lambda attempt: refusal, wanted=ask(key="u:p", named="basic"))
    assert set(outcome.styles) == {"basic"}


def test_without_negotiation_the_first_guess_is_alone() -> None:
    refusal = answer(401, "", www_authenticate="APIKey")
    assert set(call(lambda attempt: refusal, Memory(negotiate=False)).styles) == {"bearer"}


def test_hooks_give_the_order_and_the_first_route() -> None:
    memory = Memory(order=lambda ask: ["api-key", "raw"], hint=lambda ask: Route("x-acme", True))
    outcome = call(lambda attempt: REFUSAL, memory)
    assert outcome.path == [("x-acme", True), ("api-key", True), ("raw", True), ("x-acme", False)]


def test_a_hook_may_use_the_memory_that_asks_it() -> None:
    memory = Memory()
    memory.order = lambda asked: ["raw"] if memory.listing(asked) is None else ["bearer"]
    assert call(scripted(ok()), memory).styles == ["raw"]


def test_a_hook_that_fails_while_a_lesson_is_learnt_frees_the_probe() -> None:
    memory = Memory()
    flow = negotiate(ask(), memory, policy())
    step = next(flow)
    assert isinstance(step, Attempt)
    assert step.probe is not None
    memory._open.clear()
    memory.order = lambda asked: [str(1 // 0)]
    with pytest.raises(ZeroDivisionError):
        flow.send(REFUSAL)
    assert step.probe.settled.done()


def test_the_lessons_of_a_plan_that_nobody_finished_count_for_a_minute() -> None:
    clock = Clock()
    memory = Memory(clock=clock)
    for wait, styles in ((REFUSED_FOR - 1, ["x-api-key"]), (REFUSED_FOR, ["bearer"])):
        memory.clear()
        flow = negotiate(ask(), memory, policy())
        next(flow)
        flow.send(REFUSAL)
        flow.close()
        clock.pass_(wait)
        assert call(scripted(ok()), memory).styles == styles


def test_a_route_that_met_a_full_gateway_is_the_next_first_guess() -> None:
    clock = Clock()
    memory = Memory(clock=clock)
    call(scripted(REFUSAL, answer(429, "full")), memory)
    clock.pass_(REFUSED_FOR)
    assert call(scripted(ok()), memory).styles == ["x-api-key"]


def test_a_late_refusal_does_not_undo_what_was_proven_meanwhile() -> None:
    memory = Memory()
    first, second = (negotiate(ask(), memory, policy()) for _ in range(2))
    next(first)
    next(second)
    second.send(None)
    assert isinstance(second.send(REFUSAL), Attempt)
    with pytest.raises(StopIteration):
        second.send(ok())
    again = first.send(REFUSAL)
    assert isinstance(again, Attempt)
    assert again.route == Route("x-api-key")
    assert memory.proven(ask()) == Route("x-api-key")


def test_a_late_refusal_does_not_open_a_plan_beside_a_refused_key() -> None:
    memory = Memory()
    call(scripted(ok()), memory)
    slow = negotiate(ask(), memory, policy())
    next(slow)
    assert isinstance(call(lambda attempt: REFUSAL, memory).error, KeyRefused)
    assert isinstance(slow.send(REFUSAL), Attempt)
    with pytest.raises(KeyRefused):
        slow.send(REFUSAL)
    assert not memory._open


def test_a_lesson_about_a_plan_that_was_closed_meanwhile_is_dropped() -> None:
    memory = Memory()
    asked = ask()
    claim = memory.claim(asked, None)
    assert isinstance(claim, Claim)
    assert memory._reopened(asked, claim, None) is not None
    memory._open.clear()
    assert memory._reopened(asked, claim, None) is None

    class Closing(Recent[Profile, Open]):
        def __contains__(self, key: object) -> bool:
            return True  # ... and then, when the lock is taken, it is gone

    memory._open = Closing(1)
    memory.refuse(asked, claim, REFUSAL, ())
    assert claim.probe is not None
    assert claim.probe.settled.done()


def test_nobody_has_to_wait_for_a_probe_that_promises() -> None:
    memory = Memory()
    claim = memory.claim(ask(), None)
    assert isinstance(claim, Claim)
    assert claim.probe is not None
    following = memory.claim(ask(), None)
    assert isinstance(following, Claim)
    assert not following.mine
    claim.probe.head(200)
    assert memory.claim(ask(), None) == Claim(Route("bearer"), claim.probe)


def test_everything_is_bounded() -> None:
    memory = Memory(size=3)
    for number in range(10):
        call(scripted(answer(429, "full")), memory, ask(key=f"key-{number}"))
        call(scripted(ok()), memory, ask(key=f"key-{number}"))
        call(lambda attempt: REFUSAL, memory, ask(key=f"bad-{number}"))
        negotiate(ask(key=f"new-{number}"), memory, policy()).send(None)
        memory.learn_id(ask(model=str(number)), "x")
    stores = (memory._proven, memory._open, memory._refused, memory._ids, memory._likely)
    assert [len(store) <= 3 for store in stores] == [True] * 5
    assert memory.proven(ask(key="key-9")) is not None


def test_an_evicted_plan_still_wakes_those_who_wait() -> None:
    memory = Memory(size=1)
    leader, follower, other = (negotiate(ask(key=key), memory, policy()) for key in ("a", "a", "b"))
    leading, waiting = next(leader), next(follower)
    assert isinstance(leading, Attempt)
    assert isinstance(waiting, Wait)
    next(other)
    leader.send(REFUSAL)
    assert waiting.probe.settled.done()


def test_a_listing_counts_for_a_while() -> None:
    clock = Clock()
    memory = Memory(clock=clock, listings=Listings(clock=clock))
    memory.learn_listing(ask(), read_listing(["a"]))
    assert memory.listing(ask()) == ("a",)
    assert memory.listing(ask(key="other")) is None
    clock.pass_(FRESH_S)
    assert memory.listing(ask()) is None
    assert memory.listing(ask(), old=True) == ("a",)


def test_ids_are_remembered_by_base() -> None:
    memory = Memory()
    memory.learn_id(ask(), "Served")
    assert memory.served_id(ask()) == "Served"
    assert memory.served_id(ask(model="")) is None
    assert memory.served_id(ask("https://elsewhere.example")) is None
    memory.learn_id(ask(), "vendor/model")
    assert memory.served_id(ask()) is None


def test_nothing_left_is_said_once_and_forgotten_when_nothing_was_refused() -> None:
    memory = Memory()
    call(lambda attempt: NOT_FOUND, memory)
    assert isinstance(memory.claim(ask(), None), Claim)
    memory.clear()
    claim = memory.claim(ask("https://h.example/v3"), None)
    assert isinstance(claim, Claim)
    memory.no_route(ask("https://h.example/v3"), claim, NOT_FOUND)
    assert isinstance(memory.claim(ask("https://h.example/v3"), None), Spent)


def test_a_child_process_starts_without_the_threads_of_its_parent() -> None:
    guesses = Notes()
    memory = Memory(guesses)
    call(scripted(ok()), memory)
    held = negotiate(ask(key="other"), memory, policy())
    next(held)
    memory._lock.acquire()
    memory.after_fork()
    assert guesses.forks == 1
    assert memory.proven(ask()) is not None
    assert isinstance(next(negotiate(ask(key="other"), memory, policy())), Attempt)
    bare = Memory()
    forking._in_child()
    assert guesses.forks == 2
    assert isinstance(bare.claim(ask(), None), Claim)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it is multi-threaded: that is the point
def test_a_real_child_can_negotiate_while_the_parent_holds_the_lock() -> None:
    memory = Memory()
    with memory._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if call(scripted(ok()), memory).served else 1)
    assert os.waitpid(child, 0)[1] == 0
