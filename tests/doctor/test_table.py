"""The doctor's report on a terminal: what it says, at every width, in every encoding, with and without colour."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from litellm_gateway_plugin.doctor.report import Check, DoctorReport, Exit, Outcome
from litellm_gateway_plugin.doctor.table import show
from litellm_gateway_plugin.printable import printable
from litellm_gateway_plugin.screen import Screen
from tests.support.doctor_reports import (
    CHAT,
    FAIL,
    HOSTILE,
    LISTING,
    LONG_ID,
    PASS,
    REPORTS,
    Forms,
    chutes_gateway,
    good_gateway,
    report,
)

DASH = "\N{EN DASH}"
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def shown(
    found: DoctorReport,
    width: int = 80,
    *,
    terminal: bool = True,
    colour: bool = False,
    encoding: str = "utf-8",
    snippets: bool = False,
) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(
        file=file, width=width, force_terminal=terminal, color_system="standard" if colour else None, markup=False,
        highlight=False, emoji=False, legacy_windows=False, _environ={},
    )  # fmt: skip
    show(found, Screen(console=console), snippets=snippets)
    file.flush()
    return raw.getvalue().decode(encoding)


def words(text: str) -> str:
    """A text with every run of blanks as one."""
    return " ".join(text.split())


def block(text: str, first: str) -> list[str]:
    """The lines from the one that begins so, down to the next empty one, without blanks around them."""
    lines = text.split("\n")
    begin = next(place for place, line in enumerate(lines) if line.strip().startswith(first))
    return [line.strip() for line in lines[begin : lines.index("", begin)]]


def test_the_matrix_has_a_row_for_each_style_and_a_column_for_each_surface_and_form() -> None:
    assert block(shown(REPORTS["chutes"]), "listing    chat") == [
        "listing    chat          listing    chat",
        "credential   with /v1   with /v1      no /v1     no /v1",
        "─" * 57,
        "bearer       200 PASS   200 PASS      404 FAIL   404 FAIL",
        f"x-api-key    200 PASS   401 FAIL      {DASH}          {DASH}",
        f"raw          200 PASS   429 FULL 1s   {DASH}          {DASH}",
    ]


def test_what_a_gateway_said_is_said_once_with_all_that_it_was_said_to() -> None:
    text = words(shown(REPORTS["wrong-key"], 100))
    assert text.count("401 Incorrect API key provided: [key]. (") == 1
    assert "(listing: bearer, x-api-key, raw; chat: bearer, x-api-key, raw)" in text
    assert "404 Not Found (chat, no /v1: bearer)" in text


def test_the_checks_have_outcome_time_first_token_and_words() -> None:
    lines = [words(line) for line in shown(REPORTS["chutes"]).split("\n")]
    for line in (
        'JSON PASS 0.21 s {"ok":true}',
        "stream PASS 0.40 s 0.12 s 14 chunks",
        "parallel PASS 0.29 s 2/2",
        "SKIPPED picture: no model is named; set CHUTES_VLM_MODEL",
    ):
        assert line in lines


def test_checks_that_were_skipped_for_one_reason_share_a_line() -> None:
    text = words(shown(REPORTS["wrong-key"]))
    names = "stream, tools, picture, embeddings, Router, parallel, model list"
    assert f"SKIPPED {names}: chat does not work" in text
    assert "JSON FAIL 0.21 s AuthenticationError: every style was refused" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("name", ["full", "console", "three", "long"])
def test_everything_that_is_wrong_is_said_at_every_width(name: str, width: int, terminal: bool) -> None:
    found = REPORTS[name]
    printed = shown(found, width, terminal=terminal)
    text, squeezed = words(printed), "".join(printed.split())
    for gateway in found.gateways:
        assert f"{gateway.label} {gateway.outcome.value}" in text
        assert f"key {gateway.key_name or 'none'} model {gateway.model or 'none is known'} listing" in text
        for diagnosis in gateway.diagnoses:
            for said in (diagnosis.title, diagnosis.words, f"[{diagnosis.code}]"):
                assert "".join(said.split()) in squeezed
            assert f"\n    {diagnosis.next_line}\n" in printed or not diagnosis.next_line


def copyable(found: DoctorReport) -> set[str]:
    """What is never broken, and so may be wider than a terminal."""
    names = {name for each in found.gateways for name in (each.label, each.model, each.works_base)}
    lines = {diagnosis.next_line for each in found.gateways for diagnosis in each.diagnoses}
    return {words(printable(each)) for each in names | lines if each}


@pytest.mark.parametrize("width", [60, 61, 80, 100, 200])
@pytest.mark.parametrize("name", ["chutes", "console", "three", "long", "hostile", "nothing"])
def test_nothing_is_wider_than_the_terminal_but_what_is_there_to_be_copied(name: str, width: int) -> None:
    bare = REPORTS[name].model_copy(update={"exit_status": Exit.FAILED})
    wide = [line for line in shown(bare, width).split("\n") if cell_len(line) > width]
    assert [line for line in wide if not any(each in line for each in copyable(bare))] == []


def test_what_is_there_to_be_copied_stays_on_its_line() -> None:
    lines = shown(REPORTS["long"], 60).split("\n")
    assert f"  model     {LONG_ID}" in lines
    next_line = REPORTS["long"].gateways[0].diagnoses[0].next_line
    at = lines.index(f"    {next_line}")
    assert [line.strip() for line in lines[at - 2 : at + 2]] == ["Type next:", "", next_line, ""]


@pytest.mark.parametrize("terminal", [True, False])
def test_hostile_words_are_shown_as_they_are_and_command_nothing(terminal: bool) -> None:
    printed = shown(REPORTS["hostile"], 100, terminal=terminal, snippets=True)
    assert all(letter.isprintable() or letter == "\n" for letter in printed)
    squeezed = "".join(printed.split())
    assert squeezed.count("[boldred]owned[/][/][link=https://evil.example]x[/link]:smile:") >= 8
    bare = shown(REPORTS["hostile"], 100, terminal=terminal)  # code stands at column 0
    assert not [line for line in bare.split("\n") if line.startswith("RESULT")]


def test_with_colour_nothing_but_colour_is_added() -> None:
    for name in ("chutes", "hostile", "full"):
        coloured = shown(REPORTS[name], colour=True)
        assert COLOUR.sub("", coloured) == shown(REPORTS[name])
    assert "\x1b" not in COLOUR.sub("", shown(REPORTS["hostile"], colour=True, snippets=True))


def test_each_outcome_has_its_colour() -> None:
    coloured = shown(REPORTS["chutes"], colour=True)
    for code, text in (("32", "200 PASS"), ("31", "401 FAIL"), ("33", "429 FULL 1s"), ("2", "SKIPPED")):
        assert re.search(rf"\x1b\[{code}m{text} *\x1b\[0m", coloured)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    console = Console(file=file, width=80, color_system="standard", markup=False, highlight=False, emoji=False)
    show(REPORTS["chutes"], Screen(console=console))
    codes = {code for found in COLOUR.findall(file.getvalue()) for code in found[2:-1].split(";")}
    assert codes <= {"", "0", "1", "2", "3", "4"}, "bold and dim, and no colour"
    assert "429 FULL 1s" in file.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "utf-16"])
@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("name", ["chutes", "console", "hostile"])
def test_no_encoding_is_too_small(name: str, encoding: str, colour: bool) -> None:
    report = REPORTS[name]
    printed = shown(report, 70, encoding=encoding, colour=colour, snippets=True)
    for gateway in report.gateways:
        assert gateway.label in COLOUR.sub("", printed)


def test_a_dash_is_a_dash_where_there_is_no_longer_one() -> None:
    text = words(shown(REPORTS["chutes"], encoding="ascii"))
    assert "raw | 200 PASS | 429 FULL 1s | - | -" in text
    assert '"Example Console - Sign in".' in words(shown(REPORTS["console"], 120, encoding="ascii"))


def code_of(found: DoctorReport, place: int = 0) -> list[str]:
    snippets = found.gateways[place].snippets
    assert snippets is not None
    return [snippets.python, snippets.model_list, snippets.config]


def pasted(printed: str, code: str) -> bool:
    """Whether the code is there as it is, from column 0: copied, it runs."""
    return f"\n{code.rstrip()}\n" in printed


@pytest.mark.parametrize("terminal", [True, False])
def test_one_gateway_with_which_all_is_well_shows_its_python(terminal: bool) -> None:
    printed = shown(REPORTS["good"], terminal=terminal)
    assert [pasted(printed, code) for code in code_of(REPORTS["good"])] == [True, False, False]


def test_otherwise_snippets_come_when_they_are_asked_for() -> None:
    three = REPORTS["three"]
    for found in (three, REPORTS["full"], report(good_gateway(), chutes_gateway(), status=Exit.GOOD)):
        assert [pasted(shown(found), code) for code in code_of(found)] == [False, False, False]
    printed = shown(three, snippets=True)
    assert all(pasted(printed, code) for place in (0, 1) for code in code_of(three, place))


def test_several_gateways_end_in_one_line_each() -> None:
    last = shown(REPORTS["three"]).partition("All gateways\n")[2].split("\n\n")[0]
    assert [words(line) for line in last.split("\n")] == [
        "PASS https://eu.llm.example.com/v1 works with bearer",
        "PASS https://llm.chutes.example/v1 works with bearer",
        "FAIL https://llm.example.com/v1 The key is wrong",
    ]
    assert "All gateways" not in shown(REPORTS["good"])
    assert len(re.findall(r"^\d+/20  https", shown(REPORTS["many"]), re.MULTILINE)) == 20


def test_a_gateway_whose_check_failed_says_which() -> None:
    failed = chutes_gateway().checks[2].model_copy(update={"outcome": FAIL})
    one = chutes_gateway().model_copy(update={"checks": (failed,), "outcome": FAIL})
    last = shown(report(one, good_gateway(), status=Exit.FAILED)).partition("All gateways\n")[2]
    assert words(last.split("\n")[0]) == "FAIL https://llm.chutes.example/v1 tools failed"


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("good", "PASS (exit status 0) in 3.21 s"),
        ("wrong-key", "FAIL (exit status 1) in 3.21 s"),
        ("full", "CAPACITY (exit status 3) in 3.21 s"),
    ],
)
def test_the_last_line_is_the_result(name: str, end: str) -> None:
    assert shown(REPORTS[name]).rstrip("\n").split("\n")[-1] == end


def test_an_installation_that_is_well_is_one_line_and_a_trouble_is_shown() -> None:
    assert "  plugin 0.5.0, litellm 1.106.2, Python 3.11.9\n  3 checks: PASS\n" in shown(REPORTS["good"])
    text = words(shown(REPORTS["console"]))
    assert 'litellm version FAIL 1.89.0 is older than 1.90.0; pip install "litellm>=1.90.0"' in text
    assert "2 checks: PASS" in text
    assert "served after 2 refusals" not in text


def test_an_installation_check_that_passes_with_advice_gives_it() -> None:
    old = Check(name="litellm", outcome=PASS, words="1.105.3; it logs keys at DEBUG", hint="leave LITELLM_LOG unset")
    away = Check(name="redis", outcome=Outcome.SKIPPED, words="none is configured")
    text = words(shown(report(good_gateway(), status=Exit.GOOD, installation=(old, away))))
    assert "litellm PASS 1.105.3; it logs keys at DEBUG; leave LITELLM_LOG unset" in text
    assert "1 check: PASS skipped: redis (none is configured)" in text


def test_cells_without_an_answer_or_with_a_page_say_so() -> None:
    text = words(shown(REPORTS["console"], 120))
    assert "none 200 FAIL html 405 FAIL html 200 FAIL html FAIL broken-off" in text
    assert "--- broken-off: the connection was closed (chat, with /v1: none)" in text


def test_a_gateway_of_which_nothing_was_asked_has_no_tables() -> None:
    bare = good_gateway().model_copy(update={"matrix": (), "checks": (), "outcome": Outcome.SKIPPED})
    printed = shown(report(bare, status=Exit.FAILED))
    assert "credential" not in printed
    assert "outcome" not in printed


def test_chat_is_after_the_listing_and_the_other_form_after_the_given_one() -> None:
    at = Forms("https://llm.example.com", "https://llm.example.com/v1")
    cells = [at.cell(each, "raw", 200, PASS, other=other) for other in (True, False) for each in (CHAT, LISTING)]
    one = good_gateway().model_copy(update={"matrix": tuple(cells)})
    heads = block(shown(report(one, status=Exit.GOOD)), "listing    chat")[:2]
    assert [words(each) for each in heads] == [
        "listing chat listing chat",
        "credential no /v1 no /v1 with /v1 with /v1",
    ]


def test_hostile_words_keep_every_letter_that_can_be_shown() -> None:
    assert "额度不足" in HOSTILE
    assert "额度不足" in shown(REPORTS["hostile"], 200)
