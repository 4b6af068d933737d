"""`litellm-gateway doctor`, from the command line to its exit status; the pieces have tests in `tests/doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from litellm_gateway_plugin.cli import main
from litellm_gateway_plugin.doctor.checks import KINDS
from litellm_gateway_plugin.doctor.names import CHECKS
from litellm_gateway_plugin.doctor.report import DoctorReport, Outcome
from litellm_gateway_plugin.testing import FAKE_KEY, PRESETS, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.command_line import ended, imported, interrupted, on_a_terminal, started

DEAD = "http://127.0.0.1:9/v1"
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither such terminals nor such signals")
CHUTES = PRESETS["chutes"]


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return isolated_environment


@pytest.fixture
def chutes(gateway: GatewayFactory, environment: pytest.MonkeyPatch) -> PickyGateway:
    """The gateway in the environment: its listing is public, its chat takes bearer and raw."""
    picky = gateway(CHUTES)
    environment.setenv("CHUTES_API_BASE", picky.base())
    environment.setenv("CHUTES_API_KEY", FAKE_KEY)
    return picky


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def matrix(picky: PickyGateway) -> list[tuple[str, str]]:
    return sorted((seen.surface, seen.style) for seen in picky.seen)


ASKED = sorted(
    [
        *(("models", style) for style in ("none", "bearer", "x-api-key", "raw")),
        *(("chat", style) for style in ("bearer", "x-api-key", "raw")),
    ]
)


def test_a_gateway_that_works_is_status_0_with_the_lines_that_people_know(chutes: PickyGateway) -> None:
    done = doctor()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    for line in ("MODELS 200", "CHAT_auth_bearer 200 PASS", "JSON_SMOKE_OK", "RESULT PASS exit=0"):
        assert line in lines
    for start in ("CHAT_x_api_key 401 FAIL", "DIRECT_JSON PASS", "ROUTER_JSON PASS", "PARALLEL_JSON PASS 2/2"):
        assert any(line.startswith(start) for line in lines)
    assert len(chutes.seen) == len(ASKED) + 8
    assert FAKE_KEY not in done.output


def test_quick_asks_the_gateway_and_leaves_litellm_alone(chutes: PickyGateway) -> None:
    done = doctor("--quick")
    assert done.exit_code == 0
    assert matrix(chutes) == ASKED
    assert "DIRECT_JSON" not in done.stdout
    assert imported(["doctor", "--quick"], ["litellm", "openai", "aiohttp"]) == []


def test_what_is_announced_comes_first_and_is_kept(chutes: PickyGateway) -> None:
    done = doctor("--json")
    report = DoctorReport.model_validate_json(done.stdout)
    assert done.stderr.startswith(
        f"1 gateway. Usually {len(ASKED)} requests, at most {report.requests_announced - 9} ("
    )
    assert "; then up to 9 calls through litellm.\n" in done.stderr
    assert len(ASKED) < len(chutes.seen) <= report.requests_announced


def test_a_full_gateway_is_status_3(chutes: PickyGateway) -> None:
    chutes.full(times=50, retry_after="7")
    done = doctor()
    assert done.exit_code == 3
    lines = done.stdout.splitlines()
    assert "CHAT_auth_bearer 429 PASS CAPACITY retry_after=7s" in lines
    assert lines[-1] == "RESULT CAPACITY exit=3"
    assert len(chutes.seen) <= len(ASKED) + 2, "who is full is not asked again and again"


def test_a_wrong_key_is_status_1_with_the_variable_to_set(
    chutes: PickyGateway, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("CHUTES_API_KEY", "not-this-one")
    done = doctor()
    assert done.exit_code == 1
    assert "DIAGNOSIS wrong-key:" in done.stdout
    following = next(line for line in done.stdout.splitlines() if line.startswith("NEXT "))
    assert "CHUTES_API_KEY" in following
    assert "not-this-one" not in done.output


def test_one_dead_gateway_does_not_hide_the_other(chutes: PickyGateway, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CHUTES_API_BASE_1", DEAD)
    done = doctor("--json", "--quick")
    assert done.exit_code == 1
    report = DoctorReport.model_validate_json(done.stdout)
    assert {each.api_base: each.outcome for each in report.gateways} == {
        chutes.base(): Outcome.PASS,
        DEAD: Outcome.FAIL,
    }


def test_a_typed_base_takes_its_key_from_the_named_variable(
    gateway: GatewayFactory, environment: pytest.MonkeyPatch
) -> None:
    picky = gateway(replace(CHUTES, key="another-made-up-key"))
    environment.setenv("ACME_KEY", "another-made-up-key")
    done = doctor(picky.url, "--key-env", "ACME_KEY", "--quick")
    assert done.exit_code == 0, done.output
    assert f"GATEWAY {picky.url} key=ACME_KEY" in done.stdout
    assert "another-made-up-key" not in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "LITELLM_GATEWAY_API_BASE"),
        (["llm.example.com"], "BASE is not a URL: it must begin with https://"),
        ([DEAD, "--key-env", "sk-secret"], "and this is none"),
        ([DEAD, "--key-env", "NOBODY_SETS_THIS"], "NOBODY_SETS_THIS is not set"),
        (["--key-env", "HOME"], "type one"),
        ([DEAD, "--skip", "nothing"], "nothing"),
        *(([DEAD, "--timeout", value], "--timeout") for value in ("0", "inf", "nan", "1e30")),
        ([DEAD, "--html", "/nowhere/at/all.html"], "--html"),
    ],
)
def test_wrong_use_is_status_2_and_says_what_to_do(arguments: list[str], words: str) -> None:
    done = doctor(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_the_page_is_written_beside_the_lines(chutes: PickyGateway, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = doctor("--quick", "--html", str(file))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "RESULT PASS exit=0"
    shown = file.read_text("utf-8")
    assert shown.startswith("<!DOCTYPE html>")
    assert chutes.base() in shown
    assert FAKE_KEY not in shown


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a folder in which nobody can write")
def test_a_page_that_cannot_be_written_is_told_before_anything_is_sent(chutes: PickyGateway) -> None:
    done = doctor("--quick", "--html", "/proc/report.html")
    assert done.exit_code == 2
    assert "/proc/report.html cannot be written" in done.stderr
    assert chutes.seen == []


def test_json_is_nothing_but_json(chutes: PickyGateway) -> None:
    status, output, errors = ended("doctor", "--json", "--skip", "picture")
    assert status == 0, output
    found = json.loads(output)
    assert [check["outcome"] for check in found["gateways"][0]["checks"] if check["name"] == "picture"] == ["SKIPPED"]
    assert [line.split(" ")[0] for line in errors.splitlines()] == ["1", "Loading"]


@UNIX
def test_a_terminal_gets_a_table(chutes: PickyGateway) -> None:
    shown = on_a_terminal("doctor", "--quick")
    assert "x-api-key" in shown
    assert "401 FAIL" in shown
    assert "CHAT_auth_bearer" not in shown


@UNIX
def test_ctrl_c_while_a_gateway_is_silent_ends_it_at_once(gateway: GatewayFactory) -> None:
    silent = gateway(CHUTES)
    with silent.hold():
        status, errors = interrupted(
            started("doctor", silent.base(), "--quick"), lambda: silent.wait_for(1, timeout=60, surface="models")
        )
    assert status == 130
    assert errors.splitlines()[-1] == "Stopped."


def test_the_options_name_every_check() -> None:
    assert list(CHECKS) == [kind.name for kind in KINDS]


def test_help_teaches_the_exit_statuses() -> None:
    shown = doctor("--help")
    assert shown.exit_code == 0
    for words in ("3 a gateway", "--key-env NAME", "litellm-gateway doctor --html report.html"):
        assert words in shown.stdout


def test_where_no_gateway_works_litellm_is_not_loaded() -> None:
    done = doctor(DEAD)
    assert done.exit_code == 1
    assert "Loading litellm" not in done.stderr
    assert "INSTALLATION settings PASS 0 gateways in the environment" in done.stdout
    reason = "not looked at, because no gateway works; --all looks all the same"
    assert f"INSTALLATION provider SKIPPED ({reason})" in done.stdout
    assert imported(["doctor", DEAD], ["litellm", "openai"]) == []


def test_all_looks_at_the_installation_whatever_works() -> None:
    done = doctor(DEAD, "--all")
    assert "Loading litellm, which takes a few seconds.\n" in done.stderr
    assert "INSTALLATION provider PASS" in done.stdout


def test_one_gateway_that_works_is_reason_enough_to_look(chutes: PickyGateway, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CHUTES_API_BASE_1", DEAD)
    done = doctor()
    assert "INSTALLATION provider PASS" in done.stdout
    assert "DIRECT_JSON PASS" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--quick"]])
def test_a_misspelt_variable_is_told_before_anything_is_asked(
    environment: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    environment.setenv("LITELLM_GATEWAY_TEXTMODEL", "a/model")
    first, second, *_ = doctor(DEAD, *arguments).stderr.splitlines()
    assert first == "LITELLM_GATEWAY_TEXTMODEL is no setting: did you mean LITELLM_GATEWAY_TEXT_MODEL?"
    assert second.startswith("1 gateway. ")
