"""The record of what a gateway saw, with the questions that tests ask of it. Safe to use from any thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .seen import Seen


class Record:
    """Every request so far.

    Args:
        remember: how many are kept; the oldest are forgotten first.
    """

    def __init__(self, remember: int) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._seen: deque[Seen] = deque(maxlen=remember)

    @property
    def seen(self) -> list[Seen]:
        """The requests so far, in the order in which they were judged."""
        with self._changed:
            return list(self._seen)

    def requests(self, surface: str | None = None, verdict: str | None = None, **facts: Any) -> list[Seen]:
        """The requests of a surface, with a verdict, or with any other fact of `Seen`."""
        wanted = {"surface": surface, "verdict": verdict, **facts}
        asked = {name: value for name, value in wanted.items() if value is not None}
        return [seen for seen in self.seen if all(getattr(seen, name) == value for name, value in asked.items())]

    def styles(self, surface: str | None = None) -> list[str]:
        """The credential styles in which requests came, in order."""
        return [seen.style for seen in self.requests(surface)]

    def paths(self, surface: str | None = None) -> list[str]:
        """The paths to which requests came, in order."""
        return [seen.path for seen in self.requests(surface)]

    @property
    def refused(self) -> list[Seen]:
        """The requests whose credential was refused."""
        return self.requests(verdict="refused")

    @property
    def served(self) -> list[Seen]:
        """The requests that were served."""
        return self.requests(verdict="served")

    def worked_twice(self) -> list[Seen]:
        """The requests whose work had been done before, so that somebody pays twice.

        Two requests are the same work when their `marker` is the same. A listing is no work.
        """
        known: set[str] = set()
        again = []
        for seen in self.seen:
            if seen.worked and seen.surface != "models":
                if seen.marker in known:
                    again.append(seen)
                known.add(seen.marker)
        return again

    def clear(self) -> None:
        """Forget what was seen; the numbers go on."""
        with self._changed:
            self._seen.clear()

    def wait_for(
        self, number: int, timeout: float = 10.0, *, ended: bool = False, surface: str | None = None, **facts: Any
    ) -> list[Seen]:
        """Wait until so many requests have come, and return them.

        Args:
            timeout: seconds.
            ended: whether their answers must be over too.
            surface, facts: which requests count, as in `requests`.

        Raises:
            TimeoutError: they did not come.
        """
        found: list[Seen] = []

        def enough() -> bool:
            found[:] = [seen for seen in self.requests(surface, **facts) if seen.ended or not ended]
            return len(found) >= number

        self.wait_until(enough, timeout, f"{number} requests")
        return found

    def wait_until(self, true: Callable[[], bool], timeout: float = 10.0, what: str = "it") -> None:
        """Wait until something is true; it is looked at whenever the gateway has seen or done something.

        Raises:
            TimeoutError: it did not become true.
        """
        with self._changed:
            if not self._changed.wait_for(true, timeout):
                raise TimeoutError(f"waited {timeout} s for {what}; {len(self._seen)} requests were seen")

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _record(self, seen: Seen) -> None:
        with self._changed:
            self._seen.append(seen)
            self._changed.notify_all()
