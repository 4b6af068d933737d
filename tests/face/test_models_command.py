"""`litellm-gateway models`: what is listed, who was asked, and what a dead gateway does to the others."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result

from litellm_gateway_plugin.cli import main
from litellm_gateway_plugin.testing import FAKE_KEY, PUBLIC, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.command_line import ended, imported, interrupted, on_a_terminal, started

DEAD = "http://127.0.0.1:9"
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither such terminals nor such signals")
CHUTES = Manners(models=("acme/Clever-32B", "acme/Small-1B"), listing="chutes")


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return isolated_environment


@pytest.fixture
def two(gateway: GatewayFactory, environment: pytest.MonkeyPatch) -> tuple[PickyGateway, PickyGateway]:
    """Two gateways in the environment: one that says much of its models, and one that says little."""
    both = gateway(CHUTES), gateway(Manners(models=("plain",)))
    for number, each in enumerate(both, start=1):
        environment.setenv(f"LITELLM_GATEWAY_API_BASE_{number}", each.base())
        environment.setenv(f"LITELLM_GATEWAY_API_KEY_{number}", FAKE_KEY)
    return both


def models(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments])


def listed(result: Result) -> list[str]:
    return [line.partition("\t")[0] for line in result.stdout.splitlines()]


def test_every_gateway_of_the_environment_is_asked_once(two: tuple[PickyGateway, PickyGateway]) -> None:
    shown = models()
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert listed(shown) == ["acme/Clever-32B", "acme/Small-1B", "plain"]
    assert [[seen.surface for seen in each.seen] for each in two] == [["models"], ["models"]]


def test_a_line_has_the_same_columns_whatever_is_known(two: tuple[PickyGateway, PickyGateway]) -> None:
    first, _, last = models().stdout.splitlines()
    assert first.split("\t") == [
        "acme/Clever-32B", "chat", "262144", "65536", "0.08", "0.55", "tools,json,schema", two[0].base(),
    ]  # fmt: skip
    assert last.split("\t") == ["plain", "-", "-", "-", "-", "-", "-", two[1].base()]


def test_a_fresh_listing_is_not_read_again_and_refresh_reads_it(two: tuple[PickyGateway, PickyGateway]) -> None:
    models()
    assert listed(models()) == ["acme/Clever-32B", "acme/Small-1B", "plain"]
    assert [len(each.seen) for each in two] == [1, 1]
    assert models("--refresh").exit_code == 0
    assert [len(each.seen) for each in two] == [2, 2]


def test_without_the_cache_every_run_asks(
    two: tuple[PickyGateway, PickyGateway], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("LITELLM_GATEWAY_CACHE", "false")
    models()
    models()
    assert [len(each.seen) for each in two] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--can", "tools"], ["talks", "silent-tools"]),
        (["--can", "tools", "--can", "vision"], ["talks"]),
        (["--can", "json"], ["talks"]),  # whoever keeps to a schema gives JSON
        (["--kind", "chat"], ["talks", "silent-tools", "unknown"]),
        (["--kind", "embedding"], ["vectors"]),
        (["--search", "TOOLS"], ["silent-tools"]),
        (["--kind", "chat", "--search", "a"], ["talks"]),
    ],
)
def test_filters(gateway: GatewayFactory, arguments: list[str], ids: list[str]) -> None:
    facts: dict[str, Any] = {
        "talks": {"supported_features": ["tools", "structured_outputs"], "input_modalities": ["text", "image"]},
        "silent-tools": {"supported_features": ["tools"]},
        "vectors": {"type": "embedding"},
        "unknown": {},
    }
    picky = gateway(Manners(models=tuple(facts), facts=facts, styles={"*": (PUBLIC,)}))
    assert sorted(listed(models(picky.base(), *arguments))) == sorted(ids)


def test_nothing_of_that_sort_is_told_on_standard_error(two: tuple[PickyGateway, PickyGateway]) -> None:
    shown = models("--search", "nothing like this")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "No listed model is of that sort.\n")


def test_json_says_null_for_what_is_unknown(two: tuple[PickyGateway, PickyGateway]) -> None:
    rich, plain = json.loads(models("--json").stdout)["gateways"]
    assert rich["models"][0]["price"] == {"input": 8e-08, "output": 5.5e-07, "cached": 4e-08}
    assert rich["models"][0]["capabilities"]["tools"] is True
    assert plain == {
        "gateway": two[1].base(),
        "api_base": two[1].base(),
        "key_name": "LITELLM_GATEWAY_API_KEY_2",
        "error": None,
        "models": [
            {
                "id": "plain",
                "kind": None,
                "context": None,
                "max_output": None,
                "capabilities": dict.fromkeys(("tools", "vision", "json", "schema", "reasoning")),
                "price": {"input": None, "output": None, "cached": None},
            }
        ],
    }


def test_a_dead_gateway_is_one_line_and_the_others_are_shown(
    two: tuple[PickyGateway, PickyGateway], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("LITELLM_GATEWAY_API_BASE_2", DEAD)
    shown = models()
    assert (shown.exit_code, listed(shown)) == (1, ["acme/Clever-32B", "acme/Small-1B"])
    (line,) = shown.stderr.splitlines()
    assert line.startswith(f"{DEAD}: no listing: the host cannot be reached")
    assert "Check host and port" in line
    dead = json.loads(models("--json").stdout)["gateways"][1]
    assert dead["models"] == []
    assert "cannot be reached" in dead["error"]


def test_a_refused_key_names_its_variable_and_never_itself(
    gateway: GatewayFactory, environment: pytest.MonkeyPatch
) -> None:
    picky = gateway()
    environment.setenv("ACME_KEY", "sk-wrong-key")
    shown = models(picky.base(), "--key-env", "ACME_KEY")
    assert shown.exit_code == 1
    assert "Check the key in ACME_KEY." in shown.stderr
    assert "sk-wrong-key" not in shown.output
    assert "bearer" in picky.styles("models")


def test_a_typed_base_gets_the_key_that_is_named(gateway: GatewayFactory, environment: pytest.MonkeyPatch) -> None:
    picky = gateway(Manners(styles={"*": ("x-api-key",)}))
    environment.setenv("ACME_KEY", FAKE_KEY)
    shown = models(picky.url, "--key-env", "ACME_KEY")
    assert (shown.exit_code, listed(shown)) == (0, ["test/model-small", "test/model-large"])
    assert picky.styles("models")[-1] == "x-api-key"
    assert FAKE_KEY not in shown.output


def test_a_key_of_the_environment_goes_to_no_other_origin(
    two: tuple[PickyGateway, PickyGateway], gateway: GatewayFactory
) -> None:
    stranger = gateway(Manners(styles={"*": (PUBLIC,)}))
    assert models(stranger.base()).exit_code == 0
    assert [seen.credential_headers for seen in stranger.seen] == [()]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--key-env", "ACME_KEY"],
        ["llm.example.com"],
        [DEAD, "--key-env", "NOT_SET"],
        [DEAD, "--can", "fly"],
    ],
)
def test_wrong_use_ends_with_status_2_and_one_error(arguments: list[str]) -> None:
    shown = models(*arguments)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.count("Error: ") == 1


def test_without_a_gateway_it_says_what_to_type() -> None:
    shown = models().stderr
    for words in ("litellm-gateway doctor https://", "python -m litellm_gateway_plugin.testing --follow"):
        assert words in shown


def test_what_is_misspelt_is_told(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LITELLM_GATEWAY_APIBASE", "https://llm.example.com/v1")
    assert "LITELLM_GATEWAY_APIBASE is no setting: did you mean LITELLM_GATEWAY_API_BASE?" in models().stderr


def test_a_gateway_that_lists_nothing_is_named(two: tuple[PickyGateway, PickyGateway]) -> None:
    two[0].change(models=())
    shown = models()
    assert (shown.exit_code, listed(shown)) == (0, ["plain"])
    assert shown.stderr == f"{two[0].base()} lists no models.\n"


HOSTILE = ("[red]markup[/red]", "=1+1", ":smile:", "\x1b[31mred", "two\nlines", "\u202ereversed")


def test_ids_that_are_more_than_text_are_shown_as_text(gateway: GatewayFactory) -> None:
    picky = gateway(Manners(models=HOSTILE, styles={"*": (PUBLIC,)}, facts={":smile:": {"type": "a\tb\x1b[0m\n"}}))
    shown = models(picky.base())
    assert listed(shown) == ["[red]markup[/red]", "=1+1", ":smile:"]
    assert {len(line.split("\t")) for line in shown.stdout.splitlines()} == {8}
    assert "\x1b" not in shown.output


@UNIX
def test_on_a_terminal_it_is_a_table_with_whole_ids(gateway: GatewayFactory) -> None:
    long = "acme/" + "a-rather-long-name-" * 2 + "32B"
    picky = gateway(Manners(models=(long, *HOSTILE), listing="chutes", styles={"*": (PUBLIC,)}))
    for columns, words in ((140, ("tools, json, schema",)), (80, ())):
        shown = on_a_terminal("models", picky.base(), columns=columns)
        assert f"{picky.base()}: 4 models" in shown
        for expected in (*words, "$/M", long, "[red]markup[/red]", ":smile:", "262144"):
            assert expected in shown
        assert "\x1b[31m" not in shown


@UNIX
def test_a_reader_that_goes_away_is_no_error(gateway: GatewayFactory) -> None:
    picky = gateway(Manners(models=tuple(f"acme/model-{number}" for number in range(5000)), styles={"*": (PUBLIC,)}))
    with started("models", picky.base()) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("acme/model-0\t")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode in (0, 1)


@UNIX
def test_ctrl_c_while_a_gateway_is_silent_is_clean(gateway: GatewayFactory) -> None:
    picky = gateway(Manners(styles={"*": (PUBLIC,)}))
    with picky.hold():
        status, errors = interrupted(
            started("models", picky.base()), lambda: picky.wait_for(1, timeout=60, surface="models")
        )
    assert (status, errors.strip()) == (130, "Stopped.")


def test_litellm_is_not_imported(gateway: GatewayFactory) -> None:
    picky = gateway(Manners(styles={"*": (PUBLIC,)}))
    assert imported(["models", picky.base()], ["litellm", "httpx"]) == ["httpx"]
    assert len(picky.seen) == 1


def test_the_first_column_can_be_cut(gateway: GatewayFactory) -> None:
    picky = gateway(Manners(styles={"*": (PUBLIC,)}))
    status, output, errors = ended("models", picky.base())
    assert (status, errors) == (0, "")
    assert [line.split("\t")[0] for line in output.splitlines()] == ["test/model-small", "test/model-large"]


def test_redis_is_left_alone(two: tuple[PickyGateway, PickyGateway], environment: pytest.MonkeyPatch) -> None:
    """A person's look is no load that other processes have to know of: a Redis that is away is not even noticed."""
    environment.setenv("LITELLM_GATEWAY_REDIS_URL", "redis://127.0.0.1:9/0")
    assert ended("models")[::2] == (0, "")
