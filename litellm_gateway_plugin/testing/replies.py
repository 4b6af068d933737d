"""What the gateway answers when it serves: deterministic, and true to what the request asked for.

Pure functions from a request to JSON. A token is a word here, and nothing depends on time or chance.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .answers import Answer, json_answer

if TYPE_CHECKING:
    from .request import Request

CREATED = 1_760_000_000
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call for a scripted reply to return."""

    name: str
    arguments: Mapping[str, Any] | str = "{}"

    def as_json(self, index: int) -> dict[str, Any]:
        """The call as the chat API writes it."""
        arguments = self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))
        return {
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": self.name, "arguments": arguments},
        }


Reply = str | ToolCall | Sequence[ToolCall] | Mapping[str, Any] | Answer
Replier = Callable[[Body], Reply]


def words(text: str) -> list[str]:
    """The tokens of a text: its words, each with the space before it."""
    parts = text.split(" ")
    return [part if index == 0 else " " + part for index, part in enumerate(parts)] if text else []


# What to say ---------------------------------------------------------------------------------------------------------


def echo(body: Body) -> Reply:
    """The default replier: JSON when JSON is asked for, a tool call when tools are given, else what it was told."""
    calls = _tool_calls(body)
    if calls:
        return calls
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(example(wanted.get("json_schema", {}).get("schema", {})))
    if wanted.get("type") == "json_object":
        return '{"ok":true}'
    return "echo: " + _heard(body)


def _tool_calls(body: Body) -> Sequence[ToolCall]:
    tools, choice = body.get("tools") or (), body.get("tool_choice")
    messages = body.get("messages") or [{}]
    if not tools or choice == "none" or messages[-1].get("role") == "tool":
        return ()
    functions = [tool["function"] for tool in tools if "function" in tool]
    if isinstance(choice, Mapping):
        functions = [function for function in functions if function["name"] == choice["function"]["name"]]
    elif not body.get("parallel_tool_calls"):
        functions = functions[:1]
    return [ToolCall(function["name"], example(function.get("parameters", {}), {})) for function in functions]


def example(schema: Mapping[str, Any], nothing: Any = None) -> Any:
    """The smallest value that a JSON schema of the plain kind accepts; a `$ref` is not followed."""
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    if schema.get("enum"):
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf"):
        if schema.get(keyword):
            return example(schema[keyword][0])
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {name: example(inner) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema["items"])] if schema.get("minItems") else []
    plain = {"string": "text", "integer": schema.get("minimum", 1), "number": 1.5, "boolean": True}
    return plain.get(str(kind), nothing)


def _heard(body: Body) -> str:
    messages = body.get("messages") or []
    last = messages[-1] if messages else {}
    return _content_text(last.get("content"))


def _content_text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    return " ".join(_part_text(part) for part in content if isinstance(part, Mapping))


def _part_text(part: Body) -> str:
    if part.get("type") == "text":
        return str(part.get("text", ""))
    if part.get("type") == "image_url":
        return "[saw " + _picture(part.get("image_url")) + "]"
    return f"[saw {part.get('type')}]"


def _picture(image: object) -> str:
    url = str(image.get("url", "") if isinstance(image, Mapping) else image)
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not comma:
        return url
    return f"{head[5:].partition(';')[0]} of {len(base64.b64decode(data))} bytes"


# Chat ----------------------------------------------------------------------------------------------------------------


def chat(body: Body, reply: Reply, number: int, reasoning: str | None = None) -> dict[str, Any]:
    """A whole chat completion around what the replier said."""
    message, finish = _message(reply, body)
    if reasoning:
        message["reasoning_content"] = reasoning
    choice: dict[str, Any] = {"message": message, "logprobs": _logprobs(body, message), "finish_reason": finish}
    choices = [{"index": index, **choice} for index in range(int(body.get("n") or 1))]
    spent = len(choices) * (_count(message.get("content")) + _count(message.get("reasoning_content")))
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": body.get("model"),
        "choices": choices,
        "usage": _usage(sum(_count(_content_text(m.get("content"))) for m in body.get("messages") or ()), spent),
    }


def _message(reply: Reply, body: Body) -> tuple[dict[str, Any], str]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(reply, ToolCall):
        reply = (reply,)
    if isinstance(reply, Mapping):
        message.update(reply)
        return message, "tool_calls" if message.get("tool_calls") else "stop"
    if isinstance(reply, str):
        message["content"], finish = _cut(reply, body)
        return message, finish
    assert not isinstance(reply, Answer), "an Answer is sent as it is"
    message["tool_calls"] = [call.as_json(index) for index, call in enumerate(reply)]
    return message, "tool_calls"


def _cut(text: str, body: Body) -> tuple[str, str]:
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    tokens = words(text)
    if isinstance(limit, int) and len(tokens) > limit:
        return "".join(tokens[:limit]), "length"
    return text, "stop"


def _logprobs(body: Body, message: Body) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    top = int(body.get("top_logprobs") or 0)
    return {"content": [_logprob(token, top) for token in words(str(message.get("content") or ""))]}


def _logprob(token: str, top: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
    return {**entry, "top_logprobs": [entry] * top}


def _count(text: object) -> int:
    return len(words(text)) if isinstance(text, str) else 0


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


# The other surfaces --------------------------------------------------------------------------------------------------


def completion(body: Body, number: int) -> dict[str, Any]:
    """A text completion."""
    prompt = body.get("prompt")
    prompts = [str(item) for item in prompt] if isinstance(prompt, list) else [str(prompt or "")]
    texts = [_cut("echo: " + text, body) for text in prompts for _ in range(int(body.get("n") or 1))]
    return {
        "id": f"cmpl-{number}",
        "object": "text_completion",
        "created": CREATED,
        "model": body.get("model"),
        "choices": [
            {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
            for index, (text, finish) in enumerate(texts)
        ],
        "usage": _usage(sum(map(_count, prompts)), sum(_count(text) for text, _ in texts)),
    }


def embeddings(body: Body, _number: int) -> dict[str, Any]:
    """Vectors that depend on the text alone; `dimensions` (8) and `encoding_format` are honoured."""
    inputs = _inputs(body)
    size = int(body.get("dimensions") or 8)
    as_base64 = body.get("encoding_format") == "base64"
    return {
        "object": "list",
        "model": body.get("model"),
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(vector(text, size), as_base64)}
            for index, text in enumerate(inputs)
        ],
        "usage": {key: value for key, value in _usage(sum(map(_count, inputs)), 0).items() if key[0] != "c"},
    }


def _inputs(body: Body) -> list[str]:
    given = body.get("input")
    if isinstance(given, list) and given and isinstance(given[0], int):
        return [str(given)]
    return [str(item) for item in given] if isinstance(given, list) else [str(given or "")]


def vector(text: str, size: int = 8) -> list[float]:
    """The embedding of a text: numbers from -1 to 1 that a 32-bit float holds exactly."""
    digest = hashlib.shake_128(text.encode()).digest(size)
    return [byte / 128 - 1 for byte in digest]


def _packed(numbers: Sequence[float], as_base64: bool) -> Any:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode() if as_base64 else list(numbers)


def responses(body: Body, number: int) -> dict[str, Any]:
    """An answer of the Responses API; only there when a gateway's manners say so."""
    given = body.get("input")
    heard = given if isinstance(given, str) else _content_text((given or [{}])[-1].get("content"))
    part = {"type": "output_text", "text": "echo: " + heard, "annotations": []}
    message = {"id": "msg_0", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    count = _count(heard)
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "model": body.get("model"),
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {"input_tokens": count, "output_tokens": count + 1, "total_tokens": 2 * count + 1},
    }


SILENCE = (
    b"RIFF"
    + struct.pack("<I", 36)
    + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    + (b"data" + struct.pack("<I", 0))
)
PIXEL = base64.b64encode(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
).decode()


def _heard_audio(request: Request, _number: int) -> Answer:
    heard = f"heard {len(request.form.get('file', b''))} bytes"
    if request.fields.get("response_format") == "text":
        return Answer(200, heard.encode() + b"\n", (("content-type", "text/plain"),))
    return json_answer(200, {"text": heard})


def _speech(_request: Request, _number: int) -> Answer:
    return Answer(200, SILENCE, (("content-type", "audio/wav"),))


def _images(request: Request, _number: int) -> Answer:
    count = int(request.fields.get("n") or 1)
    return json_answer(200, {"created": CREATED, "data": [{"b64_json": PIXEL} for _ in range(count)]})


def _files(request: Request, number: int) -> Answer:
    if request.method == "GET":
        return json_answer(200, {"object": "list", "data": []})
    size, purpose = len(request.form.get("file", b"")), request.fields.get("purpose")
    created = {"id": f"file-{number}", "object": "file", "created_at": CREATED, "status": "processed"}
    return json_answer(200, {**created, "bytes": size, "filename": "upload", "purpose": purpose})


def _as_answer(make: Callable[[Body, int], dict[str, Any]]) -> Callable[[Request, int], Answer]:
    return lambda request, number: json_answer(200, make(request.fields, number))


PLAIN_SURFACES: Mapping[str, Callable[[Request, int], Answer]] = {
    "embeddings": _as_answer(embeddings),
    "responses": _as_answer(responses),
    "transcriptions": _heard_audio,
    "translations": _heard_audio,
    "speech": _speech,
    "images": _images,
    "files": _files,
}
"""The surfaces that never stream here: from (request, its number) to the answer."""


def native(request: Request) -> Any:
    """What llama.cpp answers to /embeddings and /completions at its root: 200 in another shape; None elsewhere."""
    if request.path.endswith("/embeddings"):
        return [{"index": index, "embedding": [vector(text)]} for index, text in enumerate(_inputs(request.fields))]
    text = "echo: " + str(request.fields.get("prompt", ""))
    return {"index": 0, "content": text, "tokens": [], "stop": True, "stop_type": "eos"}
