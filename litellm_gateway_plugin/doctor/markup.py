"""HTML that is escaped by construction: only `element` makes `Html`, and every other text in it is escaped.

Standard library, and `printable`: a page holds no control characters either.
"""

from __future__ import annotations

from html import escape

from ..printable import printable

VOID = frozenset({"meta", "rect"})
"""Elements of ours that have no content and no end tag, or that SVG lets end at once."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | None) -> Html:
    """One element.

    Args:
        name: its tag.
        content: `Html` as it is, any other text escaped.
        attributes: a trailing underscore is dropped (`class_`), other ones stand for hyphens; None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{given} />")
    return Html(f"<{name}{given}>{joined(*content)}</{name}>")


def joined(*content: str) -> Html:
    """Several pieces, one after the other."""
    return Html("".join(each if isinstance(each, Html) else _escaped(each) for each in content))


def _escaped(text: str) -> str:
    return escape(printable(text), quote=True)
