"""Programs that end in the middle of something: no hang, no traceback, no warning."""

from __future__ import annotations

import ssl
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import trustme

from tests.wire.servers import Peer, answer, serving
from tests.wire.test_wire_tls import server_context

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import asyncio, gc, os, sys, threading
from litellm_gateway_plugin.wire import Clients, Deadline, WireOptions, WireRequest

kind, base = sys.argv[1:]
clients = Clients(lambda: WireOptions(verify=False, aiohttp=kind != "httpx"))

def ask(path):
    return WireRequest("POST", base + path, (), b"{}")

async def send(path):
    return await clients.tasks().send(ask(path), Deadline(60))

def wait_for_the_server():
    import urllib.request
    urllib.request.urlopen(base + "/arrived").read()
"""
THREADS = {
    "idle connection": """
        clients.threads().send(ask("/now"), Deadline(60)).read()
    """,
    "stream half read": """
        reply = clients.threads().send(ask("/stream"), Deadline(60))
        stream = reply.chunks()
        next(stream)
    """,
    "stream in a cycle": """
        reply = clients.threads().send(ask("/stream"), Deadline(60))
        stream = reply.chunks()
        next(stream)
        cycle = [reply, stream]
        cycle.append(cycle)
        del reply, stream, cycle
    """,
    "request of a daemon thread": """
        threading.Thread(target=lambda: clients.threads().send(ask("/never"), Deadline(60)), daemon=True).start()
        wait_for_the_server()
    """,
    "name that is being looked up": """
        import socket
        genuine = socket.getaddrinfo
        def slow(host, *rest, **options):
            if host == "slow.invalid" and not options.get("flags"):
                threading.Event().wait(60)
            return genuine(host, *rest, **options)
        socket.getaddrinfo = slow
        try:
            clients.threads().send(WireRequest("GET", "http://slow.invalid/", ()), Deadline(0.1))
        except Exception as error:
            assert type(error).__name__ == "TimedOut"
    """,
    "exit from within a stream": """
        for _ in clients.threads().send(ask("/stream"), Deadline(60)).chunks():
            sys.exit()
    """,
}
TASKS = {
    "idle connection": """
        async def main():
            await (await send("/now")).read()
        asyncio.run(main())
    """,
    "stream half read": """
        async def main():
            global reply, stream
            reply = await send("/stream")
            stream = reply.chunks()
            await anext(stream)
        asyncio.run(main())
    """,
    "stream in a cycle": """
        async def main():
            reply = await send("/stream")
            stream = reply.chunks()
            await anext(stream)
            cycle = [reply, stream]
            cycle.append(cycle)
        asyncio.run(main())
    """,
    "request under way": """
        async def main():
            global task
            task = asyncio.ensure_future(send("/never"))
            await asyncio.to_thread(wait_for_the_server)
        asyncio.run(main())
    """,
    "exit from within a stream": """
        async def main():
            async for _ in (await send("/stream")).chunks():
                sys.exit()
        asyncio.run(main())
    """,
    "loop closed by hand": """
        async def main():
            global reply
            await (await send("/now")).read()
            reply = await send("/stream")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """,
    "many loops": """
        async def main():
            await (await send("/now")).read()
        for _ in range(20):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
        for _ in range(20):
            asyncio.run(main())
    """,
    "closed before the end": """
        async def main():
            await (await send("/now")).read()
            clients.close()
        asyncio.run(main())
        clients.close()
    """,
}
# Loops that nobody closes: Python itself warns of them, so they run with its usual filters.
CARELESS = {
    "loop that is never closed": """
        async def main():
            global reply
            await (await send("/now")).read()
            reply = await send("/stream")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
    """,
    "loop in a daemon thread": """
        ready = threading.Event()
        async def main():
            await (await send("/now")).read()
            reply = await send("/stream")
            ready.set()
            await (await send("/never")).read()
        threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
        ready.wait()
        wait_for_the_server()
    """,
}
FORKS = {
    "child asks and exits": """
        clients.threads().send(ask("/now"), Deadline(60)).read()
        kept = clients.threads().send(ask("/stream"), Deadline(60))
        if os.fork() == 0:
            assert clients.threads().send(ask("/now"), Deadline(60)).read() == b"ok"
            sys.exit()
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        assert next(kept.chunks()) == b"one;"
        assert clients.threads().send(ask("/now"), Deadline(60)).read() == b"ok"
    """,
    "fork within a running loop": """
        async def child():
            assert await (await send("/now")).read() == b"ok"
        async def main():
            await (await send("/now")).read()
            kept = await send("/stream")
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    asyncio.run(child())
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert await anext(kept.chunks()) == b"one;"
            assert await (await send("/now")).read() == b"ok"
        asyncio.run(main())
    """,
    "multiprocessing": """
        import multiprocessing
        clients.threads().send(ask("/now"), Deadline(60)).read()
        def work(number):
            return clients.threads().send(ask("/now"), Deadline(60)).read()
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(work, range(9)) == [b"ok"] * 9
    """,
}


def run(program: str, kind: str, *flags: str, context: ssl.SSLContext | None = None) -> None:
    arrived = threading.Event()

    def handle(peer: Peer) -> None:
        while (seen := peer.request()) is not None:
            if seen.target == "/never":
                arrived.set()
                peer.gone()
                return
            if seen.target == "/stream":
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none;\r\n")
                continue
            if seen.target == "/arrived":
                arrived.wait(20)
            peer.send(answer())

    with serving(handle, context) as server:
        ended = subprocess.run(
            [sys.executable, *flags, "-c", PREAMBLE + textwrap.dedent(program), kind, server.base],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "")


@pytest.mark.parametrize("program", THREADS)
def test_threads(program: str) -> None:
    run(THREADS[program], "threads", "-W", "error")


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
@pytest.mark.parametrize("program", TASKS)
def test_tasks(program: str, kind: str) -> None:
    run(TASKS[program], kind, "-W", "error")


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
@pytest.mark.parametrize("program", CARELESS)
def test_loops_that_nobody_closes(program: str, kind: str) -> None:
    run(CARELESS[program], kind)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
@pytest.mark.parametrize("program", FORKS)
def test_forks(program: str, kind: str, secure: bool, authority: trustme.CA) -> None:
    """Over TLS as well: a child that ends its copy of a session properly would end the parent's."""
    context = server_context(authority) if secure else None
    run(FORKS[program], kind, context=context)


def test_import_is_light() -> None:
    """A synchronous program does not pay for aiohttp, and nothing of the wire ever imports litellm."""
    program = """
        import sys
        import litellm_gateway_plugin.wire
        assert "aiohttp" not in sys.modules
        assert "litellm" not in sys.modules
        import litellm_gateway_plugin.wire.tasks
        assert "litellm" not in sys.modules
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
