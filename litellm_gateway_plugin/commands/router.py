"""`litellm-gateway router`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..printable import one_line
from . import output

if TYPE_CHECKING:
    from ..candidates import Wanted
    from ..ranking import Candidate
    from ..settings import GatewayBase, GatewaySettings

KINDS = ("text", "vlm", "tools")
HEADS = ("order", "model", "gateway", "why")
WHOLE = (HEADS.index("order"), HEADS.index("model"))
FULL_HELP = "What every model has to be able to do besides chat: see pictures (vlm), call tools (tools)."


@dataclass(frozen=True, slots=True)
class Ranks:
    """What a Router would be made of.

    Attributes:
        asked: what every candidate can do.
        bases: the configured gateways, by label.
        ranked: the candidates in their order.
        left_out: the gateways without one, by label, and why.
        notes: what else is worth knowing.
        nobody: why there is no candidate at all, "" when there is one.
    """

    asked: Wanted
    bases: Mapping[str, GatewayBase]
    ranked: Sequence[Candidate]
    left_out: Mapping[str, str]
    notes: Sequence[str]
    nobody: str = ""


@click.command(short_help="Show which gateway and model a Router would ask first.")
@click.option("--kind", type=click.Choice(KINDS), default="text", show_default=True, help=FULL_HELP)
@click.option("--require-json", is_flag=True, help="Every model has to be able to answer in JSON.")
@click.option("--require-tools", is_flag=True, help="Every model has to be able to call tools.")
@click.option(
    "--max-bases", type=click.IntRange(min=1), default=5, show_default=True, help="Of so many gateways, at most."
)
@click.option(
    "--max-candidates-per-base",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="So many models of each, at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: docs/commands.md says what is in it.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Write a config.yaml for the LiteLLM proxy.")
def command(
    kind: str,
    require_json: bool,
    require_tools: bool,
    max_bases: int,
    max_candidates_per_base: int,
    as_json: bool,
    as_yaml: bool,
) -> None:
    """Show the Router that `auto_router_from_env` would make of the gateways in the environment, and why.

    All of them are asked, side by side, what they list and how busy they are. The best models of each are ranked; the
    first gets the requests, and the others take its place. Nothing is called, so nothing is billed.

    A table on a terminal; in a pipe a line for each model, its columns parted by tabs: order, model, gateway, why.
    Gateways that cannot be used are named on standard error. The file of --yaml names the variables of the keys, and
    holds no key.

    \b
    Examples:
        litellm-gateway router --kind tools --require-json
        litellm-gateway router --yaml > config.yaml && litellm --config config.yaml

    Exit status: 0; 1 when no gateway has a model for this; 2 wrong use, or no gateway in the environment.
    """
    from ..candidates import wanted
    from ..settings import load_settings
    from ..variables import no_gateway

    if as_json and as_yaml:
        raise click.UsageError("--json and --yaml are two forms: take one of them.")
    settings = load_settings()
    if not settings.all_bases:
        raise click.UsageError(no_gateway(os.environ))
    asked = wanted(kind, require_json=require_json, require_tools=require_tools)
    with output.screen(stderr=True).working("Asking the gateways"):
        ranks = _ranks(settings, asked, max_bases, max_candidates_per_base)
    retries = _retries(settings)
    if as_yaml and ranks.ranked:
        from ..proxy_config import proxy_config

        click.echo(proxy_config(kind, ranks.ranked, ranks.bases, retries), nl=False)
    elif as_json:
        output.write_json(_as_json(ranks, retries))
    else:
        _show(ranks)
    for label, reason in ranks.left_out.items():
        output.complain(f"left out: {label}: {reason}")
    for note in ranks.notes:
        output.complain(note)
    if ranks.nobody:
        raise click.ClickException(one_line(ranks.nobody))


def _retries(settings: GatewaySettings) -> int:
    from ..choosing import RETRIES_WHEN_FULL

    return RETRIES_WHEN_FULL if settings.max_retries is None else settings.max_retries


def _ranks(settings: GatewaySettings, asked: Wanted, max_bases: int, per_base: int) -> Ranks:
    """The same decision as the Router's."""
    from ..choosing import PROBE_S, Choice
    from ..survey import labelled
    from ..urls import parse_base
    from .asking import asking, without_origin

    bases = labelled(settings.all_bases)
    preferred: str | None = getattr(settings, f"{asked.kind}_model")
    with asking(settings) as gateway:
        choice = Choice(gateway, bases, asked, preferred, max_bases, per_base)
        findings = choice.survey(PROBE_S, anew=True).wait()
        ranked = choice.candidates(findings)
        reasons = choice.left_out(findings).items()
        left_out = {label: without_origin(reason, parse_base(bases[label].api_base)) for label, reason in reasons}
        nobody = "" if ranked else choice.nobody({})  # each reason has a line of its own
        notes = [f"The preferred model of {label} is not in its listing." for label in choice.unmet(findings)]
    surplus = bases.keys() - left_out.keys() - {each.base for each in ranked}
    left_out |= {label: f"it is not among the best {max_bases} (--max-bases)" for label in bases if label in surplus}
    return Ranks(asked, bases, ranked, left_out, notes, nobody)


def _show(ranks: Ranks) -> None:
    from ..ranking import why

    rows = [[str(order), each.model, each.base, why(each)] for order, each in enumerate(ranks.ranked, start=1)]
    if not output.for_people():
        output.write_lines(rows)
    elif rows:
        screen = output.screen()
        screen.heading(f"A Router for {ranks.asked}: the first that has room is asked")
        output.show_table(HEADS, rows, WHOLE)
        screen.gap()


def _as_json(ranks: Ranks, retries: int) -> dict[str, Any]:
    from ..ranking import why

    return {
        "kind": ranks.asked.kind,
        "needs": list(ranks.asked.needs),
        "candidates": [
            {
                "order": order,
                "model": each.model,
                "gateway": each.base,
                "key_name": ranks.bases[each.base].key_name,
                "why": why(each),
                "preferred": each.preferred,
                "certain": each.certain,
                "busy": each.load.busy,
                "rate_limited": each.load.limited,
            }
            for order, each in enumerate(ranks.ranked, start=1)
        ],
        "left_out": [{"gateway": label, "reason": reason} for label, reason in ranks.left_out.items()],
        "router_settings": {"num_retries": 0, "retry_policy": {"RateLimitErrorRetries": retries}},
    }
