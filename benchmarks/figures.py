"""What a benchmark finds: figures, with what they are measured against, and the costs that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Cell = float | str | None
"""A number, a word, or nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what was measured.
        value: the number.
        unit: of the number.
        target: the most that it may be, None when it is only told.
    """

    name: str
    value: float
    unit: str = ""
    target: float | None = None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "PASS" if self.value <= self.target else "MISS"


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of CPU and of time, for one call or one chunk."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with a column for each contender.

    Attributes:
        columns: by contender, its cells by the names of the rows; every column has the same rows.
    """

    columns: Mapping[str, Mapping[str, Cell]]


@dataclass(frozen=True, slots=True)
class Findings:
    """What one benchmark found.

    Attributes:
        title: what it looked at.
        figures: what is told.
        costs: by contender and way, where there are any.
        grid: a table of another kind, where there is one.
        notes: what else is to be said, a line each.
    """

    title: str
    figures: list[Figure]
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    grid: Grid | None = None
    notes: list[str] = field(default_factory=list)
