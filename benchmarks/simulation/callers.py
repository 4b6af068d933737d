"""What callers do when the upstream has no room: as stock litellm, with the gate, or by looking into the upstream."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from litellm_gateway_plugin.gate import Gate, Pass, Place, Ticket

from .sharing import Sharers
from .world import Call, World

PLACE = Place.of("https://gateway.example", "model", "key")
REFUSED = "No room."

INITIAL_RETRY_DELAY, MAX_RETRY_DELAY, JITTER = 0.5, 8.0, 0.75
"""litellm/constants.py"""


def router_delay(retry: int, hint: float | None, chance: float) -> float:
    """As `litellm.calculate_retry_after`, which the Router waits for before this retry (from 0) of one deployment."""
    if hint is not None and 0 < hint <= 60:
        return hint + JITTER * chance
    return min(INITIAL_RETRY_DELAY * 2.0**retry, MAX_RETRY_DELAY) + JITTER * chance


def completion_delay(retry: int, hint: float | None, chance: float) -> float:  # noqa: ARG001  one signature for both
    """As `litellm.completion(num_retries=…)`: at once, then 1, 2, 4, 8, 10, 10, … seconds, whatever the hint says."""
    return min(2.0 ** (retry - 1), 10.0) if retry else 0.0


class Stock:
    """No gate: whoever is refused comes again after a while."""

    def __init__(self, world: World, delay: Callable[[int, float | None, float], float]) -> None:
        self._world = world
        self._delay = delay

    def begin(self, call: Call) -> None:
        self._world.send(call)

    def refused(self, call: Call, hint: float | None) -> None:
        world = self._world
        if call.asked > world.scene.retries:
            world.fail(call)
        else:
            moment = world.now + self._delay(call.asked - 1, hint, world.chance.random())
            world.at(moment, lambda: world.send(call))

    def answered(self, call: Call) -> None: ...

    def room_changed(self) -> None: ...


class Line:
    """The bound: one line for everybody, which sees the upstream's room from inside."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._line: deque[Call] = deque()
        self._coming = 0

    def begin(self, call: Call) -> None:
        call.delay = 0.0
        self._line.append(call)
        self.room_changed()

    def refused(self, call: Call, hint: float | None) -> None:  # noqa: ARG002  as the others
        self._line.appendleft(call)

    def answered(self, call: Call) -> None: ...

    def room_changed(self) -> None:
        world = self._world
        while self._line and world.busy < world.room:
            call = self._line.popleft()
            call.asked += 1
            world._come(call)


class Gated:
    """The package's gate in each process; with `share`, its throttles also learn from one another."""

    def __init__(self, world: World, *, share: bool) -> None:
        self._world = world
        self.gates = [
            Gate(clock=lambda: world.now, chance=lambda seconds: world.chance.uniform(0.0, seconds), pacemaker=False)
            for _ in range(world.scene.processes)
        ]
        self._beats_at = [math.inf] * world.scene.processes
        self._numbers: dict[Call, int] = {}
        self._waiting: dict[Call, Ticket] = {}
        self._passes: dict[Call, Pass] = {}
        self.sharers = Sharers(world, self.gates, self._beat) if share else None

    def begin(self, call: Call) -> None:
        self._world.at(call.born + self._world.scene.timeout, lambda: self._expire(call))
        self._ask(call)

    def refused(self, call: Call, hint: float | None) -> None:
        self._passes.pop(call).refused(hint, REFUSED, account=False)
        if call.asked > self._world.scene.retries:
            self._world.fail(call)
            self._beat(call.process)
        else:
            self._ask(call)

    def answered(self, call: Call) -> None:
        passed = self._passes.pop(call)
        passed.accepted()
        passed.leave()
        self._beat(call.process)

    def room_changed(self) -> None: ...

    def _ask(self, call: Call) -> None:
        """At the gate, with the place in line that it has had before."""
        expires_at = call.born + self._world.scene.timeout
        number = self._numbers.get(call, -1)
        ticket = Ticket((PLACE,), expires_at, lambda: self._settle(call, ticket), number)
        self._waiting[call] = ticket
        if self.gates[call.process].ask(ticket):
            self._settle(call, ticket)
        self._numbers[call] = ticket.number
        self._beat(call.process)

    def _settle(self, call: Call, ticket: Ticket) -> None:
        del self._waiting[call]
        if ticket.granted is None:
            self._world.fail(call)
            return
        self._passes[call] = ticket.granted
        ticket.granted.send()
        self._world.send(call)

    def _expire(self, call: Call) -> None:
        ticket = self._waiting.pop(call, None)
        if ticket is not None:
            self.gates[call.process].withdraw(ticket)
            self._world.fail(call)
            self._beat(call.process)

    def _beat(self, process: int) -> None:
        """What the pacemaker's thread does: serve who can go, and come again when the gate says."""
        at = self.gates[process].beat()
        if at < self._beats_at[process]:
            self._beats_at[process] = at
            self._world.at(at, lambda: self._due(process, at))

    def _due(self, process: int, at: float) -> None:
        if self._beats_at[process] == at:
            self._beats_at[process] = math.inf
            self._beat(process)
