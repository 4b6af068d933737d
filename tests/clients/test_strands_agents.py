"""Strands Agents: streams every call through `litellm.acompletion`, with the client's arguments as keywords."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway, ToolCall
from tests.support.clients import COLD, SPELLINGS, WARM, answers

library: Any = pytest.importorskip(
    "strands.models.litellm",
    reason="strands-agents[litellm] is not installed here: `make clients` has an environment with it",
)
strands: Any = pytest.importorskip("strands", reason="as above")


class City(BaseModel):
    """A city."""

    name: str


def model(picky: PickyGateway, name: str) -> Any:
    return library.LiteLLMModel(client_args={"api_base": picky.url, "api_key": FAKE_KEY}, model_id=name)


def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: the city.
    """
    return f"rain in {city}"


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_agent(name: str, picky: PickyGateway) -> None:
    agent = strands.Agent(model=model(picky, name), callback_handler=None)
    assert str(agent("hello")).strip() == "echo: hello"
    assert picky.served[0].streams
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_tools(name: str, picky: PickyGateway) -> None:
    picky.change(reply=answers(ToolCall("weather", {"city": "Oslo"}), "it rains"))
    agent = strands.Agent(model=model(picky, name), tools=[strands.tool(weather)], callback_handler=None)
    assert str(agent("the weather?")).strip() == "it rains"
    assert picky.styles("chat") == COLD + WARM


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import os
from strands import Agent
from strands.models.litellm import LiteLLMModel
named = {"api_base": os.environ["BASE"], "api_key": os.environ["KEY"]}
for prefix in ("openai/", "gateway/"):
    agent = Agent(model=LiteLLMModel(client_args=named, model_id=prefix + os.environ["MODEL"]), callback_handler=None)
    print(">", str(agent("hello")).strip())
"""
        )
        == ["> echo: hello"] * 2
    )
    assert picky.styles("chat") == COLD + WARM
