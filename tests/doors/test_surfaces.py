"""Every other surface: embeddings, text completions, what litellm bridges to chat, audio, pictures and files."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest

from litellm_gateway_plugin.testing import FAKE_KEY, Manners
from litellm_gateway_plugin.testing.fixtures import GatewayFactory
from tests.doors.conftest import Door

MODEL = "test/model-small"
PICKY = Manners(styles={"*": ("x-api-key",), "models": ("none",)})
ASYNC_PREFIXES = ("gateway/", "openai/", "")


def reached(server: Any) -> list[tuple[str, str]]:
    """Surface and style of what was served."""
    return [(seen.surface, seen.style) for seen in server.served]


@pytest.fixture
def door(door: Door) -> Door:
    """All but the one that litellm serves itself: it has an embedding provider of this name."""
    if door == Door("openai_like/", False):
        pytest.skip("litellm has an embedding provider of this name, and asks nobody else in a sync call")
    return door


@pytest.fixture
def provider_door(provider_door: Door) -> Door:
    """As `door`."""
    if provider_door == Door("openai_like/", False):
        pytest.skip("litellm has an embedding provider of this name, and asks nobody else in a sync call")
    return provider_door


def test_embeddings(door: Door, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    response = door.embed(MODEL, api_base=server.url, api_key=FAKE_KEY)
    assert len(response.data) == 2
    assert reached(server) == [("embeddings", "x-api-key")]
    assert [(seen.style, seen.base, seen.status) for seen in server.seen] == [
        ("bearer", "", 404),
        ("bearer", "/v1", 401),
        ("x-api-key", "/v1", 200),
    ]
    server.clear()
    door.embed(MODEL, api_base=server.url, api_key=FAKE_KEY)
    assert len(server.seen) == 1


def test_what_works_for_chat_is_the_first_guess_for_embeddings(provider_door: Door, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    provider_door.chat(MODEL, api_base=server.url, api_key=FAKE_KEY)
    server.clear()
    provider_door.embed(MODEL, api_base=server.url, api_key=FAKE_KEY)
    assert [(seen.surface, seen.status) for seen in server.seen] == [("embeddings", 200)]


@pytest.mark.parametrize("prefix", ASYNC_PREFIXES)
def test_async_embeddings_keep_parameters_and_headers(prefix: str, gateway: GatewayFactory) -> None:
    server = gateway(Manners())
    response = asyncio.run(
        litellm.aembedding(
            model=prefix + MODEL,
            input=["one"],
            api_base=server.base(),
            api_key=FAKE_KEY,
            dimensions=3,
            encoding_format="float",
            extra_headers={"x-team": "blue"},
        )
    )
    assert len(response.data[0]["embedding"]) == 3
    assert server.seen[-1].body["encoding_format"] == "float"
    assert server.seen[-1].headers["x-team"] == "blue"


def test_a_200_in_another_shape_is_another_base(provider_door: Door, gateway: GatewayFactory) -> None:
    """llama.cpp answers `/embeddings` without `/v1` in a shape of its own."""
    server = gateway(Manners(bases={"*": ("/v1", "")}, native_bases=("",)))
    response = provider_door.embed(MODEL, api_base=server.url, api_key=FAKE_KEY)
    assert len(response.data) == 2
    assert [(seen.base, seen.status) for seen in server.seen] == [("", 200), ("/v1", 200)]


def test_a_missing_surface_does_not_flip_a_base_that_is_proven_for_another(gateway: GatewayFactory) -> None:
    server = gateway(Manners(absent=("embeddings", "responses")))
    door = Door("gateway/", False)
    door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    with pytest.raises(litellm.NotFoundError):
        door.embed(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    server.clear()
    door.chat(MODEL, api_base=server.base(), api_key=FAKE_KEY)
    assert [(seen.base, seen.status) for seen in server.seen] == [("/v1", 200)]


def test_text_completions(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"prompt": "say", "api_base": server.url, "api_key": FAKE_KEY}
    native = litellm.text_completion(model=f"openai/{MODEL}", **options)
    bridged = litellm.text_completion(model=f"gateway/{MODEL}", **options)
    assert native.choices[0].text == bridged.choices[0].text == "echo: say"
    assert reached(server) == [("completions", "x-api-key"), ("chat", "x-api-key")]
    streamed = litellm.text_completion(model=f"openai/{MODEL}", stream=True, **options)
    assert "".join(chunk.choices[0].text or "" for chunk in streamed) == "echo: say"


@pytest.mark.parametrize("prefix", ASYNC_PREFIXES)
@pytest.mark.parametrize("stream", [False, True])
def test_async_text_completions(prefix: str, stream: bool, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)

    async def said() -> str:
        options = {"prompt": "say", "api_base": server.url, "api_key": FAKE_KEY, "stream": stream}
        response = await litellm.atext_completion(model=prefix + MODEL, **options)
        if not stream:
            return str(response.choices[0].text)
        return "".join([chunk.choices[0].text or "" async for chunk in response])

    assert asyncio.run(said()) == "echo: say"
    assert reached(server)[-1][1] == "x-api-key"


def test_responses_are_bridged_to_chat(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"input": "hey", "api_base": server.url, "api_key": FAKE_KEY}
    response = litellm.responses(model=f"gateway/{MODEL}", **options)
    assert response.output[0].content[0].text == "echo: hey"
    for prefix in ASYNC_PREFIXES:
        response = asyncio.run(litellm.aresponses(model=prefix + MODEL, **options))
        assert response.output[0].content[0].text == "echo: hey"
    assert set(reached(server)) == {("chat", "x-api-key")}


@pytest.mark.parametrize("prefix", ASYNC_PREFIXES)
@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_messages_are_bridged_to_chat(prefix: str, stream: bool, gateway: GatewayFactory) -> None:
    server = gateway(PICKY)

    async def said() -> str:
        response: Any = await litellm.anthropic.messages.acreate(
            model=prefix + MODEL,
            max_tokens=50,
            messages=[{"role": "user", "content": "hey"}],
            api_base=server.url,
            api_key=FAKE_KEY,
            stream=stream,
        )
        if not stream:
            return str(response["content"][0]["text"])
        return b"".join([part if isinstance(part, bytes) else str(part).encode() async for part in response]).decode()

    assert "echo:" in asyncio.run(said())
    assert set(reached(server)) == {("chat", "x-api-key")}


def test_audio_pictures_and_files_through_the_session_door(gateway: GatewayFactory) -> None:
    server = gateway(PICKY)
    options = {"api_base": server.url, "api_key": FAKE_KEY}
    sound = ("sound.wav", b"RIFF" + bytes(200))
    assert litellm.transcription(model=f"openai/{MODEL}", file=sound, **options).text
    assert litellm.speech(model=f"openai/{MODEL}", voice="alloy", input="hey", **options).content
    assert litellm.image_generation(model=f"openai/{MODEL}", prompt="a cat", **options).data
    assert len(server.served) == 3

    async def all_async() -> None:
        assert (await litellm.atranscription(model=f"openai/{MODEL}", file=sound, **options)).text
        assert (await litellm.aspeech(model=f"openai/{MODEL}", voice="alloy", input="hey", **options)).content
        assert (await litellm.aimage_generation(model=f"openai/{MODEL}", prompt="a cat", **options)).data

    refused = len(server.refused)
    asyncio.run(all_async())
    assert len(server.refused) == refused, "what was learnt by threads holds for coroutines"
    assert {style for _, style in reached(server)} == {"x-api-key"}
