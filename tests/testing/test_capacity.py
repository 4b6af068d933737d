"""A gateway that is full: its words, its headers, and for how long."""

from __future__ import annotations

import email.utils
import time

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, FULL, RETRY_AFTER, Manners

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}


@pytest.mark.parametrize("name", FULL)
def test_a_full_gateway_has_its_words(name, gateway, chat):
    picky = gateway(Manners())
    picky.full(times=1, shape=name)
    answer = chat(picky)
    assert (answer.status_code, answer.content) == (FULL[name].status, FULL[name].body)
    assert chat(picky).status_code == 200
    assert [(seen.verdict, seen.worked) for seen in picky.seen] == [("full", False), ("served", True)]


def test_litserve_says_it_in_the_stream_and_ends_without_a_blank_line(gateway, chat):
    picky = gateway(Manners(full="litserve"))
    picky.full()
    assert chat(picky).status_code == 429
    answer = chat(picky, stream=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.startswith('data: {"error"')
    assert not answer.text.endswith("\n\n")


@pytest.mark.parametrize("spelling", RETRY_AFTER)
def test_every_spelling_of_come_back_later(spelling, gateway, chat):
    picky = gateway(Manners())
    picky.full(times=1, retry_after=2.5, spelling=spelling)
    answer = chat(picky)
    told = RETRY_AFTER[spelling](2.5, time.time())
    for header, value in told.items():
        if spelling == "date":
            assert email.utils.parsedate_to_datetime(answer.headers[header]).tzinfo is not None
        elif spelling != "reset_epoch":
            assert answer.headers[header] == value


def test_a_text_is_sent_as_it_is(gateway, chat):
    picky = gateway(Manners())
    picky.full(times=1, retry_after="a while", headers={"x-more": "1"})
    answer = chat(picky)
    assert (answer.headers["retry-after"], answer.headers["x-more"]) == ("a while", "1")


def test_full_until_released(gateway, chat):
    picky = gateway(Manners())
    with picky.full() as script:
        assert [chat(picky).status_code for _ in range(3)] == [429] * 3
        assert script.used == 3
    assert chat(picky).status_code == 200


def test_only_accepted_requests_are_told(gateway, client, chat):
    picky = gateway(Manners())
    picky.full(times=1)
    assert chat(picky, headers={}).status_code == 401
    assert client.get(picky.base() + "/models", headers=BEARER).status_code == 200
    assert chat(picky).status_code == 429


def test_a_script_for_one_surface(gateway, client, chat):
    picky = gateway(Manners())
    picky.full(times=1, surfaces=["models"])
    assert chat(picky).status_code == 200
    assert client.get(picky.base() + "/models", headers=BEARER).status_code == 429


def test_room_for_so_many_at_a_time(gateway, chat, pool):
    picky = gateway(Manners(room=2, full="nginx_503", full_headers={"retry-after": "1"}))
    with picky.hold(2) as held:
        first = [pool.submit(chat, picky) for _ in range(2)]
        held.wait_held(2)
        refused = chat(picky)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [answer.result().status_code for answer in first] == [200, 200]
    assert chat(picky).status_code == 200
    assert picky.peak == 2


def test_so_many_in_a_second(gateway, chat):
    now = [100.0]
    picky = gateway(Manners(qps=2), clock=lambda: now[0])
    assert [chat(picky).status_code for _ in range(3)] == [200, 200, 429]
    now[0] += 1
    assert chat(picky).status_code == 200
