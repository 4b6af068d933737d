"""DSPy: `litellm.completion` of the module, a cache of its own, `num_retries`, adapters, embedders and streams.

Later releases send `openai/…` with an HTTP client of their own and ask litellm for all other names;
`engine="litellm"` makes them ask litellm for every name.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway, ToolCall
from tests.support.clients import COLD, EMBEDDER, MODEL, SPELLINGS, WARM, answers

dspy: Any = pytest.importorskip("dspy", reason="dspy is not installed here: `make clients` has an environment with it")

FILLED = "[[ ## answer ## ]]\nblue\n\n[[ ## completed ## ]]"


def model(picky: PickyGateway, name: str = SPELLINGS[0], **options: Any) -> Any:
    settings = {"api_base": picky.url, "api_key": FAKE_KEY, "cache": False, "engine": "litellm", **options}
    return dspy.LM(name, **settings)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_plain_call(name: str, picky: PickyGateway) -> None:
    lm = model(picky, name)
    assert lm("hello") == ["echo: hello"]
    assert lm("again") == ["echo: again"]
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_async_call(name: str, picky: PickyGateway) -> None:
    assert asyncio.run(model(picky, name).acall("hello")) == ["echo: hello"]
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_base_url_is_understood_too(name: str, picky: PickyGateway) -> None:
    lm = dspy.LM(name, base_url=picky.url, api_key=FAKE_KEY, cache=False, engine="litellm")
    assert lm("hello") == ["echo: hello"]
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_signature(name: str, picky: PickyGateway) -> None:
    picky.change(reply=FILLED)
    with dspy.context(lm=model(picky, name)):
        assert dspy.Predict("question -> answer")(question="which colour?").answer == "blue"
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_structured_output(name: str, picky: PickyGateway) -> None:
    picky.change(reply='{"answer": 42}')
    with dspy.context(lm=model(picky, name), adapter=dspy.JSONAdapter()):
        assert dspy.Predict("question -> answer: int")(question="how many?").answer == 42
    assert picky.served[-1].body["response_format"]
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_tool_call(name: str, picky: PickyGateway) -> None:
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    thought = '{{"next_thought": "t", "next_tool_name": "{}", "next_tool_args": {}}}'
    picky.change(
        reply=answers(
            thought.format("weather", '{"city": "Oslo"}'),
            thought.format("finish", "{}"),
            '{"reasoning": "r", "answer": "rain"}',
        )
    )
    with dspy.context(lm=model(picky, name), adapter=dspy.JSONAdapter()):
        result = dspy.ReAct("question -> answer", tools=[weather])(question="the weather?")
    assert result.answer == "rain"
    assert "rain in Oslo" in str(result.trajectory)
    assert picky.styles("chat") == COLD + WARM * 2


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_native_tool_calls(name: str, picky: PickyGateway) -> None:
    picky.change(reply=ToolCall("weather", {"city": "Oslo"}))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    answer = model(picky, name)("the weather?", tools=[tool])[0]
    assert answer["tool_calls"][0].function.name == "weather"
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_stream(name: str, picky: PickyGateway) -> None:
    picky.change(reply=FILLED.replace("blue", "blue as the sky is"))
    program = dspy.streamify(
        dspy.Predict("question -> answer"),
        stream_listeners=[dspy.streaming.StreamListener(signature_field_name="answer")],
    )

    async def pieces() -> list[Any]:
        with dspy.context(lm=model(picky, name)):
            return [piece async for piece in program(question="which colour?")]

    *parts, last = asyncio.run(pieces())
    assert last.answer == "blue as the sky is"
    assert parts
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", [f"openai/{EMBEDDER}", f"gateway/{EMBEDDER}"])
def test_embeddings(name: str, picky: PickyGateway) -> None:
    embedder = dspy.Embedder(name, api_base=picky.url, api_key=FAKE_KEY, caching=False)
    assert embedder(["one", "two"]).shape[0] == 2
    assert asyncio.run(embedder.acall(["one", "two"])).shape[0] == 2
    assert picky.styles("embeddings") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_its_own_cache_keeps_answers(name: str, picky: PickyGateway, tmp_path: Any) -> None:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    lm = model(picky, name, cache=True)
    assert [lm("hello"), lm("hello")] == [["echo: hello"]] * 2
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_full_gateway_is_tried_again(name: str, picky: PickyGateway) -> None:
    lm = model(picky, name, num_retries=2)
    lm("hello")
    picky.clear()
    picky.full(times=1, retry_after="0")
    assert lm("again") == ["echo: again"]
    assert [seen.verdict for seen in picky.seen] == ["full", "served"]


def test_many_threads_at_once(picky: PickyGateway) -> None:
    picky.change(reply=FILLED)
    with dspy.context(lm=model(picky)):
        program = dspy.Predict("question -> answer")
        examples = [dspy.Example(question=str(number)).with_inputs("question") for number in range(12)]
        results = dspy.Parallel(num_threads=6, disable_progress_bar=True)([(program, example) for example in examples])
    assert [result.answer for result in results] == ["blue"] * 12
    assert len(picky.refused) == 1
    assert len(picky.served) == 12


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import asyncio, os, dspy
options = {"api_base": os.environ["BASE"], "api_key": os.environ["KEY"], "cache": False, "engine": "litellm"}
for prefix in ("openai/", "gateway/"):
    lm = dspy.LM(prefix + os.environ["MODEL"], **options)
    print(">", lm("hello")[0])
    print(">", asyncio.run(lm.acall("hello"))[0])
"""
        )
        == ["> echo: hello"] * 4
    )
    assert picky.styles("chat") == COLD + WARM * 3
    assert {seen.model for seen in picky.served} == {MODEL}
