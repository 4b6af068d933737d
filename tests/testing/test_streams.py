"""The shapes of event streams: through the door, and as pure functions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin.testing import CAPACITY_ERROR, Manners, StreamShape, ToolCall
from litellm_gateway_plugin.testing.replies import chat as whole_chat
from litellm_gateway_plugin.testing.streams import chunks_of, encode

SAID = "echo: hello there"


def payloads(stream: str) -> list[str]:
    """The data of each event, as the WHATWG's specification of event streams has it."""
    found, lines = [], []
    for line in stream.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            found.append("\n".join(lines))
            lines = []
    return found


def chunks(stream: str) -> list[Any]:
    return [json.loads(data) for data in payloads(stream) if data != "[DONE]"]


def text_of(stream: str, index: int = 0) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks(stream)
        for choice in chunk["choices"]
        if choice["index"] == index
    )


SHAPES = {
    "plain": StreamShape(),
    "crlf": StreamShape(line_end="\r\n"),
    "cr": StreamShape(line_end="\r"),
    "no space": StreamShape(space=False),
    "byte-order mark": StreamShape(byte_order_mark=True),
    "comments": StreamShape(comments=1),
    "other fields": StreamShape(other_fields=True),
    "several lines": StreamShape(multi_line=True),
    "several crlf lines": StreamShape(multi_line=True, line_end="\r\n", space=False),
    "no done": StreamShape(done=False),
    "no role": StreamShape(role_chunk=False),
    "null content": StreamShape(first_content=None),
    "odd fields": StreamShape(odd_fields=True),
    "byte by byte": StreamShape(split=1),
    "in sevens": StreamShape(split=7, line_end="\r\n", comments=2),
    "until the end": StreamShape(framing="close"),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_same_words_in_every_shape(shape, gateway, chat):
    answer = chat(gateway(Manners(stream=shape)), stream=True)
    stream = answer.content.decode()
    assert answer.headers["content-type"] == "text/event-stream"
    assert text_of(stream) == SAID
    assert chunks(stream)[-1]["choices"][0]["finish_reason"] == "stop"
    assert ("[DONE]" in stream) == shape.done
    assert stream.startswith("\ufeff") == shape.byte_order_mark
    assert (": keep-alive" in stream) == bool(shape.comments)
    assert ("\r" in stream, "\n" in stream) == ("\r" in shape.line_end, "\n" in shape.line_end)


@pytest.mark.parametrize("said", ['a,"b', "new\nline", "snow ☃", ""])
def test_hard_text_survives_several_lines(said, gateway, chat):
    picky = gateway(Manners(stream=StreamShape(multi_line=True), reply=lambda body: said))
    assert text_of(chat(picky, stream=True).content.decode()) == said


@pytest.mark.parametrize(
    ("usage", "asked", "places"),
    [
        ("asked", False, []),
        ("asked", True, ["alone"]),
        ("after-finish", False, ["alone"]),
        ("on-finish", False, ["finish"]),
        ("absent", True, []),
    ],
)
def test_where_the_usage_is(usage, asked, places, gateway, chat):
    picky = gateway(Manners(stream=StreamShape(usage=usage)))
    found = chunks(chat(picky, stream=True, stream_options={"include_usage": asked}).text)
    having = [chunk for chunk in found if "usage" in chunk]
    assert ["finish" if chunk["choices"] else "alone" for chunk in having] == places
    assert all(chunk["usage"]["total_tokens"] == 5 for chunk in having)


def test_usage_null_on_every_chunk(gateway, chat):
    picky = gateway(Manners(stream=StreamShape(null_usage=True, usage="after-finish")))
    *before, last = chunks(chat(picky, stream=True).text)
    assert all(chunk["usage"] is None for chunk in before)
    assert last["usage"]["total_tokens"] == 5


@pytest.mark.parametrize("on_finish", [False, True])
def test_reasoning_comes_before_the_text_or_on_the_finish_chunk(on_finish, gateway, chat):
    picky = gateway(Manners(reasoning="let me think", stream=StreamShape(reasoning_on_finish=on_finish)))
    found = chunks(chat(picky, stream=True).text)
    thought = [chunk["choices"][0]["delta"].get("reasoning_content", "") for chunk in found]
    assert "".join(thought) == "let me think"
    assert bool(thought[-1]) == on_finish


@pytest.mark.parametrize("interleaved", [False, True])
def test_several_choices(interleaved, gateway, chat):
    picky = gateway(Manners(stream=StreamShape(interleaved=interleaved)))
    stream = chat(picky, stream=True, n=2).text
    assert [text_of(stream, index) for index in (0, 1)] == [SAID, SAID]
    order = [chunk["choices"][0]["index"] for chunk in chunks(stream)]
    assert order == ([0, 1] * 5 if interleaved else [0] * 5 + [1] * 5)


def test_no_finish_reason(gateway, chat):
    picky = gateway(Manners(stream=StreamShape(finish=False)))
    found = chunks(chat(picky, stream=True).text)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in found)


def test_tool_calls_in_pieces(gateway, chat):
    calls = [ToolCall("look", {"at": "the moon"}), ToolCall("sing")]
    found = chunks(chat(gateway(Manners(reply=calls)), stream=True).text)
    pieces = [call for chunk in found for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    arguments = {0: "", 1: ""}
    for piece in pieces:
        arguments[piece["index"]] += piece["function"]["arguments"]
    assert arguments == {0: '{"at": "the moon"}', 1: "{}"}
    assert [piece["function"]["name"] for piece in pieces if "id" in piece] == ["look", "sing"]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_logprobs_follow_their_words(gateway, chat):
    found = chunks(chat(gateway(Manners()), stream=True, logprobs=True, top_logprobs=1).text)
    parts = [chunk["choices"][0] for chunk in found if "logprobs" in chunk["choices"][0]]
    assert [part["logprobs"]["content"][0]["token"] for part in parts] == [part["delta"]["content"] for part in parts]


def test_text_completions_stream_too(gateway, client):
    picky = gateway(Manners(key=None))
    body = {"model": "test/model-small", "prompt": "hello", "stream": True}
    found = chunks(client.post(picky.base() + "/completions", json=body).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in found) == "echo: hello"
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


ERRORS = {"error": {"message": "boom", "code": 500}}


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("after", [False, True])
def test_an_error_event(at, after, gateway, chat):
    shape = StreamShape(error=ERRORS, error_at=at, after_error=after)
    found = chunks(chat(gateway(Manners(stream=shape)), stream=True).text)
    assert [index for index, chunk in enumerate(found) if chunk == ERRORS] == [at]
    assert len(found) == (6 if after else at + 1)


def test_an_error_without_a_blank_line_after_it(gateway, chat):
    shape = StreamShape(error=CAPACITY_ERROR, error_at=0, error_form="unended")
    text = chat(gateway(Manners(stream=shape)), stream=True).text
    assert text.startswith("data: ")
    assert text.endswith("}\n")
    assert payloads(text) == []


def test_an_error_as_a_bare_line(gateway, chat):
    shape = StreamShape(error=ERRORS, error_form="bare")
    text = chat(gateway(Manners(stream=shape)), stream=True).text
    assert json.loads(text.splitlines()[-1]) == ERRORS


def test_the_content_type_can_be_wrong(gateway, chat):
    shape = StreamShape(content_type="text/plain")
    assert chat(gateway(Manners(stream=shape)), stream=True).headers["content-type"] == "text/plain"


@given(
    said=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    space=st.booleans(),
    multi_line=st.booleans(),
    other_fields=st.booleans(),
    comments=st.integers(0, 3),
    split=st.none() | st.integers(1, 50),
)
def test_any_shape_says_what_was_said(said, **knobs):
    shape = replace(StreamShape(), **knobs)
    whole = whole_chat({"model": "m"}, said, 1)
    events = encode(chunks_of(whole, shape, usage_asked=False), shape)
    assert text_of(b"".join(events).decode()) == said
