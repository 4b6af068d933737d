"""The OpenAI Agents SDK: LitellmModel calls `litellm.acompletion` alone, with many unset arguments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway, ToolCall
from tests.support.clients import COLD, SPELLINGS, WARM, answers

library: Any = pytest.importorskip(
    "agents.extensions.models.litellm_model",
    reason="openai-agents[litellm] is not installed here: `make clients` has an environment with it",
)
agents: Any = pytest.importorskip("agents", reason="as above")


class City(BaseModel):
    name: str


def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


def agent(picky: PickyGateway, name: str, **options: Any) -> Any:
    agents.set_tracing_disabled(True)
    model = library.LitellmModel(model=name, base_url=picky.url, api_key=FAKE_KEY)
    return agents.Agent(name="guide", instructions="Be brief.", model=model, **options)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_plain_run(name: str, picky: PickyGateway) -> None:
    assert asyncio.run(agents.Runner.run(agent(picky, name), "hello")).final_output == "echo: hello"
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_stream(name: str, picky: PickyGateway) -> None:
    async def streamed() -> Any:
        result = agents.Runner.run_streamed(agent(picky, name), "hello you")
        kinds = [event.type async for event in result.stream_events()]
        assert "raw_response_event" in kinds
        return result.final_output

    assert asyncio.run(streamed()) == "echo: hello you"
    assert picky.served[0].streams
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_tools(name: str, picky: PickyGateway) -> None:
    picky.change(reply=answers(ToolCall("weather", {"city": "Oslo"}), "it rains"))
    with_tools = agent(picky, name, tools=[agents.function_tool(weather)])
    assert asyncio.run(agents.Runner.run(with_tools, "the weather?")).final_output == "it rains"
    assert picky.served[-1].body["messages"][-1]["content"] == "rain in Oslo"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_structured_output(name: str, picky: PickyGateway) -> None:
    result = asyncio.run(agents.Runner.run(agent(picky, name, output_type=City), "which city?"))
    assert result.final_output == City(name="text")
    assert picky.served[0].body["response_format"]["type"] == "json_schema"
    assert picky.styles("chat") == COLD


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import os
import agents
from agents.extensions.models.litellm_model import LitellmModel
agents.set_tracing_disabled(True)
for prefix in ("openai/", "gateway/"):
    model = LitellmModel(model=prefix + os.environ["MODEL"], base_url=os.environ["BASE"], api_key=os.environ["KEY"])
    print(">", agents.Runner.run_sync(agents.Agent(name="guide", model=model), "hello").final_output)
"""
        )
        == ["> echo: hello"] * 2
    )
    assert picky.styles("chat") == COLD + WARM
