"""Reads a listing in every dialect that is known: OpenAI, vLLM, llama.cpp, Chutes, OpenRouter, LM Studio, Together's
bare array, Groq, Mistral, DeepInfra, Vercel, LiteLLM. Pure, with pydantic.

An odd field is unknown and takes nothing else with it; an entry without an id is skipped. Where two fields say the same
thing, the one that is written first in a table below is taken: what is served goes before what the model could do.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .catalogue import (
    CHAT_KIND,
    EMBEDDING_KIND,
    JSON_MODE,
    MOST_LISTED,
    REASONING,
    SCHEMA,
    TOOLS,
    VISION,
    Listing,
    Model,
    Price,
    entries_of,
    id_of,
)

CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    VISION: ("vision", "multimodal", "image", "images", "image_input", "image_understanding"),
    TOOLS: ("tools", "tool", "tool_use", "tool_choice", "tool_calling", "tool_calls", "function_calling", "functions"),
    JSON_MODE: ("json_mode", "json", "json_object", "response_format"),
    SCHEMA: ("structured_outputs", "structured_output", "json_schema", "response_schema"),
    REASONING: ("reasoning", "thinking", "reasoning_effort", "include_reasoning"),
}
"""Our names, and the words for them in listings; a hyphen or a blank in those counts as an underscore."""

_MEANING = {word: ours for ours, words in CAPABILITIES.items() for word in words}

KINDS: Mapping[str, str] = {
    **dict.fromkeys(("chat", "llm", "vlm", "language", "text", "code", "completion", "text_generation"), CHAT_KIND),
    **dict.fromkeys(("chat_completion", "chat_completions", "image_text_to_text", "responses"), CHAT_KIND),
    **dict.fromkeys(("embedding", "embeddings", "embed", "text_embedding", "text_embeddings"), EMBEDDING_KIND),
    **dict.fromkeys(("feature_extraction", "sentence_similarity"), EMBEDDING_KIND),
    **{word: word for word in ("rerank", "image", "audio", "video", "moderation", "tts", "stt", "speech", "ocr")},
    **dict.fromkeys(("reranker", "reranking", "text_classification"), "rerank"),
    **dict.fromkeys(("image_generation", "text_to_image"), "image"),
    **dict.fromkeys(("transcribe", "transcription", "audio_transcription", "automatic_speech_recognition"), "stt"),
    **dict.fromkeys(("text_to_speech", "audio_speech"), "tts"),
}
"""What listings call their models' kinds; a word that is not here says nothing."""

CHAT_ENDPOINTS = ("chat", "completion", "responses", "messages", "generate", "openai", "anthropic")

DEAREST = 0.01
"""USD per token; what costs more is a mistake in the listing."""

PER_TOKEN, PER_THOUSAND, PER_MILLION = 0, -3, -6
"""Powers of ten."""

UNITS: Mapping[str, int] = {
    **dict.fromkeys(("per_token", "token", "usd_per_token"), PER_TOKEN),
    **dict.fromkeys(("per_1k_tokens", "per_thousand_tokens", "1k_tokens"), PER_THOUSAND),
    **dict.fromkeys(("per_million_tokens", "per_1m_tokens", "1m_tokens", "million_tokens", "per_million"), PER_MILLION),
}
"""What a `unit` beside a price may say."""

UNIT_NAMES = {
    PER_TOKEN: "USD per token",
    PER_THOUSAND: "USD per thousand tokens",
    PER_MILLION: "USD per million tokens",
}

LEAST_PER_MILLION = Decimal("0.001")
"""A price below it is one per token: per million tokens nothing costs so little, and per token nothing so much."""

PRICES: tuple[tuple[str, str, str, int | None], ...] = (
    # input, output, cached, unit (None: told by the size); each a path into the entry
    ("price.input.usd", "price.output.usd", "price.input_cache_read.usd", PER_MILLION),  # Chutes
    ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", PER_TOKEN),  # LiteLLM
    ("pricing.prompt", "pricing.completion", "pricing.input_cache_read", None),  # OpenRouter, Chutes
    ("pricing.input", "pricing.output", "pricing.input_cache_read", None),  # Vercel, Together
    ("metadata.pricing.input_tokens", "metadata.pricing.output_tokens", "metadata.pricing.cache_read_tokens", None),
    ("input_price", "output_price", "cached_price", None),  # Requesty
    ("cost.input", "cost.output", "cost.cache_read", None),  # models.dev
)
"""Where the price is; the row without a name is DeepInfra's."""


def _count(value: Any) -> int | None:
    """Tokens; None for what is no number of any."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if 0 < number < 2**53 and not isinstance(value, bool) else None


def _words(value: Any) -> tuple[str, ...] | None:
    """The words of a list, or the names in a dictionary that are true; None for anything else."""
    if isinstance(value, dict):
        value = [name for name, has in value.items() if has is True]
    if not isinstance(value, list):
        return None
    return tuple(_word(each) for each in value[:200] if isinstance(each, str))


def _word(value: Any) -> str:
    return value.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(value, str) else ""


Count = Annotated[int | None, BeforeValidator(_count)]
Words = Annotated[tuple[str, ...] | None, BeforeValidator(_words)]
Word = Annotated[str, BeforeValidator(_word)]


class Entry(BaseModel):
    """One entry of a listing. Fields that it does not name are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    context: Count = Field(
        None,
        validation_alias=AliasChoices(
            "max_model_len",
            "loaded_context_length",
            "context_length",
            "context_window",
            "max_context_length",
            "context_size",
            "max_input_tokens",
            "input_token_limit",
            AliasPath("top_provider", "context_length"),
            AliasPath("metadata", "context_length"),
            AliasPath("model_info", "max_input_tokens"),
            AliasPath("meta", "n_ctx"),
            AliasPath("meta", "n_ctx_train"),
        ),
    )
    max_output: Count = Field(
        None,
        validation_alias=AliasChoices(
            "max_output_length",
            "max_output_tokens",
            "max_completion_tokens",
            "output_token_limit",
            "max_tokens",
            AliasPath("top_provider", "max_completion_tokens"),
            AliasPath("metadata", "max_tokens"),
            AliasPath("model_info", "max_output_tokens"),
        ),
    )
    kind: Word = Field(
        "", validation_alias=AliasChoices("type", "task", "mode", "model_type", AliasPath("model_info", "mode"))
    )
    inputs: Words = Field(
        None,
        validation_alias=AliasChoices("input_modalities", AliasPath("architecture", "input_modalities")),
    )
    outputs: Words = Field(
        None,
        validation_alias=AliasChoices("output_modalities", AliasPath("architecture", "output_modalities")),
    )
    endpoints: Words = Field(
        None, validation_alias=AliasChoices("endpoints", "supported_endpoints", "supported_endpoint_types")
    )
    features: Words = Field(None, validation_alias=AliasChoices("supported_features", "features"))
    parameters: Words = Field(None, validation_alias="supported_parameters")
    capabilities: Words = None
    tags: Words = Field(None, validation_alias=AliasChoices("tags", AliasPath("metadata", "tags")))


def read_listing(body: Any) -> Listing | None:
    """What a listing of any dialect says, or None when the body is no listing.

    Args:
        body: the parsed JSON of the answer.
    """
    entries = entries_of(body)
    if entries is None:
        return None
    more = _more(body, entries)
    read: dict[str, Model] = {}
    for entry in entries[:MOST_LISTED]:
        name = id_of(entry)
        if name and name not in read:
            read[name] = _model(name, {**more.get(name, {}), **entry} if isinstance(entry, dict) else {})
    return Listing(tuple(read.values()), _packed(entries[:MOST_LISTED]))


def unpack(packed: bytes) -> Listing | None:
    """A listing from what `Listing.packed` was; None when it is none, whoever wrote it."""
    try:
        return read_listing(json.loads(zlib.decompress(packed)))
    except (zlib.error, ValueError, RecursionError):
        return None


def _packed(entries: list[Any]) -> bytes:
    return zlib.compress(json.dumps(entries, separators=(",", ":")).encode("utf-8", "surrogatepass"), 1)


def _more(body: Any, entries: list[Any]) -> dict[str, dict[str, Any]]:
    """What llama.cpp says of its models in a second list beside `data`."""
    second = body.get("models") if isinstance(body, dict) else None
    if not isinstance(second, list) or second is entries:
        return {}
    return {id_of(entry): entry for entry in second[:MOST_LISTED] if isinstance(entry, dict)}


def _model(name: str, fields: Mapping[str, Any]) -> Model:
    said = {key: value for key, value in fields.items() if value is not None}
    try:
        entry = Entry.model_validate(said)
    except (ValidationError, RecursionError):
        return Model(name)
    kind = _kind(entry, said)
    has, lacks = _capabilities(entry, said)
    return Model(name, kind, entry.context, entry.max_output, has, lacks, _price(said, kind))


def _kind(entry: Entry, said: Mapping[str, Any]) -> str | None:
    """Of the kinds that the entry names, by the fields from the clearest on."""
    return next(filter(None, (_kind_named(entry), _kind_made(entry), _kind_served(entry), _kind_said(said))), None)


def _kind_named(entry: Entry) -> str | None:
    return KINDS.get(entry.kind)


def _kind_made(entry: Entry) -> str | None:
    """By what comes out."""
    if not entry.outputs:
        return None
    if "text" in entry.outputs:
        return CHAT_KIND
    return KINDS.get(entry.outputs[0], entry.outputs[0])


def _kind_served(entry: Entry) -> str | None:
    """By the endpoints, or by capabilities that name some."""
    words = [*(entry.endpoints or ()), *(entry.capabilities or ())]
    if any(chat in word for word in words for chat in CHAT_ENDPOINTS):
        return CHAT_KIND
    return EMBEDDING_KIND if any("embed" in word for word in words) else None


def _kind_said(said: Mapping[str, Any]) -> str | None:
    """By Mistral's and Fireworks' switches."""
    chats = (_at(said, ("capabilities", "completion_chat")), said.get("supports_chat"))
    return "other" if False in chats and True not in chats else CHAT_KIND if True in chats else None


def _capabilities(entry: Entry, said: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    has, lacks = set(_named(entry)), set(_missing(entry))
    for capability, yes in _switches(said):
        (has if yes else lacks).add(capability)
    return _interned(frozenset(has)), _interned(frozenset(lacks - has))


def _named(entry: Entry) -> Iterator[str]:
    lists = (entry.features, entry.parameters, entry.capabilities, entry.tags, entry.inputs)
    for word in (word for words in lists for word in words or ()):
        if word in _MEANING:
            yield _MEANING[word]
    if entry.kind == "vlm":
        yield VISION


def _missing(entry: Entry) -> Iterator[str]:
    """What a list that is meant to be complete does not name."""
    if entry.features is not None or entry.parameters is not None:
        yield from (TOOLS, JSON_MODE, SCHEMA, REASONING)
    if entry.inputs is not None or entry.kind == "llm" or _is_llama_cpp(entry):
        yield VISION


def _is_llama_cpp(entry: Entry) -> bool:
    return entry.capabilities is not None and "completion" in entry.capabilities


def _switches(said: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Fields such as `supports_vision: true`, and Mistral's dictionary of `capabilities`."""
    holders = [said, said.get("capabilities"), said.get("model_info")]
    for holder in (each for each in holders if isinstance(each, dict)):
        for name, value in holder.items():
            word = name.removeprefix("supports_")
            if isinstance(value, bool) and word in _MEANING and (holder is not said or word != name):
                yield _MEANING[word], value


@lru_cache(maxsize=256)
def _interned(words: frozenset[str]) -> frozenset[str]:
    return words


def _price(said: Mapping[str, Any], kind: str | None) -> Price | None:
    """The first price that can be read."""
    for given, made, cached, unit in PRICES:
        values = [_amount(_at(said, path.split("."))) for path in (given, made, cached)]
        if values[0] is not None:
            found = _converted(values, _unit(said, given, unit, values), given, made)
            return found if found is None or kind != EMBEDDING_KIND or found.output is not None else _free_output(found)
    return None


def _converted(values: list[Decimal | None], unit: int | None, given: str, made: str) -> Price | None:
    if unit is None:
        return None
    usd = [None if value is None else float(value.scaleb(unit)) for value in values]
    if any(each is not None and each > DEAREST for each in usd) or usd[0] is None:
        return None
    fields = given if usd[1] is None else f"{given} and {made}"
    return Price(usd[0], usd[1], usd[2], f"{fields}, in {UNIT_NAMES[unit]}")


def _free_output(price: Price) -> Price:
    return Price(price.input, 0.0, price.cached, price.source)


def _unit(said: Mapping[str, Any], path: str, unit: int | None, values: Iterable[Decimal | None]) -> int | None:
    """The unit of a price; None when it cannot be told, or is no dollar."""
    beside = _at(said, path.split(".")[:-1])
    named, currency = (_word(beside.get(name)) for name in ("unit", "currency"))
    if currency not in ("", "usd", "$"):
        return None
    if named and unit is None:
        return UNITS.get(named)
    if unit is not None:
        return unit
    dearest = max(value for value in values if value is not None)
    return PER_TOKEN if dearest < LEAST_PER_MILLION else PER_MILLION


def _at(said: Any, path: Iterable[str]) -> Any:
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return said


def _amount(value: Any) -> Decimal | None:
    """A price that is a number; None for what is none: OpenRouter's router has -1."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
