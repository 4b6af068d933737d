"""A full gateway through every way of writing a call: what the caller is told, and what the gateway sees of it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.testing import CAPACITY_ERROR, FAKE_KEY, Manners, PickyGateway, StreamShape
from litellm_gateway_plugin.testing.answers import json_answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL, OTHER = "test/model-small", "test/model-large"
HINT = 0.3
PATIENCE = 30.0
MESSAGES = [{"role": "user", "content": "hello"}]
ACCOUNT = json_answer(429, {"error": {"message": "Rate limit reached for your API key", "type": "rate_limit"}})
MODEL_FULL = json_answer(429, {"error": {"message": "The model is overloaded", "type": "overloaded"}})
SYNC, TASK = Door("gateway/", False), Door("gateway/", True)

# In this file a full gateway names 0.3 s. Elapsed time has a lower bound, which is the promise, and no upper one.


class Timed(PickyGateway):
    """Notes when each request of work was judged, on the clock of its process."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.at: list[float] = []

    def _plan(self, case: Any, seen: Any) -> Any:
        self.at.append(time.monotonic())
        return super()._plan(case, seen)

    @property
    def spaces(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


@pytest.fixture
def timed() -> Any:
    with Timed(Manners()) as server:
        yield server
    assert server.errors == []


def options(server: PickyGateway, **more: Any) -> dict[str, Any]:
    return {"api_base": server.base(), "api_key": FAKE_KEY, "num_retries": 0, "max_retries": 0, **more}


def in_flight() -> int:
    gate = lgp.install().gate
    assert gate is not None
    return sum(throttle.in_flight for name, throttle in gate._throttles.items() if name[0] == "model")


def refused(call: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
    with pytest.raises(litellm.RateLimitError) as caught:
        call(*arguments, **given)
    return caught.value


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes true; looked at again and again, because litellm's own threads tell nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return condition()


# what the caller is told


def test_a_refusal_is_litellms_own_and_says_when_to_come_back(provider_door: Door, timed: Timed) -> None:
    timed.full(shape=MODEL_FULL, retry_after=HINT, spelling="float")
    error = refused(provider_door.chat, MODEL, **options(timed))
    assert error.retry_after == pytest.approx(HINT)
    assert error.response.headers["retry-after"] == "1"
    assert error.litellm_response_headers["retry-after"] == "1"
    assert "The model is overloaded" in str(error)
    assert error.status_code == 429
    assert FAKE_KEY not in str(error)
    assert len(timed.seen) == 1


def test_a_refusal_is_one_request_through_any_door(door: Door, timed: Timed) -> None:
    timed.full(retry_after="7")
    error = refused(door.chat, MODEL, **options(timed))
    assert error.status_code == 429
    assert len(timed.seen) == 1


@pytest.mark.parametrize("spelling", ["seconds", "float", "ms", "date", "reset_requests", "reset_tokens_ms"])
def test_every_spelling_of_a_time_is_told_in_whole_seconds(spelling: str, timed: Timed) -> None:
    timed.full(retry_after=20, spelling=spelling)
    error = refused(SYNC.chat, MODEL, **options(timed))
    assert 18 <= error.retry_after <= 21
    assert 18 <= int(error.response.headers["retry-after"]) <= 21


def test_a_refusal_without_a_time_is_given_one(timed: Timed) -> None:
    timed.full()
    error = refused(SYNC.chat, MODEL, **options(timed))
    assert 0 <= (error.retry_after or 0) <= 0.5


@pytest.mark.parametrize("status", [402, 400])
def test_a_quota_and_a_request_that_holds_the_word_are_no_rate_limit(
    status: int, provider_door: Door, gateway: GatewayFactory
) -> None:
    words = {"error": {"message": "the capacity of your plan is exceeded", "type": "invalid_request_error"}}
    server = gateway(Manners())
    with server.full(shape=json_answer(status, words)), pytest.raises(litellm.openai.OpenAIError) as caught:
        provider_door.chat(MODEL, **options(server))
    assert not isinstance(caught.value, litellm.RateLimitError)
    assert caught.value.status_code == status
    provider_door.chat(MODEL, **options(server))
    assert len(server.seen) == 2, "it closes nothing"


# the next call


@pytest.mark.parametrize("stream", [False, True])
def test_the_next_call_is_held_until_the_time(stream: bool, door: Door, timed: Timed) -> None:
    timed.full(1, retry_after=HINT, spelling="float")
    refused(door.chat, MODEL, **options(timed, stream=stream))
    assert door.chat(MODEL, **options(timed, timeout=PATIENCE, stream=stream))
    assert [seen.status for seen in timed.seen] == [429, 200]
    assert timed.spaces[0] >= HINT


def test_the_next_call_is_refused_at_once_when_its_time_is_too_short(door: Door, timed: Timed) -> None:
    timed.full(1, shape=MODEL_FULL, retry_after="60")
    refused(door.chat, MODEL, **options(timed))
    error = refused(door.chat, MODEL, **options(timed, timeout=5))
    assert "Nothing was sent" in str(error)
    assert "The model is overloaded" in str(error)
    assert len(timed.seen) == 1


def test_a_call_that_is_refused_without_a_request_says_how_long_it_still_is(provider_door: Door, timed: Timed) -> None:
    timed.full(1, retry_after="60")
    refused(provider_door.chat, MODEL, **options(timed))
    error = refused(provider_door.chat, MODEL, **options(timed, timeout=5))
    assert 30 < error.retry_after <= 60
    assert 30 < int(error.litellm_response_headers["retry-after"]) <= 60


@pytest.mark.parametrize("stream", [False, True])
def test_retries_wait_for_the_time_and_are_as_many_as_were_asked_for(stream: bool, timed: Timed) -> None:
    timed.full(retry_after=0.2, spelling="float")
    for door in (SYNC, TASK):
        timed.clear()
        timed.at.clear()
        refused(door.chat, MODEL, **options(timed, num_retries=2, timeout=PATIENCE, stream=stream))
        assert len(timed.seen) == 3
        assert all(space >= 0.2 for space in timed.spaces)


def test_a_retry_is_served_when_the_gateway_has_room_again(timed: Timed) -> None:
    timed.full(2, retry_after=0.2, spelling="float")
    SYNC.chat(MODEL, **options(timed, num_retries=2, timeout=PATIENCE))
    assert [seen.status for seen in timed.seen] == [429, 429, 200]
    assert all(space >= 0.2 for space in timed.spaces)


def test_without_the_gate_every_call_is_sent_at_once(timed: Timed) -> None:
    lgp.install(gate=False)
    timed.full(retry_after="60")
    for _ in range(3):
        refused(SYNC.chat, MODEL, **options(timed))
    assert len(timed.seen) == 3


# streams


def test_a_capacity_error_as_the_first_event_holds_the_next_call(provider_door: Door, timed: Timed) -> None:
    shape = StreamShape(error=CAPACITY_ERROR, error_at=0, done=False)
    timed.change(stream=shape, headers={"retry-after": "60"})
    error = refused(provider_door.chat, MODEL, **options(timed, stream=True))
    assert "model at capacity" in str(error)
    refused(provider_door.chat, MODEL, **options(timed, stream=True, timeout=5))
    assert len(timed.seen) == 1


def test_a_stream_holds_its_place_until_it_is_read(timed: Timed) -> None:
    stream = litellm.completion(f"gateway/{MODEL}", MESSAGES, stream=True, **options(timed))
    next(stream)
    assert in_flight() == 1
    list(stream)
    assert in_flight() == 0


def test_a_stream_that_is_left_unread_gives_its_place_back(timed: Timed) -> None:
    lgp.install(max_concurrency=1)
    stream = litellm.completion(f"gateway/{MODEL}", MESSAGES, stream=True, **options(timed))
    next(stream)
    assert in_flight() == 1
    del stream
    gc.collect()
    SYNC.chat(MODEL, **options(timed, timeout=PATIENCE))
    assert in_flight() == 0


@pytest.mark.parametrize("end", ["read", "closed", "abandoned"])
def test_an_async_stream_gives_its_place_back_however_it_ends(end: str, timed: Timed) -> None:
    async def scene() -> None:
        stream = await litellm.acompletion(f"gateway/{MODEL}", MESSAGES, stream=True, **options(timed))
        await stream.__anext__()
        assert in_flight() == 1
        if end == "read":
            async for _ in stream:
                pass
        elif end == "closed":
            await stream.aclose()
        else:
            del stream
            gc.collect()
            await asyncio.sleep(0)
        await litellm.acompletion(f"gateway/{MODEL}", MESSAGES, **options(timed, timeout=PATIENCE))

    lgp.install(max_concurrency=1)
    asyncio.run(scene())
    assert in_flight() == 0


def test_a_failed_stream_gives_its_place_back(timed: Timed) -> None:
    timed.fault("reset-in-stream")
    with pytest.raises(litellm.openai.OpenAIError):
        SYNC.chat(MODEL, **options(timed, stream=True))
    assert in_flight() == 0


# whom a refusal concerns


def test_another_model_is_not_held(timed: Timed) -> None:
    timed.full(1, shape=MODEL_FULL, retry_after="60")
    refused(SYNC.chat, MODEL, **options(timed))
    SYNC.chat(OTHER, **options(timed, timeout=5))
    refused(SYNC.chat, MODEL, **options(timed, timeout=5))
    assert [(seen.model, seen.status) for seen in timed.seen] == [(MODEL, 429), (OTHER, 200)]


def test_another_key_is_held_when_the_model_is_full(timed: Timed) -> None:
    timed.change(key=None)
    timed.full(1, shape=MODEL_FULL, retry_after="60")
    refused(SYNC.chat, MODEL, **options(timed))
    refused(SYNC.chat, MODEL, **options(timed, api_key="sk-another-key-of-somebody", timeout=5))
    assert len(timed.seen) == 1


def test_an_account_limit_holds_its_other_models_and_no_other_key(timed: Timed) -> None:
    timed.change(key=None)
    timed.full(1, shape=ACCOUNT, retry_after="60")
    refused(SYNC.chat, MODEL, **options(timed))
    refused(SYNC.chat, OTHER, **options(timed, timeout=5))
    SYNC.chat(MODEL, **options(timed, api_key="sk-another-key-of-somebody", timeout=5))
    assert [seen.status for seen in timed.seen] == [429, 200]


def test_another_gateway_is_not_held(timed: Timed, gateway: GatewayFactory) -> None:
    elsewhere = gateway(Manners())
    timed.full(1, retry_after="60")
    refused(SYNC.chat, MODEL, **options(timed))
    SYNC.chat(MODEL, **options(elsewhere, timeout=5))
    assert len(elsewhere.served) == 1


# many at once


@pytest.mark.parametrize("awaited", [False, True], ids=["threads", "tasks"])
def test_thirty_calls_at_once_to_a_gateway_with_room_for_three_are_all_served(awaited: bool, timed: Timed) -> None:
    timed.change(room=3, delay=0.05, full_headers={"retry-after": "0.2"})
    more = options(timed, num_retries=3, timeout=PATIENCE)

    async def tasks() -> list[Any]:
        return await asyncio.gather(*(litellm.acompletion(f"gateway/{MODEL}", MESSAGES, **more) for _ in range(30)))

    if awaited:
        answers = asyncio.run(tasks())
    else:
        with ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda _: SYNC.chat(MODEL, **more), range(30)))
    assert len(answers) == 30
    assert len(timed.served) == 30
    assert sum(seen.status == 429 for seen in timed.seen) <= 12
    assert in_flight() == 0


def test_the_operators_rate_spaces_the_requests(timed: Timed) -> None:
    lgp.install(rate_limit_qps=20)
    more = options(timed, timeout=PATIENCE)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: SYNC.chat(MODEL, **more), range(10)))
    assert timed.at[-1] - timed.at[0] >= 9 / 20 - 0.1
    assert len(timed.served) == 10


def test_calls_that_are_cancelled_in_the_line_leave_it(timed: Timed) -> None:
    async def scene() -> None:
        held = timed.hold(1)
        first = asyncio.ensure_future(litellm.acompletion(f"gateway/{MODEL}", MESSAGES, **options(timed)))
        await asyncio.to_thread(held.wait_held)
        waiting = [
            asyncio.ensure_future(litellm.acompletion(f"gateway/{MODEL}", MESSAGES, **options(timed))) for _ in range(5)
        ]
        gate = lgp.install().gate
        assert gate is not None
        await asyncio.to_thread(soon, lambda: sum(len(line.tickets) for line in gate._lines.values()) == 5)
        for task in waiting:
            task.cancel()
        assert all(isinstance(each, BaseException) for each in await asyncio.gather(*waiting, return_exceptions=True))
        assert gate._lines == {}
        held.release()
        await first

    lgp.install(max_concurrency=1)
    asyncio.run(scene())
    assert len(timed.seen) == 1
    assert in_flight() == 0
