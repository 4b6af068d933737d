"""The command line, `litellm-gateway`: the group of all commands, each a module in `commands/`, imported when needed.

Every command ends with status 0 when all went well, 1 with one message when something failed, 2 when it was used
wrongly (click's own convention), and 130 after Ctrl-C; the doctor also with 3, when a gateway is full. No message holds
a credential, and none is a traceback.
"""

from __future__ import annotations

import difflib
import platform
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

import click

from .errors import GatewayError, InvalidInput
from .printable import printable
from .programs import Handover
from .version import __version__

COMMANDS = ("doctor", "models", "router", "run", "profiles", "demo", "completion")
"""In the order in which `--help` shows them: the modules in `commands/`, each with its click command as `command`."""

INTERRUPTED = 130
"""The status that shells give a program that Ctrl-C has ended."""

KEY_OPTIONS = ("--key", "--api-key", "--api_key", "--apikey")
NO_KEY_HERE = (
    "A key never stands on the command line, where the shell's history and other users see it: export "
    "LITELLM_GATEWAY_API_KEY=..., or, for a base that you type, export MY_KEY=..., then --key-env MY_KEY."
)


class Commands(click.Group):
    """The group of all commands, and the one place where their failures become messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as above
        """The command of a name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".commands.{cmd_name}", __package__).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named; of a misspelt one, the name that was meant perhaps."""
        near = difflib.get_close_matches(args[0], COMMANDS, 1)
        if near and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"There is no command {printable(args[0])!r}: did you mean {near[0]}?", ctx)
        if sys.stdout is None and args[0] != "run":  # a program may well do without
            raise click.ClickException("Standard output is closed: there is nowhere to write to.")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options before the command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _without_key(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise _without_key(error) from None
        except click.Abort as error:
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            self._stop(ctx)
        except InvalidInput as error:  # status 2
            raise click.UsageError(printable(error.message)) from None
        except GatewayError as error:
            raise click.ClickException(printable(error.message)) from None
        except KeyboardInterrupt:
            self._stop(ctx)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Read the command line and run its command; the user's own program runs after that, outside of click."""
        try:
            return super().main(*args, **kwargs)
        except Handover as handover:
            program = handover.program
        except OSError as error:  # whoever reads no further is click's business
            _complain_of(error)
            sys.exit(1)
        return program.run()

    @staticmethod
    def _stop(ctx: click.Context) -> NoReturn:
        click.echo("\nStopped.", err=True)
        ctx.exit(INTERRUPTED)


def _without_key(error: click.NoSuchOption) -> click.UsageError:
    """The error itself, unless somebody has typed a key."""
    return click.UsageError(NO_KEY_HERE, error.ctx) if error.option_name in KEY_OPTIONS else error


def _complain_of(error: OSError) -> None:
    """What the system refused: a file, or else the output."""
    what = "The output cannot be written" if error.filename is None else printable(str(error.filename))
    with suppress(OSError):  # standard error may be on the same disk
        click.echo(f"Error: {what}: {error.strerror or type(error).__name__}.", err=True)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    try:
        host = f"litellm {version('litellm')}"
    except PackageNotFoundError:
        host = "litellm is not installed"
    click.echo(f"litellm-gateway-plugin {__version__} ({host}, Python {platform.python_version()})")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the versions and exit.",
)
def main() -> None:
    """Make litellm work with any OpenAI-compatible gateway.

    In a program it is one line, after which stock litellm reaches every gateway: whatever header its key travels in,
    with or without /v1 at the end of its base, under the model ids that it lists itself.

    \b
        import litellm_gateway_plugin; litellm_gateway_plugin.install()

    A gateway is named in the environment:

    \b
        export LITELLM_GATEWAY_API_BASE=https://llm.example.com/v1
        export LITELLM_GATEWAY_API_KEY=...
        export LITELLM_GATEWAY_TEXT_MODEL=vendor/model     (if you like)

    More of them under the same names with _1, _2, ... at the end. CHUTES_API_BASE, CHUTES_API_KEY and CHUTES_TEXT_MODEL
    mean the same. NO_COLOR=1 turns colours off.

    \b
    What to type when ...
        a gateway does not work                       litellm-gateway doctor
        you want to know what a gateway offers        litellm-gateway models
        only what can call tools, for a script        litellm-gateway models --can tools | cut -f1
        a program cannot be changed                   litellm-gateway run -- program --its-options
        you have several gateways                     litellm-gateway router
        the LiteLLM proxy is to use them all          litellm-gateway router --yaml > config.yaml
        a gateway has changed its manners             litellm-gateway profiles clear BASE
        you want to see it work                       litellm-gateway demo

    Exit status of every command: 0 all went well, 1 something failed, 2 wrong use, 130 after Ctrl-C; of doctor also 3,
    when a gateway is full.
    """
