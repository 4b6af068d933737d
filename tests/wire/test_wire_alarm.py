"""The alarm: a cancellation that is turned into a time-out, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

from litellm_gateway_plugin.errors import TimedOut
from litellm_gateway_plugin.wire import Deadline
from litellm_gateway_plugin.wire.replies import Alarm


async def sleeper(deadline: Deadline, started: asyncio.Event | None = None) -> None:
    with Alarm("http://here", deadline):
        if started is not None:
            started.set()
        await asyncio.sleep(60)


def test_time_out() -> None:
    with pytest.raises(TimedOut, match=r"^http://here: no complete answer within 0\.01 s\.$"):
        asyncio.run(sleeper(Deadline(0.01)))


def test_expired_before_it_began() -> None:
    now = [0.0]
    deadline = Deadline(1, clock=lambda: now[0])
    now[0] = 1.0
    with pytest.raises(TimedOut):
        asyncio.run(sleeper(deadline))


def test_in_time() -> None:
    async def body() -> int:
        with Alarm("http://here", Deadline(20)):
            await asyncio.sleep(0)
            return 7

    assert asyncio.run(body()) == 7


def test_somebody_elses_cancellation() -> None:
    async def body() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(sleeper(Deadline(20), started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 a task cannot tell two cancellations apart")
def test_both_at_once_is_a_cancellation() -> None:
    async def body() -> None:
        started = asyncio.Event()
        alarm = Alarm("http://here", Deadline(20))

        async def both() -> None:
            with alarm:
                started.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(both())
        await started.wait()
        alarm._ring()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())


def test_failure_that_the_alarm_itself_caused_is_a_time_out() -> None:
    """A library that meets the cancellation may report a broken connection instead of passing it on."""

    async def body() -> None:
        with Alarm("http://here", Deadline(0.01)):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise OSError from None

    with pytest.raises(TimedOut):
        asyncio.run(body())


def test_result_that_comes_at_the_last_moment_is_kept() -> None:
    async def body() -> int:
        task = asyncio.current_task()
        with Alarm("http://here", Deadline(0.01)), contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        assert getattr(task, "cancelling", int)() == 0
        return 7

    assert asyncio.run(body()) == 7
