"""vcrpy records and plays both kinds of edge: it replaces methods of httpx's transports and of aiohttp's session."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import vcr

from litellm_gateway_plugin.wire import Deadline
from tests.wire.conftest import Edge, Wire, fetched, request
from tests.wire.servers import answer, answering, serving

EVENTS = b"data: 1\n\ndata: 2\n\n"
ANSWERS = {
    "json": answer(b'{"a": 1}', headers=(("Content-Type", "application/json"), ("X-Twice", "a"), ("X-Twice", "b"))),
    "gzip": answer(gzip.compress(b'{"a": 1}'), headers=(("Content-Encoding", "gzip"),)),
    "events": answer(EVENTS, headers=(("Content-Type", "text/event-stream"),)),
    "refusal": answer(b"no", "401 Unauthorized"),
    "nothing": answer(b"", "204 No Content"),
    "redirect": answer(b"", "307 Temporary Redirect", (("Location", "/b"),)),
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("size", [10, 2 << 20])
def test_what_was_recorded_is_played(wire: Wire, kind: str, size: int, tmp_path: Path) -> None:
    async def body(edge: Edge) -> list[object]:
        sent = b"x" * size
        whole = await fetched(edge, server.url("/a%2Fb"), headers=(("Authorization", "Bearer k"),), body=sent)
        reply = await edge.send(request(server.url("/a%2Fb"), body=sent), Deadline(20))
        streamed = b"".join([chunk async for chunk in reply.chunks()])
        bounded = await fetched(edge, server.url("/a%2Fb"), limit=3, body=sent)
        return [whole.status, whole.body, whole.headers.get("x-twice"), streamed, bounded.body]

    cassette = str(tmp_path / "cassette.yaml")
    with serving(answering(ANSWERS[kind])) as server:
        with vcr.use_cassette(cassette):
            recorded = wire.run(body)
        assert len(server.requests) == 3
    with vcr.use_cassette(cassette, record_mode="none") as played:
        assert wire.run(body) == recorded
        assert played.play_count == 3
    assert recorded[3] == recorded[1]
    assert recorded[4] == bytes(recorded[1])[:3]  # type: ignore[call-overload]  # the bytes of a body


def test_request_that_was_not_recorded_is_vcrs_own_error(wire: Wire, tmp_path: Path) -> None:
    cassette = vcr.use_cassette(str(tmp_path / "none.yaml"), record_mode="none")
    with cassette, pytest.raises(vcr.errors.CannotOverwriteExistingCassetteException):
        wire.fetch("http://127.0.0.1:1/")
