"""python -m benchmarks [--only NAME …] [--rounds N] [--json FILE], and what `load` and `proxy` can be told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from pathlib import Path

from . import load, proxy
from .burst import bursts
from .calls import streams, warm_calls
from .discovery import discovery
from .figures import Findings
from .gate import gate
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
    "gate": gate,
    "discovery": lambda server, rounds: discovery(rounds),
}
PROXY = proxy.Wishes()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What a call costs, beside litellm's own providers."
    )
    parser.add_argument("--only", choices=[*BENCHMARKS, *PARTED], action="append", help="this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of calls, of which the median counts")
    parts = [*load.LOADS, *proxy.PARTS]
    parser.add_argument("--part", choices=parts, action="append", help="of load and proxy, this part; may be repeated")
    parser.add_argument("--calls", type=int, metavar="N", help="of load, calls at once; of proxy full, in a slice")
    parser.add_argument("--ours", action="store_true", help="of load, the plugin alone")
    parser.add_argument("--seconds", type=float, default=PROXY.seconds, metavar="N", help="of proxy, a slice of load")
    parser.add_argument("--service", type=float, default=PROXY.service, metavar="N", help="of proxy full, a call")
    parser.add_argument("--minutes", type=float, default=PROXY.minutes, metavar="N", help="of proxy memory, the load")
    parser.add_argument("--workers", type=int, default=PROXY.workers, metavar="N", help="of proxy, processes of each")
    parser.add_argument("--redis", action="store_true", help="of proxy, a Redis for the plugin's workers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there too")
    return parser.parse_args()


def findings(chosen: argparse.Namespace) -> Iterator[tuple[str, Findings]]:
    """Each benchmark, shown as soon as it is done."""
    for name in chosen.only or BENCHMARKS:
        for part, found in PARTED[name](chosen) if name in PARTED else _one(name, chosen.rounds):
            show(found)
            yield part, found


def _one(name: str, rounds: int) -> Iterator[tuple[str, Findings]]:
    """With a server of its own."""
    with Server() as server:
        yield name, BENCHMARKS[name](server, rounds)


def _loads(chosen: argparse.Namespace) -> Iterator[tuple[str, Findings]]:
    for part, found in load.load(load.Wishes(_parts(chosen, load.LOADS), chosen.calls, chosen.ours)):
        yield f"load {part}", found


def _proxies(chosen: argparse.Namespace) -> Iterator[tuple[str, Findings]]:
    wishes = proxy.Wishes(
        parts=_parts(chosen, proxy.PARTS),
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        calls=chosen.calls or PROXY.calls,
        service=chosen.service,
        minutes=chosen.minutes,
        workers=chosen.workers,
        redis=chosen.redis,
    )
    for part, found in proxy.proxy(wishes):
        yield f"proxy {part}", found


def _parts(chosen: argparse.Namespace, known: Collection[str]) -> tuple[str, ...]:
    """Those that were asked for; all of them when none was."""
    return tuple(part for part in known if part in chosen.part) if chosen.part else tuple(known)


PARTED = {"load": _loads, "proxy": _proxies}
"""Benchmarks of several parts. They take minutes, and are run when they are named."""


def main() -> None:
    chosen = arguments()
    found = dict(findings(chosen))
    if chosen.json:
        chosen.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
