"""The simulation of many processes: small, fast, and without its picture."""

from __future__ import annotations

import pytest

from benchmarks.simulation.callers import router_delay
from benchmarks.simulation.policies import POLICIES, simulate
from benchmarks.simulation.world import Record, Scene

SMALL = Scene(
    processes=20,
    lasts=10.0,
    rooms=((0, 12), (4, 0), (5, 6), (7, 20)),
    rates=((0, 0.3),),
    service=(0.4, 0.5),
)


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("hint", [None, 1.0])
def test_every_call_is_answered_or_fails(policy: str, hint: float | None) -> None:
    record = simulate(
        Scene(SMALL.processes, SMALL.lasts, SMALL.rooms, 0.0, SMALL.rates, SMALL.service, hint=hint), policy
    )
    assert len(record.born) > 30
    assert len(record.served) + len(record.failed) == len(record.over) == len(record.born)
    assert len(record.began) == len(record.ended) == len(record.served)


def test_the_upstream_never_takes_more_than_its_room() -> None:
    record = simulate(SMALL, "no gate, Router")
    changes = [*((at, 1) for at in record.began), *((at, -1) for at in record.ended)]
    busy = most = 0
    for _, change in sorted(changes):
        busy += change
        most = max(most, busy)
    assert most <= max(room for _, room in record.room)


@pytest.mark.parametrize("policy", list(POLICIES))
def test_the_same_seed_is_the_same_minute(policy: str) -> None:
    def brief(record: Record) -> tuple[list[float], list[float]]:
        return record.refused, record.over

    assert brief(simulate(SMALL, policy)) == brief(simulate(SMALL, policy))


@pytest.mark.parametrize("hint", [None, 1, 30])
def test_the_router_waits_as_litellm_does(hint: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    import litellm

    monkeypatch.setattr("random.random", lambda: 0.5)
    headers = None if hint is None else httpx.Headers({"retry-after": str(hint)})
    for retry in range(8):
        assert router_delay(retry, hint, 0.5) == litellm.calculate_retry_after(8 - retry, 8, headers)
