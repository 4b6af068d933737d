"""Streams through every way of writing a call: nothing lost, nothing out of order, no silent end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.testing import CAPACITY_ERROR, FAKE_KEY, Manners, StreamShape, ToolCall
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL = "test/model-small"
SHAPES = {
    "plain": StreamShape(),
    "CRLF": StreamShape(line_end="\r\n"),
    "CR": StreamShape(line_end="\r"),
    "no space": StreamShape(space=False),
    "byte-order mark": StreamShape(byte_order_mark=True),
    "comments": StreamShape(comments=1),
    "other fields": StreamShape(other_fields=True),
    "several data lines": StreamShape(multi_line=True),
    "no [DONE]": StreamShape(done=False),
    "no role chunk": StreamShape(role_chunk=False),
    "null content first": StreamShape(first_content=None),
    "usage on the finish chunk": StreamShape(usage="on-finish"),
    "null usage": StreamShape(null_usage=True),
    "reasoning on the finish chunk": StreamShape(reasoning_on_finish=True),
    "odd fields": StreamShape(odd_fields=True),
    "byte by byte": StreamShape(split=1),
    "three bytes and CRLF": StreamShape(split=3, line_end="\r\n"),
    "ended by the connection": StreamShape(framing="close", done=False),
    "no content type": StreamShape(content_type="text/plain"),
}


def text_of(chunks: list[Any]) -> str:
    """The text of a stream."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def finishes_of(chunks: list[Any]) -> list[str]:
    """Its finish reasons, in order."""
    return [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_read_whole(shape: StreamShape, door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(stream=replace(shape, usage="after-finish") if shape.usage == "asked" else shape))
    chunks = door.chat(
        MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=True, stream_options={"include_usage": True}
    )
    assert text_of(chunks) == "echo: hello"
    assert finishes_of(chunks) == ["stop"]
    assert [chunk.usage.completion_tokens for chunk in chunks if getattr(chunk, "usage", None)] == [2]
    assert server.seen[-1].body["stream"] is True
    assert server.seen[-1].body["stream_options"] == {"include_usage": True}


def test_reasoning_comes_before_the_text_and_none_is_lost(provider_door: Door, gateway: GatewayFactory) -> None:
    for shape in (StreamShape(), StreamShape(reasoning_on_finish=True)):
        server = gateway(Manners(reasoning="first second third", stream=shape))
        chunks = provider_door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=True)
        thoughts = "".join(getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in chunks)
        assert thoughts == "first second third"
        assert text_of(chunks) == "echo: hello"
        assert finishes_of(chunks) == ["stop"]


def test_tool_call_deltas_arrive_whole(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(reply=lambda body: [ToolCall("one", {"a": 1}), ToolCall("two", {"b": 2})]))
    tool = {"type": "function", "function": {"name": "one", "parameters": {"type": "object", "properties": {}}}}
    chunks = door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=True, tools=[tool])
    whole = litellm.stream_chunk_builder(chunks)
    calls = whole.choices[0].message.tool_calls
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("one", '{"a": 1}'),
        ("two", '{"b": 2}'),
    ]
    assert whole.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("interleaved", [True, False])
def test_several_choices_are_all_finished(interleaved: bool, provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(stream=StreamShape(interleaved=interleaved)))
    chunks = provider_door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=True, n=2)
    texts = {0: "", 1: ""}
    finishes = []
    for choice in [choice for chunk in chunks for choice in chunk.choices]:
        texts[choice.index] += choice.delta.content or ""
        finishes += [choice.index] if choice.finish_reason else []
    assert texts == {0: "echo: hello", 1: "echo: hello"}
    assert sorted(finishes) == [0, 1]


def test_the_style_is_negotiated_before_the_stream(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(styles={"*": ("x-api-key",)}))
    chunks = door.chat(MODEL, api_base=server.url, api_key=FAKE_KEY, stream=True)
    assert text_of(chunks) == "echo: hello"
    assert [(seen.style, seen.base, seen.status) for seen in server.seen] == [
        ("bearer", "", 404),
        ("bearer", "/v1", 401),
        ("x-api-key", "/v1", 200),
    ]


def test_a_whole_answer_becomes_a_stream_of_one(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(reasoning="why", fault="json-for-stream"))
    chunks = door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=True)
    assert text_of(chunks) == "echo: hello"
    assert finishes_of(chunks) == ["stop"]
    assert len(server.seen) == 1


@pytest.mark.parametrize("form", ["event", "unended", "bare"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_event_is_an_error(form: Any, at: int, door: Door, gateway: GatewayFactory) -> None:
    server = gateway(Manners(stream=StreamShape(error=CAPACITY_ERROR, error_at=at, error_form=form, done=False)))
    with pytest.raises(Exception, match="model at capacity") as caught:
        door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=True)
    assert caught.value.status_code == 429
    assert len(server.seen) == 1


def test_a_full_gateway_is_a_rate_limit_error_before_the_stream_is_handed_back(gateway: GatewayFactory) -> None:
    """MidStreamFallbackError, which litellm makes of a late error, would keep the Router from failing over."""
    server = gateway(Manners())
    server.full(retry_after="7")

    async def opened() -> Any:
        return await litellm.acompletion(
            model=MODEL,
            messages=[{"role": "user", "content": "x"}],
            api_base=server.base(),
            api_key=FAKE_KEY,
            stream=True,
        )

    with pytest.raises(litellm.RateLimitError) as caught:
        asyncio.run(opened())
    assert caught.value.retry_after == 7.0  # type: ignore[attr-defined]  # the plugin's own addition
    assert caught.value.litellm_response_headers["retry-after"] == "7"


def test_an_eager_stream_is_litellms_own_wrapper_with_headers_and_report(gateway: GatewayFactory) -> None:
    server = gateway(Manners(headers={"x-ratelimit-remaining-requests": "7"}))

    async def opened() -> Any:
        stream = await litellm.acompletion(
            model=MODEL,
            messages=[{"role": "user", "content": "x"}],
            api_base=server.base(),
            api_key=FAKE_KEY,
            stream=True,
        )
        await stream.aclose()
        return stream

    stream = asyncio.run(opened())
    assert isinstance(stream, litellm.CustomStreamWrapper)
    assert stream._hidden_params["gateway"]["auth_style"] == "bearer"
    assert stream._hidden_params["additional_headers"]["x-ratelimit-remaining-requests"] == "7"


def test_a_positional_stream_still_streams(gateway: GatewayFactory) -> None:
    """The hook sees no positional argument: the stream opens with its first chunk."""
    server = gateway(Manners(styles={"*": ("x-api-key",)}))

    async def collect() -> list[Any]:
        options = {"api_base": server.base(), "api_key": FAKE_KEY}
        messages = [{"role": "user", "content": "hello"}]
        arguments: tuple[Any, ...] = (f"gateway/{MODEL}", messages, None, None, None, None, None, None, True)
        stream = await litellm.acompletion(*arguments, **options)
        return [chunk async for chunk in stream]

    assert text_of(asyncio.run(collect())) == "echo: hello"
    assert server.styles("chat") == ["bearer", "x-api-key"]


def test_the_callers_success_callback_fires_once(gateway: GatewayFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    server = gateway(Manners())
    events: list[Any] = []

    class Listener(litellm.integrations.custom_logger.CustomLogger):  # type: ignore[misc]  # litellm is followed silently
        async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            events.append(response_obj)

    monkeypatch.setattr(litellm, "callbacks", [*litellm.callbacks, Listener()])

    async def collect() -> None:
        stream = await litellm.acompletion(
            model=MODEL,
            messages=[{"role": "user", "content": "only once"}],
            api_base=server.base(),
            api_key=FAKE_KEY,
            stream=True,
        )
        async for _ in stream:
            pass
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "LoggingWorker" not in repr(task):
                await asyncio.wait([task], timeout=5)
        await litellm.litellm_core_utils.logging_worker.GLOBAL_LOGGING_WORKER.flush()

    asyncio.run(collect())
    # what litellm has queued for the calls of other tests may come here too
    messages = [getattr(choice, "message", None) for event in events for choice in getattr(event, "choices", ())]
    said = [message.content for message in messages if message is not None]
    assert said.count("echo: only once") == 1


@pytest.mark.parametrize("kind", ["acompletion", "atext_completion"])
def test_a_stream_is_open_before_it_is_handed_over_though_the_callback_is_listed_twice(
    gateway: GatewayFactory, kind: str
) -> None:
    """The LiteLLM proxy appends what `callbacks` names to the list, where `install()` has put it already."""
    server = gateway(Manners())
    litellm.callbacks.append(lgp.callback)
    said = {"prompt": "x"} if kind == "atext_completion" else {"messages": [{"role": "user", "content": "x"}]}

    async def opened() -> int:
        call = getattr(litellm, kind)
        await call(model=MODEL, api_base=server.base(), api_key=FAKE_KEY, stream=True, **said)
        return len(server.seen)

    assert asyncio.run(opened()) == 1
    assert sum(type(entry) is type(lgp.callback) for entry in litellm.callbacks) == 1


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_streamed_text_completion_of_several_prompts_keeps_its_text(gateway: GatewayFactory, awaited: bool) -> None:
    options: dict[str, Any] = {"model": f"gateway/{MODEL}", "prompt": ["one", "two"], "stream": True}
    options |= {"api_base": gateway(Manners()).base(), "api_key": FAKE_KEY}

    async def collect() -> list[Any]:
        return [chunk async for chunk in await litellm.atext_completion(**options)]

    chunks = asyncio.run(collect()) if awaited else list(litellm.text_completion(**options))
    said = "".join(choice.text or "" for chunk in chunks for choice in chunk.choices)
    assert "one" in said
    assert "two" in said
