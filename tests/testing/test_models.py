"""Listings and model ids."""

from __future__ import annotations

import httpx
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, LISTINGS, UNKNOWN_MODELS, Manners, json_answer

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}
IDS = ("Qwen/Qwen3-8B", "plain")


@pytest.mark.parametrize("dialect", LISTINGS)
def test_a_listing_speaks_its_dialect(dialect, gateway, client):
    picky = gateway(Manners(models=IDS, listing=dialect, facts={"plain": {"colour": "blue"}}))
    listing = client.get(picky.base() + "/models", headers=BEARER).json()
    entries = listing if dialect == "together" else listing["data"]
    assert [entry["id"] for entry in entries] == list(IDS)
    assert ["colour" in entry for entry in entries] == [False, True]
    assert ("models" in listing) == (dialect == "llama_cpp")


@pytest.mark.parametrize("dialect", LISTINGS)
def test_one_entry_by_its_id(dialect, gateway, client):
    picky = gateway(Manners(models=IDS, listing=dialect))
    assert client.get(picky.base() + "/models/Qwen/Qwen3-8B", headers=BEARER).json()["id"] == "Qwen/Qwen3-8B"
    assert client.get(picky.base() + "/models/nothing", headers=BEARER).status_code == 404


def test_a_listing_of_ones_own(gateway, client):
    picky = gateway(Manners(listing=json_answer(200, {"data": None})))
    assert client.get(picky.base() + "/models", headers=BEARER).json() == {"data": None}


@pytest.mark.parametrize("name", sorted(set(UNKNOWN_MODELS) - {"500_reset"}))
def test_an_unknown_model_has_its_shape(name, gateway, chat):
    picky = gateway(Manners(unknown_model=name))
    answer = chat(picky, model='strange "id"')
    shape = UNKNOWN_MODELS[name]
    assert answer.status_code == shape.status
    assert 'strange \\"id\\"' in answer.text
    assert isinstance(answer.json(), dict)
    assert (picky.seen[0].verdict, picky.seen[0].model) == ("no model", 'strange "id"')


def test_a_500_and_then_a_broken_connection(gateway, client):
    picky = gateway(Manners(unknown_model="500_reset"))
    body = {"model": "strange", "messages": []}
    answer = client.post(picky.base() + "/chat/completions", headers=BEARER, json=body)
    assert answer.status_code == 500
    picky.wait_until(lambda: picky.connections == 0)
    try:
        assert client.post(picky.base() + "/chat/completions", headers=BEARER, json=body).status_code == 500
    except httpx.TransportError:  # the client had not noticed yet, and used the dead connection
        assert len(picky.seen) == 1


def test_ids_can_be_ignored(gateway, chat):
    answer = chat(gateway(Manners(unknown_model="ignored")), model="anything")
    assert answer.json()["model"] == "anything"


def test_what_is_served_need_not_be_listed(gateway, client, chat):
    picky = gateway(Manners(models=("listed",), served=("hidden",)))
    assert chat(picky, model="hidden").status_code == 200
    assert chat(picky, model="listed").status_code == 404
