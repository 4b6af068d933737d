"""smolagents: LiteLLMModel keeps a client of its own making and retries by itself; LiteLLMRouterModel a Router."""

from __future__ import annotations

from typing import Any

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway, ToolCall
from tests.support.clients import COLD, SPELLINGS, WARM, answers

library: Any = pytest.importorskip(
    "smolagents", reason="smolagents is not installed here: `make clients` has an environment with it"
)
HELLO = [{"role": "user", "content": "hello"}]


class Weather(library.Tool):  # type: ignore[misc]  # the library is not there when types are checked
    name = "weather"
    description = "The weather in a city."
    inputs = {"city": {"type": "string", "description": "the city"}}  # noqa: RUF012  the library's own way
    output_type = "string"

    def forward(self, city: str) -> str:
        return f"rain in {city}"


def model(picky: PickyGateway, name: str, **options: Any) -> Any:
    return library.LiteLLMModel(model_id=name, api_base=picky.url, api_key=FAKE_KEY, **options)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_plain_call(name: str, picky: PickyGateway) -> None:
    llm = model(picky, name)
    assert llm(HELLO).content == "echo: hello"
    assert llm(HELLO).content == "echo: hello"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_stream(name: str, picky: PickyGateway) -> None:
    deltas = list(model(picky, name).generate_stream(HELLO))
    assert "".join(delta.content or "" for delta in deltas) == "echo: hello"
    assert any(delta.token_usage for delta in deltas)
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_structured_output(name: str, picky: PickyGateway) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "Weather", "schema": schema}}
    assert model(picky, name).generate(HELLO, response_format=wanted).content == '{"city": "text"}'
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_agent_with_tools(name: str, stream: bool, picky: PickyGateway) -> None:
    picky.change(reply=answers(ToolCall("weather", {"city": "Oslo"}), ToolCall("final_answer", {"answer": "rain"})))
    agent = library.ToolCallingAgent(
        tools=[Weather()], model=model(picky, name), verbosity_level=0, stream_outputs=stream, max_steps=3
    )
    assert agent.run("the weather?") == "rain"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_an_agent_that_writes_code(name: str, picky: PickyGateway) -> None:
    picky.change(reply='Thought: easy.\n<code>\nfinal_answer(weather(city="Oslo"))\n</code>')
    agent = library.CodeAgent(tools=[Weather()], model=model(picky, name), verbosity_level=0, max_steps=2)
    assert agent.run("the weather?") == "rain in Oslo"
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_router(name: str, picky: PickyGateway) -> None:
    named = {"api_base": picky.url, "api_key": FAKE_KEY}
    deployment = {"model_name": "mine", "litellm_params": {"model": name, **named}}
    # It hands its own base and key to every call, even unset ones, and the Router prefers them to the deployment's.
    llm = library.LiteLLMRouterModel(model_id="mine", model_list=[deployment], **named)
    assert llm(HELLO).content == "echo: hello"
    assert picky.styles("chat") == COLD


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import os
from smolagents import LiteLLMModel
for prefix in ("openai/", "gateway/"):
    llm = LiteLLMModel(model_id=prefix + os.environ["MODEL"], api_base=os.environ["BASE"], api_key=os.environ["KEY"])
    print(">", llm([{"role": "user", "content": "hello"}]).content)
"""
        )
        == ["> echo: hello"] * 2
    )
    assert picky.styles("chat") == COLD + WARM
