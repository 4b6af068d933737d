"""The many shapes of an event stream. Pure: from a whole answer to chunks, and from chunks to bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from .replies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Chunk = dict[str, Any]
Usage = Literal["asked", "after-finish", "on-finish", "absent"]
ErrorForm = Literal["event", "unended", "bare"]

CAPACITY_ERROR: Mapping[str, Any] = {"error": {"message": "model at capacity", "type": "server_error", "code": 429}}


@dataclass(frozen=True, slots=True)
class StreamShape:
    """How this gateway writes its streams.

    Args:
        line_end: `"\\n"`, `"\\r\\n"` or `"\\r"`.
        space: whether `data:` is followed by a space.
        byte_order_mark: whether the stream begins with one.
        comments: put a comment (`: keep-alive`) before every so many events; 0 for none.
        other_fields: give every event an `id`, an `event` and an unknown field too.
        multi_line: break each event over several `data:` lines.
        done: whether `data: [DONE]` ends it.
        finish: whether any chunk has a finish reason.
        role_chunk: whether the first chunk of a choice is `role` and no text.
        first_content: the content of that chunk: `""` or None.
        usage: on a chunk of its own after the finish chunk, but only when `stream_options` asks (`asked`) or always
            (`after-finish`); on the finish chunk; or absent.
        null_usage: whether every other chunk says `usage: null`.
        reasoning: whether the last piece of reasoning comes on the finish chunk instead of before the text.
        interleaved: whether several choices alternate, or follow each other.
        odd_fields: whether chunks carry `message: null` and fields that nobody knows.
        error: what goes wrong in the stream, as JSON; None for nothing.
        error_at: how many events come before the error.
        error_form: a proper event; one that no blank line ends; or a bare JSON line without `data:`.
        after_error: whether the rest of the stream follows.
        split: send so many bytes at a time, so that events arrive in pieces; None for an event at a time.
        framing: `chunked`, or `close`: no length at all, the end of the connection ends the stream.
        content_type: of the answer.
    """

    line_end: str = "\n"
    space: bool = True
    byte_order_mark: bool = False
    comments: int = 0
    other_fields: bool = False
    multi_line: bool = False
    done: bool = True
    finish: bool = True
    role_chunk: bool = True
    first_content: str | None = ""
    usage: Usage = "asked"
    null_usage: bool = False
    reasoning_on_finish: bool = False
    interleaved: bool = True
    odd_fields: bool = False
    error: Mapping[str, Any] | None = None
    error_at: int = 1
    error_form: ErrorForm = "event"
    after_error: bool = False
    split: int | None = None
    framing: Literal["chunked", "close"] = "chunked"
    content_type: str = "text/event-stream"


def chunks_of(whole: Mapping[str, Any], shape: StreamShape, usage_asked: bool) -> list[Chunk]:
    """The chunks of a stream that says what `whole`, a chat or text completion, says."""
    parts = [list(_choice_parts(choice, shape)) for choice in whole["choices"]]
    together = zip_longest(*parts) if shape.interleaved else parts
    chunks = [_chunk(whole, [part]) for group in together for part in group if part is not None]
    if shape.null_usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
    if shape.odd_fields:
        chunks = [{**chunk, "message": None, "x_gateway": {"node": 7}} for chunk in chunks]
    return chunks + _place_usage(whole, chunks, shape, usage_asked)


def _place_usage(whole: Mapping[str, Any], chunks: list[Chunk], shape: StreamShape, asked: bool) -> list[Chunk]:
    """Put the usage where the shape wants it; the extra chunk is returned, the finish chunk is changed in place."""
    if shape.usage == "on-finish":
        chunks[-1]["usage"] = whole["usage"]
    elif shape.usage == "after-finish" or (shape.usage == "asked" and asked):
        return [{**_chunk(whole, []), "usage": whole["usage"]}]
    return []


def _chunk(whole: Mapping[str, Any], choices: list[Any]) -> Chunk:
    kind = "chat.completion.chunk" if whole["object"] == "chat.completion" else whole["object"]
    return {
        "id": whole["id"],
        "object": kind,
        "created": whole["created"],
        "model": whole["model"],
        "choices": choices,
    }


def _choice_parts(choice: Mapping[str, Any], shape: StreamShape) -> Iterator[dict[str, Any]]:
    base = {"index": choice["index"]}
    finish = choice["finish_reason"] if shape.finish else None
    if "text" in choice:
        for word in words(choice["text"]):
            yield {**base, "text": word, "logprobs": None, "finish_reason": None}
        yield {**base, "text": "", "logprobs": None, "finish_reason": finish}
        return
    deltas = list(_deltas(choice["message"], shape))
    held = deltas.pop(_last_reasoning(deltas)) if _holds_reasoning(deltas, shape) else {}
    logprobs = iter((choice.get("logprobs") or {}).get("content", ()))
    for delta in deltas:
        part = {**base, "delta": delta, "finish_reason": None}
        if choice.get("logprobs") and delta.get("content"):
            part["logprobs"] = {"content": [next(logprobs)]}
        yield part
    yield {**base, "delta": held, "finish_reason": finish}


def _holds_reasoning(deltas: list[dict[str, Any]], shape: StreamShape) -> bool:
    return shape.reasoning_on_finish and any("reasoning_content" in delta for delta in deltas)


def _last_reasoning(deltas: list[dict[str, Any]]) -> int:
    return max(index for index, delta in enumerate(deltas) if "reasoning_content" in delta)


def _deltas(message: Mapping[str, Any], shape: StreamShape) -> Iterator[dict[str, Any]]:
    if shape.role_chunk:
        yield {"role": "assistant", "content": shape.first_content}
    for word in words(message.get("reasoning_content") or ""):
        yield {"reasoning_content": word}
    for word in words(message.get("content") or ""):
        yield {"content": word}
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield from _call_deltas(index, call)


def _call_deltas(index: int, call: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A tool call in three pieces: its name, and its arguments in two halves."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    head = {"index": index, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
    yield {"tool_calls": [head]}
    middle = len(arguments) // 2
    for half in (arguments[:middle], arguments[middle:]):
        if half:
            yield {"tool_calls": [{"index": index, "function": {"arguments": half}}]}


# Bytes ---------------------------------------------------------------------------------------------------------------


def encode(chunks: list[Chunk], shape: StreamShape) -> list[bytes]:
    """The events as bytes, one item each, with everything around them that the shape wants."""
    events = [_event(_json(chunk, shape), index, shape) for index, chunk in enumerate(chunks)]
    if shape.done:
        events.append(_data("[DONE]", shape))
    if shape.error is not None:
        events[shape.error_at :] = [_error(shape), *(events[shape.error_at :] if shape.after_error else [])]
    if shape.comments:
        comment = (": keep-alive" + 2 * shape.line_end).encode()
        events = [comment + event if not index % shape.comments else event for index, event in enumerate(events)]
    if shape.byte_order_mark and events:
        events[0] = b"\xef\xbb\xbf" + events[0]
    return events if shape.split is None else _split(b"".join(events), shape.split)


def _event(text: str, index: int, shape: StreamShape) -> bytes:
    data = _data(text, shape)
    if not shape.other_fields:
        return data
    fields = (f"id: {index}", "event: message", "retry: 1000", "colour: blue")
    return "".join(field + shape.line_end for field in fields).encode() + data


def _data(text: str, shape: StreamShape) -> bytes:
    prefix = "data: " if shape.space else "data:"
    return ("".join(prefix + line + shape.line_end for line in text.split("\n")) + shape.line_end).encode()


def _json(payload: Mapping[str, Any], shape: StreamShape) -> str:
    """JSON on one line, or on as many as it has members: a line break between members is JSON too."""
    return json.dumps(payload, indent=0) if shape.multi_line else json.dumps(payload, separators=(",", ":"))


def _error(shape: StreamShape) -> bytes:
    text = json.dumps(shape.error)  # on one line whatever the shape, as servers write their errors
    if shape.error_form == "bare":
        return (text + shape.line_end).encode()
    event = _data(text, shape)
    return event.removesuffix(shape.line_end.encode()) if shape.error_form == "unended" else event


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
