"""`litellm-gateway run`."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def _files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    return [CompletionItem(incomplete, type="file")]


@click.command(
    short_help="Run a program with the plugin, unchanged.", context_settings={"allow_interspersed_args": False}
)
@click.argument("words", metavar="-- PROGRAM [ARGUMENT]...", nargs=-1, required=True, shell_complete=_files)
def command(words: tuple[str, ...]) -> None:
    """Run a Python program that uses litellm, with the plugin, and without a change in it.

    PROGRAM is what comes after `python` (a file, -m MODULE, -c CODE), with that word or without it, or the name of a
    command of this environment. It runs in this interpreter as if it had been started directly: its arguments, exit
    status, tracebacks and Ctrl-C are its own. The plugin is installed at the moment when the program imports litellm,
    with the settings of the environment.

    \b
    Examples:
        litellm-gateway run -- script.py --its-option
        litellm-gateway run -- -m package.module
        litellm-gateway run -- aider --model gateway/Qwen/Qwen3-32B

    Programs that this one starts are not covered, and nothing is that is not Python: for those there is the LiteLLM
    proxy (litellm-gateway router --yaml). A program of another environment needs the plugin there.

    Exit status: the program's own; 2 when there is no such program, or it cannot be run here.
    """
    from ..programs import Handover, program_of
    from ..settings import load_settings

    program = program_of(words)
    load_settings()  # what cannot be used is told now, and not in the middle of the program
    raise Handover(program)
