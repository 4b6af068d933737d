"""python -m benchmarks [--only NAME …] [--rounds N] [--part NAME …] [--calls N] [--ours] [--json FILE]"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from .burst import bursts
from .calls import streams, warm_calls
from .discovery import discovery
from .figures import Findings
from .gate import gate
from .imports import imports
from .load import LOADS, Wishes, load
from .memory import memory
from .processes import Server
from .tables import show

BENCHMARKS: dict[str, Callable[[Server, int], Findings]] = {
    "calls": warm_calls,
    "streams": streams,
    "burst": lambda server, rounds: bursts(),
    "memory": lambda server, rounds: memory(server),
    "import": lambda server, rounds: imports(),
    "gate": gate,
    "discovery": lambda server, rounds: discovery(rounds),
}
LOAD = "load"
"""Takes a quarter of an hour, and is run when it is named."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What a call costs, beside litellm's own providers."
    )
    parser.add_argument("--only", choices=[*BENCHMARKS, LOAD], action="append", help="this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of calls, of which the median counts")
    parser.add_argument("--part", choices=LOADS, action="append", help="of load, this part; may be repeated")
    parser.add_argument("--calls", type=int, metavar="N", help="of load, how many calls at once")
    parser.add_argument("--ours", action="store_true", help="of load, the plugin alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there too")
    return parser.parse_args()


def findings(chosen: argparse.Namespace) -> Iterator[tuple[str, Findings]]:
    """Each benchmark, shown as soon as it is done."""
    for name in chosen.only or BENCHMARKS:
        for part, found in _loads(chosen) if name == LOAD else _one(name, chosen.rounds):
            show(found)
            yield part, found


def _one(name: str, rounds: int) -> Iterator[tuple[str, Findings]]:
    """With a server of its own."""
    with Server() as server:
        yield name, BENCHMARKS[name](server, rounds)


def _loads(chosen: argparse.Namespace) -> Iterator[tuple[str, Findings]]:
    for part, found in load(Wishes(tuple(chosen.part or LOADS), chosen.calls, chosen.ours)):
        yield f"{LOAD} {part}", found


def main() -> None:
    chosen = arguments()
    found = dict(findings(chosen))
    if chosen.json:
        chosen.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
