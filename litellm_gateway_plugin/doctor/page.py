"""The report as one HTML page to keep or to send: no script, nothing loaded, light or dark as the reader has it.

What is wrong comes first, then the matrix, the checks with their times as bars, and what to paste. Each mark
has its word beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..printable import counted, one_line
from .markup import Html, element, joined
from .report import Cell, Check, Diagnosis, DoctorReport, Exit, GatewayReport, Outcome, Snippets
from .shown import (
    RESULTS,
    SNIPPETS,
    SURFACES,
    Said,
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
    works,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE_SHEET = Path(__file__).parent / "page.css"
MARKS = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.CAPACITY: "◔", Outcome.SKIPPED: "○"}
ENDS = {
    Exit.GOOD: Outcome.PASS,
    Exit.FAILED: Outcome.FAIL,
    Exit.MISUSED: Outcome.FAIL,
    Exit.FULL: Outcome.CAPACITY,
}
MATRIX_CAPTION = (
    "Each way to send the credential, on each form of the base. One that works is enough; the plugin finds it."
)
BAR_WIDTH = 144
"""Of a chart, in pixels: 9rem."""


def page(report: DoctorReport) -> str:
    """The whole page, as text to be written in UTF-8."""
    places = [f"gateway-{place}" for place in range(1, len(report.gateways) + 1)]
    body = element(
        "body",
        _header(report),
        element(
            "main",
            *([_overview(report, places)] if len(places) > 1 else []),
            *(
                _gateway(gateway, place, alone=len(places) == 1)
                for gateway, place in zip(report.gateways, places, strict=True)
            ),
            *([_installation(report.installation)] if report.installation else []),
        ),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="robots", content="noindex"),
        element("title", f"{RESULTS[report.exit_status]}: litellm-gateway doctor"),
        element("style", Html(STYLE_SHEET.read_text("utf-8"))),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _header(report: DoctorReport) -> Html:
    many = counted(len(report.gateways), "gateway")
    return element(
        "header",
        element("h1", "What the doctor found ", _mark(ENDS[report.exit_status], RESULTS[report.exit_status])),
        element("p", f"{many}, looked at in {number(report.seconds)} s from {report.started_at}.", class_="soft"),
        element(
            "p",
            f"litellm-gateway-plugin {report.plugin_version} · litellm {report.litellm_version or 'not installed'} · "
            f"Python {report.python_version} · at most {report.requests_announced} requests and calls · "
            f"exit status {report.exit_status:d}",
            class_="soft small",
        ),
    )


def _overview(report: DoctorReport, places: Sequence[str]) -> Html:
    lines = [
        element(
            "tr",
            element("th", element("a", one_line(gateway.label), href=f"#{place}"), scope="row"),
            element("td", _mark(gateway.outcome)),
            element("td", headline(gateway), class_="said"),
            element("td", listing(gateway)),
        )
        for gateway, place in zip(report.gateways, places, strict=True)
    ]
    table = _table("Every gateway in a line", ["gateway", "outcome", "what there is to say", "listing"], lines)
    return element("section", element("h2", "Overview", id="overview"), table, aria_labelledby="overview")


def _gateway(gateway: GatewayReport, place: str, *, alone: bool) -> Html:
    title = f"{place}-title"
    return element(
        "section",
        element("h2", one_line(gateway.label), " ", _mark(gateway.outcome), id=title),
        _facts(gateway),
        *([element("h3", "What to know"), *map(_diagnosis, gateway.diagnoses)] if gateway.diagnoses else []),
        *_matrix(gateway),
        *_checks(gateway),
        *([element("h3", "To paste"), *_snippets(gateway.snippets)] if gateway.snippets is not None else []),
        *([] if alone else [element("p", element("a", "Back to the overview", href="#overview"), class_="small")]),
        id=place,
        aria_labelledby=title,
    )


def _facts(gateway: GatewayReport) -> Html:
    facts = {
        "Base": gateway.api_base if gateway.api_base != gateway.label else "",
        "Key from": gateway.key_name or "none",
        "Model": gateway.model or "none is known",
        "Pictures": gateway.vlm_model,
        "Tools": gateway.tools_model,
        "Embeddings": gateway.embedding_model,
        "Listing": listing(gateway),
        "Chat works with": works(gateway),
    }
    pairs = (joined(element("dt", name), element("dd", one_line(text))) for name, text in facts.items() if text)
    return element("dl", *pairs, class_="facts")


def _diagnosis(diagnosis: Diagnosis) -> Html:
    kind = "Problem" if diagnosis.serious else "Good to know"
    following: list[Html] = []
    if diagnosis.next_line:
        following = [element("p", "Type next:"), _pre(one_line(diagnosis.next_line), "What to type next")]
    return element(
        "div",
        element("h4", f"{kind}: {one_line(diagnosis.title)}"),
        element("p", one_line(diagnosis.words)),
        *following,
        element("p", "Its name: ", element("code", one_line(diagnosis.code)), class_="soft small"),
        class_="found serious" if diagnosis.serious else "found",
    )


def _matrix(gateway: GatewayReport) -> Iterator[Html]:
    asked = columns(gateway)
    if not asked:
        return
    heads = ["credential", *(joined(SURFACES[each.surface], element("small", form(each))) for each in asked)]
    lines = [
        element(
            "tr",
            element("th", one_line(style), scope="row"),
            *(_cell(cells.get(column)) for column in asked),
        )
        for style, cells in rows(gateway).items()
    ]
    yield element("h3", "Asked past litellm")
    yield _table(MATRIX_CAPTION, heads, lines)
    words = said(gateway)
    if words:
        yield element("ul", *map(_said, words), class_="words")


def _cell(cell: Cell | None) -> Html:
    if cell is None:
        return element("td", element("span", "\N{EN DASH}", class_="soft", title="not asked"))
    return element("td", _mark(cell.outcome, cell_text(cell)))


def _said(each: Said) -> Html:
    return element("li", element("b", each.status), f" {each.words} ", element("span", f"({each.to})", class_="soft"))


def _checks(gateway: GatewayReport) -> Iterator[Html]:
    if not gateway.checks:
        return
    longest = max(check.seconds or 0 for check in gateway.checks) or 1
    lines = [
        element(
            "tr",
            element("th", check_name(check), scope="row"),
            element("td", _mark(check.outcome)),
            element("td", element("div", *_clock(check, longest), class_="time")),
            element("td", check_text(check, gateway.model), class_="said"),
        )
        for check in gateway.checks
    ]
    yield element("h3", "Asked through litellm and the plugin")
    yield _table("The checks and how long each took", ["check", "outcome", "time", "what was seen"], lines, "checks")
    if any(check.first_token_s is not None for check in gateway.checks):
        yield element(
            "p",
            element("span", class_="key key-bar", aria_hidden="true"),
            "the whole check",
            element("span", class_="key key-first", aria_hidden="true"),
            "until the first token",
            class_="soft small",
        )


def _clock(check: Check, longest: float) -> Iterator[Html]:
    """The time as a bar, beside the longest of all, and in words."""
    if check.seconds is None:
        return
    words = f"{check.seconds:.2f} s"
    if check.first_token_s is not None:
        words += f", first token {check.first_token_s:.2f} s"
    times = {"ground": longest, "bar": check.seconds, "first": check.first_token_s}
    parts = (_bar(kind, seconds / longest) for kind, seconds in times.items() if seconds is not None)
    yield element("svg", *parts, viewBox=f"0 0 {BAR_WIDTH} 14", aria_hidden="true")
    yield element("span", words, class_="clock small")


def _bar(kind: str, part: float) -> Html:
    """A part of a chart: what took any time is seen."""
    width = min(max(BAR_WIDTH * part, 2), BAR_WIDTH)
    height, top = ("6", "4") if kind == "first" else ("14", "0")
    return element("rect", class_=kind, width=f"{width:.1f}", height=height, y=top, rx="2")


def _snippets(snippets: Snippets) -> Iterator[Html]:
    for name, title in SNIPPETS.items():
        yield element("details", element("summary", title), _pre(getattr(snippets, name).rstrip(), title))


def _installation(checks: Sequence[Check]) -> Html:
    lines = [
        element(
            "tr",
            element("th", check_name(check), scope="row"),
            element("td", _mark(check.outcome)),
            element("td", check_text(check), class_="said"),
        )
        for check in checks
    ]
    table = _table("Whether litellm here is what the plugin needs", ["check", "outcome", "what was seen"], lines)
    return element("section", element("h2", "Installation", id="installation"), table, aria_labelledby="installation")


def _table(caption: str, heads: Sequence[str], lines: Sequence[Html], kind: str | None = None) -> Html:
    """A table that scrolls by itself where the page is narrow, by keyboard too."""
    head = element("thead", element("tr", *(element("th", each, scope="col") for each in heads)))
    table = element("table", element("caption", caption), head, element("tbody", *lines), class_=kind)
    return element("div", table, class_="wide", tabindex="0", role="region", aria_label=caption)


def _pre(text: str, label: str) -> Html:
    return element("pre", element("code", text), tabindex="0", role="region", aria_label=label)


def _mark(outcome: Outcome, words: str = "") -> Html:
    sign = element("span", f"{MARKS[outcome]} ", aria_hidden="true")
    return element("span", sign, words or outcome.value, class_=f"mark {outcome.value}")
