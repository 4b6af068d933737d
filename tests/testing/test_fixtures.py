"""The fixtures, in a project of a user's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import litellm_gateway_plugin.testing as kit
from litellm_gateway_plugin.testing import Manners
from litellm_gateway_plugin.testing.fixtures import is_cleared

ROOT = Path(kit.__file__).parents[2]

CONFTEST = 'pytest_plugins = ["litellm_gateway_plugin.testing.fixtures"]\n'

TESTS = """
import os
import httpx
import pytest
from litellm_gateway_plugin.testing import FAKE_KEY, Manners

def test_the_ready_made_one(picky_gateway):
    url = picky_gateway.base() + "/chat/completions"
    body = {"model": picky_gateway.manners.models[0], "messages": [{"role": "user", "content": "hi"}]}
    assert httpx.post(url, headers={"authorization": f"Bearer {FAKE_KEY}"}, json=body).status_code == 401
    assert httpx.post(url, headers={"x-api-key": FAKE_KEY}, json=body).status_code == 200
    assert httpx.get(picky_gateway.base() + "/models").status_code == 200
    assert picky_gateway.styles("chat") == ["bearer", "x-api-key"]

def test_two_of_my_own(gateway):
    one, two = gateway(Manners(key=None)), gateway()
    assert one.url != two.url
    assert httpx.get(one.base() + "/models").status_code == 200
    assert httpx.get(two.base() + "/models").status_code == 401

def test_nothing_from_outside(isolated_environment, tmp_path):
    assert "CHUTES_API_KEY" not in os.environ
    assert os.environ["XDG_CACHE_HOME"].startswith(str(tmp_path))
    isolated_environment.setenv("CHUTES_API_KEY", FAKE_KEY)

def test_my_own_mistake(gateway):
    def reply(body):
        raise ZeroDivisionError("mine")
    picky = gateway(Manners(key=None, reply=reply))
    assert httpx.post(picky.base() + "/chat/completions", json={"model": "test/model-small"}).status_code == 500
"""


def test_a_users_project(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mine.py").write_text(TESTS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHUTES_API_KEY": "x"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "4 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ZeroDivisionError: mine" in done.stdout


@pytest.mark.parametrize(
    ("name", "cleared"),
    [
        ("CHUTES_API_KEY_2", True),
        ("LITELLM_GATEWAY_BASE", True),
        ("LITELLM_MAX_RETRIES", True),
        ("OPENAI_API_KEY", True),
        ("SCILLM_RATE_LIMIT_QPS", True),
        ("https_proxy", True),
        ("NO_PROXY", True),
        ("LITELLM_LOCAL_MODEL_COST_MAP", False),
        ("HOME", False),
    ],
)
def test_which_variables_are_cleared(name, cleared):
    assert is_cleared(name) == cleared


def test_the_environment_is_isolated(isolated_environment, tmp_path):
    assert not [name for name in os.environ if is_cleared(name)]
    assert Path(os.environ["XDG_CACHE_HOME"]).is_relative_to(tmp_path)


def test_the_public_names_are_there():
    assert sorted(kit.__all__, key=lambda name: (not name.isupper(), name)) == kit.__all__
    assert all(hasattr(kit, name) for name in kit.__all__)


def test_the_import_is_cheap_and_independent():
    program = (
        "import sys, litellm_gateway_plugin.testing\n"
        "heavy = {'litellm', 'aiohttp', 'httpx', 'pytest', 'pydantic'} & set(sys.modules)\n"
        "ours = [n for n in sys.modules if n.startswith('litellm_gateway_plugin.')"
        " and not n.startswith(('litellm_gateway_plugin.testing', 'litellm_gateway_plugin.version'))]\n"
        "assert not heavy and not ours, (heavy, ours)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "error", "-c", program], env=environment, check=True)


def test_manners_are_values():
    assert Manners() == Manners()
    with pytest.raises(AttributeError):
        Manners().key = "x"
