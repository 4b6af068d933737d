"""What the libraries of OpenAI and Anthropic get from a proxy: a program, run in the environment that has both.

    python proxy_clients.py ORIGIN KEY MODEL EMBEDDER

One line of JSON for each call: its name, and what the library made of the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

HELLO = [{"role": "user", "content": "hello"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather of a city.", "parameters": PARAMETERS}
TOLD = "x-litellm-gateway-api-base"


def openai_calls(origin: str, key: str, model: str, embedder: str) -> dict[str, Callable[[], Any]]:
    from openai import OpenAI

    client: Any = OpenAI(base_url=f"{origin}/v1", api_key=key, max_retries=0)
    chat, tools = client.chat.completions, [{"type": "function", "function": FUNCTION}]
    small: dict[str, Any] = {"model": model, "messages": HELLO, "max_tokens": 100}

    def whole() -> Any:
        raw = chat.with_raw_response.create(**small)
        answer = raw.parse()
        return {
            "text": answer.choices[0].message.content,
            "tokens": answer.usage.total_tokens,
            "base": raw.headers[TOLD],
        }

    def stream() -> Any:
        raw = chat.with_raw_response.create(**small, stream=True, stream_options={"include_usage": True})
        chunks = list(raw.parse())
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        return {"text": text, "tokens": chunks[-1].usage.total_tokens, "base": raw.headers[TOLD]}

    def tool() -> Any:
        message = chat.create(**small, tools=tools, tool_choice="required").choices[0].message
        call = message.tool_calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}
        after = chat.create(model=model, messages=[*HELLO, message.model_dump(exclude_none=True), result], tools=tools)
        return {**named(call.function), "text": after.choices[0].message.content}

    def streamed_tool() -> Any:
        chunks = list(chat.create(**small, tools=tools, tool_choice="required", stream=True))
        parts = [
            call.function for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()
        ]
        name = "".join(part.name or "" for part in parts)
        return {"name": name, "arguments": json.loads("".join(part.arguments or "" for part in parts))}

    def responses() -> Any:
        answer = client.responses.create(model=model, input="hello", max_output_tokens=100)
        return {"text": answer.output_text, "tokens": answer.usage.total_tokens}

    def streamed_responses() -> Any:
        events = list(client.responses.create(model=model, input="hello", max_output_tokens=100, stream=True))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        return {"text": text, "last": events[-1].type, "tokens": events[-1].response.usage.total_tokens}

    def embeddings() -> Any:
        answer = client.embeddings.create(model=embedder, input=["one", "two"])
        return {"vectors": [len(each.embedding) for each in answer.data]}

    def models() -> Any:
        return sorted(each.id for each in client.models.list())

    def unknown() -> Any:
        return failure(lambda: chat.create(model="gateway/nobody-lists-this", messages=HELLO))

    return {each.__name__: each for each in (
        whole, stream, tool, streamed_tool, responses, streamed_responses, embeddings, models, unknown
    )}  # fmt: skip


def anthropic_calls(origin: str, key: str, model: str) -> dict[str, Callable[[], Any]]:
    from anthropic import Anthropic  # type: ignore[import-not-found,unused-ignore]  # of the proxy's environment

    # it sends its key as x-api-key
    client: Any = Anthropic(base_url=origin, api_key=key, max_retries=0)
    small: dict[str, Any] = {"model": model, "messages": HELLO, "max_tokens": 100}
    tools = [{"name": "weather", "description": "The weather of a city.", "input_schema": PARAMETERS}]

    def messages() -> Any:
        raw = client.messages.with_raw_response.create(**small)
        answer = raw.parse()
        return {"text": answer.content[0].text, "stop": answer.stop_reason, "base": raw.headers[TOLD]}

    def streamed_messages() -> Any:
        with client.messages.stream(**small) as events:
            text = "".join(events.text_stream)
            return {"text": text, "stop": events.get_final_message().stop_reason, "base": events.response.headers[TOLD]}

    def messages_tool() -> Any:
        answer = client.messages.create(**small, tools=tools, tool_choice={"type": "any"})
        use = next(block for block in answer.content if block.type == "tool_use")
        return {"name": use.name, "arguments": use.input, "stop": answer.stop_reason}

    def unknown_messages() -> Any:
        return failure(lambda: client.messages.create(**{**small, "model": "gateway/nobody-lists-this"}))

    return {each.__name__: each for each in (messages, streamed_messages, messages_tool, unknown_messages)}


def named(function: Any) -> dict[str, Any]:
    return {"name": function.name, "arguments": json.loads(function.arguments)}


def failure(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001  the libraries' own classes, which are what is asked for
        return {"class": type(error).__name__, "status": getattr(error, "status_code", None)}


def report(calls: Iterable[tuple[str, Callable[[], Any]]]) -> None:
    for name, call in calls:
        try:
            made = call()
        except Exception as error:  # noqa: BLE001  whatever it is, the test that asks for this call is to show it
            made = {"error": repr(error)}
        print(json.dumps([name, made]), flush=True)


if __name__ == "__main__":
    where, secret, model_id, embedder_id = sys.argv[1:]
    report(openai_calls(where, secret, model_id, embedder_id).items())
    report(anthropic_calls(where, secret, model_id).items())
