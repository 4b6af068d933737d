"""One HTTP exchange as plain decisions: what to send for an attempt, what the reply's head and body mean. No I/O.

The thread driver and the coroutine driver (`engine.py`) share all of this; they differ in how they wait.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from .answers import ERROR_LIMIT, Answer, error_status, looks_like_html, shorten
from .bodies import LISTING, is_ours, mismatch
from .credentials import CREDENTIAL_HEADERS, header_for
from .errors import GatewayError, InvalidInput
from .eventstream import EventReader
from .negotiation import Ask, Attempt, Policy
from .refusals import broke_off
from .streams import CompletionStream, ErrorEvent
from .urls import origin_of
from .version import USER_AGENT
from .wire import WireRequest

REDIRECTS = frozenset({301, 302, 303, 307, 308})
KEEPING = frozenset({307, 308})
"""Redirects that keep method and body (RFC 9110, section 15.4); of the others only a slash added is followed."""

FRAMING = ("content-length", "host", "transfer-encoding", "connection")
"""What the wire itself decides about a request."""

LARGEST_LISTING = 32 * 1024 * 1024
"""Bytes of a listing that are read (decompressed); two hundred times as much as the largest that is known."""

FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""What the lines of an event stream begin with."""

AFTER_FINISH_S = 10.0
"""Seconds for which a stream whose choices are finished may take to send its usage and its end."""


@dataclass(slots=True)
class Job:
    """A caller's request, ready to be sent in any way.

    Attributes:
        ask: where, what, with which key.
        body: the JSON body; its `model` is set for each attempt.
        raw: a body that is not JSON, sent as it is.
        headers: the caller's own, without a credential.
        stream: whether a stream of completions is expected.
        opaque: whether a success is handed over unread (audio, files): only a web page is told from it.
        usage_last: whether a stream gives its usage after the finish, as the OpenAI API does.
        method: HTTP method.
        timeout: seconds for the whole call, or for a stream to each event; None for no limit.
        connect: seconds for connecting, None for no limit of its own.
        elsewhere: whether the same call would be served by another gateway at once; None when there is no other.
        retries: times that it is sent again after a failure.
    """

    ask: Ask
    body: dict[str, Any] | None = field(default=None, repr=False)
    raw: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    stream: bool = False
    opaque: bool = False
    usage_last: bool = False
    method: str = "POST"
    timeout: float | None = None
    connect: float | None = None
    elsewhere: Callable[[], bool] | None = None
    retries: int = 0


@dataclass(slots=True)
class Report:
    """What one call did: names and numbers, never a credential.

    Attributes:
        attempts: the attempts of litellm's call that failed before; whoever knows litellm fills them in.
        failed: why the attempt before was sent again; it was itself raised from the one before it.
    """

    api_base: str = ""
    auth_style: str = ""
    surface: str = ""
    requested_model: str = ""
    served_model: str = ""
    requests: int = 0
    waited_s: float = 0.0
    transport: str = ""
    attempts: list[dict[str, str]] = field(default_factory=list)
    failed: GatewayError | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For `_hidden_params["gateway"]`."""
        shown = {name: getattr(self, name) for name in self.__slots__ if name != "failed"}
        return {**shown, "attempts": list(self.attempts)}


def request_for(job: Job, attempt: Attempt) -> WireRequest:
    """The request of one attempt: the caller's own, or the listing's."""
    ask = job.ask
    url = ask.base.url(attempt.surface, toggled=attempt.route.toggled, slash=attempt.route.slash)
    credential = header_for(attempt.route.style, ask.key)
    headers = _headers(job, credential)
    if attempt.surface == LISTING and ask.surface != LISTING:
        return WireRequest("GET", url, headers)
    if job.body is None:
        return WireRequest(job.method, url, headers, job.raw or b"")
    body = {**job.body, "model": attempt.model} if attempt.model else job.body
    return WireRequest(job.method, url, (("Content-Type", "application/json"), *headers), _encoded(body))


def _headers(job: Job, credential: tuple[str, str] | None) -> tuple[tuple[str, str], ...]:
    own = {"accept": ("Accept", "application/json"), "user-agent": ("User-Agent", USER_AGENT)}
    given = {name.lower(): (name, value) for name, value in job.headers.items()}
    if job.body is not None:
        given.pop("content-type", None)
    alone = (credential,) if credential else ()
    for name in (*FRAMING, *CREDENTIAL_HEADERS, *(name.lower() for name, _ in alone)):
        given.pop(name, None)
    return (*(own | given).values(), *alone)


def _encoded(body: dict[str, Any]) -> bytes:
    # what json cannot encode is the caller's pydantic models and the like; litellm's own clients take those too
    try:
        text = json.dumps(body, default=_plain, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"The request cannot be written as JSON: {shorten(str(error), 200)}.") from None
    return text.encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(exclude_none=True)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"a {type(value).__name__} in the request is no JSON")


def redirected(request: WireRequest, status: int, headers: Mapping[str, str]) -> WireRequest | None:
    """The request to send instead, when a redirect stays on its origin and keeps method and body; else None."""
    if status not in REDIRECTS or not (location := headers.get("location")):
        return None
    target = _target(request.url, location)
    if target is None or origin_of(target) != origin_of(request.url):
        return None
    if status in KEEPING or request.method == "GET" or adds_slash(request.url, target):
        return replace(request, url=target)
    return None


def _target(url: str, location: str) -> str | None:
    """Where a Location leads, or None when it cannot be sent as it is or names a user, which would be a credential."""
    try:
        target = urldefrag(urljoin(url, location)).url
        named = urlsplit(target).username is not None
    except ValueError:
        return None
    return None if named or not all("!" <= letter <= "~" for letter in target) else target


def adds_slash(url: str, target: str) -> bool:
    """Whether a target is the same URL with a slash at the end of its path."""
    path, _, query = url.partition("?")
    other, _, other_query = target.partition("?")
    return other == path + "/" and other_query in ("", query)


def wants_stream(job: Job, attempt: Attempt, status: int, headers: Mapping[str, str]) -> bool:
    """Whether the reply is to be read as a stream of completions."""
    mine = job.stream and attempt.surface == job.ask.surface
    return mine and 200 <= status < 300 and not looks_like_html(headers, "")


def is_opaque(job: Job, attempt: Attempt, status: int, headers: Mapping[str, str]) -> bool:
    """Whether the reply is handed over unread."""
    mine = job.opaque and attempt.surface == job.ask.surface
    return mine and 200 <= status < 300 and not looks_like_html(headers, "")


def read_limit(surface: str, status: int, headers: Mapping[str, str]) -> int | None:
    """How much of a body is read: all of a success, but for a listing without end; the beginning of anything else."""
    if not 200 <= status < 300 or looks_like_html(headers, ""):
        return ERROR_LIMIT
    return LARGEST_LISTING if surface == LISTING else None


def answer_of(surface: str, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """The answer that the core judges, from a body read whole (or to the limit)."""
    if not 200 <= status < 300:
        return Answer(status, headers, body[:ERROR_LIMIT].decode("utf-8", "replace"))
    if surface == LISTING and len(body) >= LARGEST_LISTING:
        return Answer(status, headers, mismatch=f"a listing of more than {LARGEST_LISTING // 1024**2} MiB", ours=True)
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return _unreadable(status, headers, body)
    wrong = mismatch(surface, data)
    if not wrong:
        return Answer(status, headers, data=data)
    return Answer(status, headers, body[:ERROR_LIMIT].decode("utf-8", "replace"), wrong, is_ours(data))


def _unreadable(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    text = body[:ERROR_LIMIT].decode("utf-8", "replace")
    if looks_like_html(headers, text):
        return Answer(status, headers, text, "a web page")
    if "event-stream" in headers.get("content-type", "") or text.lstrip().startswith("data:"):
        return Answer(status, headers, text, "an event stream where a whole answer was asked", ours=True)
    cut = "json" in headers.get("content-type", "") and ('"choices"' in text or '"chat.completion' in text)
    return Answer(status, headers, text, "no JSON" if body.strip() else "an empty body", ours=cut)


class StreamBody:
    """A streamed reply: bytes in, chunks out; tells an event stream from a whole answer by what arrives.

    Attributes:
        events: events read so far; comments and heartbeats are none.
        over: whether nothing more is expected.
    """

    def __init__(self, job: Job, policy: Policy, base: str, headers: Mapping[str, str]) -> None:
        self._job = job
        self.policy = policy
        self._base = base
        self._headers = headers
        self._reader = EventReader()
        self._stream = CompletionStream(job.ask.surface, usage_last=job.usage_last, expected=_choices_of(job))
        self._start = bytearray()
        self._is_events: bool | None = True if "event-stream" in headers.get("content-type", "") else None
        self.events = 0

    @property
    def over(self) -> bool:
        """Whether the stream has said that it is done."""
        return self._stream.done

    @property
    def finished(self) -> bool:
        """Whether all choices are finished: a connection that breaks now takes nothing away."""
        return self._stream.finished

    @property
    def is_events(self) -> bool:
        """Whether this is an event stream, as far as can be told."""
        return self._is_events is True

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The chunks that these bytes complete, one by one: those before a broken event are still given.

        Raises:
            ErrorEvent: an event is an error object.
            BrokenAnswer: an event cannot be read.
        """
        if self._is_events:
            return self._chunks(self._reader.feed(data))
        self._start += data
        if self._is_events is None:
            self._is_events = _begins_events(bytes(self._start))
        return self._chunks(self._reader.feed(bytes(self._start))) if self._is_events else iter(())

    def finish(self) -> Iterator[dict[str, Any]]:
        """The chunks that are left at the end of the bytes.

        Raises:
            ErrorEvent, BrokenAnswer: as `feed`.
        """
        yield from self._chunks(self._reader.finish())
        yield from self._stream.end()

    def end(self) -> Iterator[dict[str, Any]]:
        """The chunks held back, when the end is known without more bytes."""
        return self._stream.end()

    def whole(self, status: int) -> tuple[Answer, list[dict[str, Any]]]:
        """The answer that came whole instead of a stream, and its chunks when it fits."""
        answer = answer_of(self._job.ask.surface, status, self._headers, bytes(self._start))
        return answer, list(self._stream.whole(answer.data)) if answer.fits else []

    def error(self, event: ErrorEvent, api_base: str) -> GatewayError:
        """The error for an error event in the middle of a stream."""
        answer = self.error_answer(event)
        full = self.policy.is_capacity(answer.status, answer.headers, answer.text)
        return broke_off(self._job.ask, api_base, answer, full=full, now=self.policy.now())

    def error_answer(self, event: ErrorEvent) -> Answer:
        """An error event as the answer it should have been."""
        return Answer(error_status(event.body) or 500, self._headers, event.text[:ERROR_LIMIT])

    def _chunks(self, events: Iterator[str]) -> Iterator[dict[str, Any]]:
        for data in events:
            yield from self._stream.event(data)
            self.events = self._stream.progress
            if self._stream.done:
                break


def _choices_of(job: Job) -> int:
    """How many choices a job asks for."""
    body = job.body or {}
    count, prompts = body.get("n"), body.get("prompt")
    each = count if isinstance(count, int) and count > 0 else 1
    return each * (len(prompts) if isinstance(prompts, list) and prompts and isinstance(prompts[0], str) else 1)


def _begins_events(start: bytes) -> bool | None:
    """Whether a body is an event stream, None while too little of it is here to tell."""
    begin = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin.startswith(FIELDS):
        return True
    return None if any(field.startswith(begin) for field in FIELDS) else False
