"""What it costs to know the models of twenty gateways: asking all, finding an id, ranking, and what is held."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .contenders import KEY
from .discovery_worker import BASES, CANDIDATES, LOOKS, MANY, MODELS, PROBE_S
from .figures import Cost, Figure, Findings, Grid
from .memory import FLAT_MB
from .processes import Program

PROBE_WITH_DEAD_S = 1.0
ALL = f"{BASES} bases with {MODELS} models each"
STEPS = {
    "survey": "cold: every listing and every load",
    "plan": f"after it: {CANDIDATES} candidates, ranked",
    "router": "litellm.Router made of them",
    "later": "a later look: loads alone",
    "again": "after that: the same ranked again",
    "warm": "everything once more, warm",
    "begun": "of that, until every base is asked",
}
FLOOR = "the floor: plain GETs, parsed"
CASES = ("exact", "another case", "without its prefix", "unknown")

Measured = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the gateways are.

    Attributes:
        origins: of those that list their models.
        silent: of one that never answers.
        dead: of one that refuses connections.
    """

    origins: Sequence[str]
    silent: str
    dead: str


def discovery(rounds: int) -> Findings:
    """Rounds of cold processes, of which the median counts; then what happens within one."""
    with Program("discovery_worker", "serve", str(BASES), str(MODELS)) as program:
        servers = Servers(**program.heard())
        plain, surveys = zip(
            *((_plain(servers), _survey(servers.origins, PROBE_S)) for _ in range(rounds)), strict=True
        )
        whole = [*servers.origins, servers.dead, servers.silent]
        maimed = [_survey(whole, PROBE_WITH_DEAD_S) for _ in range(rounds)]
        memory = {kind: _memory(servers, kind) for kind in ("rss", "traced")}
    with _worker("lookups", str(rounds)) as program:
        took = program.heard()
    figures = [*_ratios(plain, surveys), *_maimed(maimed), *_within(took), *_held(memory)]
    costs = {FLOOR: _cost(plain), **{name: _cost([each[step] for each in surveys]) for step, name in STEPS.items()}}
    return Findings(
        f"Discovery of {ALL}",
        figures,
        costs={name: {"ms of CPU (ms of time)": cost} for name, cost in costs.items()},
        grid=_resolutions(took),
    )


def _worker(*arguments: str, settings: Mapping[str, str] | None = None) -> Program:
    return Program("discovery_worker", *arguments, settings=settings)


def _plain(servers: Servers) -> Any:
    paths = ("/v1/models", "/chutes/utilization")
    with _worker("plain") as program:
        return program.ask({"urls": [origin + path for origin in servers.origins for path in paths]})


def _survey(origins: Sequence[str], seconds: float) -> Any:
    return _with_bases(origins, lambda program: program.ask({"seconds": seconds}), "survey")


def _memory(servers: Servers, kind: str) -> Any:
    return _with_bases(servers.origins, Program.heard, "memory", kind)


def _with_bases(origins: Sequence[str], told: Callable[[Program], Any], *arguments: str) -> Any:
    """In a process to which these bases are all that is configured, and which has nothing on its shelves."""
    with tempfile.TemporaryDirectory() as folder:
        bases = {f"LITELLM_GATEWAY_API_BASE_{number}": f"{origin}/v1" for number, origin in enumerate(origins)}
        keys = {f"LITELLM_GATEWAY_API_KEY_{number}": KEY for number in range(len(origins))}
        with _worker(*arguments, settings={**bases, **keys, "LITELLM_GATEWAY_CACHE_DIR": folder}) as program:
            return told(program)


def _cost(costs: Sequence[Measured]) -> Cost:
    return Cost(*(median(each[unit] for each in costs) * 1000 for unit in ("cpu", "wall")))


def _ratios(plain: Sequence[Measured], surveys: Sequence[Measured]) -> Iterator[Figure]:
    for unit, name in (("cpu", "CPU"), ("wall", "time")):
        ratios = [one["survey"][unit] / floor[unit] for floor, one in zip(plain, surveys, strict=True)]
        yield Figure(f"cold, {name} / the floor's", median(ratios), "x")
    yield Figure("cold: models read", median(one["models"] for one in surveys))
    yield Figure("cold: loads read", median(one["loads"] for one in surveys))


def _maimed(surveys: Sequence[Measured]) -> Iterator[Figure]:
    name = f"with a dead and a silent base, {PROBE_WITH_DEAD_S:g} s allowed"
    yield Figure(f"{name}: time", median(one["survey"]["wall"] for one in surveys), "s")
    yield Figure(f"{name}: of {BASES} others, found in time", median(one["alive"] for one in surveys))


def _resolutions(took: Measured) -> Grid:
    kinds = {f"{MODELS} ids, µs": f"{MODELS} ids", f"{MANY:,} ids, µs": f"{MANY} ids"}
    walks = {f"{MODELS} walked, µs": f"{MODELS} walked", f"{MANY:,} walked, µs": f"{MANY} walked"}
    columns = {
        name: {f"finding an id: {case}": took[f"{kind}: {case}"] * 1_000_000 for case in CASES}
        for name, kind in {**kinds, **walks}.items()
    }
    return Grid(columns)


def _within(took: Measured) -> Iterator[Figure]:
    def micro(name: str, key: str) -> Figure:
        return Figure(name, took[key] * 1_000_000, "µs")

    def milli(name: str, key: str) -> Figure:
        return Figure(name, took[key] * 1000, "ms")

    yield milli(f"finding the first alias among {MODELS} ids", f"{MODELS} ids: first alias")
    yield milli(f"finding the first alias among {MANY:,} ids", f"{MANY} ids: first alias")
    yield micro("Gateway.ask with api_base", "ask: api_base given")
    for case in CASES:
        where = "" if case == "unknown" else ", in the last base"
        yield micro(f"Gateway.ask without api_base: {case}{where}", f"ask: {case}")
    yield micro(f"rank of {CANDIDATES} candidates", "rank")
    yield micro(f"rank of {CANDIDATES} candidates, in an order before", "rank again")
    yield milli(f"candidates of a base with {MODELS} models", "candidates")
    yield milli("the same, when its loads are of other ids", "candidates, loads of others")
    yield milli(f"the best of {MODELS} candidates", "best of base")
    for count in (MODELS, 10 * MODELS):
        yield milli(f"read_listing of {count:,} entries", f"read {count}")
        yield milli(f"json.loads of the same {count:,}", f"json {count}")
    yield milli(f"unpack of {MODELS} entries, from a shelf", "unpack")
    yield milli(f"read_utilization of {MODELS} entries", "read loads")
    yield milli(f"json.loads of the same {MODELS}", "json loads")


def _held(memory: Mapping[str, Measured]) -> Iterator[Figure]:
    resident, traced = memory["rss"], memory["traced"]
    yield Figure("held for each model: Python's objects", traced["once_bytes"] / 1024, "KB")
    yield Figure("held for each model: resident", resident["once_bytes"] / 1024, "KB")
    yield Figure(f"read {LOOKS} times more, with other prices: growth", resident["grown_mb"], "MB", FLAT_MB)
    yield Figure(f"read {LOOKS} times more: objects more", resident["grown_blocks"] / 1000, "thousand")
