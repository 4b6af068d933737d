"""Everything that can go wrong on the wire, seen by a plain client."""

from __future__ import annotations

import gzip
import json
import socket

import httpx
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, FAULTS, Fault, Manners, json_answer

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}

BROKEN = {
    "reset-before-head",
    "close-before-head",
    "reset-in-head",
    "reset-after-head",
    "close-after-head",
    "reset-in-body",
    "truncated-body",
    "reset-before-end",
    "bad-length",
}
BROKEN_STREAM = {"reset-in-stream", "truncated-stream"}
SHORT_STREAM = {"ended-stream", "truncated-event"}
HELD = {
    "stall-before-head",
    "stall-in-head",
    "drip-in-head",
    "stall-after-head",
    "drip-after-head",
    "stall-in-body",
    "stall-before-end",
}
HELD_STREAM = {"stall-before-events", "stall-between-events", "stall-in-event", "comments-forever"}
WHOLE = {"dribble"}
SWAPPED = {"json-for-stream", "stream-for-json"}
UNREAD = {"stall-before-body-read"}
ANSWERED = {name for name, fault in FAULTS.items() if fault.answer is not None} - {"bad-length", "bad-gzip"}
SPOILT = {"cut-json", "bad-gzip"}


def test_every_fault_is_tested():
    groups = (BROKEN, BROKEN_STREAM, SHORT_STREAM, HELD, HELD_STREAM, WHOLE, SWAPPED, UNREAD, ANSWERED, SPOILT)
    assert set().union(*groups) == set(FAULTS)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_the_connection_breaks(name, gateway, chat):
    picky = gateway(Manners())
    picky.fault(name)
    with pytest.raises(httpx.TransportError):
        chat(picky)
    assert chat(picky).status_code == 200
    first = picky.wait_for(1, ended=True)[0]
    assert (first.verdict, first.fault, first.worked) == ("fault", name, True)
    assert first.status == (0 if name.endswith("before-head") else 200)


@pytest.mark.parametrize("name", sorted(BROKEN_STREAM))
def test_a_stream_breaks(name, gateway, chat):
    picky = gateway(Manners())
    picky.fault(name)
    with pytest.raises(httpx.TransportError):
        chat(picky, stream=True)
    picky.wait_for(1, ended=True)
    assert (picky.seen[0].sent, picky.seen[0].ended) == (1, "cut")


@pytest.mark.parametrize("name", sorted(SHORT_STREAM))
def test_a_stream_ends_too_soon_and_nobody_says_so(name, gateway, chat):
    picky = gateway(Manners())
    picky.fault(name)
    text = chat(picky, stream=True).text
    assert "[DONE]" not in text
    assert 'finish_reason":"stop' not in text
    assert text.endswith("\n\n") == (name == "ended-stream")


@pytest.mark.parametrize(
    ("name", "stream"), [(name, False) for name in sorted(HELD)] + [(name, True) for name in sorted(HELD | HELD_STREAM)]
)
def test_an_answer_is_held_until_it_is_released(name, stream, gateway, chat, pool):
    picky = gateway(Manners())
    with picky.fault(name, times=1) as script:
        waiting = pool.submit(chat, picky, stream=stream)
        script.wait_held()
        assert not waiting.done()
        assert picky.seen[0].ended == ""
    answer = waiting.result()
    assert answer.status_code == 200
    assert answer.text.endswith("[DONE]\n\n") if stream else answer.json()["choices"]


@pytest.mark.parametrize("name", sorted(HELD))
def test_a_client_that_leaves_is_noticed(name, gateway):
    picky = gateway(Manners())
    script = picky.fault(name)
    body = json.dumps({"model": "test/model-small", "messages": []}).encode()
    with socket.create_connection(("127.0.0.1", picky.port)) as raw:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: {BEARER['authorization']}\r\n"
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        script.wait_held()
    assert picky.wait_for(1, ended=True)[0].ended == "client left"
    picky.wait_until(lambda: picky.connections == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_dribbled_answer_is_whole(stream, gateway, chat):
    picky = gateway(Manners(fault="dribble"))
    answer = chat(picky, stream=stream)
    assert "echo:" in answer.text
    picky.wait_for(1, ended=True)
    assert picky.seen[0].sent == len(answer.content)
    assert picky.seen[0].completed


def test_json_where_a_stream_was_asked_for_and_the_other_way_round(gateway, chat):
    picky = gateway(Manners())
    picky.fault("json-for-stream")
    assert chat(picky, stream=True).json()["object"] == "chat.completion"
    picky.fault("stream-for-json")
    answer = chat(picky)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.startswith("data: {")


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_another_answer_comes_instead(name, gateway, client):
    made = FAULTS[name].answer
    shape = made() if callable(made) else made
    picky = gateway(Manners())
    picky.fault(name)
    body = {"model": "test/model-small", "messages": []}
    with client.stream("POST", picky.base() + "/chat/completions", headers=BEARER, json=body) as answer:
        assert b"".join(answer.iter_raw()) == shape.body
        assert answer.status_code == shape.status


def test_cut_json_is_not_json(gateway, chat):
    picky = gateway(Manners(fault="cut-json"))
    with pytest.raises(json.JSONDecodeError):
        chat(picky).json()


def test_bad_gzip_cannot_be_read(gateway, chat):
    with pytest.raises(httpx.DecodingError):
        chat(gateway(Manners(fault="bad-gzip")))


def test_gzip_can_be_read(gateway, client, chat):
    picky = gateway(Manners(gzip=True))
    assert chat(picky).json()["choices"]
    with client.stream("GET", picky.base() + "/models", headers=BEARER) as answer:
        assert gzip.decompress(b"".join(answer.iter_raw())).startswith(b"{")


def test_a_body_that_is_not_read(gateway, chat, pool):
    picky = gateway(Manners())
    with picky.fault("stall-before-body-read") as script:
        waiting = pool.submit(chat, picky, "x" * 8_000_000)
        script.wait_held()
        assert picky.seen == []
    assert waiting.result().status_code == 200
    assert len(picky.seen[0].content) > 8_000_000


def test_accepted_requests_only_unless_it_says_any(gateway, chat):
    picky = gateway(Manners())
    picky.fault("500")
    assert [chat(picky, headers=headers).status_code for headers in ({}, BEARER)] == [401, 500]
    picky.fault("500", when="any")
    assert [chat(picky, headers=headers).status_code for headers in ({}, BEARER)] == [500, 200]
    assert [seen.worked for seen in picky.seen] == [False, True, False, True]


def test_a_fault_counts_its_times(gateway, chat):
    picky = gateway(Manners())
    picky.fault("500", times=2)
    assert [chat(picky).status_code for _ in range(3)] == [500, 500, 200]


def test_a_fault_in_the_manners_stays(gateway, client, chat):
    picky = gateway(Manners(fault=Fault(answer=json_answer(502, {}))))
    assert [chat(picky).status_code for _ in range(2)] == [502, 502]
    assert client.get(picky.base() + "/models", headers=BEARER).status_code == 200
    picky.change(fault=None)
    assert chat(picky).status_code == 200


def test_release_frees_what_the_manners_hold(gateway, chat, pool):
    picky = gateway(Manners(fault="stall-before-head"))
    waiting = pool.submit(chat, picky)
    picky.wait_for(1)
    picky.release()
    assert waiting.result().status_code == 200


def test_a_fault_takes_knobs(gateway, chat):
    picky = gateway(Manners())
    picky.fault("truncated-stream", after=3)
    with pytest.raises(httpx.RemoteProtocolError):
        chat(picky, stream=True)
    assert picky.wait_for(1, ended=True)[0].sent == 3


def test_an_unknown_fault_names_those_that_there_are(gateway):
    with pytest.raises(KeyError, match="reset-before-head"):
        gateway(Manners()).fault("no such thing")


def test_who_waits_in_vain_is_told(gateway):
    picky = gateway(Manners())
    with pytest.raises(TimeoutError, match="0 of 1"):
        picky.hold().wait_held(timeout=0)
    with pytest.raises(TimeoutError, match="1 requests"):
        picky.wait_for(1, timeout=0)
