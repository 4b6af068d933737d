"""The report on a terminal: the matrix and the checks as tables, then what is wrong and what to type next.

Colour only repeats what the words say. Ids, bases, the next line and snippets are there to be copied: they stay whole.
"""

from __future__ import annotations

from ..printable import counted, one_line
from ..screen import INDENT, NAME_WIDTH, Piece, Screen
from .report import Cell, Check, Diagnosis, DoctorReport, Exit, GatewayReport, Outcome
from .shown import (
    RESULTS,
    SNIPPETS,
    SURFACES,
    cell_text,
    check_name,
    check_text,
    columns,
    form,
    headline,
    listing,
    number,
    rows,
    said,
    skipped,
    works,
)

STYLES = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.CAPACITY: "yellow", Outcome.SKIPPED: "dim"}
ENDS = {Exit.GOOD: "green", Exit.FAILED: "red", Exit.MISUSED: "red", Exit.FULL: "yellow"}
LANGUAGES = {"python": "python", "model_list": "python", "config": "yaml"}
NOT_ASKED = ("\N{EN DASH}", "dim")


def show(report: DoctorReport, screen: Screen, *, snippets: bool = False) -> None:
    """Print the report.

    Args:
        report: what was found.
        screen: where to.
        snippets: whether all code and configuration to paste is printed. Without it, one gateway with which all is well
            has its Python.
    """
    well = report.exit_status is Exit.GOOD and len(report.gateways) == 1
    for place, gateway in enumerate(report.gateways, 1):
        _gateway(gateway, screen, f"{place}/{len(report.gateways)}  " if len(report.gateways) > 1 else "")
        if gateway.snippets is not None:
            for name in SNIPPETS if snippets else ["python"] if well else []:
                screen.heading(f"To paste: {SNIPPETS[name]}")
                screen.code(getattr(gateway.snippets, name), LANGUAGES[name], indent="")
    if len(report.gateways) > 1:
        screen.heading("All gateways")
        screen.table(
            [[_outcome(each.outcome), (one_line(each.label), ""), (headline(each), "")] for each in report.gateways]
        )
    _installation(report, screen)
    screen.heading(
        f"{RESULTS[report.exit_status]} (exit status {report.exit_status:d}) in {number(report.seconds)} s",
        ENDS[report.exit_status],
    )


def _gateway(gateway: GatewayReport, screen: Screen, place: str) -> None:
    screen.heading(f"{place}{one_line(gateway.label)}  {gateway.outcome.value}", STYLES[gateway.outcome])
    for name, text in (
        ("key", gateway.key_name or "none"),
        ("model", one_line(gateway.model) or "none is known"),
        ("listing", listing(gateway)),
        ("works", works(gateway)),
    ):
        screen.verbatim(f"{name:<{NAME_WIDTH}}{text}")
    _matrix(gateway, screen)
    if gateway.checks:
        screen.gap()
        _checks(gateway.checks, gateway.model, screen)
    for diagnosis in gateway.diagnoses:
        _diagnosis(diagnosis, screen)


def _matrix(gateway: GatewayReport, screen: Screen) -> None:
    asked = columns(gateway)
    if not asked:
        return
    heads = ["credential", *(f"{SURFACES[column.surface]}\n{form(column)}" for column in asked)]
    screen.gap()
    screen.table(
        [
            [(one_line(style), ""), *(_cell(cells.get(column)) for column in asked)]
            for style, cells in rows(gateway).items()
        ],
        heads,
    )
    spoken = [[(each.status, ""), (f"{each.words} ({each.to})", "dim")] for each in said(gateway)]
    if spoken:
        screen.gap()
        screen.table(spoken)


def _cell(cell: Cell | None) -> Piece:
    return NOT_ASKED if cell is None else (cell_text(cell), STYLES[cell.outcome])


def _checks(checks: tuple[Check, ...], model: str, screen: Screen) -> None:
    made = [check for check in checks if check.outcome is not Outcome.SKIPPED]
    if made:
        screen.table(
            [
                [
                    (check_name(check), ""),
                    _outcome(check.outcome),
                    (_clock(check.seconds), ""),
                    (_clock(check.first_token_s), ""),
                    (check_text(check, model), "dim" if check.outcome is Outcome.PASS else ""),
                ]
                for check in made
            ],
            ["check", "outcome", "time", "first\ntoken", "what was seen"],
        )
    for reason, names in skipped(checks).items():
        screen.table([[_outcome(Outcome.SKIPPED), (f"{', '.join(names)}: {reason}".removesuffix(": "), "dim")]])


def _diagnosis(diagnosis: Diagnosis, screen: Screen) -> None:
    screen.gap()
    kind, style = ("Problem", "bold red") if diagnosis.serious else ("Good to know", "bold")
    screen.table([[(f"{kind}: {one_line(diagnosis.title)}", style)]])
    screen.table([[(f"{one_line(diagnosis.words)} [{diagnosis.code}]", "")]])
    if diagnosis.next_line:
        screen.line("Type next:")
        screen.gap()
        screen.verbatim(INDENT + one_line(diagnosis.next_line), "bold")


def _installation(report: DoctorReport, screen: Screen) -> None:
    if not report.installation:
        return
    screen.heading("Installation")
    litellm = report.litellm_version or "none"
    screen.line(f"plugin {report.plugin_version}, litellm {litellm}, Python {report.python_version}")
    notable = [check for check in report.installation if check.outcome is Outcome.FAIL or check.hint]
    if notable:
        screen.table([[(check_name(check), ""), _outcome(check.outcome), (check_text(check), "")] for check in notable])
    passed = sum(check.outcome is Outcome.PASS for check in report.installation)
    screen.line(f"{counted(passed, 'check')}: PASS")
    for reason, names in skipped(report.installation).items():
        screen.line(f"skipped: {', '.join(names)} ({reason})")


def _outcome(outcome: Outcome) -> Piece:
    return outcome.value, STYLES[outcome]


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"
