"""What can go wrong on the wire, through every kind of door: one clear error, in time, and never sent twice."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, FAULTS, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL = "test/model-small"
HARMLESS = {
    "json-for-stream",  # turned into a stream of one
    "dribble",
    "reset-before-end",
    "stall-before-end",
    "stall-before-body-read",
    "not-utf8",
}
STREAM_ONLY = {name for name, fault in FAULTS.items() if fault.cut == "after-events" or name == "stall-in-event"}


DOORS = (Door("gateway/", False), Door("gateway/", True), Door("openai/", False))
ENDLESS = ("stall", "drip")


def faults(*, stream: bool) -> list[str]:
    """The faults that end such a call in an error."""
    skipped = HARMLESS | ({"stream-for-json", "cut-json"} if stream else STREAM_ONLY)
    return sorted(FAULTS.keys() - skipped)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - HARMLESS))
@pytest.mark.parametrize("door", DOORS, ids=str)
def test_a_fault_is_one_error(fault: str, stream: bool, door: Door, gateway: GatewayFactory) -> None:
    if fault not in faults(stream=stream):
        pytest.skip("this fault belongs to the other kind of call")
    server = gateway(Manners())
    door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    server.clear()
    server.change(fault=fault)
    limit = 0.3 if FAULTS[fault].how in ENDLESS else 20
    with pytest.raises(Exception) as caught:
        door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=stream, timeout=limit, max_retries=0)
    error: Any = caught.value
    assert isinstance(error, litellm.openai.OpenAIError)
    assert FAKE_KEY not in str(error)
    assert len(str(error)) < 4000
    assert len(server.seen) == 1, [(seen.style, seen.status) for seen in server.seen]
    assert server.worked_twice() == []
