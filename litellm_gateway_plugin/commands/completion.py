"""`litellm-gateway completion`."""

from __future__ import annotations

import click

PROGRAM = "litellm-gateway"
VARIABLE = "_LITELLM_GATEWAY_COMPLETE"
"""Click's own name for it: with this in its environment the program answers the shell."""


@click.command(short_help="Complete this command line in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Write the script with which a shell completes this command line.

    \b
    Put the line for your shell into its file, and open a new one:
        bash   ~/.bashrc                                      eval "$(litellm-gateway completion bash)"
        zsh    ~/.zshrc, after compinit                       eval "$(litellm-gateway completion zsh)"
        fish   ~/.config/fish/completions/litellm-gateway.fish
                                                    litellm-gateway completion fish | source

    Exit status: 0; 2 wrong use.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover  click has all three
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
