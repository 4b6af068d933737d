"""What the documents say: the settings are fresh, the README's programs run as written, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and content."""
    return [(found[1], found[2]) for found in FENCE.finditer(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(prose(page)))
    return {title.strip().replace(" ", "-") for title in kept}


def run(source: str, cache: Path) -> str:
    """What a program prints, in an interpreter of its own and with no gateway, key or cache of the user's."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_ports(text: str) -> str:
    """A text in which every port of the loopback interface is the same."""
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)


def test_the_settings_page_is_what_the_script_writes() -> None:
    script = ROOT / "scripts" / "settings_table"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


README = blocks(ROOT / "README.md")
PROGRAMS = [number for number, (language, _) in enumerate(README) if language == "python"]
END = ("", "")


def test_the_readme_shows_programs_and_what_they_print() -> None:
    languages = [language for language, _ in README]
    assert list(pairwise(languages)).count(("python", "text")) >= 2


@pytest.mark.slow
@pytest.mark.usefixtures("isolated_environment")
@pytest.mark.parametrize("at", PROGRAMS)
def test_a_program_of_the_readme_runs_as_written(at: int, tmp_path: Path) -> None:
    """Each brings the gateway that it needs; a `text` block right after it is what it prints, but for the port."""
    printed = run(README[at][1], tmp_path)
    language, output = [*README, END][at + 1]
    assert without_ports(printed) == (without_ports(output) if language == "text" else "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    missing = []
    for target in LINK.findall(prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            missing.append(target)
    assert missing == []
