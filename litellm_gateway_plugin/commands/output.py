"""What the commands write: tables for people, lines and JSON for programs. What a gateway wrote stays mere text."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..printable import one_line

if TYPE_CHECKING:
    from ..screen import Screen

UNKNOWN = "-"
"""What stands for a value that nobody tells: a line has as many columns as every other one."""


def for_people() -> bool:
    """Whether standard output is a terminal, and not a pipe or a file."""
    return sys.stdout.isatty()


def screen(*, stderr: bool = False) -> Screen:
    """What people see."""
    from ..screen import Screen

    return Screen(stderr=stderr)


def show_table(heads: Sequence[str], rows: Iterable[Sequence[str]], whole: Collection[int] = ()) -> None:
    """A table for people.

    Args:
        heads: of the columns.
        rows: as many cells each.
        whole: the places of columns that are not broken while others can be, when the terminal is narrow.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(Text(head), overflow="fold", no_wrap=place in whole)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    Console(markup=False, highlight=False, emoji=False).print(table)


def write_lines(rows: Iterable[Sequence[str]]) -> None:
    """A line for each row, its cells parted by tabs: for cut, awk and grep."""
    lines = ["\t".join(map(one_line, row)) for row in rows]
    encoding = sys.stdout.encoding or "utf-8"
    if lines:
        click.echo("\n".join(lines).encode(encoding, "replace").decode(encoding))


def write_json(value: Any) -> None:
    """The value as JSON, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def complain(text: str) -> None:
    """One line on standard error."""
    click.echo(one_line(text), err=True)


def number(value: float | None) -> str:
    """A number with as many digits as say something."""
    return UNKNOWN if value is None else f"{value:.6f}".rstrip("0").rstrip(".")
