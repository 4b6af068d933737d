"""langchain-litellm: ChatLiteLLM holds the litellm module, ChatLiteLLMRouter a Router; LiteLLMEmbeddings."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest
from pydantic import BaseModel

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway
from tests.support.clients import COLD, EMBEDDER, MODEL, SPELLINGS, WARM

library: Any = pytest.importorskip(
    "langchain_litellm", reason="langchain-litellm is not installed here: `make clients` has an environment with it"
)


class Weather(BaseModel):
    """The weather in a city."""

    city: str


def chat(picky: PickyGateway, name: str, **options: Any) -> Any:
    return library.ChatLiteLLM(model=name, api_base=picky.url, api_key=FAKE_KEY, **options)


@pytest.mark.parametrize("name", SPELLINGS)
def test_plain_calls(name: str, picky: PickyGateway) -> None:
    llm = chat(picky, name)
    assert llm.invoke("hello").content == "echo: hello"
    assert asyncio.run(llm.ainvoke("again")).content == "echo: again"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS)
def test_streams(name: str, picky: PickyGateway) -> None:
    llm = chat(picky, name)
    chunks = list(llm.stream("hello you"))
    assert "".join(chunk.content for chunk in chunks) == "echo: hello you"

    async def collected() -> list[Any]:
        return [chunk async for chunk in llm.astream("hello you")]

    assert "".join(chunk.content for chunk in asyncio.run(collected())) == "echo: hello you"
    assert picky.styles("chat") == COLD + WARM
    assert [seen.streams for seen in picky.served] == [True, True]


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_the_usage_of_a_stream(name: str, picky: PickyGateway) -> None:
    whole = None
    for chunk in chat(picky, name, streaming=True, stream_options={"include_usage": True}).stream("hello you"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.usage_metadata["total_tokens"] > 0


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_tools(name: str, picky: PickyGateway) -> None:
    llm = chat(picky, name).bind_tools([Weather])
    assert llm.invoke("the weather?").tool_calls[0]["name"] == "Weather"
    assert asyncio.run(llm.ainvoke("the weather?")).tool_calls[0]["args"] == {"city": "text"}
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output(name: str, method: str, picky: PickyGateway) -> None:
    llm = chat(picky, name).with_structured_output(Weather, method=method)
    assert llm.invoke("the weather?") == Weather(city="text")
    assert asyncio.run(llm.ainvoke("the weather?")) == Weather(city="text")
    assert picky.styles("chat") == COLD + WARM


def test_the_provider_beside_the_id(picky: PickyGateway) -> None:
    llm = chat(picky, MODEL, custom_llm_provider="openai")
    assert llm.invoke("hello").content == "echo: hello"
    assert asyncio.run(llm.ainvoke("hello")).content == "echo: hello"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_batches(name: str, picky: PickyGateway) -> None:
    llm = chat(picky, name)
    assert [answer.content for answer in llm.batch(["a", "b", "c"])] == ["echo: a", "echo: b", "echo: c"]
    assert len(picky.refused) == 1
    assert len(picky.served) == 3


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_a_router(name: str, picky: PickyGateway) -> None:
    params = {"model": name, "api_base": picky.url, "api_key": FAKE_KEY}
    router = litellm.Router(model_list=[{"model_name": "mine", "litellm_params": params}])
    llm = library.ChatLiteLLMRouter(router=router, model_name="mine")
    assert llm.invoke("hello").content == "echo: hello"
    assert asyncio.run(llm.ainvoke("again")).content == "echo: again"
    assert "".join(chunk.content for chunk in llm.stream("a stream")) == "echo: a stream"
    assert picky.styles("chat") == COLD + WARM * 2


@pytest.mark.parametrize("name", [f"openai/{EMBEDDER}", f"gateway/{EMBEDDER}"])
def test_embeddings(name: str, picky: PickyGateway) -> None:
    embeddings = library.LiteLLMEmbeddings(model=name, api_base=picky.url, api_key=FAKE_KEY)
    assert len(embeddings.embed_documents(["one", "two"])) == 2
    assert asyncio.run(embeddings.aembed_query("one"))
    assert picky.styles("embeddings") == COLD + WARM


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import asyncio, os
from langchain_litellm import ChatLiteLLM
for prefix in ("openai/", "gateway/"):
    llm = ChatLiteLLM(model=prefix + os.environ["MODEL"], api_base=os.environ["BASE"], api_key=os.environ["KEY"])
    print(">", llm.invoke("hello").content)
    print(">", asyncio.run(llm.ainvoke("hello")).content)
"""
        )
        == ["> echo: hello"] * 4
    )
    assert picky.styles("chat") == COLD + WARM * 3
