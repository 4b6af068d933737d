"""What the gateway remembers, and how it is asked."""

from __future__ import annotations

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, Manners

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}


def test_a_negotiation_can_be_read_back(picky_gateway, client, chat):
    model = picky_gateway.manners.models[0]
    chat(picky_gateway, model=model)
    chat(picky_gateway, model=model, headers={"x-api-key": FAKE_KEY}, base="")
    chat(picky_gateway, model=model, headers={"x-api-key": FAKE_KEY})
    client.get(picky_gateway.base() + "/models")
    assert picky_gateway.styles("chat") == ["bearer", "x-api-key", "x-api-key"]
    assert picky_gateway.styles() == ["bearer", "x-api-key", "x-api-key", "none"]
    assert picky_gateway.paths("chat") == ["/v1/chat/completions", "/chat/completions", "/v1/chat/completions"]
    assert [seen.verdict for seen in picky_gateway.seen] == ["refused", "no route", "served", "served"]
    assert [seen.number for seen in picky_gateway.refused] == [1]
    assert [seen.number for seen in picky_gateway.served] == [3, 4]
    assert [seen.number for seen in picky_gateway.requests("chat", worked=True)] == [3]


def test_a_record_is_complete(gateway, client):
    picky = gateway(Manners())
    body = {"model": "test/model-small", "messages": [], "stream": True}
    client.post(picky.base() + "/chat/completions?trace=1", headers={**BEARER, "X-Mine": "yes"}, json=body)
    (seen,) = picky.wait_for(1, ended=True)
    assert (seen.method, seen.path, seen.query) == ("POST", "/v1/chat/completions", "trace=1")
    assert (seen.surface, seen.base, seen.model) == ("chat", "/v1", "test/model-small")
    assert (seen.style, seen.key_ok, seen.credential_headers) == ("bearer", True, ("authorization",))
    assert (seen.body, seen.streams, seen.headers["x-mine"]) == (body, True, "yes")
    assert (seen.status, seen.verdict, seen.worked) == (200, "served", True)
    assert (seen.completed, seen.sent) == (True, 5)


def test_a_body_that_is_no_json_is_bytes(gateway, client):
    picky = gateway(Manners())
    client.post(picky.base() + "/chat/completions", headers=BEARER, content=b"\xff")
    assert picky.seen[0].body == b"\xff"


def test_connections_are_numbered(gateway, chat, client):
    picky = gateway(Manners())
    chat(picky)
    chat(picky)
    chat(picky, headers={**BEARER, "connection": "close"})
    chat(picky)
    assert [seen.connection for seen in picky.seen] == [1, 1, 1, 2]


def test_work_that_is_done_twice(gateway, chat, client):
    picky = gateway(Manners())
    chat(picky, "one", headers={})  # refused: no work
    chat(picky, "one")
    chat(picky, "two")
    assert picky.worked_twice() == []
    picky.fault("500")
    chat(picky, "three")
    chat(picky, "three", model="test/model-large")
    assert [seen.number for seen in picky.worked_twice()] == [5]
    client.get(picky.base() + "/models", headers=BEARER)
    client.get(picky.base() + "/models", headers=BEARER)
    assert len(picky.worked_twice()) == 1


def test_an_idempotency_key_marks_the_work(gateway, chat):
    picky = gateway(Manners())
    for said in ("one", "two"):
        chat(picky, said, headers={**BEARER, "Idempotency-Key": "k-1"})
    assert [seen.marker for seen in picky.worked_twice()] == ["k-1"]


def test_a_form_is_the_same_work_under_another_boundary(gateway, client):
    picky = gateway(Manners())
    for name in ("one", "one", "two"):
        url, form = picky.base() + "/audio/transcriptions", {"model": "test/model-small"}
        client.post(url, headers=BEARER, data=form, files={"file": (name, b"1234567")})
    assert [seen.number for seen in picky.worked_twice()] == [2]


def test_clear_forgets(gateway, chat):
    picky = gateway(Manners())
    chat(picky)
    picky.wait_until(lambda: picky.working == 0)
    picky.clear()
    assert (picky.seen, picky.peak) == ([], 0)
    chat(picky)
    assert picky.seen[0].number == 2


def test_it_remembers_so_many(gateway, chat):
    picky = gateway(Manners(), remember=2)
    for _ in range(3):
        chat(picky)
    assert [seen.number for seen in picky.seen] == [2, 3]


def test_wait_for_counts_what_it_is_asked_to(gateway, chat, pool):
    picky = gateway(Manners())
    for _ in range(3):
        pool.submit(chat, picky)
    pool.submit(chat, picky, headers={})
    assert len(picky.wait_for(3, surface="chat", verdict="served", ended=True)) == 3
    assert len(picky.wait_for(1, verdict="refused")) == 1


def test_wait_until_gives_up(gateway):
    with pytest.raises(TimeoutError, match="the moon"):
        gateway(Manners()).wait_until(lambda: False, timeout=0, what="the moon")
