"""An answer as the core sees it, and its words. Pure: standard library only. What is read is bounded, and hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ERROR_LIMIT = 64 * 1024
"""Bytes of an error's body that are ever read (decompressed): enough for every real one."""

WORDS_LIMIT = 1000
"""Characters of a gateway's own words that are put into an error message."""

TAG = re.compile(r"<(script|style|head)\b.*?</\1>|<[^>]{0,500}>", re.IGNORECASE | re.DOTALL)
STATUS = re.compile(r"[45][0-9][0-9]")
TITLE = re.compile(r"<title>(.{0,200}?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    Attributes:
        status: HTTP status code.
        headers: names in lower case.
        text: the beginning of the body of an answer that is not a success; "" for a success.
        mismatch: for a 2xx, "" when the body is what the surface gives, else what came instead, in words.
        ours: for a 2xx with a mismatch, whether it is this API all the same (so that it may have done work).
        slashed: whether it came from the path with a slash added, to which the gateway had redirected.
        data: the parsed body of a success that is not streamed.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = field(default="", repr=False)
    mismatch: str = ""
    ours: bool = False
    slashed: bool = False
    data: Any = field(default=None, repr=False)

    @property
    def fits(self) -> bool:
        """Whether this is a success with the body that was asked for."""
        return 200 <= self.status < 300 and not self.mismatch

    @property
    def json(self) -> Any:
        """The body parsed as JSON, or None."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    @property
    def is_html(self) -> bool:
        """Whether the body is a page for people."""
        return looks_like_html(self.headers, self.text)

    @property
    def words(self) -> str:
        """What the answer says, for a person: at most `WORDS_LIMIT` characters on one line."""
        return shorten(" ".join(self._sayings()) or page_words(self.text))

    def _sayings(self) -> Iterator[str]:
        body = self.json
        if isinstance(body, str):
            yield body
        yield from sayings(body)


SAYING = (
    *("error", "detail", "message", "msg", "error_description"),
    *("errors", "title", "reason", "description", "choices"),
)
"""Where the dialects keep their sentences, the usual places first."""


def sayings(body: Any, depth: int = 0) -> Iterator[str]:
    """The sentences in an error body, in every dialect of `error`, `detail`, `message`, `errors`."""
    if depth > 4:
        return
    if isinstance(body, list):
        for item in body[:5]:
            yield from ([item] if isinstance(item, str) else sayings(item, depth + 1))
    if not isinstance(body, dict):
        return
    for name in (
        "error",
        "detail",
        "message",
        "msg",
        "error_description",
        "errors",
        "title",
        "reason",
        "description",
        "choices",
    ):
        value = body.get(name)
        if isinstance(value, str) and value:
            yield value
        else:
            yield from sayings(value, depth + 1)


def error_fields(body: Any) -> dict[str, Any]:
    """`code`, `type`, `param` and `status` of an error body, wherever the dialect keeps them."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    choices = body.get("choices")
    places = (
        [body, *(choice for choice in choices[:1] if isinstance(choice, dict))] if isinstance(choices, list) else [body]
    )
    found = (place[name] for place in places for name in ("error", "detail") if isinstance(place.get(name), dict))
    inner: dict[str, Any] = next(found, {})
    return {name: inner.get(name, body.get(name)) for name in ("code", "type", "param", "status")}


def error_object(body: Any) -> bool:
    """Whether a JSON body is an error rather than a result (some gateways put one under a 200)."""
    if not isinstance(body, dict):
        return False
    if choice_error(body):
        return True
    error = body.get("error")
    return bool(error) and not body.get("data") and (not body.get("choices") or isinstance(error, dict))


def choice_error(body: dict[str, Any]) -> bool:
    """Whether a choice says that it ended in an error (OpenRouter's form in the middle of a stream)."""
    choices = body.get("choices")
    whole = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return any(isinstance(choice.get("error"), dict) or choice.get("finish_reason") == "error" for choice in whole)


def error_status(body: Any) -> int | None:
    """The HTTP status that an error body names for itself, or None."""
    fields = error_fields(body)
    for value in (fields.get("code"), fields.get("status")):
        if isinstance(value, (int, float)) and 400 <= value <= 599:
            return int(value)
        if isinstance(value, str) and STATUS.fullmatch(value):
            return int(value)
    return None


def looks_like_html(headers: Mapping[str, str], text: str) -> bool:
    """Whether a body is a page for people, by its type or by its first characters."""
    start = text[:200].lstrip("\ufeff \t\r\n").lower()
    return "html" in headers.get("content-type", "").lower() or start.startswith(("<!doctype html", "<html", "<head"))


def page_words(text: str) -> str:
    """The words of a body that is no JSON: a page's title, or its text without tags."""
    title = TITLE.search(text)
    return title.group(1) if title else TAG.sub(" ", text[:8000])


def shorten(text: str, limit: int = WORDS_LIMIT) -> str:
    """One line, without control characters, not longer than the limit."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
