"""The doctor's HTML page: well formed, readable by itself, and nothing that a gateway says becomes a part of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import litellm_gateway_plugin.doctor
from litellm_gateway_plugin.doctor.markup import Html, element, joined
from litellm_gateway_plugin.doctor.page import MARKS, page
from litellm_gateway_plugin.doctor.report import DoctorReport, Exit, Outcome
from tests.support.doctor_reports import HOSTILE, REPORTS, chutes_gateway, good_gateway, report

VOID = {"meta", "rect"}
KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3", "h4", "p"),
    *("span", "b", "a", "dl", "dt", "dd", "div", "ul", "li", "small", "svg", "rect", "details", "summary", "pre"),
    *("code", "table", "caption", "thead", "tbody", "tr", "th", "td"),
}
LOADING = {"src", "srcset", "data", "action", "formaction", "poster", "background", "xlink:href", "style", "ping"}


class Node:
    """An element that was read back."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name, self.attributes = name, attributes
        self.children: list[Node | str] = []

    @property
    def text(self) -> str:
        return "".join(each if isinstance(each, str) else each.text for each in self.children)

    def all(self, name: str, **attributes: str) -> list[Node]:
        found = [each for child in self.children if isinstance(child, Node) for each in child.all(name, **attributes)]
        mine = self.name == name and all(self.attributes.get(key.rstrip("_")) == is_ for key, is_ in attributes.items())
        return [self, *found] if mine else found

    def everything(self) -> list[Node]:
        inner = [each for child in self.children if isinstance(child, Node) for each in child.everything()]
        return [self, *inner]


class Reader(HTMLParser):
    """Reads a page and refuses what is not well nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({key for key, _ in attrs}) == len(attrs), f"an attribute of {tag} is there twice"
        node = Node(tag, {key: value or "" for key, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def read(found: DoctorReport) -> Node:
    reader = Reader()
    reader.feed(page(found))
    reader.close()
    assert reader.open == [reader.root], "something was not closed"
    return reader.root


def words(text: str) -> str:
    return " ".join(text.split())


def table(found: Node, caption: str) -> list[list[str]]:
    """The rows of the first table whose caption begins so."""
    one = next(each for each in found.all("table") if each.all("caption")[0].text.startswith(caption))
    return [
        [words(each.text) for each in row.children if isinstance(each, Node)]
        for row in one.all("tr")
    ]  # fmt: skip


every_report = pytest.mark.parametrize("found", REPORTS.values(), ids=REPORTS)


@every_report
def test_marks_have_the_colour_of_their_outcome(found: DoctorReport) -> None:
    root = read(found)
    marks = [node for node in root.all("span") if "mark" in node.attributes.get("class", "").split()]
    for mark in marks:
        assert mark.text.startswith(MARKS[Outcome(mark.attributes["class"].removeprefix("mark "))])
    (style,) = root.all("style")
    assert all(f".{kind} {{ color:" in style.text for kind in ("PASS", "FAIL", "CAPACITY"))
    assert marks


@every_report
def test_the_page_is_well_formed_and_made_of_known_elements_only(found: DoctorReport) -> None:
    root = read(found)
    assert page(found).startswith("<!DOCTYPE html>\n<html ")
    assert {each.name for each in root.everything()} - {""} <= KNOWN
    assert [root.all("html")[0].attributes["lang"], len(root.all("h1")), len(root.all("main"))] == ["en", 1, 1]


@every_report
def test_the_page_loads_nothing_and_runs_nothing(found: DoctorReport) -> None:
    root = read(found)
    for each in root.everything():
        assert not LOADING & set(each.attributes)
        assert not [name for name in each.attributes if name.startswith("on")]
        assert each.attributes.get("href", "#").startswith("#")
    sheet = root.all("style")[0].text
    assert not re.search(r"url\(|@import|expression|<|https?:", sheet)
    policy = root.all("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes["content"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


@every_report
def test_names_are_there_once_and_every_anchor_leads_somewhere(found: DoctorReport) -> None:
    root = read(found)
    ids = [each.attributes["id"] for each in root.everything() if "id" in each.attributes]
    assert len(set(ids)) == len(ids)
    for each in root.everything():
        for target in (each.attributes.get("href", "").removeprefix("#"), each.attributes.get("aria-labelledby", "")):
            assert not target or target in ids


@every_report
def test_headings_go_one_step_down_at_a_time(found: DoctorReport) -> None:
    levels = [int(each.name[1]) for each in read(found).everything() if re.fullmatch(r"h\d", each.name)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@every_report
def test_every_head_of_a_table_says_what_it_is_the_head_of(found: DoctorReport) -> None:
    for one in read(found).all("table"):
        assert one.all("caption")[0].text
        assert {each.attributes["scope"] for each in one.all("thead")[0].all("th")} == {"col"}
        assert {each.attributes["scope"] for each in one.all("tbody")[0].all("th")} == {"row"}
        widths = {len([each for each in row.children if isinstance(each, Node)]) for row in one.all("tr")}
        assert len(widths) == 1


@every_report
def test_colour_is_never_the_only_sign(found: DoctorReport) -> None:
    marks = [each for each in read(found).all("span") if each.attributes.get("class", "").startswith("mark ")]
    for each in marks:
        outcome = each.attributes["class"].removeprefix("mark ")
        sign, *said = each.text.split()
        assert sign == {"PASS": "✓", "FAIL": "✗", "CAPACITY": "◔", "SKIPPED": "○"}[outcome]
        assert {outcome, outcome.lower(), "FULL" if outcome == "CAPACITY" else outcome, "MISUSED"} & set(said)


@every_report
def test_everything_that_was_found_is_on_the_page(found: DoctorReport) -> None:
    root = read(found)
    for place, gateway in enumerate(found.gateways, 1):
        section = root.all("section", id=f"gateway-{place}")[0]
        text = words(section.text)
        for shown in (
            gateway.label,
            gateway.model,
            gateway.key_name or "none",
            gateway.works_base,
            gateway.works_style,
        ):
            assert readable(shown) in text
        notes = [each for each in section.all("div") if "found" in each.attributes.get("class", "").split()]
        assert len(notes) == len(gateway.diagnoses)
        for note, diagnosis in zip(notes, gateway.diagnoses, strict=True):
            kind = "Problem" if diagnosis.serious else "Good to know"
            assert note.all("h4")[0].text == f"{kind}: {readable(diagnosis.title)}"
            assert readable(diagnosis.words) in note.text
            assert diagnosis.code in [each.text for each in note.all("code")]
            lines = [each.text for each in note.all("pre")]
            assert lines == ([readable(diagnosis.next_line)] if diagnosis.next_line else [])
        for check in gateway.checks:
            assert readable(check.words) in text
        for cell in gateway.matrix:
            assert readable(cell.words) in text or cell.outcome.value == "PASS"
    for check in found.installation:
        assert readable(check.words) in words(root.all("main")[0].text)


def readable(text: str) -> str:
    """A text as it should be shown: one line, no control characters."""
    return words("".join(each if each.isprintable() else " " for each in text))


def test_the_matrix_as_a_table() -> None:
    assert table(read(REPORTS["chutes"]), "Each way") == [
        ["credential", "listingwith /v1", "chatwith /v1", "listingno /v1", "chatno /v1"],
        ["bearer", "✓ 200 PASS", "✓ 200 PASS", "✗ 404 FAIL", "✗ 404 FAIL"],
        ["x-api-key", "✓ 200 PASS", "✗ 401 FAIL", "\N{EN DASH}", "\N{EN DASH}"],
        ["raw", "✓ 200 PASS", "◔ 429 FULL 1s", "\N{EN DASH}", "\N{EN DASH}"],
    ]


def test_the_checks_as_a_table() -> None:
    rows = table(read(REPORTS["chutes"]), "The checks")
    assert [row[0] for row in rows] == [
        "check", "JSON", "stream", "tools", "picture", "embeddings", "Router", "parallel", "model list",
    ]  # fmt: skip
    assert rows[1] == ["JSON", "✓ PASS", "0.21 s", '{"ok":true}']
    assert rows[2] == ["stream", "✓ PASS", "0.40 s, first token 0.12 s", "14 chunks"]
    assert rows[4] == ["picture", "○ SKIPPED", "", "no model is named; set CHUTES_VLM_MODEL"]


def bars(found: DoctorReport) -> list[dict[str, float]]:
    """The widths of the parts of each chart."""
    charts = read(found).all("svg")
    return [{part.attributes["class"]: float(part.attributes["width"]) for part in each.all("rect")} for each in charts]


def test_bars_are_as_long_as_the_times() -> None:
    drawn = bars(REPORTS["good"])
    times = (0.21, 0.4, 0.35, 1.42, 0.22, 0.29, 0.2)
    assert [each["bar"] for each in drawn] == pytest.approx([144 * each / 1.42 for each in times], abs=0.1)
    assert [round(each["first"]) for each in drawn if "first" in each] == [round(144 * 0.12 / 1.42)]
    assert {each["ground"] for each in drawn} == {144}


def test_a_bar_is_seen_and_stays_within_its_ground() -> None:
    drawn = [width for each in bars(REPORTS["long"]) for width in each.values()]
    assert min(drawn) == 2
    assert max(drawn) == 144
    at_once = good_gateway().checks[1].model_copy(update={"seconds": 0.0, "first_token_s": 0.0})
    one = good_gateway().model_copy(update={"checks": (at_once,)})
    assert bars(report(one, status=Exit.GOOD)) == [{"ground": 144, "bar": 2, "first": 2}]


def test_the_overview_leads_to_every_gateway() -> None:
    for name, count in (("three", 3), ("many", 20)):
        root = read(REPORTS[name])
        overview = root.all("section")[0]
        links = overview.all("a")
        assert [each.attributes["href"] for each in links] == [f"#gateway-{place}" for place in range(1, count + 1)]
        assert [each.text for each in links] == [gateway.label for gateway in REPORTS[name].gateways]
    assert table(read(REPORTS["three"]), "Every gateway")[1:] == [
        ["https://eu.llm.example.com/v1", "✓ PASS", "works with bearer", "31 models"],
        ["https://llm.chutes.example/v1", "✓ PASS", "works with bearer", "58 models"],
        ["https://llm.example.com/v1", "✗ FAIL", "The key is wrong", "none"],
    ]
    assert read(REPORTS["good"]).all("a") == []


def test_snippets_are_folded_and_whole() -> None:
    folded = {each.all("summary")[0].text: each.all("pre")[0].text for each in read(REPORTS["chutes"]).all("details")}
    kept = chutes_gateway().snippets
    assert kept is not None
    assert folded == {"Python": kept.python[:-1], "Router": kept.model_list[:-1], "LiteLLM proxy": kept.config[:-1]}


@pytest.mark.parametrize(("name", "said"), [("good", "PASS"), ("wrong-key", "FAIL"), ("full", "CAPACITY")])
def test_the_result_is_in_the_title_and_in_the_first_heading(name: str, said: str) -> None:
    root = read(REPORTS[name])
    assert root.all("title")[0].text == f"{said}: litellm-gateway doctor"
    assert said in root.all("h1")[0].text
    assert f"exit status {REPORTS[name].exit_status:d}" in root.all("header")[0].text


def test_hostile_words_stay_words() -> None:
    text = page(REPORTS["hostile"])
    assert all(each.isprintable() or each == "\n" for each in text)
    for never in ("<script", "</script", "<img", "<i>", "<b>'", "<!--", "' onmouseover"):
        assert never not in text
    root = read(REPORTS["hostile"])
    assert words(root.all("main")[0].text).count("<script>alert(1)</script>") >= 8
    assert "&lt; &amp;" in root.text, "what was escaped already is shown as it was"


def test_only_elements_are_html() -> None:
    assert joined("<b>", Html("<b>"), '"') == "&lt;b&gt;<b>&quot;"
    assert element("td", "<", class_="a\"b'", aria_label="<", title=None) == (
        '<td class="a&quot;b&#x27;" aria-label="&lt;">&lt;</td>'
    )
    assert element("p", element("b", HOSTILE)).count("<") == 4
    assert element("meta", charset="utf-8") == '<meta charset="utf-8" />'


def test_the_style_sheet_knows_dark_narrow_and_paper() -> None:
    sheet = (Path(litellm_gateway_plugin.doctor.__file__).parent / "page.css").read_text("utf-8")
    for condition in ("(prefers-color-scheme: dark)", "(max-width: 40rem)", "print"):
        assert f"{condition} {{" in sheet
    used = set(re.findall(r"var\((--[a-z-]+)\)", sheet))
    for palette in re.findall(r":root \{([^}]*--[^}]*)\}", sheet):
        assert set(re.findall(r"(--[a-z-]+):", palette)) >= used
