"""python -m benchmarks [--only NAME …] [--rounds N] [--json FILE]"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from .burst import bursts
from .calls import streams, warm_calls
from .figures import Findings
from .imports import imports
from .memory import memory
from .processes import Server
from .tables import show

BENCHMARKS: dict[str, Callable[[Server, int], Findings]] = {
    "calls": warm_calls,
    "streams": streams,
    "burst": lambda server, rounds: bursts(),
    "memory": lambda server, rounds: memory(server),
    "import": lambda server, rounds: imports(),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What a call costs, beside litellm's own providers."
    )
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="this one alone; may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of calls, of which the median counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there too")
    return parser.parse_args()


def findings(chosen: argparse.Namespace) -> Iterator[tuple[str, Findings]]:
    """Each benchmark with a server of its own, shown as soon as it is done."""
    for name in chosen.only or BENCHMARKS:
        with Server() as server:
            found = BENCHMARKS[name](server, chosen.rounds)
        show(found)
        yield name, found


def main() -> None:
    chosen = arguments()
    found = dict(findings(chosen))
    if chosen.json:
        chosen.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
