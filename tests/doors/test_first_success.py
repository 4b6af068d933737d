"""`first_success`: who is asked in what order, who is stopped, and the one error when nobody answers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.race import _Candidate, _Race
from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory

MODEL = "test/model-small"
MESSAGES = [{"role": "user", "content": "hello"}]
WRONG_KEY = "sk-test-wrong-0123456789"
PATIENCE = 30.0
LONG = 1000.0
"""Seconds that no test waits for."""


@dataclass(frozen=True)
class Way:
    """From a thread, or from a coroutine."""

    awaited: bool

    def __call__(self, candidates: Any, messages: Any = MESSAGES, **options: Any) -> Any:
        """The response; of a stream, the stream read to its end and its chunks."""
        if self.awaited:
            return asyncio.run(self._ask(candidates, messages, options))
        response = lgp.first_success(candidates, messages, **options)
        return (response, list(response)) if hasattr(response, "__next__") else response

    async def _ask(self, candidates: Any, messages: Any, options: dict[str, Any]) -> Any:
        response = await lgp.afirst_success(candidates, messages, **options)
        return (response, [chunk async for chunk in response]) if hasattr(response, "__anext__") else response


SYNC, TASK = Way(False), Way(True)


@pytest.fixture(params=[SYNC, TASK], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Way:
    """Either way."""
    found: Way = request.param
    return found


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Attempts that run out have done so before the plugin is taken out."""
    yield
    for thread in threading.enumerate():
        if thread.name == "first-success":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def at(server: PickyGateway, model: str = MODEL, **more: Any) -> dict[str, Any]:
    return {"model": f"gateway/{model}", "api_base": server.base(), "api_key": FAKE_KEY, **more}


def said(response: Any) -> str:
    return str(response.choices[0].message.content)


def attempts(response: Any) -> list[dict[str, str]]:
    found: list[dict[str, str]] = response._hidden_params["gateway"]["attempts"]
    return found


def in_flight() -> int:
    gate = lgp.install().gate
    assert gate is not None
    return sum(throttle.in_flight for name, throttle in gate._throttles.items() if name[0] == "model")


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes true; looked at again and again, because a thread that runs out tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return condition()


def held(gateway: GatewayFactory) -> tuple[PickyGateway, PickyGateway]:
    """A gateway that holds its request, and one that answers as soon as the first one does so."""
    slow, fast = gateway(Manners()), gateway(Manners())
    script = slow.hold()

    def reply(body: Any) -> str:
        script.wait_held()
        return "fast"

    fast.change(reply=reply)
    return slow, fast


def dead() -> str:
    with PickyGateway(Manners()) as server:
        return server.base()


# in order


def test_the_first_one_answers_and_nobody_else_is_asked(ask: Way, gateway: GatewayFactory) -> None:
    first, second = gateway(Manners()), gateway(Manners())
    response = ask([at(first), at(second)])
    assert said(response) == "echo: hello"
    assert attempts(response) == []
    assert response._hidden_params["gateway"]["api_base"] == first.base()
    assert (len(first.seen), len(second.seen)) == (1, 0)


def test_the_next_one_is_asked_after_any_failure(ask: Way, gateway: GatewayFactory) -> None:
    keyed, unknown, full, broken, good = (gateway(Manners()) for _ in range(5))
    unreachable = dead()
    full.full(retry_after="60")
    broken.fault("500", None)
    candidates = [
        {"model": f"gateway/{MODEL}", "api_base": unreachable, "api_key": FAKE_KEY},
        at(keyed, api_key=WRONG_KEY),
        at(unknown, "test/not-there"),
        at(full),
        at(broken),
        at(good),
    ]
    response = ask(candidates)

    assert [(each["api_base"], each["model"], each["error"]) for each in attempts(response)] == [
        (unreachable, f"gateway/{MODEL}", "APIConnectionError"),
        (keyed.base(), f"gateway/{MODEL}", "AuthenticationError"),
        (unknown.base(), "gateway/test/not-there", "NotFoundError"),
        (full.base(), f"gateway/{MODEL}", "RateLimitError"),
        (broken.base(), f"gateway/{MODEL}", "InternalServerError"),
    ]
    assert all(0 < len(each["reason"]) <= 200 for each in attempts(response))
    assert WRONG_KEY not in str(attempts(response))
    assert [len(server.served) for server in (full, broken, good)] == [0, 0, 1]
    assert [len(server.requests("chat")) for server in (full, broken, good)] == [1, 1, 1]
    assert in_flight() == 0


def test_the_sync_openai_door_keeps_its_report(gateway: GatewayFactory) -> None:
    broken, good = gateway(Manners(fault="500")), gateway(Manners())
    response = SYNC([at(broken), at(good) | {"model": f"openai/{MODEL}"}])
    report = response._hidden_params["gateway"]
    assert report["api_base"] == good.base()
    assert [each["api_base"] for each in report["attempts"]] == [broken.base()]


def test_a_candidates_own_parameters_go_before_the_calls(ask: Way, gateway: GatewayFactory) -> None:
    server = gateway(Manners(fault="500"))
    common = {"api_base": server.base(), "api_key": FAKE_KEY, "temperature": 0.5, "metadata": {"a": "b"}}
    with pytest.raises(litellm.APIError):
        ask([f"gateway/{MODEL}", {"model": "gateway/test/model-large", "temperature": 1}], **common)
    assert [(seen.model, seen.body["temperature"]) for seen in server.seen] == [(MODEL, 0.5), ("test/model-large", 1)]
    assert common["metadata"] == {"a": "b"}, "the caller's own is not written to"


def test_a_routers_entries_are_candidates(ask: Way, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, good = gateway(Manners(fault="500")), gateway(Manners())
    monkeypatch.setenv("A_TESTS_KEY", FAKE_KEY)
    entries = [
        {"model_name": "any", "litellm_params": at(broken)},
        {"model_name": "any", "litellm_params": at(good, api_key="os.environ/A_TESTS_KEY")},
    ]
    assert said(ask(entries)) == "echo: hello"
    assert (len(broken.seen), len(good.served)) == (1, 1)


def test_nothing_is_sent_again_unless_the_call_says_so(ask: Way, gateway: GatewayFactory) -> None:
    broken, good = gateway(Manners(fault="500")), gateway(Manners())
    lgp.install(max_retries=2)
    ask([at(broken), at(good)])
    assert (len(broken.seen), len(good.seen)) == (1, 1)

    ask([at(broken), at(good)], num_retries=1)
    assert (len(broken.seen), len(good.seen)) == (3, 2)


def test_a_full_gateway_is_passed_over_without_a_request(ask: Way, gateway: GatewayFactory) -> None:
    full, good = gateway(Manners()), gateway(Manners())
    full.full(retry_after="60")
    for _ in range(2):
        response = ask([at(full), at(good)], timeout=LONG)
        assert [each["error"] for each in attempts(response)] == ["RateLimitError"]
    assert (len(full.seen), len(good.served)) == (1, 2)


def test_a_gateway_without_a_free_slot_is_passed_over(ask: Way, gateway: GatewayFactory) -> None:
    lgp.install(max_concurrency=1)
    busy, good = gateway(Manners()), gateway(Manners())
    stream = litellm.completion(**at(busy), messages=MESSAGES, stream=True)
    next(stream)
    response = ask([at(busy), at(good)])
    assert (len(busy.seen), len(good.served)) == (1, 1)
    assert "busy" in attempts(response)[0]["reason"]
    list(stream)


def test_the_last_one_is_waited_for(ask: Way, gateway: GatewayFactory) -> None:
    broken, full = gateway(Manners(fault="500")), gateway(Manners())
    full.full(1, retry_after=0.2, spelling="float")
    with pytest.raises(litellm.APIError):
        ask([at(broken), at(full)])
    assert said(ask([at(broken), at(full)], timeout=PATIENCE)) == "echo: hello"
    assert [seen.status for seen in full.seen] == [429, 200]
    assert full.seen[1].at - full.seen[0].at >= 0.2


def test_a_spent_budget_stops_at_once(ask: Way, gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    server = gateway(Manners())
    monkeypatch.setattr(litellm, "max_budget", 1.0)
    monkeypatch.setattr(litellm, "_current_cost", 2.0)
    with pytest.raises(litellm.BudgetExceededError):
        ask([at(server), at(server)])
    assert server.seen == []


# hedged


def test_a_slow_one_is_overtaken(ask: Way, gateway: GatewayFactory) -> None:
    slow, fast = held(gateway)
    response = ask([at(slow), at(fast)], hedge_after=0.01)
    assert said(response) == "fast"
    assert attempts(response) == []
    assert (len(slow.seen), len(fast.seen)) == (1, 1)
    if ask.awaited:
        assert in_flight() == 0
        assert slow.wait_for(1, ended=True)[0].ended == "client left"
    else:
        assert in_flight() == 1, "it runs out"
        slow.release()
        assert soon(lambda: in_flight() == 0)


def test_a_failure_starts_the_next_one_at_once(ask: Way, gateway: GatewayFactory) -> None:
    broken, good = gateway(Manners(fault="500")), gateway(Manners())
    response = ask([at(broken), at(good)], hedge_after=LONG)
    assert [each["error"] for each in attempts(response)] == ["InternalServerError"]
    assert (len(broken.seen), len(good.seen)) == (1, 1)


def test_the_first_one_may_still_win(ask: Way, gateway: GatewayFactory) -> None:
    first, slow = gateway(Manners()), gateway(Manners())
    script = slow.hold()

    def reply(body: Any) -> str:
        script.wait_held()
        return "first"

    first.change(reply=reply)
    assert said(ask([at(first), at(slow)], hedge_after=0.01)) == "first"
    assert len(slow.seen) == 1
    slow.release()


def test_all_of_a_hedged_call_fail(ask: Way, gateway: GatewayFactory) -> None:
    servers = [gateway(Manners(fault="500")) for _ in range(3)]
    with pytest.raises(litellm.APIError) as caught:
        ask([at(server) for server in servers], hedge_after=0)
    assert {each["api_base"] for each in caught.value.gateway_attempts} == {server.base() for server in servers}
    assert all(server.base() in str(caught.value) for server in servers)


def test_a_loser_is_thrown_away_when_it_answers_later(gateway: GatewayFactory) -> None:
    slow, fast = held(gateway)
    _, chunks = SYNC([at(slow), at(fast)], hedge_after=0.01, stream=True)
    assert chunks
    slow.release()
    assert soon(lambda: in_flight() == 0)


def test_a_loser_does_not_hold_up_the_end_of_the_program() -> None:
    program = """
        import litellm_gateway_plugin as lgp
        from litellm_gateway_plugin.testing import Manners, PickyGateway

        lgp.install(cache=False)
        slow, fast = PickyGateway(Manners(key=None, styles={"*": ("none",)})), PickyGateway(Manners(key=None))
        with slow, fast:
            script = slow.hold()
            fast.change(reply=lambda body: script.wait_held() or "fast")
            candidates = [{"model": "gateway/test/model-small", "api_base": each.base()} for each in (slow, fast)]
            response = lgp.first_success(candidates, [{"role": "user", "content": "x"}], hedge_after=0.01)
            print(response.choices[0].message.content)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.returncode) == ("fast\n", 0), done.stderr


def test_cancelling_the_caller_cancels_the_attempts(gateway: GatewayFactory) -> None:
    slow = gateway(Manners())
    script = slow.hold()

    async def scene() -> None:
        task = asyncio.create_task(lgp.afirst_success([at(slow), at(slow)], MESSAGES, hedge_after=0))
        await asyncio.to_thread(script.wait_held, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [each for each in asyncio.all_tasks() if "_ask" in str(each.get_coro())]

    asyncio.run(scene())
    assert [seen.ended for seen in slow.wait_for(2, ended=True)] == ["client left"] * 2
    assert in_flight() == 0


@pytest.mark.parametrize("hedge_after", [None, LONG])
def test_an_interrupt_comes_through(hedge_after: float | None, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    script, main = server.hold(), threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        script.wait_held()
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        lgp.first_success([at(server), at(server)], MESSAGES, hedge_after=hedge_after)
    thread.join()
    assert len(server.seen) == 1
    server.release()


# streams


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("hedge_after", [None, 0.01])
def test_a_stream_comes_whole(ask: Way, hedge_after: float | None, gateway: GatewayFactory) -> None:
    full, good = gateway(Manners()), gateway(Manners())
    full.full(retry_after="60")
    stream, chunks = ask([at(full), at(good)], stream=True, hedge_after=hedge_after)
    assert text_of(chunks) == "echo: hello"
    assert [each["error"] for each in attempts(stream)] in (["RateLimitError"], [])
    assert in_flight() == 0


def test_a_stream_that_breaks_before_its_first_chunk_is_a_failure(ask: Way, gateway: GatewayFactory) -> None:
    broken, good = gateway(Manners()), gateway(Manners())
    broken.fault("reset-in-stream", None, after=0)
    stream, chunks = ask([at(broken), at(good)], stream=True)
    assert text_of(chunks) == "echo: hello"
    assert len(attempts(stream)) == 1
    assert (len(broken.seen), len(good.seen)) == (1, 1)


def test_a_stream_without_a_first_chunk_is_overtaken(ask: Way, gateway: GatewayFactory) -> None:
    slow, fast = gateway(Manners()), gateway(Manners())
    script = slow.fault("stall-before-events", None)
    fast.change(reply=lambda body: script.wait_held() or "fast")
    _, chunks = ask([at(slow), at(fast)], stream=True, hedge_after=0.01)
    assert text_of(chunks) == "fast"
    if ask.awaited:
        assert slow.wait_for(1, ended=True)[0].ended == "client left"
    slow.release()
    assert soon(lambda: in_flight() == 0)


@pytest.mark.parametrize("awaited", [False, True])
def test_a_stream_can_be_given_up(awaited: bool, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    server.fault("stall-between-events", None)

    async def scene() -> None:
        stream = await lgp.afirst_success([at(server)], MESSAGES, stream=True)
        await stream.__anext__()
        assert in_flight() == 1
        await stream.aclose()

    if awaited:
        asyncio.run(scene())
    else:
        stream = lgp.first_success([at(server)], MESSAGES, stream=True)
        next(stream)
        assert in_flight() == 1
        stream.close()
    assert in_flight() == 0
    assert server.wait_for(1, ended=True)[0].ended == "client left"


@pytest.mark.parametrize("stream", [False, True])
def test_another_providers_answer_is_reported_too(ask: Way, stream: bool, gateway: GatewayFactory) -> None:
    broken = gateway(Manners(fault="500"))
    other = {"model": "openai/gpt-4o", "api_key": WRONG_KEY, "mock_response": "from afar"}
    found = ask([at(broken), other], stream=stream)
    response, text = (found[0], text_of(found[1])) if stream else (found, said(found))
    assert text == "from afar"
    assert [each["api_base"] for each in attempts(response)] == [broken.base()]


# nobody answers


def failing(kind: str, gateway: GatewayFactory) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Two candidates that fail in the same way, and further options."""
    servers = [gateway(Manners()), gateway(Manners())]
    if kind == "full":
        for server, seconds in zip(servers, ("60", "20"), strict=True):
            server.full(retry_after=seconds)
    elif kind == "slow":
        for server in servers:
            server.hold()
        return [at(server) for server in servers], {"timeout": 0.2}
    elif kind in ("500", "reset-before-head"):
        for server in servers:
            server.fault(kind, None)
    model = "test/not-there" if kind == "unknown" else MODEL
    return [at(server, model, api_key=WRONG_KEY if kind == "key" else FAKE_KEY) for server in servers], {}


@pytest.mark.parametrize(
    ("kind", "expected", "status"),
    [
        ("full", litellm.RateLimitError, 429),
        ("slow", litellm.Timeout, 408),
        ("key", litellm.AuthenticationError, 401),
        ("unknown", litellm.NotFoundError, 404),
        ("reset-before-head", litellm.APIConnectionError, 500),
        ("500", litellm.APIError, 500),
    ],
)
def test_one_error_names_every_attempt(
    kind: str, expected: type[Exception], status: int, ask: Way, gateway: GatewayFactory
) -> None:
    candidates, options = failing(kind, gateway)
    with pytest.raises(expected) as caught:
        ask(candidates, **options)
    error = caught.value
    assert type(error) is expected
    assert error.status_code == status
    lines = str(error).splitlines()[1:]
    for number, (line, candidate, noted) in enumerate(zip(lines, candidates, error.gateway_attempts, strict=True), 1):
        assert line.startswith(f"{number}. {candidate['model']} at {candidate['api_base']}: {noted['error']}: ")
        assert noted["reason"] in line
        assert "litellm." not in line
    assert WRONG_KEY not in str(error)
    assert FAKE_KEY not in str(error)
    assert error.__context__ is None
    assert in_flight() == 0


def test_the_shortest_time_to_come_back_is_told(ask: Way, gateway: GatewayFactory) -> None:
    candidates, _ = failing("full", gateway)
    with pytest.raises(litellm.RateLimitError) as caught:
        ask(candidates)
    assert 15 < caught.value.retry_after <= 20
    assert 15 < int(caught.value.response.headers["retry-after"]) <= 20


def test_different_failures_are_a_bad_gateway(ask: Way, gateway: GatewayFactory) -> None:
    broken, keyed = gateway(Manners(fault="500")), gateway(Manners())
    with pytest.raises(litellm.APIError) as caught:
        ask([at(broken), at(keyed, api_key=WRONG_KEY)])
    assert caught.value.status_code == 502


def test_the_whole_time_is_over(ask: Way, gateway: GatewayFactory) -> None:
    broken, slow, never = gateway(Manners(fault="500")), gateway(Manners()), gateway(Manners())
    slow.hold()
    with pytest.raises(litellm.Timeout) as caught:
        ask([at(broken), at(slow), at(never)], total_timeout_s=1)
    error = caught.value
    assert [each["error"] for each in error.gateway_attempts] == ["InternalServerError", "Timeout"]
    assert f"Not tried: gateway/{MODEL} at {never.base()}." in str(error)
    assert "total_timeout_s (1 s) has passed" in str(error)
    assert never.seen == []
    assert slow.wait_for(1, ended=True)[0].ended == "client left", "a sync attempt ends with the whole time"
    assert soon(lambda: in_flight() == 0)


def test_no_credential_of_anybodys_is_in_the_error(ask: Way) -> None:
    words = "refused sk-other-123456 and sk-header-123456 at https://user:geheim@llm.example.com/v1?k=v"
    refusal = litellm.AuthenticationError(words, "openai", "gpt-4o")
    other = {
        "model": "openai/gpt-4o",
        "api_key": "sk-other-123456",
        "api_base": "https://user:geheim@llm.example.com/v1?k=v",
        "extra_headers": {"x-api-key": "sk-header-123456"},
        "mock_response": refusal,
    }
    with pytest.raises(litellm.AuthenticationError) as caught:
        ask([other])
    text = f"{caught.value} {caught.value.gateway_attempts}"
    assert "refused [key] and [key]" in text
    assert not any(secret in text for secret in ("sk-other", "sk-header", "geheim", "k=v"))
    assert caught.value.gateway_attempts[0]["api_base"] == "https://llm.example.com/v1"


@pytest.mark.parametrize(
    ("candidates", "messages", "words"),
    [
        ([], MESSAGES, "at least one model"),
        (f"gateway/{MODEL}", MESSAGES, "must be a list"),
        ([f"gateway/{MODEL}", {"api_base": "https://llm.example.com"}], MESSAGES, "Candidate 2 names no model"),
        ([f"gateway/{MODEL}", 7], MESSAGES, "Candidate 2 is neither"),
        ([f"gateway/{MODEL}"], [], "at least one message"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_sent(
    candidates: Any, messages: Any, words: str, ask: Way
) -> None:
    with pytest.raises(litellm.BadRequestError, match=words):
        ask(candidates, messages)


# the rules


def race(count: int, hedge_after: float | None, total: float | None, now: list[float]) -> tuple[_Race, dict[int, Any]]:
    candidates = [_Candidate(number, {"model": f"m{number}"}, number == count) for number in range(1, count + 1)]
    return _Race(candidates, hedge_after, total, lambda: now[0]), {}


def test_in_order_one_runs_at_a_time() -> None:
    now = [0.0]
    rules, running = race(2, None, None, now)
    assert [each.number for each in rules.starters(running)] == [1]
    now[0] = LONG
    assert list(rules.starters(running)) == []
    assert rules.patience() is None
    rules.fail(running.pop(1), ValueError("no"))
    assert [each.number for each in rules.starters(running)] == [2]


def test_hedged_each_start_begins_the_delay_anew() -> None:
    now = [0.0]
    rules, running = race(4, 5.0, 20.0, now)
    assert [each.number for each in rules.starters(running)] == [1]
    assert rules.patience() == 5.0
    now[0] = 3.0
    rules.fail(running.pop(1), ValueError("no"))
    assert [each.number for each in rules.starters(running)] == [2]
    assert rules.patience() == 5.0
    now[0] = 8.0
    assert [each.number for each in rules.starters(running)] == [3]
    rules.fail(running.pop(2), ValueError("no"))
    assert [each.number for each in rules.starters(running)] == [4], "a failure, though another one runs"
    assert rules.patience() == 12.0, "nobody is left to start"
    rules.check(running)
    now[0] = 20.0
    with pytest.raises(litellm.Timeout):
        rules.check(running)


def test_an_attempts_time_out_is_not_longer_than_what_is_left() -> None:
    now = [0.0]
    rules, _ = race(1, None, 20.0, now)
    given = {"none": {}, "long": {"timeout": 60}, "short": {"request_timeout": 5}, "stream": {"stream": True}}
    found = {
        name: rules.arguments(_Candidate(1, arguments, True), capped=True).get("timeout")
        for name, arguments in given.items()
    }
    assert found == {"none": 20.0, "long": 20.0, "short": 5, "stream": None}


# stock litellm's own


def test_stock_litellm_asks_all_entries_of_a_model_list_at_once(gateway: GatewayFactory) -> None:
    slow, fast = held(gateway)
    slow.release()
    script = slow.fault("500", None)
    fast.change(reply="fast")
    entries = [
        {"model_name": "any", "litellm_params": at(slow, "test/model-large")},
        {"model_name": "any", "litellm_params": at(fast)},
    ]
    response = litellm.completion(model="any", model_list=entries, messages=MESSAGES)
    assert said(response) == "fast"
    assert (len(slow.seen), len(fast.seen)) == (1, 1)
    script.release()


def test_stock_litellm_returns_nothing_when_all_entries_fail(gateway: GatewayFactory) -> None:
    broken = gateway(Manners(fault="500"))
    entries = [
        {"model_name": "any", "litellm_params": at(broken, model)} for model in ("test/model-small", "test/model-large")
    ]
    assert litellm.completion(model="any", model_list=entries, messages=MESSAGES) is None
    assert len(broken.seen) == 2
