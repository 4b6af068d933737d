"""Diagnoses: the code, the words and the line to type, from real gateways' answers and from cells made by hand."""

from __future__ import annotations

import email.utils
import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.catalogue import Listing, Model
from litellm_gateway_plugin.doctor.diagnosis import CAUSES, CODES, diagnose
from litellm_gateway_plugin.doctor.report import Cell, Check, Diagnosis, Outcome
from litellm_gateway_plugin.doctor.run import outcome_of
from litellm_gateway_plugin.doctor.targets import Examined, Models, Target
from litellm_gateway_plugin.testing import PRESETS, Manners, PickyGateway
from litellm_gateway_plugin.testing.answers import json_answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.testing.shapes import FULL
from litellm_gateway_plugin.urls import parse_base
from tests.support.doctored import at, codes, examined, looked_at, target_of
from tests.wire.servers import Peer, serving

KEY = "test-key-of-the-doctor"
BASE = "https://llm.example.com/v1"


@pytest.fixture(autouse=True)
def _alone(isolated_environment: pytest.MonkeyPatch) -> None:
    """No proxy and no CA file from outside."""


def only(diagnoses: Sequence[Diagnosis], code: str) -> Diagnosis:
    (one,) = [each for each in diagnoses if each.code == code]
    return one


def of(server: PickyGateway, target: Target | None = None) -> tuple[Diagnosis, ...]:
    return diagnose(looked_at(server, target))


# Of real gateways -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "notes"),
    [
        ("vllm", ["one-style"]),
        ("llama-cpp", []),
        ("litserve", ["one-style", "no-listing"]),
        ("litellm-proxy", ["one-style"]),
        ("chutes", ["one-style", "public-listing"]),
        ("seed-000", ["one-style", "public-listing"]),
        ("seed-001", ["one-style", "public-listing"]),
        ("azure-apim", ["one-style"]),
        ("kong", ["one-style"]),
        ("aws", ["one-style"]),
    ],
)
def test_gateways_that_work_have_notes_alone(gateway: GatewayFactory, preset: str, notes: list[str]) -> None:
    found = of(gateway(PRESETS[preset]))
    assert codes(found, serious=True) == []
    assert codes(found) == notes


def test_listing_that_takes_another_style_than_chat_is_told_in_these_words(gateway: GatewayFactory) -> None:
    styles = {"*": ("bearer", "raw"), "models": ("bearer", "raw", "x-api-key")}
    found = of(gateway(Manners(styles=styles, authorization_wins=False)))
    told = "chat takes bearer and raw; x-api-key works for the listing but is refused on chat"
    assert told in only(found, "one-style").words
    styles = {"*": ("bearer",), "models": ("bearer", "x-api-key")}
    found = of(gateway(Manners(styles=styles)))
    told = "chat takes bearer; x-api-key works for the listing but is refused on chat; raw is refused"
    assert told in only(found, "one-style").words


def test_no_key(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    found = of(server, at(server, key=None, base_name="LITELLM_GATEWAY_API_BASE_2"))
    assert codes(found) == ["no-key"]
    assert found[0].next_line == "export LITELLM_GATEWAY_API_KEY_2=..."
    assert "401: Unauthorized" in found[0].words


def test_wrong_key(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    found = of(server, at(server, key="test-another-key"))
    assert codes(found) == ["wrong-key"]
    assert "the key in NAME_OF_KEY" in found[0].words
    assert "bearer, x-api-key, raw and api-key" in found[0].words
    assert found[0].next_line == "export NAME_OF_KEY=..."


def test_key_that_may_only_list(gateway: GatewayFactory) -> None:
    found = of(gateway(Manners(styles={"*": (), "models": ("bearer",)})))
    assert codes(found) == ["wrong-key"]
    assert "The listing takes it" in found[0].words


def test_wrong_base(gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ("/api/v1",)}))
    found = of(server, at(server, "/v1"))
    assert codes(found) == ["wrong-base"]
    assert f"no chat at {server.url}/v1 or {server.url}" in found[0].words
    assert found[0].next_line == f"litellm-gateway doctor {server.url}/api/v1 --key-env NAME_OF_KEY"


def test_listing_without_chat(gateway: GatewayFactory) -> None:
    server = gateway(Manners(absent=("chat",)))
    found = of(server, at(server, "/v1"))
    assert codes(found) == ["wrong-base"]
    assert f"A listing is at {server.url}/v1" in found[0].words
    assert "'test/model-small' is no model for chat" in found[0].words
    assert found[0].next_line == f"litellm-gateway models {server.url}/v1"


def test_base_of_the_console(gateway: GatewayFactory) -> None:
    server = gateway(Manners(bases={"*": ("/api/v1",)}, missing_route="console"))
    found = of(server, at(server, ""))
    assert codes(found) == ["html-console"]
    assert "Gateway console" in found[0].words
    assert found[0].next_line == f"litellm-gateway doctor {server.url}/api/v1 --key-env NAME_OF_KEY"


def test_other_form_of_the_base(gateway: GatewayFactory) -> None:
    server = gateway(Manners(styles={"*": ("bearer", "raw", "x-api-key")}))
    found = of(server, at(server, "", base_name="CHUTES_API_BASE"))
    assert codes(found) == ["other-form"]
    assert not found[0].serious
    assert found[0].next_line == f"export CHUTES_API_BASE={server.url}/v1"


def test_unknown_model_with_its_neighbour(gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("Qwen/Qwen3-32B", "meta/llama"), served=("Qwen/Qwen3-32B",)))
    found = of(server, at(server, text="Qwen/Qwen3-32"))
    assert "model-unknown" in codes(found, serious=True)
    assert "Did you mean 'Qwen/Qwen3-32B'?" in found[0].words
    assert found[0].next_line == "export LITELLM_GATEWAY_TEXT_MODEL=Qwen/Qwen3-32B"


def test_unknown_model_without_a_neighbour(gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("a/one", "b/two")))
    found = of(server, at(server, text="zzzzzzzz"))
    assert "Nothing like it is listed; the first of 2 ids: 'a/one', 'b/two'." in found[0].words
    assert found[0].next_line == "export LITELLM_GATEWAY_TEXT_MODEL=a/one"


def test_unknown_model_without_a_listing(gateway: GatewayFactory) -> None:
    server = gateway(Manners(absent=("models",)))
    found = of(server, at(server, text="zzzzzzzz"))
    assert codes(found) == ["model-unknown"]
    assert "no listing to compare with" in found[0].words
    assert found[0].next_line == "export LITELLM_GATEWAY_TEXT_MODEL=..."


def test_listed_model_that_is_down(gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("a/one", "b/two"), served=("b/two",)))
    found = of(server)
    assert "It lists this id all the same" in only(found, "model-unknown").words
    assert found[0].next_line == "export LITELLM_GATEWAY_TEXT_MODEL=b/two"


def test_model_has_to_be_named(gateway: GatewayFactory) -> None:
    server = gateway(Manners(absent=("models",)))
    found = of(server, at(server, base_name="LITELLM_GATEWAY_API_BASE_3"))
    assert codes(found, serious=True) == ["name-a-model"]
    assert found[0].next_line == "export LITELLM_GATEWAY_TEXT_MODEL_3=..."
    assert "(bearer)" in found[0].words


def test_listed_id_cannot_run_a_command(gateway: GatewayFactory) -> None:
    server = gateway(Manners(models=("a/one", "b/$(touch x);'"), served=()))
    line = of(server)[0].next_line
    assert shlex.split(line) == ["export", "LITELLM_GATEWAY_TEXT_MODEL=b/$(touch x);'"]


def test_full(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    server.full(retry_after="7")
    found = of(server)
    assert codes(found, serious=True) == ["full"]
    assert "It asks to wait 7 s." in found[0].words
    assert found[0].next_line == f"sleep 7 && litellm-gateway doctor {server.base()} --key-env NAME_OF_KEY"


@pytest.mark.parametrize(
    "shape",
    [
        FULL["chutes_quota"],
        FULL["chutes_cap"],
        json_answer(403, {"error": {"message": "Your plan does not include this model."}}),
        json_answer(429, {"error": {"message": "You exceeded your current quota, please check your plan and billing"}}),
        json_answer(429, {"error": {"message": "Insufficient balance", "code": "insufficient_quota"}}),
        json_answer(429, {"error": {"message": "You have run out.", "code": "insufficient_quota"}}),
        json_answer(429, {"error": {"message": "No more.", "type": "insufficient_quota"}}, (("retry-after", "1"),)),
    ],
)
def test_plan_or_quota(gateway: GatewayFactory, shape: object) -> None:
    server = gateway(Manners())
    server.full(shape=shape)  # type: ignore[arg-type]  # an answer
    seen = looked_at(server)
    found = diagnose(seen)
    assert codes(found, serious=True) == ["plan-or-quota"]
    assert "lets the credential in (bearer)" in found[0].words
    assert found[0].next_line == "", "the same request would tell nothing new"
    assert outcome_of(seen, ()) is Outcome.FAIL, "waiting does not help, so this is no capacity"


def test_quota_that_is_told_to_every_style_says_nothing_about_the_key(gateway: GatewayFactory) -> None:
    server = gateway(Manners(styles={"*": ("bearer", "x-api-key", "raw")}))
    server.full(shape=FULL["chutes_quota"])
    words = only(of(server), "plan-or-quota").words
    assert "whether the key is right is not known" in words
    assert "lets the credential in" not in words


@pytest.mark.parametrize(("asked", "before"), [("300", "sleep 300 && "), ("36000", "")])
def test_nobody_types_a_sleep_of_hours(asked: str, before: str, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    server.full(retry_after=asked)
    found = only(of(server), "full")
    assert f"It asks to wait {asked} s." in found.words
    assert found.next_line == f"{before}litellm-gateway doctor {server.base()} --key-env NAME_OF_KEY"


def test_full_before_the_guard_says_nothing_about_the_key(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    assert "whether the key is right is not known" not in _full_one(server).words
    server.change(styles={"*": ("bearer", "x-api-key", "raw")})
    assert "whether the key is right is not known" in _full_one(server).words


def _full_one(server: PickyGateway) -> Diagnosis:
    server.full()
    found = only(of(server), "full")
    server.release()
    server.clear()
    return found


def test_quota_by_the_minute_is_full(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    server.full(shape=json_answer(429, {"error": {"message": "Quota exceeded for requests per minute"}}))
    assert codes(of(server), serious=True) == ["full"]


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (json_answer(403, {"error": "Not available in your country"}), "forbidden"),
        (json_answer(500, {"error": "boom"}), "upstream-failed"),
        (json_answer(400, {"error": "max_tokens is too small"}), "rejected"),
        (json_answer(200, {"object": "chat.completion", "choices": []}), "upstream-failed"),
    ],
)
def test_other_answers(gateway: GatewayFactory, shape: object, code: str) -> None:
    server = gateway(Manners())
    server.full(shape=shape)  # type: ignore[arg-type]  # an answer
    found = of(server)
    assert codes(found, serious=True) == [code]


def test_line_with_curl_is_what_the_shell_sends(
    gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch
) -> None:
    """The pasted line makes the same request as the probe, with the key from the variable."""
    server = gateway(Manners(models=("a/it's",)))
    script = server.full(shape=json_answer(500, {"error": "boom"}))
    line = of(server)[0].next_line
    script.release()
    server.clear()
    isolated_environment.setenv("NAME_OF_KEY", str(server.manners.key))
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == 127:
        pytest.skip("curl is not installed")
    (seen,) = server.seen
    assert (seen.style, seen.key_ok, seen.model, seen.status) == ("bearer", True, "a/it's", 200)


def test_broken_connection(gateway: GatewayFactory) -> None:
    found = of(gateway(Manners(fault="close-before-head")))
    assert codes(found, serious=True) == ["upstream-failed"]
    assert "broke the connection off" in found[0].words


def test_clock(gateway: GatewayFactory) -> None:
    behind = email.utils.formatdate(time.time() - 3600, usegmt=True)
    found = of(gateway(Manners(headers={"date": behind})))
    assert "60 minutes behind that of this machine" in only(found, "clock-skew").words
    assert codes(found, serious=True) == []


def test_closed_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    found = diagnose(examined(target_of(base)))
    assert codes(found) == ["refused-connection"]
    assert "Connection refused" in found[0].words
    assert found[0].next_line == "", "asking the same port again tells nothing new"


def test_name() -> None:
    found = diagnose(examined(target_of("https://gateway.invalid/v1")))
    assert codes(found) == ["dns"]
    line = found[0].next_line
    assert line == """python3 -c 'import socket; print(socket.getaddrinfo("gateway.invalid", 443))'"""


def test_proxy_that_is_not_there(isolated_environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        isolated_environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free.getsockname()[1]}")
    found = diagnose(examined(target_of("https://llm.example.com/v1")))
    assert codes(found) == ["refused-connection"]
    assert (found[0].title, found[0].next_line) == (
        "The proxy does not connect",
        'export NO_PROXY="${NO_PROXY:+$NO_PROXY,}llm.example.com"',
    )


def test_silence() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        target = target_of(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        found = diagnose(examined(target, timeout=0.2))
    assert codes(found) == ["timeout"]
    assert found[0].next_line.endswith("--key-env NAME_OF_KEY --timeout 60")


def test_tls_that_gets_no_answer_is_plain_http_perhaps() -> None:
    """A server that waits for a line, as any http server does, and TLS sends none."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        seen = examined(target_of(f"https://127.0.0.1:{port}/v1"), timeout=1.0)
    assert {each.verdict for each in seen.cells if each.surface == "models"} == {"tls"}
    assert {each.outcome for each in seen.cells if each.surface != "models"} == {Outcome.SKIPPED}, "it costs one wait"
    (found,) = diagnose(seen)
    assert (found.code, found.next_line) == (
        "tls",
        f"litellm-gateway doctor http://127.0.0.1:{port}/v1 --key-env NAME_OF_KEY",
    )
    assert "the TLS handshake got no answer" in found.words
    assert "Perhaps this port speaks plain http" in found.words


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_certificate_of_an_unknown_authority(gateway: GatewayFactory, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = gateway(Manners(), ssl=server_context(authority))
    found = diagnose(examined(at(server)))
    assert codes(found) == ["tls"]
    assert found[0].next_line == "export SSL_CERT_FILE=/path/to/your-ca.pem"
    name, _, _ = found[0].next_line.removeprefix("export ").partition("=")
    assert codes(diagnose(examined(at(server), environment={name: str(tmp_path / "ca.pem")}))) == ["one-style"]


def test_port_without_tls() -> None:
    def plain(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(plain) as server:
        found = diagnose(examined(target_of(f"https://127.0.0.1:{server.port}/v1")))
    assert codes(found) == ["tls"]
    assert found[0].next_line == f"litellm-gateway doctor {server.base}/v1 --key-env NAME_OF_KEY"


def test_slow_model_behind_a_guard(gateway: GatewayFactory) -> None:
    """The right style waits for an answer while the others are refused: the key is not what is wrong."""
    server = gateway(Manners())
    held = server.hold()
    found = diagnose(looked_at(server, timeout=1.0))
    held.release()
    assert codes(found, serious=True) == ["timeout"]


# Of cells made by hand ------------------------------------------------------------------------------------------------


def cell(style: str = "bearer", verdict: str = "proven", **facts: object) -> Cell:
    told: dict[str, object] = {"surface": "chat/completions", "api_base": BASE, "toggled": False}
    outcome = {"proven": Outcome.PASS, "full": Outcome.CAPACITY, "": Outcome.SKIPPED}.get(verdict, Outcome.FAIL)
    return Cell.model_validate({**told, "style": style, "verdict": verdict, "outcome": outcome, **facts})


def case(*cells: Cell, base: str = BASE, works: str = "", **more: object) -> Examined:
    models = Models(text="a/model")
    target = Target(base, parse_base(base), KEY, "NAME_OF_KEY", models=models)
    return replace(Examined(target, models, None, cells, BASE if works else "", works), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "line", "says"),
    [
        ("the certificate was not accepted (certificate has expired)", "date -u", "dates"),
        ("the certificate was not accepted (certificate is not yet valid)", "date -u", "clock here"),
        (
            "the certificate was not accepted (Hostname mismatch, certificate is not valid for 'x')",
            "openssl s_client",
            "another name",
        ),
        ("the certificate was not accepted (self-signed certificate)", "export SSL_CERT_FILE=", "your own authority"),
        ("the TLS handshake failed (tlsv13 alert certificate required)", "export SSL_CERTIFICATE=", "of yours"),
        ("the TLS handshake failed (wrong version number)", "openssl s_client", "plain http"),
    ],
)
def test_what_tls_fails_of(words: str, line: str, says: str) -> None:
    (found,) = diagnose(case(cell(verdict="tls", words=f"https://llm.example.com: {words}.")))
    assert found.next_line.startswith(line)
    assert says in found.words


def test_nothing_was_sent() -> None:
    assert codes(diagnose(case(cell(verdict="")))) == ["not-asked"]


def test_plain_http() -> None:
    found = diagnose(
        case(cell(), base="http://llm.example.com:8080/v1", works="bearer", works_base="http://llm.example.com:8080/v1")
    )
    assert codes(found) == ["plain-http"]
    assert found[0].next_line == "litellm-gateway doctor https://llm.example.com/v1 --key-env NAME_OF_KEY"


def test_plain_http_and_a_refusal() -> None:
    found = diagnose(case(cell(verdict="style", status=401, words="no"), base="http://llm.example.com/v1"))
    assert codes(found) == ["wrong-key", "plain-http"]
    assert "offered in one style only" in found[0].words


def test_failed_check_names_what_to_type() -> None:
    checks = [
        Check(name="picture", outcome=Outcome.FAIL, model="a/model", words="no image here", hint="set another model"),
        Check(name="stream", outcome=Outcome.FAIL, words="it broke off."),
        Check(name="tools", outcome=Outcome.SKIPPED),
        Check(name="direct_json", outcome=Outcome.PASS),
    ]
    picture, stream = diagnose(case(cell(), works="bearer"), checks)
    assert (picture.code, picture.serious) == ("check-failed", True)
    assert "'picture' with a/model fails: no image here. What to do: set another model." in picture.words
    assert picture.next_line == "export LITELLM_GATEWAY_VLM_MODEL=..."
    assert stream.next_line.startswith(f"curl -sS -N {BASE}/chat/completions ")
    assert '"stream": true' in stream.next_line


def failed(name: str, words: str, hint: str = "") -> Check:
    return Check(name=name, outcome=Outcome.FAIL, words=words, hint=hint)


def test_checks_that_fail_alike_are_one_diagnosis() -> None:
    refused = "The gateway rejects this request (400): JSON mode is not supported"
    without = "litellm.completion(model_list=...) gave None, which is how it says that every entry failed"
    names = ("direct_json", "router", "parallel")
    checks = [*(failed(name, refused) for name in names), failed("tools", "no tools"), failed("model_list", without)]
    alike, tools = diagnose(case(cell(), works="bearer"), checks)
    assert (alike.title, tools.title) == ("4 checks fail", "The check 'tools' fails")
    assert f"direct_json, router, parallel and model_list fail for the same reason: {refused}." in alike.words


def test_what_the_model_says_is_no_other_reason() -> None:
    said = "the gateway served the call, and the model answered {}: no JSON object"
    checks = [failed("direct_json", said.format('"Hello"')), failed("router", said.format('"Hi \\"there\\""'))]
    (found,) = diagnose(case(cell(), works="bearer"), checks)
    assert found.title == "2 checks fail"


def test_list_of_models_that_fails_alone_is_told_alone() -> None:
    (found,) = diagnose(case(cell(), works="bearer"), [failed("model_list", "completion(model_list=...) gave None")])
    assert found.title == "The check 'model_list' fails"


@pytest.mark.parametrize(
    ("check", "line", "says"),
    [
        (failed("direct_json", "no complete answer within 5 s.", "raise --timeout"), " --timeout 60", "within 5 s."),
        (
            failed("tools", '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
            "export LITELLM_GATEWAY_TOOLS_MODEL=...",
            "flags of vLLM, `--enable-auto-tool-choice --tool-call-parser ...`, for whoever runs it",
        ),
        (failed("stream", "cut off", "raise --timeout"), '"stream": true}\'', "cut off"),
    ],
)
def test_line_after_a_check_leads_somewhere(check: Check, line: str, says: str) -> None:
    (found,) = diagnose(case(cell(), works="bearer"), [check])
    assert found.next_line.endswith(line)
    assert says in found.words
    assert KEY not in found.next_line


def test_check_that_met_a_full_gateway() -> None:
    full = [
        Check(name="stream", outcome=Outcome.CAPACITY, retry_after_s=2),
        Check(name="router", outcome=Outcome.CAPACITY, retry_after_s=9),
    ]
    (found,) = diagnose(case(cell(), works="bearer"), full)
    assert (found.code, found.serious) == ("full", True)
    assert "seen by stream and router" in found.words
    assert found.next_line.startswith("sleep 9 && ")


def test_checks_of_a_gateway_that_does_not_work_add_nothing() -> None:
    failed = [Check(name="stream", outcome=Outcome.FAIL)]
    assert codes(diagnose(case(cell(verdict="style")), failed)) == ["wrong-key"]


def test_base_that_holds_a_secret_is_named_by_its_variable() -> None:
    base = "https://user:pass-word@llm.example.com/v1?code=secret-code"
    found = diagnose(case(cell(verdict="timeout", words="slow"), base=base))
    assert found[0].next_line == (
        'litellm-gateway doctor "$LITELLM_GATEWAY_API_BASE" --key-env NAME_OF_KEY --timeout 60'
    )


@pytest.mark.parametrize("base", ["https://user:pass-word@llm.example.com/v1", f"{BASE}?code=secret-code"])
def test_no_curl_for_a_base_that_holds_a_secret(base: str) -> None:
    (found,) = diagnose(case(cell(verdict="failed", status=500), base=base))
    assert found.next_line == 'litellm-gateway doctor "$LITELLM_GATEWAY_API_BASE" --key-env NAME_OF_KEY'


TYPED: dict[str, Any] = {"configured": False, "base_name": "LITELLM_GATEWAY_API_BASE_1"}


def test_base_that_was_typed_is_named_with_its_key() -> None:
    target = target_of(BASE, None, **TYPED)
    (found,) = diagnose(case(cell(verdict="style", status=401), target=target))
    assert found.next_line == f"export LITELLM_GATEWAY_API_BASE_1={BASE} LITELLM_GATEWAY_API_KEY_1=..."


@pytest.mark.parametrize(("models", "model"), [(["near-model"], "near-model"), ([], "...")])
def test_model_for_a_base_that_was_typed_goes_on_the_command_line(models: list[str], model: str) -> None:
    target = target_of(BASE, text="neer-model", **TYPED)
    found = replace(case(cell(verdict="model", status=404), target=target), models=Models(text="neer-model"))
    listing = Listing(tuple(Model(each) for each in models)) if models else None
    line = diagnose(replace(found, listing=listing))[0].next_line
    assert line == f"litellm-gateway doctor {BASE} --key-env NAME_OF_KEY --model {model}"


def test_models_that_were_typed_are_kept() -> None:
    target = target_of(BASE, models=Models(text="a/text model", tools="a/tool"), **TYPED)
    (found,) = diagnose(case(cell(verdict="timeout", words="slow"), target=target))
    assert found.next_line == (
        f"litellm-gateway doctor {BASE} --key-env NAME_OF_KEY --model 'a/text model' --tools-model a/tool --timeout 60"
    )


@pytest.mark.parametrize(
    ("asked", "proposed"),
    [("qwen3-235b", "Qwen/Qwen3-235B-A22B-Instruct-2507"), ("qwen3-vl-235", "Qwen/Qwen3-VL-235B")],
)
def test_of_models_about_as_near_one_that_sees_comes_last(asked: str, proposed: str) -> None:
    sees = frozenset({"vision"})
    vlm = Model("Qwen/Qwen3-VL-235B", has=sees)
    listing = Listing((vlm, Model("Qwen/Qwen3-235B-A22B-Instruct-2507"), Model("other/model")))
    target = target_of(BASE, text=asked)
    found = case(cell(verdict="model", status=404), target=target, models=Models(text=asked), listing=listing)
    assert diagnose(found)[0].next_line == f"export LITELLM_GATEWAY_TEXT_MODEL={proposed}"


def test_other_form_of_a_base_that_was_typed_is_typed(gateway: GatewayFactory) -> None:
    server = gateway(PRESETS["seed-000"])
    target = at(server, "", **TYPED)
    line = only(of(server, target), "other-form").next_line
    assert line == f"litellm-gateway doctor {server.base('/v1')} --key-env NAME_OF_KEY"


@pytest.mark.parametrize(
    ("base", "where"),
    [
        ("https://[2001:db8::7]/v1", "'[2001:db8::7]:443'"),
        ("https://[2001:db8::7]:8443/v1", "'[2001:db8::7]:8443'"),
        ("https://llm.example.com/v1", "llm.example.com:443"),
    ],
)
def test_certificate_is_shown_by_address_and_port(base: str, where: str) -> None:
    words = "the certificate was not accepted (Hostname mismatch, certificate is not valid for 'x')"
    (found,) = diagnose(case(cell(verdict="tls", words=words), base=base))
    assert f"-connect {where} " in found.next_line


def test_full_shows_no_style_as_long_as_nothing_is_served() -> None:
    full, refused = cell("raw", "full", status=429), cell("bearer", "style", status=401)
    assert codes(diagnose(case(refused, full, works="raw"))) == ["full"]
    assert codes(diagnose(case(refused, full, cell("api-key", "proven"), works="api-key"))) == ["one-style"]


def test_curl_with_user_and_password() -> None:
    target = Target(BASE, parse_base(BASE), "user:pass-word", "NAME_OF_KEY", "basic")
    (found,) = diagnose(case(cell("basic", "failed", status=500), target=target))
    assert f'{BASE}/chat/completions -u "$NAME_OF_KEY" -H' in found.next_line


def test_serious_ones_come_first() -> None:
    found = diagnose(
        case(cell(skew_s=9999.0), cell("raw", "style"), works="bearer"),
        [Check(name="stream", outcome=Outcome.FAIL)],
    )
    assert codes(found) == ["check-failed", "clock-skew", "one-style"]


VERDICTS = (*CAUSES, "proven", "")
STYLES = ("none", "bearer", "x-api-key", "raw", "api-key", "basic", "x-some-header")
WORDS = st.one_of(
    st.text(max_size=40), st.sampled_from(["certificate has expired", "quota", "the proxy", "a web page"])
)
CELLS = st.builds(
    cell,
    st.sampled_from(STYLES),
    st.sampled_from(VERDICTS),
    surface=st.sampled_from(["models", "chat/completions"]),
    toggled=st.booleans(),
    status=st.one_of(st.none(), st.integers(200, 599)),
    words=WORDS,
    html=st.booleans(),
    retry_after_s=st.one_of(st.none(), st.floats(0, 3600)),
    skew_s=st.one_of(st.none(), st.floats(-1e6, 1e6)),
)
CHECKS = st.builds(
    Check,
    name=st.sampled_from(["picture", "tools", "stream", "router"]),
    outcome=st.sampled_from(Outcome),
    words=WORDS,
    retry_after_s=st.one_of(st.none(), st.floats(0, 3600)),
)
BASES = (BASE, "http://llm.example.com", "http://user:pass-word@10.0.0.1:8080/v1?code=secret-code", "https://[::1]/v3")


@given(
    cells=st.lists(CELLS, max_size=8),
    checks=st.lists(CHECKS, max_size=3),
    base=st.sampled_from(BASES),
    key=st.sampled_from([None, KEY]),
    text=st.sampled_from(["", "a/model", "other"]),
    listed=st.sampled_from([None, Listing(), Listing((Model("a/model"), Model("b/model")))]),
)
def test_any_cells_give_a_diagnosis(
    cells: list[Cell], checks: list[Check], base: str, key: str | None, text: str, listed: Listing | None
) -> None:
    target = Target("label", parse_base(base), key, key and "NAME_OF_KEY", models=Models(text=text))
    served = [each for each in cells if each.surface != "models" and each.outcome in (Outcome.PASS, Outcome.CAPACITY)]
    works = (served[0].api_base, served[0].style) if served else ("", "")
    found = diagnose(Examined(target, Models(text=text), listed, tuple(cells), *works), checks)
    assert served or codes(found, serious=True)
    order = [each.serious for each in found]
    assert order == sorted(order, reverse=True)
    for each in found:
        assert each.code in CODES
        assert each.serious is (CODES.index(each.code) <= CODES.index("not-asked"))
        assert each.title
        assert each.words
        assert "\n" not in each.next_line
        assert not any(secret in repr(each) for secret in (KEY, "pass-word", "secret-code"))
