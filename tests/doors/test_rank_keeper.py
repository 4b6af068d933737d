"""The looks of `RankKeeper` at real gateways: what keeps a base alive, what ends the looks, and what does not."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin import installation
from litellm_gateway_plugin.auto_router import RankKeeper
from litellm_gateway_plugin.errors import ConnectFailed
from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway
from litellm_gateway_plugin.testing.answers import Answer
from tests.doors.test_auto_router import (  # noqa: F401  fixtures among them
    CHUTES,
    MODEL,
    VLLM,
    Start,
    bases_of,
    busy,
    configure,
    keepers,
    start,
)

LONG_S = 20.0  # until when something has to happen
CHILD_S = 20  # after which a child that hangs is killed
RANKS = "litellm-gateway-ranks"
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
many_threads = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that is the point

pytestmark = pytest.mark.matrix


def threads(name: str = RANKS) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(name) and each.is_alive()]


class Looks:
    """Counts the looks at one gateway, as a hook."""

    def __init__(self, server: PickyGateway) -> None:
        self._server = server
        self.renew()

    def renew(self) -> None:
        """Count from 0, with a lock that nobody holds."""
        self._come = threading.Semaphore(0)

    @lgp.hookimpl
    def gateway_utilization(self, base: Any, fetch: Any) -> Any:
        if base.origin == self._server.url:
            self._come.release()

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self._come.acquire(timeout=LONG_S)


class Fails:
    """A hook that cannot reach the page of one gateway, from when it is told so."""

    def __init__(self, server: PickyGateway) -> None:
        self._server = server
        self.error: Exception | None = None

    @lgp.hookimpl
    def gateway_utilization(self, base: Any, fetch: Any) -> Any:
        if self.error is not None and base.origin == self._server.url:
            raise self.error


# What keeps a base alive, and where -----------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True])
def test_a_listing_read_just_now_keeps_a_base_whose_page_resets(known: bool, start: Start, configure: Any) -> None:  # noqa: F811
    server = start(CHUTES, pages=busy(0.1))
    configure(server.base())
    if known:
        assert len(lgp.list_models(server.base(), api_key=FAKE_KEY)) == 1
    server.fault("reset-before-head", None, surfaces=("",), when="any")
    assert bases_of(lgp.auto_router_from_env(refresh_s=0)) == [server.base()]
    assert [seen.fault for seen in server.requests("")] != []


def test_a_listing_read_just_now_keeps_a_base_whose_hook_cannot_connect(start: Start, configure: Any) -> None:  # noqa: F811
    server = start(VLLM)
    configure(server.base())
    hook = Fails(server)
    hook.error = ConnectFailed("nobody is there")
    lgp.install().plugins.register(hook)
    assert bases_of(lgp.auto_router_from_env(refresh_s=0)) == [server.base()]


@pytest.mark.parametrize("how", ["status 500", "hook raises"])
def test_what_cannot_be_read_for_one_look_has_not_changed(
    how: str,
    start: Start,  # noqa: F811
    configure: Any,  # noqa: F811
    keepers: list[RankKeeper],  # noqa: F811
) -> None:
    full, half = start(CHUTES, pages=busy(0.95)), start(CHUTES, pages=busy(0.7))
    configure(full.base(), half.base())
    hook = Fails(full)
    lgp.install().plugins.register(hook)
    router = lgp.auto_router_from_env(refresh_s=3600)
    for _ in range(2):
        if how == "status 500":
            full.change(pages={"/chutes/utilization": Answer(500, b"{}")})
        hook.error = ValueError("odd") if how == "hook raises" else None
        keepers[0].look()
        assert bases_of(router) == [half.base(), full.base()]
        full.change(pages=busy(0.95))
        hook.error = None
        keepers[0].look()
        assert bases_of(router) == [half.base(), full.base()]
    full.change(pages=busy(0.1))
    keepers[0].look()
    assert bases_of(router) == [full.base(), half.base()]


def test_a_hook_that_gives_no_loads_says_nothing(start: Start, configure: Any) -> None:  # noqa: F811
    busiest, odd, idle = start(CHUTES, pages=busy(0.9)), start(CHUTES), start(CHUTES, pages=busy(0.1))
    configure(busiest.base(), odd.base(), idle.base())

    class Own:
        @lgp.hookimpl
        def gateway_utilization(self, base: Any, fetch: Any) -> Any:
            return {MODEL: 0.0, "a/b": 0.5} if base.origin == odd.url else None

    lgp.install().plugins.register(Own())
    assert bases_of(lgp.auto_router_from_env(refresh_s=0)) == [each.base() for each in (idle, odd, busiest)]


# What ends the looks, and what does not -------------------------------------------------------------------------------


def test_other_callback_lists_do_not_end_the_looks(
    start: Start,  # noqa: F811
    configure: Any,  # noqa: F811
    keepers: list[RankKeeper],  # noqa: F811
) -> None:
    first, second = start(CHUTES, pages=busy(0.1)), start(CHUTES, pages=busy(0.7))
    configure(first.base(), second.base())
    looks = Looks(first)
    lgp.install().plugins.register(looks)
    router = lgp.auto_router_from_env(refresh_s=0.01)
    looks.wait_for(2)
    litellm.success_callback = []
    litellm.failure_callback = []
    looks.wait_for(3)
    assert len(threads()) == 1
    keepers[0].stop()
    for each in threads():
        each.join(LONG_S)
    first.change(pages=busy(0.9))
    keepers[0].look()
    assert bases_of(router) == [second.base(), first.base()]


def test_a_discarded_router_ends_them(start: Start, configure: Any) -> None:  # noqa: F811
    first, second = start(CHUTES), start(CHUTES)
    configure(first.base(), second.base())
    looks = Looks(first)
    lgp.install().plugins.register(looks)
    router = lgp.auto_router_from_env(refresh_s=0.01)
    looks.wait_for(2)
    running = threads()
    getattr(router, "retire", router.discard)()
    for each in running:
        each.join(LONG_S)
    assert len(running) == 1
    assert not running[0].is_alive()


def test_a_router_that_is_discarded_after_that_ends_them_too(start: Start, configure: Any) -> None:  # noqa: F811
    first, second = start(CHUTES), start(CHUTES)
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env(refresh_s=0.01)
    running = threads()
    litellm.success_callback = []
    litellm.failure_callback = []
    getattr(router, "retire", router.discard)()
    for each in running:
        each.join(LONG_S)
    assert len(running) == 1
    assert not running[0].is_alive()


def test_the_keeper_keeps_no_router_alive(start: Start, configure: Any) -> None:  # noqa: F811
    first, second = start(CHUTES), start(CHUTES)
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env(refresh_s=3600)
    running, seen = threads(), weakref.ref(router)
    for name in installation.CALLBACK_LISTS:
        setattr(litellm, name, [])
    del router
    gc.collect()
    assert seen() is None
    for each in running:
        each.join(LONG_S)
    assert not any(each.is_alive() for each in running)


def test_what_was_uninstalled_puts_nothing_back() -> None:
    lgp.install()
    old = installation.current()
    assert old is not None
    lgp.uninstall()
    old.repair()
    assert not any(each is old.callback for each in litellm.callbacks)
    assert not any(entry["provider"] == "gateway" for entry in litellm.custom_provider_map)
    assert "gateway" not in litellm.provider_list


# Children -------------------------------------------------------------------------------------------------------------


def in_child(is_right: Callable[[], bool]) -> int:
    """The status of a forked child: 0 when it is right there."""
    child = os.fork()
    if child == 0:  # pragma: no cover  # nobody measures in there
        signal.alarm(CHILD_S)
        try:
            os._exit(0 if is_right() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


@pytest.fixture
def held_lock() -> Iterator[None]:
    """Another thread is in the middle of an installation."""
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with installation._lock:
            held.set()
            let_go.wait(LONG_S)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(LONG_S)
    yield
    let_go.set()
    thread.join()


@forks
@many_threads
def test_a_forked_child_looks_too(start: Start, configure: Any) -> None:  # noqa: F811
    first, second = start(CHUTES), start(CHUTES)
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env(refresh_s=3600)
    assert len(threads()) == 1
    assert in_child(lambda: len(threads()) == 1) == 0
    lgp.uninstall()
    assert in_child(lambda: all(not each.join(LONG_S) and not each.is_alive() for each in threads())) == 0
    del router


@forks
@many_threads
def test_a_forked_child_keeps_the_order(start: Start, configure: Any) -> None:  # noqa: F811
    """Its thread asks the gateways, and changes the child's own Router."""
    first, second = start(CHUTES, pages=busy(0.1)), start(CHUTES, pages=busy(0.7))
    configure(first.base(), second.base())
    looks = Looks(first)
    lgp.install().plugins.register(looks)
    router = lgp.auto_router_from_env(refresh_s=1)
    first.change(pages=busy(0.9))

    def has_changed() -> bool:
        looks.renew()
        looks.wait_for(2)  # when the second begins, the first is over
        return bases_of(router) == [second.base(), first.base()]

    assert in_child(has_changed) == 0


@forks
@many_threads
@pytest.mark.usefixtures("held_lock")
def test_a_child_installs_while_a_thread_of_its_parent_has_the_lock() -> None:
    assert in_child(lambda: lgp.install() is not None) == 0


# Whoever waited is gone -----------------------------------------------------------------------------------------------


ASKED: dict[str, Callable[[], Awaitable[Any]]] = {
    "auto_router": lambda: lgp.aauto_router_from_env(refresh_s=0),
    "model_list": lgp.aauto_model_list_from_env,
    "prepare": lambda: lgp.install().prepare("some/model"),
    "call": lambda: litellm.acompletion("gateway/some/model", [{"role": "user", "content": "hello"}]),
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_cancelled_one_leaves_no_complaint(asked: str, start: Start) -> None:  # noqa: F811
    servers = [start(CHUTES), start(CHUTES)]
    lgp.install(cache=False, bases=[{"api_base": each.base(), "api_key": FAKE_KEY} for each in servers])
    held = [each.hold(surfaces=("models",)) for each in servers]
    complaints: list[dict[str, Any]] = []

    def break_off() -> None:
        """Every reading ends, and each with an error."""
        for server in servers:
            server.stop()
        for each in threads("litellm-gateway-listing") + threads("litellm-gateway-survey"):
            each.join(LONG_S)
            assert not each.is_alive()

    async def cancelled() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        task = asyncio.ensure_future(ASKED[asked]())
        for each in held:
            await asyncio.to_thread(each.wait_held)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await asyncio.to_thread(break_off)
        for _ in range(3):
            await asyncio.sleep(0)
            gc.collect()

    asyncio.run(cancelled())
    gc.collect()
    assert complaints == []


def test_a_page_that_breaks_off_between_two_looks_kills_no_gateway(
    start: Start,  # noqa: F811
    configure: Any,  # noqa: F811
    keepers: list[RankKeeper],  # noqa: F811
) -> None:
    first, second = start(CHUTES, pages=busy(0.1)), start(CHUTES, pages=busy(0.7))
    configure(first.base(), second.base())
    router = lgp.auto_router_from_env()
    first.fault("reset-before-head", None, surfaces=("",), when="any")
    keepers[0].look()
    assert bases_of(router) == [first.base(), second.base()]
