"""A figure, and what it is measured against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        group: which benchmark it belongs to.
        name: what was measured.
        value: the number.
        unit: of the number.
        note: more about it, in words.
        target: the most that it may be, None when there is none.
    """

    group: str
    name: str
    value: float
    unit: str = ""
    note: str = ""
    target: float | None = None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "PASS" if self.value <= self.target else "MISS"
