"""The gate, the guesses and the listings through a real redis-server, which is killed, restarted and held meanwhile."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litellm_gateway_plugin import shared_listings, sharing
from litellm_gateway_plugin.catalogue import Listing
from litellm_gateway_plugin.credentials import fingerprint
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.discovery import Discovery
from litellm_gateway_plugin.gate import Gate, Pass, Place, Ticket
from litellm_gateway_plugin.handle import Gateway
from litellm_gateway_plugin.listings import FRESH_S, MOST_BYTES, DiskShelf, Listings, labelled
from litellm_gateway_plugin.negotiation import Ask
from litellm_gateway_plugin.plan import Route
from litellm_gateway_plugin.settings import load_settings
from litellm_gateway_plugin.shared_listings import KEPT_FOR_S, REST_S, RedisShelf
from litellm_gateway_plugin.shared_throttle import Moments, SharedThrottle
from litellm_gateway_plugin.sharing import Sharer, arguments, key_of, sharer_of
from litellm_gateway_plugin.testing import Manners, PickyGateway
from litellm_gateway_plugin.throttle import Bounds
from litellm_gateway_plugin.wire import WireOptions
from tests.support.core import BASE, Clock, ask
from tests.support.nginx import free_port
from tests.support.redis_server import RedisServer, redis_binary

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(redis_binary() is None, reason="redis-server is not installed: apt-get install redis-server"),
]

ROOT = Path(__file__).parents[2]
SECRET = b"the same in every process"
PASSWORD = "a-password-of-redis"
KEY = "sk-a-key-that-must-stay-here"
LONG_S = 20.0  # until when something has to happen


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


class Peer:
    """A process's gate and its sharer, in this process."""

    def __init__(self, url: str, upstreams: Bounds | None = None, accounts: Bounds | None = None) -> None:
        self.gate = Gate(upstreams or Bounds(), accounts or Bounds())
        self.sharer = Sharer(url, SECRET, self.gate, None)
        self.sharer.start(LONG_S)

    def ask(self, place: Place) -> Visit:
        return Visit(self.gate, place)

    def closed_for(self, place: Place) -> float:
        seconds = self.gate.wait_for((place,))[0]
        return 0.0 if math.isinf(seconds) else seconds


class Visit:
    """Somebody at the gate."""

    def __init__(self, gate: Gate, place: Place) -> None:
        self._gate = gate
        self._served = threading.Event()
        self.at = math.inf
        self.ticket = Ticket((place,), None, self._wake)
        if gate.ask(self.ticket):
            self._wake()

    def _wake(self) -> None:
        self.at = time.monotonic()
        if self.ticket.granted is not None:
            self.ticket.granted.send()
        self._served.set()

    def passed(self) -> Pass:
        assert self._served.wait(LONG_S)
        assert self.ticket.granted is not None
        return self.ticket.granted

    @property
    def waits(self) -> bool:
        return self.ticket.granted is None

    def end(self) -> None:
        """Leave, served or not."""
        self._gate.withdraw(self.ticket)
        if self.ticket.granted is not None:
            self.ticket.granted.leave()


@pytest.fixture
def peers(redis: RedisServer) -> Iterator[Callable[..., Peer]]:
    with ExitStack() as stack:

        def peer(*bounds: Bounds, url: str = redis.url) -> Peer:
            made = Peer(url, *bounds)
            stack.callback(made.sharer.close)
            return made

        yield peer


_places = iter(range(1_000_000))


@pytest.fixture
def place() -> Place:
    return Place.of(f"https://host-{next(_places)}.example.com", "model", fingerprint(KEY))


def until(what: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + LONG_S
    while not what():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


# One window for all ------------------------------------------------------------------------------------------------


def test_a_refusal_seen_by_one_holds_all(peers: Callable[..., Peer], place: Place) -> None:
    one, another = peers(), peers()
    another.ask(place).passed().leave()
    one.ask(place).passed().refused(1.5, "full", account=False)
    read = time.monotonic()
    until(lambda: another.closed_for(place) > 0)
    late, fresh = another.ask(place), peers().ask(place)
    assert late.waits
    assert fresh.waits
    until(lambda: not late.waits or not fresh.waits)  # one of them is the trial
    assert min(late.at, fresh.at) >= read + 1.5 - 0.001


def test_a_refusal_about_the_account_holds_its_other_models(peers: Callable[..., Peer], place: Place) -> None:
    one, another = peers(), peers()
    other_model = Place.of(place.account[1], "another", place.account[2])
    one.ask(place).passed().refused(5.0, "too fast", account=True)
    until(lambda: another.closed_for(other_model) > 3)
    fresh = peers()
    until(lambda: 2 < fresh.closed_for(other_model) <= 5.01)


def test_one_trial_for_all(peers: Callable[..., Peer], place: Place) -> None:
    many = [peers() for _ in range(4)]
    many[0].ask(place).passed().refused(0.3, "full", account=False)
    until(lambda: all(peer.closed_for(place) > 0 for peer in many[1:]))
    visits = [peer.ask(place) for peer in many]
    until(lambda: any(not visit.waits for visit in visits))
    assert len([visit for visit in visits if not visit.waits]) == 1
    first = next(visit for visit in visits if not visit.waits)
    first.passed().accepted()
    first.end()
    visits.remove(first)
    for visit in visits:  # one at a time is what it takes
        until(lambda: any(not visit.waits for visit in visits))
        visit.end()


def test_many_refusals_of_one_moment_are_one_episode(peers: Callable[..., Peer], place: Place) -> None:
    """Eight were under way in two processes and four were refused: five are too many, says each of the processes."""
    one, another = peers(), peers()
    visits = [peer.ask(place) for _ in range(4) for peer in (one, another)]
    passes = [visit.passed() for visit in visits]
    until(lambda: {throttle_of(peer, place).others for peer in (one, another)} == {4})
    for number in range(4):
        passes[number].refused(0.5, "full", account=False)
    until(lambda: throttle_of(one, place).window.limit == throttle_of(another, place).window.limit == 3)
    windows = [throttle_of(peer, place).window for peer in (one, another)]
    assert {window.ceiling for window in windows} == {5}
    assert {window.refusals for window in windows} == {1}
    for each in passes:
        each.leave()


def throttle_of(peer: Peer, place: Place) -> SharedThrottle:
    return peer.gate._throttle(place.upstream)


# A part of the limit for each -----------------------------------------------------------------------------------------


def test_the_limit_is_divided(peers: Callable[..., Peer], place: Place) -> None:
    many = [peers(Bounds(most=6)) for _ in range(3)]
    visits = list(chain.from_iterable([peer.ask(place) for peer in many] for _ in range(5)))
    until(lambda: sum(not visit.waits for visit in visits) == 6)
    while visits:  # whoever ends makes room for one more, whosever it is
        until(lambda: any(not visit.waits for visit in visits))
        ready = [visit for visit in visits if not visit.waits]
        assert len(ready) <= 6
        for visit in ready:
            visit.end()
            visits.remove(visit)


def test_fewer_places_than_processes_go_round(peers: Callable[..., Peer], place: Place) -> None:
    many = [peers(Bounds(most=1)) for _ in range(3)]
    had: set[int] = set()
    visits = [peer.ask(place) for peer in many]
    deadline = time.monotonic() + LONG_S
    while len(had) < 3:
        assert time.monotonic() < deadline
        ready = [number for number, visit in enumerate(visits) if not visit.waits]
        assert len(ready) <= 1
        for number in ready:
            had.add(number)
            visits[number].end()
            visits[number] = many[number].ask(place)
        time.sleep(0.001)
    for visit in visits:
        visit.end()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 40),
    mine=st.integers(0, 12),
    others=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=6),
)
def test_the_division_is_fair(redis: RedisServer, limit: int, mine: int, others: list[tuple[int, int, int]]) -> None:
    throttle = SharedThrottle(Bounds(most=limit), lambda seconds: 0.0, first_limit=math.inf)
    told = arguments(throttle.standing(mine, 0.0), Moments())
    name = f"division-{next(_places)}"
    with redis.client() as client:
        seconds = client.time()[0]
        for number, (flying, waiting, granted) in enumerate(others):
            client.hset(name, f"m:{number}", f"{flying} {waiting} {granted} 0 {seconds}")
        answer = client.register_script(sharing.SYNC)(["guesses", name], ["me", *told])
        assert client.ttl(name) > 0
    wants = {"me": mine, **{str(number): flying + waiting for number, (flying, waiting, _) in enumerate(others)}}
    held = sum(max(flying, granted) for flying, _, granted in others)
    assert answer[2][4] == max(0, min(fair_part(limit, wants, float(answer[0])), limit - held))


def fair_part(limit: int, wants: dict[str, int], now: float) -> int:
    """What `me` gets, by the plainest way to say it: one for each in turn, as long as it wants more."""
    parts = dict.fromkeys(wants, 0)
    rest = limit
    while rest >= len(hungry := sorted(each for each in wants if parts[each] < wants[each])) > 0:
        for each in hungry:
            parts[each] += 1
        rest -= len(hungry)
    if not hungry:
        return parts["me"] + (rest - math.ceil(rest / 4)) // len(wants)
    turn = int(now / 0.5)
    lucky = [each for place, each in enumerate(hungry) if (place + turn) % len(hungry) < rest]
    return parts["me"] + ("me" in lucky)


# Moments --------------------------------------------------------------------------------------------------------------


def test_requests_are_spaced_over_all_processes(peers: Callable[..., Peer], place: Place) -> None:
    many = [peers(Bounds(), Bounds(interval=0.1)) for _ in range(4)]
    visits = [peer.ask(place) for _ in range(4) for peer in many]
    for visit in visits:
        visit.passed()
    at = sorted(visit.at for visit in visits)
    for visit in visits:
        visit.end()
    assert at[-1] - at[0] >= 1.5 - 0.03
    assert at[-1] - at[0] < 4.0
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert min(gaps) > 0.05


# Redis comes and goes -------------------------------------------------------------------------------------------------


def test_redis_is_killed_and_comes_back(
    redis: RedisServer, peers: Callable[..., Peer], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="litellm_gateway_plugin")
    one, another = peers(), peers()
    one.ask(place).passed().leave()
    redis.kill()
    for _ in range(50):
        one.ask(place).passed().leave()
    until(lambda: one.gate._ask_others is None)
    for _ in range(200):
        one.ask(place).passed().leave()
    redis.start()
    until(lambda: one.gate._ask_others is not None and another.gate._ask_others is not None)
    one.ask(place).passed().refused(5.0, "full", account=False)
    until(lambda: another.closed_for(place) > 2)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in warnings if "cannot be used" in text] == warnings
    assert 1 <= len(warnings) <= 2  # one for each process that noticed


def test_a_redis_that_does_not_answer_holds_nobody_for_long(
    redis: RedisServer, peers: Callable[..., Peer], place: Place
) -> None:
    one = peers()
    one.ask(place).passed().leave()
    redis.freeze()
    try:
        begun = time.monotonic()
        for _ in range(300):
            one.ask(place).passed().leave()
        assert time.monotonic() - begun < 2.0  # the hold is 0.1 s, once
        until(lambda: one.gate._ask_others is None)
    finally:
        redis.thaw()
    until(lambda: one.gate._ask_others is not None)


def test_without_a_redis_nothing_is_held(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    peer = Peer(f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    begun = time.monotonic()
    for _ in range(100):
        peer.ask(place).passed().leave()
    assert time.monotonic() - begun < 5.0
    peer.sharer.close()
    assert len(caplog.records) == 1
    assert f"redis://127.0.0.1:{port}/0" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_wrong_password_is_one_warning_without_it(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(PASSWORD) as guarded:
        peer = Peer(guarded.url.replace(PASSWORD, "not-the-password"))
        peer.sharer.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not-the-password" not in caplog.text


def test_a_redis_that_cannot_be_written_to_is_one_warning(
    redis: RedisServer, peers: Callable[..., Peer], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.client() as client:
        client.config_set("maxmemory", 1)
        peer = peers()
        for _ in range(3):
            peer.ask(place).passed().leave()
        assert peer.gate._ask_others is None
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        client.config_set("maxmemory", 0)
    until(lambda: peer.gate._ask_others is not None)


def test_scripts_that_redis_has_forgotten_are_loaded_again(
    redis: RedisServer, peers: Callable[..., Peer], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    one, another = peers(), peers()
    with redis.client() as client:
        client.script_flush()
    one.ask(place).passed().refused(5.0, "full", account=False)
    until(lambda: another.closed_for(place) > 2)
    assert not caplog.records


def test_strange_values_in_redis_are_passed_over(
    redis: RedisServer, peers: Callable[..., Peer], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    strange = {"v": "x", "w": "[1]", "l": "?", "c": "1", "o": "9e99", "n": "9e99", "m:a": "?", "m:b": "1 1 1 1 9e99"}
    with redis.client() as client:
        client.hset(key_of(place.upstream), mapping=strange)
        client.hset(sharing.GUESSES, mapping={"a": "?", "b": '{"style": 5}', "#": "1"})
    one = peers()
    one.ask(place)
    until(lambda: throttle_of(one, place).is_member)
    assert throttle_of(one, place).window.limit >= 1
    assert throttle_of(one, place).window.opens_at < time.monotonic() + 3 * 3600
    assert not caplog.records


def test_nothing_stays_in_redis_for_ever_and_who_ends_is_gone(redis: RedisServer, place: Place) -> None:
    peer = Peer(redis.url)
    peer.ask(place).passed()
    peer.sharer.guesses.note("https://host.example.com/v1", "chat/completions", Route("raw"))
    until(lambda: len(redis.dump()) == 3)
    with redis.client() as client:
        assert all(0 < client.ttl(name) <= 31 * 24 * 3600 for name in client.scan_iter())
    peer.sharer.close()
    assert not [field for fields in redis.dump().values() for field in fields if field.startswith(b"m:")]


# Guesses --------------------------------------------------------------------------------------------------------------


def test_guesses_are_shared_and_survive_a_restart(redis: RedisServer, peers: Callable[..., Peer]) -> None:
    one = peers()
    one.sharer.guesses.note("https://a.example.com/v1", "chat/completions", Route("x-api-key", toggled=True))
    until(lambda: len(redis.dump()[sharing.GUESSES.encode()]) == 2)  # one guess, and the number of the last change
    fresh = peers().sharer.guesses
    assert fresh.recall("https://a.example.com/v1", "chat/completions") == Route("x-api-key", toggled=True)
    assert fresh.recall("https://a.example.com/v1", "embeddings") is None


def test_there_are_so_many_guesses_at_most(redis: RedisServer, peers: Callable[..., Peer]) -> None:
    with redis.client() as client:
        client.hset(sharing.GUESSES, mapping={f"{number}": "{}" for number in range(1500)})
    peers().sharer.guesses.note("https://a.example.com/v1", "chat/completions", Route("raw"))
    until(lambda: len(redis.dump()[sharing.GUESSES.encode()]) == sharing.MAX_GUESSES + 1)
    assert peers().sharer.guesses.recall("https://a.example.com/v1", "chat/completions") == Route("raw")


# Listings -------------------------------------------------------------------------------------------------------------


def listing(*ids: str) -> Listing:
    found = read_listing([*ids])
    assert found is not None
    return found


PACKED = listing("a").packed


def test_a_listing_is_there_for_others_for_a_day(redis: RedisServer) -> None:
    now = Clock()
    one, another = (RedisShelf(redis.url, SECRET, now=now) for _ in range(2))
    assert one.recall(BASE, KEY) is None
    one.note(BASE, KEY, PACKED)
    assert another.recall(BASE, KEY) == (PACKED, 1000.0)
    with redis.client() as client:
        (name,) = client.scan_iter()
        assert 0 < client.ttl(name) <= KEPT_FOR_S


def test_listings_in_redis_are_kept_apart_and_tell_no_key(redis: RedisServer) -> None:
    shelf = RedisShelf(redis.url, SECRET)
    base = "https://host.example.com/v1?token=a-query-token"
    keys = [KEY, "another", "", None]
    for key in keys:
        shelf.note(base, key, listing(f"for {key and key[:3]}").packed)
    found = [shelf.recall(base, key) for key in keys]
    assert [each and each[0] for each in found] == [listing(f"for {key and key[:3]}").packed for key in keys]
    assert RedisShelf(redis.url, b"the secret of somebody else").recall(base, KEY) is None
    with redis.client() as client:
        written = repr([(name, client.get(name)) for name in client.scan_iter()])
    for secret in (KEY, fingerprint(KEY), "a-query-token", "example.com"):
        assert secret not in written


@pytest.mark.parametrize(
    "content", [b"", b"[]", PACKED, labelled(b"?", 1000.0), labelled(PACKED, 1000.0)[:-4], b"x" * (MOST_BYTES + 1)]
)
def test_a_strange_value_in_redis_is_no_listing(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    shelf = RedisShelf(redis.url, SECRET)
    with redis.client() as client:
        client.set(shelf.name(BASE, KEY), content)
    assert Listings([shelf]).find(ask(key=KEY)) is None
    assert not caplog.records


def test_what_is_too_large_is_not_put_into_redis(redis: RedisServer) -> None:
    RedisShelf(redis.url, SECRET).note(BASE, KEY, b"x" * MOST_BYTES)
    assert redis.dump() == {}


def test_a_redis_that_is_away_is_left_alone_for_a_while(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    client_of = sharing.client_of

    def counted(url: str) -> Any:
        made.append(url)
        return client_of(url)

    monkeypatch.setattr(shared_listings, "client_of", counted)
    clock = Clock()
    shelf = RedisShelf(redis.url.replace("redis://", f"redis://:{PASSWORD}@"), SECRET, clock)
    redis.kill()
    for _ in range(10):
        assert shelf.recall(BASE, KEY) is None
        shelf.note(BASE, KEY, PACKED)
    assert len(made) == 1
    clock.pass_(REST_S)
    assert shelf.recall(BASE, KEY) is None
    assert len(made) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert PASSWORD not in caplog.text
    redis.start()
    with redis.client() as client:
        client.config_set("requirepass", PASSWORD)
    clock.pass_(REST_S)
    shelf.note(BASE, KEY, PACKED)
    assert shelf.recall(BASE, KEY) is not None
    assert len(caplog.records) == 1


def test_a_redis_that_does_not_answer_is_left_alone_for_a_while(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    shelf = RedisShelf(redis.url, SECRET, clock)
    shelf.note(BASE, KEY, PACKED)
    redis.freeze()
    assert shelf.recall(BASE, KEY) is None
    redis.thaw()
    assert shelf.recall(BASE, KEY) is None
    clock.pass_(REST_S)
    assert shelf.recall(BASE, KEY) is not None
    assert len(caplog.records) == 1


@pytest.mark.parametrize("url", ["redis://h:port", "redis://[", "http://127.0.0.1", ""])
def test_a_url_that_is_none_is_no_shelf(url: str, caplog: pytest.LogCaptureFixture) -> None:
    shelf = RedisShelf(url, SECRET)
    shelf.note(BASE, KEY, PACKED)
    assert shelf.recall(BASE, KEY) is None
    assert not caplog.records  # the sharer tells of it


def test_without_its_client_there_is_no_shelf(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    shelf = RedisShelf("redis://127.0.0.1", SECRET)
    assert shelf.recall(BASE, KEY) is None
    assert not caplog.records


def test_many_processes_read_a_listing_about_once_in_its_time(redis: RedisServer) -> None:
    clock, requests = Clock(), 0

    def read(wanted: Ask) -> Listing:
        nonlocal requests
        requests += 1
        return listing(f"m{requests}")

    processes = [
        Discovery(Listings([RedisShelf(redis.url, SECRET, clock, clock)], clock=clock, now=clock), read)
        for _ in range(8)
    ]
    for process in processes:
        process.start(ask(key=KEY), anew=False).result(LONG_S)
    assert requests == 1
    for _ in range(100):  # all are used all the time
        clock.pass_(FRESH_S / 20)
        for process in processes:
            process.start(ask(key=KEY), anew=False).result(LONG_S)
    assert 4 <= requests <= 2 * 6
    assert len({process.listing(ask(key=KEY)) for process in processes}) <= 2


def test_the_settings_name_the_shelves(redis: RedisServer, tmp_path: Path) -> None:
    def shelves(**given: Any) -> list[type]:
        made = Gateway(load_settings(**given), WireOptions)
        made.close()
        return [type(shelf) for shelf in made.listings.shelves]

    assert shelves(redis_url=redis.url, cache_dir=tmp_path) == [RedisShelf, DiskShelf]
    assert shelves(redis_url=redis.url, cache=False) == [RedisShelf]
    assert shelves(redis_url="off", cache_dir=tmp_path) == [DiskShelf]
    assert shelves(redis_url="off", cache=False) == []


# Processes ------------------------------------------------------------------------------------------------------------


class Worker:
    """A process of its own, see `redis_worker`."""

    def __init__(self, url: str, gateway: PickyGateway, base: str = "", **more: Any) -> None:
        options = {"redis_url": url, "cache": False, **more}
        program = str(ROOT / "tests" / "support" / "redis_worker.py")
        command = [sys.executable, program, json.dumps(options), base or gateway.base(), KEY]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.heard() == "ready"

    def tell(self, order: object) -> None:
        assert self.process.stdin is not None
        print(order, file=self.process.stdin, flush=True)

    def heard(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def calls(self, count: int) -> Any:
        self.tell(count)
        return self.heard()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


Hire = Callable[..., Worker]


@pytest.fixture
def hire(redis: RedisServer) -> Iterator[Hire]:
    with ExitStack() as stack:

        def worker(gateway: PickyGateway, base: str = "", *, url: str = redis.url, **more: Any) -> Worker:
            made = Worker(url, gateway, base, **more)
            stack.callback(made.end)
            return made

        yield worker


def chats(gateway: PickyGateway) -> list[Any]:
    return [request for request in gateway.seen if request.surface == "chat"]


def test_processes_share_a_room(hire: Hire) -> None:
    with PickyGateway(Manners(key=KEY, room=6, delay=0.05)) as gateway:
        workers = [hire(gateway) for _ in range(3)]
        for worker in workers:
            worker.tell(60)
        reports = [worker.heard() for worker in workers]
        refused = [request for request in chats(gateway) if request.status == 429]
    assert [report["failures"] for report in reports] == [[], [], []]
    assert len(refused) <= 0.25 * 180


def test_a_refusal_of_one_process_holds_the_others(hire: Hire) -> None:
    full = Manners(key=KEY, room=0, full_headers={"retry-after": "2"})
    with PickyGateway(full) as gateway:
        first, running = hire(gateway), hire(gateway)
        first.tell(1)
        until(lambda: chats(gateway))
        gateway.manners = Manners(key=KEY)
        time.sleep(0.2)  # four times what a running process may go without news
        running.tell(1)
        fresh = hire(gateway)
        fresh.tell(1)
        reports = [worker.heard() for worker in (first, running, fresh)]
        at = [request.at for request in chats(gateway)]
    assert [report["failures"] for report in reports] == [[], [], []]
    assert len(at) == 4
    assert min(at[1:]) - at[0] >= 2.0


def test_a_rate_is_one_for_all_processes(hire: Hire) -> None:
    with PickyGateway(Manners(key=KEY)) as gateway:
        workers = [hire(gateway, rate_limit_qps=10) for _ in range(4)]
        for worker in workers:
            worker.tell(6)
        reports = [worker.heard() for worker in workers]
        at = sorted(request.at for request in chats(gateway))
    assert [report["failures"] for report in reports] == [[]] * 4
    assert len(at) == 24
    assert 2.3 - 0.1 < at[-1] - at[0] < 4.0
    assert all(later - earlier > 0.9 for earlier, later in zip(at, at[10:], strict=False))


def test_the_next_process_begins_where_the_first_has_arrived(hire: Hire) -> None:
    manners = Manners(key=KEY, styles={"*": ("x-api-key",)})
    with PickyGateway(manners) as gateway:
        assert hire(gateway).calls(1)["failures"] == []
        before = len(chats(gateway))
        assert before > 1
        until(lambda: hire(gateway).calls(1)["failures"] == [])
        assert len(chats(gateway)) == before + 1


def test_redis_is_killed_under_load(redis: RedisServer, hire: Hire) -> None:
    with PickyGateway(Manners(key=KEY, delay=0.02)) as gateway:
        workers = [hire(gateway, max_concurrency=4) for _ in range(2)]
        for worker in workers:
            worker.tell(300)
        until(lambda: len(chats(gateway)) > 50)
        redis.kill()
        reports = [worker.heard() for worker in workers]
    assert [report["failures"] for report in reports] == [[], []]
    for report in reports:
        assert [line.partition(" ")[0] for line in report["logged"]] == ["WARNING"]


def test_what_a_killed_process_held_is_free_again(redis: RedisServer, hire: Hire, peers: Callable[..., Peer]) -> None:
    with PickyGateway(Manners(key=KEY, delay=LONG_S)) as gateway:
        holder = hire(gateway, max_concurrency=2)
        holder.tell(2)
        until(lambda: len(chats(gateway)) == 2)
        place = Place.of(gateway.base().removesuffix("/v1"), "test/model-small", "of another key")
        visits = [Visit(peers(Bounds(most=2)).gate, place) for _ in range(2)]
        time.sleep(0.3)  # several round trips: they are held for as long as it lives
        assert [visit.waits for visit in visits] == [True, True]
        holder.end()
        for visit in visits:
            visit.passed()


def test_a_forked_child_has_its_own(hire: Hire) -> None:
    with PickyGateway(Manners(key=KEY)) as gateway:
        worker = hire(gateway)
        assert worker.calls(3)["failures"] == []
        worker.tell("fork 5")
        assert worker.heard()["failures"] == []
        report = worker.calls(3)
    assert report["failures"] == []
    assert report["logged"] == []


def test_no_credential_gets_into_redis(hire: Hire) -> None:
    with RedisServer(PASSWORD) as guarded, PickyGateway(Manners(key=KEY, room=1, delay=0.02)) as gateway:
        base = gateway.base().replace("http://", "http://user:a-basic-password@") + "?token=a-query-token"
        worker = hire(gateway, base, url=guarded.url)
        assert worker.calls(10)["failures"] == []
        until(lambda: len(guarded.dump()) >= 3)
        written = repr(guarded.dump())
    for secret in (KEY, PASSWORD, "a-basic-password", "a-query-token", "user:"):
        assert secret not in written


def test_without_its_client_there_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    assert sharer_of("redis://127.0.0.1", SECRET, None, None) is None
    assert 'pip install "litellm-gateway-plugin[redis]"' in caplog.text
    assert len(caplog.records) == 1
