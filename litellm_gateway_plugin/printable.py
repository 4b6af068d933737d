"""Text that a terminal shows and does not obey: no control characters, whoever wrote it. Standard library only."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without control characters; its lines stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def one_line(text: str) -> str:
    """The text on one line, without control characters."""
    return " ".join(printable(text).split())


def counted(number: int, what: str) -> str:
    """How many of something: "1 model", "2 models"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
