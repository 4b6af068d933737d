"""One body of test for every edge: what runs in a thread is dressed as what runs in a coroutine."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import trustme

from litellm_gateway_plugin.wire import Clients, Deadline, WireOptions, WireRequest
from litellm_gateway_plugin.wire.options import PROXY_VARIABLES

T = TypeVar("T")
GUARD = 30  # seconds after which a test hangs


class Reply(Protocol):
    status: int
    headers: Mapping[str, str]

    async def read(self, limit: int | None = None) -> bytes: ...
    def chunks(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class Edge(Protocol):
    name: str

    async def send(self, request: WireRequest, deadline: Deadline) -> Reply: ...


class DressedReply:
    """A `SyncReply` as an `AsyncReply`."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.status = reply.status
        self.headers = reply.headers

    async def read(self, limit: int | None = None) -> bytes:
        return bytes(self.reply.read(limit))

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self.reply.chunks():
            yield chunk

    async def aclose(self) -> None:
        self.reply.close()


class DressedEdge:
    """A `SyncEdge` as an `AsyncEdge`."""

    def __init__(self, edge: Any) -> None:
        self.edge = edge
        self.name = edge.name

    async def send(self, request: WireRequest, deadline: Deadline) -> DressedReply:
        return DressedReply(self.edge.send(request, deadline))


class Wire:
    """The kind of edge that a test runs with.

    Attributes:
        options: what the edges are made with; a test may replace it.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.options = WireOptions(aiohttp=kind != "httpx")
        self.clients = Clients(lambda: self.options)

    def edge(self) -> Edge:
        if self.kind == "threads":
            return DressedEdge(self.clients.threads())
        return self.clients.tasks()

    def run(self, body: Callable[[Edge], Awaitable[T]]) -> T:
        """Run a test's body with an edge; a hang fails."""

        async def main() -> T:
            return await body(self.edge())

        return watched(lambda: asyncio.run(main()))

    def fetch(self, url: str, deadline: Deadline | None = None, limit: int | None = None, **parts: Any) -> Answer:
        """One request, answered whole."""

        async def body(edge: Edge) -> Answer:
            return await fetched(edge, url, deadline, limit, **parts)

        return self.run(body)


class Answer:
    """What a request came to."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


async def fetched(
    edge: Edge, url: str, deadline: Deadline | None = None, limit: int | None = None, **parts: Any
) -> Answer:
    reply = await edge.send(request(url, **parts), deadline or Deadline(20))
    return Answer(reply.status, reply.headers, await reply.read(limit))


def request(
    url: str, *, method: str = "POST", headers: tuple[tuple[str, str], ...] = (), body: bytes = b"{}"
) -> WireRequest:
    return WireRequest(method, url, headers, body)


def watched(work: Callable[[], T]) -> T:
    """Run something in a thread, so that a hang is a failure and not the end of the run."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:  # noqa: BLE001  # handed on to the test's thread
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(GUARD)
    if not outcome:
        pytest.fail(f"still running after {GUARD} s", pytrace=False)
    good, value = outcome[0]
    if not good:
        raise value
    return value  # type: ignore[no-any-return]  # it is what `work` returned


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXY_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["threads", "aiohttp", "httpx"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    made = Wire(request.param)
    yield made
    made.clients.close()


@pytest.fixture(params=["aiohttp", "httpx"])
def async_wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    made = Wire(request.param)
    yield made
    made.clients.close()


@pytest.fixture
def thread_wire() -> Iterator[Wire]:
    made = Wire("threads")
    yield made
    made.clients.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield
