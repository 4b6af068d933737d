"""`litellm-gateway models`."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..printable import counted
from . import options, output

if TYPE_CHECKING:
    from ..catalogue import Listing, Model
    from ..doctor.targets import Target
    from ..handle import Gateway

KINDS = ("chat", "embedding", "image", "rerank", "speech", "transcription", "moderation")
"""What `--kind` is completed with; a gateway may name others."""

CAPABILITIES = ("tools", "vision", "json", "schema", "reasoning")
WAIT_S = 15.0
"""Seconds for all listings together."""

HEADS = ("id", "kind", "window", "max\nout", "$/M\nin", "$/M\nout", "can")
WHOLE = range(len(HEADS) - 1)
MILLION = 1_000_000

Keep = Callable[["Model"], bool]


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one gateway lists.

    Attributes:
        target: which gateway.
        models: those that were asked for, in its order.
        listed: how many it lists in all.
        error: why there is no listing, "" when there is one.
    """

    target: Target
    models: Sequence[Model] = ()
    listed: int = 0
    error: str = ""


@click.command(short_help="Show the models that gateways list.")
@click.argument("bases", metavar="[BASE]...", nargs=-1)
@click.option(
    "--can",
    "wanted",
    multiple=True,
    type=click.Choice(CAPABILITIES),
    help="Only models whose listing says that they can do this; several times for several things.",
)
@click.option(
    "--kind",
    metavar="KIND",
    shell_complete=options.one_of(KINDS),
    help="Only models of this kind, as listings name it: chat, embedding, ... What has no kind counts as chat.",
)
@click.option("--search", metavar="TEXT", help="Only models with this text in their id, in whatever case.")
@options.key_env
@click.option("--refresh", is_flag=True, help="Read every listing now, also one that is still fresh.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: docs/commands.md says what is in it.")
def command(
    bases: tuple[str, ...],
    wanted: tuple[str, ...],
    kind: str | None,
    search: str | None,
    key_env: str | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Show the models that gateways list: ids, windows, prices, capabilities.

    BASE is the URL of a gateway; without one, all gateways of the environment are asked, side by side. A listing that
    was read a few minutes ago is not read again. A key never stands on the command line: it is in the environment.

    A table on a terminal; in a pipe a line for each model, its columns parted by tabs: id, kind, window and longest
    answer (tokens), price of a million tokens in and out (USD), capabilities, base; - for what is not listed.

    \b
    Examples:
        litellm-gateway models
        litellm-gateway models https://llm.example.com/v1 --key-env ACME_KEY
        litellm-gateway models --can tools --kind chat | cut -f1

    Exit status: 0; 1 when a gateway gives no listing (the others are shown all the same); 2 wrong use.
    """
    from ..doctor.targets import targets_of
    from ..settings import load_settings
    from .asking import asking

    settings = load_settings()
    targets = targets_of(settings, os.environ, bases, key_env)
    with asking(settings) as gateway, output.screen(stderr=True).working("Reading listings"):
        shelves = _read(gateway, targets, _filter(wanted, kind, search), refresh)
    if as_json:
        output.write_json({"gateways": [_as_json(shelf) for shelf in shelves]})
    elif output.for_people():
        _show(shelves)
    else:
        output.write_lines([*_cells(model), shelf.target.label] for shelf in shelves for model in shelf.models)
    failed = [shelf for shelf in shelves if shelf.error]
    for shelf in failed:
        output.complain(f"{shelf.target.label}: no listing: {shelf.error}")
    for shelf in shelves:
        if not shelf.error and not shelf.listed:
            output.complain(f"{shelf.target.label} lists no models.")
    if any(shelf.listed for shelf in shelves) and not any(shelf.models for shelf in shelves):
        output.complain("No listed model is of that sort.")
    if failed:
        raise click.exceptions.Exit(1)


def _filter(wanted: Sequence[str], kind: str | None, search: str | None) -> Keep:
    from ..candidates import SAME
    from ..catalogue import CHAT_KIND

    def keep(model: Model) -> bool:
        is_kind = kind is None or model.kind == kind or (kind == CHAT_KIND and model.may_chat)
        can = all(any(model.can(each) for each in SAME.get(need, (need,))) for need in wanted)
        return is_kind and can and (search or "").lower() in model.id.lower()

    return keep


def _read(gateway: Gateway, targets: Sequence[Target], keep: Keep, refresh: bool) -> list[Shelf]:
    """Ask all of them side by side; none that is slow or dead keeps the others from being shown."""
    from ..bodies import LISTING
    from ..negotiation import Ask

    asks = [Ask(each.base, LISTING, each.key, named=each.named) for each in targets]
    flights = [gateway.discovery.start(ask, anew=refresh) for ask in asks]
    concurrent.futures.wait(flights, WAIT_S)
    return [_shelf(target, flight, keep) for target, flight in zip(targets, flights, strict=True)]


def _shelf(target: Target, flight: concurrent.futures.Future[Listing], keep: Keep) -> Shelf:
    from ..credentials import NONE
    from ..doctor.probes import LISTING, Probe, ask_of, harmless
    from ..errors import GatewayError
    from .asking import advice

    if not flight.done():
        return Shelf(target, error=f"no answer within {WAIT_S:g} seconds. Try again later.")
    try:
        listing = harmless(flight.result(), ask_of(Probe(target, LISTING, NONE)))
    except GatewayError as error:
        return Shelf(target, error=advice(error, target.key_name, target.base))
    return Shelf(target, [model for model in listing if keep(model)], len(listing))


def _cells(model: Model) -> list[str]:
    """A model as text, in the order of `HEADS`."""
    price = model.price
    return [
        model.id,
        model.kind or output.UNKNOWN,
        output.number(model.context),
        output.number(model.max_output),
        output.number(None if price is None else price.input * MILLION),
        output.number(None if price is None or price.output is None else price.output * MILLION),
        ",".join(each for each in CAPABILITIES if model.can(each)) or output.UNKNOWN,
    ]


def _show(shelves: Sequence[Shelf]) -> None:
    screen = output.screen()
    for shelf in shelves:
        if shelf.error:
            continue
        chosen = f"{len(shelf.models)} of " if len(shelf.models) < shelf.listed else ""
        screen.heading(f"{shelf.target.label}: {chosen}{counted(shelf.listed, 'model')}")
        if shelf.models:
            rows = ([cell.replace(",", ", ") for cell in _cells(model)] for model in shelf.models)
            output.show_table(HEADS, rows, WHOLE)
    screen.gap()


def _as_json(shelf: Shelf) -> dict[str, Any]:
    return {
        "gateway": shelf.target.label,
        "api_base": str(shelf.target.base),
        "key_name": shelf.target.key_name,
        "error": shelf.error or None,
        "models": [_model_as_json(model) for model in shelf.models],
    }


def _model_as_json(model: Model) -> dict[str, Any]:
    price = model.price
    return {
        "id": model.id,
        "kind": model.kind,
        "context": model.context,
        "max_output": model.max_output,
        "capabilities": {each: model.can(each) for each in CAPABILITIES},
        "price": {
            "input": None if price is None else price.input,
            "output": None if price is None else price.output,
            "cached": None if price is None else price.cached,
        },
    }
