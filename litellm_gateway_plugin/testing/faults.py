"""What can go wrong with an answer, as a table. A fault is data: where the answer is cut, and what happens there.

An answer is a list of pieces of bytes: the head, then the body or the events, then the end of the body. A fault cuts
that list in two; what is before the cut is sent, then the fault happens, then, unless it was the end, the rest is sent.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from .answers import EVENTS, HTML, JSON, Answer, error_object, html_answer, json_answer, text_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Cut = Literal[
    "nowhere", "before-body-read", "before-head", "in-head", "after-head", "in-body", "after-events", "before-end"
]
How = Literal["nothing", "reset", "close", "end", "stall", "drip", "dribble"]
When = Literal["accepted", "any"]

HUGE_BODY_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which an answer goes wrong.

    Args:
        cut: where it happens. `in-body` is the middle of a body, or of the event after the first `after` ones.
        how: `reset` the connection; `close` it; `end` the body as if it were complete; `stall` until released; `drip`
            a few bytes again and again until released; `dribble` the whole answer byte by byte.
        after: for `after-events`, how many events come before.
        answer: sent in place of the right answer, whole.
        swap: answer JSON where a stream was asked for, and the other way round.
        spoil: changes the bytes of a body that is no stream.
        interval: seconds between two drips.
        when: whether it befalls requests that would have been served, or any request at all.
    """

    cut: Cut = "nowhere"
    how: How = "nothing"
    after: int = 1
    answer: Answer | Callable[[], Answer] | None = None
    swap: bool = False
    spoil: Callable[[bytes], bytes] | None = None
    interval: float = 0.01
    when: When = "accepted"

    @property
    def is_silent(self) -> bool:
        """Whether the client hears nothing at all."""
        return self.cut == "before-head" and self.how in ("reset", "close")


def _always(status: int, body: bytes, *more: tuple[str, str]) -> Fault:
    return Fault(answer=Answer(status, body, (*JSON, *more)))


@lru_cache(maxsize=1)
def _gzip_bomb() -> Answer:
    body = gzip.compress(b'{"error":"' + b"0" * 64_000_000 + b'"}', compresslevel=9, mtime=0)
    return Answer(500, body, (*JSON, ("content-encoding", "gzip")))


_ERROR_EVENT = Answer(200, b'data: {"error":{"message":"boom","type":"server_error","code":500}}\n\n', EVENTS)

FAULTS: Mapping[str, Fault] = {
    # The connection.
    "reset-before-head": Fault("before-head", "reset"),
    "close-before-head": Fault("before-head", "close"),
    "stall-before-head": Fault("before-head", "stall"),
    "reset-in-head": Fault("in-head", "reset"),
    "stall-in-head": Fault("in-head", "stall"),
    "drip-in-head": Fault("in-head", "drip"),
    "reset-after-head": Fault("after-head", "reset"),
    "close-after-head": Fault("after-head", "close"),
    "stall-after-head": Fault("after-head", "stall"),
    "drip-after-head": Fault("after-head", "drip"),
    "reset-in-body": Fault("in-body", "reset"),
    "truncated-body": Fault("in-body", "close"),
    "stall-in-body": Fault("in-body", "stall"),
    "stall-before-end": Fault("before-end", "stall"),
    "reset-before-end": Fault("before-end", "reset"),
    "dribble": Fault(how="dribble"),
    "stall-before-body-read": Fault("before-body-read", "stall", when="any"),
    # Streams.
    "reset-in-stream": Fault("after-events", "reset"),
    "truncated-stream": Fault("after-events", "close"),
    "ended-stream": Fault("after-events", "end"),
    "truncated-event": Fault("in-body", "end"),
    "stall-before-events": Fault("after-events", "stall", after=0),
    "stall-between-events": Fault("after-events", "stall"),
    "stall-in-event": Fault("in-body", "stall"),
    "comments-forever": Fault("after-events", "drip"),
    "json-for-stream": Fault(swap=True),
    "stream-for-json": Fault(swap=True),
    # A 2xx with nothing in it.
    "empty-object": _always(200, b"{}"),
    "null": _always(200, b"null"),
    "array": _always(200, b"[]"),
    "string": _always(200, b'"ok"'),
    "number": _always(200, b"7"),
    "html": Fault(answer=html_answer(200, "Welcome")),
    "empty": _always(200, b""),
    "204": Fault(answer=Answer(204, b"", ())),
    "no-choices": _always(200, b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[]}'),
    "null-choices": _always(200, b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":null}'),
    "null-message": _always(
        200, b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":null,"finish_reason":"stop"}]}'
    ),
    "error-200": Fault(answer=json_answer(200, error_object("it went wrong", "server_error", 500))),
    "error-event": Fault(answer=_ERROR_EVENT),
    "garbage": _always(200, bytes(range(256))),
    "not-utf8": _always(200, b'{"choices":[{"message":{"content":"\xff\xfe"}}]}'),
    "cut-json": Fault(spoil=lambda body: body[: len(body) // 2]),
    # Errors of the server.
    "500": Fault(answer=json_answer(500, error_object("Internal Server Error", "server_error", 500))),
    "502-html": Fault(answer=html_answer(502, "502 Bad Gateway")),
    "504-html": Fault(answer=html_answer(504, "504 Gateway Time-out")),
    "500-text": Fault(answer=text_answer(500, "Internal Server Error")),
    "huge-error": Fault(answer=lambda: Answer(500, b"<p>no</p>" * (HUGE_BODY_BYTES // 9), HTML)),
    "gzip-bomb": Fault(answer=_gzip_bomb),
    # Encodings.
    "bad-gzip": _always(200, b'{"id":"x"}', ("content-encoding", "gzip")),
    "bad-length": Fault(answer=Answer(200, b"{}", (*JSON, ("content-length", "two")))),
}


def look_up_fault(fault: str | Fault) -> Fault:
    """The fault of this name; a `Fault` stands for itself.

    Raises:
        KeyError: there is none; the message lists those that there are.
    """
    if isinstance(fault, Fault):
        return fault
    try:
        return FAULTS[fault]
    except KeyError:
        raise KeyError(f"no fault {fault!r}; there are: {', '.join(FAULTS)}") from None
