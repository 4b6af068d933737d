"""Entries as real gateways list them, and what must not be read into them."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from litellm_gateway_plugin import dialects
from litellm_gateway_plugin.catalogue import (
    CHAT_KIND,
    EMBEDDING_KIND,
    JSON_MODE,
    LONGEST_ID,
    REASONING,
    SCHEMA,
    TOOLS,
    VISION,
    Listing,
    Model,
    Price,
    id_of,
)
from litellm_gateway_plugin.dialects import read_listing, unpack
from litellm_gateway_plugin.testing import LISTINGS

M = 1e-6
Prices = tuple[float, float | None, float | None]
ALL = frozenset((VISION, TOOLS, JSON_MODE, SCHEMA, REASONING))


def read(entry: dict[str, Any]) -> Model:
    """The one model of a listing."""
    listing = read_listing({"object": "list", "data": [{"id": "m", **entry}]})
    assert listing is not None
    (model,) = listing
    assert isinstance(model, Model)
    return model


def price_of(entry: dict[str, Any]) -> Prices | None:
    price = read(entry).price
    return None if price is None else (price.input, price.output, price.cached)


def is_near(found: Prices | None, expected: Prices) -> bool:
    return found is not None and all(
        one == other if one is None or other is None else math.isclose(one, other)
        for one, other in zip(found, expected, strict=True)
    )


# What is served -------------------------------------------------------------------------------------------------------

# entry, kind, context, max_output, has, lacks
ENTRIES: dict[str, tuple[dict[str, Any], str | None, int | None, int | None, set[str], set[str]]] = {
    "openai": ({"object": "model", "created": 1715367049, "owned_by": "system"}, None, None, None, set(), set()),
    "vllm": (
        {"object": "model", "owned_by": "vllm", "root": "/models/m", "parent": None, "max_model_len": 32768,
         "permission": [{"id": "modelperm-1", "object": "model_permission", "allow_sampling": True}]},
        None, 32768, None, set(), set(),
    ),
    "llama.cpp before its second list": (
        {"object": "model", "owned_by": "llamacpp",
         "meta": {"vocab_type": 2, "n_vocab": 49152, "n_ctx_train": 8192, "n_embd": 576, "n_params": 134515008}},
        None, 8192, None, set(), set(),
    ),
    "llama.cpp, the window in use": ({"meta": {"n_ctx": 4096, "n_ctx_train": 8192}}, None, 4096, None, set(), set()),
    "chutes": (
        {"root": "m", "max_model_len": 262144, "context_length": 262144, "max_output_length": 65536,
         "input_modalities": ["text", "image"], "output_modalities": ["text"],
         "supported_features": ["json_mode", "tools", "structured_outputs", "reasoning"],
         "supported_sampling_parameters": ["temperature", "seed"], "confidential_compute": True},
        CHAT_KIND, 262144, 65536, set(ALL), set(),
    ),
    "chutes, a plain one": (
        {"max_model_len": 32768, "input_modalities": ["text"], "output_modalities": ["text"],
         "supported_features": []},
        CHAT_KIND, 32768, None, set(), set(ALL),
    ),
    "openrouter": (
        {"canonical_slug": "vendor/m", "hugging_face_id": "", "name": "Vendor: M", "context_length": 131072,
         "architecture": {"modality": "text+image->text", "input_modalities": ["text", "image", "file"],
                          "output_modalities": ["text"], "tokenizer": "Other", "instruct_type": None},
         "top_provider": {"context_length": 65536, "max_completion_tokens": 16384, "is_moderated": False},
         "per_request_limits": None,
         "supported_parameters": ["tools", "tool_choice", "response_format", "reasoning", "include_reasoning"]},
        CHAT_KIND, 131072, 16384, {VISION, TOOLS, JSON_MODE, REASONING}, {SCHEMA},
    ),
    "openrouter, a picture beside the text": (
        {"architecture": {"input_modalities": ["text"], "output_modalities": ["image", "text"]}},
        CHAT_KIND, None, None, set(), {VISION},
    ),
    "openrouter, an embedding": (
        {"context_length": 8192, "top_provider": {"context_length": 8192, "max_completion_tokens": None},
         "architecture": {"input_modalities": ["text"], "output_modalities": ["embeddings"]},
         "supported_parameters": []},
        EMBEDDING_KIND, 8192, None, set(), set(ALL),
    ),
    "lm studio": (
        {"type": "llm", "publisher": "lmstudio-community", "arch": "llama", "compatibility_type": "gguf",
         "quantization": "Q4_K_M", "state": "loaded", "max_context_length": 131072, "loaded_context_length": 4096,
         "capabilities": ["tool_use"]},
        CHAT_KIND, 4096, None, {TOOLS}, {VISION},
    ),
    "lm studio, with eyes": (
        {"type": "vlm", "arch": "qwen2_vl", "state": "not-loaded", "max_context_length": 32768},
        CHAT_KIND, 32768, None, {VISION}, set(),
    ),
    "lm studio, an embedding": (
        {"type": "embeddings", "arch": "nomic-bert", "max_context_length": 2048},
        EMBEDDING_KIND, 2048, None, set(), set(),
    ),
    "xinference": (
        {"model_type": "LLM", "model_name": "m", "model_ability": ["chat", "vision", "tools"], "context_length": 8192},
        CHAT_KIND, 8192, None, {VISION, TOOLS}, set(),
    ),
    "xinference, an embedding": (
        {"model_type": "embedding", "dimensions": 768}, EMBEDDING_KIND, None, None, set(), set(),
    ),
    "together": (
        {"type": "chat", "running": False, "display_name": "M", "organization": "V", "context_length": 131072},
        CHAT_KIND, 131072, None, set(), set(),
    ),
    "together, for text": ({"type": "language"}, CHAT_KIND, None, None, set(), set()),
    "together, for pictures": ({"type": "image", "context_length": 0}, "image", None, None, set(), set()),
    "together, an embedding": ({"type": "embedding", "context_length": 512}, EMBEDDING_KIND, 512, None, set(), set()),
    "together, for ranking": ({"type": "rerank", "context_length": 8192}, "rerank", 8192, None, set(), set()),
    "litellm proxy": ({"object": "model", "created": 1677610602, "owned_by": "openai"}, None, None, None, set(), set()),
    "litellm proxy, with its map": (
        {"model_info": {"mode": "chat", "max_input_tokens": 200000, "max_output_tokens": 64000, "max_tokens": None,
                        "supports_vision": True, "supports_function_calling": True, "supports_tool_choice": False,
                        "supports_response_schema": None, "supports_reasoning": False}},
        CHAT_KIND, 200000, 64000, {VISION, TOOLS}, {REASONING},
    ),
    "litellm proxy, a group": (
        {"mode": "embedding", "max_input_tokens": 8191, "supports_vision": False},
        EMBEDDING_KIND, 8191, None, set(), {VISION},
    ),
    "groq": (
        {"owned_by": "Meta", "active": True, "context_window": 131072, "public_apps": None,
         "max_completion_tokens": 32768},
        None, 131072, 32768, set(), set(),
    ),
    "mistral": (
        {"capabilities": {"completion_chat": True, "completion_fim": False, "function_calling": True,
                          "fine_tuning": False, "vision": False, "classification": False},
         "name": "m", "max_context_length": 131072, "aliases": ["m-latest"], "deprecation": None, "type": "base"},
        CHAT_KIND, 131072, None, {TOOLS}, {VISION},
    ),
    "mistral, not for chat": (
        {"capabilities": {"completion_chat": False, "completion_fim": True, "function_calling": False, "vision": False},
         "max_context_length": 32768, "type": "base"},
        "other", 32768, None, set(), {TOOLS, VISION},
    ),
    "deepinfra": (
        {"root": "m", "parent": None,
         "metadata": {"description": "…", "context_length": 163840, "max_tokens": 16384,
                      "tags": ["vision", "prompt_cache", "reasoning_effort"]}},
        None, 163840, 16384, {VISION, REASONING}, set(),
    ),
    "deepinfra, with nothing": ({"root": "m", "metadata": None}, None, None, None, set(), set()),
    "vercel": (
        {"name": "M", "context_window": 40960, "max_tokens": 16384, "type": "language",
         "tags": ["reasoning", "tool-use", "file-input"]},
        CHAT_KIND, 40960, 16384, {REASONING, TOOLS}, set(),
    ),
    "vercel, an embedding": (
        {"context_window": 0, "max_tokens": 0, "type": "embedding", "tags": []},
        EMBEDDING_KIND, None, None, set(), set(),
    ),
    "requesty": (
        {"context_window": 200000, "max_output_tokens": 64000, "supports_caching": True, "supports_vision": True,
         "supports_computer_use": True, "supports_reasoning": False},
        None, 200000, 64000, {VISION}, {REASONING},
    ),
    "new-api": ({"owned_by": "custom", "supported_endpoint_types": ["openai"]}, CHAT_KIND, None, None, set(), set()),
    "new-api, of anthropic": ({"supported_endpoint_types": ["anthropic"]}, CHAT_KIND, None, None, set(), set()),
    "new-api, of gemini": ({"supported_endpoint_types": ["gemini", "openai"]}, CHAT_KIND, None, None, set(), set()),
    "new-api, responses": ({"supported_endpoint_types": ["openai-response"]}, CHAT_KIND, None, None, set(), set()),
    "new-api, an embedding": ({"supported_endpoint_types": ["embeddings"]}, EMBEDDING_KIND, None, None, set(), set()),
    "new-api, for ranking": ({"supported_endpoint_types": ["jina-rerank"]}, "rerank", None, None, set(), set()),
    "new-api, for films": ({"supported_endpoint_types": ["openai-video"]}, "video", None, None, set(), set()),
    "new-api, for pictures first": (
        {"supported_endpoint_types": ["image-generation", "openai"]}, "image", None, None, set(), set(),
    ),
    "new-api, for nothing": ({"supported_endpoint_types": None}, None, None, None, set(), set()),
    "with paths": (
        {"supported_endpoints": ["/v1/chat/completions", "/v1/embeddings"]}, CHAT_KIND, None, None, set(), set(),
    ),
    "novita": (
        {"context_size": 131072, "max_output_tokens": 8192, "model_type": "chat", "endpoints": ["chat/completions"],
         "features": ["function-calling", "structured-outputs"], "input_modalities": ["text"]},
        CHAT_KIND, 131072, 8192, {TOOLS, SCHEMA}, {VISION},
    ),
    "ollama": ({"object": "model", "created": 1730000000, "owned_by": "library"}, None, None, None, set(), set()),
    "ollama, natively": (
        {"capabilities": ["completion", "tools", "thinking"], "details": {"family": "qwen3"}},
        CHAT_KIND, None, None, {TOOLS, REASONING}, {VISION},
    ),
    "ollama, an embedding": ({"capabilities": ["embedding"]}, EMBEDDING_KIND, None, None, set(), set()),
    "fireworks": (
        {"owned_by": "fireworks", "kind": "HF_BASE_MODEL", "supports_chat": True, "supports_image_input": False,
         "supports_tools": True, "context_length": 131072},
        CHAT_KIND, 131072, None, {TOOLS}, {VISION},
    ),
    "fireworks, for pictures": (
        {"kind": "FLUMINA_BASE_MODEL", "supports_chat": False, "supports_image_input": False, "supports_tools": False},
        "other", None, None, set(), {VISION, TOOLS},
    ),
    "anthropic": (
        {"type": "model", "display_name": "M", "max_input_tokens": 200000, "max_tokens": 64000,
         "capabilities": {"image_input": {"supported": True}, "structured_outputs": {"supported": True},
                          "thinking": {"supported": False, "types": {}}, "batch": {"supported": True}}},
        None, 200000, 64000, {VISION, SCHEMA}, {REASONING},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_what_it_says(name: str) -> None:
    entry, kind, context, max_output, has, lacks = ENTRIES[name]
    model = read(entry)
    assert (model.kind, model.context, model.max_output) == (kind, context, max_output)
    assert (set(model.has), set(model.lacks)) == (has, lacks)
    assert model.price is None


def test_llama_cpp_says_more_in_its_second_list() -> None:
    body = {
        "models": [
            {"name": "m", "model": "m", "type": "model", "capabilities": ["completion", "multimodal"]},
            {"name": "n", "model": "n", "type": "model", "capabilities": ["completion"]},
        ],
        "object": "list",
        "data": [{"id": name, "object": "model", "meta": {"n_ctx_train": 8192}} for name in ("m", "n")],
    }
    listing = read_listing(body)
    assert listing is not None
    assert listing.ids == ("m", "n")
    assert [model.kind for model in listing] == [CHAT_KIND] * 2
    assert [model.can(VISION) for model in listing] == [True, False]
    assert [model.context for model in listing] == [8192] * 2
    assert listing.entry("m")["meta"] == {"n_ctx_train": 8192}
    assert unpack(listing.packed) == listing


@pytest.mark.parametrize("dialect", LISTINGS)
def test_every_dialect_of_our_own_gateway_is_read(dialect: str) -> None:
    ids = ("Vendor/Model-7B", "plain")
    body = LISTINGS[dialect](ids, {"plain": {"colour": "blue"}})
    listing = read_listing(body)
    assert listing is not None
    assert listing.ids == ids
    assert listing.entry("plain")["colour"] == "blue"
    assert all(model.may_chat for model in listing)
    assert (listing[0].context is None) == (dialect == "openai")
    assert (listing[0].price is not None) == (dialect in {"chutes", "openrouter", "together", "deepinfra", "vercel"})
    if listing[0].price is not None:
        assert 0.01 * M < listing[0].price.input < 1 * M
        assert listing[0].price.output is not None
    assert unpack(listing.packed) == listing


def test_a_name_says_nothing() -> None:
    for name in ("gpt-4o", "text-embedding-3-large", "vendor/llava-vision-tools", "whisper", "model:free"):
        listing = read_listing({"data": [{"id": name}]})
        assert listing is not None
        assert listing[0] == Model(name)


def test_what_is_odd_leaves_the_place_to_what_is_not() -> None:
    assert read({"max_model_len": "", "context_length": 0, "context_window": "8192"}).context == 8192
    assert read({"max_model_len": True, "meta": {"n_ctx_train": 512}}).context == 512
    assert read({"type": "model", "mode": "embedding"}).kind == EMBEDDING_KIND
    assert read({"type": ["chat"], "task": "text-generation"}).kind == CHAT_KIND
    assert read({"endpoints": "none", "supported_endpoint_types": ["embeddings"]}).kind == EMBEDDING_KIND
    assert read({"capabilities": 5, "model_ability": ["vision"]}).can(VISION) is True


@pytest.mark.parametrize("value", [None, "", "8k", -1, 0, 0.5, True, [8192], {}, math.nan, math.inf, 10**400, "9" * 99])
def test_a_count_that_is_none_is_unknown(value: Any) -> None:
    model = read({"context_length": value, "max_output_length": value, "type": "chat"})
    assert (model.context, model.max_output, model.kind) == (None, None, CHAT_KIND)


@pytest.mark.parametrize("value", [None, "text", 5, {}, [], [5], [None]])
def test_a_list_that_is_none_denies_nothing(value: Any) -> None:
    model = read({"input_modalities": value, "features": value, "tags": value, "capabilities": value})
    assert (model.has, model.lacks) == (frozenset(), frozenset())


@pytest.mark.parametrize("value", [None, "true", 1, 0, "no", [True]])
def test_a_switch_that_is_none_says_nothing(value: Any) -> None:
    model = read({"supports_vision": value, "supports_tools": value, "tools": True, "vision": True})
    assert (model.has, model.lacks) == (frozenset(), frozenset())


def test_the_no_of_a_part_is_not_the_no_of_the_whole() -> None:
    assert read({"supports_tool_choice": False, "supports_reasoning_effort": False}).lacks == frozenset()
    assert read({"supports_tool_choice": True}).can(TOOLS) is True
    assert read({"supports_tool_choice": False, "supports_function_calling": True}).can(TOOLS) is True


def test_words_are_bounded() -> None:
    assert read({"output_modalities": ["x" * 10_000]}).kind is None
    assert read({"tags": ["x"] * 500 + ["vision"]}).can(VISION) is None


# Prices ---------------------------------------------------------------------------------------------------------------

PRICED: dict[str, tuple[dict[str, Any], Prices]] = {
    "chutes": (
        {"price": {"input": {"tao": 0.0002, "usd": 0.08}, "output": {"tao": 0.001, "usd": 0.55},
                   "input_cache_read": {"tao": 0.0001, "usd": 0.04}},
         "pricing": {"prompt": 0.08, "completion": 0.55, "input_cache_read": 0.04}},
        (0.08 * M, 0.55 * M, 0.04 * M),
    ),
    "chutes, tiny and yet per million": ({"price": {"input": {"usd": 0.0005}, "output": {"usd": 0.0009}}},
                                         (0.0005 * M, 0.0009 * M, None)),
    "chutes, without price": ({"pricing": {"prompt": 0.08, "completion": 0.55}}, (0.08 * M, 0.55 * M, None)),
    "openrouter": ({"pricing": {"prompt": "0.00000008", "completion": "0.00000055", "request": "0", "image": "0"}},
                   (0.08 * M, 0.55 * M, None)),
    "openrouter, dear": ({"pricing": {"prompt": "0.00015", "completion": "0.0006"}}, (150 * M, 600 * M, None)),
    "openrouter, free": ({"pricing": {"prompt": "0", "completion": "0"}}, (0.0, 0.0, None)),
    "openrouter, free to ask": ({"pricing": {"prompt": "0", "completion": "0.000001"}}, (0.0, 1 * M, None)),
    "together": ({"type": "chat", "pricing": {"hourly": 0, "input": 0.2, "output": 0.6, "base": 0, "finetune": 0}},
                 (0.2 * M, 0.6 * M, None)),
    "together, an embedding": ({"type": "embedding", "pricing": {"input": 0.008, "output": 0}}, (0.008 * M, 0.0, None)),
    "litellm": ({"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
                 "cache_read_input_token_cost": 3e-07}, (3 * M, 15 * M, 0.3 * M)),
    "litellm, in its map": ({"model_info": {"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05}},
                            (3 * M, 15 * M, None)),
    "litellm, half": ({"input_cost_per_token": 3e-06, "output_cost_per_token": None}, (3 * M, None, None)),
    "deepinfra": ({"metadata": {"pricing": {"input_tokens": 0.23, "output_tokens": 0.4, "cache_read_tokens": 0.1}}},
                  (0.23 * M, 0.4 * M, 0.1 * M)),
    "vercel": ({"type": "language", "pricing": {"input": "0.00000006", "output": "0.00000024"}},
               (0.06 * M, 0.24 * M, None)),
    "vercel, an embedding": ({"type": "embedding", "pricing": {"input": "0.00000002"}}, (0.02 * M, 0.0, None)),
    "requesty": ({"input_price": 0.000003, "caching_price": 0.00000375, "cached_price": 3e-07,
                  "output_price": 0.000015}, (3 * M, 15 * M, 0.3 * M)),
    "unbound, as strings": ({"input_price": "0.000003", "output_price": "0.000015"}, (3 * M, 15 * M, None)),
    "models.dev": ({"cost": {"input": 3, "output": 15, "cache_read": 0.3}}, (3 * M, 15 * M, 0.3 * M)),
    "with a unit": ({"pricing": {"input": 0.0005, "output": 0.0015, "unit": "per 1K tokens", "currency": "USD"}},
                    (0.5 * M, 1.5 * M, None)),
    "with a dollar": ({"pricing": {"prompt": "$0.08", "completion": "$0.55"}}, (0.08 * M, 0.55 * M, None)),
    "with nulls": ({"pricing": {"prompt": 0.08, "completion": 0.55, "unit": None, "currency": None}},
                   (0.08 * M, 0.55 * M, None)),
    "one readable of two": ({"price": {"input": {"usd": "?"}}, "pricing": {"prompt": 0.08, "completion": 0.55}},
                            (0.08 * M, 0.55 * M, None)),
    "one too dear of two": ({"price": {"input": {"usd": 1e9}}, "pricing": {"prompt": 0.08, "completion": 0.55}},
                            (0.08 * M, 0.55 * M, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", PRICED)
def test_a_price_is_in_dollars_for_a_token(name: str) -> None:
    entry, expected = PRICED[name]
    assert is_near(price_of(entry), expected)


def test_a_price_names_its_fields_and_their_unit() -> None:
    price = read({"pricing": {"prompt": "0.000001", "completion": "0.000002"}}).price
    assert price == Price(1e-06, 2e-06, None, "pricing.prompt and pricing.completion, in USD per token")
    half = read({"pricing": {"input": 1}}).price
    assert half == Price(1e-06, None, None, "pricing.input, in USD per million tokens")


NO_PRICES: list[Any] = [
    None, "", "free", "n/a", -1, "-1", math.nan, "NaN", "sNaN", math.inf, "Infinity", True, False, [], [0.1], {},
    1e308, "1e308", "1e-99999999999999999999", "1e999999999999999999", 10**400, -(10**400), "0" * 1000, "0,5", "1/2",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_PRICES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", ["pricing.prompt", "price.input.usd", "input_cost_per_token", "input_price"])
def test_an_odd_price_is_none_and_takes_nothing_with_it(place: str, value: Any) -> None:
    entry: Any = value
    for part in reversed(place.split(".")):
        entry = {part: entry}
    model = read({**entry, "context_length": 8192, "type": "chat", "input_modalities": ["text", "image"]})
    assert model.price is None
    assert (model.context, model.kind, model.can(VISION)) == (8192, CHAT_KIND, True)


@pytest.mark.parametrize("value", [*NO_PRICES, 1e7], ids=lambda value: type(value).__name__)
def test_an_odd_second_price_takes_the_first_one_with_it_only_when_it_is_too_dear(value: Any) -> None:
    price = price_of({"pricing": {"prompt": 0.08, "completion": value}})
    assert price is None or is_near(price, (0.08 * M, None, None))


@pytest.mark.parametrize(
    "beside",
    [
        {"currency": "EUR"}, {"currency": "tao"}, {"currency": ["USD"]}, {"currency": 5}, {"unit": "per minute"},
        {"unit": "image"}, {"unit": 5}, {"unit": ""},
    ],
)  # fmt: skip
def test_an_unknown_currency_or_unit_is_no_price(beside: dict[str, Any]) -> None:
    assert price_of({"pricing": {"prompt": 0.08, "completion": 0.55, **beside}}) is None


def test_an_unknown_currency_counts_where_the_unit_is_known_too() -> None:
    assert price_of({"input_cost_per_token": 3e-06, "currency": "EUR"}) is None


def test_what_is_not_paid_by_the_token_is_not_free() -> None:
    nothing = {"pricing": {"input": 0, "output": 0, "hourly": 0}}
    assert price_of({"type": "image", **nothing}) is None
    assert price_of({"type": "chat", **nothing}) == (0.0, 0.0, None)
    assert price_of({"type": "rerank", **nothing}) == (0.0, 0.0, None)


def test_openrouters_own_router_has_no_price() -> None:
    model = read({"pricing": {"prompt": "-1", "completion": "-1"}, "context_length": 2000000, "top_provider": {}})
    assert (model.price, model.context) == (None, 2000000)


# Anything -------------------------------------------------------------------------------------------------------------

NAMES = sorted(
    {
        *dialects.READABLE, *(part for row in dialects.PRICES for path in row[:3] for part in path.split(".")),
        "id", "name", "model", "top_provider", "meta", "model_info", "architecture", "unit", "currency", "tags",
        "supported_features", "supported_parameters", "supports_chat", "supports_vision", "n_ctx", "data", "models",
    }
)  # fmt: skip
WORDS = sorted({*dialects.KINDS, *dialects.UNITS, *dialects.ENDPOINTS, "text", "tools", "vision", "usd", "completion"})
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(WORDS)
    | st.decimals(allow_nan=True).map(str)
)  # fmt: skip
KEYS = st.sampled_from(NAMES) | st.text(max_size=4)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=8), max_leaves=30
)
IDS = st.sampled_from(["a", "b", "v/a"]) | st.text(max_size=5)
LISTED = st.lists(st.builds(lambda name, entry: {**entry, "id": name}, IDS, st.dictionaries(KEYS, JSON, max_size=6)))


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are written the same way: NaN is not equal to itself."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def check(listing: Listing) -> None:
    ids = listing.ids
    assert len(set(ids)) == len(ids)
    assert all(0 < len(name) <= LONGEST_ID and name.isprintable() for name in ids)
    for model in listing:
        assert model.has <= ALL
        assert not model.has & model.lacks
        assert model.kind is None or 0 < len(model.kind) <= dialects.LONGEST_WORD
        for count in (model.context, model.max_output):
            assert count is None or (type(count) is int and 0 < count < 2**53)
        prices = [model.price.input, model.price.output, model.price.cached] if model.price else []
        assert all(each is None or 0 <= each <= dialects.DEAREST for each in prices)
    assert unpack(listing.packed) == listing


@settings(deadline=None)
@example({"data": None, "models": [{"name": "a"}]})
@example([{"id": "a", "pricing": {"prompt": "1e-999999999999"}}])
@example([{"id": "\ud800"}, {"id": "\n"}, {"id": "a", "x": "\ud800"}])
@given(JSON)
def test_any_json_is_a_listing_or_none(body: Any) -> None:
    listing = read_listing(body)
    if listing is not None:
        check(listing)


@settings(deadline=None)
@given(LISTED, LISTED | st.none())
def test_any_entries_are_kept_whole(entries: list[dict[str, Any]], second: list[dict[str, Any]] | None) -> None:
    listing = read_listing({"data": entries, "models": second})
    assert listing is not None
    check(listing)
    for name in listing.ids:
        first = next(entry for entry in entries if id_of(entry) == name)
        kept = listing.entry(name)
        assert same({part: kept[part] for part in first}, first)
        if not second:
            assert same(kept, first)


def test_an_entry_that_nobody_lists_is_an_error() -> None:
    listing = read_listing(["a"])
    assert listing is not None
    with pytest.raises(KeyError):
        listing.entry("A")


def test_what_cannot_be_written_again_keeps_its_ids() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    listing = read_listing([{"id": "a", "x": deep}, {"id": "b", "x": 10**5000}, "c", 5])
    assert listing is not None
    assert listing.ids == ("a", "b", "c")
    assert unpack(listing.packed) == listing
    while deep:  # unwound by hand: the collector would recurse
        deep = deep[0]


def test_a_listing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialects, "MOST_LISTED", 3)
    listing = read_listing([f"m{number}" for number in range(10)])
    assert listing is not None
    assert listing.ids == ("m0", "m1", "m2")
    assert listing.body() == ["m0", "m1", "m2"]


@pytest.mark.parametrize(
    "packed",
    [b"", b"x", zlib.compress(b"{"), zlib.compress(b"{}"), zlib.compress(b"[" * 100_000), zlib.compress(b"\xff")],
)
def test_what_somebody_else_packed_may_be_none(packed: bytes) -> None:
    assert unpack(packed) is None


def test_what_was_cut_or_unpacks_without_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = zlib.compress(json.dumps([f"model-{number}" for number in range(1000)]).encode())
    assert unpack(packed) is not None
    assert unpack(packed[:-5]) is None
    monkeypatch.setattr(dialects, "MOST_UNPACKED", 1000)
    assert unpack(packed) is None
