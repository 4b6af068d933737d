"""The matrix: which requests a gateway sees, and which cells its answers make."""

from __future__ import annotations

import datetime
import email.utils
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pluggy
import pytest
import trustme

from litellm_gateway_plugin.catalogue import Listing, Model
from litellm_gateway_plugin.doctor import matrix
from litellm_gateway_plugin.doctor.lanes import side_by_side
from litellm_gateway_plugin.doctor.matrix import FIRST, Examination, announce, examination, examine, styles_of
from litellm_gateway_plugin.doctor.probes import Allowance, Pace, Probe, Probed, Prober, cell_of
from litellm_gateway_plugin.doctor.report import Outcome
from litellm_gateway_plugin.doctor.targets import Examined, Models, Target
from litellm_gateway_plugin.errors import InvalidInput
from litellm_gateway_plugin.hookspecs import hookimpl
from litellm_gateway_plugin.plugins import plugin_manager, policy_of
from litellm_gateway_plugin.testing import PRESETS, Manners, PickyGateway
from litellm_gateway_plugin.testing.answers import JSON, Answer, json_answer, redirect
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.testing.shapes import FULL
from litellm_gateway_plugin.wire import Clients
from litellm_gateway_plugin.wire.environment import options_from
from tests.support.doctored import (
    NO_ENVIRONMENT,
    TIMEOUT,
    at,
    cell,
    examined,
    looked_at,
    outcomes,
    skipped,
    styles_seen,
    target_of,
)

ORDER = ("bearer", "x-api-key", "raw", "api-key")
FIRST_STYLES = sorted(ORDER[:FIRST])
WITH_NONE = sorted(["none", *FIRST_STYLES])
ALL = sorted(["none", *ORDER])


@pytest.fixture(autouse=True)
def _alone(isolated_environment: pytest.MonkeyPatch) -> None:
    """No proxy and no CA file from outside."""


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# What is asked --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "works"),
    [
        ("seed-000", "x-api-key"),
        ("seed-001", "bearer"),
        ("vllm", "bearer"),
        ("llama-cpp", "bearer"),
        ("litellm-proxy", "bearer"),
        ("chutes", "bearer"),
        ("aws", "x-api-key"),
    ],
)
def test_seven_requests_are_enough_for_most(gateway: GatewayFactory, preset: str, works: str) -> None:
    server = gateway(PRESETS[preset])
    found = looked_at(server)
    assert styles_seen(server) == {("models", "/v1"): WITH_NONE, ("chat", "/v1"): FIRST_STYLES}
    assert (found.works_base, found.works_style) == (server.base(), works)


def test_a_style_that_the_refusal_names_is_tried_after_the_usual_ones(gateway: GatewayFactory) -> None:
    server = gateway(PRESETS["azure-apim"])
    found = looked_at(server)
    more = ["api-key", "ocp-apim-subscription-key"]
    base = "/openai/v1"
    assert styles_seen(server) == {
        ("models", base): sorted([*WITH_NONE, *more]),
        ("chat", base): sorted([*FIRST_STYLES, *more]),
    }
    assert found.works_style == "ocp-apim-subscription-key"


def test_the_last_style_of_the_order_is_tried_when_the_first_are_refused(gateway: GatewayFactory) -> None:
    server = gateway(Manners(styles={"*": ("api-key",)}))
    found = looked_at(server)
    assert styles_seen(server) == {("models", "/v1"): ALL, ("chat", "/v1"): sorted(ORDER)}
    assert found.works_style == "api-key"


def test_raw_only(gateway: GatewayFactory) -> None:
    found = looked_at(gateway(Manners(styles={"*": ("raw",)})))
    assert outcomes(found) == {"bearer": "style", "x-api-key": "style", "raw": "proven"}


@pytest.mark.parametrize("given", ["", "/v1"])
def test_other_form_is_asked_when_the_given_one_has_no_such_route(gateway: GatewayFactory, given: str) -> None:
    other = "" if given else "/v1"
    server = gateway(Manners(bases={"*": (other,)}))
    found = looked_at(server, at(server, given))
    assert styles_seen(server) == {
        ("models", given): WITH_NONE,
        ("models", other): WITH_NONE,
        ("chat", other): FIRST_STYLES,
    }
    assert (found.works_base, found.works_style) == (server.url + other, "bearer")
    assert cell(found, "bearer", toggled=True).outcome is Outcome.PASS


def test_chat_and_listing_on_different_forms(gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ("/v1",), "chat": ("",)}))
    found = looked_at(server, at(server, "/v1"))
    assert styles_seen(server) == {
        ("models", "/v1"): WITH_NONE,
        ("chat", "/v1"): FIRST_STYLES,
        ("chat", ""): FIRST_STYLES,
    }
    assert found.works_base == server.url


def test_guard_that_refuses_before_it_looks_at_the_path(gateway: GatewayFactory) -> None:
    server = gateway(Manners(checks="auth-first"))
    found = looked_at(server, at(server, ""))
    assert styles_seen(server)["chat", "/v1"] == FIRST_STYLES
    assert found.works_base == server.url + "/v1"


def test_wrong_key_costs_one_look_at_the_other_form(gateway: GatewayFactory) -> None:
    server = gateway(Manners(checks="auth-first"))
    found = looked_at(server, at(server, key="test-another-key"))
    assert styles_seen(server) == {
        ("models", "/v1"): ALL,
        ("models", ""): ["bearer"],
        ("chat", "/v1"): sorted(ORDER),
        ("chat", ""): ["bearer"],
    }
    assert found.works_style == ""


@pytest.mark.parametrize("another", [False, True])
def test_other_form_with_another_guard_gets_every_style(another: bool) -> None:
    """The guard is another one when its refusal reads otherwise."""
    target, sent = target_of("https://llm.example.com/v1"), []

    def work(probe: Probe) -> Probed:
        sent.append((probe.surface, probe.toggled))
        reading = (401, "other words" if another and probe.toggled else "words")
        return Probed(probe, cell_of(probe, Outcome.FAIL, verdict="style"), reading=reading)

    side_by_side([examination(target, styles_of(target, ORDER), every=False)], work, threads=1)
    assert sent.count(("chat/completions", False)) == 4
    assert sent.count(("chat/completions", True)) == (FIRST if another else 1)


def test_base_with_a_version_of_its_own_has_one_form(gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ("/v3",)}))
    looked_at(server, at(server, "/v4"))
    assert {seen.base for seen in server.seen} == {"/v4"}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_with_every_all_styles_meet_both_forms_on_both_surfaces(gateway: GatewayFactory, preset: str) -> None:
    server = gateway(PRESETS[preset])
    found = looked_at(server, every=True)
    base = server.base()[len(server.url) :]
    for surface in ("models", "chat"):
        for form in (base, base.removesuffix("/v1")):
            assert set(ALL) <= set(styles_seen(server)[surface, form])
    sent = [each for each in found.cells if each.outcome is not Outcome.SKIPPED]
    assert len(sent) == len(server.seen) >= 20
    assert found.works_style == examined(at(server)).works_style


def test_without_a_key_no_style_is_sent_and_the_others_are_skipped(gateway: GatewayFactory) -> None:
    server = gateway(Manners(key=None))
    found = looked_at(server, at(server))
    assert styles_seen(server) == {("models", "/v1"): ["none"], ("chat", "/v1"): ["none"]}
    assert outcomes(found) == {"none": "proven", **dict.fromkeys(ORDER, "SKIPPED")}
    assert {each.words for each in skipped(found)} == {"no key is known"}
    assert (found.works_base, found.works_style) == (server.base(), "none")


def test_user_and_password_are_sent_as_such_and_in_no_other_style(gateway: GatewayFactory) -> None:
    server = gateway(Manners(key="user:pass-word", styles={"*": ("basic",)}))
    base = server.base().replace("http://", "http://user:pass-word@")
    target = target_of(base, "user:pass-word", named="basic")
    examined(target)
    assert sorted({seen.style for seen in server.seen}) == ["basic", "none"]


@pytest.mark.parametrize("every", [False, True])
def test_over_plain_http_to_a_public_address_one_style_is_sent(every: bool) -> None:
    target = target_of("http://llm.example.com/v1")
    flow = examination(target, styles_of(target, ORDER), every=every)
    found = driven(flow, {"models": "style", "chat/completions": "style"})
    sent = {each.style for each in found.cells if each.outcome is not Outcome.SKIPPED}
    assert sent == {"bearer", "none"}
    assert {each.style for each in skipped(found)} == set(ORDER[1:])
    assert all("plain http to a public address" in each.words for each in skipped(found))


def driven(flow: Examination, verdicts: Mapping[str, str]) -> Examined:
    """A flow, driven by hand: every probe of a surface has the same verdict."""

    def work(probe: Probe) -> Probed:
        return Probed(probe, cell_of(probe, Outcome.FAIL, verdict=verdicts[probe.surface]))

    (found,) = side_by_side([flow], work, threads=1)
    return found


VERDICTS = ("style", "base", "model", "forbidden", "rejected", "failed", "timeout", "broken-off", "connect", "tls")


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("chat", VERDICTS)
@pytest.mark.parametrize("listing", VERDICTS)
def test_no_path_makes_more_probes_than_announced(listing: str, chat: str, every: bool) -> None:
    target = target_of("https://llm.example.com/v1")
    found = driven(
        examination(target, styles_of(target, ORDER), every=every), {"models": listing, "chat/completions": chat}
    )
    sent = [each for each in found.cells if each.outcome is not Outcome.SKIPPED]
    announced = announce([target], every=every)
    assert len(sent) <= announced.requests
    assert len([each for each in sent if each.surface == "chat/completions"]) <= announced.chat_calls
    assert len({(each.surface, each.style, each.toggled) for each in sent}) == len(sent)


def test_what_is_announced_for_several_is_the_sum() -> None:
    one, other = target_of("https://a.example/v1"), target_of("https://b.example/v3", None)
    alone = [announce([each], every=False) for each in (one, other)]
    both = announce([one, other], every=False)
    assert (both.requests, both.chat_calls) == (
        sum(each.requests for each in alone),
        sum(each.chat_calls for each in alone),
    )
    assert (alone[1].requests, alone[1].chat_calls) == (4, 1)


@pytest.mark.parametrize("every", [False, True])
def test_redirects_count_as_requests_that_were_announced(gateway: GatewayFactory, every: bool) -> None:
    server = gateway(Manners(trailing_slash="required"))
    found = looked_at(server, every=every)
    assert cell(found, "bearer").outcome is Outcome.PASS
    assert [seen.path for seen in server.seen].count("/v1/chat/completions/") >= FIRST


@pytest.mark.parametrize("styles", [("api-key",), ("ocp-apim-subscription-key",)])
@pytest.mark.parametrize("every", [False, True])
def test_redirects_are_followed_for_every_style(gateway: GatewayFactory, styles: tuple[str, ...], every: bool) -> None:
    """Both forms exist, all is redirected, and the style that works comes last."""
    more = {"refusal": "azure_apim", "bases": {"*": ("/v1", "")}}
    server = gateway(Manners(trailing_slash="required", styles={"*": styles}, **more))  # type: ignore[arg-type]  # knobs
    assert looked_at(server, every=every).works_style == styles[0]


def test_no_more_redirects_are_followed_than_were_announced(gateway: GatewayFactory) -> None:
    server = gateway(Manners(trailing_slash="required"))
    target, options = at(server), options_from({})
    clients = Clients(lambda: options)
    prober = Prober(clients.threads(), policy_of(plugin_manager()), TIMEOUT, Allowance({target.label: 1}))
    found = [prober(Probe(target, "models", "bearer")).cell for _ in range(3)]
    clients.close()
    assert [each.verdict for each in found] == ["proven", "base", "base"]
    assert found[1].words == "a redirect to another page, not followed"
    assert len(server.seen) == 4


def test_redirect_to_another_origin_is_not_followed(gateway: GatewayFactory) -> None:
    elsewhere = gateway(Manners())
    server = gateway(Manners(bases={"*": ()}, missing_route=redirect(307, elsewhere.url + "/v1/chat/completions")))
    found = looked_at(server, at(server, "/v1"))
    assert elsewhere.seen == []
    assert cell(found, "bearer").verdict == "base"
    assert cell(found, "bearer").words == f"a redirect to {elsewhere.url}, not followed"


def test_one_style_is_in_each_request(gateway: GatewayFactory) -> None:
    server = gateway(PRESETS["kong"])
    looked_at(server, every=True)
    assert {len(seen.credential_headers) for seen in server.seen} == {0, 1}


def test_vendor_says_the_order(gateway: GatewayFactory) -> None:
    class Vendor:
        @hookimpl
        def gateway_auth_order(self, base: object, surface: str) -> list[str]:
            return ["x-vendor-key", "bearer"]

    manager = plugin_manager()
    manager.register(Vendor())
    server = gateway(Manners(styles={"*": ("x-vendor-key",)}))
    found = looked_at(server, plugins=manager)
    assert styles_seen(server)["chat", "/v1"] == ["bearer", "x-vendor-key"]
    assert found.works_style == "x-vendor-key"


# What is chosen -------------------------------------------------------------------------------------------------------


def chat_model(server: PickyGateway) -> set[str]:
    return {seen.model for seen in server.seen if seen.surface == "chat"}


def test_first_listed_chat_model_is_called(gateway: GatewayFactory) -> None:
    facts = {"a/embedder": {"type": "embedding"}, "b/chatter": {"type": "chat"}}
    server = gateway(Manners(models=("a/embedder", "b/chatter"), facts=facts))
    found = looked_at(server)
    assert chat_model(server) == {"b/chatter"}
    assert found.models == Models(text="b/chatter", embedding="a/embedder")


def test_named_model_is_called_as_the_listing_writes_it(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    found = looked_at(server, at(server, text="MODEL-large"))
    assert chat_model(server) == {"test/model-large"}
    assert found.models.text == "test/model-large"


def test_models_for_pictures_and_tools_come_from_what_the_listing_says(gateway: GatewayFactory) -> None:
    found = looked_at(gateway(PRESETS["seed-000"]))
    text, vlm = PRESETS["seed-000"].models
    assert (found.models.text, found.models.vlm) == (text, vlm)
    assert looked_at(gateway(PRESETS["vllm"])).models == Models(text="test/model-small")


def test_server_of_one_model_without_a_listing(gateway: GatewayFactory) -> None:
    server = gateway(PRESETS["litserve"])
    found = looked_at(server)
    assert found.listing is None
    assert chat_model(server) == {"default"}
    assert (found.models.text, found.works_style) == ("default", "x-api-key")
    assert styles_seen(server)["models", ""] == WITH_NONE


def test_unknown_model_has_let_the_credential_in(gateway: GatewayFactory) -> None:
    server = gateway(Manners(absent=("models",)))
    found = looked_at(server)
    assert outcomes(found) == {"bearer": "model", "x-api-key": "style", "raw": "style"}
    assert (found.works_style, found.models.text) == ("", "")
    assert len(server.seen) == 11


@pytest.mark.parametrize("key", ["test-key-of-the-doctor", None])
def test_listing_that_a_key_has_shown_goes_before_the_public_one(key: str | None) -> None:
    target = target_of("https://llm.example.com/v1", key)

    def work(probe: Probe) -> Probed:
        own = Listing((Model("everybodys/model" if probe.style == "none" else "my/model"),))
        listing = own if probe.surface == "models" else None
        return Probed(probe, cell_of(probe, Outcome.PASS, verdict="proven"), listing)

    (found,) = side_by_side([examination(target, styles_of(target, ORDER), every=False)], work)
    assert found.models.text == ("my/model" if key else "everybodys/model")


def test_hint_of_a_refusal_is_left_alone_when_another_style_was_let_in(gateway: GatewayFactory) -> None:
    server = gateway(Manners(refusal="azure_apim"))
    looked_at(server, every=True)
    assert len(server.seen) == 20
    assert {seen.style for seen in server.seen} == set(ALL)


def test_public_listing_proves_no_style(gateway: GatewayFactory) -> None:
    server = gateway(replace(PRESETS["chutes"], public_checks_authorization=False))
    found = looked_at(server, at(server, key="test-another-key"))
    assert {each.outcome for each in found.cells if each.surface == "models"} == {Outcome.PASS}
    assert (found.works_base, found.works_style) == ("", "")


def test_served_goes_before_full(gateway: GatewayFactory) -> None:
    found = looked_at(gateway(replace(PRESETS["seed-001"], always_full=("bearer",))))
    assert found.works_style == "raw"


# What it comes to -----------------------------------------------------------------------------------------------------


def test_full(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    server.full(retry_after="7")
    found = looked_at(server)
    full = cell(found, "bearer")
    assert (full.outcome, full.status, full.verdict, full.retry_after_s) == (Outcome.CAPACITY, 429, "full", 7.0)
    assert (found.works_base, found.works_style) == (server.base(), "bearer")


def test_full_inside_a_success(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    server.full(shape="openrouter")
    full = cell(looked_at(server), "bearer")
    assert (full.outcome, full.status, full.words) == (Outcome.CAPACITY, 200, "Provider returned error: rate limited")


def test_capacity_is_what_a_vendor_says_it_is(gateway: GatewayFactory) -> None:
    class Vendor:
        @hookimpl
        def gateway_is_capacity(self, status: int, headers: object, body: str) -> bool | None:
            return True if "come back tomorrow" in body else None

    manager = plugin_manager()
    manager.register(Vendor())
    server = gateway(Manners())
    server.full(shape=json_answer(418, {"detail": "come back tomorrow"}))
    assert cell(looked_at(server, plugins=manager), "bearer").outcome is Outcome.CAPACITY
    assert cell(looked_at(server), "bearer").verdict == "rejected"


@pytest.mark.parametrize(
    ("shape", "verdict", "words"),
    [
        (FULL["chutes_quota"], "rejected", "Quota exceeded for this model"),
        (FULL["chutes_cap"], "rejected", "Subscription usage cap exceeded, please try again later"),
        (json_answer(500, {"error": "boom"}), "failed", "boom"),
        (
            json_answer(403, {"error": "Your plan does not include this"}),
            "forbidden",
            "Your plan does not include this",
        ),
    ],
)
def test_other_answers_to_chat(gateway: GatewayFactory, shape: object, verdict: str, words: str) -> None:
    server = gateway(Manners())
    server.full(shape=shape)  # type: ignore[arg-type]  # an answer
    found = looked_at(server)
    assert (cell(found, "bearer").verdict, cell(found, "bearer").words) == (verdict, words)
    assert cell(found, "bearer").outcome is Outcome.FAIL
    assert len(server.seen) == 7


def test_web_page_in_the_place_of_an_answer(gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ()}, missing_route="console"))
    found = looked_at(server, at(server, ""))
    page = cell(found, "bearer")
    assert (page.verdict, page.status, page.html, page.words) == ("base", 200, True, "a web page: Gateway console")


def test_cells_name_the_form_and_the_listing_its_size(gateway: GatewayFactory) -> None:
    server = gateway(PRESETS["vllm"])
    found = looked_at(server)
    listed = cell(found, "bearer", "models")
    assert (listed.api_base, listed.status, listed.words) == (server.base(), 200, "2 models listed")
    assert cell(found, "none", "models").verdict == "style"


def test_clock_of_the_gateway(gateway: GatewayFactory) -> None:
    ahead = email.utils.formatdate(time.time() + 3600, usegmt=True)
    found = looked_at(gateway(Manners(headers={"date": ahead})))
    skew = cell(found, "bearer").skew_s
    assert skew is not None
    assert skew == pytest.approx(3600, abs=120)
    assert cell(looked_at(gateway(Manners())), "bearer").skew_s is None
    assert cell(looked_at(gateway(Manners(headers={"date": "yesterday"}))), "bearer").skew_s is None


# What must not be shown -----------------------------------------------------------------------------------------------


def test_no_secret_is_in_a_cell(gateway: GatewayFactory) -> None:
    key = "test-key/with-a-slash"
    quoting = json_answer(401, {"error": f"wrong: {key} at user:pass-word?code=in-the-query", "more": key})
    server = gateway(Manners(key=key, styles={"*": ("x-other",)}, refusal=quoting))
    base = server.base().replace("http://", "http://user:pass-word@") + "?code=in-the-query"
    found = looked_at(server, target_of(base, key))
    shown = repr(found) + "".join(each.model_dump_json() for each in found.cells)
    assert cell(found, "bearer").words.startswith("wrong: [key]")
    for secret in (key, "pass-word", "in-the-query", key.replace("/", "\\/")):
        assert secret not in shown


@pytest.mark.parametrize(
    ("key", "quoted"),
    [
        ("test-key-in-escapes", "test\\u002dkey\\u002din\\u002descapes"),
        ("test  key  with  blanks", "test  key  with  blanks"),
    ],
)
def test_key_that_is_quoted_in_another_way(gateway: GatewayFactory, key: str, quoted: str) -> None:
    refusal = Answer(401, f'{{"error": "wrong: {quoted}"}}'.encode(), JSON)
    server = gateway(Manners(key=key, styles={"*": ("x-other",)}, refusal=refusal))
    assert cell(looked_at(server), "bearer").words == "wrong: [key]"


def test_listing_that_quotes_the_key(gateway: GatewayFactory) -> None:
    key = "test-key-in-an-id"
    found = looked_at(gateway(Manners(key=key, models=(f"vendor/{key}", "vendor/good"))))
    assert found.models.text == "vendor/good"
    assert found.listing is not None
    assert list(found.listing.ids) == ["vendor/good"]


def test_refusal_that_makes_a_header_name_of_the_key(gateway: GatewayFactory) -> None:
    key = "x-secret-key-of-ours"
    quoting = json_answer(401, {"error": f"send the key in the {key} header"})
    server = gateway(Manners(key=key, styles={"*": ("x-nobody-knows",)}, refusal=quoting))
    found = looked_at(server)
    assert key not in {each.style for each in found.cells}


# Gateways that do not answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True])
def test_closed_port_is_asked_for_its_listing_alone(every: bool) -> None:
    found = examined(target_of(f"http://127.0.0.1:{closed_port()}/v1"), every=every)
    listing = [each for each in found.cells if each.surface == "models"]
    assert {each.verdict for each in listing} == {"connect"}
    assert len(listing) == (10 if every else 4)
    assert all("Connection refused" in each.words for each in listing)
    chat = [each for each in found.cells if each.surface == "chat/completions"]
    assert {(each.outcome, each.style) for each in chat} == {(Outcome.SKIPPED, style) for style in FIRST_STYLES}
    assert all("could not be reached" in each.words for each in chat)


def test_name_that_does_not_resolve() -> None:
    found = examined(target_of("https://gateway.invalid/v1"))
    assert cell(found, "bearer", "models").verdict == "connect"
    assert "does not resolve" in cell(found, "bearer", "models").words
    assert cell(found, "bearer").outcome is Outcome.SKIPPED


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts (its kernel does) and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def test_silent_server_is_given_up_after_the_timeout(silent: str) -> None:
    found = examined(target_of(silent), timeout=0.2)
    assert {each.verdict for each in found.cells} == {"timeout"}
    assert len(found.cells) == 4 + 1, "chat is tried in one style"
    assert all("within 0.2 s" in each.words for each in found.cells)


def answered(target: Target, reply: Callable[[Probe], Probed], *, every: bool = False) -> tuple[Examined, list[Probe]]:
    """An examination, driven by hand, and the probes in their order."""
    sent: list[Probe] = []

    def work(probe: Probe) -> Probed:
        sent.append(probe)
        return reply(probe)

    (found,) = side_by_side([examination(target, styles_of(target, ORDER), every=every)], work, threads=1)
    return found, sent


def probed(probe: Probe, verdict: str, **facts: object) -> Probed:
    outcome = {"proven": Outcome.PASS, "full": Outcome.CAPACITY}.get(verdict, Outcome.FAIL)
    return Probed(probe, cell_of(probe, outcome, verdict=verdict, **facts))


@pytest.mark.parametrize(
    ("chat", "styles"),
    [({}, ("bearer",)), ({"bearer": "proven"}, ("bearer",)), ({"bearer": "style", "raw": "proven"}, ORDER)],
)
def test_chat_begins_with_one_style_where_the_listing_hangs(chat: Mapping[str, str], styles: tuple[str, ...]) -> None:
    def reply(probe: Probe) -> Probed:
        return probed(probe, chat.get(probe.style, "style" if chat else "timeout") if probe.model else "timeout")

    found, sent = answered(target_of("https://llm.example.com/v3"), reply)
    assert tuple(probe.style for probe in sent if probe.model) == styles
    assert found.works_style == next((style for style, verdict in chat.items() if verdict == "proven"), "")


def test_styles_that_a_rate_limit_has_met_are_asked_again_one_by_one() -> None:
    """Three at once were too many for it: alone, one of them is served."""
    target = target_of("https://llm.example.com/v3")

    def reply(probe: Probe) -> Probed:
        if not probe.model or probe.style == "bearer":
            return probed(probe, "style")
        alone = {"x-api-key": "style", "raw": "proven"}[probe.style]
        return probed(probe, alone) if probe.after else probed(probe, "full", retry_after_s=1.0)

    found, sent = answered(target, reply)
    chat = [(probe.style, probe.after) for probe in sent if probe.model]
    assert sorted(chat[:3]) == [("bearer", 0.0), ("raw", 0.0), ("x-api-key", 0.0)]
    assert chat[3:] == [("x-api-key", 1.0), ("raw", 1.0)]
    assert outcomes(found) == {"bearer": "style", "x-api-key": "style", "raw": "proven"}
    assert found.works_style == "raw"


@pytest.mark.parametrize(("others", "wait"), [("style", 2.5), ("style", None), ("full", 1.0), ("proven", 1.0)], ids=str)
def test_full_is_left_where_it_is_no_matter_of_three_at_once(others: str, wait: float | None) -> None:
    def reply(probe: Probe) -> Probed:
        if not probe.model:
            return probed(probe, "style", retry_after_s=wait)
        full = others == "full" or probe.style == "raw"
        return probed(probe, "full", retry_after_s=wait) if full else probed(probe, others)

    _, sent = answered(target_of("https://llm.example.com/v3"), reply)
    assert len([probe for probe in sent if probe.model]) == FIRST


def test_asking_again_is_announced() -> None:
    """The dearest path: full once, then refused, in every style and on both forms."""
    target = target_of("https://llm.example.com/v1")

    def reply(probe: Probe) -> Probed:
        full = probe.model and probe.style in ORDER[1:FIRST] and not probe.after
        reading = (401, str(probe.toggled))
        verdict = "full" if full and not probe.toggled else "style"
        return replace(probed(probe, verdict, retry_after_s=1.0), hints=("x-one", "x-two"), reading=reading)

    _, sent = answered(target, reply)
    announced = announce([target], every=False)
    assert len([probe for probe in sent if probe.after]) == FIRST - 1
    assert len([probe for probe in sent if probe.model]) == announced.chat_calls
    assert len(sent) <= announced.requests


def test_pace_gives_each_target_its_own_places() -> None:
    now = [100.0]
    pace = Pace(0.5, lambda: now[0])
    one, other = target_of("https://a.example/v1"), target_of("https://b.example/v1")
    assert [pace.take(one) for _ in range(3)] == [0.0, 0.5, 1.0]
    assert pace.take(other) == 0.0
    now[0] = 101.2
    assert pace.take(one) == pytest.approx(0.3)


def test_prober_waits_for_its_place_and_for_what_the_probe_says(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    target, options, slept = at(server), options_from({}), list[float]()
    clients = Clients(lambda: options)
    pace = Pace(0.5, lambda: 100.0)
    allowed = Allowance({target.label: 1})
    prober = Prober(clients.threads(), policy_of(plugin_manager()), TIMEOUT, allowed, pace, sleep=slept.append)
    for after in (0.0, 2.0, 0.0):
        prober(Probe(target, "models", "bearer", after=after))
    clients.close()
    assert slept == [2.0, 1.0]
    assert len(server.seen) == 3


def test_rate_limit_of_the_operator_is_kept(gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch) -> None:
    isolated_environment.setenv("LITELLM_GATEWAY_RATE_LIMIT_QPS", "50")
    intervals: list[float] = []

    def pace(interval: float) -> Pace:
        intervals.append(interval)
        return Pace(interval)

    isolated_environment.setattr(matrix, "Pace", pace)
    assert looked_at(gateway(Manners())).works_style == "bearer"
    assert intervals == [0.02]


def test_silent_gateway_does_not_hold_up_another(gateway: GatewayFactory) -> None:
    """The slow one is released by the last cell of the quick one: whoever waited for it would see it time out."""
    slow, quick = gateway(Manners(key=None)), gateway(Manners())
    held = slow.hold(surfaces=("models",))
    told: list[str] = []

    def tell(target: Target, done: object) -> None:
        told.append(target.label)
        if told.count(quick.base()) == 4 + FIRST:
            held.release()

    targets = [at(slow, key="any"), at(quick)]
    found = examine(targets, every=False, timeout=TIMEOUT, environment=NO_ENVIRONMENT, tell=tell)
    assert [each.works_style for each in found] == ["bearer", "bearer"]
    assert told[: 4 + FIRST] == [quick.base()] * (4 + FIRST)
    assert len(told) == 2 * (4 + FIRST)


def test_connection_that_breaks(gateway: GatewayFactory) -> None:
    server = gateway(Manners(fault="close-before-head"))
    found = looked_at(server)
    assert cell(found, "bearer").verdict == "broken-off"
    assert found.works_style == ""


def certificate(
    tmp_path: Path, authority: trustme.CA, name: str = "127.0.0.1", *, expired: bool = False
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    authority.issue_cert(name, not_after=yesterday if expired else None).configure_cert(context)
    return context


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_certificate_of_an_unknown_authority(gateway: GatewayFactory, authority: trustme.CA, tmp_path: Path) -> None:
    server = gateway(Manners(), ssl=certificate(tmp_path, authority))
    found = examined(at(server))
    assert cell(found, "bearer", "models").verdict == "tls"
    assert "certificate was not accepted" in cell(found, "bearer", "models").words
    assert cell(found, "bearer").outcome is Outcome.SKIPPED
    assert server.seen == []


def test_expired_certificate(gateway: GatewayFactory, authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    server = gateway(Manners(), ssl=certificate(tmp_path, authority, expired=True))
    found = examined(at(server), environment={"SSL_CERT_FILE": bundle})
    assert "certificate has expired" in cell(found, "bearer", "models").words


def test_certificate_for_another_name(
    gateway: GatewayFactory, authority: trustme.CA, bundle: str, tmp_path: Path
) -> None:
    server = gateway(Manners(), ssl=certificate(tmp_path, authority, "elsewhere.example"))
    found = examined(at(server), environment={"SSL_CERT_FILE": bundle})
    assert "IP address mismatch" in cell(found, "bearer", "models").words


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_VERIFY", "off"])
def test_tls_as_litellm_reads_it_from_the_environment(
    gateway: GatewayFactory, authority: trustme.CA, bundle: str, tmp_path: Path, name: str
) -> None:
    server = gateway(Manners(), ssl=certificate(tmp_path, authority))
    environment = {"SSL_VERIFY": "False"} if name == "off" else {name: bundle}
    assert examined(at(server), environment=environment).works_style == "bearer"
    assert len(server.seen) == 4 + FIRST


def test_proxy_that_cannot_be_used_is_an_error(isolated_environment: pytest.MonkeyPatch) -> None:
    isolated_environment.setenv("HTTP_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="proxy"):
        examined(target_of("http://127.0.0.1:1/v1"))


# The program ----------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, resource, sys
from litellm_gateway_plugin.doctor.diagnosis import diagnose
from litellm_gateway_plugin.doctor.matrix import announce, examine
from litellm_gateway_plugin.doctor.snippets import snippets_of
from litellm_gateway_plugin.doctor.targets import targets_of
from litellm_gateway_plugin.settings import load_settings

targets = targets_of(load_settings(), os.environ)
announce(targets, every=False)
print("ready", flush=True)
(found,) = examine(targets, every=False, timeout=float(sys.argv[1]), environment=os.environ)
diagnose(found), snippets_of(found)
print(found.works_style, "litellm" in sys.modules, resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""


def program(server: PickyGateway, environment: pytest.MonkeyPatch, timeout: float) -> subprocess.Popen[str]:
    environment.setenv("LITELLM_GATEWAY_API_BASE", server.base())
    environment.setenv("LITELLM_GATEWAY_API_KEY", str(server.manners.key))
    line = [sys.executable, "-c", PROGRAM, str(timeout)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_litellm_is_never_imported(gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch) -> None:
    with program(gateway(PRESETS["seed-000"]), isolated_environment, TIMEOUT) as running:
        output, problems = running.communicate(timeout=60)
    assert (problems, running.returncode) == ("", 0)
    assert output.split()[1:3] == ["x-api-key", "False"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no POSIX signals")
def test_ctrl_c_ends_it_though_nothing_answers(
    gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch
) -> None:
    server = gateway(Manners())
    held = server.hold(surfaces=("models",))
    with program(server, isolated_environment, 600.0) as running:
        server.wait_for(4)
        running.send_signal(signal.SIGINT)
        _, problems = running.communicate(timeout=60)
    held.release()
    assert problems.strip().endswith("KeyboardInterrupt")
    assert running.returncode in (1, 130, -signal.SIGINT)


def test_plugins_can_be_given(gateway: GatewayFactory) -> None:
    manager: pluggy.PluginManager = plugin_manager()
    assert looked_at(gateway(Manners()), plugins=manager).works_style == "bearer"
