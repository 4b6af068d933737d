"""`litellm-gateway profiles`: what is kept about a gateway, and that a cleared one is negotiated with anew."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from litellm_gateway_plugin.cli import main
from litellm_gateway_plugin.credentials import fingerprint
from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.command_line import imported, interrupted, started

PICKY = Manners(styles={"*": ("x-api-key",)})


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    isolated_environment.setenv("LITELLM_GATEWAY_CACHE_DIR", str(tmp_path / "cache"))
    isolated_environment.setenv("ACME_KEY", FAKE_KEY)
    return isolated_environment


@pytest.fixture
def learnt(gateway: GatewayFactory) -> Callable[..., PickyGateway]:
    """A gateway that wants x-api-key under /v1, and has been asked without the /v1."""

    def make(manners: Manners = PICKY) -> PickyGateway:
        picky = gateway(manners)
        read(picky)
        return picky

    return make


def invoke(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=typed)


def profiles(*arguments: str, typed: str | None = None) -> Result:
    return invoke("profiles", *arguments, typed=typed)


def read(picky: PickyGateway) -> list[str]:
    """Have the next process read the listing; the credential styles that it has sent."""
    before = len(picky.seen)
    assert invoke("models", picky.url, "--key-env", "ACME_KEY", "--refresh").exit_code == 0
    return [seen.style for seen in picky.seen[before:]]


def rows(result: Result) -> list[list[str]]:
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_what_worked_and_what_was_listed_is_shown(learnt: Callable[..., PickyGateway], tmp_path: Path) -> None:
    picky = learnt()
    shown = profiles()
    route, listing = rows(shown)
    assert (shown.exit_code, route) == (0, [picky.url, "models", "x-api-key", f"{picky.url}/v1"])
    assert listing[:3] == [picky.url, "listing", "2"]
    assert shown.stderr == f"The cache is in {tmp_path / 'cache'}.\n"
    assert [seen.status for seen in picky.seen] == [404, 401, 200]  # the reading's: this command asks nothing


def test_one_base_with_or_without_its_v1(learnt: Callable[..., PickyGateway]) -> None:
    one, other = learnt(), learnt()
    for base in (one.url, f"{one.url}/v1"):
        assert {row[0] for row in rows(profiles(base))} == {one.url}
    assert {row[0] for row in rows(profiles())} == {one.url, other.url}


def test_json(learnt: Callable[..., PickyGateway], tmp_path: Path) -> None:
    picky = learnt()
    shown = json.loads(profiles("--json").stdout)
    assert shown["cache_dir"] == str(tmp_path / "cache")
    assert shown["routes"] == [
        {"api_base": picky.url, "surface": "models", "style": "x-api-key", "asked_at": f"{picky.url}/v1"}
    ]
    (listing,) = shown["listings"]
    assert (listing["api_base"], listing["models"]) == (picky.url, 2)
    assert 0 <= listing["age_s"] < 60


def test_no_key_and_no_fingerprint_is_shown(learnt: Callable[..., PickyGateway]) -> None:
    picky = learnt()
    shown = profiles().output + profiles("--json").output + profiles("clear", picky.url).output
    assert FAKE_KEY not in shown
    assert fingerprint(FAKE_KEY) not in shown


def test_a_cleared_base_is_negotiated_with_anew_by_the_next_process(learnt: Callable[..., PickyGateway]) -> None:
    one, other = learnt(), learnt()
    assert (read(one), read(other)) == (["x-api-key"], ["x-api-key"])
    shown = profiles("clear", f"{one.url}/v1")
    assert (shown.exit_code, shown.stdout) == (0, f"Removed 1 route and 1 listing of {one.url}/v1.\n")
    assert len(read(one)) > 1
    assert read(other) == ["x-api-key"]


def test_a_cleared_listing_is_read_again(learnt: Callable[..., PickyGateway]) -> None:
    picky = learnt()
    command = ("models", picky.url, "--key-env", "ACME_KEY")
    before = len(picky.seen)
    invoke(*command)
    assert len(picky.seen) == before
    profiles("clear", picky.url)
    invoke(*command)
    assert len(picky.seen) > before


def test_clearing_one_base_asks_nothing_and_nothing_is_no_error(learnt: Callable[..., PickyGateway]) -> None:
    learnt()
    shown = profiles("clear", "https://nobody.example/v1")
    assert (shown.exit_code, shown.stdout) == (
        0,
        "Removed 0 routes and 0 listings of https://nobody.example/v1.\n",
    )
    assert len(rows(profiles())) == 2


@pytest.mark.parametrize(("typed", "left"), [("n\n", 2), ("", 2), ("y\n", 0)])
def test_clearing_all_asks_first(learnt: Callable[..., PickyGateway], typed: str, left: int) -> None:
    learnt()
    shown = profiles("clear", "--all", typed=typed)
    assert shown.exit_code == (1 if left else 0)
    assert shown.stdout.replace(typed, "") == ("" if left else "Removed 1 route and 1 listing.\n")
    assert len(rows(profiles())) == left


def test_clearing_all_with_yes(learnt: Callable[..., PickyGateway]) -> None:
    learnt()
    learnt()
    assert profiles("clear", "--all", "--yes").stdout == "Removed 2 routes and 2 listings.\n"
    shown = profiles()
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert shown.stderr.startswith("Nothing is kept.\n")


def test_a_listing_of_a_base_that_nobody_names_is_counted(learnt: Callable[..., PickyGateway], tmp_path: Path) -> None:
    learnt()
    (tmp_path / "cache" / "guesses.json").unlink()
    ((base, what, models, age),) = rows(profiles())
    assert (base, what, models) == ("-", "listing", "2")
    assert float(age) < 60
    assert profiles("clear", "--all", "--yes").stdout == "Removed 0 routes and 1 listing.\n"


def test_what_cannot_be_removed_is_an_error(
    learnt: Callable[..., PickyGateway], environment: pytest.MonkeyPatch
) -> None:
    picky = learnt()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    with environment.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        patched.setattr(Path, "replace", refuse)
        shown = profiles("clear", picky.url)
    assert (shown.exit_code, shown.stdout) == (1, f"Removed 0 routes and 0 listings of {picky.url}.\n")
    assert "Not all could be removed" in shown.stderr
    assert len(rows(profiles())) == 2


def test_redis_is_mentioned(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LITELLM_GATEWAY_REDIS_URL", "redis://:secret-word@127.0.0.1:9/0")
    shown = profiles()
    assert "Redis" in shown.stderr
    assert "secret-word" not in shown.output


@pytest.mark.parametrize(
    "arguments", [["clear"], ["clear", "https://a.example", "--all"], ["no-url"], ["clear", "no-url"], ["--nothing"]]
)
def test_wrong_use_ends_with_status_2_and_one_error(arguments: list[str]) -> None:
    shown = profiles(*arguments)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.count("Error: ") == 1


def test_neither_litellm_nor_a_client_is_imported() -> None:
    assert imported(["profiles"], ["litellm", "httpx", "aiohttp"]) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process alone")
def test_ctrl_c_at_the_question_is_clean_and_removes_nothing(learnt: Callable[..., PickyGateway]) -> None:
    learnt()
    process = started("profiles", "clear", "--all", stdin=subprocess.PIPE)

    def asked() -> None:
        assert process.stderr is not None
        assert process.stderr.read(6) == "Remove"

    status, errors = interrupted(process, asked)
    assert status == 130
    assert errors.splitlines()[-1] == "Stopped."
    assert len(rows(profiles())) == 2
