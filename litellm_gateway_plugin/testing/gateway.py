"""A gateway on the loopback interface that behaves as its manners say, and tells what it saw.

It runs in a thread of its own with its own event loop, so that it serves sync and async tests alike. Everything public
may be called from any thread. Decisions are made elsewhere, by pure functions; here is what needs a socket or a lock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from .answers import Answer, json_answer
from .credentials import find_credentials
from .delivery import BODILESS, Cut, Delivery, cut, deliver, end_of, frame, head_of, spoiled
from .faults import Fault, look_up_fault
from .forward import Forwarder, passed_on
from .http1 import Connection, Gone
from .judge import Case, Judgement, judge
from .manners import Manners
from .record import Record
from .request import Request, locate
from .script import Script
from .seen import Seen, observe
from .serve import serve
from .shapes import FULL, RETRY_AFTER, look_up

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
    from types import TracebackType

    import aiohttp
    from typing_extensions import Self

BACKLOG = 4096
START_TIMEOUT_SECONDS = 30.0
Result = TypeVar("Result")
NO_FAULT = Fault()


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done about a request: an answer, or the work; and what goes wrong with it."""

    judgement: Judgement | None
    fault: Fault = NO_FAULT
    script: Script | None = None


class PickyGateway(Record):
    """An OpenAI-compatible gateway with settable manners.

    Args:
        manners: how it behaves; `gateway.manners = …` changes them for the next request.
        host: where it listens.
        port: 0 for any free one.
        ssl: to speak TLS.
        remember: how many requests it keeps in `seen`.
        clock: monotonic seconds, for the rate limit.

    Attributes:
        errors: what the test's own reply function raised (such a request is answered with a 500), and what should
            not have gone wrong in the gateway itself.
    """

    def __init__(
        self,
        manners: Manners | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: tls.SSLContext | None = None,
        remember: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(remember)
        self.errors: list[Exception] = []
        self._manners = manners or Manners()
        self._address = (host, port)
        self._ssl = ssl
        self._clock = clock
        self._scripts: list[Script] = []
        self._standing = self._script(NO_FAULT, "manners", None, ())
        self._counted = 0
        self._connected = 0
        self._working = 0
        self._peak = 0
        self._accepted_at: deque[float] = deque()
        self._open: set[Connection] = set()
        self._forwarder = Forwarder()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        if self._thread is not None:
            return self
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="picky-gateway", daemon=True)
        self._thread.start()
        try:
            ready.result(START_TIMEOUT_SECONDS)
        except OSError:
            self._thread.join()
            self._thread = None
            raise
        return self

    def stop(self) -> None:
        """Break every connection and end the thread."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()
        self._loop = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, ready: concurrent.futures.Future[None]) -> None:
        loop = self._loop = asyncio.new_event_loop()
        loop.set_exception_handler(self._keep_error)
        try:
            loop.run_until_complete(self._listen())
        except OSError as error:
            loop.close()
            ready.set_exception(error)
            return
        ready.set_result(None)
        loop.run_forever()
        loop.run_until_complete(self._close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _keep_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or RuntimeError(context["message"]))

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        host, port = self._address
        self._server = await loop.create_server(
            lambda: Connection(self._begin), host, port, ssl=self._ssl, backlog=BACKLOG
        )
        self._address = self._server.sockets[0].getsockname()[:2]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [connection.task for connection in self._open]
        for connection in self._open:
            connection.transport.abort()
            connection.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._forwarder.close()
        await self._server.wait_closed()

    def _call(self, function: Callable[[], None]) -> None:
        """Run a function on the event loop; at once when there is none."""
        loop = self._loop
        if loop is None:
            function()
            return
        with suppress(RuntimeError):  # the loop was closed a moment ago, and nothing waits on it any more
            loop.call_soon_threadsafe(function)

    # Addresses and manners --------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._address[1]

    @property
    def url(self) -> str:
        """Its origin, without a slash at the end."""
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        return f"{'https' if self._ssl else 'http'}://{host}:{self.port}"

    def base(self, prefix: str | None = None) -> str:
        """The base under a prefix; without one, the first under which chat lives."""
        if prefix is None:
            prefix = next(iter(self._manners.bases_for("chat")), "")
        return self.url + prefix

    @property
    def manners(self) -> Manners:
        """How it behaves; settable at any time, for the next request."""
        return self._manners

    @manners.setter
    def manners(self, manners: Manners) -> None:
        self._manners = manners

    def change(self, **knobs: Any) -> None:
        """Change single knobs of the manners."""
        with self._changed:
            self._manners = replace(self._manners, **knobs)

    # Scripts ----------------------------------------------------------------------------------------------------------

    def full(
        self,
        times: int | None = None,
        *,
        shape: str | Answer | None = None,
        retry_after: str | float | None = None,
        spelling: str = "seconds",
        headers: Mapping[str, str] | None = None,
        surfaces: Sequence[str] = (),
    ) -> Script:
        """Be full for the next accepted requests.

        Args:
            times: how many; None until released.
            shape: a name in `FULL` or an answer; None for that of the manners.
            retry_after: a text is the `retry-after` header as it is; a number of seconds is spelt out.
            spelling: how it is spelt out, a name in `RETRY_AFTER`.
            headers: more headers.
            surfaces: only there; empty for all but the listing.
        """
        answer = look_up(FULL, self._manners.full if shape is None else shape)
        if isinstance(retry_after, str):
            answer = answer.with_headers({"retry-after": retry_after})
        elif retry_after is not None:
            answer = answer.with_headers(RETRY_AFTER[spelling](retry_after, time.time()))
        return self._add(self._script(answer.with_headers(headers or {}), "full", times, tuple(surfaces)))

    def fault(self, fault: str | Fault, times: int | None = 1, *, surfaces: Sequence[str] = (), **knobs: Any) -> Script:
        """Let something go wrong with the next requests.

        Args:
            fault: a name in `FAULTS`, or a `Fault`.
            times: how many; None until released.
            surfaces: only there; empty for all but the listing.
            knobs: changes to the fault, such as `when="any"` or `after=3`.
        """
        name = fault if isinstance(fault, str) else f"{fault.cut} {fault.how}"
        found = look_up_fault(fault)
        return self._add(self._script(replace(found, **knobs) if knobs else found, name, times, tuple(surfaces)))

    def hold(self, times: int | None = None, *, surfaces: Sequence[str] = ()) -> Script:
        """Accept the next requests and answer them only when this is released."""
        return self.fault("stall-before-head", times, surfaces=surfaces)

    def release(self) -> None:
        """Release every script, and whatever is held by a fault in the manners."""
        with self._changed:
            scripts, self._scripts = [*self._scripts, self._standing], []
            self._standing = self._script(NO_FAULT, "manners", None, ())
        for script in scripts:
            script.release()

    def _script(self, what: Fault | Answer, name: str, times: int | None, surfaces: tuple[str, ...]) -> Script:
        return Script(what, name, times, surfaces, self._call, self._changed)

    def _add(self, script: Script) -> Script:
        with self._changed:
            self._scripts.append(script)
        return script

    def _take(self, surface: str, fits: Callable[[Script], bool]) -> Script | None:
        """The first script that is for this request; it counts as used."""
        if not self._scripts:
            return None
        with self._changed:
            self._scripts = [script for script in self._scripts if not script.spent]
            for script in self._scripts:
                if fits(script) and (surface in script.surfaces if script.surfaces else surface != "models"):
                    script.used += 1
                    return script
        return None

    # Numbers ----------------------------------------------------------------------------------------------------------

    @property
    def working(self) -> int:
        """How many requests of work are in progress now."""
        return self._working

    @property
    def peak(self) -> int:
        """The most requests of work that were in progress at the same time."""
        return self._peak

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    def clear(self) -> None:
        """Forget what was seen, and the peak; the numbers go on."""
        super().clear()
        self._peak = self._working

    # A connection -----------------------------------------------------------------------------------------------------

    def _begin(self, connection: Connection) -> Coroutine[Any, Any, None]:
        self._connected += 1
        connection.number = self._connected
        self._open.add(connection)
        return self._converse(connection)

    async def _converse(self, connection: Connection) -> None:
        try:
            while await self._exchange(connection):
                pass
        except Gone:
            pass
        finally:
            self._open.discard(connection)
            connection.close()
            self._tell()

    async def _exchange(self, connection: Connection) -> bool:
        """One request and its answer; whether another may follow on this connection."""
        request = await connection.read_head()
        unread = self._take(locate(request.path).surface, _before_body_read)
        if unread is not None:
            await self._leave_unread(connection, unread)
        request.body = await connection.read_body(request)
        return await self._answer(connection, request)

    async def _leave_unread(self, connection: Connection, script: Script) -> None:
        connection.transport.pause_reading()
        await self._stall(connection, script)
        connection.transport.resume_reading()

    async def _answer(self, connection: Connection, request: Request) -> bool:
        manners, place = self._manners, locate(request.path)
        credentials = find_credentials(request.headers, manners.key, manners.credential_headers)
        case = Case(request, place, credentials, manners)
        self._counted += 1
        seen = observe(self._counted, request, place, credentials, manners.key)
        plan = self._plan(case, seen)
        with self._in_progress(seen):
            if plan.judgement is None and manners.upstream is not None and plan.fault.answer is None:
                self._record(seen)
                return await self._forward(connection, case, seen, plan)
            delivery = self._make(case, seen, plan)
            seen.status = 0 if plan.fault.is_silent else delivery.status
            self._record(seen)
            if manners.delay and seen.worked and place.surface != "models":
                await asyncio.sleep(manners.delay)
            return await self._send(connection, case, seen, plan, delivery)

    def _make(self, case: Case, seen: Seen, plan: Plan) -> Delivery:
        """The delivery that a plan comes to."""
        answer = plan.fault.answer
        if answer is not None:
            return deliver(answer() if callable(answer) else answer)
        if plan.judgement is not None:
            return deliver(plan.judgement.answer, case.request.streams)
        try:
            return serve(case.request, case.place, case.manners, seen.number, plan.fault.swap)
        except Exception as error:  # noqa: BLE001 - a reply function is the test's own code and can raise anything
            self.errors.append(error)
            seen.verdict, seen.fault = "fault", "mistake"
            return deliver(json_answer(500, {"error": f"the reply function raised {error!r}"}))

    # Deciding ---------------------------------------------------------------------------------------------------------

    def _plan(self, case: Case, seen: Seen) -> Plan:
        judgement = judge(case) or self._fullness(case, seen)
        seen.worked = judgement is None
        seen.verdict = judgement.verdict if judgement else "served"
        script = self._take(case.place.surface, _befalls_accepted if seen.worked else _befalls_any)
        if script is None and seen.worked and case.manners.fault is not None and case.place.surface != "models":
            fault, script = look_up_fault(case.manners.fault), self._standing
        elif script is not None and isinstance(script.what, Fault):
            fault = script.what
        else:
            return Plan(judgement)
        assert script is not None
        seen.verdict = "fault"
        seen.fault = script.name if script is not self._standing else str(case.manners.fault)
        return Plan(judgement, fault, script)

    def _fullness(self, case: Case, seen: Seen) -> Judgement | None:
        """Is there room for this request? Only those that are accepted are asked."""
        manners, surface = case.manners, case.place.surface
        script = self._take(surface, _is_full)
        if script is not None:
            assert isinstance(script.what, Answer)
            return Judgement("full", script.what)
        if surface == "models":
            return None
        crowded = manners.room is not None and self._working >= manners.room
        if crowded or seen.style in manners.always_full or self._too_fast(manners.qps):
            return Judgement("full", look_up(FULL, manners.full).with_headers(manners.full_headers))
        return None

    def _too_fast(self, qps: float | None) -> bool:
        if qps is None:
            return False
        now = self._clock()
        while self._accepted_at and self._accepted_at[0] <= now - 1:
            self._accepted_at.popleft()
        if len(self._accepted_at) >= qps:
            return True
        self._accepted_at.append(now)
        return False

    @contextmanager
    def _in_progress(self, seen: Seen) -> Iterator[None]:
        counts = seen.worked and seen.surface != "models"
        self._working += counts
        self._peak = max(self._peak, self._working)
        try:
            yield
        except Gone:
            seen.ended = "client left"
            raise
        finally:
            self._working -= counts
            self._tell()

    # Sending ----------------------------------------------------------------------------------------------------------

    async def _send(self, connection: Connection, case: Case, seen: Seen, plan: Plan, delivery: Delivery) -> bool:
        delivery = spoiled(delivery, plan.fault)
        closing = _wants_close(case.request) or delivery.after == "close"
        if case.request.http10 and delivery.framing == "chunked":
            delivery = replace(delivery, framing="close")
        head = head_of(delivery, closing)
        if case.request.method == "HEAD" or delivery.status in BODILESS:
            delivery = replace(delivery, pieces=(), framing="length")
        if plan.script is not None and plan.fault.how != "nothing":
            if not await self._send_badly(connection, case, seen, plan, cut(delivery, head, plan.fault)):
                return False
        elif len(delivery.pieces) < 2:
            body = b"".join(frame(piece, delivery.framing) for piece in delivery.pieces)
            await connection.write(head + body + end_of(delivery.framing))
            seen.sent = len(delivery.pieces)
        else:
            await connection.write(head)
            await self._write(connection, case, seen, [frame(piece, delivery.framing) for piece in delivery.pieces])
            await connection.write(end_of(delivery.framing))
        seen.ended = "complete"
        if delivery.after == "reset":
            connection.reset()
        return not closing and delivery.after == "keep-alive"

    async def _write(
        self, connection: Connection, case: Case, seen: Seen, pieces: Sequence[bytes], heads: int = 0
    ) -> None:
        """Write pieces one by one; the first `heads` are no part of the body."""
        for index, piece in enumerate(pieces):
            await connection.write(piece)
            seen.sent += index >= heads
            await asyncio.sleep(case.manners.event_delay)  # even 0 lets others run, and the piece leave

    async def _send_badly(self, connection: Connection, case: Case, seen: Seen, plan: Plan, wire: Cut) -> bool:
        """Send what comes before the cut, let it happen, send the rest; whether the answer was completed."""
        await self._write(connection, case, seen, wire.before, wire.heads)
        how = plan.fault.how
        assert plan.script is not None
        if how in ("reset", "close", "end"):
            seen.ended = "cut"
            if how == "reset":
                connection.reset()
            elif how == "end":
                await connection.write(wire.end)
            return False
        if how == "stall":
            await self._stall(connection, plan.script)
        elif how == "drip":
            await self._drip(connection, plan.script, wire.drip, plan.fault.interval)
        await self._write(connection, case, seen, wire.rest, max(0, wire.heads - len(wire.before)))
        await connection.write(wire.end)
        return True

    @contextmanager
    def _held(self, script: Script) -> Iterator[asyncio.Future[None]]:
        script.hold(+1)
        try:
            yield script.gate()
        finally:
            script.hold(-1)

    async def _stall(self, connection: Connection, script: Script) -> None:
        with self._held(script) as released:
            await connection.wait_gone(released)

    async def _drip(self, connection: Connection, script: Script, drop: bytes, interval: float) -> None:
        with self._held(script) as released:
            while not released.done():
                await connection.write(drop)
                await asyncio.wait((released, connection.gone), timeout=interval, return_when="FIRST_COMPLETED")

    # In front of an upstream ------------------------------------------------------------------------------------------

    async def _forward(self, connection: Connection, case: Case, seen: Seen, plan: Plan) -> bool:
        import aiohttp

        secret = frozenset(seen.credential_headers)
        try:
            opening = self._forwarder.open(case.request, case.place, case.manners, secret)
            answer = await _unless_gone(connection, opening)
        except aiohttp.ClientError as error:
            seen.verdict, seen.status = "fault", 502
            delivery = deliver(json_answer(502, {"error": f"no answer from the upstream: {type(error).__name__}"}))
            return await self._send(connection, case, seen, Plan(None), delivery)
        try:
            seen.status = answer.status
            return await self._pass_on(connection, case, seen, plan, answer)
        except aiohttp.ClientError:  # the upstream broke off, so the client sees the same
            seen.ended = "cut"
            connection.reset()
            return False
        finally:
            answer.close()

    async def _pass_on(
        self, connection: Connection, case: Case, seen: Seen, plan: Plan, answer: aiohttp.ClientResponse
    ) -> bool:
        """Send the upstream's answer on, piece by piece as it comes."""
        delivery = Delivery(answer.status, passed_on(answer), (), "chunked")
        if plan.script is not None or case.request.method == "HEAD" or answer.status in BODILESS or case.request.http10:
            pieces = []
            while piece := await _unless_gone(connection, answer.content.readany()):
                pieces.append(piece)
            return await self._send(connection, case, seen, plan, replace(delivery, pieces=pieces))
        closing = _wants_close(case.request)
        await connection.write(head_of(delivery, closing))
        while piece := await _unless_gone(connection, answer.content.readany()):
            await connection.write(frame(piece, "chunked"))
            seen.sent += 1
        await connection.write(end_of("chunked"))
        seen.ended = "complete"
        return not closing


async def _unless_gone(connection: Connection, work: Awaitable[Result]) -> Result:
    """The result of some work, which is abandoned when the client leaves."""
    task = asyncio.ensure_future(work)
    try:
        await connection.wait_gone(task)
    except BaseException:
        task.cancel()
        with suppress(BaseException):
            await task
        raise
    return task.result()


def _wants_close(request: Request) -> bool:
    return request.http10 or (request.header("connection") or "").lower() == "close"


def _before_body_read(script: Script) -> bool:
    return isinstance(script.what, Fault) and script.what.cut == "before-body-read"


def _befalls_any(script: Script) -> bool:
    return isinstance(script.what, Fault) and script.what.when == "any" and not _before_body_read(script)


def _befalls_accepted(script: Script) -> bool:
    return isinstance(script.what, Fault) and not _before_body_read(script)


def _is_full(script: Script) -> bool:
    return isinstance(script.what, Answer)
