"""Findings as tables for people; plain when the output is not a terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from .figures import Figure, Findings

console = Console(width=None if Console().is_terminal else 120, highlight=False)
COLOURS = {"PASS": "green", "MISS": "red", "": ""}


def show(found: Findings) -> None:
    """Print what one benchmark found."""
    if found.costs:
        console.print(_costs(found))
    console.print(_figures(found.title if not found.costs else "", found.figures))


def _costs(found: Findings) -> Table:
    ways = next(iter(found.costs.values()))
    table = Table("", *ways, title=found.title, box=SIMPLE, title_justify="left")
    for name, by_way in found.costs.items():
        table.add_row(name, *(f"{cost.cpu:.2f} ({cost.wall:.2f})" for cost in by_way.values()))
    return table


def _figures(title: str, figures: list[Figure]) -> Table:
    table = Table("", "", "at most", "", title=title or None, box=SIMPLE, title_justify="left")
    for figure in figures:
        most = "" if figure.target is None else _number(figure.target, figure.unit)
        table.add_row(
            figure.name, _number(figure.value, figure.unit), most, figure.verdict, style=COLOURS[figure.verdict]
        )
    return table


def _number(value: float, unit: str) -> str:
    shown = f"{value:,.0f}" if value == int(value) and unit == "" else f"{value:,.2f}"
    return f"{shown} {unit}".rstrip()
