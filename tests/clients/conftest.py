"""Real client libraries over litellm, unmodified, against a gateway with bad manners.

Each file is run by `make clients` in an environment with that library, and skips itself in every other one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.handle import Gateway
from litellm_gateway_plugin.testing import FAKE_KEY, Manners, PickyGateway
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.support.clients import MODEL, PICKY

Program = Callable[[str], list[str]]


@pytest.fixture(autouse=True)
def plugin(isolated_environment: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """The plugin, installed after the library was imported; everything is put back after the test."""
    yield lgp.install()
    lgp.uninstall()


@pytest.fixture
def picky(gateway: GatewayFactory) -> PickyGateway:
    """Chat and embeddings take x-api-key alone, the listing is public, all lives under a /v1 that nobody is told of."""
    return gateway(PICKY)


@pytest.fixture
def manners() -> Manners:
    """The manners of `picky`, to change."""
    return PICKY


@pytest.fixture
def program(picky: PickyGateway) -> Program:
    """Run a program in an interpreter of its own, with BASE, KEY and MODEL in its environment; the lines it printed."""

    def run(source: str) -> list[str]:
        named = {"BASE": picky.url, "KEY": FAKE_KEY, "MODEL": MODEL}
        done = subprocess.run(
            [sys.executable, "-c", source],
            env={**os.environ, **named},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return [line for line in done.stdout.splitlines() if line.startswith("> ")]

    return run
