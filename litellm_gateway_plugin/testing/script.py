"""What a gateway is told to do with its next requests: be full, or let something go wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from .answers import Answer
    from .faults import Fault


class Script:
    """An instruction for the next requests. It is a context manager: leaving it releases it.

    Args:
        what: the fault, or the answer of a full gateway.
        name: for the records.
        times: how many requests it is for; None until it is released.
        surfaces: which surfaces it is for; empty for all where work is done.
        call: runs a function on the gateway's event loop, from any thread.
        changed: the gateway's condition; it guards everything here, and waiters are told of every change.
    """

    def __init__(
        self,
        what: Fault | Answer,
        name: str,
        times: int | None,
        surfaces: tuple[str, ...],
        call: Callable[[Callable[[], None]], None],
        changed: threading.Condition,
    ) -> None:
        self.what = what
        self.name = name
        self.surfaces = surfaces
        self.used = 0
        self.held = 0
        self.released = False
        self._times = times
        self._call = call
        self._changed = changed
        self._waiting: set[asyncio.Future[None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def spent(self) -> bool:
        """Whether it will befall no further request."""
        return self.released or (self._times is not None and self.used >= self._times)

    def release(self) -> None:
        """End it: no further request is affected, and those that are held go on."""
        with self._changed:
            self.released = True
            self._changed.notify_all()
        self._call(self._open)

    def wait_held(self, number: int = 1, timeout: float = 10.0) -> None:
        """Wait until so many requests are held at the same time.

        Raises:
            TimeoutError: they did not come.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.held >= number, timeout):
                raise TimeoutError(f"{self.held} of {number} requests are held by {self.name} after {timeout} s")

    # For the gateway, on its event loop.

    def _open(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def gate(self) -> asyncio.Future[None]:
        """A future that is done once this is released."""
        waiting = asyncio.get_running_loop().create_future()
        if self.released:
            waiting.set_result(None)
        else:
            self._waiting.add(waiting)
        return waiting

    def hold(self, change: int) -> None:
        """Count a request that is held, or no longer."""
        with self._changed:
            self.held += change
            self._changed.notify_all()
