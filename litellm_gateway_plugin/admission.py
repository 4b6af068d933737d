"""One call at the gate: it asks, waits in its own way (a thread, or a coroutine), and gives its pass back."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from .credentials import fingerprint
from .errors import Full
from .gate import Closed, Gate, Pass, Place, Ticket
from .negotiation import Ask, Policy
from .wire import Deadline

logger = logging.getLogger("litellm_gateway_plugin")

SERVICE_UNAVAILABLE = 503
AS_GOOD_AS_S = 0.01
"""Seconds by which a hint may differ from the gate's own time and be reported as it is."""
CROWDED_S = 1.0
"""Seconds to come back in, when others are in front and no time is known."""


@dataclass(slots=True)
class Reserved:
    """A pass that was got for a call before the call began, and what that took.

    Attributes:
        passed: None as soon as the call has taken it, and when the waiting was in vain.
        waited_s: seconds that count against the call's time-out.
        number: of the ticket; the call keeps its place in line.
    """

    passed: Pass | None
    waited_s: float
    number: int = -1


reserved: ContextVar[Reserved | None] = ContextVar("litellm_gateway_reserved", default=None)
"""For the call that this context is about to make."""

another_is_left: ContextVar[bool] = ContextVar("litellm_gateway_another_is_left", default=False)
"""Whether whoever makes the calls of this context goes on to another upstream: then nothing is waited for."""


class Admission:
    """What one call has to do with the gate.

    Args:
        gate: None when there is none.
        ask: what the call wants to reach.
        deadline: of the call; waiting counts.
        longest: seconds that it may be held at most, None for no bound but the deadline.
        elsewhere: whether the same call would be served by another gateway now; then this one need not be waited for.
        clock: monotonic seconds, the gate's.

    Attributes:
        waited_s: seconds waited so far.
    """

    __slots__ = ("_ask", "_clock", "_deadline", "_elsewhere", "_gate", "_longest", "_number", "_passed", "waited_s")

    def __init__(
        self,
        gate: Gate | None,
        ask: Ask,
        deadline: Deadline,
        longest: float | None,
        elsewhere: Callable[[], bool] | None,
        clock: Callable[[], float],
    ) -> None:
        self._gate = gate
        self._ask = ask
        self._deadline = deadline
        self._longest = longest
        self._elsewhere = elsewhere
        self._clock = clock
        self._number = -1
        self._passed: Pass | None = None
        self.waited_s = 0.0

    def enter(self, model: str) -> None:
        """Wait in a thread until a request for this model may go.

        Raises:
            Full: it may not within the call's time; nothing was sent.
        """
        self.leave()
        while self._gate is not None and not self._goes(model):
            arrived = threading.Event()
            ticket = self._ticket(model, arrived.set)
            if not self._gate.ask(ticket):
                begun = self._clock()
                try:
                    arrived.wait(self._patience(ticket))
                finally:
                    self._over(ticket, begun)
            self._settle(ticket)

    async def aenter(self, model: str) -> None:
        """The same in a coroutine. Raises as `enter`."""
        self.leave()
        while self._gate is not None and not self._goes(model):
            loop = asyncio.get_running_loop()
            arrived: asyncio.Future[None] = loop.create_future()
            ticket = self._ticket(model, partial(_tell, loop, arrived))
            if not self._gate.ask(ticket):
                begun = self._clock()
                try:
                    await asyncio.wait((arrived,), timeout=self._patience(ticket))
                finally:
                    self._over(ticket, begun)
            self._settle(ticket)

    def accepted(self) -> None:
        """The request was let in."""
        if self._passed is not None:
            self._passed.accepted()

    def refused(self, error: Full, policy: Policy) -> None:
        """The gateway was full. An error that it gave no time gets that of the gate."""
        passed, self._passed = self._passed, None
        refuse(passed, error, policy)

    def leave(self) -> None:
        """The request is over."""
        passed, self._passed = self._passed, None
        if passed is not None:
            passed.leave()

    def take(self) -> Pass | None:
        """Hand the pass over to whoever reads the answer."""
        passed, self._passed = self._passed, None
        return passed

    def _goes(self, model: str) -> bool:
        """Whether the request has its pass, and the place is as open as it was when the pass was given."""
        if self._passed is None:
            self._take_reserved(model)
        if self._passed is None:
            return False
        if not self._passed.send():
            self.leave()
        return self._passed is not None

    def _take_reserved(self, model: str) -> None:
        """Somebody may have waited already in this call's name."""
        found = reserved.get()
        if found is None or self._number >= 0 or (found.passed and found.passed.place != place_for(self._ask, model)):
            return
        if found.passed is not None:
            self._passed, found.passed = found.passed, None
            self._number = found.number
        self._deadline.spend(found.waited_s)  # in vain, it may have been
        self.waited_s += found.waited_s
        found.waited_s = 0.0

    def _ticket(self, model: str, wake: Callable[[], None]) -> Ticket:
        place = place_for(self._ask, model)
        left = self._deadline.remaining()
        bounds = [seconds for seconds in (left, self._longest) if seconds is not None]
        if self._number < 0 and self._goes_elsewhere(place):
            bounds = [0.0]
        expires_at = self._clock() + min(bounds) if bounds else None
        return Ticket((place,), expires_at, wake, self._number)

    def _goes_elsewhere(self, place: Place) -> bool:
        """Whether the call is better refused than held. A Router's is held where only an answer is waited for."""
        is_left = another_is_left.get()
        if self._gate is None or not (is_left or self._elsewhere):
            return False
        waiting = self._gate.wait_for((place,))[0]
        return waiting > 0 and (is_left or (self._elsewhere is not None and waiting < math.inf and self._elsewhere()))

    def _patience(self, ticket: Ticket) -> float | None:
        return None if ticket.expires_at is None else max(0.0, ticket.expires_at - self._clock())

    def _over(self, ticket: Ticket, begun: float) -> None:
        """The wait is over, whatever ended it: what was granted is ours, to use or to give back."""
        logger.debug("gateway_held_s=%.3f gateway_base=%s", self._clock() - begun, self._ask.base)
        assert self._gate is not None  # noqa: S101  only with a gate is there anything to wait for
        self.waited_s += self._clock() - begun
        closed = self._gate.withdraw(ticket)
        if closed is not None:
            ticket.closed = closed
        self._passed = ticket.granted

    def _settle(self, ticket: Ticket) -> None:
        self._number = ticket.number
        self._passed = ticket.granted
        if ticket.granted is None:
            raise self._full(ticket.closed or Closed(0.0))

    def _full(self, closed: Closed) -> Full:
        base = str(self._ask.base)
        said = f"{closed.words.rstrip('. ')}." if closed.words else f"The gateway at {base} is busy with others."
        if closed.seconds > 0:
            when = f"The next one may go in {_rounded(closed.seconds)} s, and this call cannot wait for that"
        else:
            when = f"This call waited {_rounded(self.waited_s)} s for its turn, and its time is over"
        message = f"{said} {when}: raise timeout (or LITELLM_GATEWAY_MAX_WAIT_S), or try again later. Nothing was sent."
        return Full(message, api_base=base, status=closed.status, retry_after=closed.seconds or CROWDED_S, sent=False)


def place_for(ask: Ask, model: str) -> Place:
    """Where a request for a model goes."""
    return Place.of(ask.base.origin, model, fingerprint(ask.key))


def refuse(passed: Pass | None, error: Full, policy: Policy) -> None:
    """Tell the gate of a refusal; an error without a time gets the gate's."""
    error.mapped = policy.map_503 or error.status != SERVICE_UNAVAILABLE
    if passed is None:
        return
    about_key = policy.is_account_limit(error.headers, error.body)
    seconds = passed.refused(error.retry_after, error.message, account=about_key, status=error.status)
    if seconds > (error.retry_after or 0.0) + AS_GOOD_AS_S:
        error.retry_after = seconds
    logger.debug("gateway_full=%s gateway_base=%s gateway_pause_s=%.3f", error.status, error.api_base, seconds)


def _rounded(seconds: float) -> str:
    return f"{round(seconds, 1) or 0.1:g}"


def _tell(loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[Any]) -> None:
    """Wake a coroutine from any thread. Raises RuntimeError when its loop is closed."""
    loop.call_soon_threadsafe(_arrive, arrived)


def _arrive(arrived: asyncio.Future[Any]) -> None:
    if not arrived.done():
        arrived.set_result(None)
