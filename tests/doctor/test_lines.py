"""The doctor's plain lines: those that people grep for, letter by letter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from litellm_gateway_plugin.doctor.lines import lines
from litellm_gateway_plugin.doctor.report import Check, DoctorReport, Exit, GatewayReport, Outcome
from tests.support.doctor_reports import (
    CHAT,
    FAIL,
    LISTING,
    PASS,
    REPORTS,
    SKIPPED,
    Forms,
    checks,
    chutes_gateway,
    good_gateway,
    report,
)

AT = Forms("https://llm.example.com", "https://llm.example.com/v1")


def of(gateway: GatewayReport) -> list[str]:
    """The lines of one gateway."""
    printed = list(lines(report(gateway, status=Exit.GOOD, installation=())))
    return printed[1:-1]


def with_matrix(*cells: object) -> list[str]:
    return of(good_gateway().model_copy(update={"matrix": cells, "checks": (), "listed": None}))


def of_check(check: Check) -> list[str]:
    return of(good_gateway().model_copy(update={"matrix": (), "checks": (check,), "listed": None}))[1:-1]


def test_a_whole_report_line_by_line() -> None:
    assert list(lines(REPORTS["chutes"])) == [
        "DOCTOR plugin=0.5.0 litellm=1.106.2 python=3.11.9",
        "GATEWAY https://llm.chutes.example/v1 key=CHUTES_API_KEY model=Qwen/Qwen3-235B-A22B-Instruct-2507",
        "MODELS 200",
        "LISTED 58",
        "MODELS_auth_bearer 200 PASS",
        "MODELS_x_api_key 200 PASS",
        "MODELS_auth_raw 200 PASS",
        "CHAT_auth_bearer 200 PASS",
        "CHAT_x_api_key 401 FAIL - Invalid or missing credentials",
        "CHAT_auth_raw 429 PASS CAPACITY retry_after=1s",
        "MODELS_auth_bearer 404 FAIL base=https://llm.chutes.example - Not Found",
        "CHAT_auth_bearer 404 FAIL base=https://llm.chutes.example - Not Found",
        "DIRECT_JSON PASS requests=1 time=0.21s",
        "JSON_SMOKE_OK",
        "STREAM PASS first_token=0.12s time=0.40s",
        "TOOLS PASS requests=1 time=0.35s",
        "VLM_SMOKE_SKIPPED (set CHUTES_VLM_MODEL to enable)",
        "EMBEDDINGS SKIPPED (name one with --embedding-model to enable)",
        "ROUTER_JSON PASS requests=1 time=0.22s",
        "PARALLEL_JSON PASS 2/2 requests=2 time=0.29s",
        "MODEL_LIST_JSON PASS requests=1 time=0.20s",
        "DIAGNOSIS style-per-surface: Listing and chat differ. The listing takes every style; chat refuses x-api-key.",
        "OUTCOME PASS style=bearer base=https://llm.chutes.example/v1",
        "INSTALLATION litellm_version PASS 1.106.2",
        "INSTALLATION provider PASS gateway/ is known to litellm",
        "INSTALLATION loopback_call PASS served after 2 refusals",
        "RESULT PASS exit=0",
    ]


def test_a_refusal_without_words_is_the_bare_line() -> None:
    cell = AT.cell(CHAT, "x-api-key", 401, FAIL)
    assert "CHAT_x_api_key 401 FAIL" in with_matrix(cell)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        (AT.cell(CHAT, "none", 200, PASS), "CHAT_none 200 PASS"),
        (AT.cell(CHAT, "basic", 200, PASS), "CHAT_auth_basic 200 PASS"),
        (AT.cell(CHAT, "X-Acme-Token", 200, PASS), "CHAT_X_Acme_Token 200 PASS"),
        (AT.cell(LISTING, "raw", 401, FAIL, verdict="style"), "MODELS_auth_raw 401 FAIL - style"),
        (
            AT.cell(CHAT, "bearer", None, FAIL, verdict="tls", words="certificate has expired"),
            "CHAT_auth_bearer --- FAIL - tls: certificate has expired",
        ),
        (
            AT.cell(CHAT, "bearer", 200, FAIL, other=True, verdict="base", words="Sign in", html=True),
            "CHAT_auth_bearer 200 FAIL base=https://llm.example.com/v1 - web page: Sign in",
        ),
        (
            AT.cell(CHAT, "raw", None, SKIPPED, other=True, words="over plain http one style is tried"),
            "CHAT_auth_raw SKIPPED base=https://llm.example.com/v1 (over plain http one style is tried)",
        ),
    ],
)
def test_a_cell(cell: object, line: str) -> None:
    assert with_matrix(cell)[-2] == line


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ([AT.cell(LISTING, "raw", 401, FAIL), AT.cell(LISTING, "bearer", 200, PASS)], "MODELS 200"),
        (
            [AT.cell(LISTING, "raw", 401, FAIL), AT.cell(LISTING, "bearer", 429, Outcome.CAPACITY)],
            "MODELS 429 PASS CAPACITY",
        ),
        ([AT.cell(LISTING, "raw", None, FAIL), AT.cell(LISTING, "bearer", 401, FAIL)], "MODELS 401 FAIL"),
        ([AT.cell(LISTING, "none", 200, FAIL, html=True)], "MODELS 200 FAIL"),
        ([AT.cell(LISTING, "none", None, FAIL)], "MODELS --- FAIL"),
    ],
)
def test_the_listing_is_as_good_as_its_best_cell(cells: list[object], line: str) -> None:
    assert [each for each in with_matrix(*cells) if each.startswith("MODELS ")] == [line]


def test_no_listing_that_was_asked_is_no_line() -> None:
    printed = with_matrix(AT.cell(CHAT, "bearer", 200, PASS), AT.cell(LISTING, "bearer", None, SKIPPED))
    assert not [each for each in printed if each.startswith(("MODELS ", "LISTED"))]


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (Check(name="direct_json", outcome=PASS), ["DIRECT_JSON PASS", "JSON_SMOKE_OK"]),
        (
            Check(name="direct_json", outcome=FAIL, words="no JSON", hint="name another model", seconds=1, requests=2),
            ["DIRECT_JSON FAIL requests=2 time=1.00s - no JSON; name another model"],
        ),
        (
            Check(name="stream", outcome=Outcome.CAPACITY, words="busy", retry_after_s=2.5, seconds=0.1),
            ["STREAM CAPACITY retry_after=2.5s time=0.10s - busy"],
        ),
        (Check(name="picture", outcome=PASS, seconds=0.5), ["VLM_SMOKE_OK time=0.50s"]),
        (Check(name="picture", outcome=FAIL, words="blind"), ["VLM_SMOKE_FAIL - blind"]),
        (
            Check(name="picture", outcome=SKIPPED, words="none is named", hint="set CHUTES_VLM_MODEL"),
            ["VLM_SMOKE_SKIPPED (set CHUTES_VLM_MODEL to enable)"],
        ),
        (
            Check(name="picture", outcome=SKIPPED, words="chat does not work"),
            ["VLM_SMOKE_SKIPPED (chat does not work)"],
        ),
        (Check(name="tools", outcome=SKIPPED), ["TOOLS SKIPPED"]),
        (Check(name="embeddings", outcome=PASS, words="384 numbers"), ["EMBEDDINGS PASS"]),
        (Check(name="router", outcome=PASS), ["ROUTER_JSON PASS"]),
        (Check(name="parallel", outcome=PASS, served="2/2"), ["PARALLEL_JSON PASS 2/2"]),
        (Check(name="model_list", outcome=PASS), ["MODEL_LIST_JSON PASS"]),
    ],
)
def test_a_check(check: Check, expected: list[str]) -> None:
    assert of_check(check) == expected


def test_what_is_wrong_and_what_to_type_next() -> None:
    printed = list(lines(REPORTS["wrong-key"]))
    at = next(
        number for number, line in enumerate(printed) if line.startswith("DIAGNOSIS wrong-key: The key is wrong. ")
    )
    assert printed[at + 1] == (
        'NEXT export LITELLM_GATEWAY_API_KEY="the key from your account page" && litellm-gateway doctor'
    )
    assert printed[at + 2] == "OUTCOME FAIL"


@pytest.mark.parametrize(
    ("name", "line"),
    [("good", "RESULT PASS exit=0"), ("wrong-key", "RESULT FAIL exit=1"), ("full", "RESULT CAPACITY exit=3")],
)
def test_the_last_line_is_the_exit_status(name: str, line: str) -> None:
    assert list(lines(REPORTS[name]))[-1] == line


def test_an_installation_that_fails_says_what_to_do() -> None:
    wanted = 'INSTALLATION litellm_version FAIL - 1.89.0 is older than 1.90.0; pip install "litellm>=1.90.0"'
    assert wanted in list(lines(REPORTS["console"]))


def test_an_installation_check_gives_its_advice_whatever_came_out() -> None:
    told = (
        Check(name="litellm", outcome=PASS, words="1.105.3", hint="leave LITELLM_LOG unset"),
        Check(name="redis", outcome=SKIPPED, words="none is configured"),
    )
    assert list(lines(report(status=Exit.GOOD, installation=told)))[1:-1] == [
        "INSTALLATION litellm PASS 1.105.3; leave LITELLM_LOG unset",
        "INSTALLATION redis SKIPPED (none is configured)",
    ]


def test_a_gateway_without_key_and_model_says_none() -> None:
    printed = list(lines(REPORTS["console"]))
    assert printed[1] == "GATEWAY https://console.example.com key=none model=none"
    assert "CHAT_none --- FAIL base=https://console.example.com/v1 - broken-off: the connection was closed" in printed


def test_every_gateway_has_its_line_in_order() -> None:
    heads = [line.split(" key=")[0] for line in lines(REPORTS["many"]) if line.startswith("GATEWAY ")]
    assert heads == [f"GATEWAY {gateway.label}" for gateway in REPORTS["many"].gateways]


def test_snippets_come_when_they_are_asked_for_and_as_they_are() -> None:
    report = REPORTS["good"]
    assert not [line for line in lines(report) if line.startswith(("SNIPPET", "import"))]
    printed = "\n".join(lines(report, snippets=True))
    kept = report.gateways[0].snippets
    assert kept is not None
    for name in ("python", "model_list", "config"):
        assert f"\nSNIPPET {name}\n{getattr(kept, name)}END {name}\n" in printed


FIRST_WORD = re.compile(r"[A-Z][A-Za-z0-9_]*\Z|_BOLD_I_1M_RESULT\Z")


every_report = pytest.mark.parametrize("found", REPORTS.values(), ids=REPORTS)


@every_report
def test_every_line_is_one_line_of_ascii_that_begins_with_its_name(found: DoctorReport) -> None:
    printed = list(lines(found))
    assert all(line.isascii() and line.isprintable() and line == line.strip() for line in printed)
    assert all(FIRST_WORD.match(line.split(" ")[0]) for line in printed)
    assert [line for line in printed if line.startswith("RESULT")] == printed[-1:]


def test_a_hostile_word_can_not_become_a_field() -> None:
    """Whatever a model or a header is called: it is one word, and a reason comes after all fields."""
    printed = of(REPORTS["hostile"].gateways[0])
    fields = {field.split("=")[0] for field in printed[0].split(" ")[1:] if "=" in field}
    assert fields == {"key", "model"}
    assert "CHAT_x_bold_i_ 200 PASS" in printed
    assert next(line for line in printed if line.startswith("CHAT_auth_bearer")).startswith(
        "CHAT_auth_bearer 401 FAIL - "
    )


def test_letters_beyond_ascii_are_escaped_and_not_lost() -> None:
    words = AT.cell(CHAT, "bearer", 403, FAIL, words="额度不足")
    assert "CHAT_auth_bearer 403 FAIL - \\u989d\\u5ea6\\u4e0d\\u8db3" in with_matrix(words)


def test_checks_and_cells_keep_the_order_of_the_report() -> None:
    gateway = chutes_gateway().model_copy(update={"checks": tuple(reversed(checks()))})
    names = [line.split(" ")[0] for line in of(gateway) if "JSON" in line.split(" ")[0]]
    assert names == ["MODEL_LIST_JSON", "PARALLEL_JSON", "ROUTER_JSON", "DIRECT_JSON", "JSON_SMOKE_OK"]


DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "doctor-output.md").read_text("utf-8")


@every_report
def test_every_line_that_is_printed_is_explained(found: DoctorReport) -> None:
    explained = {name.split(" ")[0] for name in re.findall(r"`([A-Z][A-Z_]+)", DOCUMENT)}
    names = {re.sub(r"^(MODELS|CHAT|VLM_SMOKE)_.*", r"\1_", line.split(" ")[0]) for line in lines(found)}
    assert names - {"_BOLD_I_1M_RESULT"} <= explained
