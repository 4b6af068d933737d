"""python -m benchmarks.simulation [--out FOLDER] [--processes N]"""

from __future__ import annotations

import argparse
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

from .numbers import Curves, Row, curves, row
from .picture import draw
from .policies import DRAWN, POLICIES, simulate
from .world import Scene

USUAL = Scene()
HINTS = {"without Retry-After": None, "with Retry-After: 1": 1.0}
FILES = {"without Retry-After": "simulation.svg", "with Retry-After: 1": "simulation-retry-after.svg"}
SHOWN_S = 80.0
TABLE = re.compile(r"(<!-- table -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = (
    "| policy | offered | served | failed | refused per served call | wait p50 (s) | p99 (s) | room used "
    "| least served process |"
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="where simulation.md and the pictures are")
    parser.add_argument("--processes", type=int, default=USUAL.processes, help="the room shrinks and grows with them")
    parser.add_argument("--seed", type=int, default=USUAL.seed, help="of all chance")
    return parser.parse_args()


def scene_of(processes: int, hint: float | None, seed: int = USUAL.seed) -> Scene:
    """The scene for so many processes; what they share is as scarce as for 1,000."""
    rooms = tuple((begins, round(room * processes / USUAL.processes)) for begins, room in USUAL.rooms)
    return replace(USUAL, processes=processes, rooms=rooms, hint=hint, seed=seed)


def find(scene: Scene, policy: str) -> tuple[Row, Curves]:
    record = simulate(scene, policy)
    return row(record, scene), curves(record, SHOWN_S)


def line(name: str, found: Row) -> str:
    cells = (
        name,
        f"{found.offered:,}",
        f"{found.served:,}",
        f"{found.failed:,}",
        f"{found.refused_per_served:.2f}",
        f"{found.wait_p50:.2f}",
        f"{found.wait_p99:.1f}",
        f"{found.used:.0%}",
        f"{found.least:.0%}",
    )
    return f"| {' | '.join(cells)} |"


def table(found: dict[str, dict[str, Row]]) -> str:
    """The table of simulation.md."""
    parts = []
    for hint, rows in found.items():
        rule = "| --- |" + " ---: |" * 8
        parts.append("\n".join((f"Refusals {hint}:", "", HEAD, rule, *(line(name, one) for name, one in rows.items()))))
    return "\n\n".join(parts)


def main() -> None:
    chosen = arguments()
    jobs = list(product(HINTS, reversed(POLICIES)))  # the longest first
    with ProcessPoolExecutor() as pool:
        waiting = {
            (hint, policy): pool.submit(find, scene_of(chosen.processes, HINTS[hint], chosen.seed), policy)
            for hint, policy in jobs
        }
        found = {job: one.result() for job, one in waiting.items()}
    shown = table({hint: {policy: found[hint, policy][0] for policy in POLICIES} for hint in HINTS})
    print(shown)
    for hint, name in FILES.items():
        draw({policy: found[hint, policy][1] for policy in DRAWN}, chosen.out / name)
    text = chosen.out / "simulation.md"
    if text.exists():
        text.write_text(TABLE.sub(lambda match: f"{match[1]}\n{shown}\n\n{match[2]}", text.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
