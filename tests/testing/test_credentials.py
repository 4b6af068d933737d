"""Which credentials each preset takes, how it refuses, and what the observer reports of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, PRESETS, REFUSALS, Manners, json_answer
from litellm_gateway_plugin.testing.credentials import find_credentials
from litellm_gateway_plugin.testing.shapes import look_up

STYLES = {
    "none": {},
    "bearer": {"Authorization": f"Bearer {FAKE_KEY}"},
    "x-api-key": {"X-Api-Key": FAKE_KEY},
    "raw": {"Authorization": FAKE_KEY},
    "api-key": {"Api-Key": FAKE_KEY},
    "wrong bearer, right x-api-key": {"Authorization": "Bearer wrong", "X-Api-Key": FAKE_KEY},
    "ocp-apim-subscription-key": {"Ocp-Apim-Subscription-Key": FAKE_KEY},
    "apikey": {"apikey": FAKE_KEY},
}

# As measured: listing / chat for none, bearer, x-api-key, raw, api-key, and a wrong bearer beside a right x-api-key.
MEASURED = {
    "llama-cpp": "401/401 200/200 200/200 200/200 401/401 401/401 401/401 401/401",
    "vllm": "401/401 200/200 401/401 401/401 401/401 401/401 401/401 401/401",
    "litserve": "404/401 404/401 404/200 404/401 404/401 404/200 404/401 404/401",
    "litellm-proxy": "401/401 200/200 200/200 401/401 200/200 400/400 401/401 401/401",
    "chutes": "200/401 200/200 200/401 200/200 200/401 401/401 200/401 200/401",
    "seed-000": "200/401 401/401 200/200 401/401 200/401 401/200 200/401 200/401",
    "seed-001": "200/401 200/200 200/401 200/429 200/401 401/401 200/401 200/401",
    "azure-apim": "401/401 401/401 401/401 401/401 401/401 401/401 200/200 401/401",
    "kong": "401/401 401/401 401/401 401/401 401/401 401/401 401/401 200/200",
    "aws": "403/403 403/403 200/200 403/403 403/403 200/200 403/403 403/403",
}


def test_every_preset_has_a_row():
    assert set(MEASURED) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_answers_the_measured_table(name, gateway, client, chat):
    picky = gateway(PRESETS[name])
    model = picky.manners.models[0]
    found = []
    for headers in STYLES.values():
        listing = client.get(picky.base() + "/models", headers=headers)
        found.append(f"{listing.status_code}/{chat(picky, model=model, headers=headers).status_code}")
    assert " ".join(found) == MEASURED[name]


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_its_shape(name, gateway, client):
    shape = look_up(REFUSALS, name)
    picky = gateway(Manners(refusal=name))
    with client.stream("POST", picky.base() + "/chat/completions", json={"model": "test/model-small"}) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.status_code == shape.status
        assert raw == shape.body.replace(b"$MODEL", b"test/model-small")
        for header, value in shape.headers:
            assert value in answer.headers.get_list(header)
    assert [seen.verdict for seen in picky.seen] == ["refused"]


def test_fifty_header_names_are_fifty_challenges(gateway, chat):
    answer = chat(gateway(Manners(refusal="hostile_many_names")), headers={})
    assert len(answer.headers.get_list("www-authenticate")) == 50


def test_the_bomb_is_a_bomb(gateway, chat):
    shape = look_up(REFUSALS, "hostile_gzip_bomb")
    assert len(shape.body) < 100_000
    assert len(chat(gateway(Manners(refusal="hostile_gzip_bomb")), headers={}).content) > 50_000_000


def test_an_unknown_shape_names_those_that_there_are():
    with pytest.raises(KeyError, match="vllm"):
        look_up(REFUSALS, "no such thing")


def test_a_refusal_of_ones_own(gateway, chat):
    picky = gateway(Manners(refusal=json_answer(418, {"tea": "$MODEL"})))
    answer = chat(picky, headers={})
    assert (answer.status_code, answer.json()) == (418, {"tea": "test/model-small"})


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing"),
        ({"authorization": FAKE_KEY}, "malformed"),
        ({"authorization": "Bearer wrong"}, "wrong-key"),
        ({"x-api-key": "wrong"}, "wrong-key"),
    ],
)
def test_each_reason_can_have_its_own_refusal(headers, reason, gateway, chat):
    reasons = {name: json_answer(401, {"why": name}) for name in ("missing", "malformed", "wrong-key")}
    picky = gateway(Manners(styles={"*": ("bearer", "x-api-key")}, refusals=reasons))
    assert chat(picky, headers=headers).json() == {"why": reason}


def test_a_second_credential_can_make_it_refuse(gateway, chat):
    picky = gateway(Manners(styles={"*": ("bearer", "x-api-key")}, extra_credential_refused="litellm_proxy_no_db"))
    both = {"authorization": f"Bearer {FAKE_KEY}", "x-api-key": FAKE_KEY}
    assert chat(picky, headers=both).status_code == 400
    assert chat(picky, headers={"x-api-key": FAKE_KEY}).status_code == 200
    assert picky.seen[0].credential_headers == ("authorization", "x-api-key")
    assert (picky.seen[0].style, picky.seen[0].key_ok) == ("bearer", True)


def test_authorization_need_not_win(gateway, chat):
    both = {"authorization": "Bearer wrong", "x-api-key": FAKE_KEY}
    picky = gateway(Manners(styles={"*": ("bearer", "x-api-key")}))
    assert chat(picky, headers=both).status_code == 401
    picky.change(authorization_wins=False)
    assert chat(picky, headers=both).status_code == 200


def test_a_gateway_without_keys_takes_anything(gateway, chat):
    picky = gateway(Manners(key=None))
    assert [chat(picky, headers=headers).status_code for headers in STYLES.values()] == [200] * len(STYLES)


def test_a_public_surface_ignores_what_it_is_sent(gateway, client):
    picky = gateway(Manners(styles={"*": ("bearer",), "models": ("none",)}))
    assert client.get(picky.base() + "/models", headers={"authorization": "Bearer wrong"}).status_code == 200
    picky.change(public_checks_authorization=True)
    assert client.get(picky.base() + "/models", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert client.get(picky.base() + "/models", headers={"x-api-key": "wrong"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "style", "right"),
    [
        ([("authorization", f"bearer {FAKE_KEY}")], "bearer", True),
        ([("authorization", "Basic dXNlcjpwYXNz")], "basic", False),
        ([("authorization", FAKE_KEY)], "raw", True),
        ([("x-strange", FAKE_KEY)], "x-strange", True),
        ([("api-key", "wrong")], "api-key", False),
        ([("accept", "*/*"), ("x-api-key", FAKE_KEY), ("authorization", "Bearer x")], "bearer", False),
    ],
)
def test_the_style_is_named_from_outside(headers, style, right):
    first = find_credentials(headers, FAKE_KEY)[0]
    assert (first.style, first.right) == (style, right)


def test_no_record_holds_the_key(gateway, client):
    picky = gateway(Manners())
    headers = {"authorization": f"Bearer {FAKE_KEY}", "x-api-key": "another secret", "x-odd": f"k={FAKE_KEY}"}
    client.get(picky.base() + f"/models?api-key={FAKE_KEY}", headers=headers)
    seen = picky.seen[0]
    assert seen.headers["authorization"] == "Bearer <redacted>"
    assert seen.headers["x-api-key"] == "<redacted>"
    assert seen.query == "api-key=<redacted>"
    assert FAKE_KEY not in repr(seen)
    assert "another secret" not in repr(seen)
    assert FAKE_KEY not in repr(picky.manners)


def test_a_rotated_key_is_refused(gateway, chat):
    picky = gateway(Manners())
    assert chat(picky).status_code == 200
    picky.manners = replace(picky.manners, key="sk-test-rotated")
    assert chat(picky).status_code == 401
