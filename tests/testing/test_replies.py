"""What it says on each surface."""

from __future__ import annotations

import base64
import json
import struct

import jsonschema
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, Manners, ToolCall, json_answer, text_answer, vector

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("weather", "time")
]


def message_of(answer):
    return answer.json()["choices"][0]["message"]


def test_it_echoes(gateway, chat):
    answer = chat(gateway(Manners())).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "echo: hello there"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def test_several_choices(gateway, chat):
    answer = chat(gateway(Manners()), n=3).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 9


def test_a_limit_cuts(gateway, chat):
    choice = chat(gateway(Manners()), max_tokens=2).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("echo: hello", "length")


def test_logprobs(gateway, chat):
    logprobs = chat(gateway(Manners()), logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in logprobs] == ["echo:", " hello", " there"]
    assert [len(entry["top_logprobs"]) for entry in logprobs] == [2, 2, 2]


def test_json_is_json(gateway, chat):
    answer = chat(gateway(Manners()), response_format={"type": "json_object"})
    assert message_of(answer)["content"] == '{"ok":true}'


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}, "required": ["n", "s"]},
        {"type": "object", "properties": {"tags": {"type": "array", "items": {"enum": ["a"]}, "minItems": 1}}},
        {"properties": {"maybe": {"anyOf": [{"type": "null"}, {"type": "number"}]}, "c": {"const": 7}}},
        {"type": ["boolean", "null"]},
        {"type": "array", "items": {"type": "number"}},
    ],
)
def test_a_schema_is_obeyed(schema, gateway, chat):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    jsonschema.validate(json.loads(message_of(chat(gateway(Manners()), response_format=wanted))["content"]), schema)


def test_tools_are_called(gateway, chat):
    picky = gateway(Manners())
    answer = chat(picky, tools=TOOLS)
    assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert message_of(answer)["content"] is None
    (call,) = message_of(answer)["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("weather", {"city": "text"})
    both = message_of(chat(picky, tools=TOOLS, parallel_tool_calls=True))["tool_calls"]
    assert [(call["id"], call["function"]["name"]) for call in both] == [("call_0", "weather"), ("call_1", "time")]


def test_a_named_tool_and_none(gateway, chat):
    picky = gateway(Manners())
    named = {"type": "function", "function": {"name": "time"}}
    assert message_of(chat(picky, tools=TOOLS, tool_choice=named))["tool_calls"][0]["function"]["name"] == "time"
    assert message_of(chat(picky, tools=TOOLS, tool_choice="none"))["content"] == "echo: hello there"


def test_a_tool_that_answered_is_not_called_again(gateway, client):
    messages = [{"role": "user", "content": "?"}, {"role": "tool", "tool_call_id": "call_0", "content": "sunny"}]
    body = {"model": "test/model-small", "messages": messages, "tools": TOOLS}
    answer = client.post(gateway(Manners()).base() + "/chat/completions", headers=BEARER, json=body)
    assert message_of(answer)["content"] == "echo: sunny"


def test_pictures_are_seen(gateway, client):
    data = base64.b64encode(b"12345").decode()
    content = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {}},
    ]
    body = {"model": "test/model-small", "messages": [{"role": "user", "content": content}]}
    answer = client.post(gateway(Manners()).base() + "/chat/completions", headers=BEARER, json=body)
    assert message_of(answer)["content"] == (
        "echo: what is it? [saw image/png of 5 bytes] [saw https://example.com/a.png] [saw input_audio]"
    )


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("fixed", {"content": "fixed"}),
        (lambda body: body["messages"][0]["content"].upper(), {"content": "HELLO THERE"}),
        ({"content": "x", "refusal": None}, {"content": "x", "refusal": None}),
    ],
)
def test_a_scripted_reply(reply, message, gateway, chat):
    assert message_of(chat(gateway(Manners(reply=reply)))) == {"role": "assistant", **message}


def test_a_scripted_tool_call(gateway, chat):
    call = message_of(chat(gateway(Manners(reply=ToolCall("look", '{"broken')))))["tool_calls"][0]
    assert call["function"] == {"name": "look", "arguments": '{"broken'}


def test_a_scripted_answer_is_sent_as_it_is(gateway, chat):
    answer = chat(gateway(Manners(reply=text_answer(218, "this is fine"))))
    assert (answer.status_code, answer.text) == (218, "this is fine")
    assert chat(gateway(Manners(reply=lambda body: json_answer(200, {"n": 1})))).json() == {"n": 1}


def test_reasoning(gateway, chat):
    answer = chat(gateway(Manners(reasoning="let me think")))
    assert message_of(answer)["reasoning_content"] == "let me think"
    assert answer.json()["usage"]["completion_tokens"] == 6


def test_headers_of_an_answer(gateway, client, chat):
    limits = {"x-ratelimit-remaining-requests": "7", "set-cookie": "session=abc"}
    picky = gateway(Manners(headers=limits))
    answer = chat(picky)
    assert answer.headers["x-request-id"] == "req-1"
    assert {name: answer.headers[name] for name in limits} == limits
    picky.change(headers=(("x-twice", "1"), ("x-twice", "2")))
    assert chat(picky).headers.get_list("x-twice") == ["1", "2"]


def post(client, picky, path, **options):
    answer = client.post(picky.base() + path, headers=BEARER, **options)
    assert answer.status_code == 200
    return answer


def test_embeddings(gateway, client):
    picky = gateway(Manners())
    body = {"model": "test/model-small", "input": ["a", "b b"]}
    plain = post(client, picky, "/embeddings", json=body).json()
    assert [entry["embedding"] for entry in plain["data"]] == [vector("a"), vector("b b")]
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    packed = post(client, picky, "/embeddings", json={**body, "encoding_format": "base64", "dimensions": 3}).json()
    numbers = struct.unpack("<3f", base64.b64decode(packed["data"][0]["embedding"]))
    assert list(numbers) == vector("a", 3)
    assert len(post(client, picky, "/embeddings", json={**body, "input": [1, 2]}).json()["data"]) == 1
    assert len(post(client, picky, "/embeddings", json={**body, "input": "one"}).json()["data"]) == 1


def test_text_completions(gateway, client):
    body = {"model": "test/model-small", "prompt": ["a", "b"], "n": 2, "max_tokens": 5}
    answer = post(client, gateway(Manners()), "/completions", json=body).json()
    assert [choice["text"] for choice in answer["choices"]] == ["echo: a", "echo: a", "echo: b", "echo: b"]


def test_transcription_and_speech(gateway, client):
    picky = gateway(Manners())
    form = {"model": "test/model-small", "response_format": "json"}
    heard = post(client, picky, "/audio/transcriptions", data=form, files={"file": ("a.wav", b"1234567")})
    assert heard.json() == {"text": "heard 7 bytes"}
    assert (picky.seen[0].model, picky.seen[0].surface) == ("test/model-small", "transcriptions")
    form["response_format"] = "text"
    heard = post(client, picky, "/audio/translations", data=form, files={"file": ("a.wav", b"123")})
    assert heard.text == "heard 3 bytes\n"
    spoken = post(client, picky, "/audio/speech", json={"model": "test/model-small", "input": "hi"})
    assert spoken.content.startswith(b"RIFF")
    assert spoken.headers["content-type"] == "audio/wav"


def test_pictures_and_files(gateway, client):
    picky = gateway(Manners())
    made = post(client, picky, "/images/generations", json={"model": "test/model-small", "prompt": "x", "n": 2})
    assert [base64.b64decode(entry["b64_json"])[1:4] for entry in made.json()["data"]] == [b"PNG", b"PNG"]
    kept = post(client, picky, "/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", b"{}\n")}).json()
    assert (kept["bytes"], kept["purpose"], kept["object"]) == (3, "batch", "file")


def test_responses_are_absent_unless_wanted(gateway, client):
    picky = gateway(Manners())
    body = {"model": "test/model-small", "input": "hello"}
    assert client.post(picky.base() + "/responses", headers=BEARER, json=body).status_code == 404
    picky.change(absent=())
    answer = post(client, picky, "/responses", json=body).json()
    assert answer["output"][0]["content"][0]["text"] == "echo: hello"
    body["input"] = [{"role": "user", "content": [{"type": "text", "text": "in a list"}]}]
    answer = post(client, picky, "/responses", json=body).json()
    assert answer["output"][0]["content"][0]["text"] == "echo: in a list"
