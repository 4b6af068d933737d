"""The command line itself: what it teaches, how it ends, and that asking it for help is quick."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from litellm_gateway_plugin import __version__, commands
from litellm_gateway_plugin.cli import COMMANDS, main
from litellm_gateway_plugin.errors import ConnectFailed, GatewayError, InvalidInput
from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway
from tests.support.command_line import imported


def test_help_shows_the_one_line_and_the_names_in_the_environment() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for word in ("litellm_gateway_plugin.install()", "LITELLM_GATEWAY_API_BASE", "CHUTES_API_KEY", "NO_COLOR"):
        assert word in shown.output


def test_help_says_what_to_type_when() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    _, _, told = shown.partition("What to type when ...")
    for line in ("litellm-gateway models", "run -- ", "router --yaml", "profiles clear", "demo"):
        assert line in told


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_teaches(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert f"litellm-gateway {name}" in shown.output.partition("\n")[2]  # an example, besides the usage
    assert "Exit status: " in shown.output


def test_every_module_of_a_command_is_in_the_group() -> None:
    folder = Path(commands.__path__[0])
    defined = {path.stem for path in folder.glob("*.py") if "def command(" in path.read_text("utf-8")}
    assert defined == set(COMMANDS)


def test_help_of_the_demonstration_names_what_it_needs() -> None:
    shown = CliRunner().invoke(main, ["demo", "-h"])
    assert shown.exit_code == 0
    assert 'pip install "litellm-gateway-plugin[demo]"' in shown.output
    assert "--model ID" in shown.output


def test_the_version_names_litellm_and_python_too() -> None:
    shown = CliRunner().invoke(main, ["--version"])
    assert shown.exit_code == 0
    assert shown.output.startswith(f"litellm-gateway-plugin {__version__} (litellm ")


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["demo", "--nothing"], ["demo", "--timeout", "0"], ["demo", "--model", " "]]
)
def test_wrong_use_ends_with_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), ["profiles", "clear", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(arguments) == []


@pytest.mark.parametrize(
    ("error", "status"), [(ConnectFailed("That\x1b[31m cannot be."), 1), (InvalidInput("That [31m cannot be."), 2)]
)
def test_an_error_of_ours_is_one_message(monkeypatch: pytest.MonkeyPatch, error: GatewayError, status: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("litellm_gateway_plugin.demo.run", fail)
    shown = CliRunner().invoke(main, ["demo"])
    assert (shown.exit_code, shown.stderr) == (status, "Error: That [31m cannot be.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process alone")
def test_ctrl_c_is_clean(isolated_environment: pytest.MonkeyPatch) -> None:
    with PickyGateway() as gateway, gateway.hold():
        environment = {
            **os.environ,
            "LITELLM_GATEWAY_API_BASE": gateway.base(),
            "LITELLM_GATEWAY_API_KEY": FAKE_KEY,
        }
        command = [sys.executable, "-c", "from litellm_gateway_plugin.cli import main; main()", "demo"]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            gateway.wait_for(1, timeout=60, surface="chat")
            time.sleep(0.2)  # until it waits for the answer
            process.send_signal(signal.SIGINT)
            _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints.strip()) == (130, "Stopped.")
