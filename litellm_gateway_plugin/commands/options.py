"""Options that more than one command has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

LONGEST_S = 86400
"""A day: sockets take no time-out that is much longer than a lifetime."""


class _Seconds(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        return self.fail("it is no number of seconds.", param, ctx) if math.isnan(number) else number


def timeout(default: int, text: str) -> Callable[[Command], Command]:
    """`--timeout SECONDS`.

    Args:
        default: in seconds.
        text: for `--help`.
    """
    seconds = _Seconds(min=0, min_open=True, max=LONGEST_S)
    return click.option("--timeout", type=seconds, default=default, show_default=True, metavar="SECONDS", help=text)
