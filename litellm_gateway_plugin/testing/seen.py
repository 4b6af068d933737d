"""What the gateway saw: one record for each request, without any secret in it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from .credentials import REDACTED, Credential, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .judge import Verdict
    from .request import Place, Request

HOW_IT_IS_ASKED = frozenset({"model", "stream", "stream_options"})
Ended = Literal["", "complete", "client left", "cut"]


@dataclass(eq=False)
class Seen:
    """One request as an independent observer tells it.

    Args:
        number: of the request, from 1.
        connection: number of the connection that brought it, from 1.
        method, path, query: as they were sent; a key in the query is redacted.
        surface: `chat`, `models`, …, empty when the path is no surface's.
        base: what stands before the surface in the path, such as `/v1`, whether or not anything lives there.
        style: the credential style used: `bearer`, `raw`, a header's name, `none`.
        credential_headers: the names of all headers that carry a credential.
        key_ok: whether the credential in that style was the right key.
        headers: by lower-case name; the values of credentials are redacted.
        content: the body as bytes.
        model: the id that was asked for.
        streams: whether a stream was asked for.
        verdict: `served`, `refused`, `no route`, `no model`, `full`, `fault` or `page`.
        status: the status that was answered; 0 for none.
        worked: whether it was accepted, so that an upstream would have done, and billed, the work.
        fault: the name of what went wrong on purpose; empty otherwise.
        sent: how many pieces of the body (events, in a stream) were sent.
        ended: `complete`, `client left`, `cut` (by a fault), empty while it goes on.
        at: when it had arrived, in seconds of `time.monotonic()`.
    """

    number: int
    connection: int
    method: str
    path: str
    query: str
    surface: str
    base: str
    style: str
    credential_headers: tuple[str, ...]
    key_ok: bool
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    model: str
    streams: bool
    verdict: Verdict = "served"
    status: int = 0
    worked: bool = False
    fault: str = ""
    sent: int = 0
    ended: Ended = ""
    at: float = field(default_factory=time.monotonic)

    @cached_property
    def body(self) -> Any:
        """The body: JSON when it is JSON, else the bytes."""
        try:
            return json.loads(self.content)
        except ValueError:
            return self.content

    @property
    def completed(self) -> bool:
        """Whether the whole answer was sent."""
        return self.ended == "complete"

    @cached_property
    def marker(self) -> str:
        """What makes two requests the same work: the Idempotency-Key, or else all that is asked.

        Under which id, and whether as a stream, is how it is asked.
        """
        given = self.headers.get("idempotency-key") or self.headers.get("x-idempotency-key")
        if given:
            return given
        if not isinstance(self.body, dict):
            _, _, boundary = self.headers.get("content-type", "").partition("boundary=")
            content = self.content.replace(boundary.encode(), b"") if boundary else self.content
            return f"{self.surface} {content!r}"
        asked = {name: value for name, value in self.body.items() if name not in HOW_IT_IS_ASKED}
        return f"{self.surface} {json.dumps(asked, sort_keys=True)}"


def observe(number: int, request: Request, place: Place, credentials: list[Credential], key: str | None) -> Seen:
    """Record a request; what became of it is filled in later."""
    secret = frozenset(found.header for found in credentials)
    used = credentials[0] if credentials else None
    return Seen(
        number=number,
        connection=request.connection,
        method=request.method,
        path=request.path,
        query=request.query.replace(key, REDACTED) if key else request.query,
        surface=place.surface,
        base=place.base,
        style=used.style if used else "none",
        credential_headers=tuple(found.header for found in credentials),
        key_ok=used is not None and used.right,
        headers={name: redact(name, value, key, secret) for name, value in request.headers},
        content=request.body,
        model=place.item or request.model,
        streams=request.streams,
    )
