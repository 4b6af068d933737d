"""The report as plain lines, one fact each, for pipes, CI logs and grep: ASCII, no colour, always the same form.

    NAME [STATUS] OUTCOME [field=value ...] [- reason]

The reason is a line's last part, so that no word of a gateway is ever taken for a field. Values hold no blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..printable import one_line, printable
from .report import Cell, Check, Diagnosis, DoctorReport, GatewayReport, Outcome
from .shown import RESULTS, SNIPPETS, number, reason, status

SURFACE_NAMES = {"models": "MODELS", "chat/completions": "CHAT"}
STYLE_NAMES = {"bearer": "auth_bearer", "raw": "auth_raw", "basic": "auth_basic"}
"""The forms of the Authorization header; every other style goes by the name of its header."""
CHECK_NAMES = {
    "direct_json": "DIRECT_JSON",
    "stream": "STREAM",
    "tools": "TOOLS",
    "picture": "VLM_SMOKE",
    "embeddings": "EMBEDDINGS",
    "router": "ROUTER_JSON",
    "parallel": "PARALLEL_JSON",
    "model_list": "MODEL_LIST_JSON",
}
OUTCOMES = {Outcome.PASS: "PASS", Outcome.CAPACITY: "PASS CAPACITY", Outcome.FAIL: "FAIL"}
"""Of a cell, the best one first: a full gateway has let the credential in."""
BEST_FIRST = tuple(OUTCOMES)


def lines(report: DoctorReport, *, snippets: bool = False) -> Iterator[str]:
    """The report's lines, without their ends.

    Args:
        report: what was found.
        snippets: whether code and configuration to paste are among them.
    """
    for line in _lines(report, snippets=snippets):
        yield line.encode("ascii", "backslashreplace").decode("ascii")


def _lines(report: DoctorReport, *, snippets: bool) -> Iterator[str]:
    litellm = report.litellm_version or "none"
    yield _joined("DOCTOR", plugin=report.plugin_version, litellm=litellm, python=report.python_version)
    for gateway in report.gateways:
        yield from _gateway(gateway, snippets=snippets)
    yield from map(_installation, report.installation)
    yield f"RESULT {RESULTS[report.exit_status]} exit={report.exit_status:d}"


def _gateway(gateway: GatewayReport, *, snippets: bool) -> Iterator[str]:
    yield _joined("GATEWAY", gateway.label, key=gateway.key_name or "none", model=gateway.model or "none")
    listing = [cell for cell in gateway.matrix if cell.surface == "models" and cell.outcome is not Outcome.SKIPPED]
    if listing:
        best = min(listing, key=lambda cell: (BEST_FIRST.index(cell.outcome), cell.status is None))
        yield _joined("MODELS", status(best), "" if best.outcome is Outcome.PASS else OUTCOMES[best.outcome])
    if gateway.listed is not None:
        yield f"LISTED {gateway.listed}"
    yield from map(_cell, gateway.matrix)
    for check in gateway.checks:
        yield from _check(check)
    for diagnosis in gateway.diagnoses:
        yield from _diagnosis(diagnosis)
    if snippets and gateway.snippets is not None:
        for name in SNIPPETS:
            yield f"SNIPPET {name}"
            yield from map(str.rstrip, printable(getattr(gateway.snippets, name)).splitlines())
            yield f"END {name}"
    yield _joined("OUTCOME", gateway.outcome.value, style=gateway.works_style, base=gateway.works_base)


def _cell(cell: Cell) -> str:
    name = f"{SURFACE_NAMES[cell.surface]}_{_style(cell.style)}"
    base = cell.api_base if cell.toggled else ""
    if cell.outcome is Outcome.SKIPPED:
        return _skipped(_joined(name, cell.outcome.value, base=base), cell.words)
    line = _joined(name, status(cell), OUTCOMES[cell.outcome], retry_after=_seconds(cell.retry_after_s), base=base)
    return _because(line, reason(cell)) if cell.outcome is Outcome.FAIL else line


def _check(check: Check) -> Iterator[str]:
    name = CHECK_NAMES.get(check.name) or _style(check.name).upper()
    head = f"{name} {check.outcome.value}"
    if check.name == "picture":
        head = f"{name}_{'OK' if check.outcome is Outcome.PASS else check.outcome.value}"
    if check.outcome is Outcome.SKIPPED:
        yield _skipped(head, _to_enable(check.hint) or check.words)
        return
    line = _joined(
        head,
        check.served,
        retry_after=_seconds(check.retry_after_s),
        first_token=_clock(check.first_token_s),
        requests="" if check.requests is None else str(check.requests),
        time=_clock(check.seconds),
    )
    passed = check.outcome is Outcome.PASS
    yield line if passed else _because(line, _advice(check))
    if check.name == "direct_json" and passed:
        yield "JSON_SMOKE_OK"


def _diagnosis(diagnosis: Diagnosis) -> Iterator[str]:
    yield one_line(f"DIAGNOSIS {diagnosis.code}: {diagnosis.title.rstrip('.')}. {diagnosis.words}")
    if diagnosis.next_line:
        yield one_line(f"NEXT {diagnosis.next_line}")


def _installation(check: Check) -> str:
    line = f"INSTALLATION {_style(check.name)} {check.outcome.value}"
    if check.outcome is Outcome.SKIPPED:
        return _skipped(line, _advice(check))
    return one_line(f"{line} {_advice(check)}") if check.outcome is Outcome.PASS else _because(line, _advice(check))


def _advice(check: Check) -> str:
    return "; ".join(filter(None, (check.words.rstrip(". ") if check.hint else check.words, check.hint)))


def _joined(*words: str, **fields: str) -> str:
    """Words, and the fields that have a value; a blank within a value is written as an underscore."""
    named = (f"{name}={one_line(value).replace(' ', '_')}" for name, value in fields.items() if value)
    return " ".join(filter(None, (*map(one_line, words), *named)))


def _because(line: str, words: str) -> str:
    return " - ".join(filter(None, (line, one_line(words))))


def _skipped(line: str, words: str) -> str:
    return f"{line} ({one_line(words)})" if words else line


def _to_enable(hint: str) -> str:
    """A hint such as "set CHUTES_VLM_MODEL", as a phrase."""
    return f"{hint} to enable" if hint and " to " not in hint else hint


def _style(name: str) -> str:
    return STYLE_NAMES.get(name) or re.sub(r"\W+", "_", name, flags=re.ASCII)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{number(value)}s"


def _clock(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}s"
