"""Threads, event loops, processes and abandoned answers come and go. Nothing hangs, leaks or complains."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from litellm_gateway_plugin.errors import ConnectionBroken, TimedOut
from litellm_gateway_plugin.wire import Clients, Deadline, WireOptions
from tests.wire.conftest import Edge, Wire, fetched, request, watched
from tests.wire.servers import Peer, answer, answering, serving
from tests.wire.test_wire_tls import server_context


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio and aiohttp complain in their logs; a finaliser's warning fails the test by pytest itself."""
    caplog.set_level(logging.WARNING)
    yield
    gc.collect()
    assert caplog.records == []


def streaming(peer: Peer) -> None:
    """One event, and then silence until the client goes away."""
    while peer.request() is not None:
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none;\r\n")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")


# Threads


def test_two_hundred_threads(thread_wire: Wire) -> None:
    together = threading.Barrier(200)

    def work(number: int) -> bytes:
        edge = thread_wire.clients.threads()
        together.wait(20)
        found = b""
        for _ in range(5):
            body = str(number).encode()
            found = edge.send(request(server.url(), body=body), Deadline(20)).read()
            assert found == body
        return found

    def echo(peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            peer.send(answer(seen.body))

    with serving(echo) as server:
        with ThreadPoolExecutor(200) as pool:
            found = watched(lambda: list(pool.map(work, range(200))))
        assert found == [str(number).encode() for number in range(200)]
        assert server.accepted <= 400  # connections are used again, also when more are busy than are kept


def test_idle_connections_are_limited(thread_wire: Wire) -> None:
    edge = thread_wire.clients.threads()
    with serving(answering(answer())) as server:
        replies = [edge.send(request(server.url()), Deadline(20)) for _ in range(150)]
        assert server.open == 150
        for reply in replies:
            reply.read()
        until(lambda: server.open == 100)


def test_threads_and_changed_options(thread_wire: Wire) -> None:
    first = thread_wire.clients.threads()
    assert thread_wire.clients.threads() is first
    thread_wire.options = replace(thread_wire.options)
    assert thread_wire.clients.threads() is first
    with serving(answering(answer(b"x" * 9))) as server:
        under_way = first.send(request(server.url()), Deadline(20))
        thread_wire.options = WireOptions(verify=False)
        assert thread_wire.clients.threads() is not first
        assert under_way.read() == b"x" * 9


@linux
@pytest.mark.parametrize("how", ["not read", "begun", "generator kept", "in a cycle", "in an exception"])
def test_abandoned_streams_of_threads(thread_wire: Wire, how: str) -> None:
    edge = thread_wire.clients.threads()

    def abandon() -> None:
        reply = edge.send(request(server.url()), Deadline(20))
        if how == "not read":
            return
        stream = reply.chunks()
        assert next(stream) == b"one;"
        if how == "in a cycle":
            cycle: list[object] = [reply, stream]
            cycle.append(cycle)
        if how == "in an exception":
            with contextlib.suppress(ValueError):
                failing(stream)

    def failing(stream: object) -> None:
        error = ValueError()
        kept = [stream, error]
        try:
            raise error
        finally:
            kept.clear()

    def work() -> None:
        highest = 0
        for number in range(1000 if how == "begun" else 300):
            abandon()
            if number % 100 == 0:
                gc.collect()
                highest = max(highest, descriptors())
        gc.collect()
        assert highest < before + 100

    with serving(streaming) as server:
        before = descriptors()
        watched(work)


def test_collector_that_runs_in_the_midst_of_a_request(thread_wire: Wire) -> None:
    """The known hang: an abandoned stream closed by the collector while the pool holds its lock. There is no lock."""

    def work() -> None:
        edge = thread_wire.clients.threads()
        for _ in range(300):
            reply = edge.send(request(server.url()), Deadline(20))
            cycle: list[object] = [reply, reply.chunks()]
            next(cycle[1])  # type: ignore[call-overload]  # the generator
            cycle.append(cycle)

    thresholds = gc.get_threshold()
    with serving(streaming) as server:
        gc.set_threshold(1, 1, 1)
        try:
            watched(work)
        finally:
            gc.set_threshold(*thresholds)


# Event loops


def test_one_edge_for_each_loop(async_wire: Wire) -> None:
    async def body(edge: Edge) -> object:
        assert async_wire.clients.tasks() is edge
        await fetched(edge, server.url())
        return edge

    with serving(answering(answer())) as server:
        first, second = async_wire.run(body), async_wire.run(body)
        assert first is not second


def test_two_loops_at_once(async_wire: Wire) -> None:
    together = threading.Barrier(2)

    async def body(edge: Edge) -> object:
        for _ in range(20):
            await fetched(edge, server.url())
        await asyncio.to_thread(together.wait, 10)
        return edge

    with serving(answering(answer())) as server, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: async_wire.run(body), range(2))
        assert first is not second


def test_connections_close_with_the_loop(async_wire: Wire) -> None:
    async def body(edge: Edge) -> None:
        await asyncio.gather(*(fetched(edge, server.url()) for _ in range(5)))

    with serving(answering(answer())) as server:
        async_wire.run(body)
        until(lambda: server.open == 0)


def test_loop_ends_in_the_middle(async_wire: Wire) -> None:
    """A stream is open, a request is being written and nobody closes anything."""

    def stuck(peer: Peer) -> None:
        peer.server.done.wait(60)

    kept: list[object] = []

    async def body(edge: Edge) -> None:
        reply = await edge.send(request(server.url()), Deadline(20))
        kept.append(reply)
        stream = reply.chunks()
        assert await anext(stream) == b"one;"
        kept.append(stream)
        task = asyncio.ensure_future(edge.send(request(deaf.url(), body=b"x" * (32 << 20)), Deadline(60)))
        while not deaf.accepted:
            await asyncio.sleep(0.001)
        kept.append(task)

    with serving(streaming) as server, serving(stuck) as deaf:
        async_wire.run(body)
        until(lambda: server.open == 0)
    kept.clear()


@linux
@pytest.mark.parametrize("secure", [False, True])
def test_loops_that_are_closed_carelessly(async_wire: Wire, authority: trustme.CA, secure: bool) -> None:
    """Without `shutdown_asyncgens`, as many programs do it; with idle connections and with a stream still open."""
    async_wire.options = replace(async_wire.options, verify=False)
    kept: list[object] = []

    async def body() -> None:
        edge = async_wire.edge()
        await fetched(edge, server.url())
        reply = await edge.send(request(stream.url()), Deadline(20))
        kept.append(reply)

    def work() -> None:
        for _ in range(10):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(body())
            loop.close()
        kept.clear()
        gc.collect()

    context = server_context(authority) if secure else None
    with serving(answering(answer()), context) as server, serving(streaming, context) as stream:
        before = descriptors()
        watched(work)
        asyncio.run(body())  # a new client purges those of closed loops
        kept.clear()
        gc.collect()
        until(lambda: server.open == 0 and stream.open == 0)
        assert descriptors() <= before + 2


def test_closed_loops_are_let_go(async_wire: Wire) -> None:
    async def body(edge: Edge) -> weakref.ref[asyncio.AbstractEventLoop]:
        await fetched(edge, server.url())
        return weakref.ref(asyncio.get_running_loop())

    with serving(answering(answer())) as server:
        loops = [async_wire.run(body) for _ in range(10)]
        gc.collect()
        assert sum(loop() is not None for loop in loops) <= 1


def test_tasks_and_changed_options(async_wire: Wire) -> None:
    async def body(edge: Edge) -> None:
        under_way = await edge.send(request(stream.url()), Deadline(20))
        await fetched(edge, server.url())
        async_wire.options = replace(async_wire.options, verify=False)
        other = async_wire.edge()
        assert other is not edge
        assert async_wire.edge() is other
        chunks = under_way.chunks()
        assert await anext(chunks) == b"one;"
        assert server.open == 1
        await under_way.aclose()
        while server.open:
            await asyncio.sleep(0.001)
        if async_wire.kind == "aiohttp":
            with pytest.raises(ConnectionBroken, match="closed"):
                await fetched(edge, server.url())
        await fetched(other, server.url())

    with serving(answering(answer())) as server, serving(streaming) as stream:
        async_wire.run(body)


@linux
@pytest.mark.parametrize("how", ["not read", "begun", "coded", "in a cycle"])
def test_abandoned_streams_of_tasks(async_wire: Wire, how: str) -> None:
    async def abandon(edge: Edge) -> None:
        reply = await edge.send(request(server.url()), Deadline(20))
        if how == "not read":
            return
        stream = reply.chunks()
        await anext(stream)
        if how == "in a cycle":
            cycle: list[object] = [reply, stream]
            cycle.append(cycle)

    async def body(edge: Edge) -> None:
        highest = 0
        for number in range(1000 if how == "begun" else 300):
            await abandon(edge)
            if number % 100 == 0:
                gc.collect()
                await asyncio.sleep(0.02)
                highest = max(highest, descriptors())
        assert highest < before + 250

    def coded(peer: Peer) -> None:
        while peer.request() is not None:
            maker = zlib.compressobj(wbits=31)
            part = maker.compress(b"one;") + maker.flush(zlib.Z_SYNC_FLUSH)
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            peer.send(head + b"%x\r\n%b\r\n" % (len(part), part))

    with serving(coded if how == "coded" else streaming) as server:
        before = descriptors()
        async_wire.run(body)
        until(lambda: server.open == 0)


def test_answer_abandoned_in_another_thread(async_wire: Wire) -> None:
    """The garbage collector runs wherever it likes; a transport may be touched in its loop's thread only."""

    async def body(edge: Edge) -> None:
        asyncio.get_running_loop().set_debug(True)  # it then checks
        kept = [await edge.send(request(server.url()), Deadline(20))]
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join()
        while server.open:
            await asyncio.sleep(0.001)

    with serving(streaming) as server:
        async_wire.run(body)


@linux
def test_answer_that_outlives_its_loop(async_wire: Wire) -> None:
    async def body(edge: Edge) -> object:
        return await edge.send(request(server.url()), Deadline(20))

    with serving(streaming) as server:
        before = descriptors()
        kept = [async_wire.run(body)]
        kept.clear()
        gc.collect()
        assert descriptors() <= before + 1


def test_time_out_in_the_middle_of_many(async_wire: Wire) -> None:
    def some(peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            if seen.body == b"slow":
                peer.server.done.wait(60)
            peer.send(answer(seen.body))

    async def one(edge: Edge, number: int) -> bytes:
        if number % 3:
            return (await fetched(edge, server.url(), body=str(number).encode())).body
        with pytest.raises(TimedOut):
            await fetched(edge, server.url(), Deadline(0.2), body=b"slow")
        return b""

    async def body(edge: Edge) -> list[bytes]:
        return await asyncio.gather(*(one(edge, number) for number in range(60)))

    with serving(some) as server:
        assert async_wire.run(body) == [str(number).encode() if number % 3 else b"" for number in range(60)]


# Closing everything


def test_close_and_go_on(wire: Wire) -> None:
    async def body(edge: Edge) -> None:
        await fetched(edge, server.url())
        wire.clients.close()
        await asyncio.sleep(0)
        other = wire.edge()
        assert getattr(other, "edge", other) is not getattr(edge, "edge", edge)
        await fetched(other, server.url())

    with serving(answering(answer())) as server:
        wire.run(body)
        wire.clients.close()
        until(lambda: server.open == 0)


def test_close_while_a_loop_runs_in_another_thread(async_wire: Wire) -> None:
    ready, over = threading.Event(), threading.Event()

    async def body(edge: Edge) -> None:
        await fetched(edge, server.url())
        ready.set()
        await asyncio.to_thread(over.wait, 20)

    with serving(answering(answer())) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(async_wire.run, body)
        assert ready.wait(10)
        async_wire.clients.close()
        until(lambda: server.open == 0)
        over.set()
        running.result(20)


@linux
def test_close_while_a_loop_is_stopped(async_wire: Wire) -> None:
    async def body() -> None:
        await fetched(async_wire.edge(), server.url())

    with serving(answering(answer())) as server:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(body())
        async_wire.clients.close()
        loop.run_until_complete(asyncio.sleep(0))  # it may go on, and its selector is in order
        until(lambda: server.open == 0)
        loop.run_until_complete(body())
        async_wire.clients.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_clients_that_are_dropped_close(async_wire: Wire) -> None:
    async def body() -> None:
        clients = Clients(lambda: async_wire.options)
        await fetched(clients.tasks(), server.url())
        del clients
        gc.collect()
        while server.open:
            await asyncio.sleep(0.001)

    with serving(answering(answer())) as server:
        watched(lambda: asyncio.run(body()))


# Forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_edges_are_new_in_a_forked_child(wire: Wire) -> None:
    """Nothing of the parent's is used; also not its lock, which another thread may be holding."""
    before: list[object] = []

    def in_child() -> bool:
        loop = asyncio.new_event_loop()

        async def ask() -> bytes:
            edge = wire.edge()
            assert getattr(edge, "edge", edge) is not before[0]
            return (await fetched(edge, server.url())).body

        return loop.run_until_complete(ask()) == b"ok"

    async def body(edge: Edge) -> None:
        before.append(getattr(edge, "edge", edge))
        await fetched(edge, server.url())
        with wire.clients._lock:
            assert forked(in_child) == 0
        assert server.accepted == 2
        await fetched(edge, server.url())
        assert server.accepted == 2  # the parent's own connection is as it was

    with serving(answering(answer())) as server:
        wire.run(body)


def forked(work: Callable[[], bool]) -> int:
    """The exit code of a child that does something."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(2000):
        if condition():
            return
        tick.wait(0.005)
    pytest.fail("the condition did not come true within ten seconds")
