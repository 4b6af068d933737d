"""How many requests are refused when many first calls come at once, to a gateway that takes `x-api-key` alone."""

from __future__ import annotations

from .figures import Figure, Findings
from .processes import Server, outcome

TASKS, THREADS = 500, 200
MOST_REFUSED = 2


def bursts() -> Findings:
    """A cold process and a fresh gateway for each."""
    return Findings("Cold bursts", [*_burst("tasks", TASKS), *_burst("threads", THREADS)])


def _burst(kind: str, count: int) -> list[Figure]:
    with Server() as server:
        took = outcome("burst_worker", kind, str(count), f"{server.origin}/picky/v1")
        return [
            Figure(f"{count} {kind} at once: requests refused", server.refused, "", MOST_REFUSED),
            Figure(f"{count} {kind} at once: calls failed", took["failed"], "", 0),
            Figure(f"{count} {kind} at once: all answered after", took["wall"], "s"),
        ]
