"""One probe: a request made past litellm, and the cell of the matrix that its answer makes. No litellm, no memory.

What an answer means is read from the table that the calls use (`verdicts.py`), hooks included.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Literal

from ..answers import Answer, shorten
from ..capacity import retry_after
from ..catalogue import Listing
from ..credentials import hinted_styles
from ..errors import ConnectFailed, TimedOut, TLSFailed, Unreachable
from ..exchange import LARGEST_LISTING, Job, answer_of, read_limit, redirected, request_for
from ..negotiation import Ask, Attempt, Policy
from ..plan import Route
from ..printable import counted
from ..refusals import without_secrets
from ..urls import origin_of
from ..verdicts import Verdict, read_verdict, unwrapped
from ..wire import Deadline, SyncEdge, SyncReply, WireRequest
from .report import Cell, Outcome
from .targets import Target

Surface = Literal["models", "chat/completions"]
LISTING: Surface = "models"
CHAT: Surface = "chat/completions"

WORDS_LIMIT = 300
LARGEST_BODY = LARGEST_LISTING
"""Bytes that are read of any answer."""

TOO_LONG = f"the answer is longer than {LARGEST_BODY // 1024**2} MiB; it was not read to its end"
WANTS_PASSWORD = "it asks for user and password"  # noqa: S105  words

QUESTION = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 16}
"""What a chat probe asks. 16 is the least that the strictest servers accept."""

UNAUTHORIZED = 401

OUTCOMES: Mapping[Verdict, Outcome] = {Verdict.PROVEN: Outcome.PASS, Verdict.FULL: Outcome.CAPACITY}
"""Every other verdict is a failure."""

CONNECT_S = 5.0
"""Seconds for TCP and TLS together; a sixth of a longer timeout, half of a short one."""

NO_CONNECTION = "no connection within"
NO_TLS = "the TLS handshake got no answer"

FAULTS: tuple[tuple[type[Unreachable], str, str], ...] = (
    (ConnectFailed, "", "connect"),
    (TLSFailed, "", "tls"),
    (TimedOut, NO_TLS, "tls"),
    (TimedOut, NO_CONNECTION, "connect"),
    (TimedOut, "", "timeout"),
    (Unreachable, "", "broken-off"),
)
"""What a cell calls the errors after which there is no answer: their class, and what their words hold."""

FIREWALL = re.compile(
    r"just a moment|attention required|checking your browser|captcha|incapsula|imperva|sucuri|\bddos\b"
    r"|access denied|request (?:was |has been )?(?:blocked|rejected)|are (?:you )?(?:a )?human",
    re.IGNORECASE,
)
"""What the pages say that a firewall puts before a gateway (Cloudflare, Akamai, Imperva, F5), whatever their status."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One request to make.

    Attributes:
        style: the credential style, "none" for no credential.
        toggled: whether the base is asked in its other form.
        model: the id to send, "" for the listing.
        after: seconds to wait before it is sent.
    """

    target: Target
    surface: Surface
    style: str
    toggled: bool = False
    model: str = ""
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe has shown.

    Attributes:
        listing: what a listing lists.
        hints: the styles that a refusal asks for.
        reading: the beginning of the answer, by which two refusals are told apart; it may quote the key.
    """

    probe: Probe
    cell: Cell
    listing: Listing | None = None
    hints: tuple[str, ...] = ()
    reading: tuple[int, str] | None = None


class Allowance:
    """How many redirects may still be followed, so that no run sends more than was announced. For many threads."""

    def __init__(self, left: Mapping[str, int]) -> None:
        self._left = dict(left)
        self._lock = threading.Lock()

    def take(self, target: Target) -> bool:
        """Whether one more may be followed for this target; it is counted."""
        with self._lock:
            left = self._left.get(target.label, 0)
            self._left[target.label] = left - 1
            return left > 0


class Pace:
    """Spaces the requests to each target, as a rate limit of the operator's own wants it. For many threads.

    Args:
        interval: seconds from one to the next.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, target: Target) -> float:
        """Seconds to wait before the next one for this target may be sent; its place is taken."""
        with self._lock:
            now = self._clock()
            at = max(now, self._next.get(target.label, now))
            self._next[target.label] = at + self._interval
            return at - now


class Prober:
    """Makes probes, from any thread.

    Args:
        edge: sends the requests.
        policy: the decisions that hooks can change.
        timeout: seconds for a whole probe, its redirect included.
        redirects: how many may be followed.
        pace: of the requests.
        clock: monotonic seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        edge: SyncEdge,
        policy: Policy,
        timeout: float,
        redirects: Allowance,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._edge = edge
        self._policy = policy
        self._timeout = timeout
        self._redirects = redirects
        self._pace = pace or Pace(0.0)
        self._clock = clock
        self._sleep = sleep

    def __call__(self, probe: Probe) -> Probed:
        """Make a probe.

        Raises:
            errors.InvalidInput: the proxy or the CA file that the environment names cannot be used.
        """
        wait = max(probe.after, self._pace.take(probe.target))
        if wait:
            self._sleep(wait)
        begun, ask = self._clock(), ask_of(probe)
        try:
            reply = self._send(probe, ask)
            skew = skew_of(reply.headers, self._policy.now())
            body = reply.read(min(read_limit(probe.surface, reply.status, reply.headers) or LARGEST_BODY, LARGEST_BODY))
        except Unreachable as error:
            verdict = next(name for kind, said, name in FAULTS if isinstance(error, kind) and said in error.message)
            words = shorten(without_secrets(error.message, ask), WORDS_LIMIT)
            cell = cell_of(probe, Outcome.FAIL, verdict=verdict, words=words, seconds=self._clock() - begun)
            return Probed(probe, cell)
        seconds = self._clock() - begun
        if len(body) == LARGEST_BODY:
            facts = {"status": reply.status, "verdict": Verdict.BROKEN.name.lower(), "words": TOO_LONG}
            return Probed(probe, cell_of(probe, Outcome.FAIL, **facts, seconds=seconds, skew_s=skew))
        answer = answer_of(probe.surface, reply.status, reply.headers, body)
        return self._judged(probe, ask, answer, skew, seconds)

    def _send(self, probe: Probe, ask: Ask) -> SyncReply:
        connect = max(min(CONNECT_S, self._timeout / 2), self._timeout / 6)
        request, deadline = request_of(probe, ask), Deadline(self._timeout, connect)
        reply = self._edge.send(request, deadline)
        again = redirected(request, reply.status, reply.headers)
        if again is None or not self._redirects.take(probe.target):
            return reply
        reply.close()
        return self._edge.send(again, deadline)

    def _judged(self, probe: Probe, ask: Ask, given: Answer, skew: float | None, seconds: float) -> Probed:
        answer = unwrapped(given)
        verdict = read_verdict(answer, probe.model, self._policy.is_capacity)
        if answer.is_html and verdict is Verdict.FULL and FIREWALL.search(answer.words):
            verdict = Verdict.FAILED
        full = verdict is Verdict.FULL
        listed = self._policy.read_listing(answer.data) if answer.fits and probe.surface == LISTING else None
        listing = None if listed is None else harmless(listed, ask)
        cell = cell_of(
            probe,
            OUTCOMES.get(verdict, Outcome.FAIL),
            status=given.status,
            verdict=verdict.name.lower(),
            words=said(answer, ask, listing),
            html=answer.is_html,
            retry_after_s=retry_after(answer.headers, self._policy.now(), answer.text, math.inf) if full else None,
            seconds=seconds,
            skew_s=skew,
        )
        hints = asked_for(answer, ask.key) if verdict is Verdict.STYLE else ()
        return Probed(probe, cell, listing, hints, (answer.status, answer.text[:200]))


def cell_of(probe: Probe, outcome: Outcome, **facts: object) -> Cell:
    """The cell of a probe."""
    where = probe.target.base.form(probe.toggled)
    told = {"surface": probe.surface, "style": probe.style, "api_base": where, "toggled": probe.toggled}
    return Cell.model_validate({**told, "outcome": outcome, **facts})


def skipped(probe: Probe, words: str) -> Cell:
    """The cell of a probe that is not made, and why."""
    return cell_of(probe, Outcome.SKIPPED, words=words)


def ask_of(probe: Probe) -> Ask:
    """A probe as the core knows it; it knows every secret that an answer may quote."""
    target = probe.target
    user = target.base.userinfo
    others = tuple(part for part in (user, user.rpartition(":")[2]) if part)
    return Ask(target.base, probe.surface, target.key, probe.model, target.named, others=others)


def request_of(probe: Probe, ask: Ask) -> WireRequest:
    """The request of a probe."""
    chat = probe.surface == CHAT
    job = Job(ask, body=dict(QUESTION) if chat else None, method="POST" if chat else "GET")
    return request_for(job, Attempt(probe.surface, Route(probe.style, probe.toggled), probe.model))


def asked_for(answer: Answer, key: str | None) -> tuple[str, ...]:
    """The styles that a refusal asks for, but no name made from the key, which some refusals quote."""
    secret = (key or "").lower()
    hints = hinted_styles(answer.headers, answer.words)
    return tuple(style for style in hints if style not in secret and (len(secret) < 8 or secret not in style))


def harmless(listing: Listing, ask: Ask) -> Listing:
    """A listing without the ids that hold a secret of ours: ids are shown and pasted."""
    ids = "\n".join(listing.ids)
    if without_secrets(ids, ask) == ids:
        return listing
    return Listing(tuple(model for model in listing.models if without_secrets(model.id, ask) == model.id))


def said(answer: Answer, ask: Ask, listing: Listing | None) -> str:
    """What an answer says, for a person: short, on one line, without a secret."""
    words = replace(answer, text=without_secrets(answer.text, ask)).words
    if answer.fits:
        words = "" if listing is None else f"{counted(len(listing), 'model')} listed"
    elif 300 <= answer.status < 400:
        words = f"a redirect to {origin_of(answer.headers.get('location', '')) or 'another page'}, not followed"
    elif answer.is_html:
        words = f"a web page: {words}" if words else "a web page"
    elif answer.mismatch:
        words = f"{answer.mismatch}: {words}" if words else answer.mismatch
    if answer.status == UNAUTHORIZED and answer.headers.get("www-authenticate", "").lower().startswith("basic"):
        words = f"{words} ({WANTS_PASSWORD})".strip()
    return shorten(without_secrets(words, ask), WORDS_LIMIT)


def skew_of(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds by which a Date header (RFC 9110, section 6.6.1) is ahead of `now`; None without one that can be read."""
    try:
        when = parsedate_to_datetime(headers["date"])
        aware = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        return round(aware.timestamp() - now, 1)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
