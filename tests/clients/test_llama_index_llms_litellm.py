"""LlamaIndex: imports `completion` and `acompletion` inside its calls, and writes the model by keyword."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway
from tests.support.clients import COLD, SPELLINGS, WARM

library: Any = pytest.importorskip(
    "llama_index.llms.litellm",
    reason="llama-index-llms-litellm is not installed here: `make clients` has an environment with it",
)


def model(picky: PickyGateway, name: str) -> Any:
    return library.LiteLLM(model=name, api_base=picky.url, api_key=FAKE_KEY, max_retries=0)


@pytest.mark.parametrize("name", SPELLINGS)
def test_plain_calls(name: str, picky: PickyGateway) -> None:
    llm = model(picky, name)
    assert str(llm.complete("hello")) == "echo: hello"
    assert str(asyncio.run(llm.acomplete("again"))) == "echo: again"
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS)
def test_streams(name: str, picky: PickyGateway) -> None:
    llm = model(picky, name)
    assert str(list(llm.stream_complete("hello you"))[-1]) == "echo: hello you"

    async def collected() -> list[Any]:
        return [part async for part in await llm.astream_complete("hello you")]

    assert str(asyncio.run(collected())[-1]) == "echo: hello you"
    assert picky.styles("chat") == COLD + WARM


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import os
from llama_index.llms.litellm import LiteLLM
for prefix in ("openai/", "gateway/"):
    llm = LiteLLM(model=prefix + os.environ["MODEL"], api_base=os.environ["BASE"], api_key=os.environ["KEY"])
    print(">", llm.complete("hello"))
"""
        )
        == ["> echo: hello"] * 2
    )
    assert picky.styles("chat") == COLD + WARM
