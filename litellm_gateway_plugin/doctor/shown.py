"""The words and the order in which lines, table and page show a report. No I/O, and nothing of how they draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..printable import counted, one_line
from .names import CHECKS
from .report import Cell, Check, Exit, GatewayReport, Outcome

SURFACES = {"models": "listing", "chat/completions": "chat"}
"""What people call a surface, in the order of the columns."""

RESULTS: Mapping[Exit, str] = {
    Exit.GOOD: "PASS",
    Exit.FAILED: "FAIL",
    Exit.MISUSED: "MISUSED",
    Exit.FULL: "CAPACITY",
}
SNIPPETS = {"python": "Python", "model_list": "Router", "config": "LiteLLM proxy"}
"""What each snippet is for, by the field that holds it."""

NO_ANSWER = "---"
"""What stands in the place of a status."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the matrix: a surface on one form of the base."""

    surface: str
    api_base: str
    toggled: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What a gateway said to several requests alike: words, and the surfaces and styles that they were said to."""

    status: str
    words: str
    to: str


def number(value: float) -> str:
    """Two decimals at most, and none that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def column_of(cell: Cell) -> Column:
    """The column that a cell is in."""
    return Column(cell.surface, cell.api_base, cell.toggled)


def columns(gateway: GatewayReport) -> list[Column]:
    """What was asked: on the given form of the base first, listing before chat."""
    return sorted(
        set(map(column_of, gateway.matrix)),
        key=lambda each: (each.toggled, list(SURFACES).index(each.surface), each.api_base),
    )


def form(column: Column) -> str:
    """Which form of the base it is."""
    return "with /v1" if column.api_base.rstrip("/").endswith("/v1") else "no /v1"


def where(column: Column) -> str:
    """A column in words; the base as it was given goes without saying."""
    return SURFACES[column.surface] + (f", {form(column)}" if column.toggled else "")


def rows(gateway: GatewayReport) -> dict[str, dict[Column, Cell]]:
    """The cells by style, in the order in which the styles were tried, and by column."""
    found: dict[str, dict[Column, Cell]] = {}
    for cell in gateway.matrix:
        found.setdefault(cell.style, {})[column_of(cell)] = cell
    return found


def status(cell: Cell) -> str:
    """The HTTP status, or a mark for none."""
    return NO_ANSWER if cell.status is None else str(cell.status)


def cell_text(cell: Cell) -> str:
    """A cell in a few letters: "200 PASS", "429 FULL 1s", "FAIL connect"."""
    if cell.outcome is Outcome.SKIPPED:
        return "skipped"
    if cell.outcome is Outcome.CAPACITY:
        wait = "" if cell.retry_after_s is None else f" {number(cell.retry_after_s)}s"
        return f"{status(cell)} FULL{wait}"
    if cell.status is None:
        return f"{cell.outcome.value} {cell.verdict}".strip()
    return f"{cell.status} {cell.outcome.value}{' html' if cell.html else ''}"


def said(gateway: GatewayReport) -> list[Said]:
    """The words of what did not pass, each once, with what was asked."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for cell in gateway.matrix:
        words = reason(cell)
        if cell.outcome is Outcome.PASS or not words:
            continue
        code = "skipped" if cell.outcome is Outcome.SKIPPED else status(cell)
        asked = found.setdefault((code, words), {}).setdefault(where(column_of(cell)), [])
        asked.append(one_line(cell.style))
    return [
        Said(code, words, "; ".join(f"{place}: {', '.join(styles)}" for place, styles in asked.items()))
        for (code, words), asked in found.items()
    ]


def reason(cell: Cell) -> str:
    """Why a cell is not a PASS: the gateway's words, or else the verdict; of a missing answer, both."""
    page = cell.html and "web page" not in cell.words
    kind = cell.verdict if cell.status is None or not cell.words else "web page" if page else ""
    return one_line(": ".join(filter(None, (kind, cell.words))))


def check_name(check: Check) -> str:
    """What people call the check."""
    return CHECKS.get(check.name) or one_line(check.name).replace("_", " ")


def check_text(check: Check, usual_model: str = "") -> str:
    """What was seen in a check, or why it failed or was skipped, and what to do."""
    wait = "" if check.retry_after_s is None else f"come back in {number(check.retry_after_s)} s"
    model = f"with {check.model}" if check.model not in {"", usual_model} else ""
    return one_line("; ".join(filter(None, (check.served, check.words.rstrip(". "), wait, model, check.hint))))


def skipped(checks: Sequence[Check]) -> dict[str, list[str]]:
    """The names of the checks that were not made, by the reason."""
    found: dict[str, list[str]] = {}
    for check in checks:
        if check.outcome is Outcome.SKIPPED:
            found.setdefault(check_text(check), []).append(check_name(check))
    return found


def listing(gateway: GatewayReport) -> str:
    """How many models it lists."""
    return "none" if gateway.listed is None else counted(gateway.listed, "model")


def works(gateway: GatewayReport) -> str:
    """With what chat works."""
    if not gateway.works_base:
        return "nothing"
    served = any(cell.surface == "chat/completions" and cell.outcome is Outcome.PASS for cell in gateway.matrix)
    base = gateway.works_base
    return one_line(f"{gateway.works_style} on {base}" if served else f"{base}, which is full")


def headline(gateway: GatewayReport) -> str:
    """What there is to say about a gateway in a few words: what is wrong, or else with what it works."""
    serious = [one_line(each.title) for each in gateway.diagnoses if each.serious]
    failed = [f"{check_name(each)} failed" for each in gateway.checks if each.outcome is Outcome.FAIL]
    works_with = f"works with {one_line(gateway.works_style)}" if gateway.works_style else "chat does not work"
    return (*serious, *failed, works_with)[0]
