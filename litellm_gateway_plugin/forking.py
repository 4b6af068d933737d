"""What has to be made anew in a forked child. Standard library only."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Something with locks or threads, which are the parent's after a fork."""

    def after_fork(self) -> None: ...


_renewed: weakref.WeakKeyDictionary[Renewable, None] = weakref.WeakKeyDictionary()


def renew_after_fork(thing: Renewable) -> None:
    """Have `after_fork()` called in every child, in the order in which this was called, while the thing lives."""
    _renewed[thing] = None


def _in_child() -> None:
    for thing in list(_renewed):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
