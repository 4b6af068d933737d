"""A streamed completion: events in, chunks out, in the order that litellm needs. Pure: no I/O, no litellm.

litellm drops what follows the chunk with the finish reason, and whatever that chunk carries beside it. So a finish is
held back until the stream is over: what it carries goes out first, then the usage, then the bare finish.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .answers import error_object
from .bodies import CHAT
from .errors import BrokenAnswer

DONE = "[DONE]"


class ErrorEvent(Exception):
    """An event of the stream is an error object.

    Args:
        body: the parsed event.
        text: as it was sent.
    """

    def __init__(self, body: Any, text: str) -> None:
        super().__init__("error event")
        self.body = body
        self.text = text


class CompletionStream:
    """Turns events into chunks.

    Args:
        surface: chat keeps what a choice adds in `delta`, text completions in `text`.
        usage_last: give the usage after the finish, as the OpenAI API does; litellm's wrapper needs it before.
        expected: how many choices were asked for.

    Attributes:
        progress: the events so far that say something of the answer; a heartbeat says nothing.
    """

    def __init__(self, surface: str = CHAT, *, usage_last: bool = False, expected: int = 1) -> None:
        self._expected = expected
        self._calls: dict[int, dict[str, int]] = {}
        self.progress = 0
        self._chat = surface == CHAT
        self._usage_last = usage_last
        self._finishes: dict[int, dict[str, Any]] = {}
        self._seen: set[int] = set()
        self._usage: Any = None
        self._envelope: dict[str, Any] = {}
        self.done = False

    @property
    def finished(self) -> bool:
        """Whether every choice that was asked for has its finish reason: what is still to come is usage at most."""
        return len(self._finishes) >= self._expected and self._seen <= self._finishes.keys()

    @property
    def _closed(self) -> bool:
        """The same for a stream that has said that it is done: a gateway may ignore how many choices were asked for."""
        return self.done and bool(self._finishes) and self._seen <= self._finishes.keys()

    def event(self, data: str) -> Iterator[dict[str, Any]]:
        """The chunks to hand on after one event.

        Raises:
            ErrorEvent: the event is an error.
            BrokenAnswer: it cannot be read.
        """
        text = data.strip()
        if text == DONE:
            self.done = True
            self.progress += 1
        elif text:
            yield from self._chunk(self._parsed(text))

    def end(self) -> Iterator[dict[str, Any]]:
        """The chunks held back, once the stream is over.

        Raises:
            BrokenAnswer: it ended before its finish reason.
        """
        if not self.finished and not self._closed:
            raise BrokenAnswer("The stream ended before its finish reason: the answer is not complete.")
        usage = [{**self._envelope, "choices": [], "usage": self._usage}] if self._usage else []
        yield from () if self._usage_last else usage
        first, *others = (self._finishes[index] for index in sorted(self._finishes))
        if others:
            # litellm takes the first choice's finish for the end of all: the others travel beside an empty one
            yield {**self._envelope, "choices": [{**self._empty(first["index"]), "finish_reason": None}, *others]}
        yield {**self._envelope, "choices": [first]}
        yield from usage if self._usage_last else ()

    def whole(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks of an answer that came whole where a stream was asked."""
        for at, choice in enumerate(body.get("choices", ())):
            yield from self._chunk({**body, **self._named(), "usage": None, "choices": [self._streamed(at, choice)]})
        self._usage = body.get("usage")
        self.done = True
        yield from self.end()

    def _streamed(self, at: int, choice: dict[str, Any]) -> dict[str, Any]:
        """A choice of a whole answer as a stream has it, complete in one chunk."""
        finish = choice.get("finish_reason") or "stop"
        rest = {name: value for name, value in choice.items() if name != "message"}
        part = {"delta": choice.get("message")} if self._chat else {}
        return {"index": at, **rest, **part, "finish_reason": finish}

    def _named(self) -> dict[str, str]:
        return {"object": "chat.completion.chunk"} if self._chat else {}

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            raise BrokenAnswer("The stream holds an event that is not JSON: the answer cannot be used.") from None
        if isinstance(body, dict) and (error_object(body) or _bare_error(body)):
            raise ErrorEvent(body, text)
        if not isinstance(body, dict):
            raise BrokenAnswer("The stream holds an event that is not a JSON object: the answer cannot be used.")
        return body

    def _chunk(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        usage = body.pop("usage", None)
        self._usage = usage if isinstance(usage, dict) and usage else self._usage
        choices = body.get("choices")
        self.progress += isinstance(choices, list) or bool(usage)
        if not isinstance(choices, list):
            return
        self._envelope = {name: body[name] for name in ("id", "object", "created", "model") if name in body}
        kept = [choice for choice in map(self._opened, choices) if choice is not None]
        if kept:
            yield {**body, "choices": kept}

    def _opened(self, choice: Any) -> dict[str, Any] | None:
        """A choice without its finish reason, which is set aside; None when nothing else is in it."""
        if not isinstance(choice, dict):
            raise BrokenAnswer("The stream holds a choice that is not an object: the answer cannot be used.")
        given = choice.get("index")
        index = given if isinstance(given, int) else 0
        self._seen.add(index)
        part = self._part_of(index, choice)
        reason = choice.get("finish_reason")
        if not reason:
            return {**choice, "index": index, **part}
        self._finishes[index] = {**self._empty(index), "finish_reason": reason}
        carries = any(value not in (None, "", []) for name, value in self._carried(part) if name != "role")
        return {**choice, "index": index, "finish_reason": None, **part} if carries or choice.get("logprobs") else None

    def _part_of(self, index: int, choice: dict[str, Any]) -> dict[str, Any]:
        if not self._chat:
            return {"text": choice.get("text") or ""}
        delta = choice.get("delta")
        return {"delta": _named_reasoning(self._numbered(index, delta)) if isinstance(delta, dict) else {}}

    def _numbered(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        """Tool-call deltas with the index that some gateways leave out."""
        calls = delta.get("tool_calls")
        if not isinstance(calls, list) or all(map(_has_index, calls)):
            return delta
        whole = (call for call in calls if isinstance(call, dict))
        return {**delta, "tool_calls": [self._with_index(index, at, call) for at, call in enumerate(whole)]}

    def _with_index(self, index: int, at: int, call: dict[str, Any]) -> dict[str, Any]:
        """A new id is a new call; no id goes on with the last one."""
        if _has_index(call):
            return call
        numbers = self._calls.setdefault(index, {})
        name = call.get("id")
        if isinstance(name, str) and name:
            return {**call, "index": numbers.setdefault(name, len(numbers))}
        return {**call, "index": len(numbers) - 1 if numbers else at}

    def _carried(self, part: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        yield from (part["delta"].items() if self._chat else part.items())

    def _empty(self, index: int) -> dict[str, Any]:
        return {"index": index, "delta": {"content": None}} if self._chat else {"index": index, "text": ""}


def _bare_error(body: dict[str, Any]) -> bool:
    """`{"detail": "…"}` or `{"message": "…", "code": 429}`: an error that does not say `error`."""
    if "choices" in body or "usage" in body:
        return False
    return "detail" in body or ("message" in body and "code" in body)


def _has_index(call: Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("index"), int)


def _named_reasoning(delta: dict[str, Any]) -> dict[str, Any]:
    """Reasoning under the name that litellm knows; vLLM and OpenRouter call it `reasoning`."""
    if not isinstance(delta.get("reasoning"), str) or "reasoning_content" in delta:
        return delta
    return {("reasoning_content" if name == "reasoning" else name): value for name, value in delta.items()}
