"""What the gate adds to a call when nobody has to wait: the same calls with it and without it, in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from .figures import Figure, Findings
from .processes import Program, Server

SETTING = "LITELLM_GATEWAY_GATE"
WAYS = {"sync": "send", "async": "asend"}
PAIRS = 3
"""Of processes: each has its own layout in memory, which alone can make a call some microseconds dearer."""
TURNS = 8
"""For each of the rounds that were asked for: a turn is short, so that a busy moment hits both sides."""
CALLS, WARM_UP = 50, 200
MOST_MICROSECONDS = 50.0


@dataclass(frozen=True, slots=True)
class Difference:
    """What the gate added to a call in one turn, in microseconds."""

    cpu: float
    wall: float


def gate(server: Server, rounds: int) -> Findings:
    """An idle gate: one call after the other to a gateway that is never full."""
    differences: dict[str, list[Difference]] = {way: [] for way in WAYS}
    for _ in range(PAIRS):
        for way, difference in _pair(server, rounds * TURNS):
            differences[way].append(difference)
    return Findings("The idle gate", [figure for way in WAYS for figure in _figures(way, differences[way])])


def _pair(server: Server, turns: int) -> Iterator[tuple[str, Difference]]:
    """One process without the gate and one with it, each first in every other turn."""
    with ExitStack() as stack:
        off, on = (
            stack.enter_context(Program("gate_worker", server.base, settings={SETTING: value}))
            for value in ("false", "true")
        )
        for way in WAYS:
            for worker in (off, on):
                worker.ask({"way": way, "count": WARM_UP})
        for turn in range(turns):
            for way in WAYS:
                order = {"way": way, "count": CALLS}
                took = {worker: worker.ask(order) for worker in ((off, on) if turn % 2 else (on, off))}
                added = {unit: (took[on][unit] - took[off][unit]) * 1_000_000 for unit in ("cpu", "wall")}
                yield way, Difference(**added)


def _figures(way: str, differences: list[Difference]) -> Iterator[Figure]:
    name = f"the gate adds to Gateway.{WAYS[way]}"
    yield Figure(f"{name}, CPU", median(one.cpu for one in differences), "µs", MOST_MICROSECONDS)
    yield Figure(f"{name}, time", median(one.wall for one in differences), "µs")
