"""Stock litellm with the plugin installed, in front of a cassette; every test runs through several doors.

`make record` sets LITELLM_GATEWAY_RECORD=1: then the first door of a test writes its cassette from the real server, and
the other doors play what has just been written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import pytest
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

import litellm_gateway_plugin as lgp
from tests.support.cassettes import CASSETTES, Tape, open_cassette
from tests.support.recorded_servers import SERVERS
from tests.support.redaction import KEY

litellm.suppress_debug_info = True

RECORDING = os.environ.get("LITELLM_GATEWAY_RECORD") == "1"
HELLO = [{"role": "user", "content": "Say hello"}]


@dataclass(frozen=True)
class Door:
    """One way of writing a call.

    Attributes:
        name: what the test's id shows.
        prefix: what goes before the model id.
        awaited: whether the call is asynchronous.
        aiohttp: whether asynchronous calls use aiohttp, as they do by default.
    """

    name: str
    prefix: str = "gateway/"
    awaited: bool = False
    aiohttp: bool = True

    def chat(self, model: str = "tiny", **options: Any) -> Any:
        """A chat completion; a stream comes back as the list of its chunks."""
        call = {"model": self.prefix + model, "messages": HELLO, "api_key": KEY, **options}
        if self.awaited:
            return asyncio.run(_logged(_achat(call)))
        response = litellm.completion(**call)
        return list(response) if options.get("stream") else response

    def embed(self, *texts: str, **options: Any) -> Any:
        """Embeddings of some texts."""
        call = {"model": f"{self.prefix}tiny", "input": list(texts), "api_key": KEY, **options}
        return asyncio.run(_logged(litellm.aembedding(**call))) if self.awaited else litellm.embedding(**call)


async def _logged(call: Coroutine[Any, Any, Any]) -> Any:
    """A call, and what litellm logs of it: older ones leave that to a loop which is about to close."""
    try:
        return await call
    finally:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), 5)


async def _achat(call: dict[str, Any]) -> Any:
    response = await litellm.acompletion(**call)
    return [chunk async for chunk in response] if call.get("stream") else response


PROVIDER_DOORS = (
    Door("sync"),
    Door("async aiohttp", prefix="", awaited=True),
    Door("async httpx", awaited=True, aiohttp=False),
)
SESSION_DOOR = Door("sync openai", prefix="openai/")


def _name(door: Door) -> str:
    return door.name


@pytest.fixture(autouse=True)
def plugin(isolated_environment: pytest.MonkeyPatch) -> Iterator[None]:
    """A fresh installation that remembers nothing."""
    lgp.install(cache=False)
    yield
    lgp.uninstall()


@pytest.fixture(params=[*PROVIDER_DOORS, SESSION_DOOR], ids=_name)
def door(request: pytest.FixtureRequest) -> Door:
    """Each way of writing a call."""
    return _opened(request.param)


@pytest.fixture(params=PROVIDER_DOORS, ids=_name)
def provider_door(request: pytest.FixtureRequest) -> Door:
    """Each way that ends in the provider; for calls that the OpenAI client would send with another body."""
    return _opened(request.param)


def _opened(door: Door) -> Door:
    if not door.aiohttp:
        lgp.install(cache=False, disable_aiohttp=True)
    return door


@pytest.fixture(scope="session")
def origin_of() -> Iterator[Callable[[str], str]]:
    """Starts a real server when a recording needs it, once for all tests."""
    with contextlib.ExitStack() as running:
        origins: dict[str, str] = {}

        def start(name: str) -> str:
            if name not in origins:
                origins[name] = running.enter_context(SERVERS[name]())
            return origins[name]

        yield start


_recorded_now: set[Path] = set()

Play = Callable[[str], AbstractContextManager[Tape]]


@pytest.fixture
def play(request: pytest.FixtureRequest, origin_of: Callable[[str], str]) -> Play:
    """`play("LitServe")` opens the test's cassette: `cassettes/<file>/<test>.yaml`, recorded from that server."""
    path = CASSETTES / request.path.stem / f"{request.node.originalname}.yaml"

    def open_it(server: str) -> AbstractContextManager[Tape]:
        assert server in SERVERS
        if not RECORDING or path in _recorded_now:
            return open_cassette(path)
        _recorded_now.add(path)
        return open_cassette(path, record_from=origin_of(server))

    return open_it


def fact(response: Any, name: str) -> str:
    """What a response reports about its call: the provider's report, or the header that the OpenAI client passes on."""
    hidden = response._hidden_params
    if "gateway" in hidden:
        return str(hidden["gateway"][name])
    return str(hidden["additional_headers"][f"llm_provider-x-litellm-gateway-{name.replace('_', '-')}"])
