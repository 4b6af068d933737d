"""Answers of what is no gateway, or not this one: another port, another address, another guard; and of hostile ones."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from litellm_gateway_plugin.catalogue import Listing, Model
from litellm_gateway_plugin.doctor import probes
from litellm_gateway_plugin.doctor.diagnosis import diagnose
from litellm_gateway_plugin.doctor.report import Cell, Check, Diagnosis, Outcome
from litellm_gateway_plugin.doctor.shown import reason
from litellm_gateway_plugin.doctor.targets import Examined
from litellm_gateway_plugin.testing import Manners
from litellm_gateway_plugin.testing.answers import html_answer, json_answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.doctored import at, cell, codes, examined, looked_at, styles_seen, target_of
from tests.support.rude_server import Asked, RudeServer, answer

BASE = "http://10.0.0.7:8080/v1"
KEY = "made-up/key+of-the-doctor"
ENDED = "http://10.0.0.7:8080: the connection ended before the answer was complete."


@pytest.fixture(autouse=True)
def _alone(isolated_environment: pytest.MonkeyPatch) -> None:
    """No proxy and no CA file from outside."""


def made(verdict: str, words: str = "", *, style: str = "bearer", **facts: object) -> Cell:
    told: dict[str, object] = {"surface": "chat/completions", "api_base": BASE, "toggled": False}
    outcome = {"proven": Outcome.PASS, "full": Outcome.CAPACITY}.get(verdict, Outcome.FAIL)
    return Cell.model_validate(
        {**told, "style": style, "verdict": verdict, "outcome": outcome, "words": words, **facts}
    )


def of(*cells: Cell, base: str = BASE, works: str = "", checks: tuple[Check, ...] = ()) -> list[Diagnosis]:
    target = target_of(base, text="a/model")
    return list(diagnose(Examined(target, target.models, None, cells, BASE if works else "", works), checks))


@pytest.mark.parametrize(
    ("base", "line"),
    [
        (BASE, "litellm-gateway doctor https://10.0.0.7:8080/v1 --key-env NAME_OF_KEY"),
        (BASE.replace("http", "https"), "openssl s_client -connect 10.0.0.7:8080 "),
    ],
)
def test_port_that_answers_nothing_at_all(base: str, line: str) -> None:
    (found,) = of(made("broken-off", ENDED, surface="models", style="none"), made("broken-off", ENDED), base=base)
    assert (found.code, found.title) == ("upstream-failed", "No answer in HTTP")
    assert found.next_line.startswith(line)


def test_gateway_that_lists_and_breaks_off_is_one_all_the_same() -> None:
    (found,) = of(made("proven", surface="models"), made("broken-off", ENDED))
    assert (found.code, found.title) == ("upstream-failed", "The gateway failed")


@pytest.mark.parametrize(
    "words",
    [
        "a web page: 400 The plain HTTP request was sent to HTTPS port",
        "Client sent an HTTP request to an HTTPS server.",
    ],
)
def test_port_that_says_that_it_wants_tls(words: str) -> None:
    (found,) = of(made("rejected", words, status=400))
    assert found.code == "tls"
    assert found.next_line == "litellm-gateway doctor https://10.0.0.7:8080/v1 --key-env NAME_OF_KEY"


@pytest.mark.parametrize(
    ("to", "line"),
    [
        ("https://10.0.0.7", "litellm-gateway doctor https://10.0.0.7/v1 --key-env NAME_OF_KEY"),
        ("https://elsewhere.example", "litellm-gateway doctor https://elsewhere.example/v1"),
    ],
)
def test_redirect_is_typed_and_carries_the_key_to_no_other_host(to: str, line: str) -> None:
    (found,) = of(made("base", f"a redirect to {to}, not followed", status=301, html=True))
    assert (found.code, found.next_line) == ("wrong-base", line)


def test_redirect_within_the_gateway_is_a_wrong_base_as_before() -> None:
    (found,) = of(made("base", "a redirect to another page, not followed", status=302))
    assert found.title == "No such API at this base"


@pytest.mark.parametrize(
    ("words", "quoted"), [("Invalid key", "Invalid key"), ("Ensure that it has the prefix", "Not authenticated")]
)
def test_refusal_of_whoever_has_looked_at_the_key_is_quoted(words: str, quoted: str) -> None:
    first = made("style", "Not authenticated", status=401)
    (found,) = of(first, made("style", words, style="x-api-key", status=401))
    assert f"(401: {quoted})" in found.words


@pytest.mark.parametrize("key", [None, KEY])
def test_server_that_asks_for_a_password(key: str | None, gateway: GatewayFactory) -> None:
    page = html_answer(401, "401 Authorization Required").with_headers({"www-authenticate": 'Basic realm="gateway"'})
    server = gateway(Manners(key="another-key-of-the-doctor", refusal=page))
    found = looked_at(server, at(server, key=key))
    assert cell(found, "bearer" if key else "none").words.endswith("(it asks for user and password)")
    assert "User and password go into the base" in diagnose(found)[0].words


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [(-3600.0, "60 minutes behind"), (3 * 3600.0, "3 hours ahead of"), (-9000 * 86400.0, "9000 days behind")],
)
def test_clocks_differ_in_the_unit_that_people_use(ahead_s: float, words: str) -> None:
    (found,) = of(made("proven", skew_s=ahead_s), works="bearer")
    assert (found.code, f"The gateway's clock is {words} that" in found.words) == ("clock-skew", True)


def test_time_to_come_back_is_in_whole_seconds() -> None:
    (found,) = of(made("full", status=429, retry_after_s=18.6995), works="bearer")
    assert found.next_line.startswith("sleep 19 && ")
    assert "It asks to wait 19 s." in found.words


def test_listing_that_is_full_may_be_there_later() -> None:
    busy = made("full", surface="models", status=503)
    assert codes(of(busy, made("full", status=503), works="bearer")) == ["full"]


def test_no_listing_is_named_where_there_is_none() -> None:
    failed = Check(name="direct_json", outcome=Outcome.FAIL)
    found = of(made("base", surface="models", status=404), made("proven"), works="bearer", checks=(failed,))
    assert found[0].next_line == "export LITELLM_GATEWAY_TEXT_MODEL=..."


@pytest.mark.parametrize(
    ("status", "title", "says"),
    [
        (401, "Sign in to Example", "sign-in page for people"),
        (403, "Log in - SSO", "sign-in page for people"),
        (403, "Just a moment...", "firewall's page stands in front"),
        (503, "Just a moment...", "firewall's page stands in front"),
        (429, "Access denied", "firewall's page stands in front"),
        (501, "Error response", "address for people"),
        (403, "Welcome", "address for people"),
    ],
)
def test_pages_and_nothing_else_are_no_gateway(status: int, title: str, says: str, gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ()}, missing_route=html_answer(status, title)))
    found = looked_at(server, at(server, "/v1"))
    (one,) = diagnose(found)
    assert (one.code, found.works_style) == ("html-console", "")
    assert f"a web page: {title} ({status}). " in one.words
    assert says in one.words
    assert one.next_line == f"litellm-gateway doctor {server.url}/api/v1 --key-env NAME_OF_KEY"


@pytest.mark.parametrize(
    ("status", "title", "code"),
    [
        (401, "401 Authorization Required", "wrong-key"),
        (403, "403 Forbidden", "wrong-key"),
        (503, "503 Service Temporarily Unavailable", "full"),
        (502, "502 Bad Gateway", "upstream-failed"),
    ],
)
def test_pages_of_a_web_server_in_front_are_answers(
    status: int, title: str, code: str, gateway: GatewayFactory
) -> None:
    server = gateway(Manners(bases={"*": ()}, missing_route=html_answer(status, title)))
    assert codes(diagnose(looked_at(server, at(server, "/v1")))) == [code]


def test_page_beside_an_answer_of_the_api_is_no_console(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    server.full(shape=html_answer(403, "Sign in to Example"))
    assert codes(diagnose(looked_at(server)), serious=True) == ["wrong-key"]


def test_key_that_is_taken_by_something_else() -> None:
    """Its guard lets one style through, and what is behind it speaks no JSON."""

    def reply(asked: Asked) -> bytes:
        taken = asked.headers.get("authorization") == f"Bearer {KEY}"
        return answer(200, b"OK fine", content_type="text/plain") if taken else answer(401, {"error": "no"})

    with RudeServer(reply) as server:
        found = looked_at_rude(f"{server.origin}/v1")
    assert (found.code, found.title) == ("wrong-base", "It takes the key, and is not this API")
    assert "takes the key (bearer), and its answer to chat is none of this API (200: no JSON: OK fine)" in found.words


def looked_at_rude(base: str) -> Diagnosis:
    (found,) = diagnose(examined(target_of(base, KEY)))
    return found


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ('"made-up-key-of-ours"', "in quotation marks"),
        ("made-up-key-of-ours'", "in quotation marks"),
        ("Bearer made-up-key-of-ours", "begins with Bearer"),
        ("$MADE_UP_KEY", "begins with $"),
        ("${MADE_UP_KEY}", "begins with $"),
        ("made-up key-of-ours", "a blank inside"),
        ("...", "a placeholder"),
        ("sk-...", "a placeholder"),
        ("your-key", "a placeholder"),
        ("YOUR_API_KEY_HERE", "a placeholder"),
        ("<made up>", "a placeholder"),
        ("made-up-key-of-ours", "complete, still valid"),
        ("made-up-your-key-...", "complete, still valid"),
    ],
)
def test_mistakes_in_a_key_are_told_without_a_letter_of_it(key: str, says: str) -> None:
    target = target_of(BASE, key)
    (found,) = diagnose(Examined(target, target.models, None, (made("style", "no", status=401),)))
    assert found.code == "wrong-key"
    assert says in found.words
    assert not any(part in found.words for part in ("of-ours", "made-up", "MADE_UP", "sk-", "..."))


def test_address_at_which_nothing_answers() -> None:
    words = "https://llm.example.com: no connection within 5 s."
    (found,) = of(made("connect", words, surface="models"), base="https://llm.example.com/v1")
    assert (found.code, found.title) == ("timeout", "No connection in time")
    assert found.next_line == "litellm-gateway doctor https://llm.example.com/v1 --key-env NAME_OF_KEY --timeout 60"


def test_user_and_password_may_be_anything() -> None:
    target = target_of(BASE, "$user:pass word", named="basic")
    (found,) = diagnose(Examined(target, target.models, None, (made("style", "no", status=401),)))
    assert "still valid" in found.words


def test_listing_without_a_model_is_told(gateway: GatewayFactory) -> None:
    found = diagnose(looked_at(gateway(Manners(models=(), unknown_model="ignored"))))
    one = next(each for each in found if each.code == "no-listing")
    assert (one.title, one.serious) == ("It lists no models", False)
    assert one.next_line == "export LITELLM_GATEWAY_TEXT_MODEL=default"


def test_page_is_called_one_once() -> None:
    assert reason(made("base", "a web page: Console", status=200, html=True)) == "a web page: Console"
    assert reason(made("base", "Console", status=200, html=True)) == "web page: Console"


# Of hostile servers ---------------------------------------------------------------------------------------------------


def test_answer_without_end_is_left(gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "LARGEST_BODY", 100)
    server = gateway(Manners(models=tuple(f"vendor/model-{number}" for number in range(100))))
    found = looked_at(server)
    listed = cell(found, "bearer", "models")
    assert (listed.status, listed.verdict, listed.words) == (200, "broken", probes.TOO_LONG)
    assert found.listing is None
    assert {surface for surface, _ in styles_seen(server)} == {"models", "chat"}
    assert {base for _, base in styles_seen(server)} == {"/v1"}, "the other form would be as long"


@pytest.mark.parametrize(
    ("quoted", "shown"),
    [
        (f"{KEY[:12]} ... {KEY[12:]}", "[key] ... [key]"),
        (KEY.upper(), "[key]"),
        (f"{KEY[:4]}...{KEY[-4:]}", f"{KEY[:4]}...{KEY[-4:]}"),
    ],
    ids=["halves", "upper-case", "masked"],
)
def test_pieces_of_the_key_are_in_no_cell(quoted: str, shown: str, gateway: GatewayFactory) -> None:
    refusal = json_answer(401, {"error": f"wrong: {quoted}"})
    server = gateway(Manners(key=KEY, styles={"*": ("x-nobody-knows",)}, refusal=refusal))
    assert cell(looked_at(server), "bearer").words == f"wrong: {shown}"


def test_ids_with_a_piece_of_the_key_are_not_shown() -> None:
    ask = probes.ask_of(probes.Probe(target_of(BASE, KEY), probes.LISTING, "bearer"))
    listing = Listing((Model(f"vendor/{KEY[3:14]}"), Model("vendor/good")))
    assert list(probes.harmless(listing, ask).ids) == ["vendor/good"]
    good = Listing((Model("vendor/good"),))
    assert probes.harmless(good, ask) is good


def test_date_of_a_server_is_compared_with_ours(gateway: GatewayFactory) -> None:
    server = gateway(Manners(headers={"date": formatdate(time.time() - 3 * 86400, usegmt=True)}))
    assert "3 days behind" in next(each.words for each in diagnose(looked_at(server)) if each.code == "clock-skew")
