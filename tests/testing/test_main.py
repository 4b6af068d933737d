"""The command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import litellm_gateway_plugin.testing as kit
from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.__main__ import main

ROOT = Path(kit.__file__).parents[2]
BODY = {"model": "test/model-small", "messages": [{"role": "user", "content": "hi"}]}


def base_in(text: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith("base"))


@pytest.mark.parametrize("name", kit.PRESETS)
def test_it_introduces_itself(name, capsys):
    assert main(["--manner", name], wait=lambda: None) == 0
    told = capsys.readouterr().out
    assert base_in(told).startswith("http://127.0.0.1:")
    assert FAKE_KEY in told
    assert f"\nexport LITELLM_GATEWAY_API_BASE={base_in(told)}\n" in told
    assert told.endswith(f"\nexport LITELLM_GATEWAY_API_KEY={FAKE_KEY}\n")


def test_it_forwards(gateway, capsys, monkeypatch):
    behind = gateway(Manners())
    monkeypatch.setenv("BEHIND_KEY", FAKE_KEY)

    def ask():
        base = base_in(capsys.readouterr().out)
        answer = httpx.post(base + "/chat/completions", headers={"x-api-key": FAKE_KEY}, json=BODY, trust_env=False)
        assert answer.status_code == 200

    assert main(["--upstream", behind.base(), "--upstream-key-from", "BEHIND_KEY"], wait=ask) == 0
    assert behind.styles() == ["bearer"]


def test_it_serves_until_it_is_interrupted():
    command = [sys.executable, "-W", "error", "-m", "litellm_gateway_plugin.testing", "--manner", "vllm", "--follow"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        told = [process.stdout.readline() for _ in range(6)]
        headers = {"authorization": f"Bearer {FAKE_KEY}"}
        answer = httpx.post(base_in("".join(told)) + "/chat/completions", headers=headers, json=BODY, trust_env=False)
        assert answer.status_code == 200
        assert process.stdout.readline() == "POST /v1/chat/completions bearer: 200 served\n"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest.strip(), errors) == (0, "", "")
