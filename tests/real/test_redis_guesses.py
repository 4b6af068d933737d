"""What one process learns of an upstream, another one knows at its first request there, however long it has idled."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from litellm_gateway_plugin import sharing
from litellm_gateway_plugin.testing import Manners, PickyGateway
from tests.support.redis_server import RedisServer, redis_binary

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(redis_binary() is None, reason="redis-server is not installed: apt-get install redis-server"),
]

ROOT = Path(__file__).parents[2]
LONG_S = 20.0
KEY = "sk-a-key-that-must-stay-here"
PICKY = Manners(key=KEY, styles={"*": ("x-api-key",)})


class Process:
    """`tests/support/redis_worker.py`, told how many calls to make."""

    def __init__(self, redis: RedisServer, gateway: PickyGateway) -> None:
        settings = json.dumps({"cache": False, "redis_url": redis.url})
        command = [sys.executable, "-m", "tests.support.redis_worker", settings, gateway.url, KEY]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, bufsize=1
        )
        assert self._line() == "ready"

    def call(self, count: int = 1) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        report = self._line()
        assert isinstance(report, dict)
        assert report["failures"] == []

    def close(self) -> None:
        self._process.communicate(timeout=LONG_S)

    def _line(self) -> object:
        assert self._process.stdout is not None
        made: object = json.loads(self._process.stdout.readline())
        return made


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def started() -> Iterator[Callable[[RedisServer, PickyGateway], Process]]:
    with ExitStack() as stack:

        def start(redis: RedisServer, gateway: PickyGateway) -> Process:
            process = Process(redis, gateway)
            stack.callback(process.close)
            return process

        yield start


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_has_idled_meanwhile_asks_before_its_first_request(
    redis: RedisServer, started: Callable[..., Process]
) -> None:
    with PickyGateway(PICKY) as gateway:
        first, idle = started(redis, gateway), started(redis, gateway)
        first.call()
        assert gateway.styles() == ["bearer", "bearer", "x-api-key"]
        until(lambda: len(redis.dump().get(sharing.GUESSES.encode(), {})) == 2)  # a guess, and its number
        idle.call(4)
        assert gateway.styles()[3:] == ["x-api-key"] * 4


def test_a_redis_that_answers_nothing_holds_nobody_up(redis: RedisServer, started: Callable[..., Process]) -> None:
    with PickyGateway(PICKY) as gateway:
        process = started(redis, gateway)
        redis.freeze()
        process.call()
        redis.thaw()
        assert gateway.styles() == ["bearer", "bearer", "x-api-key"]
