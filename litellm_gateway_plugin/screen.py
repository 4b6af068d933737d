"""What the command line prints: plain lines when they go into a pipe, with a little colour on a terminal.

Colour comes from rich, so `NO_COLOR`, `TERM=dumb` and the like are respected. No text is ever read as markup, and what
came from a gateway or a model is printed without its control characters.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .printable import printable

INDENT = "  "
NAME_WIDTH = 10
MIN_WIDTH = 30

PLAIN = str.maketrans({"–": "-", "—": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"'})  # noqa: RUF001
"""How our own punctuation is written where the output cannot encode it."""

Piece = tuple[str, str]
"""A text and its style."""


class Screen:
    """Standard output, or standard error.

    Args:
        stderr: whether it is standard error.
        console: what to print with, in the place of either.
    """

    def __init__(self, *, stderr: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=stderr, markup=False, highlight=False, emoji=False)

    def title(self, text: str) -> None:
        """The first line of all."""
        self._say(text, style="bold")

    def heading(self, text: str, style: str = "") -> None:
        """A new step, set off by an empty line."""
        self._console.print()
        self._paragraph(text, style=f"bold {style}".rstrip())

    def gap(self) -> None:
        """An empty line."""
        self._console.print()

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

    def table(self, rows: Sequence[Sequence[Piece]], heads: Sequence[str] = ()) -> None:
        """Rows of pieces, never wider than the terminal: what does not fit goes on in the next line of its cell."""
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=bool(heads), header_style="bold"
        )
        for head in heads or [""] * max(map(len, rows), default=0):
            table.add_column(Text(self._safe(head)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(self._safe(text), style=style) for text, style in row))
        self._console.print(Padding(table, (0, 0, 0, len(INDENT)), expand=False))

    def code(self, source: str, language: str = "python", indent: str = INDENT * 2) -> None:
        """Source in a language that pygments knows, coloured on a terminal; it is never broken.

        Args:
            indent: stands before each line; "" for what is there to be copied.
        """
        if not self._console.is_terminal:
            for plain in source.splitlines():
                self._say(f"{indent}{plain}".rstrip())
            return
        from rich.syntax import Syntax

        source = self._safe(source)
        coloured = Syntax(source, language, theme="ansi_dark", background_color="default").highlight(source)
        coloured.rstrip()
        for line in coloured.split("\n"):
            indented = Text(indent).append_text(line)
            indented.rstrip()
            self._console.print(indented, soft_wrap=True)

    def write(self, text: str) -> None:
        """A piece of a line, at once."""
        self._console.print(self._safe(text), end="", soft_wrap=True)
        self._console.file.flush()

    @contextmanager
    def working(self, text: str, lasting: Collection[str] = ()) -> Iterator[Callable[[str], None]]:
        """Show on a terminal that something takes its time.

        Args:
            text: what begins.
            lasting: further texts that a pipe gets too, a line each; of everything else it sees nothing.

        Yields:
            What shows another text in the place of this one; to be called from any thread.
        """
        if not self._console.is_terminal:
            yield lambda further: self._say(further) if further in lasting else None
            return
        with self._console.status(Text(self._safe(text))) as status:
            yield lambda further: status.update(Text(self._safe(further)))

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
        shown, encoding = printable(text), self._console.encoding
        try:
            shown.encode(encoding)
        except UnicodeEncodeError:
            shown = shown.translate(PLAIN).encode(encoding, "replace").decode(encoding, "replace")
        return shown
