"""From what the processes and servers of one load report to its figures. Pure: no processes, no clocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from .figures import Cell

ON_TIME_SECONDS = 0.005
REST_SECONDS = 0.1
"""A loop that was on time for this long has dealt with the start of all calls."""

Report = Mapping[str, Any]
"""A process's `load_worker.Took`, or a server's `load_server.Tally`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What was asked of the gateways.

    Attributes:
        calls: all calls, of all processes.
        service: seconds of work for each, in the mean.
        places: of all upstreams together.
    """

    calls: int
    service: float
    places: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contender made of one load. Times are in seconds.

    Attributes:
        answered: calls that got their answer.
        failures: the others, by exception.
        took: from the first call to the last answer.
        slowdown: that time over the least in which the answered calls can be served. A refused call is no saving.
        refused: refusals for each call.
        early: requests for each call that came before the time that the last `Retry-After` had named.
        most: requests at work at once: the most that each upstream saw, summed; None when none saw any.
        wait: from the start of a call to its answer, without the service: median and 99th percentile.
        longest: the longest wait over the median.
        order: rank correlation of start and end: 1 when first come is first served.
        stall: the most that the event loop was late; None for threads.
        stall_later: the same after the start-up.
        start_up: how long that lasted.
        cpu: of all processes.
        commands: commands that Redis carried out for each call; None without it.
    """

    answered: int
    failures: Mapping[str, int]
    took: float
    slowdown: float
    refused: float
    early: float
    most: int | None
    wait: tuple[float, float]
    longest: float
    order: float
    stall: float | None
    stall_later: float | None
    start_up: float | None
    cpu: float
    commands: float | None

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def column(self, calls: int) -> dict[str, Cell]:
        """As a column of the table."""
        return {
            "calls at once": calls,
            "failed": self.failed,
            "… as": ", ".join(f"{count} {name}" for name, count in self.failures.items()),
            "time / ideal": self.slowdown,
            "seconds in all": self.took,
            "refusals per call": self.refused,
            "too early, per call": self.early,
            "at work at once, most": self.most,
            "wait: median, s": self.wait[0],
            "wait: 99 in 100, s": self.wait[1],
            "wait: longest / median": self.longest,
            "first come, first served": self.order,
            "loop stalled at most, ms": _ms(self.stall),
            "… after the start-up, ms": _ms(self.stall_later),
            "start-up, s": self.start_up,
            "CPU, s": self.cpu,
            "Redis commands per call": self.commands,
        }


def figures(setting: Setting, processes: Sequence[Report], tallies: Sequence[Report], commands: int | None) -> Figures:
    """What one contender made of one load."""
    calls = [tuple(call) for call in chain.from_iterable(process["calls"] for process in processes)]
    waits = sorted(end - begun - setting.service for begun, end in calls)
    first = min(process["begun"] for process in processes)
    took = max((end for _, end in calls), default=first) - first
    stalls = [stalled(process) for process in processes if process["late"]]
    median = quantile(waits, 0.5)
    return Figures(
        answered=len(calls),
        failures=dict(sum((Counter(process["failures"]) for process in processes), Counter())),
        took=took,
        slowdown=_over(took, len(calls) * setting.service / setting.places),
        refused=sum(tally["refused"] for tally in tallies) / setting.calls,
        early=sum(tally["early"] for tally in tallies) / setting.calls,
        most=sum(tally["most"] for tally in tallies) or None,
        wait=(median, quantile(waits, 0.99)),
        longest=_over(max(waits, default=0.0), median),
        order=rank_correlation(calls),
        stall=max((stall.whole for stall in stalls), default=None),
        stall_later=max((stall.later for stall in stalls), default=None),
        start_up=max((stall.start_up for stall in stalls), default=None),
        cpu=sum(process["cpu"] for process in processes),
        commands=None if commands is None else commands / setting.calls,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of values in order; NaN of none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def rank_correlation(calls: Sequence[tuple[float, float]]) -> float:
    """Spearman's, between the order of the starts and that of the ends; NaN for fewer than two calls."""
    count = len(calls)
    if count < 2:
        return float("nan")
    by_end = sorted(range(count), key=lambda number: calls[number][1])
    by_start = sorted(range(count), key=lambda number: calls[number][0])
    ends = {number: rank for rank, number in enumerate(by_end)}
    squares = sum((rank - ends[number]) ** 2 for rank, number in enumerate(by_start))
    return 1 - 6 * squares / (count * (count**2 - 1))


@dataclass(frozen=True, slots=True)
class Stalls:
    """The most that an event loop was late, in all and after the start-up, and how long that lasted. In seconds."""

    whole: float
    later: float
    start_up: float


def stalled(process: Report) -> Stalls:
    """The start-up ends when all calls have begun and the loop has come to rest; with half of the run at the latest."""
    late = [(at, max(seconds, 0.0)) for at, seconds in process["late"]]
    first, last = process["begun"], late[-1][0]
    over = min(_at_rest(late, process["started"]), (first + last) / 2)
    later = [seconds for at, seconds in late if at - seconds > over]
    return Stalls(max(seconds for _, seconds in late), max(later, default=0.0), over - first)


def _at_rest(late: Sequence[tuple[float, float]], started: float) -> float:
    """When the loop began to be on time for a while, after the last call had begun."""
    since = started
    for at, seconds in late:
        if seconds > ON_TIME_SECONDS and at >= started:
            since = at
        elif at - since >= REST_SECONDS:
            return since
    return float("inf")


def _over(value: float, whole: float) -> float:
    return value / whole if whole > 0 else float("nan")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
