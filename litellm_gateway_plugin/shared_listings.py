"""What the gateways list, on a shelf in Redis: what one process has read, no other one has to read for a while.

It is looked at when a listing is asked for the first time, which may be on an event loop's thread, and by the threads
that read listings. So a Redis that is away or slow costs one short wait, and is left alone for some seconds then.

In Redis there is no credential: base and key are a keyed hash, and every listing has an end.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .listings import MOST_BYTES, labelled, taken
from .sharing import PREFIX, client_of, shown

logger = logging.getLogger("litellm_gateway_plugin")

KEPT_FOR_S = 24 * 3600
REST_S = 5.0
"""Seconds for which a Redis that has failed is left alone."""

T = TypeVar("T")


class RedisShelf:
    """Listings in Redis.

    There is a connection for each look, of which there are few: nothing is left to close, or to a forked child.

    Args:
        url: of the Redis, with its password.
        secret: what names are hashed with, at most 64 bytes; the same for all processes of one operator.
        clock: monotonic seconds.
        now: Unix seconds.
    """

    def __init__(
        self,
        url: str,
        secret: bytes,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._secret = secret
        self._clock = clock
        self._now = now
        self._rests_until = -math.inf
        self._warned = False

    def recall(self, base: str, key: str | None) -> tuple[bytes, float] | None:
        """A packed listing and the moment when it was read; None without one that is of use."""
        content = self._look(lambda redis: redis.getrange(self.name(base, key), 0, MOST_BYTES))
        try:
            return taken(content) if content and len(content) <= MOST_BYTES else None
        except ValueError:  # somebody else's
            return None

    def note(self, base: str, key: str | None, packed: bytes) -> None:
        """Keep a listing that was read just now, for a day."""
        content = labelled(packed, self._now())
        if len(content) <= MOST_BYTES:
            self._look(lambda redis: redis.set(self.name(base, key), content, ex=KEPT_FOR_S))

    def name(self, base: str, key: str | None) -> str:
        """Where a listing is kept."""
        whose = "" if key is None else f"|{key}"
        hashed = hashlib.blake2b(f"{base}{whose}".encode(), key=self._secret, digest_size=16)
        return f"{PREFIX}:listing:{hashed.hexdigest()}"

    def _look(self, what: Callable[[Any], T]) -> T | None:
        """Do something with Redis; None where that cannot be done now."""
        if self._clock() < self._rests_until:
            return None
        try:
            client = client_of(self._url)
        except (ImportError, ValueError):  # `sharing.py` has told of it
            self._rests_until = math.inf
            return None
        try:
            with client as redis:
                return what(redis)
        except Exception as error:  # noqa: BLE001  whatever it is, listings are read from the gateways
            self._rests_until = self._clock() + REST_S
            self._warn(error)
        return None

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "Redis at %s cannot be used for listings (%s); going on without it.",
                shown(self._url),
                type(error).__name__,
            )
