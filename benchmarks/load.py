"""Thousands of calls at once to gateways with room for a few: how soon, how politely and how fairly all are served.

Every contender meets fresh servers, in fresh processes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from .figures import Figure, Findings, Grid
from .load_numbers import Figures, Setting, figures
from .processes import Program
from .redis_server import PROGRAM, Redis, installed

JITTER = 0.2
"""A service takes as much longer or shorter than its mean, evenly spread."""
HINT = "1"
LIMIT_SECONDS = 150
"""What is not answered by then counts as failed."""

TIME, REFUSALS, STALL_MS = 1.3, 0.1, 20.0


@dataclass(frozen=True, slots=True)
class Case:
    """One column of a table: who calls, by which way, and whether the gateway says when to come back."""

    label: str
    who: str
    way: str = "direct"
    hint: bool = False
    redis: bool = False

    @property
    def is_ours(self) -> bool:
        return self.who == "ours"


@dataclass(frozen=True, slots=True)
class Load:
    """Calls, all at once.

    Attributes:
        title: of its table.
        cases: who is measured.
        service: seconds of work for each call. Long enough that litellm's own work is not what is measured.
        rooms: how many requests each upstream takes at a time.
        calls: of all processes together.
        processes: that share the calls.
        threads: of each process; 0 for tasks in an event loop.
    """

    title: str
    cases: tuple[Case, ...]
    service: float = 0.25
    rooms: tuple[int, ...] = (32,)
    calls: int = 2_000
    processes: int = 1
    threads: int = 0


def both(label: str, who: str, way: str = "direct", *, redis: bool = False) -> tuple[Case, Case]:
    """With `Retry-After` and without any hint."""
    return Case(f"{label}, hint", who, way, True, redis), Case(label, who, way, False, redis)


LOADS: Mapping[str, Load] = {
    "one": Load(
        "One process, one upstream with room for 32",
        (
            *both("ours", "ours"),
            *both("stock", "stock"),
            *both("stock Router", "stock", "router"),
            Case("floor", "floor"),
        ),
    ),
    "processes": Load(
        "Four processes at the same moment, one upstream with room for 32",
        (*both("ours, Redis", "ours", redis=True), *both("ours alone", "ours"), Case("floor", "floor")),
        processes=4,
    ),
    "upstreams": Load(
        "The stock Router over three upstreams with room for 8, 16 and 32",
        (*both("ours", "ours", "router"), *both("stock", "stock", "router"), Case("floor", "floor", "router")),
        service=0.5,
        rooms=(8, 16, 32),
    ),
    "threads": Load(
        "200 threads, one upstream with room for 32",
        (*both("ours", "ours"), *both("stock", "stock"), Case("floor", "floor")),
        calls=1_000,
        threads=200,
    ),
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What of it to run.

    Attributes:
        parts: names of `LOADS`.
        calls: at once, None for each load's own number.
        ours: whether ours alone is measured.
    """

    parts: tuple[str, ...] = tuple(LOADS)
    calls: int | None = None
    ours: bool = False


def load(wishes: Wishes) -> Iterator[tuple[str, Findings]]:
    """Each part and what it found, as soon as it is there."""
    for name in wishes.parts:
        yield name, found(LOADS[name], wishes)


def found(asked: Load, wishes: Wishes) -> Findings:
    """All contenders of one load, one after the other."""
    cases = [case for case in asked.cases if case.is_ours or not wishes.ours]
    calls = wishes.calls or asked.calls
    columns, judged, notes = {}, [], []
    for case in cases:
        if case.redis and not installed():
            notes.append(f"{case.label}: skipped, there is no {PROGRAM} on this machine")
            continue
        made = measured(asked, case, calls)
        print(f"{asked.title}: {case.label}: {made.took:.1f} s, {made.failed} failed", file=sys.stderr, flush=True)
        columns[case.label] = made.column(calls)
        judged += _judged(asked, case, made)
    return Findings(f"Load: {asked.title}", judged, grid=Grid(columns), notes=notes)


def measured(asked: Load, case: Case, calls: int) -> Figures:
    """One contender, with servers, processes and a Redis of its own. The plugin has nothing on disk."""
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-cache-"))
        redis = stack.enter_context(Redis()) if case.redis else None
        upstreams = [stack.enter_context(Upstream(room, asked.service, case.hint)) for room in asked.rooms]
        settings = {"XDG_CACHE_HOME": cache, **({"LITELLM_GATEWAY_REDIS_URL": redis.url} if redis else {})}
        workers = [stack.enter_context(Program("load_worker", settings=settings)) for _ in range(asked.processes)]
        reports = _reports(workers, _order(asked, case, calls, [upstream.base for upstream in upstreams]))
        tallies = [upstream.tally() for upstream in upstreams]
        setting = Setting(calls, asked.service, sum(asked.rooms))
        return figures(setting, reports, tallies, redis.commands if redis else None)


def _order(asked: Load, case: Case, calls: int, bases: list[str]) -> dict[str, Any]:
    return {
        "who": case.who,
        "way": case.way,
        "bases": bases,
        "calls": calls // asked.processes,
        "threads": asked.threads,
        "room": sum(asked.rooms) // asked.processes,
        "service": asked.service,
        "jitter": JITTER,
        "limit": LIMIT_SECONDS,
    }


def _reports(workers: list[Program], order: dict[str, Any]) -> list[Any]:
    """All are ready before any begins."""
    for worker in workers:
        worker.tell(order)
    for worker in workers:
        worker.heard()
    for worker in workers:
        worker.tell({})
    return [worker.heard() for worker in workers]


def _judged(asked: Load, case: Case, made: Figures) -> list[Figure]:
    """Ours against the targets. Processes that know nothing of each other are only told."""
    if not case.is_ours or (asked.processes > 1 and not case.redis):
        return []
    judged = [
        Figure(f"{case.label}: calls failed", made.failed, "", 0),
        Figure(f"{case.label}: time / ideal", made.slowdown, "x", TIME),
        Figure(f"{case.label}: refusals per call", made.refused, "per call", REFUSALS),
    ]
    if made.stall_later is not None:
        late = made.stall_later * 1000
        judged.append(Figure(f"{case.label}: loop stalled at most, after the start-up", late, "ms", STALL_MS))
    return judged


class Upstream(Program):
    """A gateway with room for so many requests."""

    def __init__(self, room: int, service: float, hint: bool) -> None:
        super().__init__("load_server", str(room), str(service), str(JITTER), HINT if hint else "none")
        self._origin = f"http://127.0.0.1:{int(self.line())}"

    @property
    def base(self) -> str:
        return f"{self._origin}/v1"

    def tally(self) -> Any:
        with urllib.request.urlopen(f"{self._origin}/tally") as response:
            return json.loads(response.read())

    def __enter__(self) -> Upstream:
        return self
