"""What the gateways list, kept: in this process, and on shelves that outlive it. State only.

A listing is fresh for a while. After that it is still given, so that nobody waits and a gateway that is down keeps its
models, and whoever asked has it read anew (`discovery.py`). Listings are kept apart by key: two keys may see different
models. Everything is bounded: the listing that was not used for longest goes first.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import platformdirs

from .catalogue import Listing
from .dialects import unpack
from .negotiation import Ask
from .recent import Recent

logger = logging.getLogger("litellm_gateway_plugin")

FRESH_S = 300.0
"""Seconds for which a listing is not read again."""

SPREAD = 0.1
"""Who has a listing from somebody else waits up to this part of its time longer before reading it anew: of many
processes that have it from the same moment, one reads it and the others find what that one has read."""

RETRY_S = 15.0
"""Seconds before a listing that could not be read is asked for again in the background."""

MOST_KEPT = 256
OLDEST_S = 30 * 24 * 3600.0
MOST_ON_DISK = 64
MOST_BYTES = 4 * 1024 * 1024
HEADER = b"litellm-gateway listing 1 "
LONGEST_HEADER = 100


class Shelf(Protocol):
    """Listings that outlive the process; never needed for success."""

    def recall(self, base: str, key: str | None) -> tuple[bytes, float] | None:
        """A packed listing and the moment when it was read, in Unix seconds."""

    def note(self, base: str, key: str | None, packed: bytes) -> None:
        """Keep a listing that was read just now."""


@dataclass(slots=True)
class Kept:
    """A listing, and until when it is not read again."""

    listing: Listing
    until: float


Name = tuple[str, str]
"""Base as given, fingerprint of the key."""


@dataclass(eq=False)
class Listings:
    """The listings of this process.

    Args:
        shelves: where listings outlive it, the nearest first.
        fresh_s: seconds for which a listing is not read again.
        learnt: told every listing that is new in this process, and where it is from.
        clock: monotonic seconds.
        now: Unix seconds.
        chance: from 0 to 1.
    """

    shelves: Sequence[Shelf] = ()
    fresh_s: float = FRESH_S
    learnt: Callable[[Ask, Listing], None] = lambda ask, listing: None
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
    version: int = 0
    _kept: Recent[Name, Kept] = field(init=False, default_factory=lambda: Recent(MOST_KEPT))
    _failed: Recent[Name, float] = field(init=False, default_factory=lambda: Recent(MOST_KEPT))
    _missing: Recent[Name, bool] = field(init=False, default_factory=lambda: Recent(MOST_KEPT))
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def find(self, ask: Ask) -> Listing | None:
        """The last listing, however old; None when none is known. Reads the shelves the first time."""
        with self._lock:
            kept = self._kept.use(name_of(ask))
            if kept is not None or name_of(ask) in self._missing:
                return kept.listing if kept is not None else None
            self._missing.put(name_of(ask), True)
        return self._recalled(ask, newer=False)

    def is_known(self, ask: Ask) -> bool:
        """Whether this process knows what `find` gives, so that it reads no shelf."""
        return name_of(ask) in self._kept or name_of(ask) in self._missing

    def fresh(self, ask: Ask) -> Listing | None:
        """The listing while it need not be read again; an empty one for a gateway that has none."""
        found = self.find(ask)
        return found if found is not None and not self.is_due(ask) else None

    def is_due(self, ask: Ask) -> bool:
        """Whether the listing is to be read now."""
        kept = self._kept.get(name_of(ask))
        due_at = max(kept.until if kept is not None else -math.inf, self._failed.get(name_of(ask), -math.inf))
        return self.clock() >= due_at

    def settled(self, ask: Ask) -> Listing | None:
        """The listing of this process, unless it is due. Reads no shelf."""
        kept = self._kept.get(name_of(ask))
        return kept.listing if kept is not None and not self.is_due(ask) else None

    def learn(self, ask: Ask, listing: Listing) -> None:
        """What the gateway lists now."""
        self.find(ask)
        self._put(ask, listing, self.clock() + self.fresh_s)
        for shelf in self.shelves if listing else ():
            shelf.note(str(ask.base), ask.key, listing.packed)

    def recall_newer(self, ask: Ask) -> Listing | None:
        """The listing that another process has read and that need not be read again; None without one."""
        return self._recalled(ask, newer=True)

    def failed(self, ask: Ask, *, passing: bool = True) -> None:
        """The listing could not be read: what is known stays, and it is not asked for again at once.

        Args:
            ask: which one.
            passing: whether that may be over soon.
        """
        with self._lock:
            self._failed.put(name_of(ask), self.clock() + (min(RETRY_S, self.fresh_s) if passing else self.fresh_s))

    def has_failed(self, ask: Ask) -> bool:
        """Whether the listing could not be read when it was last tried."""
        return name_of(ask) in self._failed

    def forget(self) -> None:
        """Forget what this process knows; the shelves stay as they are."""
        with self._lock:
            self._kept = Recent(MOST_KEPT)
            self._failed = Recent(MOST_KEPT)
            self._missing = Recent(MOST_KEPT)

    def after_fork(self) -> None:
        """In the child: the parent's lock belongs to a thread that does not exist here."""
        self._lock = threading.Lock()

    def _recalled(self, ask: Ask, *, newer: bool) -> Listing | None:
        """What a shelf holds: with `newer` only what is fresh, and without it only where nothing is known meanwhile."""
        for shelf in self.shelves:
            found = shelf.recall(str(ask.base), ask.key)
            if found is None:
                continue
            left = self._fresh_for(found[1])
            listing = unpack(found[0]) if left > 0 or not newer else None
            if listing:
                return self._put(ask, listing, self.clock() + left, newer=newer)
        return None

    def _fresh_for(self, read_at: float) -> float:
        age = self.now() - read_at
        left = self.fresh_s - age if age >= 0 else 0.0  # a moment to come is a clock that was wrong
        return left + SPREAD * self.fresh_s * self.chance() if left > 0 else 0.0

    def _put(self, ask: Ask, listing: Listing, until: float, *, newer: bool = True) -> Listing:
        with self._lock:
            before = self._kept.use(name_of(ask))
            if before is not None and not newer:
                return before.listing
            self._kept.put(name_of(ask), Kept(listing, until))
            self._failed.pop(name_of(ask), None)
            self._missing.pop(name_of(ask), None)
            self.version += 1
        if listing and (before is None or listing.packed != before.listing.packed):
            self.learnt(ask, listing)
        return listing


class DiskShelf:
    """Listings on disk, a file each, readable by the user alone.

    A file's name is a hash of the base and sixteen bits of a hash of the key: enough to keep the listings of two keys
    apart, too little to tell a key by.

    Args:
        folder: where they live; beside the guesses by default.
        now: Unix seconds.
    """

    def __init__(self, folder: Path | None = None, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.folder = (folder or Path(platformdirs.user_cache_dir("litellm-gateway-plugin"))) / "listings"
        self._warned = False

    def recall(self, base: str, key: str | None) -> tuple[bytes, float] | None:
        """A packed listing and the moment when it was read; None without one that is of use."""
        found = self.read(self.folder / file_name(base, key))
        return found if found is not None and self._now() - found[1] < OLDEST_S else None

    def read(self, path: Path) -> tuple[bytes, float] | None:
        """The packed listing in a file, however old, and the Unix second in which it was read; None without one."""
        try:
            with path.open("rb") as file:
                return taken(file.read(MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._warn("read", error)
            return None

    def files(self, base: str) -> list[Path]:
        """Where the listings of a base are kept, one for each key."""
        return sorted(self.folder.glob(f"{file_name(base, None).partition('-')[0]}-*"))

    def note(self, base: str, key: str | None, packed: bytes) -> None:
        """Replace the file in one step (mkstemp gives mode 0600)."""
        content = labelled(packed, self._now())
        if len(content) > MOST_BYTES:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix="new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(temporary).replace(self.folder / file_name(base, key))
            except BaseException:  # whatever ends it, the temporary file must not stay
                Path(temporary).unlink()
                raise
            self._tidy()
        except OSError as error:
            self._warn("written", error)

    def _tidy(self) -> None:
        """The oldest files beyond the number go."""
        files = sorted(self.folder.iterdir(), key=_written_at)
        for path in files[:-MOST_ON_DISK]:
            with suppress(OSError):  # another process may do the same
                path.unlink()

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("The cache of listings cannot be %s (%s); going on without it.", what, type(error).__name__)


def labelled(packed: bytes, read_at: float) -> bytes:
    """A packed listing as it lies on a shelf, with the Unix second in which it was read."""
    return HEADER + f"{int(read_at)}\n".encode() + packed  # never rounded up: it would have been read in the future


def taken(content: bytes) -> tuple[bytes, float]:
    """A packed listing from a shelf, and the Unix second in which it was read.

    Raises:
        ValueError: it was not put there by us.
    """
    label, _, packed = content.partition(b"\n")
    if not label.startswith(HEADER) or len(label) > LONGEST_HEADER:
        raise ValueError("not a listing of ours")
    return packed, float(label.removeprefix(HEADER))


def file_name(base: str, key: str | None) -> str:
    """The name under which a listing is kept on disk."""
    where = hashlib.blake2b(base.encode(), digest_size=12)
    whose = hashlib.blake2b((key or "").encode(), key=where.digest(), digest_size=2)
    return f"{where.hexdigest()}-{whose.hexdigest() if key is not None else 'none'}"


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def name_of(ask: Ask) -> Name:
    """What a listing is known under in this process."""
    return str(ask.base), ask.profile[2]
