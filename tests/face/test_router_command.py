"""`litellm-gateway router`: the same decision as `auto_router_from_env`, its reasons, and a file for the proxy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import litellm_gateway_plugin
from litellm_gateway_plugin.cli import main
from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.command_line import imported, interrupted, started

DEAD = "http://127.0.0.1:9"
MODEL = "acme/Clever-32B"


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield isolated_environment
    litellm_gateway_plugin.uninstall()


def manners(busy: float, **more: Any) -> Manners:
    page = [{"name": MODEL, "utilization_current": busy, "active_instance_count": 2}]
    return Manners(models=(MODEL,), listing="chutes", pages={"/chutes/utilization": page}, **more)


@pytest.fixture
def two(gateway: GatewayFactory, environment: pytest.MonkeyPatch) -> tuple[PickyGateway, PickyGateway]:
    """A busy gateway under the number 1 and an idle one, which wants x-api-key, under the number 2."""
    both = gateway(manners(0.9)), gateway(manners(0.2, styles={"*": ("x-api-key",)}))
    for number, each in enumerate(both, start=1):
        environment.setenv(f"LITELLM_GATEWAY_API_BASE_{number}", each.base())
        environment.setenv(f"LITELLM_GATEWAY_API_KEY_{number}", FAKE_KEY)
    return both


def router(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["router", *arguments])


def test_the_least_busy_is_first_and_the_line_says_why(two: tuple[PickyGateway, PickyGateway]) -> None:
    shown = router()
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert [line.split("\t") for line in shown.stdout.splitlines()] == [
        ["1", MODEL, two[1].base(), "20 % busy"],
        ["2", MODEL, two[0].base(), "90 % busy"],
    ]


def test_nothing_is_called_and_nothing_is_billed(two: tuple[PickyGateway, PickyGateway]) -> None:
    router("--kind", "tools", "--require-json")
    for each in two:
        assert {seen.surface or seen.path for seen in each.seen} == {"models", "/chutes/utilization"}
        assert each.styles("models")[-1] == each.manners.styles["*"][0]


def test_it_decides_as_auto_router_does(two: tuple[PickyGateway, PickyGateway]) -> None:
    deployments = litellm_gateway_plugin.auto_model_list_from_env("tools", require_json=True)
    expected = [(each["litellm_params"]["model"], each["model_info"]["gateway"]) for each in deployments]
    shown = json.loads(router("--kind", "tools", "--require-json", "--json").stdout)
    assert [(f"gateway/{each['model']}", each["gateway"]) for each in shown["candidates"]] == expected
    assert shown["needs"] == ["tools", "json"]
    assert [each["key_name"] for each in shown["candidates"]] == [
        "LITELLM_GATEWAY_API_KEY_2",
        "LITELLM_GATEWAY_API_KEY_1",
    ]


def test_a_gateway_that_cannot_be_used_is_named_with_the_reason(
    two: tuple[PickyGateway, PickyGateway], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("LITELLM_GATEWAY_API_BASE_3", DEAD)
    shown = router()
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (0, 2)
    (line,) = shown.stderr.splitlines()
    assert line.startswith(f"left out: {DEAD}: the host cannot be reached")
    assert json.loads(router("--json").stdout)["left_out"][0]["gateway"] == DEAD


def test_a_gateway_beyond_the_number_is_named_too(two: tuple[PickyGateway, PickyGateway]) -> None:
    shown = router("--max-bases", "1")
    assert [line.split("\t")[2] for line in shown.stdout.splitlines()] == [two[1].base()]
    assert shown.stderr == f"left out: {two[0].base()}: it is not among the best 1 (--max-bases)\n"


def test_so_many_models_of_each_base(gateway: GatewayFactory, environment: pytest.MonkeyPatch) -> None:
    picky = gateway(Manners(models=("one", "two", "three")))
    environment.setenv("LITELLM_GATEWAY_API_BASE", picky.base())
    environment.setenv("LITELLM_GATEWAY_API_KEY", FAKE_KEY)
    assert len(router().stdout.splitlines()) == 2
    assert len(router("--max-candidates-per-base", "3").stdout.splitlines()) == 3


def test_a_preferred_model_that_is_not_listed_is_told(
    two: tuple[PickyGateway, PickyGateway], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("LITELLM_GATEWAY_TEXT_MODEL_1", "acme/None")
    shown = router()
    assert shown.exit_code == 0
    assert shown.stderr == f"The preferred model of {two[0].base()} is not in its listing.\n"


def test_when_nobody_has_such_a_model_it_says_why_and_what_to_do(two: tuple[PickyGateway, PickyGateway]) -> None:
    shown = router("--kind", "vlm")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert [line.partition(":")[0] for line in shown.stderr.splitlines()] == ["left out", "left out", "Error"]
    assert "LITELLM_GATEWAY_VLM_MODEL" in shown.stderr.splitlines()[-1]
    assert router("--kind", "vlm", "--yaml").stdout == ""


@pytest.mark.parametrize(
    "arguments", [[], ["--kind", "sound"], ["--max-bases", "0"], ["--json", "--yaml"], ["https://llm.example.com"]]
)
def test_wrong_use_ends_with_status_2_and_one_error(arguments: list[str]) -> None:
    shown = router(*arguments)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.count("Error: ") == 1


def test_the_file_names_the_keys_and_holds_none(two: tuple[PickyGateway, PickyGateway]) -> None:
    text = router("--yaml").stdout
    assert FAKE_KEY not in text
    config = yaml.safe_load(text)
    assert config["model_list"] == [
        {
            "model_name": "text",
            "litellm_params": {
                "model": f"gateway/{MODEL}",
                "api_base": two[place].base(),
                "api_key": f"os.environ/LITELLM_GATEWAY_API_KEY_{place + 1}",
                "order": order,
            },
        }
        for order, place in ((1, 1), (2, 0))
    ]
    assert config["litellm_settings"] == {"callbacks": ["litellm_gateway_plugin.callback"]}
    assert "# 20 % busy" in text


def test_the_file_s_router_settings_are_those_of_auto_router(
    two: tuple[PickyGateway, PickyGateway], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("LITELLM_MAX_RETRIES", "5")
    settings = yaml.safe_load(router("--yaml").stdout)["router_settings"]
    theirs = litellm_gateway_plugin.auto_router_from_env(refresh_s=0)
    assert theirs.retry_policy is not None
    assert settings == {
        "num_retries": theirs.num_retries,
        "retry_policy": {"RateLimitErrorRetries": theirs.retry_policy.RateLimitErrorRetries},
    }
    assert settings["retry_policy"]["RateLimitErrorRetries"] == 5


def test_a_stock_router_of_the_file_asks_the_least_busy_and_then_the_other(
    two: tuple[PickyGateway, PickyGateway],
) -> None:
    import litellm

    busy, idle = two
    config = yaml.safe_load(router("--yaml").stdout)
    litellm_gateway_plugin.install(cache=False)
    stock = litellm.Router(model_list=config["model_list"], **config["router_settings"])
    messages = [{"role": "user", "content": "hello"}]
    answered: Any = stock.completion("text", messages)
    assert answered._hidden_params["gateway"]["api_base"] == idle.base()
    assert (busy.styles("chat"), idle.styles("chat")) == ([], ["bearer", "x-api-key"])
    idle.full(retry_after="60")
    answered = stock.completion("text", messages)
    assert answered._hidden_params["gateway"]["api_base"] == busy.base()
    assert (busy.styles("chat"), len(idle.styles("chat"))) == (["bearer"], 3)


@pytest.mark.parametrize(
    "entry",
    [
        {"api_base": "{base}", "api_key": "sk-inline-key"},
        {"api_base": "http://user:secret-word@{host}/v1"},
        {"api_base": "{base}?token=secret-word"},
    ],
)
def test_what_would_have_to_be_written_in_the_clear_is_an_error(
    gateway: GatewayFactory, environment: pytest.MonkeyPatch, entry: dict[str, str]
) -> None:
    picky = gateway(manners(0.5, key=None))
    filled = {name: text.format(base=picky.base(), host=f"127.0.0.1:{picky.port}") for name, text in entry.items()}
    environment.setenv("LITELLM_GATEWAY_BASES", json.dumps([filled]))
    assert router().exit_code == 0
    shown = router("--yaml")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "cannot be written into a file" in shown.stderr
    assert not {"sk-inline-key", "secret-word"} & set(shown.output.replace(":", " ").replace("@", " ").split())
    assert "secret-word" not in shown.output


def test_an_id_that_yaml_would_read_otherwise_stays_itself(
    gateway: GatewayFactory, environment: pytest.MonkeyPatch
) -> None:
    strange = 'a: "b" #c {d} \\n é'
    picky = gateway(Manners(models=(strange,)))
    environment.setenv("LITELLM_GATEWAY_API_BASE", picky.base())
    environment.setenv("LITELLM_GATEWAY_API_KEY", FAKE_KEY)
    (only,) = yaml.safe_load(router("--yaml").stdout)["model_list"]
    assert only["litellm_params"]["model"] == f"gateway/{strange}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process alone")
def test_ctrl_c_while_a_gateway_is_silent_is_clean(two: tuple[PickyGateway, PickyGateway]) -> None:
    with two[0].hold():
        status, errors = interrupted(
            started("router"), lambda: [each.wait_for(1, timeout=60, surface="models") for each in two]
        )
    assert (status, errors.strip()) == (130, "Stopped.")


def test_litellm_is_not_imported(two: tuple[PickyGateway, PickyGateway]) -> None:
    assert imported(["router", "--yaml"], ["litellm", "httpx"]) == ["httpx"]


def test_without_a_gateway_it_says_what_every_command_says(environment: pytest.MonkeyPatch) -> None:
    shown = router()
    assert shown.exit_code == 2
    assert "No gateway is named. Set LITELLM_GATEWAY_API_BASE" in shown.stderr
    assert "python -m litellm_gateway_plugin.testing --follow" in shown.stderr
