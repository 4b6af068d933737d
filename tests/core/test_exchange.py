"""Between the core and the wire: what is sent, what the reply's head and body mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from litellm_gateway_plugin.capacity import is_capacity
from litellm_gateway_plugin.errors import Full, InvalidInput, UpstreamFailed
from litellm_gateway_plugin.exchange import (
    LARGEST_LISTING,
    Job,
    Report,
    StreamBody,
    adds_slash,
    answer_of,
    is_opaque,
    read_limit,
    redirected,
    request_for,
    wants_stream,
)
from litellm_gateway_plugin.negotiation import Attempt
from litellm_gateway_plugin.plan import Route
from litellm_gateway_plugin.streams import ErrorEvent
from litellm_gateway_plugin.verdicts import Verdict, read_verdict
from litellm_gateway_plugin.wire.values import WireRequest
from tests.support.core import CHAT, COMPLETION, KEY, ask, policy

URL = "https://llm.example.com/v1/chat/completions"
HTML = {"content-type": "text/html"}


def attempt(style: str = "bearer", surface: str = CHAT, model: str = "vendor/model") -> Attempt:
    return Attempt(surface, Route(style), model)


def sent(job: Job, tried: Attempt | None = None) -> tuple[WireRequest, dict[str, str]]:
    request = request_for(job, tried or attempt())
    names = [name.lower() for name, _ in request.headers]
    assert len(names) == len(set(names))
    return request, {name.lower(): value for name, value in request.headers}


def test_a_request_is_the_callers_own() -> None:
    job = Job(ask(), {"model": "other", "x": "ü"}, headers={"X-Trace": "1", "user-agent": "mine"})
    request, headers = sent(job)
    assert (request.method, request.url) == ("POST", URL)
    assert json.loads(request.body) == {"model": "vendor/model", "x": "ü"}
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (headers["x-trace"], headers["user-agent"], headers["content-type"]) == ("1", "mine", "application/json")
    assert job.body == {"model": "other", "x": "ü"}
    assert KEY not in repr(request) + repr(job)


def test_what_the_wire_decides_and_every_other_credential_stays_out() -> None:
    given = {
        "Host": "evil",
        "Content-Length": "1",
        "Authorization": "Bearer ",
        "X-Api-Key": "",
        "x-acme": "2",
        "Content-Type": "x",
    }
    _, headers = sent(Job(ask(), {}, headers=given), attempt("x-acme"))
    assert headers["x-acme"] == KEY
    assert not {"host", "content-length", "authorization", "x-api-key"} & headers.keys()
    assert headers["content-type"] == "application/json"
    _, bare = sent(Job(ask(key=None), {}), attempt("none"))
    assert set(bare) == {"content-type", "accept", "user-agent"}


def test_other_kinds_of_requests() -> None:
    raw, headers = sent(Job(ask(), raw=b"parts", headers={"Content-Type": "multipart/form-data"}))
    assert (raw.body, headers["content-type"]) == (b"parts", "multipart/form-data")
    listing, _ = sent(Job(ask(), {"model": "m"}), attempt(surface="models", model=""))
    assert (listing.method, listing.url, listing.body) == ("GET", "https://llm.example.com/v1/models", b"")
    own, _ = sent(Job(ask(surface="models"), method="GET"), attempt(surface="models", model=""))
    assert (own.method, own.body) == ("GET", b"")
    bare, _ = sent(Job(ask(model=""), {"input": "x"}), attempt(model=""))
    assert json.loads(bare.body) == {"input": "x"}


def test_what_is_no_json_is_made_plain_or_refused() -> None:
    class Model:
        def model_dump(self, *, exclude_none: bool) -> dict[str, Any]:
            return {"none": exclude_none}

    request, _ = sent(Job(ask(), {"a": Model(), "b": frozenset({1})}))
    assert json.loads(request.body) == {"a": {"none": True}, "b": [1], "model": "vendor/model"}
    with pytest.raises(InvalidInput, match="a object in the request is no JSON"):
        sent(Job(ask(), {"a": object()}))


@pytest.mark.parametrize(
    ("status", "location", "target"),
    [
        (307, "/elsewhere", "https://llm.example.com/elsewhere"),
        (308, URL + "#top", URL),
        (301, URL + "/", URL + "/"),
        (302, "/login", None),
        (307, "https://evil.example/", None),
        (307, "//evil.example/", None),
        (307, "http://llm.example.com/v1", None),
        (307, "https://user:pw@llm.example.com/v1", None),
        (307, "https://[broken", None),
        (307, "https://llm.example.com:port/", None),
        (307, "/ä", None),
        (307, "/a b", None),
        (307, "", None),
        (200, "/x", None),
    ],
)
def test_redirects_stay_on_their_origin(status: int, location: str, target: str | None) -> None:
    request = WireRequest("POST", URL, (("x-api-key", KEY),), b"body")
    again = redirected(request, status, {"location": location} if location else {})
    assert (again.url if again else None) == target
    if again:
        assert (again.method, again.headers, again.body) == ("POST", request.headers, b"body")


def test_a_listing_follows_any_redirect_on_its_origin() -> None:
    again = redirected(WireRequest("GET", URL, ()), 302, {"location": "/login"})
    assert again is not None
    assert adds_slash("https://h/a?x=1", "https://h/a/")
    assert adds_slash("https://h/a?x=1", "https://h/a/?x=1")
    assert not adds_slash("https://h/a", "https://h/b/")


def test_how_a_reply_is_read() -> None:
    stream, opaque = Job(ask(), {}, stream=True), Job(ask(), {}, opaque=True)
    assert wants_stream(stream, attempt(), 200, {})
    assert not wants_stream(stream, attempt(), 401, {})
    assert not wants_stream(stream, attempt(), 200, HTML)
    assert not wants_stream(stream, attempt(surface="models"), 200, {})
    assert is_opaque(opaque, attempt(), 200, {})
    assert not is_opaque(opaque, attempt(), 200, HTML)
    assert not is_opaque(stream, attempt(), 200, {})
    assert read_limit("chat/completions", 200, {}) is None
    assert read_limit("chat/completions", 200, HTML) == read_limit("models", 500, {}) == 65536
    assert read_limit("models", 200, {}) == LARGEST_LISTING


def test_listing_without_end_is_no_listing() -> None:
    found = answer_of("models", 200, {}, b" " * LARGEST_LISTING)
    assert (found.mismatch, found.ours) == ("a listing of more than 32 MiB", True)
    assert read_verdict(found, "", is_capacity) is Verdict.BROKEN


@pytest.mark.parametrize(
    ("status", "headers", "body", "wrong", "ours"),
    [
        (200, {}, json.dumps(COMPLETION).encode(), "", False),
        (200, {}, b"\xef\xbb\xbf" + json.dumps(COMPLETION).encode(), "", False),
        (200, {}, b"{}", "an empty JSON object", False),
        (200, {}, b'{"choices": []}', "a JSON object with choices", True),
        (200, {}, b"<html>", "a web page", False),
        (200, {}, b"words", "no JSON", False),
        (200, {}, b"\xff\xfe\xfd", "no JSON", False),
        (200, {}, b"[" * 10**5, "no JSON", False),
        (204, {}, b"", "an empty body", False),
        (
            200,
            {"content-type": "text/event-stream"},
            b"data: {}",
            "an event stream where a whole answer was asked",
            True,
        ),
        (500, {}, b"oops", "", False),
    ],
)
def test_what_a_body_is(status: int, headers: dict[str, str], body: bytes, wrong: str, ours: bool) -> None:
    answer = answer_of(CHAT, status, headers, body)
    assert (answer.mismatch, answer.ours) == (wrong, ours)
    assert answer.fits == (not wrong and status == 200)


def body_of(headers: dict[str, str] | None = None, **more: Any) -> StreamBody:
    return StreamBody(Job(ask(), {}, stream=True, **more), policy(), "https://llm.example.com/v1", headers or {})


EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    b'data: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\n'
)


@pytest.mark.parametrize(
    "start", [b"", b": hello\n\n", b"event: x\n", b"id: 1\n", b"retry: 5\n", b"\xef\xbb\xbf", b"\r\n"]
)
@pytest.mark.parametrize("headers", [{}, {"content-type": "text/event-stream; charset=utf-8"}])
def test_an_event_stream_is_told_however_its_bytes_are_split(start: bytes, headers: dict[str, str]) -> None:
    for size in (1, 3, 1000):
        stream = body_of(headers)
        text = start + EVENTS + b"data: [DONE]\n\ndata: ignored"
        chunks = [
            part for at in range(0, len(text), size) if not stream.over for part in stream.feed(text[at : at + size])
        ]
        assert stream.is_events
        assert stream.finished
        assert stream.over
        assert stream.events == 3
        parts = [*chunks, *stream.end()]
        assert [part["choices"][0].get("finish_reason") for part in parts] == [None, "stop"]


def test_a_stream_without_done_ends_with_its_bytes() -> None:
    stream = body_of()
    assert len([*stream.feed(EVENTS), *stream.finish()]) == 2
    assert not stream.over


@pytest.mark.parametrize("size", [1, 1000])
def test_a_whole_answer_is_told_from_a_stream(size: int) -> None:
    text = b" " + json.dumps(COMPLETION).encode()
    stream = body_of()
    assert [part for at in range(0, len(text), size) for part in stream.feed(text[at : at + size])] == []
    assert not stream.is_events
    answer, chunks = stream.whole(200)
    assert answer.data == COMPLETION
    assert len(chunks) == 2


@pytest.mark.parametrize(
    ("text", "wrong"),
    [(b'""', "a JSON string"), (b"<html>", "a web page"), (b"", "an empty body"), (b"dat", "no JSON")],
)
def test_neither_a_stream_nor_an_answer(text: bytes, wrong: str) -> None:
    stream = body_of()
    for at in range(len(text)):
        list(stream.feed(text[at : at + 1]))
    answer, chunks = stream.whole(200)
    assert (answer.mismatch, chunks) == (wrong, [])


def test_an_error_in_the_middle_of_a_stream() -> None:
    stream = body_of({"retry-after": "3", "set-cookie": "s", "x-echo": KEY})
    full = ErrorEvent({"error": {"code": 429}}, f'{{"error": {{"code": 429, "message": "slow {KEY}"}}}}')
    error = stream.error(full, "https://h")
    assert isinstance(error, Full)
    assert (error.status, error.retry_after, error.headers) == (429, 3.0, {"retry-after": "3"})
    assert KEY not in str(error) + error.body
    failed = stream.error(ErrorEvent({"detail": "x"}, '{"detail": "x"}'), "https://h")
    assert isinstance(failed, UpstreamFailed)
    assert failed.status == 500


def test_a_report_is_names_and_numbers() -> None:
    assert Report(api_base="b", requests=2).as_dict()["requests"] == 2
