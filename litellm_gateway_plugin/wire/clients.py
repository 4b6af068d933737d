"""Which edge answers for this thread or this event loop, with the settings as they are now."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .options import WireOptions

if TYPE_CHECKING:
    from .tasks import TaskEdge
    from .threads import ThreadEdge

_everyone: weakref.WeakSet[Clients] = weakref.WeakSet()
# The parent's clients, in a forked child: kept for ever, so that no finaliser touches what the parent is using.
_parents: list[object] = []


class Clients:
    """The edges of a process. One for all threads, one for each event loop; new ones when the options change.

    Args:
        options: says, at every call, what is set now; it is called often.
    """

    def __init__(self, options: Callable[[], WireOptions]) -> None:
        self._options = options
        self._begin()
        _everyone.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._threads: ThreadEdge | None = None
        self._final = False
        # A plain dictionary, purged when it grows: an edge refers to its loop, and a weak key would never go.
        self._tasks: dict[asyncio.AbstractEventLoop, TaskEdge] = {}

    def threads(self) -> ThreadEdge:
        """The edge for code that runs in no event loop."""
        options, edge = self._options(), self._threads
        if edge is not None and (edge.options is options or edge.options == options):
            return edge
        from .threads import ThreadEdge  # here, not above: a program of coroutines need not wait for it

        with self._lock:
            edge = self._threads
            if edge is None or edge.options != options:
                if edge is not None:
                    edge.close()
                edge = self._threads = ThreadEdge(options)
                if self._final:
                    edge.close()  # it serves the call that came late, and keeps no connection
            return edge

    def tasks(self) -> TaskEdge:
        """The edge for the running event loop.

        Raises:
            RuntimeError: none is running.
        """
        loop = asyncio.get_running_loop()
        options, edge = self._options(), self._tasks.get(loop)
        if edge is not None and not edge.ended and (edge.options is options or edge.options == options):
            return edge
        if edge is not None and not edge.ended:
            edge.retire()
        self._purge()
        edge = self._tasks[loop] = _make(options, guarded=edge is None or not edge.ended)
        return edge

    def _purge(self) -> None:
        """Let go of the loops that have been closed."""
        for loop in list(self._tasks):
            if loop.is_closed():
                edge = self._tasks.pop(loop, None)
                if edge is not None:
                    edge.discard()

    def close(self, *, final: bool = False) -> None:
        """Close everything, in the loop where one runs. A later call makes new ones; with `final`, to keep nothing."""
        self._final = final
        with self._lock:
            edge, self._threads = self._threads, None
        if edge is not None:
            edge.close()
        while self._tasks:
            _, tasks = self._tasks.popitem()
            _close(tasks)

    def __del__(self) -> None:
        with suppress(Exception):  # half made, or the interpreter is half gone
            self.close()

    def leave(self) -> None:
        """The interpreter is ending. A loop that still runs, in a thread that dies with it, is only kept quiet."""
        if self._threads is not None:
            self._threads.close()
        for edge in list(self._tasks.values()):
            edge.silence() if edge.loop.is_running() else edge.discard()

    def forget(self) -> None:
        """This is a forked child: nothing of the parent's is used, closed or waited for."""
        for edge in self._tasks.values():
            edge.silence()
        _parents.append((self._lock, self._threads, self._tasks))
        self._begin()


def _make(options: WireOptions, *, guarded: bool) -> TaskEdge:
    """Import here, not above: aiohttp costs a tenth of a second, which a synchronous program need not spend."""
    from .tasks import AiohttpEdge, HttpxTaskEdge

    return (AiohttpEdge if options.aiohttp else HttpxTaskEdge)(options, guarded=guarded)


def _close(edge: TaskEdge) -> None:
    if edge.loop.is_closed():
        edge.discard()
    elif edge.loop.is_running():
        with suppress(RuntimeError):  # it has ended in between, and with it the edge
            edge.loop.call_soon_threadsafe(edge.close_soon)
    else:
        edge.stop()


def _forget_everything() -> None:
    for clients in list(_everyone):
        clients.forget()


def _leave_everything() -> None:
    for clients in list(_everyone):
        clients.leave()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_everything)
atexit.register(_leave_everything)
