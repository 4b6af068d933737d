"""One reading for all who want it, whoever of them goes away; in the background when something is known."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from litellm_gateway_plugin.catalogue import Listing
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.discovery import Discovery, Flight, settled
from litellm_gateway_plugin.errors import Answered, ConnectFailed, Full, GatewayError, KeyRefused, TimedOut, Unreachable
from litellm_gateway_plugin.listings import FRESH_S, RETRY_S, Listings
from litellm_gateway_plugin.memory import Memory
from litellm_gateway_plugin.negotiation import Ask, Attempt, Wait, negotiate
from tests.support.core import KEY, Clock, answer, ask, ok, policy
from tests.support.core import listing as listing_answer

LONG_S = 20.0  # until when something has to happen
DOWN = ConnectFailed("nothing listens there")


def listing(*ids: str) -> Listing:
    found = read_listing([*ids])
    assert found is not None
    return found


class Upstream:
    """A gateway's listing: it is read when the test says so."""

    def __init__(self, *outcomes: Listing | Exception, held: bool = False) -> None:
        self._outcomes = list(outcomes)
        self._released = threading.Event()
        self._arrived = threading.Semaphore(0)
        self.requests = 0
        if not held:
            self.release()

    def __call__(self, wanted: Ask) -> Listing:
        self.requests += 1
        self._arrived.release()
        assert self._released.wait(LONG_S)
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def wait_asked(self) -> None:
        assert self._arrived.acquire(timeout=LONG_S)

    def release(self) -> None:
        self._released.set()

    def hold(self) -> None:
        self._released.clear()


class Counting(Discovery):
    """It tells when so many have come."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._come = threading.Semaphore(0)

    def start(self, wanted: Ask, *, anew: bool = True) -> Flight:
        flight = super().start(wanted, anew=anew)
        self._come.release()
        return flight

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self._come.acquire(timeout=LONG_S)

    def settled(self) -> None:
        """Wait until nothing is being read."""
        with self._lock:
            flights = [flight for flight, _ in self._flights.values()]
        concurrent.futures.wait(flights, LONG_S)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Callable[..., Counting]:
    def made(upstream: Upstream, *shelves: Any) -> Counting:
        return Counting(Listings(shelves, clock=clock, now=clock, chance=lambda: 0.0), upstream)

    return made


Make = Callable[..., Counting]


# One reading for all --------------------------------------------------------------------------------------------------


def test_threads_and_event_loops_wait_for_one_reading(make: Make) -> None:
    upstream = Upstream(listing("a"), held=True)
    discovery = make(upstream)

    async def together() -> list[Listing]:
        return await asyncio.gather(*(discovery.alisting(ask()) for _ in range(250)))

    with ThreadPoolExecutor(202) as pool:
        threads = [pool.submit(discovery.listing, ask()) for _ in range(200)]
        loops = [pool.submit(asyncio.run, together()) for _ in range(2)]
        discovery.wait_for(700)
        upstream.release()
        found = [thread.result() for thread in threads] + [each for loop in loops for each in loop.result()]
    assert found == [listing("a")] * 700
    assert upstream.requests == 1
    assert discovery.listing(ask()) is found[0]
    assert upstream.requests == 1


def test_bases_and_keys_are_read_side_by_side(make: Make) -> None:
    upstream = Upstream(listing("a"), held=True)
    discovery = make(upstream)
    asks = [ask(), ask(key="another"), ask(key=None), ask(base="https://other.example.com/v1"), ask(surface="models")]
    flights = [discovery.start(each) for each in asks]
    for _ in range(4):
        upstream.wait_asked()
    upstream.release()
    assert [flight.result(LONG_S) for flight in flights] == [listing("a")] * 5
    assert upstream.requests == 4


def test_all_who_wait_hear_of_an_error(make: Make) -> None:
    upstream = Upstream(Full("too many", status=429), held=True)
    discovery = make(upstream)

    async def waits() -> list[Any]:
        return await asyncio.gather(*(discovery.alisting(ask()) for _ in range(5)), return_exceptions=True)

    with ThreadPoolExecutor(6) as pool:
        threads = [pool.submit(discovery.listing, ask()) for _ in range(5)]
        loop = pool.submit(asyncio.run, waits())
        discovery.wait_for(10)
        upstream.release()
        errors = [thread.exception() for thread in threads] + loop.result()
    assert {type(error) for error in errors} == {Full}
    assert upstream.requests == 1


def test_what_is_no_error_of_ours_is_heard_too(make: Make) -> None:
    discovery = make(Upstream(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        discovery.listing(ask())
    with pytest.raises(ZeroDivisionError):
        asyncio.run(discovery.alisting(ask()))


def test_a_cancelled_waiter_takes_it_from_nobody(make: Make) -> None:
    upstream = Upstream(listing("a"), held=True)
    discovery = make(upstream)

    async def waits() -> list[Any]:
        tasks = [asyncio.ensure_future(discovery.alisting(ask())) for _ in range(3)]
        await asyncio.to_thread(discovery.wait_for, 3)
        tasks[0].cancel()
        (cancelled,) = await asyncio.gather(tasks[0], return_exceptions=True)
        assert isinstance(cancelled, asyncio.CancelledError)
        assert not discovery.start(ask()).cancel()
        upstream.release()
        return await asyncio.gather(*tasks[1:])

    assert asyncio.run(waits()) == [listing("a")] * 2
    assert upstream.requests == 1


def test_a_loop_that_ends_takes_it_from_nobody(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    upstream = Upstream(Full("too many", status=429), listing("a"), held=True)
    discovery = make(upstream)

    async def leaves() -> None:
        task = asyncio.ensure_future(discovery.alisting(ask()))
        await asyncio.to_thread(discovery.wait_for, 1)
        task.cancel()

    asyncio.run(leaves())
    flight = discovery.start(ask())
    upstream.release()
    assert isinstance(flight.exception(LONG_S), Full)
    assert discovery.listing(ask()) == listing("a")
    del flight
    gc.collect()
    assert not caplog.records


# Time -----------------------------------------------------------------------------------------------------------------


def test_who_cannot_wait_is_told_so_and_the_listing_arrives_all_the_same(make: Make) -> None:
    upstream = Upstream(listing("a"), held=True)
    discovery = make(upstream)
    with pytest.raises(TimedOut, match=r"https://llm\.example\.com/v1 did not come within 0\.01 seconds"):
        discovery.listing(ask(), 0.01)
    with pytest.raises(TimedOut, match="within 0 seconds"):
        asyncio.run(discovery.alisting(ask(), 0))
    flight = discovery.start(ask())
    upstream.release()
    assert flight.result(LONG_S) == listing("a")
    assert discovery.listing(ask(), 0) == listing("a")
    assert asyncio.run(discovery.alisting(ask(), 0)) == listing("a")
    assert upstream.requests == 1


def test_an_error_that_nobody_waits_for_any_more_is_no_complaint(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    upstream = Upstream(DOWN, held=True)
    discovery = make(upstream)

    async def gives_up() -> None:
        with pytest.raises(TimedOut):
            await discovery.alisting(ask(), 0.01)
        waiting = asyncio.ensure_future(settled([discovery.start(ask())], 10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        upstream.release()
        await settled([discovery.start(ask())], 10)

    asyncio.run(gives_up())
    gc.collect()
    assert not caplog.records


def test_what_is_known_is_given_at_once_and_read_anew_in_the_background(make: Make, clock: Clock) -> None:
    upstream = Upstream(listing("old"), listing("new"))
    discovery = make(upstream)
    discovery.listing(ask())
    clock.pass_(FRESH_S)
    upstream.hold()
    for _ in range(3):
        assert discovery.listing(ask(), 0) == listing("old")
        assert asyncio.run(discovery.alisting(ask(), 0)) == listing("old")
    upstream.wait_asked()
    upstream.release()
    discovery.settled()
    assert discovery.listing(ask(), 0) == listing("new")
    assert upstream.requests == 2


def test_while_a_gateway_is_down_its_listing_stays_and_it_is_asked_again_now_and_then(make: Make, clock: Clock) -> None:
    upstream = Upstream(listing("a"), DOWN)
    discovery = make(upstream)
    discovery.listing(ask())
    clock.pass_(FRESH_S)
    for seconds in (0.0, 0.0, RETRY_S - 0.001, 0.001, 0.0, RETRY_S - 0.001):
        clock.pass_(seconds)
        assert discovery.listing(ask(), 0) == listing("a")
        discovery.settled()
    assert upstream.requests == 3


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(DOWN, RETRY_S), (Full("full", status=429), RETRY_S), (TimedOut("slow"), RETRY_S),
     (KeyRefused("no", status=401), FRESH_S), (Answered("no", status=404), FRESH_S), (GatewayError("odd"), FRESH_S)],
)  # fmt: skip
def test_what_may_be_over_soon_is_tried_again_soon(make: Make, clock: Clock, error: Exception, seconds: float) -> None:
    upstream = Upstream(listing("a"), error)
    discovery = make(upstream)
    discovery.listing(ask())
    clock.pass_(FRESH_S)
    discovery.listing(ask())
    discovery.settled()
    clock.pass_(seconds - 0.001)
    discovery.listing(ask())
    assert upstream.requests == 2
    clock.pass_(0.001)
    discovery.listing(ask())
    discovery.settled()
    assert upstream.requests == 3


def test_who_wants_it_anew_waits_for_it(make: Make, clock: Clock) -> None:
    upstream = Upstream(listing("old"), listing("new"), DOWN)
    discovery = make(upstream)
    assert discovery.listing(ask()) == listing("old")
    assert discovery.listing(ask(), anew=True) == listing("new")
    with pytest.raises(ConnectFailed):
        asyncio.run(discovery.alisting(ask(), anew=True))
    assert discovery.listing(ask()) == listing("new")


# Races ----------------------------------------------------------------------------------------------------------------


def test_who_looked_before_it_came_does_not_have_it_read_again(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between somebody's look at what is known and his start, the reading of another one ends."""
    upstream = Upstream(listing("old"), listing("new"))
    discovery = make(upstream)
    assert discovery.start(ask(), anew=False).result(LONG_S) == listing("old")
    assert discovery.start(ask(), anew=False).result(0) == listing("old")
    clock.pass_(FRESH_S)
    is_due, looks = discovery.listings.is_due, iter([True])
    monkeypatch.setattr(discovery.listings, "is_due", lambda wanted: next(looks, None) or is_due(wanted))
    assert discovery.start(ask()).result(LONG_S) == listing("new")
    discovery.refresh(ask())
    discovery.settled()
    assert next(looks, None) is None
    assert upstream.requests == 2


def test_who_looked_before_it_failed_does_not_try_again_at_once(make: Make, clock: Clock) -> None:
    upstream = Upstream(listing("old"), DOWN)
    discovery = make(upstream)
    discovery.listing(ask())
    clock.pass_(FRESH_S)
    assert discovery.start(ask()).exception(LONG_S) is DOWN
    assert discovery.start(ask(), anew=False).result(0) == listing("old")
    assert upstream.requests == 2


def test_nobody_starts_a_second_reading_while_the_first_one_lands(make: Make) -> None:
    upstream = Upstream(listing("a"))
    discovery = make(upstream)
    flights: list[Flight] = []
    discovery.listings.learnt = lambda wanted, found: flights.append(discovery.start(ask()))
    first = discovery.start(ask())
    assert first.result(LONG_S) == listing("a")
    assert flights == [first]
    flight = discovery.start(ask())  # and once it has landed, who wants it anew gets it anew
    assert flight is not first
    flight.result(LONG_S)
    assert upstream.requests == 2


class Shelf:
    """What another process has read."""

    def __init__(self) -> None:
        self.held: tuple[bytes, float] | None = None
        self.looks = 0

    def recall(self, base: str, key: str | None) -> tuple[bytes, float] | None:
        self.looks += 1
        return self.held

    def note(self, base: str, key: str | None, packed: bytes) -> None:
        self.held = None


def test_what_another_process_has_read_meanwhile_is_taken(make: Make, clock: Clock) -> None:
    shelf, upstream = Shelf(), Upstream(listing("mine"))
    discovery = make(upstream, shelf)
    assert discovery.listing(ask()) == listing("mine")
    clock.pass_(FRESH_S)
    shelf.held = listing("theirs").packed, clock()
    assert discovery.listing(ask()) == listing("mine")
    discovery.settled()
    assert discovery.listing(ask()) == listing("theirs")
    assert upstream.requests == 1
    assert discovery.listing(ask(), anew=True) == listing("mine")
    assert upstream.requests == 2


class Slow(Shelf):
    """The second look, which is a reading thread's, takes as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.looking, self.go_on = threading.Event(), threading.Event()

    def recall(self, base: str, key: str | None) -> tuple[bytes, float] | None:
        found = super().recall(base, key)
        if self.looks == 2:
            self.looking.set()
            assert self.go_on.wait(LONG_S)
        return found


def test_who_wants_it_anew_is_not_served_from_a_shelf(make: Make, clock: Clock) -> None:
    shelf, upstream = Slow(), Upstream(listing("new"))
    discovery = make(upstream, shelf)
    assert discovery.listings.find(ask()) is None
    patient = discovery.start(ask(), anew=False)
    assert shelf.looking.wait(LONG_S)
    shelf.held = listing("theirs").packed, clock()
    assert discovery.start(ask(), anew=False) is patient
    eager = discovery.start(ask())
    assert eager is not patient
    assert eager.result(LONG_S) == listing("new")
    shelf.go_on.set()
    assert patient.result(LONG_S) == listing("new")
    assert upstream.requests == 1
    assert discovery._flights == {}


@pytest.mark.parametrize("outcome", [listing("new"), DOWN])
def test_one_request_is_enough_for_who_wants_it_anew_and_who_does_not(
    make: Make, outcome: Listing | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, upstream = Slow(), Upstream(outcome, held=True)
    discovery = make(upstream, shelf)
    assert discovery.listings.find(ask()) is None
    patient = discovery.start(ask(), anew=False)
    assert shelf.looking.wait(LONG_S)
    eager = discovery.start(ask())
    joined, result = threading.Event(), eager.result

    def joining(seconds: float | None = None) -> Listing:
        joined.set()
        return result(seconds)

    monkeypatch.setattr(eager, "result", joining)
    shelf.go_on.set()
    assert joined.wait(LONG_S)
    upstream.release()
    ends = [flight.exception(LONG_S) or flight.result(0) for flight in (patient, eager)]
    assert ends == [outcome] * 2
    assert upstream.requests == 1
    assert discovery._flights == {}


def test_after_the_shelf_was_empty_all_wait_for_the_gateway(make: Make) -> None:
    upstream = Upstream(listing("new"), held=True)
    discovery = make(upstream, Shelf())
    patient = discovery.start(ask(), anew=False)
    upstream.wait_asked()
    assert discovery.start(ask()) is discovery.start(ask(), anew=False) is patient
    upstream.release()
    assert patient.result(LONG_S) == listing("new")
    assert upstream.requests == 1


def test_after_a_fork_nothing_is_being_read(make: Make) -> None:
    upstream = Upstream(listing("a"), held=True)
    discovery = make(upstream)
    before = discovery.start(ask())
    discovery._lock.acquire()
    discovery.after_fork()
    assert discovery.start(ask()) is not before
    upstream.release()
    assert before.result(LONG_S) == listing("a")
    discovery.settled()


def test_where_no_thread_can_be_started_it_is_an_error_and_nobody_waits(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    discovery = make(Upstream(listing("a")))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(Unreachable, match="can't start new thread"):
            discovery.listing(ask())
    assert discovery.listing(ask()) == listing("a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_wait_for_its_parents_reading(make: Make) -> None:
    upstream = Upstream(listing("a"), held=True)
    discovery = make(upstream)
    flight = discovery.start(ask())
    upstream.wait_asked()
    discovery._lock.acquire()
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            upstream.release()
            status = 0 if discovery.listing(ask(), LONG_S) == listing("a") else 2
        finally:
            os._exit(status)
    discovery._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    upstream.release()
    assert flight.result(LONG_S) == listing("a")
    assert upstream.requests == 1


# In the flow of a call ------------------------------------------------------------------------------------------------


def test_calls_with_another_spelling_read_the_listing_once() -> None:
    """They come one step after the other, in every order in which their first steps can be mixed."""
    memory, rules = Memory(), policy()
    listings = 0

    def reply(attempt: Attempt) -> Any:
        nonlocal listings
        if attempt.surface == "models":
            listings += 1
            return listing_answer("Vendor/Model")
        return ok() if attempt.model == "Vendor/Model" else answer(404, {"error": {"param": "model", "message": "no"}})

    flows: list[Any] = [negotiate(ask(), memory, rules) for _ in range(50)]
    steps = {flow: next(flow) for flow in flows}
    served = 0
    while steps:
        for flow, step in list(steps.items()):
            if isinstance(step, Wait) and not step.probe.settled.done():
                continue
            try:
                steps[flow] = flow.send(None if isinstance(step, Wait) else reply(step))
            except StopIteration:
                served += 1
                del steps[flow]
    assert (served, listings) == (50, 1)


def test_who_looked_at_what_is_listed_before_it_came_does_not_read_it_again() -> None:
    """Between a call's look and its claim to be the reader, another call's reading ends."""

    class Late(Memory):
        def read_listing(self, wanted: Ask) -> Any:
            if not self.listings.find(wanted):
                self.learn_listing(wanted, listing("Vendor/Model"))
            return super().read_listing(wanted)

    memory = Late()
    flow = negotiate(ask(), memory, policy())
    step = next(flow)
    assert isinstance(step, Attempt)
    step = flow.send(answer(404, {"error": {"param": "model", "message": "no"}}))
    assert isinstance(step, Attempt)
    assert (step.surface, step.model) == ("chat/completions", "Vendor/Model")
    flow.close()
    assert memory.read_listing(ask(key=KEY)) is None  # nobody counts as the reader
