"""The snippets, run as they are pasted: against a gateway, by a stock litellm in a process of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from litellm_gateway_plugin.doctor.report import Snippets
from litellm_gateway_plugin.doctor.snippets import snippets_of
from litellm_gateway_plugin.doctor.targets import Examined, Models, Target
from litellm_gateway_plugin.testing import PRESETS, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from litellm_gateway_plugin.urls import parse_base
from tests.support.doctored import at, looked_at, target_of

CALL_THE_ROUTER = """
print(router.completion(model="text", messages=[{"role": "user", "content": "hello"}]).choices[0].message.content)
"""


@pytest.fixture(autouse=True)
def _alone(isolated_environment: pytest.MonkeyPatch) -> None:
    """No key and no proxy from outside."""


def made(examined: Examined) -> Snippets:
    found = snippets_of(examined)
    assert found is not None
    return found


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_hand(base: str = "https://llm.example.com/v1", key: str | None = "test-key", **more: object) -> Examined:
    target = Target(base, parse_base(base), key, None if key is None else "NAME_OF_KEY")
    models = Models(text="vendor/text", vlm="vendor/eyes", tools="vendor/text", embedding="vendor/vectors")
    known = Examined(target, models, None, (), str(target.base), "none" if key is None else "bearer")
    return replace(known, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["python", "model_list"])
def test_python_reaches_the_gateway(
    gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch, kind: str
) -> None:
    server = gateway(PRESETS["seed-000"])
    snippets = made(looked_at(server))
    server.clear()
    isolated_environment.setenv("NAME_OF_KEY", str(server.manners.key))
    program = snippets.python if kind == "python" else snippets.model_list + CALL_THE_ROUTER
    assert run(program) == "echo: hello\n"
    assert [seen.style for seen in server.served if seen.surface == "chat"] == ["x-api-key"]
    assert {seen.model for seen in server.served if seen.surface == "chat"} == {server.manners.models[0]}


def test_python_without_a_key(gateway: GatewayFactory) -> None:
    server = gateway(Manners(key=None))
    snippets = made(looked_at(server, at(server)))
    server.clear()
    assert "api_key" not in snippets.python + snippets.model_list + snippets.config
    assert "import os" not in snippets.python + snippets.model_list
    assert run(snippets.python) == "echo: hello\n"
    assert {seen.path for seen in server.seen} == {"/v1/chat/completions"}


def test_base_that_holds_the_credential_is_read_from_its_variable(
    gateway: GatewayFactory, isolated_environment: pytest.MonkeyPatch
) -> None:
    server = gateway(Manners(styles={"*": ("x-api-key",)}))
    base = server.base() + "?code=in-the-query"
    target = target_of(base, server.manners.key, base_name="LITELLM_GATEWAY_API_BASE_4")
    snippets = made(looked_at(server, target))
    server.clear()
    assert "in-the-query" not in repr(snippets)
    isolated_environment.setenv("NAME_OF_KEY", str(server.manners.key))
    isolated_environment.setenv("LITELLM_GATEWAY_API_BASE_4", base)
    assert run(snippets.python) == "echo: hello\n"
    assert {seen.query for seen in server.seen} == {"code=in-the-query"}
    assert "os.environ/LITELLM_GATEWAY_API_BASE_4" in snippets.config


def test_configuration_of_the_proxy() -> None:
    config = yaml.safe_load(made(by_hand()).config)
    assert config["litellm_settings"] == {"callbacks": ["litellm_gateway_plugin.callback"]}
    assert [each["model_name"] for each in config["model_list"]] == ["vendor/text", "vendor/eyes", "vendor/vectors"]
    assert config["model_list"][0]["litellm_params"] == {
        "model": "gateway/vendor/text",
        "api_base": "https://llm.example.com/v1",
        "api_key": "os.environ/NAME_OF_KEY",
    }


def test_configuration_without_a_key() -> None:
    config = yaml.safe_load(made(by_hand(key=None)).config)
    assert config["model_list"][0]["litellm_params"] == {
        "model": "gateway/vendor/text",
        "api_base": "https://llm.example.com/v1",
    }


def test_model_list_has_a_group_for_each_kind(isolated_environment: pytest.MonkeyPatch) -> None:
    isolated_environment.setenv("NAME_OF_KEY", "test-key")
    source = made(by_hand()).model_list
    value = next(node.value for node in ast.parse(source).body if isinstance(node, ast.Assign))
    import os

    entries = eval(compile(ast.Expression(value), "snippet", "eval"), {"os": os})  # noqa: S307  our own text
    assert {each["model_name"]: each["litellm_params"]["model"] for each in entries} == {
        "text": "gateway/vendor/text",
        "vlm": "gateway/vendor/eyes",
        "tools": "gateway/vendor/text",
        "embedding": "gateway/vendor/vectors",
    }
    assert {each["litellm_params"]["api_key"] for each in entries} == {"test-key"}


@pytest.mark.parametrize("model", ['a"b', "a\\b", "a: b # c", "ü/模型", "{x}", "%s", "é'"])
def test_any_id_is_written_so_that_python_and_yaml_read_it_back(model: str) -> None:
    snippets = made(by_hand(models=Models(text=model)))
    call = next(node for node in ast.walk(ast.parse(snippets.python)) if isinstance(node, ast.keyword))
    assert ast.literal_eval(call.value) == f"gateway/{model}"
    assert yaml.safe_load(snippets.config)["model_list"][0]["model_name"] == model
    ast.parse(snippets.model_list)


def test_form_that_works_is_the_one_that_is_pasted(gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    assert f'api_base="{server.url}/v1"' in made(looked_at(server, at(server, ""))).python


def test_no_snippet_holds_the_key() -> None:
    assert "test-key" not in repr(made(by_hand()))
    assert "pass-word" not in repr(made(by_hand("https://user:pass-word@llm.example.com/v1")))


def test_key_that_is_not_wanted_is_left_out() -> None:
    assert "NAME_OF_KEY" not in repr(made(by_hand(works_style="none")))


def test_key_in_the_base_is_not_passed_twice() -> None:
    base = "https://user:pass-word@llm.example.com/v1"
    target = Target(base, parse_base(base), "user:pass-word", None, "basic")
    snippets = made(by_hand(target=target, works_style="basic"))
    assert "api_key" not in snippets.python
    assert 'api_base=os.environ["LITELLM_GATEWAY_API_BASE"]' in snippets.python
    assert "NAME_OF_KEY" in made(by_hand(base)).python


def test_gateway_that_does_not_work_has_no_snippets() -> None:
    assert snippets_of(by_hand(works_base="", works_style="")) is None
