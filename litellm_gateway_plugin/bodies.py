"""Is a 2xx what its surface gives? One table, by surface. Pure: standard library only.

An odd answer is an answer (no usage, null content, unknown fields); a body without a result in it is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .answers import error_object
from .catalogue import listed_ids

CHAT, TEXT, EMBEDDINGS, LISTING = "chat/completions", "completions", "embeddings", "models"


def kind(body: Any) -> str:
    """What a JSON value is, in words, for an error message."""
    if isinstance(body, dict):
        return f"a JSON object with {', '.join(sorted(map(str, body))[:6])}" if body else "an empty JSON object"
    names: dict[type, str] = {list: "a JSON array", str: "a JSON string", type(None): "JSON null"}
    return names.get(type(body), "a JSON value")


def _choices_with(part: str, body: Any) -> bool:
    choices = body.get("choices") if isinstance(body, dict) else None
    return isinstance(choices, list) and bool(choices) and all(_holds(choice, part) for choice in choices)


def _holds(choice: Any, part: str) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get(part), dict if part == "message" else str)


def _vectors(body: Any) -> bool:
    data = body.get("data") if isinstance(body, dict) else None
    return isinstance(data, list) and bool(data) and all(isinstance(d, dict) and d.get("embedding") for d in data)


FITS: Mapping[str, Callable[[Any], bool]] = {
    CHAT: lambda body: _choices_with("message", body),
    TEXT: lambda body: _choices_with("text", body),
    EMBEDDINGS: _vectors,
    LISTING: lambda body: listed_ids(body) is not None,
}
OURS = ("chat.completion", "text_completion")
"""`object` of an answer that comes from this API even when it cannot be used."""


def mismatch(surface: str, body: Any) -> str:
    """What the body is instead of a result of the surface; an empty string when it is one."""
    if error_object(body):
        return "an error inside a success"
    fits = FITS.get(surface)
    return "" if fits is None or fits(body) else kind(body)


def is_ours(body: Any) -> bool:
    """Whether an unusable body comes from this API all the same, so that it may have done work."""
    if not isinstance(body, dict):
        return False
    data = body.get("data")
    vectors = isinstance(data, list) and any(isinstance(d, dict) and d.get("object") == "embedding" for d in data)
    return vectors or str(body.get("object", "")).startswith(OURS) or "choices" in body
