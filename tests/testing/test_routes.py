"""Where things live, and what is answered where nothing does."""

from __future__ import annotations

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, MISSING_ROUTES, PRESETS, Manners, redirect
from litellm_gateway_plugin.testing.request import SURFACES, locate

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}


@pytest.mark.parametrize("name", MISSING_ROUTES)
def test_a_missing_route_has_its_shape(name, gateway, chat):
    shape = MISSING_ROUTES[name]
    answer = chat(gateway(Manners(missing_route=name)), base="")
    assert answer.status_code == shape.status
    assert answer.content == shape.body.replace(b"$PATH", b"/chat/completions")


@pytest.mark.parametrize("prefix", ["", "/v1", "/v3", "/api/openai", "/openai/v1", "/api/paas/v4"])
def test_it_lives_under_any_prefix(prefix, gateway, chat):
    picky = gateway(Manners(bases={"*": (prefix,)}))
    assert picky.base() == picky.url + prefix
    assert chat(picky).status_code == 200
    assert chat(picky, base="/elsewhere").status_code == 404
    assert [(seen.surface, seen.base, seen.verdict) for seen in picky.seen] == [
        ("chat", prefix, "served"),
        ("chat", "/elsewhere", "no route"),
    ]


def test_surfaces_can_live_apart(gateway, client, chat):
    picky = gateway(Manners(bases={"*": ("/v1",), "chat": ("",)}))
    assert chat(picky, base="").status_code == 200
    assert chat(picky, base="/v1").status_code == 404
    assert client.get(picky.url + "/v1/models", headers=BEARER).status_code == 200
    assert client.get(picky.url + "/models", headers=BEARER).status_code == 404


def test_a_listing_can_be_absent(gateway, client, chat):
    picky = gateway(Manners(absent=("models",)))
    assert client.get(picky.base() + "/models", headers=BEARER).status_code == 404
    assert chat(picky).status_code == 200


def test_the_order_of_the_checks(gateway, chat):
    first = {
        checks: chat(gateway(Manners(checks=checks)), base="", headers={}) for checks in ("auth-first", "route-first")
    }
    assert {checks: answer.status_code for checks, answer in first.items()} == {"auth-first": 401, "route-first": 404}


@pytest.mark.parametrize(
    ("slash", "without", "with_it"),
    [("missing", 200, 404), ("redirect", 200, 307), ("served", 200, 200), ("required", 307, 200)],
)
def test_a_trailing_slash(slash, without, with_it, gateway, client):
    picky = gateway(Manners(trailing_slash=slash))
    url = picky.base() + "/chat/completions"
    body = {"model": "test/model-small", "messages": []}
    assert client.post(url, headers=BEARER, json=body).status_code == without
    assert client.post(url + "/", headers=BEARER, json=body).status_code == with_it
    followed = client.post(url + ("/" if without == 200 else ""), headers=BEARER, json=body, follow_redirects=True)
    assert followed.status_code == with_it if slash == "missing" else 200
    if slash != "missing":
        assert (picky.seen[-1].method, picky.seen[-1].body) == ("POST", body)


def test_a_doubled_slash_is_nowhere(gateway, client):
    picky = gateway(Manners(trailing_slash="redirect"))
    assert client.post(picky.base() + "//chat/completions", headers=BEARER, json={}).status_code == 404
    assert client.post(picky.base() + "/chat/completions//", headers=BEARER, json={}).status_code == 404


def test_a_redirect_to_another_origin_keeps_path_and_query(gateway, client):
    other = gateway(Manners())
    picky = gateway(Manners(missing_route=redirect(307, other.url + "/v1$PATH$QUERY")))
    answer = client.get(picky.url + "/models?limit=1", headers=BEARER)
    assert answer.headers["location"] == other.url + "/v1/models?limit=1"


def test_the_wrong_method(gateway, client):
    picky = gateway(Manners())
    assert client.get(picky.base() + "/chat/completions", headers=BEARER).status_code == 405
    assert client.post(picky.base() + "/models", headers=BEARER).status_code == 405
    assert client.get(picky.base() + "/files", headers=BEARER).status_code == 200


def test_llama_cpp_answers_at_its_root_in_its_own_shape(gateway, client):
    picky = gateway(PRESETS["llama-cpp"])
    embedded = client.post(picky.url + "/embeddings", headers=BEARER, json={"input": "a"}).json()
    assert isinstance(embedded, list)
    assert isinstance(embedded[0]["embedding"][0], list)
    assert "content" in client.post(picky.url + "/completions", headers=BEARER, json={"prompt": "a"}).json()
    assert "data" in client.post(picky.base() + "/embeddings", headers=BEARER, json={"input": "a"}).json()


def test_pages_of_its_own(gateway, client):
    picky = gateway(Manners(pages={"/chutes/utilization": [{"name": "a", "utilization_current": 0.5}]}))
    assert client.get(picky.url + "/chutes/utilization").json() == [{"name": "a", "utilization_current": 0.5}]
    assert picky.seen[0].verdict == "page"


@pytest.mark.parametrize("suffix", SURFACES)
def test_every_surface_is_found(suffix):
    place = locate("/api/v1" + suffix)
    assert (place.surface, place.base, place.slash) == (SURFACES[suffix], "/api/v1", False)
    assert locate("/api/v1" + suffix + "/").slash


@pytest.mark.parametrize("path", ["/v1/models/Qwen/Qwen3-8B", "/v1/models/Qwen%2FQwen3-8B"])
def test_an_id_with_slashes_belongs_to_the_listing(path):
    place = locate(path)
    assert (place.surface, place.base, place.item) == ("models", "/v1", "Qwen/Qwen3-8B")


def test_a_strange_path_has_no_surface():
    assert locate("/healthz").surface == ""
