"""`litellm-gateway doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..doctor.names import CHECKS
from ..printable import counted
from . import options, output

if TYPE_CHECKING:
    from ..doctor.report import DoctorReport


@click.command(short_help="Find out what is wrong with a gateway, and what to type next.")
@click.argument("bases", nargs=-1, metavar="[BASE]...")
@options.key_env
@click.option(
    "--model", default="", metavar="ID", help="The model for chat. Default: the environment's, or a listed one."
)
@click.option("--vlm-model", default="", metavar="ID", help="The model for the picture.")
@click.option("--tools-model", default="", metavar="ID", help="The model for the tool call.")
@click.option("--embedding-model", default="", metavar="ID", help="The model for the embedding.")
@click.option("--all", "every", is_flag=True, help="Every style on every form of the base, needed or not.")
@click.option("--quick", is_flag=True, help="Only the matrix: nothing goes through litellm.")
@click.option(
    "--skip", multiple=True, type=click.Choice(list(CHECKS)), help="Leave a check out; several times for several."
)
@options.timeout(30, "How long each request may take.")
@click.option("--snippets", is_flag=True, help="Print code and configuration to paste, too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: docs/doctor.schema.json says what is in it.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write one page of HTML into FILE, too.",
)
def command(
    bases: tuple[str, ...],
    key_env: str | None,
    model: str,
    vlm_model: str,
    tools_model: str,
    embedding_model: str,
    every: bool,
    quick: bool,
    skip: tuple[str, ...],
    timeout: float,
    snippets: bool,
    as_json: bool,
    html: Path | None,
) -> None:
    """Find out what is wrong with a gateway, and what to type next.

    BASE is the URL of a gateway; without one, all gateways of the environment are looked at, side by side. First the
    gateway itself is asked, for its listing and for a few tokens of chat, with each credential style. Then the calls
    that people make go through litellm: JSON, stream, tools, picture, embeddings, Router, parallel, model list. What
    fails gets a diagnosis and the line to type next. How many requests that takes is said before the first is sent.

    No key is ever printed, and none stands on the command line: it is in the environment.

    A table on a terminal; plain lines in a pipe (docs/doctor-output.md).

    \b
    Examples:
        litellm-gateway doctor
        litellm-gateway doctor https://llm.example.com/v1 --key-env ACME_KEY
        litellm-gateway doctor --quick --all
        litellm-gateway doctor --json | jq '.gateways[].diagnoses'
        litellm-gateway doctor --html report.html

    Exit status: 0 all is good; 1 something failed; 2 wrong use; 3 a gateway is full, and reachable.
    """
    from ..doctor.run import LOADING, Options, announce, run
    from ..doctor.targets import Models, targets_of
    from ..settings import load_settings
    from ..variables import misspelt

    if html is not None:
        with _writing(html):  # before anything is sent
            html.open("a").close()
    named = Models(*(each.strip() for each in (model, vlm_model, tools_model, embedding_model)))
    targets = targets_of(load_settings(), os.environ, bases, key_env, named)
    for sentence in misspelt(os.environ):
        output.complain(sentence)
    chosen = Options(every, quick, timeout, skip)
    announced = announce(targets, chosen)
    output.complain(f"{counted(len(targets), 'gateway')}. {announced}")
    with output.screen(stderr=True).working("Asking", lasting=(LOADING,)) as tell:
        report = run(targets, chosen, announced, tell)
    _print(report, as_json=as_json, snippets=snippets)
    if html is not None:
        from ..doctor.page import page

        with _writing(html):
            html.write_text(page(report), encoding="utf-8")
    raise click.exceptions.Exit(int(report.exit_status))


def _print(report: DoctorReport, *, as_json: bool, snippets: bool) -> None:
    if as_json:
        output.write_json(report.model_dump(mode="json"))
    elif output.for_people():
        from ..doctor.table import show

        show(report, output.screen(), snippets=snippets)
    else:
        from ..doctor.lines import lines

        click.echo("\n".join(lines(report, snippets=snippets)))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}.", param_hint="--html") from None
