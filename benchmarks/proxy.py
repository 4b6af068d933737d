"""The LiteLLM proxy with the plugin and without it: the same litellm, the same upstreams, the same clients.

Both proxies run at the same time, and the load goes to them in turns, so that a busy moment hits each. A ratio is taken
within a round.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import linear_regression, median
from typing import Any

from .answers import MODEL
from .contenders import KEY
from .figures import Cell, Figure, Findings, Grid
from .load import Upstream
from .load_numbers import quantile
from .processes import Program, Server
from .proxy_process import MASTER_KEY, PROGRAM, Proxy, installed
from .redis_server import Redis

ROOM = 8
"""Places of the upstreams with limited room."""
CLIENTS_TO_WARM = 16
"""A worker's first call takes a second, and a single client warms one worker alone."""
ENDLESS = 10**9
LIMIT_SECONDS = 120.0
QUARTERS = (0.25, 0.5, 0.75, 1.0)
WARM_UP = QUARTERS[0]
"""Of the load under which memory is watched."""
CALLBACK = {"litellm_settings": {"callbacks": ["litellm_gateway_plugin.callback"]}}


@dataclass(frozen=True, slots=True)
class Way:
    """One column of the tables: a proxy, and how its deployments name their models."""

    label: str
    proxy: str
    prefix: str


STOCK = Way("stock, openai/…", "stock", "openai")
OURS = (Way("ours, gateway/…", "ours", "gateway"), Way("ours, openai/…", "ours", "openai"))
WAYS = (STOCK, *OURS)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load.

    Attributes:
        label: of its table.
        upstream: "quick" answers at once; "full" and "full-hint" have room for a few, without and with `Retry-After`.
        clients: at the same time.
        stream: whether they ask for streams.
        is_full: whether the clients have a number of calls to make, and no time.
    """

    label: str
    upstream: str
    clients: int
    stream: bool = False

    @property
    def is_full(self) -> bool:
        return self.upstream.startswith("full")


PARTS: Mapping[str, tuple[Case, ...]] = {
    "chat": (Case("chat, 1 client", "quick", 1), Case("chat, 32 clients", "quick", 32)),
    "streams": (Case("streams of 200 chunks a millisecond apart, 16 clients", "quick", 16, stream=True),),
    "full": (
        Case(f"64 clients, room for {ROOM}, no hint", "full", 64),
        Case(f"64 clients, room for {ROOM}, Retry-After: 1", "full-hint", 64),
    ),
    "memory": (Case("memory under the steady load of 8 clients", "quick", 8),),
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What of it to run.

    Attributes:
        parts: names of `PARTS`.
        rounds: how often each case is run, of which the median counts.
        seconds: of each slice of load.
        calls: of all clients together, in a slice with limited room.
        service: seconds that an upstream with limited room works on each call.
        minutes: of the load under which memory is watched, in all.
        workers: processes of each proxy.
        redis: whether the plugin's workers share what they learn.
    """

    parts: tuple[str, ...] = tuple(PARTS)
    rounds: int = 7
    seconds: float = 2.0
    calls: int = 256
    service: float = 0.1
    minutes: float = 0.5
    workers: int = 2
    redis: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """What came of one slice of load.

    Attributes:
        seen: `proxy_client.Seen`.
        cpu: seconds, of all processes of the proxy.
        refused: by the upstream.
    """

    seen: Mapping[str, Any]
    cpu: float
    refused: int

    @property
    def answered(self) -> int:
        return len(self.seen["latencies"])

    @property
    def asked(self) -> int:
        return self.answered + int(sum(self.seen["failures"].values()))


Measure = Callable[[Slice], float]


def _per_second(one: Slice) -> float:
    return one.answered / float(one.seen["took"])


def _latency(share: float, kind: str = "latencies") -> Measure:
    return lambda one: quantile(sorted(one.seen[kind]), share) * 1000


def _cpu(one: Slice) -> float:
    return one.cpu / one.answered * 1000 if one.answered else float("nan")


def _failed(one: Slice) -> float:
    return one.asked - one.answered


PER_SECOND = "answers per second"
MEDIAN, SLOWEST = "p50, ms", "p99, ms"
FAILED, REFUSED = "calls refused or failed", "requests refused by the upstream"
TOOK = "seconds to the last answer or error"
COSTS: Mapping[str, Measure] = {
    PER_SECOND: _per_second,
    MEDIAN: _latency(0.5),
    SLOWEST: _latency(0.99),
    "CPU of the proxy, ms per answer": _cpu,
    FAILED: _failed,
}
FIRST: Mapping[str, Measure] = {"p50 to the first byte, ms": _latency(0.5, "first")}
AT_FULL: Mapping[str, Measure] = {REFUSED: lambda one: one.refused, TOOK: lambda one: one.seen["took"]}
COUNTED = (FAILED, REFUSED)
"""Told without a ratio: stock's may be 0."""


def measures(case: Case) -> Mapping[str, Measure]:
    return {**COSTS, **(FIRST if case.stream else {}), **(AT_FULL if case.is_full else {})}


class Bench:
    """Both proxies, the upstreams and the clients."""

    def __init__(self, wishes: Wishes, stack: ExitStack) -> None:
        self._wishes = wishes
        quick = stack.enter_context(Server())
        self._full = {
            name: stack.enter_context(Upstream(ROOM, wishes.service, hint))
            for name, hint in (("full", False), ("full-hint", True))
        }
        self._bases = {"quick": quick.base, **{name: upstream.base for name, upstream in self._full.items()}}
        settings = {"LITELLM_GATEWAY_REDIS_URL": stack.enter_context(Redis()).url} if wishes.redis else {}
        self.proxies = {
            "stock": stack.enter_context(Proxy(self._config("openai"), wishes.workers)),
            "ours": stack.enter_context(
                Proxy({**self._config("gateway", "openai"), **CALLBACK}, wishes.workers, settings)
            ),
        }
        for proxy in self.proxies.values():
            proxy.await_ready()
        self.started = {name: proxy.resident_mb for name, proxy in self.proxies.items()}
        self._clients = stack.enter_context(Program("proxy_client"))

    def _config(self, *prefixes: str) -> dict[str, Any]:
        """A group of one deployment for each upstream and prefix; all else is as the proxy has it."""
        return {
            "model_list": [
                {
                    "model_name": f"{prefix}-{name}",
                    "litellm_params": {"model": f"{prefix}/{MODEL}", "api_base": base, "api_key": KEY},
                }
                for name, base in self._bases.items()
                for prefix in prefixes
            ]
        }

    def slice_of(self, case: Case, way: Way) -> Slice:
        """A slice of load. Raises RuntimeError when the answers came from the wrong side, or a worker has died."""
        proxy, wishes = self.proxies[way.proxy], self._wishes
        order = {
            "origin": proxy.origin,
            "key": MASTER_KEY,
            "model": f"{way.prefix}-{case.upstream}",
            "clients": case.clients,
            "calls": wishes.calls if case.is_full else ENDLESS,
            "seconds": LIMIT_SECONDS if case.is_full else wishes.seconds,
            "stream": case.stream,
        }
        pids, cpu, refused = proxy.pids, proxy.cpu, self._refused(case)
        seen = self._clients.ask(order)
        made = Slice(seen, proxy.cpu - cpu, self._refused(case) - refused)
        if seen["by_plugin"] != (0 if way == STOCK else made.answered):
            raise RuntimeError(f"{way.label}: {seen['by_plugin']} of {made.answered} answers are the plugin's")
        if proxy.pids != pids:
            raise RuntimeError(f"{way.label}: a process of the proxy has ended, or another one has begun")
        return made

    def _refused(self, case: Case) -> int:
        """By the upstream, until now."""
        return int(self._full[case.upstream].tally()["refused"]) if case.is_full else 0


def proxy(wishes: Wishes) -> Iterator[tuple[str, Findings]]:
    """Each case and what it found, as soon as it is there."""
    if not installed():
        yield "skipped", Findings("Proxy", [], notes=[f"skipped, there is no {PROGRAM}: make proxy-venv (Linux alone)"])
        return
    with ExitStack() as stack:
        bench = Bench(wishes, stack)
        for part in wishes.parts:
            for case in PARTS[part]:
                yield case.label, (_memory if part == "memory" else _costs)(bench, case, wishes)


Rounds = Mapping[Way, list[Slice]]


def _costs(bench: Bench, case: Case, wishes: Wishes) -> Findings:
    rounds = _rounds(bench, case, wishes)
    columns = {way.label: dict(_column(case, way, rounds)) for way in WAYS}
    title = f"Proxy: {case.label}; median and range of {wishes.rounds} rounds"
    return Findings(title, list(_judged(case, rounds)), grid=Grid(columns))


def _rounds(bench: Bench, case: Case, wishes: Wishes) -> Rounds:
    """Every other round goes backwards."""
    rounds: dict[Way, list[Slice]] = {way: [] for way in WAYS}
    if not case.is_full:  # an upstream with limited room is met cold: what it takes to learn that counts
        for way in WAYS:
            bench.slice_of(replace(case, clients=max(case.clients, CLIENTS_TO_WARM)), way)
    for number in range(wishes.rounds):
        for way in WAYS if number % 2 else WAYS[::-1]:
            made = bench.slice_of(case, way)
            rounds[way].append(made)
            print(f"{case.label}: {way.label}: {_per_second(made):.1f}/s", file=sys.stderr, flush=True)
    return rounds


def _column(case: Case, way: Way, rounds: Rounds) -> Iterator[tuple[str, Cell]]:
    for name, measure in measures(case).items():
        yield name, _spread([measure(one) for one in rounds[way]])
        if name not in COUNTED:
            yield _over_stock(name), _spread(_ratios(rounds, way, measure)) if way != STOCK else ""
    failures = sum((Counter(one.seen["failures"]) for one in rounds[way]), Counter[str]())
    yield "failures of all rounds", ", ".join(f"{count} of {what}" for what, count in failures.items())


def _over_stock(name: str) -> str:
    return f"{name.partition(',')[0]} / stock"


def _judged(case: Case, rounds: Rounds) -> Iterator[Figure]:
    """A ratio is 1.0 when the plugin costs nothing, and less when it saves."""
    for way in OURS:
        yield Figure(f"{way.label}: calls refused or failed", sum(map(_failed, rounds[way])), "", 0)
        rate = median(_ratios(rounds, way, _per_second))
        yield Figure(f"stock's answers per second / {way.label}", 1 / rate, "x", 1.0)
        if case.is_full:  # where a call that fails at once is none of the slow ones, latencies are no measure
            continue
        for name in (MEDIAN, SLOWEST):
            yield Figure(f"{way.label}: {_over_stock(name)}", median(_ratios(rounds, way, COSTS[name])), "x", 1.0)


def _ratios(rounds: Rounds, way: Way, measure: Measure) -> list[float]:
    """To stock, round by round."""
    return [measure(ours) / measure(stock) for ours, stock in zip(rounds[way], rounds[STOCK], strict=True)]


def _spread(values: Sequence[float]) -> str:
    return f"{_short(median(values))} ({_short(min(values))} to {_short(max(values))})"


def _short(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


@dataclass
class Held:
    """What a proxy held, in MB, after so many requests; the first entries are those before any of this load."""

    resident: list[float]
    asked: list[int] = field(default_factory=lambda: [0])
    failed: float = 0

    def add(self, made: Slice, resident: float) -> None:
        self.asked.append(self.asked[-1] + made.asked)
        self.resident.append(resident)
        self.failed += _failed(made)

    @property
    def slope(self) -> float:
        """MB for each 1,000 requests after the warm-up, by least squares."""
        warm = self._at(WARM_UP)
        return linear_regression(self.asked[warm:], self.resident[warm:]).slope * 1000

    def column(self, started: float) -> dict[str, Cell]:
        return {
            "requests": self.asked[-1],
            FAILED: self.failed,
            "resident when started, MB": started,
            "… before this load": self.resident[0],
            **{f"… after {share:.0%} of it": self.resident[self._at(share)] for share in QUARTERS},
            "growth after the first quarter, MB": self.resident[-1] - self.resident[self._at(WARM_UP)],
            "… for each 1,000 requests": f"{self.slope:.3f}",
        }

    def _at(self, share: float) -> int:
        return round((len(self.asked) - 1) * share)


def _memory(bench: Bench, case: Case, wishes: Wishes) -> Findings:
    """Turn by turn; ours is asked for each kind of deployment by turns too."""
    held = {name: Held([proxy.resident_mb]) for name, proxy in bench.proxies.items()}
    turns = max(4, round(wishes.minutes * 60 / wishes.seconds / 2))
    for number in range(turns):
        for way in (STOCK, OURS[number % len(OURS)]):
            made = bench.slice_of(case, way)
            held[way.proxy].add(made, bench.proxies[way.proxy].resident_mb)
    columns = {name: each.column(bench.started[name]) for name, each in held.items()}
    above = Figure("ours: MB for each 1,000 requests, above stock", held["ours"].slope - held["stock"].slope, "MB")
    title = f"Proxy: {case.label}, {wishes.minutes:g} minutes in all"
    return Findings(title, [above], grid=Grid(columns))
