"""The real LiteLLM proxy in front of a real llama.cpp: the support that later tests stand on."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from litellm_gateway_plugin.testing.llamacpp import LlamaServer
from litellm_gateway_plugin.testing.tinymodel import CHAT_ANSWER, write_tiny_model
from tests.support.litellm_proxy import LiteLLMProxy, LiteLLMProxyError, proxy_venv

_MISSING = [name for name in ("xllamacpp", "gguf") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.proxy,
    pytest.mark.slow,
    pytest.mark.skipif(proxy_venv() is None, reason="there is no environment with the LiteLLM proxy: make proxy-venv"),
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: pip install {' '.join(_MISSING)}"),
]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLMProxy]:
    model = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")
    with LlamaServer(model, api_key="sk-upstream") as upstream:
        params = {"model": "openai/tiny", "api_base": upstream.base, "api_key": "sk-upstream"}
        config = {"model_list": [{"model_name": "tiny", "litellm_params": params}]}
        with LiteLLMProxy(json.dumps(config), master_key="sk-proxy") as running:
            yield running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer sk-proxy"}, 200),
        ({"x-api-key": "sk-proxy"}, 200),
        ({"api-key": "sk-proxy"}, 200),
        ({"authorization": "sk-proxy"}, 401),
        ({}, 401),
        ({"authorization": "Bearer sk-wrong"}, 400),  # it has no database to look the key up in
    ],
    ids=["bearer", "x-api-key", "api-key", "raw", "none", "wrong"],
)
def test_which_credential_styles_it_takes(proxy: LiteLLMProxy, headers: dict[str, str], status: int) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{proxy.origin}/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["choices"][0]["message"]["content"] == CHAT_ANSWER


def test_a_configuration_that_it_refuses_ends_in_an_error_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(LiteLLMProxyError, match="litellm"), LiteLLMProxy("model_list: [", start_timeout=60):
        pass
