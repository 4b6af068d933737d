"""What the command line prints: plain lines when they go into a pipe, with a little colour on a terminal.

Colour comes from rich, so `NO_COLOR`, `TERM=dumb` and the like are respected. No text is ever read as markup, and what
came from a gateway or a model is printed without its control characters.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

INDENT = "  "
NAME_WIDTH = 10
MIN_WIDTH = 30


class Screen:
    """Standard output, or standard error.

    Args:
        stderr: whether it is standard error.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        self._console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)

    def title(self, text: str) -> None:
        """The first line of all."""
        self._say(text, style="bold")

    def heading(self, text: str) -> None:
        """A new step, set off by an empty line."""
        self._console.print()
        self._paragraph(text, style="bold")

    def line(self, text: str, style: str = "") -> None:
        """A sentence below a heading."""
        self._paragraph(text, INDENT, INDENT, style)

    def fact(self, name: str, text: str, style: str = "") -> None:
        """A name and what it stands for; further lines of a long text go below its beginning."""
        head = f"{INDENT}{name:<{NAME_WIDTH}}"
        self._paragraph(text, head, " " * len(head), style)

    def verbatim(self, text: str, style: str = "") -> None:
        """Something to copy: it is never broken."""
        for line in text.splitlines():
            self._say(f"{INDENT}{line}".rstrip(), style)

    def code(self, source: str) -> None:
        """Python, coloured on a terminal."""
        if not self._console.is_terminal:
            self.verbatim(textwrap.indent(source, INDENT))
            return
        from rich.syntax import Syntax

        coloured = Syntax(source, "python", theme="ansi_dark", background_color="default").highlight(source)
        coloured.rstrip()
        for line in coloured.split("\n"):
            self._console.print(Text(INDENT * 2).append_text(line), soft_wrap=True)

    def write(self, text: str) -> None:
        """A piece of a line, at once."""
        self._console.print(self._safe(text), end="", soft_wrap=True)
        self._console.file.flush()

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show on a terminal that something takes its time; a pipe sees nothing of it."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(Text(self._safe(text))):
            yield

    def _paragraph(self, text: str, first: str = "", further: str = "", style: str = "") -> None:
        if not self._console.is_terminal:
            self._say(first + text, style)
            return
        width = max(self._console.width, MIN_WIDTH)
        for line in textwrap.wrap(
            text, width, initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
        ):
            self._say(line, style)

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(self._safe(text), style=style), soft_wrap=True)

    def _safe(self, text: str) -> str:
        """The text without control characters, and with nothing in it that the output cannot encode."""
        shown = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
        encoding = self._console.encoding
        return shown.encode(encoding, "replace").decode(encoding, "replace")
