"""Options that more than one command has, and what Tab offers for them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

Complete = Callable[[click.Context, click.Parameter, str], list[str]]

KEY_VARIABLE = re.compile(r"KEY|TOKEN")
BASE_VARIABLE = re.compile(r"(?:LITELLM_GATEWAY|CHUTES)_API_BASE(?:_\d+)?")
CACHE_VARIABLE = "LITELLM_GATEWAY_CACHE_DIR"

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


def one_of(words: Iterable[str]) -> Complete:
    """Completes to one of these words; others may be typed all the same."""
    return lambda ctx, param, incomplete: [word for word in words if word.startswith(incomplete)]


def _key_variables(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return one_of(sorted(name for name in os.environ if KEY_VARIABLE.search(name)))(ctx, param, incomplete)


def bases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Completes to the bases that are configured or kept on disk, without user, password and query."""
    from ..errors import InvalidInput
    from ..guesses import DiskGuesses
    from ..urls import parse_base

    folder = os.environ.get(CACHE_VARIABLE)
    found = {base for base, _ in DiskGuesses(Path(folder) if folder else None).all()}
    for name, value in os.environ.items():
        if BASE_VARIABLE.fullmatch(name):
            try:
                found.add(str(parse_base(value)))
            except InvalidInput:
                continue  # the commands say what is wrong with it
    return one_of(sorted(found))(ctx, param, incomplete)


def key_env(command: Command) -> Command:
    """`--key-env NAME`; `doctor.targets` checks the name, and shows none that may be a key."""
    text = "The environment variable that holds the key for the typed bases."
    return click.option("--key-env", metavar="NAME", shell_complete=_key_variables, help=text)(command)
