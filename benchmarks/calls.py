"""CPU and time of warm calls and of streams, all contenders in turn, so that a busy moment hits each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from statistics import median

from .contenders import CONTENDERS, LABELS, OURS
from .figures import Cost, Figure, Findings
from .processes import Program, Server

CALLS = {"sync": 40, "async": 40, "wide": 96}
STREAMS = {"stream": 2, "astream": 2}
WARM_UP = {"sync": 40, "async": 40, "wide": 64, "stream": 2, "astream": 2}
STREAMERS = ("openai", "hosted_vllm", "floor", "gateway", "session", "httpx")

WAYS = {
    "sync": "sync",
    "async": "async, one at a time",
    "wide": "async, 32 at a time",
    "stream": "sync stream, per chunk",
    "astream": "async stream, per chunk",
}
OF_OPENAI = {"sync": 0.6, "async": 0.6, "wide": 0.7, "stream": 1.0, "astream": 1.0}
OF_HOSTED_VLLM = 1.0
ABOVE_FLOOR_MS = 0.5

Rounds = Mapping[str, Mapping[str, list[Cost]]]
"""By contender and way, one cost for each round."""


def warm_calls(server: Server, rounds: int) -> Findings:
    """One call after the other, and 32 side by side."""
    measured = run(server, tuple(CONTENDERS), CALLS, rounds)
    return Findings("Warm calls: ms of CPU for each (ms of time)", list(_ratios(measured, CALLS)), _medians(measured))


def streams(server: Server, rounds: int) -> Findings:
    """A stream of 200 chunks, a millisecond apart."""
    measured = run(server, STREAMERS, STREAMS, rounds)
    return Findings(
        "Streams: ms of CPU for each chunk (ms of time)", list(_ratios(measured, STREAMS)), _medians(measured)
    )


def run(server: Server, names: Sequence[str], counts: Mapping[str, int], rounds: int) -> Rounds:
    """Every contender in every way, round by round."""
    measured: dict[str, dict[str, list[Cost]]] = {name: {way: [] for way in counts} for name in names}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Program("worker", name, server.base)) for name in names}
        for way in counts:
            for worker in workers.values():
                worker.ask({"way": way, "count": WARM_UP[way]})
        for _ in range(rounds):
            for way, count in counts.items():
                for name, worker in workers.items():
                    took = worker.ask({"way": way, "count": count})
                    measured[name][way].append(Cost(took["cpu"] * 1000, took["wall"] * 1000))
    return measured


def _medians(measured: Rounds) -> dict[str, dict[str, Cost]]:
    def middle(costs: list[Cost]) -> Cost:
        return Cost(median(cost.cpu for cost in costs), median(cost.wall for cost in costs))

    return {
        LABELS[name]: {WAYS[way]: middle(costs) for way, costs in by_way.items()} for name, by_way in measured.items()
    }


def _ratios(measured: Rounds, counts: Mapping[str, int]) -> Iterator[Figure]:
    """Ours against each reference, in the median of the rounds: what slows a round down slows both sides."""
    for way in counts:
        for name in OURS:
            if name in measured:
                yield from _compared(measured, way, name)


def _compared(measured: Rounds, way: str, name: str) -> Iterator[Figure]:
    ours = [cost.cpu for cost in measured[name][way]]
    what = f"{WAYS[way]}: {LABELS[name]}"
    plain = name != "session"  # a synchronous openai/ call goes through the OpenAI client, whatever carries it
    for other, most in (("openai", OF_OPENAI[way]), ("hosted_vllm", OF_HOSTED_VLLM)):
        pairs = zip(ours, measured[other][way], strict=True)
        ratio = median(mine / theirs.cpu for mine, theirs in pairs)
        yield Figure(f"{what} / {LABELS[other]}", ratio, "x", most if plain else None)
    above = median(mine - floor.cpu for mine, floor in zip(ours, measured["floor"][way], strict=True))
    yield Figure(f"{what} above the floor", above, "ms", ABOVE_FLOOR_MS if plain and way in CALLS else None)
