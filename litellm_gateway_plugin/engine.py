"""The engine: drives one negotiation from a thread or from a coroutine. Decisions are elsewhere; here things wait."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from .admission import Admission, refuse
from .answers import Answer, looks_like_html
from .errors import ConnectFailed, ConnectionBroken, Full, GatewayError, TimedOut, Unreachable, UpstreamFailed
from .exchange import (
    AFTER_FINISH_S,
    Job,
    Report,
    StreamBody,
    adds_slash,
    answer_of,
    is_opaque,
    read_limit,
    redirected,
    request_for,
    wants_stream,
)
from .gate import Gate, Pass
from .memory import Memory
from .negotiation import Attempt, Policy, Probe, Served, Wait, negotiate
from .streams import ErrorEvent
from .version import USER_AGENT
from .wire import AsyncEdge, AsyncReply, Clients, Deadline, SyncEdge, SyncReply, WireRequest

logger = logging.getLogger("litellm_gateway_plugin")

PASSING = (Full, ConnectFailed, UpstreamFailed)
"""What may be over when the same call is sent again; nobody has done its work."""

FIRST_PAUSE_S = 0.5
"""Full jitter before a failed call is sent again: up to this many seconds, twice as many after each further failure."""

FETCH_LIMIT = 8 * 1024 * 1024
"""Bytes of an answer that is not a call's."""

DRAIN_S = 0.2
"""Seconds for the end of a connection's stream after its last event, so that the connection can be kept."""


@dataclass(slots=True)
class Result:
    """What a call got.

    Attributes:
        data: the parsed body, None for a stream and for an opaque reply.
        headers: of the answer, names in lower case.
        report: what the call did.
        stream: the opened stream (`ThreadStream` or `TaskStream`), with its first event already read.
        reply: the opaque reply, its body unread.
    """

    data: Any
    headers: dict[str, str]
    report: Report
    status: int = 200
    stream: Any = None
    reply: Any = None


@dataclass(slots=True)
class _Call:
    """One call in progress: what both drivers keep."""

    job: Job
    deadline: Deadline
    report: Report
    admission: Admission
    opened: Any = None

    def grace(self, grace: float) -> float:
        left = self.deadline.remaining()
        if left == 0:
            raise TimedOut(f"The call to {self.job.ask.base} timed out while it waited for the first answer.")
        unused = max(0.0, grace - self.report.waited_s)
        return unused if left is None else min(unused, left)

    def failed(self, error: GatewayError, policy: Policy) -> None:
        """The negotiation ends in this error, which remembers the one after which it was sent again."""
        error.__cause__ = self.report.failed
        if isinstance(error, Full):
            self.admission.refused(error, policy)

    def result(self, served: Served) -> Result:
        report, answer = self.report, served.answer
        report.api_base = self.job.ask.base.form(served.route.toggled)
        report.auth_style = served.route.style
        report.served_model = served.model
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "gateway_transport=%s gateway_auth_style=%s gateway_base=%s gateway_surface=%s gateway_requests=%d",
                report.transport,
                report.auth_style,
                report.api_base,
                report.surface,
                report.requests,
            )
        report.waited_s += self.admission.waited_s
        self.admission.accepted()
        stream = self.opened if self.job.stream else None
        if stream is not None:
            stream.passed = self.admission.take()
        reply = Held(self.opened, self.admission.take()) if self.job.opaque and self.opened is not None else None
        return Result(answer.data, dict(answer.headers), report, answer.status, stream, reply)


@dataclass(slots=True)
class Engine:
    """Sends jobs.

    Args:
        memory: what was learnt.
        policy: the decisions that hooks can change.
        clients: the edges.
        grace: seconds for which simultaneous first calls wait for the first one's status line.
        clock: monotonic seconds.
        gate: what every request passes, None for no gate.
        longest_wait: seconds that the gate may hold a call at most, None for no bound but its time-out.
        retry_pause: seconds before a failed call is sent again, at least.
    """

    memory: Memory
    policy: Policy
    clients: Clients
    grace: float
    clock: Callable[[], float]
    gate: Gate | None = None
    longest_wait: float | None = None
    retry_pause: float = 0.0

    def send(self, job: Job) -> Result:
        """Serve a job from a thread.

        Raises:
            errors.GatewayError: the subclass that says what went wrong.
        """
        edge = self.clients.threads()
        call = self._begin(job, edge.name)
        for retry in range(job.retries):
            try:
                return self._send(edge, call)
            except PASSING as error:
                pause = self._pause_after(error, call, retry)
            threading.Event().wait(pause)
        return self._send(edge, call)

    async def asend(self, job: Job) -> Result:
        """Serve a job from a coroutine. Raises as `send`."""
        edge = self.clients.tasks()
        call = self._begin(job, edge.name)
        for retry in range(job.retries):
            try:
                return await self._asend(edge, call)
            except PASSING as error:
                pause = self._pause_after(error, call, retry)
            await asyncio.sleep(pause)
        return await self._asend(edge, call)

    def fetch(self, url: str, credential: tuple[str, str] | None, seconds: float) -> tuple[int, Any]:
        """The status and the parsed JSON at a URL, None for what is no JSON; from a thread, past the gate.

        Raises:
            errors.Unreachable: no answer, or not in time.
        """
        headers = (("Accept", "application/json"), ("User-Agent", USER_AGENT), *((credential,) if credential else ()))
        reply = self.clients.threads().send(WireRequest("GET", url, headers), Deadline(seconds, None))
        body = reply.read(FETCH_LIMIT)
        try:
            return reply.status, json.loads(body) if 200 <= reply.status < 300 else None
        except (ValueError, RecursionError):
            return reply.status, None

    def _send(self, edge: SyncEdge, call: _Call) -> Result:
        flow = negotiate(call.job.ask, self.memory, self.policy)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Wait):
                    self._wait(call, step.probe)
                    step = flow.send(None)
                else:
                    step = flow.send(self._attempt(edge, call, step))
        except StopIteration as stop:
            return call.result(stop.value)
        except GatewayError as error:
            call.failed(error, self.policy)
            raise
        finally:
            flow.close()
            call.admission.leave()

    async def _asend(self, edge: AsyncEdge, call: _Call) -> Result:
        flow = negotiate(call.job.ask, self.memory, self.policy)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Wait):
                    await self._await(call, step.probe)
                    step = flow.send(None)
                else:
                    step = flow.send(await self._aattempt(edge, call, step))
        except StopIteration as stop:
            return call.result(stop.value)
        except GatewayError as error:
            call.failed(error, self.policy)
            raise
        finally:
            flow.close()
            call.admission.leave()

    def _pause_after(self, error: GatewayError, call: _Call, retry: int) -> float:
        """Seconds before a failed call is sent again; the gate is what waits for a full gateway.

        Raises:
            errors.GatewayError: the same error, when trying again is of no use or would take too long.
        """
        pause = max(self.retry_pause, random.uniform(0, FIRST_PAUSE_S * 2**retry))  # noqa: S311  no secret
        if isinstance(error, Full):
            if not error.sent:
                raise error
            pause = 0.0 if self.gate is not None else max(pause, error.retry_after or 0.0)
        left = call.deadline.remaining()
        if left is not None and pause >= left:
            raise error
        call.report.failed = error.with_traceback(None)
        return pause

    def _begin(self, job: Job, transport: str) -> _Call:
        ask, deadline = job.ask, Deadline(job.timeout, job.connect)
        report = Report(surface=ask.surface, requested_model=ask.requested or ask.model, transport=transport)
        admission = Admission(self.gate, ask, deadline, self.longest_wait, job.elsewhere, self.clock)
        return _Call(job, deadline, report, admission)

    def _wait(self, call: _Call, probe: Probe) -> None:
        begun = self.clock()
        # once the grace is over, the first caller's answer is slow and not its refusal: go ahead the same way
        with suppress(concurrent.futures.TimeoutError):
            probe.settled.result(timeout=call.grace(self.grace))
        call.report.waited_s += self.clock() - begun

    async def _await(self, call: _Call, probe: Probe) -> None:
        begun = self.clock()
        loop = asyncio.get_running_loop()
        settled = asyncio.Event()
        probe.settled.add_done_callback(lambda _: _wake(loop, settled))
        with suppress(asyncio.TimeoutError):  # as above
            await asyncio.wait_for(settled.wait(), call.grace(self.grace))
        call.report.waited_s += self.clock() - begun

    def _attempt(self, edge: SyncEdge, call: _Call, attempt: Attempt) -> Answer:
        call.admission.enter(attempt.model)
        request = request_for(call.job, attempt)
        call.report.requests += 1
        reply = edge.send(request, call.deadline)
        again = redirected(request, reply.status, reply.headers)
        if again is not None:
            reply.close()
            call.report.requests += 1
            reply = edge.send(again, call.deadline)
        if not looks_like_html(reply.headers, ""):  # a web page promises nothing to the others, whatever its status
            attempt.head(reply.status)
        answer = self._read(call, attempt, reply)
        return replace(answer, slashed=True) if again and adds_slash(request.url, again.url) else answer

    async def _aattempt(self, edge: AsyncEdge, call: _Call, attempt: Attempt) -> Answer:
        await call.admission.aenter(attempt.model)
        request = request_for(call.job, attempt)
        call.report.requests += 1
        reply = await edge.send(request, call.deadline)
        again = redirected(request, reply.status, reply.headers)
        if again is not None:
            await reply.aclose()
            call.report.requests += 1
            reply = await edge.send(again, call.deadline)
        if not looks_like_html(reply.headers, ""):  # a web page promises nothing to the others, whatever its status
            attempt.head(reply.status)
        answer = await self._aread(call, attempt, reply)
        return replace(answer, slashed=True) if again and adds_slash(request.url, again.url) else answer

    def _read(self, call: _Call, attempt: Attempt, reply: SyncReply) -> Answer:
        job = call.job
        if is_opaque(job, attempt, reply.status, reply.headers):
            call.opened = reply
            return Answer(reply.status, reply.headers)
        if not wants_stream(job, attempt, reply.status, reply.headers):
            body = reply.read(read_limit(attempt.surface, reply.status, reply.headers))
            return answer_of(attempt.surface, reply.status, reply.headers, body)
        base = job.ask.base.form(attempt.route.toggled)
        stream = ThreadStream(reply, StreamBody(job, self.policy, base, reply.headers), call.deadline, base)
        answer = stream.open()
        call.opened = stream
        return answer

    async def _aread(self, call: _Call, attempt: Attempt, reply: AsyncReply) -> Answer:
        job = call.job
        if is_opaque(job, attempt, reply.status, reply.headers):
            call.opened = reply
            return Answer(reply.status, reply.headers)
        if not wants_stream(job, attempt, reply.status, reply.headers):
            body = await reply.read(read_limit(attempt.surface, reply.status, reply.headers))
            return answer_of(attempt.surface, reply.status, reply.headers, body)
        base = job.ask.base.form(attempt.route.toggled)
        stream = TaskStream(reply, StreamBody(job, self.policy, base, reply.headers), call.deadline, base)
        answer = await stream.open()
        call.opened = stream
        return answer


class Held:
    """An opaque reply with its pass at the gate, which is given back when the reply is closed."""

    def __init__(self, reply: Any, passed: Pass | None) -> None:
        self.status: int = reply.status
        self.headers: Mapping[str, str] = reply.headers
        self.chunks = reply.chunks
        self._reply = reply
        self._passed = passed

    def close(self) -> None:
        """Close a thread's reply."""
        self._leave()
        self._reply.close()

    async def aclose(self) -> None:
        """Close a coroutine's reply."""
        self._leave()
        await self._reply.aclose()

    def _leave(self) -> None:
        passed, self._passed = self._passed, None
        if passed is not None:
            passed.leave()


class _Stream:
    """What both kinds of stream know: the chunks that are ready, and what the last bytes mean."""

    def __init__(self, reply: Any, body: StreamBody, deadline: Deadline, base: str) -> None:
        self.headers = reply.headers
        self.status = reply.status
        self._reply = reply
        self._pull: Any = reply.chunks()
        self._body = body
        self._policy = body.policy
        self._deadline = deadline
        self._base = base
        self._ready: deque[dict[str, Any]] = deque()
        self._failure: Exception | None = None
        self._ended = False
        self.passed: Pass | None = None

    def _took(self, data: bytes | None) -> None:
        """Bytes arrived, or None for their end. What was read before a broken event is handed on before its error."""
        before = self._body.events
        try:
            if data is None:
                self._take_end()
            else:
                self._ready.extend(self._body.feed(data))
                if self._body.over:
                    self._ended = True
                    self._ready.extend(self._body.end())
        except (ErrorEvent, GatewayError) as error:
            self._ended = True
            self._failure = error
        if self._body.events != before:
            self._restart()

    def _take_end(self) -> None:
        self._ended = True
        if self._body.is_events:
            self._ready.extend(self._body.finish())

    def _restart(self) -> None:
        """Each event gives the next one its full time; after the last finish only usage can follow, which is soon."""
        if self._body.finished:
            self._deadline.seconds = min(self._deadline.seconds or AFTER_FINISH_S, AFTER_FINISH_S)
        self._deadline.restart()

    def _broke(self, error: Unreachable) -> None:
        """The connection broke; when every choice is finished that takes nothing away."""
        if self._body.finished:
            self._took(None)
        else:
            self._ended = True
            self._failure = error

    def _opened(self) -> Answer | None:
        """The answer to report when the first event, or the end, is here; None to go on reading."""
        if self._ready or (self._body.is_events and self._body.events and not self._ended):
            return Answer(self.status, self.headers)
        if not self._ended:
            return None
        if isinstance(self._failure, ErrorEvent):
            return self._body.error_answer(self._failure)
        if self._failure is not None:
            raise self._failure
        answer, chunks = self._body.whole(self.status)
        self._ready.extend(chunks)
        return answer

    def _error(self) -> Exception | None:
        """What to raise once the ready chunks are handed on."""
        if not isinstance(self._failure, ErrorEvent):
            return self._failure
        error = self._body.error(self._failure, self._base)
        if isinstance(error, Full):
            refuse(self.passed, error, self._policy)
        return error

    def _leave(self) -> None:
        """The request is over."""
        passed, self.passed = self.passed, None
        if passed is not None:
            passed.leave()

    def _begin_drain(self) -> None:
        self._deadline.seconds = DRAIN_S
        self._deadline.restart()


class ThreadStream(_Stream):
    """A stream of completion chunks for threads: an iterator of dictionaries, with `close`."""

    _reply: SyncReply

    def open(self) -> Answer:
        """Read until the first event: a stream that begins with an error, or is none, is an answer like any other."""
        try:
            while (answer := self._opened()) is None:
                self._more()
        except BaseException:  # whatever ends it, the reply must be closed here and not by the collector
            self.close()
            raise
        return answer

    def __iter__(self) -> ThreadStream:
        return self

    def __next__(self) -> dict[str, Any]:
        try:
            while not self._ready:
                if self._ended:
                    self._end()
                self._more()
        except BaseException:  # as in `open`
            self.close()
            raise
        return self._ready.popleft()

    def close(self) -> None:
        """Give the connection up."""
        self._ended = True
        self._leave()
        self._reply.close()

    def _more(self) -> None:
        try:
            data = next(self._pull, None)
        except (ConnectionBroken, TimedOut) as error:
            self._broke(error)
        else:
            self._took(data)

    def _end(self) -> None:
        error = self._error()
        if error is not None:
            raise error
        self._begin_drain()
        # every event has been read; only the connection's further use is at stake
        with suppress(ConnectionBroken, TimedOut):
            next(self._pull, None)
        raise StopIteration


class TaskStream(_Stream):
    """The same for coroutines: an asynchronous iterator of dictionaries, with `aclose`."""

    _reply: AsyncReply

    async def open(self) -> Answer:
        """As `ThreadStream.open`."""
        try:
            while (answer := self._opened()) is None:
                await self._more()
        except BaseException:  # as in `ThreadStream.open`
            await self.aclose()
            raise
        return answer

    def __aiter__(self) -> TaskStream:
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            while not self._ready:
                if self._ended:
                    await self._end()
                await self._more()
        except BaseException:  # as in `ThreadStream.open`
            await self.aclose()
            raise
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Give the connection up."""
        self._ended = True
        self._leave()
        await self._reply.aclose()

    async def _more(self) -> None:
        try:
            data = await _next(self._pull)
        except (ConnectionBroken, TimedOut) as error:
            self._broke(error)
        else:
            self._took(data)

    async def _end(self) -> None:
        error = self._error()
        if error is not None:
            raise error
        self._begin_drain()
        with suppress(ConnectionBroken, TimedOut):  # as in `ThreadStream._end`
            await _next(self._pull)
        raise StopAsyncIteration


async def _next(iterator: Any) -> bytes | None:
    try:
        data: bytes = await iterator.__anext__()
    except StopAsyncIteration:
        return None
    return data


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # that loop is closed, and nobody in it waits any more
        loop.call_soon_threadsafe(event.set)
