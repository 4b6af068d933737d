"""Orders of guesses on disk: what worked on a base, for the next process. Never a key, never needed for success.

A stale or wrong entry costs one refused request. A file that cannot be read or written is a warning, once.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import platformdirs

from .credentials import is_style
from .plan import Route

logger = logging.getLogger("litellm_gateway_plugin")

FILE_NAME = "guesses.json"
FORMAT = 1
MAX_ENTRIES = 512
MAX_BYTES = 1024 * 1024  # what is longer was not written here, and is cut in the middle: no JSON


class DiskGuesses:
    """The file of guesses, read on first use and replaced as a whole when something new was learnt.

    Args:
        folder: where it lives; the user's cache folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or Path(platformdirs.user_cache_dir("litellm-gateway-plugin"))) / FILE_NAME
        self._entries: dict[str, dict[str, Any]] | None = None
        self._lock = threading.Lock()
        self._warned = False

    def recall(self, base: str, surface: str) -> Route | None:
        """The route that worked here in an earlier process."""
        entry = self._loaded().get(f"{base}|{surface}")
        return route_of(entry) if entry else None

    def note(self, base: str, surface: str, route: Route) -> None:
        """Keep a route that works, when it is new."""
        name = f"{base}|{surface}"
        entry = entry_of(route)
        if self._loaded().get(name) == entry:
            return
        with self._lock:
            entries = self._read() | {name: entry}
            self._entries = dict(list(entries.items())[-MAX_ENTRIES:])
            self._write(self._entries)

    def all(self) -> dict[tuple[str, str], Route]:
        """Every route in the file, by base and surface, as it is now."""
        named = ((name.rpartition("|"), route_of(entry)) for name, entry in self._read().items())
        return {(base, surface): route for (base, _, surface), route in named if route is not None}

    def remove(self, names: Collection[tuple[str, str]]) -> None:
        """Take routes out of the file, by base and surface; what cannot be written is a warning."""
        with self._lock:
            gone = {f"{base}|{surface}" for base, surface in names}
            self._entries = {name: entry for name, entry in self._read().items() if name not in gone}
            self._write(self._entries)

    def after_fork(self) -> None:
        """In the child: the parent's lock belongs to a thread that does not exist here."""
        self._lock = threading.Lock()

    def _loaded(self) -> dict[str, dict[str, Any]]:
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                content = json.loads(file.read(MAX_BYTES))
            if content.get("format") != FORMAT:
                return {}
            return {name: entry for name, entry in content["guesses"].items() if route_of(entry)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            self._warn("read", error)
            return {}

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        """Replace the file in one step, readable by the user alone (mkstemp gives mode 0600)."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=FILE_NAME)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"format": FORMAT, "guesses": entries}, file)
                Path(temporary).replace(self.path)
            except BaseException:  # whatever ends it, the temporary file must not stay
                Path(temporary).unlink()
                raise
        except OSError as error:
            self._warn("written", error)

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("The cache of guesses cannot be %s (%s); going on without it.", what, type(error).__name__)


def entry_of(route: Route) -> dict[str, Any]:
    """A route as it is kept."""
    return {"style": route.style, "toggled": route.toggled, "slash": route.slash}


def route_of(entry: Any) -> Route | None:
    """The route that an entry names; None when it is none, whoever wrote it."""
    if not isinstance(entry, dict):
        return None
    style, toggled, slash = entry.get("style"), entry.get("toggled", False), entry.get("slash", False)
    if not isinstance(style, str) or not is_style(style) or not isinstance(toggled, bool):
        return None
    return Route(style, toggled, slash is True)
