"""What a run comes to: the outcome of a gateway, and the exit status of all of them."""

from __future__ import annotations

import pytest

from litellm_gateway_plugin.doctor.report import Cell, Check, Exit, Outcome
from litellm_gateway_plugin.doctor.run import exit_status, gateway_report, outcome_of
from litellm_gateway_plugin.doctor.targets import Examined, Models
from tests.support.doctored import target_of

PASS, FAIL, CAPACITY, SKIPPED = Outcome.PASS, Outcome.FAIL, Outcome.CAPACITY, Outcome.SKIPPED
BASE = "https://llm.example.com/v1"


def examined(*chat: Outcome) -> Examined:
    cells = [
        Cell(surface="chat/completions", style="bearer", api_base=BASE, toggled=False, outcome=one) for one in chat
    ]
    listing = Cell(surface="models", style="bearer", api_base=BASE, toggled=False, outcome=PASS)
    return Examined(target_of(BASE), Models(text="a/model"), None, (listing, *cells), BASE, "bearer")


@pytest.mark.parametrize(
    ("chat", "checks", "outcome"),
    [
        ((PASS, FAIL), (PASS, SKIPPED), PASS),
        ((PASS, CAPACITY), (PASS,), PASS),
        ((CAPACITY, FAIL), (), CAPACITY),
        ((PASS,), (PASS, CAPACITY), CAPACITY),
        ((CAPACITY,), (FAIL, CAPACITY), FAIL),
        ((PASS,), (FAIL,), FAIL),
        ((FAIL, SKIPPED), (), FAIL),
        ((), (), FAIL),
    ],
)
def test_outcome(chat: tuple[Outcome, ...], checks: tuple[Outcome, ...], outcome: Outcome) -> None:
    made = [Check(name="stream", outcome=each) for each in checks]
    assert outcome_of(examined(*chat), made) is outcome


@pytest.mark.parametrize(
    ("gateways", "installation", "status"),
    [
        ((PASS, PASS), (PASS, SKIPPED), Exit.GOOD),
        ((PASS, CAPACITY), (PASS,), Exit.FULL),
        ((FAIL, CAPACITY), (), Exit.FAILED),
        ((CAPACITY,), (FAIL,), Exit.FAILED),
    ],
)
def test_exit_status(gateways: tuple[Outcome, ...], installation: tuple[Outcome, ...], status: Exit) -> None:
    reports = [gateway_report(examined(each), ()) for each in gateways]
    assert exit_status(reports, [Check(name="cache", outcome=each) for each in installation]) is status
