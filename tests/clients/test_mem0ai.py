"""mem0: its litellm provider takes no base, so that programs set `litellm.api_base` and `litellm.api_key` in code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import litellm
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.clients import COLD, MODEL, SPELLINGS, WARM

os.environ["MEM0_TELEMETRY"] = "False"  # it reports home

library: Any = pytest.importorskip(
    "mem0", reason="mem0ai is not installed here: `make clients` has an environment with it"
)
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def named_in_code(picky: PickyGateway) -> Iterator[None]:
    litellm.api_base, litellm.api_key = picky.url, FAKE_KEY
    yield
    litellm.api_base = litellm.api_key = None


def model(name: str) -> Any:
    from mem0.utils.factory import LlmFactory  # type: ignore[import-not-found,unused-ignore]  # as above

    return LlmFactory.create("litellm", {"model": name})


@pytest.mark.usefixtures("named_in_code")
@pytest.mark.parametrize("name", [*SPELLINGS[:4], MODEL])
def test_a_plain_call(name: str, picky: PickyGateway) -> None:
    llm = model(name)
    assert llm.generate_response(HELLO) == "echo: hello"
    assert llm.generate_response(HELLO) == "echo: hello"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.usefixtures("named_in_code")
@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_json(name: str, picky: PickyGateway) -> None:
    assert model(name).generate_response(HELLO, response_format={"type": "json_object"}) == '{"ok":true}'
    assert picky.styles("chat") == COLD


@pytest.mark.usefixtures("named_in_code")
def test_the_pair_in_code_does_not_reach_another_base(picky: PickyGateway, gateway: GatewayFactory) -> None:
    other = gateway(Manners(models=(MODEL,)))
    model(SPELLINGS[1]).generate_response(HELLO)
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(SPELLINGS[1], HELLO, api_base=other.base())
    assert {seen.credential_headers for seen in other.seen} == {()}


def test_a_configured_gateway_needs_nothing_in_code(picky: PickyGateway) -> None:
    import litellm_gateway_plugin as lgp

    lgp.install(api_base=picky.url, api_key=FAKE_KEY)
    assert model(SPELLINGS[1]).generate_response(HELLO) == "echo: hello"
    assert picky.styles("chat") == COLD


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import os
from mem0.utils.factory import LlmFactory
import litellm
litellm.api_base, litellm.api_key = os.environ["BASE"], os.environ["KEY"]
for prefix in ("openai/", "gateway/"):
    llm = LlmFactory.create("litellm", {"model": prefix + os.environ["MODEL"]})
    print(">", llm.generate_response([{"role": "user", "content": "hello"}]))
"""
        )
        == ["> echo: hello"] * 2
    )
    assert picky.styles("chat") == COLD + WARM
