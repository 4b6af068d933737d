"""pytest fixtures. In the topmost conftest.py:

pytest_plugins = ["litellm_gateway_plugin.testing.fixtures"]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from .gateway import PickyGateway
from .presets import SEED_000

if TYPE_CHECKING:
    from pathlib import Path

    from .manners import Manners

GatewayFactory = Callable[..., PickyGateway]

CLEARED_PREFIXES = (
    "CERTAINLY_",
    "CHUTES_",
    "CODEWORLD_",
    "CODEX_AGENT_",
    "LEAN4_",
    "LITELLM_GATEWAY_",
    "MINI_AGENT_",
    "OPENAI_",
    "SCILLM_",
)
CLEARED_NAMES = frozenset(
    {
        "ALL_PROXY",
        "FTP_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LITELLM_API_BASE",
        "LITELLM_API_KEY",
        "LITELLM_MAX_RETRIES",
        "LITELLM_RETRY_AFTER",
        "LITELLM_TIMEOUT",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
    }
)
XDG_NAMES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


def is_cleared(name: str) -> bool:
    """Whether an environment variable could reach a gateway test from outside."""
    upper = name.upper()
    return upper in CLEARED_NAMES or upper.startswith(CLEARED_PREFIXES)


@pytest.fixture
def gateway() -> Iterator[GatewayFactory]:
    """A factory: `gateway(Manners(...))` starts a gateway, which is stopped after the test.

    A mistake in a reply function of the test's own is raised after the test.
    """
    started: list[PickyGateway] = []
    with ExitStack() as stack:

        def start(manners: Manners | None = None, **options: Any) -> PickyGateway:
            started.append(stack.enter_context(PickyGateway(manners, **options)))
            return started[-1]

        yield start
    for stopped in started:
        for error in stopped.errors:
            raise error


@pytest.fixture
def picky_gateway(gateway: GatewayFactory) -> PickyGateway:
    """A running gateway whose chat refuses Bearer and takes x-api-key, with a public listing, all under /v1."""
    return gateway(SEED_000)


@pytest.fixture
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No gateway, key, proxy or cache of the user's is seen by the test; returns `monkeypatch` to set new ones."""
    for name in list(os.environ):
        if is_cleared(name):
            monkeypatch.delenv(name)
    for name in XDG_NAMES:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    return monkeypatch
