"""`litellm-gateway completion`, and that the shell does not wait when it asks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from litellm_gateway_plugin.cli import COMMANDS, main
from litellm_gateway_plugin.guesses import DiskGuesses
from litellm_gateway_plugin.plan import Route
from tests.support.command_line import HEAVY, ended, imported


@pytest.fixture(autouse=True)
def environment(isolated_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return isolated_environment


def ask_bash(environment: pytest.MonkeyPatch, line: str) -> list[str]:
    """What bash is told when Tab is pressed at the end of a line: kind and value of each completion."""
    environment.setenv("_LITELLM_GATEWAY_COMPLETE", "bash_complete")
    environment.setenv("COMP_WORDS", line)
    environment.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    status, output, errors = ended()
    assert (status, errors) == (0, "")
    return output.splitlines()


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef litellm-gateway"), ("fish", "complete --no-files --command")],
)
def test_the_script_is_for_this_program(shell: str, words: str) -> None:
    shown = CliRunner().invoke(main, ["completion", shell])
    assert shown.exit_code == 0
    assert words in shown.stdout
    assert f"_LITELLM_GATEWAY_COMPLETE={shell}_complete" in shown.stdout


def test_help_has_the_line_for_each_shell() -> None:
    shown = CliRunner().invoke(main, ["completion", "--help"])
    for words in ("~/.bashrc", "~/.zshrc", "completions/litellm-gateway.fish", '"$(litellm-gateway completion bash)"'):
        assert words in shown.output


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["bash", "zsh"]])
def test_wrong_use_ends_with_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["completion", *arguments]).exit_code == 2


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("litellm-gateway ", [f"plain,{name}" for name in COMMANDS]),
        ("litellm-gateway pro", ["plain,profiles"]),
        ("litellm-gateway models --can t", ["plain,tools"]),
        ("litellm-gateway router --kind v", ["plain,vlm"]),
        ("litellm-gateway profiles ", ["plain,clear", "plain,show"]),
        ("litellm-gateway run -- scr", ["file,scr"]),
        ("litellm-gateway doctor --key-env ZZ_", ["plain,ZZ_KEY", "plain,ZZ_TOKEN_2"]),
        ("litellm-gateway models --kind e", ["plain,embedding"]),
    ],
)
def test_what_is_completed(environment: pytest.MonkeyPatch, line: str, completions: list[str]) -> None:
    for name in ("ZZ_KEY", "ZZ_TOKEN_2", "ZZ_HOME"):
        environment.setenv(name, "x")
    assert ask_bash(environment, line) == completions


def test_bases_are_those_of_the_environment_and_of_the_cache(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("LITELLM_GATEWAY_CACHE_DIR", str(tmp_path))
    DiskGuesses(tmp_path).note("https://kept.example.com", "models", Route("bearer"))
    environment.setenv("LITELLM_GATEWAY_API_BASE", "https://me:secret-word@one.example.com/v1?code=secret-word")
    environment.setenv("CHUTES_API_BASE_2", "https://two.example.com")
    environment.setenv("LITELLM_GATEWAY_API_BASE_3", "secret-word")
    bases = ["https://kept.example.com", "https://one.example.com/v1", "https://two.example.com"]
    assert ask_bash(environment, "litellm-gateway profiles clear ") == [f"plain,{base}" for base in bases]


@pytest.mark.parametrize(
    "line",
    [
        "litellm-gateway ",
        "litellm-gateway models --",
        "litellm-gateway models --key-env ",
        "litellm-gateway doctor --skip ",
        "litellm-gateway profiles cl",
        "litellm-gateway profiles clear ",
    ],
)
def test_completing_imports_nothing_heavy(environment: pytest.MonkeyPatch, line: str) -> None:
    environment.setenv("_LITELLM_GATEWAY_COMPLETE", "bash_complete")
    environment.setenv("COMP_WORDS", line)
    environment.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert imported([], HEAVY) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no bash")
def test_bash_accepts_the_script() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    command = [bash, "-c", f"{script}\ncomplete -p litellm-gateway"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "_litellm_gateway_completion litellm-gateway" in done.stdout
