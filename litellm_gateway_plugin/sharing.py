"""The gate and the guesses, shared by processes and machines through a Redis.

No call waits for Redis here. One daemon thread talks to it, the sharer: every `PERIOD_S` while requests come, at once
when it is nudged, and not at all when nothing is to be told. One round trip carries all throttles in use
(`sharing.lua`, which Redis runs in one step). Where Redis is away or slow, everything goes on with what this process
knows itself; the sharer looks again every second, and is back by itself.

In Redis there is no credential: accounts are named by fingerprints, guesses by keyed hashes, and every key has an end.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import math
import queue
import random
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from .credentials import share_fingerprints
from .forking import renew_after_fork
from .gate import Gate, Name, Told
from .guesses import entry_of, route_of
from .memory import Guesses
from .plan import Route
from .shared_throttle import FARTHEST_S, Moments, News, Standing, packed, unpacked
from .throttle import Window

logger = logging.getLogger("litellm_gateway_plugin")

PERIOD_S = 0.035
"""Seconds between two round trips while requests come; a process is asked to be heard of every `FRESH_S`."""
QUIET_PERIOD_S = 0.5
"""The same while requests are only under way. A process that is not heard of for 3 s counts as gone."""
RECENT_S = 1.0
SHORTEST_S = 0.004
"""Nudges that come closer together share a round trip."""
REST = 4
"""Round trips of rest after each: as a Redis gets slower, because they are many, its processes ask less often."""
TIMEOUT_S = 0.2
"""For connecting, and for every answer."""
RETRY_S = 1.0
FAREWELL_S = 0.5
START_S = 0.25
"""What `install()` waits for the first connection, at most."""

PREFIX = "litellm-gateway:1"
GUESSES = f"{PREFIX}:guesses"
MAX_GUESSES = 1000
GUESSES_FOR_S = 30 * 24 * 3600
CHANGED = b"#"
"""The field of the guesses that names their last change."""

SYNC = (Path(__file__).parent / "sharing.lua").read_text("utf-8")
NOTE = """
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], '#', time[1] .. '.' .. time[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
local over = redis.call('HLEN', KEYS[1]) - 1 - tonumber(ARGV[1])
if over > 0 then
  local new = {['#'] = true}
  for i = 3, #ARGV, 2 do new[ARGV[i]] = true end
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    if over > 0 and not new[name] then
      redis.call('HDEL', KEYS[1], name)
      over = over - 1
    end
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
"""KEYS[1]: the guesses. ARGV: how many there may be, their seconds, then names and guesses by turns."""


class SharedGuesses:
    """Guesses that other processes share: a mirror of those in Redis, then those on disk.

    Args:
        secret: what names are hashed with.
        disk: the guesses of this machine, None for none.
        tell: called when there is something for the others.
    """

    def __init__(self, secret: bytes, disk: Guesses | None, tell: Callable[[], None]) -> None:
        self._secret = secret
        self._disk = disk
        self._tell = tell
        self._mirror: dict[str, str] = {}
        self._news: dict[str, str] = {}

    def recall(self, base: str, surface: str) -> Route | None:
        """The route that worked here in another process."""
        entry = self._mirror.get(self._name(base, surface))
        found = read_guess(entry) if entry else None
        return found or (self._disk.recall(base, surface) if self._disk else None)

    def note(self, base: str, surface: str, route: Route) -> None:
        """Keep a route that works, when it is new."""
        name, entry = self._name(base, surface), json.dumps(entry_of(route))
        if self._mirror.get(name) != entry and len(self._news) < MAX_GUESSES:
            self._mirror[name] = self._news[name] = entry
            self._tell()
        if self._disk is not None:
            self._disk.note(base, surface, route)

    def after_fork(self) -> None:
        """In the child: what is to be told, the parent tells."""
        self._news = {}
        if self._disk is not None:
            self._disk.after_fork()

    def news(self) -> dict[str, str]:
        """What the others have not been told."""
        return dict(self._news)

    def told(self, news: Mapping[str, str]) -> None:
        """The others know it now."""
        for name, entry in news.items():
            if self._news.get(name) == entry:
                del self._news[name]

    def learn(self, entries: Mapping[bytes, bytes]) -> None:
        """What is in Redis now. What it has lost, by a restart, it is told again."""
        found = {_text(name): _text(entry) for name, entry in entries.items() if name != CHANGED}
        if not found:
            self._news = {**self._mirror, **self._news}
        self._mirror = dict(list({**self._mirror, **found, **self._news}.items())[-MAX_GUESSES:])

    def _name(self, base: str, surface: str) -> str:
        return hashlib.blake2b(f"{base}|{surface}".encode(), key=self._secret, digest_size=12).hexdigest()


def _text(data: bytes) -> str:
    """What somebody has put there; what is no text of ours fits nothing."""
    return data.decode("utf-8", "replace")


class Link:
    """The connection to a Redis, of one thread.

    Args:
        url: of the Redis, with its password.
        clock: monotonic seconds, the gate's.
    """

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moments = Moments()
        self._process = secrets.token_hex(8)
        self._client = client_of(url)
        self._sync = self._client.register_script(SYNC)
        self._note = self._client.register_script(NOTE)
        self._joined: set[str] = set()
        self._known = b""
        self._changed = b""

    def open(self) -> None:
        """Connect, try to write, load the script, and with that done compare the clocks."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hsetnx(GUESSES, CHANGED, "0").expire(GUESSES, GUESSES_FOR_S).execute()
        self.sync(())
        self.sync(())

    @property
    def has_guesses(self) -> bool:
        """Whether there are guesses that were not read yet."""
        return self._changed != self._known

    def sync(self, told: Sequence[Told]) -> list[tuple[Told, News]]:
        """Tell where this process stands, and hear where the others do."""
        keys = [GUESSES, *(key_of(each.name) for each in told)]
        sent_at = self._clock()
        values = [value for each in told for value in arguments(each.standing, self._moments)]
        answer = self._sync(keys, [self._process, *values])
        self._moments.saw(sent_at, float(answer[0]), self._clock())
        self._changed = answer[1]
        self._joined.update(keys[1:])
        now = self._clock()
        heard = zip(told, answer[2:], strict=True)
        return [(each, news(part, each.standing, self._moments, now)) for each, part in heard]

    def note(self, guesses: Mapping[str, str]) -> None:
        """Tell new guesses."""
        pairs = [part for pair in guesses.items() for part in pair]
        self._note([GUESSES], [MAX_GUESSES, GUESSES_FOR_S, *pairs])

    def guesses(self) -> dict[bytes, bytes]:
        """All guesses, and the name of their last change."""
        found: dict[bytes, bytes] = self._client.hgetall(GUESSES)
        self._known = self._changed
        return found

    def leave(self) -> None:
        """Tell the others that this process is gone."""
        pipeline = self._client.pipeline(transaction=False)
        for key in self._joined:
            pipeline.hdel(key, f"m:{self._process}")
        pipeline.execute()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class Sharer:
    """See the module.

    Args:
        url: of the Redis, with its password.
        secret: what fingerprints and names are hashed with.
        gate: None when there is none.
        disk: the guesses of this machine, None for none.
        clock: monotonic seconds, the gate's.

    Attributes:
        guesses: the guesses of all.
    """

    def __init__(
        self,
        url: str,
        secret: bytes,
        gate: Gate | None,
        disk: Guesses | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._gate = gate
        self._clock = clock
        self._closing = False
        self._link: Link | None = None
        self._inherited: list[Link] = []
        self._warned = False
        self._told_at = -math.inf
        self._rest_s = 0.0
        self.guesses = SharedGuesses(secret, disk, self.nudge)
        self._secret = secret
        self._begin()
        share_fingerprints(secret)
        if gate is not None:
            gate.shared = self.nudge
            gate.join(self.nudge)
        _sharers.add(self)
        renew_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._nudges: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._hearing: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()
        self._is_nudged = False
        self._tried = threading.Event()

    def start(self, seconds: float = START_S) -> None:
        """Connect, and wait for so long until that has succeeded or failed."""
        share_fingerprints(self._secret)  # the sharer before this one may have ended in the meantime
        self.nudge()
        self._tried.wait(seconds)

    def nudge(self) -> None:
        """There is something to tell or to ask. Takes no time and waits for nothing."""
        if self._thread is None:
            self._start()
        if not self._is_nudged:
            self._is_nudged = True
            self._nudges.put(None)

    def hear(self) -> Future[None] | None:
        """Have the guesses of the others read, now; done when they are. None while there is no Redis to ask."""
        if self._link is None:
            return None
        heard: Future[None] = Future()
        self._hearing.put(heard)
        self.nudge()
        return heard

    def close(self) -> None:
        """Say farewell to the others and end, soon."""
        self._closing = True
        share_fingerprints(None)
        if self._gate is not None:
            self._gate.part()
            self._gate.shared = _nothing
        thread = self._thread
        self._nudges.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(FAREWELL_S)

    def after_fork(self) -> None:
        """In the child: the thread is the parent's, and so is the connection."""
        if self._link is not None:
            self._inherited.append(self._link)  # closing it would close the parent's
        self._link = None
        self._warned = False
        self._begin()
        if self._gate is not None and not self._closing:
            self._gate.join(self.nudge)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="litellm-gateway-sharer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            try:
                pause = self._turn()
            except Exception as error:  # noqa: BLE001  whatever it is, calls go on with what is known here
                self._lost(error)
                pause = RETRY_S * random.uniform(0.75, 1.25)  # noqa: S311  no secret
                self._sleep(pause)
            else:
                self._rest(pause)
            self._tried.set()
        self._farewell()

    def _turn(self) -> float | None:
        """One round trip, if there is anything to tell. Returns seconds until the next, None for when it is nudged."""
        link = self._link or self._connect()
        self._is_nudged = False
        told, busy = self._gate.survey(RECENT_S) if self._gate is not None else ([], False)
        if told and self._gate is not None:
            begun = self._clock()
            self._gate.learn(link.sync(told))
            self._told_at = self._clock()
            self._rest_s = REST * (self._told_at - begun)
        if link.has_guesses or not self._hearing.empty():
            self._read_guesses(link)
        notes = self.guesses.news()
        if notes:
            link.note(notes)
            self.guesses.told(notes)
        if busy:
            return max(PERIOD_S, self._rest_s)
        return QUIET_PERIOD_S if told else None

    def _read_guesses(self, link: Link) -> None:
        hearing = [self._hearing.get() for _ in range(self._hearing.qsize())]
        try:
            self.guesses.learn(link.guesses())
        finally:
            for each in hearing:
                if each.set_running_or_notify_cancel():  # else nobody waits any more
                    each.set_result(None)

    def _connect(self) -> Link:
        link = Link(self._url, self._clock)
        link.open()
        self.guesses.learn(link.guesses())
        self._link = link
        if self._gate is not None and not self._closing:
            self._gate.join(self.nudge)
        if self._warned:
            self._warned = False
            logger.info("Redis at %s is back: capacity and guesses are shared again.", shown(self._url))
        self._tried.set()
        return link

    def _lost(self, error: Exception) -> None:
        link, self._link = self._link, None
        if self._gate is not None:
            self._gate.part()
        if link is not None:
            _close(link)
        if not self._warned and not self._closing:
            self._warned = True
            logger.warning(
                "Redis at %s cannot be used (%s). Calls go on; until it is back, capacity and guesses are not shared "
                "with other processes.",
                shown(self._url),
                type(error).__name__,
            )

    def _rest(self, seconds: float | None) -> None:
        """Until then, or until somebody has something to tell."""
        try:
            self._nudges.get(timeout=seconds)
        except queue.Empty:
            return
        early = self._told_at + max(SHORTEST_S, self._rest_s) - self._clock()
        if early > 0 and not self._closing:
            time.sleep(early)
        while not self._nudges.empty():
            self._nudges.get()

    def _sleep(self, seconds: float) -> None:
        """For so long, whoever nudges."""
        until = self._clock() + seconds
        self._tried.set()
        while not self._closing and (left := until - self._clock()) > 0:
            try:
                self._nudges.get(timeout=left)
            except queue.Empty:
                return

    def _farewell(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            with suppress(Exception):  # they will notice by themselves
                link.leave()
            _close(link)


def sharer_of(url: str, secret: bytes, gate: Gate | None, disk: Guesses | None) -> Sharer | None:
    """The sharer for a Redis; None, with a warning, when it cannot be used from here at all."""
    try:
        client_of(url).close()
    except ImportError:
        logger.warning(
            "Redis is configured and its client is missing: capacity and guesses are not shared with other processes. "
            'pip install "litellm-gateway-plugin[redis]"'
        )
    except ValueError:
        logger.warning("The URL of the Redis cannot be read: it must be like redis://:password@host:6379/0.")
    else:
        return Sharer(url, secret, gate, disk)
    return None


def key_of(name: Name) -> str:
    """Where a throttle is kept. A name holds an origin, and the id or the key's fingerprint."""
    return f"{PREFIX}:" + ":".join(quote(part, safe="/:@") for part in name)


def arguments(standing: Standing, moments: Moments) -> tuple[str | int | float, ...]:
    """What `sharing.lua` is told of one throttle."""
    window = standing.window
    return (
        standing.base,
        int(standing.changed),
        int(standing.leaving),
        standing.in_flight,
        standing.waiting,
        standing.slots,
        f"{standing.spacing:.6f}",
        _whole(standing.most),
        _whole(window.limit),
        int(window.on_trial),
        int(standing.trying),
        f"{moments.theirs(window.opens_at):.6f}" if window.opens_at else "0",
        packed(window, moments),
    )


def news(answer: Sequence[Any], standing: Standing, moments: Moments, now: float) -> News:
    """What `sharing.lua` answers about one throttle."""
    name, taken, text, opens, grant, may_try, others, first, count = answer
    opens_at = min(moments.ours(float(opens)), now + FARTHEST_S)
    begins_at = moments.ours(float(first))
    return News(
        name=name.decode(),
        window=None if taken or name.decode() == standing.base else read_window(text, opens_at, moments),
        opens_at=opens_at,
        share=math.inf if grant < 0 else float(grant),
        may_try=bool(may_try),
        others=int(others),
        slots=tuple(begins_at + number * standing.spacing for number in range(count)) if standing.spacing else None,
    )


def read_window(text: bytes, opens_at: float, moments: Moments) -> Window | None:
    """A window from Redis; None when it is none, whoever wrote it."""
    try:
        return unpacked(text.decode(), opens_at, moments)
    except (ValueError, RecursionError):
        return None


def read_guess(text: str) -> Route | None:
    """A guess from Redis; None when it is none, whoever wrote it."""
    try:
        return route_of(json.loads(text))
    except (ValueError, RecursionError):
        return None


def shown(url: str) -> str:
    """A Redis for a log line: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _whole(number: float) -> int:
    return -1 if math.isinf(number) else int(number)


def client_of(url: str) -> Any:
    """A client that waits for a moment, and does not try again by itself.

    Raises:
        ImportError: the package is not installed.
        ValueError: that is no URL of a Redis.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _close(link: Link) -> None:
    with suppress(Exception):  # it is broken, or was
        link.close()


def _nothing() -> None:
    """What is told to nobody."""


_sharers: weakref.WeakSet[Sharer] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    """So that the others need not wait until this process counts as gone."""
    for sharer in list(_sharers):
        sharer.close()
