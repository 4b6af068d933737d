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
from tests.support.command_line import GUARD_S, PROGRAM, imported


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["doctor", "--key", "sk-secret-word"],
        ["doctor", "--api-key=sk-secret-word", "https://llm.example.com"],
        ["models", "https://llm.example.com", "--key=sk-secret-word"],
        ["router", "--api-key", "sk-secret-word"],
        ["profiles", "clear", "--key", "sk-secret-word"],
        ["run", "--key", "sk-secret-word", "--", "script.py"],
        ["--key", "sk-secret-word", "doctor"],
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(arguments: list[str]) -> None:
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 2
    assert "A key never stands on the command line" in shown.stderr
    assert "--key-env MY_KEY" in shown.stderr
    assert "secret-word" not in shown.output


def test_another_unknown_option_is_told_as_ever() -> None:
    assert "--nothing" in CliRunner().invoke(main, ["doctor", "--nothing"]).stderr


def test_a_misspelt_command_is_told_its_name() -> None:
    shown = CliRunner().invoke(main, ["doctr"])
    assert shown.exit_code == 2
    assert "did you mean doctor?" in shown.stderr
    assert "did you mean" not in CliRunner().invoke(main, ["zzzz"]).stderr.replace("Did", "")


WRITES = [
    ["--help"],
    ["--version"],
    ["doctor", "--quick", "http://127.0.0.1:9"],
    ["doctor", "--quick", "--json", "http://127.0.0.1:9"],
    ["models", "--help"],
    ["profiles", "--json"],
    ["completion", "bash"],
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", WRITES, ids=" ".join)
def test_a_full_disk_is_one_line(isolated_environment: pytest.MonkeyPatch, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=GUARD_S, check=False)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last) == (1, "Error: The output cannot be written: No space left on device.")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell that closes it")
@pytest.mark.parametrize(
    "arguments", [["doctor", "--quick", "http://127.0.0.1:9"], ["models", "http://127.0.0.1:9"], ["profiles"], ["demo"]]
)
def test_a_closed_output_is_one_line(isolated_environment: pytest.MonkeyPatch, arguments: list[str]) -> None:
    done = closed(*arguments)
    assert (done.returncode, done.stderr) == (1, "Error: Standard output is closed: there is nowhere to write to.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell that closes it")
def test_a_program_may_run_without_an_output(isolated_environment: pytest.MonkeyPatch) -> None:
    done = closed("run", "--", "-c", "import sys; sys.exit(7 if sys.stdout is None else 8)")
    assert (done.returncode, done.stderr) == (7, "")


def closed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line without a standard output."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=GUARD_S, check=False)
