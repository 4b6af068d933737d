"""CrewAI: replaces `litellm.callbacks` wholesale at every `LLM()`, sets `litellm.drop_params`, writes base_url=."""

from __future__ import annotations

import os
from typing import Any

import litellm
import pytest
from pydantic import BaseModel

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway, ToolCall
from tests.support.clients import COLD, SPELLINGS, WARM, answers

os.environ["OTEL_SDK_DISABLED"] = "true"  # it reports home
os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"

library: Any = pytest.importorskip(
    "crewai", reason="crewai is not installed here: `make clients` has an environment with it"
)


class City(BaseModel):
    """A city."""

    name: str


def model(picky: PickyGateway, name: str, **options: Any) -> Any:
    return library.LLM(model=name, base_url=picky.url, api_key=FAKE_KEY, **options)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_plain_call(name: str, picky: PickyGateway) -> None:
    llm = model(picky, name)
    assert llm.call("hello") == "echo: hello"
    assert llm.call("again") == "echo: again"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_base_by_its_other_name(name: str, picky: PickyGateway) -> None:
    llm = library.LLM(model=name, api_base=picky.url, api_key=FAKE_KEY)
    assert llm.call("hello") == "echo: hello"
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_stream(name: str, picky: PickyGateway) -> None:
    assert model(picky, name, stream=True).call("hello you") == "echo: hello you"
    assert picky.served[0].streams
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_every_new_llm_replaces_the_callbacks(name: str, picky: PickyGateway) -> None:
    heard = litellm.integrations.custom_logger.CustomLogger()
    for _ in range(3):
        assert model(picky, name, callbacks=[heard]).call("hello") == "echo: hello"
        assert litellm.callbacks.count(lgp.callback) == 1
        assert heard in litellm.callbacks
    assert picky.styles("chat") == COLD + WARM * 2


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_tool_call(name: str, picky: PickyGateway) -> None:
    picky.change(reply=ToolCall("weather", {"city": "Oslo"}))
    tool = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    said = model(picky, name).call(
        "the weather?", tools=[tool], available_functions={"weather": lambda city: f"rain in {city}"}
    )
    assert said == "rain in Oslo"
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_crew_with_structured_output(name: str, picky: PickyGateway) -> None:
    picky.change(reply=answers('Thought: I know.\nFinal Answer: {"name": "Oslo"}', ToolCall("City", {"name": "Oslo"})))
    agent = library.Agent(role="guide", goal="name cities", backstory="well travelled", llm=model(picky, name))
    task = library.Task(description="Name a city.", expected_output="a city", agent=agent, output_pydantic=City)
    result = library.Crew(agents=[agent], tasks=[task]).kickoff()
    assert result.pydantic == City(name="Oslo")
    assert picky.styles("chat")[:3] == COLD
    assert len(picky.refused) == 1


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import os
from crewai import LLM
for prefix in ("openai/", "gateway/"):
    llm = LLM(model=prefix + os.environ["MODEL"], base_url=os.environ["BASE"], api_key=os.environ["KEY"])
    print(">", llm.call("hello"))
"""
        )
        == ["> echo: hello"] * 2
    )
    assert picky.styles("chat") == COLD + WARM
