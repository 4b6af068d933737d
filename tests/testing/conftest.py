"""The kit's own fixtures, and a plain client that knows nothing of gateways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, PickyGateway
from litellm_gateway_plugin.testing.fixtures import gateway, isolated_environment, picky_gateway

__all__ = ["gateway", "isolated_environment", "picky_gateway"]

BEARER = {"authorization": f"Bearer {FAKE_KEY}"}


def chat_body(said: str = "hello there", model: str = "test/model-small", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": said}], **more}


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


Chat = Callable[..., httpx.Response]


@pytest.fixture
def chat(client: httpx.Client) -> Chat:
    """`chat(gateway, said, headers=…, base=…, **body)`: one chat request, with the right Bearer unless told."""

    def ask(
        gateway: PickyGateway,
        said: str = "hello there",
        headers: dict[str, str] | None = None,
        base: str | None = None,
        **more: Any,
    ) -> httpx.Response:
        url = (gateway.base() if base is None else gateway.url + base) + "/chat/completions"
        return client.post(url, headers=BEARER if headers is None else headers, json=chat_body(said, **more))

    return ask


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool
