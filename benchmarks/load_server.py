"""A gateway with room for so many requests at a time, which refuses the rest at once. Cheap, and open to any number of
connections.

python -m benchmarks.load_server ROOM SERVICE_SECONDS JITTER RETRY_AFTER|none

POST …/chat/completions   a small answer after the service time, or 429
GET  /tally               what was accepted and refused, as JSON
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import asdict, dataclass

from .answers import ANSWER
from .open_files import allow_many
from .server import Requests, answer

BACKLOG = 4096
SERVED = answer("200 OK", json.dumps(ANSWER).encode())
FULL = b'{"error":{"message":"Too many requests in flight, try again later","type":"rate_limit_error","code":429}}'


@dataclass
class Tally:
    """What the gateway has seen.

    Attributes:
        accepted: requests that were served.
        refused: requests that found no room.
        early: requests that came before the time that the last `Retry-After` had named.
        most: the greatest number of requests at work at once.
    """

    accepted: int = 0
    refused: int = 0
    early: int = 0
    most: int = 0


class Room:
    """The places of the gateway, and what it says when all are taken."""

    def __init__(self, places: int, service: float, jitter: float, retry_after: str) -> None:
        self.tally = Tally()
        self._places = places
        self._service, self._jitter = service, jitter
        self._chance = random.Random(places)
        self._hint = float(retry_after) if retry_after != "none" else None
        self._taken = 0
        self._not_before = 0.0
        field = f"\r\nRetry-After: {retry_after}" if self._hint is not None else ""
        self.full = answer(f"429 Too Many Requests{field}", FULL)

    def enter(self, now: float) -> float | None:
        """Take a place: the seconds that the work takes, or None when there is none left."""
        self.tally.early += now < self._not_before
        if self._taken == self._places:
            self._refuse(now)
            return None
        self._taken += 1
        self.tally.accepted += 1
        self.tally.most = max(self.tally.most, self._taken)
        return self._service * self._chance.uniform(1 - self._jitter, 1 + self._jitter)

    def leave(self) -> None:
        self._taken -= 1

    def _refuse(self, now: float) -> None:
        self.tally.refused += 1
        if self._hint is not None:
            self._not_before = now + self._hint


class Connection(Requests):
    """What comes in goes to the room."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room

    def _serve(self, head: bytes, body: bytes) -> None:  # noqa: ARG002  every request is the same work
        if head.startswith(b"GET /tally"):
            self._write(answer("200 OK", json.dumps(asdict(self._room.tally)).encode()))
            return
        loop = asyncio.get_running_loop()
        seconds = self._room.enter(loop.time())
        if seconds is None:
            self._write(self._room.full)
        else:
            loop.call_later(seconds, self._finish)

    def _finish(self) -> None:
        self._room.leave()
        self._write(SERVED)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def main() -> None:
    """Serve until the standard input ends; the first line of output is the port."""
    allow_many()
    places, service, jitter, retry_after = sys.argv[1:]
    room = Room(int(places), float(service), float(jitter), retry_after)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(room), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
