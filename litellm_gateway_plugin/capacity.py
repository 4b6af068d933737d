"""Is the gateway full, and when is it worth asking again? Pure: no clock of its own, standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

FULL_STATUSES = frozenset({429, 503, 529})
CAPACITY_WORDS = re.compile(
    r"capacity|overloaded|no instances available|no available (?:channel|server|instance|worker|backend)"
    r"|exhausted all available|too[ _]many[ _]requests|rate[ _-]?limit|server is busy|queue is full",
    re.IGNORECASE,
)
LONGEST_WAIT = 3600.0
RESETS = ("requests", "tokens", "")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def is_capacity(status: int, headers: Mapping[str, str], text: str) -> bool:
    """Whether an answer says that the gateway is full or the caller too fast.

    429, 503 and 529 do; another 5xx when its words say so (Chutes answers 500 "exhausted all available targets", Envoy
    sets `x-envoy-overloaded`). 402 is a quota, and a 4xx that merely holds the word is not meant.
    """
    if status in FULL_STATUSES:
        return True
    return status >= 500 and ("x-envoy-overloaded" in headers or bool(CAPACITY_WORDS.search(text)))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until it is worth asking again, clamped to an hour, or None without a hint.

    Args:
        headers: of the refusal, names in lower case.
        now: seconds since the epoch, for dates.

    Sources: `retry-after-ms`, `Retry-After` (RFC 9110, section 10.2.3: seconds or a date; fractions are seen),
    `llm_provider-retry-after` (the LiteLLM proxy's name), `x-ratelimit-reset-*` whose `remaining` is 0.
    """
    for seconds in _hints(headers, now):
        if seconds is not None and seconds >= 0:
            return min(seconds, LONGEST_WAIT)
    return None


def _hints(headers: Mapping[str, str], now: float) -> list[float | None]:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    hints = [None if milliseconds is None else milliseconds / 1000]
    hints += [_moment(headers.get(name, ""), now) for name in ("retry-after", "llm_provider-retry-after")]
    for kind in RESETS:
        tail = f"-{kind}" if kind else ""
        if headers.get(f"x-ratelimit-remaining{tail}") == "0":
            hints.append(_reset(headers.get(f"x-ratelimit-reset{tail}", ""), now))
    return hints


def _moment(text: str, now: float) -> float | None:
    number = _number(text)
    if number is not None or not text.strip():
        return number
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() - now)


def _reset(text: str, now: float) -> float | None:
    """A reset is a duration ("6m0s", "1.5"), or a moment in epoch seconds or milliseconds."""
    number = _number(text)
    if number is None:
        parts = DURATION.findall(text)
        return sum(float(amount) * UNIT_SECONDS[unit] for amount, unit in parts) if parts else None
    if number > 1e11:
        number /= 1000
    return max(0.0, number - now) if number > 1e8 else number


def _number(text: str) -> float | None:
    try:
        number = float(text.strip())
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None
