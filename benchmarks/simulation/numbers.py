"""From moments to figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .world import Record, Scene

STEP_S = 0.25

Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curves:
    """What the picture shows.

    Attributes:
        seconds: the moments, `STEP_S` apart.
        wanted: calls that want to be served: made, and neither answered nor failed.
        room: requests at a time that the upstream takes.
        at_work: those that it is working on.
        refused: refusals per second, in the step that begins then.
    """

    seconds: Curve
    wanted: Curve
    room: Curve
    at_work: Curve
    refused: Curve


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. Times are in seconds, parts between 0 and 1."""

    offered: int
    served: int
    failed: int
    refused_per_served: float
    wait_p50: float
    wait_p99: float
    used: float
    least: float


def curves(record: Record, until: float) -> Curves:
    seconds = np.arange(0.0, until, STEP_S)
    refused, _ = np.histogram(record.refused, np.append(seconds, until))
    return Curves(
        seconds,
        _count(record.born, seconds) - _count(record.over, seconds),
        np.array([room for _, room in record.room], dtype=float)[_last(record, seconds)],
        _count(record.began, seconds) - _count(record.ended, seconds),
        refused / STEP_S,
    )


def row(record: Record, scene: Scene) -> Row:
    served, waits = len(record.served), record.waits or [float("nan")]
    shown = curves(record, scene.lasts)
    born = Counter(call.process for call in (*record.served, *record.failed))
    by_process = Counter(call.process for call in record.served)
    return Row(
        len(record.born),
        served,
        len(record.failed),
        len(record.refused) / max(1, served),
        float(np.percentile(waits, 50)),
        float(np.percentile(waits, 99)),
        float(np.minimum(shown.at_work, shown.room).sum() / shown.room.sum()),
        min((by_process[process] / count for process, count in born.items()), default=0.0),
    )


def _count(moments: list[float], seconds: Curve) -> Curve:
    return np.searchsorted(np.sort(moments), seconds, side="right").astype(float)


def _last(record: Record, seconds: Curve) -> NDArray[np.intp]:
    return np.searchsorted([moment for moment, _ in record.room], seconds, side="right") - 1
