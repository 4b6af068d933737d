"""instructor: wraps the functions `completion` and `acompletion` themselves, often taken before install()."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest
from pydantic import BaseModel, field_validator

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway, ToolCall
from tests.support.clients import COLD, MODEL, SPELLINGS, WARM, answers

library: Any = pytest.importorskip(
    "instructor", reason="instructor is not installed here: `make clients` has an environment with it"
)
HELLO = [{"role": "user", "content": "who is it?"}]

# Made before install(), as a program does at its top.
CLIENT = library.from_litellm(litellm.completion)
TASKS = library.from_litellm(litellm.acompletion)
IN_JSON = library.from_litellm(litellm.completion, mode=library.Mode.JSON)


class Person(BaseModel):
    name: str
    age: int


class Adult(BaseModel):
    age: int

    @field_validator("age")
    @classmethod
    def _old_enough(cls, age: int) -> int:
        if age < 18:
            raise ValueError("must be 18 or older")
        return age


def asked(picky: PickyGateway, name: str, **options: Any) -> dict[str, Any]:
    return {"model": name, "messages": HELLO, "api_base": picky.url, "api_key": FAKE_KEY, **options}


@pytest.mark.parametrize("name", SPELLINGS)
def test_structured_output_by_tools(name: str, picky: PickyGateway) -> None:
    person = CLIENT.chat.completions.create(response_model=Person, **asked(picky, name))
    assert person.model_dump() == {"name": "text", "age": 1}
    person = asyncio.run(TASKS.chat.completions.create(response_model=Person, **asked(picky, name)))
    assert person.model_dump() == {"name": "text", "age": 1}
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_structured_output_in_json(name: str, picky: PickyGateway) -> None:
    picky.change(reply='{"name": "Ada", "age": 36}')
    person = IN_JSON.chat.completions.create(response_model=Person, **asked(picky, name))
    assert person.model_dump() == {"name": "Ada", "age": 36}
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_an_answer_that_does_not_fit_is_asked_again(name: str, picky: PickyGateway) -> None:
    picky.change(reply=answers(ToolCall("Adult", {"age": 7}), ToolCall("Adult", {"age": 36})))
    assert CLIENT.chat.completions.create(response_model=Adult, max_retries=2, **asked(picky, name)).age == 36
    assert picky.styles("chat") == COLD + WARM


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_the_completion_beside_the_object(name: str, picky: PickyGateway) -> None:
    person, completion = CLIENT.chat.completions.create_with_completion(response_model=Person, **asked(picky, name))
    assert isinstance(person, Person)
    assert completion.model.endswith(MODEL)


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_partial_streams(name: str, picky: PickyGateway) -> None:
    # From threads it hands back an asynchronous generator, with stock litellm too: litellm's streams are both kinds.
    async def collected() -> list[Any]:
        parts = TASKS.chat.completions.create_partial(response_model=Person, **asked(picky, name))
        return [part async for part in parts]

    last = asyncio.run(collected())[-1]
    assert (last.name, last.age) == ("text", 1)
    assert picky.served[0].streams
    assert picky.styles("chat") == COLD


@pytest.mark.parametrize("name", SPELLINGS[:2])
def test_without_a_model_it_is_litellms_answer(name: str, picky: PickyGateway) -> None:
    response = CLIENT.chat.completions.create(response_model=None, **asked(picky, name))
    assert response.choices[0].message.content == "echo: who is it?"
    assert picky.styles("chat") == COLD


def test_installed_before_it_is_imported(program: Any, picky: PickyGateway) -> None:
    assert (
        program(
            """
import litellm_gateway_plugin
litellm_gateway_plugin.install()
import asyncio, os, instructor
from litellm import acompletion, completion
from pydantic import BaseModel
class City(BaseModel):
    name: str
said = [{"role": "user", "content": "where?"}]
for prefix in ("openai/", "gateway/"):
    options = {"model": prefix + os.environ["MODEL"], "api_base": os.environ["BASE"], "api_key": os.environ["KEY"]}
    print(">", instructor.from_litellm(completion).create(response_model=City, messages=said, **options).name)
    tasks = instructor.from_litellm(acompletion)
    print(">", asyncio.run(tasks.create(response_model=City, messages=said, **options)).name)
"""
        )
        == ["> text"] * 4
    )
    assert picky.styles("chat") == COLD + WARM * 3
