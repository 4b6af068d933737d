"""`first_success`: one call, several candidates, the first answer; or one error that names every attempt.

`_Race` holds the rules: who starts when, and what it all comes to. The two drivers only wait: one in threads, one in
tasks.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import litellm
from litellm import exceptions
from litellm.secret_managers.main import get_secret

from .admission import another_is_left
from .answers import shorten
from .attributions import NAME, REASON_LIMIT, Attempts, attribution, base_named, put_on
from .capacity import retry_after
from .credentials import secrets_in
from .doors import PROVIDER
from .errors import (
    ConnectFailed,
    Forbidden,
    Full,
    GatewayError,
    InvalidInput,
    KeyRefused,
    ModelUnknown,
    RequestRejected,
    TimedOut,
)
from .installation import install
from .litellm_errors import BAD_ANSWER, to_litellm

Candidate = str | Mapping[str, Any]

HIDDEN = "[key]"
FROM_ENVIRONMENT = "os.environ/"
"""How a Router's and the proxy's entries name a secret."""

CONCERNS_ALL = (
    litellm.BudgetExceededError,
    exceptions.RejectedRequestError,
    exceptions.GuardrailRaisedException,
    exceptions.BlockedPiiEntityError,
)
"""What litellm says of the request before any provider sees it: no other candidate would hear anything else."""

ALIKE: tuple[tuple[type[Exception], Callable[[str, float | None], GatewayError]], ...] = (
    (litellm.RateLimitError, lambda words, seconds: Full(words, status=429, retry_after=seconds)),
    (litellm.Timeout, lambda words, _: TimedOut(words)),
    (litellm.AuthenticationError, lambda words, _: KeyRefused(words, status=401)),
    (litellm.PermissionDeniedError, lambda words, _: Forbidden(words, status=403)),
    (litellm.NotFoundError, lambda words, _: ModelUnknown(words, status=404)),
    (litellm.BadRequestError, lambda words, _: RequestRejected(words, status=400)),
    (litellm.APIConnectionError, lambda words, _: ConnectFailed(words)),
)
"""What it comes to when all attempts failed in the same way."""


def first_success(
    candidates: Sequence[Candidate],
    messages: Sequence[Any],
    *,
    hedge_after: float | None = None,
    total_timeout_s: float | None = None,
    **parameters: Any,
) -> Any:
    """The first candidate's answer; the next one's when it fails.

    Every failure goes on to the next candidate, a 400 too, since it may be that model's own limit. What litellm says of
    the request itself stops at once: a budget that is spent, a guardrail. Each candidate is asked once, unless the call
    names `num_retries` or `max_retries`; the sync litellm also heeds a `litellm.num_retries` of the whole process. A
    candidate whose gateway is full now is passed over; only the last one is waited for.

    Args:
        candidates: in order of preference. Each is a model id, a mapping of litellm's parameters with a `model`, or an
            entry of a Router's `model_list`.
        messages: of the chat.
        hedge_after: seconds after which the next candidate is asked too, while those before it go on; the first answer
            wins. A loser's stream is closed. A loser that has not answered yet cannot be stopped from here: it runs out
            in a daemon thread, and its answer is thrown away. `afirst_success` cuts it off.
        total_timeout_s: seconds for all of it, until an answer (or a stream's first chunk) is there. `timeout` among
            the parameters is that of one attempt.
        **parameters: litellm's, for every candidate; a candidate's own go first.

    Returns:
        What `litellm.completion` returns. With `stream=True` an iterator of chunks whose first one has come; it has the
        attributes of litellm's. `_hidden_params["gateway"]["attempts"]` lists the attempts that failed before, each
        with `api_base`, `model`, `error` (the name of its class) and `reason`.

    Raises:
        litellm.RateLimitError: all attempts met a full gateway; `retry_after` is the shortest time that was named.
        litellm.Timeout: all timed out, or `total_timeout_s` has passed.
        litellm.AuthenticationError, litellm.PermissionDeniedError, litellm.NotFoundError, litellm.BadRequestError,
            litellm.APIConnectionError: all failed in this way.
        litellm.APIError: they failed in different ways. `status_code` is the one that all have, else 502.
            All of these name every attempt, and list them in `gateway_attempts`.
        litellm.BadRequestError: no candidates, a candidate without a model, no messages. Nothing was sent.
    """
    race = _race(candidates, messages, parameters, hedge_after, total_timeout_s)
    tray, running = _Tray(), dict[int, _Candidate]()
    launch = _here if hedge_after is None and total_timeout_s is None else _in_thread
    try:
        while True:
            for candidate in race.starters(running):
                launch(tray, candidate, race.arguments(candidate, capped=True))
            found = tray.get(race.patience())
            if found is None:
                race.check(running)
                continue
            candidate = running.pop(found.candidate.number)
            if found.error is None:
                return _credited(found.response, race.failed)
            race.fail(candidate, found.error)
            race.check(running)
    finally:
        tray.close()


async def afirst_success(
    candidates: Sequence[Candidate],
    messages: Sequence[Any],
    *,
    hedge_after: float | None = None,
    total_timeout_s: float | None = None,
    **parameters: Any,
) -> Any:
    """The same from a coroutine. Losers are cancelled, and their connections closed, before this returns.

    Args and errors as `first_success`. Cancelling this cancels the attempts.
    """
    race = _race(candidates, messages, parameters, hedge_after, total_timeout_s)
    running, tasks = dict[int, _Candidate](), dict[asyncio.Task[Any], _Candidate]()
    try:
        while True:
            for candidate in race.starters(running):
                tasks[asyncio.create_task(_ask(candidate, race.arguments(candidate)))] = candidate
            await asyncio.wait(tasks, timeout=race.patience(), return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in tasks if task.done()]:
                error = _error_of(task)
                if error is None:
                    response = task.result()
                    del tasks[task]
                    return _credited(response, race.failed)
                candidate = tasks.pop(task)
                del running[candidate.number]
                race.fail(candidate, error)
            race.check(running)
    finally:
        await _cut_off(tasks)


@dataclass(frozen=True, slots=True)
class _Candidate:
    number: int
    arguments: dict[str, Any] = field(repr=False)
    is_last: bool

    @property
    def model(self) -> str:
        return str(self.arguments["model"])

    @property
    def base(self) -> str:
        """Without user, password and query; "" when it is not known from here."""
        return base_named(self.arguments.get("api_base") or self.arguments.get("base_url"))

    @property
    def name(self) -> str:
        return f"{self.model} at {self.base}" if self.base else self.model

    def secrets(self) -> Iterator[str]:
        """What no message may hold."""
        for name in ("api_base", "base_url", "api_key"):
            given = self.arguments.get(name)
            if isinstance(given, str) and given.strip().rstrip("/") not in ("", self.base):
                yield given.strip()
        for name in ("extra_headers", "headers"):
            given = self.arguments.get(name)
            if isinstance(given, Mapping):
                yield from secrets_in({str(key): str(value) for key, value in given.items()})


class _Race:
    """Who is asked when, and what it comes to.

    Args:
        candidates: at least one.
        hedge_after, total_timeout_s: seconds.
        clock: monotonic seconds.

    Attributes:
        failed: the attempts that have failed so far.
    """

    def __init__(
        self,
        candidates: Sequence[_Candidate],
        hedge_after: float | None,
        total_timeout_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failed: Attempts = []
        self._errors: list[Exception] = []
        self._secrets = sorted({secret for each in candidates for secret in each.secrets()}, key=len, reverse=True)
        self._waiting = deque(candidates)
        self._hedge_after = hedge_after
        self._seconds = total_timeout_s
        self._clock = clock
        self._next_at = clock()
        self._over_at = None if total_timeout_s is None else clock() + total_timeout_s

    def starters(self, running: dict[int, _Candidate]) -> Iterator[_Candidate]:
        """The candidates to start now; they are running from then on."""
        while self._waiting and (not running or self._is_next_due()):
            candidate = self._waiting.popleft()
            running[candidate.number] = candidate
            self._next_at = self._clock() + (self._hedge_after or 0.0)
            yield candidate

    def arguments(self, candidate: _Candidate, *, capped: bool = False) -> dict[str, Any]:
        """For litellm, which changes what it is given.

        Args:
            candidate: whose.
            capped: whether the attempt is to end by itself when the whole time is over. Not a stream, whose time-out
                is that of each chunk.
        """
        given = {name: copy.copy(value) if _is_plain(value) else value for name, value in candidate.arguments.items()}
        left, timeout = self._left(), given.get("timeout") or given.get("request_timeout")
        if capped and left is not None and not given.get("stream") and isinstance(timeout, (int, float, type(None))):
            given["timeout"] = left if timeout is None else min(timeout, left)
        return given

    def patience(self) -> float | None:
        """Seconds for which nothing is to do but wait for the attempts; None for no end."""
        hedged = bool(self._waiting) and self._hedge_after is not None
        moments = [self._next_at if hedged else None, self._over_at]
        return min((max(0.0, at - self._clock()) for at in moments if at is not None), default=None)

    def fail(self, candidate: _Candidate, error: BaseException) -> None:
        """Note a failure. Raises the same error when no other candidate would fare better."""
        if not isinstance(error, Exception) or isinstance(error, CONCERNS_ALL):
            raise error
        self._errors.append(error)
        self._note(candidate.model, candidate.base or _base_in(error), type(error).__name__, self._words_of(error))
        self._next_at = self._clock()

    def check(self, running: Mapping[int, _Candidate]) -> None:
        """Raises the one error of all attempts when there is nothing to wait for any more."""
        if self._left() == 0:
            raise self._out_of_time(running.values())
        if not running and not self._waiting:
            raise self._all_failed()

    def _is_next_due(self) -> bool:
        return self._hedge_after is not None and self._clock() >= self._next_at

    def _left(self) -> float | None:
        return None if self._over_at is None else max(0.0, self._over_at - self._clock())

    def _note(self, model: str, base: str, error: str, reason: str) -> None:
        self.failed.append({"api_base": base, "model": model, "error": error, "reason": reason})

    def _words_of(self, error: Exception) -> str:
        """What an error says: in one line, without the names of its classes, without a credential."""
        words = " ".join(str(getattr(error, "message", "") or error).split())
        for kind in type(error).__mro__:
            words = words.removeprefix(f"litellm.{kind.__name__}: ").removeprefix(f"{kind.__name__}: ")
        for secret in self._secrets:
            words = words.replace(secret, HIDDEN)
        return shorten(words, REASON_LIMIT)

    def _out_of_time(self, running: Iterable[_Candidate]) -> Exception:
        for candidate in running:
            self._note(candidate.model, candidate.base, litellm.Timeout.__name__, "no answer yet")
        untried = ", ".join(each.name for each in self._waiting)
        rest = f"\nNot tried: {untried}." if untried else ""
        return self._made(TimedOut(f"total_timeout_s ({self._seconds:g} s) has passed:\n{self._lines()}{rest}"))

    def _all_failed(self) -> Exception:
        words = f"No candidate has answered:\n{self._lines()}"
        for kind, make in ALIKE:
            if all(isinstance(error, kind) for error in self._errors):
                return self._made(make(words, min(filter(None, map(_seconds_in, self._errors)), default=None)))
        statuses = {getattr(error, "status_code", None) for error in self._errors}
        status = statuses.pop() if len(statuses) == 1 else None
        shared = status if isinstance(status, int) else BAD_ANSWER
        return self._listed(litellm.APIError(shared, words, PROVIDER, self.failed[0]["model"]))

    def _lines(self) -> str:
        return "\n".join(
            f"{number}. {each['model']}{' at ' if each['api_base'] else ''}{each['api_base']}: "
            f"{each['error']}: {each['reason']}"
            for number, each in enumerate(self.failed, 1)
        )

    def _made(self, error: GatewayError) -> Exception:
        return self._listed(to_litellm(error, self.failed[0]["model"], PROVIDER))

    def _listed(self, error: Exception) -> Exception:
        put_on(error, self.failed)
        return error


def _race(
    candidates: Sequence[Candidate],
    messages: Sequence[Any],
    parameters: Mapping[str, Any],
    hedge_after: float | None,
    total_timeout_s: float | None,
) -> _Race:
    """Raises litellm.BadRequestError: something in the call cannot be used."""
    install()
    try:
        return _Race(_candidates(candidates, messages, parameters), hedge_after, total_timeout_s)
    except InvalidInput as error:
        raise to_litellm(error, "", PROVIDER) from None


def _candidates(
    given: Sequence[Candidate], messages: Sequence[Any], parameters: Mapping[str, Any]
) -> Sequence[_Candidate]:
    if isinstance(given, (str, Mapping)) or not given:
        raise InvalidInput(
            'candidates must be a list with at least one model, such as ["gateway/<id>", "openai/<id>"].'
        )
    if not messages or isinstance(messages, (str, Mapping)):
        raise InvalidInput("messages must be a list with at least one message.")
    made = []
    for number, each in enumerate(given, 1):
        arguments = {**parameters, **_own(each, number), "messages": list(messages)}
        if not isinstance(arguments.get("model"), str) or not arguments["model"].strip():
            raise InvalidInput(f"Candidate {number} names no model: it needs a model id, or a mapping with a model.")
        if arguments.get("num_retries") is None and arguments.get("max_retries") is None:
            arguments.update(num_retries=0, max_retries=0)
        made.append(_Candidate(number, arguments, number == len(given)))
    return made


def _own(given: Any, number: int) -> Mapping[str, Any]:
    """The parameters that a candidate brings."""
    if isinstance(given, str):
        return {"model": given}
    params: Any = given.get("litellm_params", given) if isinstance(given, Mapping) else None
    if not isinstance(params, Mapping):
        raise InvalidInput(f"Candidate {number} is neither a model id nor a mapping of litellm's parameters.")
    own: Mapping[str, Any] = params
    return own if params is given else {name: _from_environment(value) for name, value in own.items()}


def _from_environment(value: Any) -> Any:
    is_name = isinstance(value, str) and value.startswith(FROM_ENVIRONMENT)
    return get_secret(value) if is_name else value


def _is_plain(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _base_in(error: Exception) -> str:
    """The base that our own doors name in their errors."""
    told = attribution(error)
    return str(told["attempts"][-1]["api_base"]) if told else ""


def _seconds_in(error: Exception) -> float | None:
    """The time to come back that an error names."""
    found = getattr(error, "retry_after", None)
    if isinstance(found, (int, float)):
        return found
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return retry_after({name.lower(): value for name, value in headers.items()}, time.time())


def _credited(response: Any, failed: Attempts) -> Any:
    """A response that says which attempts failed before it."""
    hidden = getattr(response, "_hidden_params", None)
    if isinstance(hidden, dict):
        report = attribution(response) or {}
        hidden[NAME] = {**report, "attempts": [*failed, *report.get("attempts", ())]}
    return response


# Threads


@dataclass(slots=True)
class _Outcome:
    candidate: _Candidate
    response: Any = None
    error: BaseException | None = None


class _Tray:
    """Where attempts leave what they come to; once it is closed, what comes is closed too."""

    def __init__(self) -> None:
        self._outcomes: SimpleQueue[_Outcome] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False

    def put(self, outcome: _Outcome) -> None:
        with self._lock:
            if not self._closed:
                self._outcomes.put(outcome)
                return
        _close(outcome.response)

    def get(self, seconds: float | None) -> _Outcome | None:
        """What came first, None when nothing came in time."""
        try:
            return self._outcomes.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        with self._lock:
            self._closed = True
        while not self._outcomes.empty():
            _close(self._outcomes.get().response)


def _here(tray: _Tray, candidate: _Candidate, arguments: dict[str, Any]) -> None:
    copy_context().run(_try, tray, candidate, arguments)


def _in_thread(tray: _Tray, candidate: _Candidate, arguments: dict[str, Any]) -> None:
    work = (_try, tray, candidate, arguments)
    threading.Thread(target=copy_context().run, args=work, name="first-success", daemon=True).start()


def _try(tray: _Tray, candidate: _Candidate, arguments: dict[str, Any]) -> None:
    outcome = _Outcome(candidate)
    try:
        another_is_left.set(not candidate.is_last)
        response = litellm.completion(**arguments)
        outcome.response = _opened(response) if hasattr(response, "__next__") else response
    except BaseException as error:  # noqa: BLE001  the driver looks at it, and raises what is not for it
        outcome.error = error
    tray.put(outcome)


class OpenedStream(Iterator[Any]):
    """A stream whose first chunk was read; it has the attributes of the stream inside."""

    def __init__(self, stream: Any, first: list[Any]) -> None:
        self._stream = stream
        self._first = first

    def __next__(self) -> Any:
        return self._first.pop() if self._first else next(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Give the connection up."""
        _close(self._stream)


def _opened(stream: Any) -> OpenedStream:
    try:
        return OpenedStream(stream, [chunk for chunk in (next(stream, None),) if chunk is not None])
    except BaseException:
        _close(stream)
        raise


def _close(response: Any) -> None:
    """Close a stream, and nothing else. litellm's own cannot be closed in a thread; what it reads from can."""
    if not hasattr(response, "__next__"):
        return
    close = getattr(response, "close", None) or getattr(getattr(response, "completion_stream", None), "close", None)
    if callable(close):
        with suppress(Exception):  # a loser's: nobody is there to be told
            close()


# Tasks


async def _ask(candidate: _Candidate, arguments: dict[str, Any]) -> Any:
    another_is_left.set(not candidate.is_last)
    response = await litellm.acompletion(**arguments)
    return await _aopened(response) if hasattr(response, "__anext__") else response


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Why a task that is done has failed; one that somebody else has cancelled counts as cancelled."""
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def _cut_off(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the losers, and wait until they have closed what they had open."""
    losers = list(tasks)
    for task in losers:
        task.cancel()
    for ended in await asyncio.gather(*losers, return_exceptions=True):
        await _aclose(ended)


class OpenedTaskStream(AsyncIterator[Any]):
    """The same for coroutines."""

    def __init__(self, stream: Any, first: list[Any]) -> None:
        self._stream = stream
        self._first = first

    async def __anext__(self) -> Any:
        return self._first.pop() if self._first else await self._stream.__anext__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def aclose(self) -> None:
        """Give the connection up."""
        await _aclose(self._stream)


async def _aopened(stream: Any) -> OpenedTaskStream:
    try:
        return OpenedTaskStream(stream, [await stream.__anext__()])
    except StopAsyncIteration:
        return OpenedTaskStream(stream, [])
    except BaseException:
        await _aclose(stream)
        raise


async def _aclose(response: Any) -> None:
    """Close a stream, and nothing else."""
    if hasattr(response, "__anext__") and hasattr(response, "aclose"):
        with suppress(Exception):  # a loser's: nobody is there to be told
            await response.aclose()
