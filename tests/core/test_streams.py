"""Events in, chunks out: the order that litellm needs, and nothing that ends early or unread."""

from __future__ import annotations

import json
from typing import Any

import pytest

from litellm_gateway_plugin.errors import BrokenAnswer
from litellm_gateway_plugin.streams import CompletionStream, ErrorEvent

Chunk = dict[str, Any]
EMPTY = {"content": None}
USAGE = {"total_tokens": 3}


def chunk(*choices: Chunk, **more: Any) -> Chunk:
    return {"id": "x", "choices": list(choices), **more}


def choice(index: int = 0, finish: str | None = None, **delta: Any) -> Chunk:
    return {"index": index, "finish_reason": finish, "delta": delta}


def read(*events: Chunk | str, surface: str = "chat/completions", usage_last: bool = False) -> list[Chunk]:
    stream = CompletionStream(surface, usage_last=usage_last)
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [*(part for text in texts for part in stream.event(text)), *stream.end()]


def brief(chunks: list[Chunk]) -> list[Any]:
    """What each chunk adds: its usage, or (index, content, finish) of its choices."""
    return [
        part["usage"]
        if "usage" in part and not part["choices"]
        else [
            (c["index"], c.get("delta", c).get("content", c.get("text")), c["finish_reason"]) for c in part["choices"]
        ]
        for part in chunks
    ]


def test_the_finish_is_held_back_until_usage_is_known() -> None:
    events = (chunk(choice(content="a")), chunk(choice(finish="stop")), chunk(usage=USAGE), "[DONE]")
    assert brief(read(*events)) == [[(0, "a", None)], USAGE, [(0, None, "stop")]]
    assert brief(read(*events, usage_last=True)) == [[(0, "a", None)], [(0, None, "stop")], USAGE]


def test_what_the_finish_carries_goes_out_before_it() -> None:
    assert brief(read(chunk(choice(finish="stop", content="end")))) == [[(0, "end", None)], [(0, None, "stop")]]
    reasoning = read(chunk(choice(finish="stop", reasoning="why")))
    assert reasoning[0]["choices"][0]["delta"] == {"reasoning_content": "why"}
    logprobs = read(chunk({**choice(finish="stop"), "logprobs": {"content": []}}))
    assert logprobs[0]["choices"][0]["logprobs"] == {"content": []}
    assert len(read(chunk(choice(finish="stop", role="assistant", content="")))) == 1


def test_every_choice_has_its_finish_and_the_first_one_ends() -> None:
    events = (
        chunk(choice(0, content="a"), choice(1, content="b")),
        chunk(choice(1, "length")),
        chunk(choice(0, "stop")),
    )
    assert brief(read(*events)) == [
        [(0, "a", None), (1, "b", None)],
        [(0, None, None), (1, None, "length")],
        [(0, None, "stop")],
    ]
    with pytest.raises(BrokenAnswer, match="finish reason"):
        read(*events[:2])


def test_text_completions() -> None:
    part = {"index": 0, "text": "a", "finish_reason": None}
    events = (chunk(part), chunk({**part, "text": "b", "finish_reason": "stop"}), chunk(usage=USAGE))
    expected = [[(0, "a", None)], [(0, "b", None)], USAGE, [(0, "", "stop")]]
    assert brief(read(*events, surface="completions")) == expected


def test_whether_a_stream_is_done_or_finished() -> None:
    stream = CompletionStream()
    seen = []
    for event in (json.dumps(chunk(choice(content="a"))), json.dumps(chunk(choice(finish="stop"))), "[DONE]"):
        list(stream.event(event))
        seen.append((stream.finished, stream.done))
    assert seen == [(False, False), (True, False), (True, True)]


def test_odd_events_of_real_servers() -> None:
    odd = (
        "",
        {"type": "ping"},
        chunk(usage=None),
        {"choices": None, "usage": USAGE},
        chunk({"finish_reason": None, "delta": None, "message": None}),
        chunk({"finish_reason": "stop", "index": None}),
    )
    assert brief(read(*odd)) == [[(0, None, None)], USAGE, [(0, None, "stop")]]


def test_tool_calls_get_the_index_that_some_leave_out() -> None:
    def calls(*given: Any) -> Any:
        return read(chunk(choice(tool_calls=list(given))), chunk(choice(finish="stop")))[0]["choices"][0]["delta"][
            "tool_calls"
        ]

    assert calls({"id": "a"}, {"id": "b", "index": None}) == [{"id": "a", "index": 0}, {"id": "b", "index": 1}]
    assert calls({"id": "a"}, "odd", {"id": "b", "index": 7}) == [{"id": "a", "index": 0}, {"id": "b", "index": 7}]
    assert calls({"index": 3}) == [{"index": 3}]


@pytest.mark.parametrize("event", ["nonsense", "[1]", "3", "[" * 10**5, '{"choices": [3]}'])
def test_an_event_that_cannot_be_used_is_an_error(event: str) -> None:
    with pytest.raises(BrokenAnswer):
        read(event)


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "full"}},
        {"detail": "full"},
        {"message": "full", "code": 429},
        {"error": "x", "choices": []},
    ],
)
def test_an_event_that_is_an_error_is_raised_as_one(event: Chunk) -> None:
    with pytest.raises(ErrorEvent) as caught:
        read(event)
    assert caught.value.body == event
    assert json.loads(caught.value.text) == event


def test_a_stream_without_an_end_is_no_answer() -> None:
    for events in ((), (chunk(choice(content="a")),), ("[DONE]",)):
        with pytest.raises(BrokenAnswer):
            read(*events)


def test_a_whole_answer_is_a_stream_of_one() -> None:
    message = {"role": "assistant", "content": "hi"}
    body = {"object": "chat.completion", "choices": [{"message": message, "finish_reason": None}, {"message": message}]}
    chunks = list(CompletionStream().whole({**body, "usage": USAGE}))
    assert brief(chunks) == [
        [(0, "hi", None)],
        [(1, "hi", None)],
        USAGE,
        [(0, None, None), (1, None, "stop")],
        [(0, None, "stop")],
    ]
    assert {part["object"] for part in chunks} == {"chat.completion.chunk"}
    assert "message" not in chunks[0]["choices"][0]
    text = {"object": "text_completion", "choices": [{"text": "hi", "finish_reason": "length"}]}
    assert brief(list(CompletionStream("completions").whole(text))) == [[(0, "hi", None)], [(0, "", "length")]]
