"""A real LitServe: the support that later tests stand on, and the manners that it is there for."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.litserve_server import ANSWER, FULL, LitServe, litserve_python

KEY = "key-for-tests"
RIGHT = {"x-api-key": KEY}

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(litserve_python() is None, reason="there is no environment with LitServe: make litserve-venv"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[LitServe]:
    with LitServe(api_key=KEY) as running:
        yield running


def chat(
    server: LitServe, headers: dict[str, str] = RIGHT, *, text: str = "hi", stream: bool = False
) -> httpx.Response:
    body = {"model": "any", "messages": [{"role": "user", "content": text}], "stream": stream}
    return httpx.post(f"{server.base}/chat/completions", json=body, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (RIGHT, 200),
        ({"authorization": f"Bearer {KEY}"}, 401),
        ({"authorization": KEY}, 401),
        ({"api-key": KEY}, 401),
        ({}, 401),
    ],
    ids=["x-api-key", "bearer", "raw", "api-key", "none"],
)
def test_it_takes_x_api_key_alone_and_says_so(server: LitServe, headers: dict[str, str], status: int) -> None:
    answer = chat(server, headers)
    assert answer.status_code == status
    assert answer.headers.get("www-authenticate") == ("APIKey" if status == 401 else None)


def test_it_answers_a_chat(server: LitServe) -> None:
    assert chat(server).json()["choices"][0]["message"]["content"] == ANSWER


def test_it_has_no_listing(server: LitServe) -> None:
    assert httpx.get(f"{server.base}/models", headers=RIGHT).status_code == 404


def test_a_chat_needs_the_v1_of_its_base(server: LitServe) -> None:
    assert httpx.post(f"{server.origin}/chat/completions", headers=RIGHT, json={}).status_code == 404


def test_full_is_a_429_and_in_a_stream_an_event_inside_a_200(server: LitServe) -> None:
    assert chat(server, text=FULL).status_code == 429
    streamed = chat(server, text=FULL, stream=True)
    assert streamed.status_code == 200
    assert streamed.text.startswith('data: {"error":')
    assert "model at capacity" in streamed.text
