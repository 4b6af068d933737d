"""What the two edges for coroutines share: the alarm that keeps a deadline, and reading a body."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType

from .decoding import AsyncSlices, coding_of, slice_size
from .faults import timed_out
from .targets import Target, folded
from .values import Deadline


class Alarm:
    """Bounds what the current task awaits by a deadline: `with Alarm(origin, deadline): await …`.

    It cancels the task, and turns that cancellation into TimedOut. Anybody else's cancellation stays one, also when
    both come at once (before Python 3.11 a task cannot tell them apart; then the time-out wins).
    Every piece of every stream is awaited under one: that is why it is no cancel scope of anyio's, which costs more.
    """

    __slots__ = ("_cancels", "_deadline", "_handle", "_origin", "_rang", "_task")

    def __init__(self, origin: str, deadline: Deadline) -> None:
        self._origin = origin
        self._deadline = deadline
        self._handle: asyncio.TimerHandle | None = None
        self._rang = False

    def __enter__(self) -> None:
        left = self._deadline.remaining()
        if left is None:
            return
        if left == 0:
            raise timed_out(self._origin, self._deadline)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A request needs a task to run in.")
        self._task = task
        if sys.version_info >= (3, 11):
            self._cancels = task.cancelling()
        self._handle = task.get_loop().call_later(left, self._ring)

    def _ring(self) -> None:
        self._rang = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._handle is None:
            return
        self._handle.cancel()
        if not self._rang:
            return
        if sys.version_info >= (3, 11) and self._task.uncancel() > self._cancels:
            return
        if isinstance(error, (asyncio.CancelledError, Exception)):
            raise timed_out(self._origin, self._deadline) from None


class TaskReply(ABC):
    """An answer whose body is still to be read. As `values.AsyncReply`; its body can be read once, in any mixture.

    Args:
        done: called once, when the answer has given its connection back or up.
    """

    def __init__(
        self,
        status: int,
        raw_headers: Iterable[tuple[bytes, bytes]],
        where: Target,
        deadline: Deadline,
        done: Callable[[], None],
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = folded(raw_headers)
        self._origin = where.origin
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._slices: AsyncSlices | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._done = done
        self._closed = False

    @abstractmethod
    def _ready(self) -> bytes | None:
        """What has arrived already; b"" at the end of the body; None when one has to wait."""

    @abstractmethod
    async def _wait(self) -> bytes:
        """Wait for more; b"" at the end of the body."""

    @abstractmethod
    def _fault(self, error: Exception) -> Exception | None:
        """Our error for the library's, None for anything else."""

    @abstractmethod
    async def _release(self) -> None:
        """Give the connection back or up."""

    @abstractmethod
    def _abandon(self) -> None:
        """The same at once and without awaiting, from within the loop or when it is closed."""

    async def read(self, limit: int | None = None) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            body = self._decoded(limit is not None)
            while limit is None or size < limit:
                piece = await self._next(body)
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
        finally:
            await self.aclose()
        return b"".join(pieces)[:limit]

    def chunks(self) -> AsyncIterator[bytes]:
        return _Chunks(self)

    async def following(self) -> bytes:
        """The next piece of the decoded body, b"" at its end. For `_Chunks`."""
        try:
            piece = await self._next(self._decoded(False))
        except BaseException:
            await self.aclose()
            raise
        if not piece:
            await self.aclose()
        return piece

    def _decoded(self, bounded: bool) -> AsyncIterator[bytes] | None:
        """The one iterator over the decoded body, None when nothing has to be decoded."""
        coding = coding_of(self.headers, self._origin)
        if coding is None:
            return None
        if self._slices is None:
            self._slices = AsyncSlices(_Pieces(self))
            self._body = self._slices.decoded(coding)
        if bounded:
            self._slices.size = slice_size(coding, self._origin)
        return self._body

    async def _next(self, body: AsyncIterator[bytes] | None) -> bytes:
        try:
            return await (self.piece() if body is None else anext(body, b""))
        except Exception as error:
            found = self._fault(error)
            if found is None:
                raise
            raise found from None

    async def piece(self) -> bytes:
        """The next piece of the raw body, b"" at its end."""
        piece = None if self._deadline.remaining() == 0 else self._ready()
        if piece is None:
            with Alarm(self._origin, self._deadline):
                piece = await self._wait()
        return piece

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                await self._release()
            finally:
                self._done()

    def __del__(self) -> None:
        """An abandoned answer gives its connection up, in its own loop: the garbage collector runs in any thread."""
        if getattr(self, "_closed", True):
            return
        self._closed = True
        with suppress(Exception):
            if self._loop.is_closed():
                self._give_up()
            else:
                self._loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        self._abandon()
        self._done()


class _Chunks:
    """An iterator, not a generator: there is nothing to finalise when it is left behind."""

    def __init__(self, reply: TaskReply) -> None:
        self._reply = reply

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._reply.following()
        if not piece:
            raise StopAsyncIteration
        return piece


class _Pieces(_Chunks):
    """The raw body, for the decoder."""

    async def __anext__(self) -> bytes:
        piece = await self._reply.piece()
        if not piece:
            raise StopAsyncIteration
        return piece
