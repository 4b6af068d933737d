"""What a gateway sends back, as a value. Nothing here knows a socket, a manner or a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Headers = tuple[tuple[str, str], ...]
After = Literal["keep-alive", "close", "reset"]

JSON: Headers = (("content-type", "application/json"),)
HTML: Headers = (("content-type", "text/html; charset=utf-8"),)
TEXT: Headers = (("content-type", "text/plain; charset=utf-8"),)
EVENTS: Headers = (("content-type", "text/event-stream"),)


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP answer.

    In `body`, `$MODEL` and `$PATH` stand for what the request asked for; in a header's value, `$PATH` and `$QUERY` do
    (the query with its question mark, or nothing).

    Args:
        status: the HTTP status.
        body: the bytes, sent as they are.
        headers: name and value pairs, in order; written to the wire unchecked, so they can be as wrong as you like.
        after: what happens to the connection once the answer is out.
        streamed: what to answer instead when the request asked for a stream.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    headers: Headers = JSON
    after: After = "keep-alive"
    streamed: Answer | None = None

    def with_headers(self, headers: Mapping[str, str] | Headers) -> Answer:
        """The same answer with more headers, on its streamed form too."""
        more = tuple(headers.items()) if isinstance(headers, Mapping) else headers
        streamed = self.streamed.with_headers(more) if self.streamed else None
        return replace(self, headers=self.headers + more, streamed=streamed)

    def filled(self, *, model: str = "", path: str = "", query: str = "") -> Answer:
        """The same answer with `$MODEL`, `$PATH` and `$QUERY` filled in."""
        body = self.body
        if b"$MODEL" in body or b"$PATH" in body:
            body = body.replace(b"$MODEL", _inside_json(model)).replace(b"$PATH", _inside_json(path))
        headers = self.headers
        if any("$PATH" in value for _, value in headers):
            asked = f"?{query}" if query else ""
            headers = tuple((name, value.replace("$PATH", path).replace("$QUERY", asked)) for name, value in headers)
        return replace(self, body=body, headers=headers)


def _inside_json(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


def json_answer(status: int, payload: object, headers: Headers = (), after: After = "keep-alive") -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(payload, separators=(",", ":")).encode(), JSON + headers, after)


def html_answer(status: int, title: str, headers: Headers = ()) -> Answer:
    """An answer with a small HTML page, the kind that reverse proxies send."""
    lines = ("<html>", f"<head><title>{title}</title></head>", "<body>", f"<center><h1>{title}</h1></center>")
    page = "\r\n".join((*lines, "</body>", "</html>", ""))
    return Answer(status, page.encode(), HTML + headers)


def text_answer(status: int, text: str, headers: Headers = ()) -> Answer:
    """An answer in plain text."""
    return Answer(status, text.encode(), TEXT + headers)


def redirect(status: int, location: str) -> Answer:
    """A redirect; `$PATH` and `$QUERY` in the location stand for those of the request."""
    return Answer(status, b"", (("location", location),))


def error_object(message: str, kind: str, code: object, param: str | None = None) -> dict[str, object]:
    """The error object of the OpenAI API."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
