"""Its life, many clients at a time, TLS, and standing in front of another gateway."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
import trustme

from litellm_gateway_plugin.testing import FAKE_KEY, PRESETS, Fault, Manners, PickyGateway, StreamShape

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}
BODY = {"model": "test/model-small", "messages": [{"role": "user", "content": "hello there"}]}


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_it_starts_and_stops_once_and_again(client):
    picky = PickyGateway()
    picky.stop()
    with picky, picky:
        url = picky.base() + "/models"
        assert client.get(url, headers=BEARER).status_code == 200
    assert "picky-gateway" not in threads()
    with pytest.raises(httpx.ConnectError):
        client.get(url)
    with picky:
        assert picky.base() + "/models" == url  # it comes back where it was
        assert client.get(url, headers=BEARER).status_code == 200


def test_a_port_that_is_taken(gateway):
    taken = gateway(Manners())
    with pytest.raises(OSError, match="address"):
        PickyGateway(port=taken.port).start()


def test_stopping_frees_those_who_wait(pool, chat):
    with PickyGateway() as picky:
        script = picky.hold()
        waiting = pool.submit(chat, picky)
        script.wait_held()
    with pytest.raises(httpx.TransportError):
        waiting.result()
    script.release()


def test_manners_change_in_flight(gateway, chat):
    picky = gateway(Manners())
    assert chat(picky).status_code == 200
    picky.manners = replace(picky.manners, styles={"*": ("x-api-key",)})
    assert chat(picky).status_code == 401
    picky.change(styles={"*": ("bearer",)}, bases={"*": ("/v3",)})
    assert chat(picky, base="/v1").status_code == 404
    assert chat(picky).status_code == 200


def test_a_request_in_flight_keeps_the_manners_that_it_met(gateway, chat, pool):
    picky = gateway(Manners())
    with picky.hold(1) as script:
        waiting = pool.submit(chat, picky)
        script.wait_held()
        picky.change(reply="changed")
    assert "echo: hello there" in waiting.result().text
    assert "changed" in chat(picky).text


def test_many_at_the_same_time(gateway):
    picky = gateway(Manners())

    async def ask(client: httpx.AsyncClient, number: int) -> str:
        body = {**BODY, "messages": [{"role": "user", "content": f"number {number}"}], "stream": bool(number % 2)}
        answer = await client.post(picky.base() + "/chat/completions", headers=BEARER, json=body)
        return answer.text

    async def ask_all(number: int) -> list[str]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
            asking = [asyncio.create_task(ask(client, index)) for index in range(number)]
            await asyncio.to_thread(script.wait_held, number, 60)
            script.release()
            return await asyncio.gather(*asking)

    script = picky.hold()
    answers = asyncio.run(ask_all(300))
    assert all(f"{number}" in answer for number, answer in enumerate(answers))
    assert picky.peak == 300
    assert len({seen.connection for seen in picky.seen}) == 300
    assert picky.worked_twice() == []


def test_tls(gateway):
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    picky = gateway(Manners(), ssl=server)
    assert picky.base().startswith("https://127.0.0.1:")
    with httpx.Client(verify=trusting, trust_env=False) as client:
        assert client.post(picky.base() + "/chat/completions", headers=BEARER, json=BODY).status_code == 200
        picky.fault("reset-after-head")
        with pytest.raises(httpx.TransportError):
            client.post(picky.base() + "/chat/completions", headers=BEARER, json=BODY)
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(picky.base() + "/models")


def test_a_mistake_in_the_reply_is_the_tests_own():
    def reply(body):
        raise ValueError("oh no")

    with PickyGateway(Manners(reply=reply)) as picky, httpx.Client(trust_env=False) as client:
        answer = client.post(picky.base() + "/chat/completions", headers=BEARER, json=BODY)
    assert answer.status_code == 500
    assert "oh no" in answer.text
    assert [type(error) for error in picky.errors] == [ValueError]
    assert (picky.seen[0].verdict, picky.seen[0].fault) == ("fault", "mistake")


def test_a_body_in_chunks_and_a_body_on_request(gateway, client):
    picky = gateway(Manners())
    data = json.dumps(BODY).encode()
    chunked = client.post(picky.base() + "/chat/completions", headers=BEARER, content=iter([data[:9], data[9:]]))
    assert chunked.status_code == 200
    expecting = client.post(
        picky.base() + "/chat/completions", headers={**BEARER, "expect": "100-continue"}, content=data
    )
    assert expecting.status_code == 200
    assert [seen.body for seen in picky.seen] == [BODY, BODY]


def raw_exchange(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(request)
        return b"".join(iter(lambda: raw.recv(65536), b""))


def test_an_old_client_gets_an_answer_that_ends_with_the_connection(gateway):
    picky = gateway(Manners(key=None))
    data = json.dumps({**BODY, "stream": True}).encode()
    head = b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(data)
    answer = raw_exchange(picky.port, head + data)
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/models HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"x" * 1_100_000,
    ],
)
def test_what_is_no_request_gets_no_answer(request_bytes, gateway):
    picky = gateway(Manners())
    with suppress(ConnectionError):
        assert raw_exchange(picky.port, request_bytes) == b""
    picky.wait_until(lambda: picky.connections == 0)
    assert picky.seen == []


def test_a_head_without_a_body(gateway, client):
    picky = gateway(Manners())
    answer = client.head(picky.base() + "/models", headers=BEARER)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    assert client.get(picky.base() + "/models", headers=BEARER).status_code == 200


def test_a_pause_before_the_answer_and_between_events(gateway, chat):
    picky = gateway(Manners(delay=0.001, event_delay=0.001))
    assert chat(picky, stream=True).text.endswith("[DONE]\n\n")


def test_a_slow_reader_gets_everything(gateway, client):
    words = "word " * 300_000
    picky = gateway(Manners(reply=words.strip()))
    with client.stream("POST", picky.base() + "/chat/completions", headers=BEARER, json=BODY) as answer:
        assert sum(len(piece) for piece in answer.iter_raw(1000)) > len(words)


# In front of another gateway.


@pytest.fixture
def pair(gateway):
    """A front that takes x-api-key at /v1, and the vLLM behind it that takes Bearer at /api."""
    behind = gateway(replace(PRESETS["vllm"], key="sk-test-behind", bases={"*": ("/api",)}))
    front = gateway(replace(PRESETS["seed-000"], upstream=behind.base(), upstream_key="sk-test-behind"))
    return front, behind


X_API_KEY = {"x-api-key": FAKE_KEY}


def test_it_forwards_with_the_credential_of_the_upstream(pair, chat):
    front, behind = pair
    answer = chat(front, headers=X_API_KEY)
    assert answer.json()["choices"][0]["message"]["content"] == "echo: hello there"
    assert answer.headers["x-request-id"] == "req-1"
    (seen,) = behind.seen
    assert (seen.path, seen.style, seen.credential_headers) == ("/api/chat/completions", "bearer", ("authorization",))
    assert [(seen.status, seen.style) for seen in front.seen] == [(200, "x-api-key")]


@pytest.mark.parametrize("style", ["bearer", "raw", "api-key"])
def test_it_forwards_in_any_style(style, gateway, chat):
    behind = gateway(Manners(styles={"*": (style,)}))
    front = gateway(Manners(upstream=behind.base(), upstream_key=FAKE_KEY, upstream_style=style))
    assert chat(front).status_code == 200
    assert behind.styles() == [style]


def test_what_it_refuses_is_not_forwarded(pair, chat):
    front, behind = pair
    assert chat(front).status_code == 401
    assert chat(front, headers=X_API_KEY, base="").status_code == 404
    front.full(times=1)
    assert chat(front, headers=X_API_KEY).status_code == 429
    assert behind.seen == []


def test_the_listing_query_and_unknown_models_are_the_upstreams(pair, client, chat):
    front, behind = pair
    listing = client.get(front.base() + "/models?limit=2", headers=X_API_KEY).json()
    assert [entry["id"] for entry in listing["data"]] == list(behind.manners.models)
    assert behind.seen[0].query == "limit=2"
    assert chat(front, headers=X_API_KEY, model="strange").status_code == 404
    assert behind.seen[1].verdict == "no model"


def test_a_stream_passes_through_event_by_event(pair, client):
    front, behind = pair
    script = behind.fault("stall-between-events", after=2)
    body = {**BODY, "stream": True}
    with client.stream("POST", front.base() + "/chat/completions", headers=X_API_KEY, json=body) as answer:
        lines = answer.iter_lines()
        early = [line for line in (next(lines) for _ in range(4)) if line]
        assert len(early) == 2  # they are here while the upstream still waits
        script.wait_held()
        script.release()
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert front.wait_for(1, ended=True)[0].completed


def test_a_client_that_leaves_is_told_to_the_upstream(pair, client):
    front, behind = pair
    script = behind.fault("stall-between-events")
    body = {**BODY, "stream": True}
    with client.stream("POST", front.base() + "/chat/completions", headers=X_API_KEY, json=body) as answer:
        lines = answer.iter_lines()  # kept: a generator that is dropped closes the answer
        next(lines)
        script.wait_held()
    assert behind.wait_for(1, ended=True)[0].ended == "client left"
    assert front.wait_for(1, ended=True)[0].ended == "client left"


def test_an_upstream_that_breaks_off(pair, chat):
    front, behind = pair
    behind.fault("reset-in-stream")
    with pytest.raises(httpx.TransportError):
        chat(front, headers=X_API_KEY, stream=True)
    behind.fault("reset-before-head")
    answer = chat(front, headers=X_API_KEY)
    assert (answer.status_code, front.seen[-1].verdict) == (502, "fault")


def test_an_upstream_that_is_not_there(gateway, chat):
    with PickyGateway() as gone:
        base = gone.base()
    answer = chat(gateway(Manners(upstream=base)))
    assert answer.status_code == 502


def test_its_own_faults_befall_what_it_forwards(pair, chat):
    front, behind = pair
    front.fault("truncated-stream", after=0)
    with pytest.raises(httpx.TransportError):
        chat(front, headers=X_API_KEY, stream=True)
    front.fault("500")
    assert chat(front, headers=X_API_KEY).status_code == 500
    assert len(behind.seen) == 1


def test_multipart_and_encodings_pass_through(gateway, client):
    behind = gateway(Manners(gzip=True))
    front = gateway(Manners(upstream=behind.base(), upstream_key=FAKE_KEY))
    heard = client.post(
        front.base() + "/audio/transcriptions",
        headers=BEARER,
        data={"model": "test/model-small"},
        files={"file": ("a.wav", b"1234567")},
    )
    assert heard.json() == {"text": "heard 7 bytes"}
    with client.stream("GET", front.base() + "/models", headers=BEARER) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join(answer.iter_raw())).startswith(b"{")
    assert client.head(front.base() + "/models", headers=BEARER).content == b""


def test_shapes_of_streams_pass_through(gateway, chat):
    shape = StreamShape(line_end="\r\n", byte_order_mark=True, split=1)
    behind = gateway(Manners(stream=shape))
    front = gateway(Manners(upstream=behind.base(), upstream_key=FAKE_KEY))
    assert chat(front, stream=True).content == chat(behind, stream=True).content.replace(b"chatcmpl-2", b"chatcmpl-1")


def test_a_fault_of_ones_own(gateway, chat):
    picky = gateway(Manners())
    picky.fault(Fault(spoil=bytes.upper))
    assert "ECHO: HELLO THERE" in chat(picky).text
    assert picky.seen[0].fault == "nowhere nothing"
