"""Findings as tables for people; plain when the output is not a terminal."""

from __future__ import annotations

from math import isnan

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from .figures import Cell, Figure, Findings, Grid

console = Console(width=None if Console().is_terminal else 120, highlight=False)
COLOURS = {"PASS": "green", "MISS": "red", "": ""}


def show(found: Findings) -> None:
    """Print what one benchmark found."""
    title = found.title
    if found.costs:
        console.print(_costs(found))
        title = ""
    if found.grid is not None and found.grid.columns:
        console.print(_grid(title, found.grid))
        title = ""
    if found.figures:
        console.print(_figures(title, found.figures))
    for note in found.notes:
        console.print(note)


def _costs(found: Findings) -> Table:
    ways = next(iter(found.costs.values()))
    table = Table("", *ways, title=found.title, box=SIMPLE, title_justify="left")
    for name, by_way in found.costs.items():
        table.add_row(name, *(f"{cost.cpu:.2f} ({cost.wall:.2f})" for cost in by_way.values()))
    return table


def _grid(title: str, grid: Grid) -> Table:
    columns = list(grid.columns.values())
    table = Table(Column(no_wrap=True), *grid.columns, title=title or None, box=SIMPLE, title_justify="left")
    for name in columns[0]:
        cells = [column[name] for column in columns]
        if any(cell not in (None, "") for cell in cells):
            table.add_row(name, *map(_cell, cells))
    return table


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else _number(cell, "")


def _figures(title: str, figures: list[Figure]) -> Table:
    table = Table("", "", "at most", "", title=title or None, box=SIMPLE, title_justify="left")
    for figure in figures:
        most = "" if figure.target is None else _number(figure.target, figure.unit)
        table.add_row(
            figure.name, _number(figure.value, figure.unit), most, figure.verdict, style=COLOURS[figure.verdict]
        )
    return table


def _number(value: float, unit: str) -> str:
    if isnan(value):
        return "none"
    shown = f"{value:,.0f}" if value == int(value) and unit == "" else f"{value:,.2f}"
    return f"{shown} {unit}".rstrip()
