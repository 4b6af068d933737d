"""A request as the gateway reads it, and where it was meant to go."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

SURFACES: Mapping[str, str] = {
    "/chat/completions": "chat",
    "/audio/transcriptions": "transcriptions",
    "/audio/translations": "translations",
    "/audio/speech": "speech",
    "/images/generations": "images",
    "/embeddings": "embeddings",
    "/completions": "completions",
    "/responses": "responses",
    "/models": "models",
    "/files": "files",
}
"""From the end of a path to the name of the surface; the first match wins."""

GET_SURFACES = frozenset({"models"})


@dataclass
class Request:
    """One request, as it was read from the connection. Header names are lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    connection: int = 0
    http10: bool = False

    @cached_property
    def path(self) -> str:
        """The path as it was written, without the query."""
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> str:
        """The query as it was written, without the question mark."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None

    @cached_property
    def form(self) -> Mapping[str, bytes]:
        """The parts of a multipart body by name; empty when it is none."""
        return _multipart(self.header("content-type") or "", self.body)

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """What the request asks for: the JSON object, or the parts of the form."""
        if isinstance(self.json, dict):
            return self.json
        return {name: value.decode("utf-8", "replace") for name, value in self.form.items()}

    @property
    def model(self) -> str:
        """The requested model, empty when there is none."""
        return str(self.fields.get("model") or "")

    @property
    def streams(self) -> bool:
        """Whether the request asked for a stream."""
        return self.fields.get("stream") in (True, "true")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path points, whether or not anything is there.

    Args:
        surface: the name of the surface, empty when the path is no surface's.
        base: the part of the path before the surface, such as `/v1`.
        item: what follows the surface, such as a model id, without percent-encoding.
        slash: whether the path ended in one slash too many.
    """

    surface: str
    base: str
    item: str = ""
    slash: bool = False


def locate(path: str) -> Place:
    """Find the surface that a path ends in."""
    slash = path.endswith("/") and not path.endswith("//")
    bare = path[:-1] if slash else path
    for suffix, surface in SURFACES.items():
        if bare.endswith(suffix):
            return Place(surface, bare[: -len(suffix)], slash=slash)
    for suffix in ("/models/", "/files/"):
        base, found, item = bare.partition(suffix)
        if found:
            return Place(SURFACES[suffix[:-1]], base, unquote(item), slash)
    return Place("", bare, slash=slash)


def _multipart(content_type: str, body: bytes) -> Mapping[str, bytes]:
    kind, _, parameters = content_type.partition("boundary=")
    if not kind.startswith("multipart/") or not parameters:
        return {}
    boundary = b"--" + parameters.split(";")[0].strip('" ').encode()
    found = {}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        _, _, name = head.decode("utf-8", "replace").partition('name="')
        found[name.partition('"')[0]] = content.removesuffix(b"\r\n")
    return found
