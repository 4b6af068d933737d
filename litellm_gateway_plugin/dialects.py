"""Reads a listing in every dialect that is known: OpenAI, vLLM, llama.cpp, Chutes, OpenRouter, LM Studio, Together's
bare array, Groq, Mistral, DeepInfra, Fireworks, Vercel, Requesty, new-api, Ollama, Xinference, LiteLLM. Pure, with
pydantic.

An odd field is unknown and takes nothing else with it; an entry without an id is skipped. Where two fields say the same
thing, the one that is written first in a table below and can be read is taken: what is served goes before what the
model could do.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

MORE_THAN = frozenset({"tool_choice", "reasoning_effort", "include_reasoning"})
"""Words whose "no" says nothing: a model without a choice of tools may have tools."""

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

ENDPOINTS: Mapping[str, str] = {
    "embed": EMBEDDING_KIND,
    "rerank": "rerank",
    "image": "image",
    "video": "video",
    "transcri": "stt",
    "speech": "tts",
    "audio": "audio",
    "moderation": "moderation",
    **dict.fromkeys(("chat", "completion", "response", "messages", "generate"), CHAT_KIND),
    **dict.fromkeys(("openai", "anthropic", "gemini"), CHAT_KIND),  # new-api's, after "openai-video"
}
"""What a listed endpoint holds, and the kind of its models; a model is of the kind of its first endpoint."""

CHAT_ABILITIES = ("chat", "completion", "generate")

DEAREST = 0.01
"""USD per token; what costs more is a mistake in the listing."""

LONGEST_NUMBER = 40
LONGEST_WORD = 60
MOST_WORDS = 200

MOST_UNPACKED = 64 * 1024 * 1024
"""Bytes of a listing that was packed by somebody else."""

PER_TOKEN, PER_THOUSAND, PER_MILLION = 0, -3, -6
"""Powers of ten."""

UNITS: Mapping[str, int] = {
    **dict.fromkeys(("per_token", "token", "usd_per_token"), PER_TOKEN),
    **dict.fromkeys(("per_1k_tokens", "per_thousand_tokens", "1k_tokens", "per_1k", "1k"), PER_THOUSAND),
    **dict.fromkeys(("per_million_tokens", "per_1m_tokens", "1m_tokens", "million_tokens"), PER_MILLION),
    **dict.fromkeys(("per_million", "per_1m", "1m"), PER_MILLION),
}
"""What a `unit` beside a price may say."""

UNIT_NAMES = {
    PER_TOKEN: "USD per token",
    PER_THOUSAND: "USD per thousand tokens",
    PER_MILLION: "USD per million tokens",
}

LEAST_ASKED, MOST_ASKED = Decimal("1e-15"), 1_000_000
"""What is outside, in whatever unit, is no price."""

LEAST_PER_MILLION = Decimal("0.001")
"""A price below it is one per token: per million tokens nothing costs so little, and per token nothing so much."""

PRICES: tuple[tuple[str, str, str, int | None], ...] = (
    # input, output, cached, unit (None: told by the size); each a path into the entry
    ("price.input.usd", "price.output.usd", "price.input_cache_read.usd", PER_MILLION),  # Chutes
    ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", PER_TOKEN),  # LiteLLM
    (
        "model_info.input_cost_per_token",
        "model_info.output_cost_per_token",
        "model_info.cache_read_input_token_cost",
        PER_TOKEN,
    ),
    ("pricing.prompt", "pricing.completion", "pricing.input_cache_read", None),  # OpenRouter, Chutes
    ("pricing.input", "pricing.output", "pricing.input_cache_read", None),  # Vercel, Together
    ("metadata.pricing.input_tokens", "metadata.pricing.output_tokens", "metadata.pricing.cache_read_tokens", None),
    ("input_price", "output_price", "cached_price", None),  # Requesty
    ("cost.input", "cost.output", "cost.cache_read", None),  # models.dev
)
"""Where the price is; the row without a name is DeepInfra's."""


def _count(value: Any) -> int | None:
    """Tokens; None for what is no number of any."""
    if isinstance(value, bool) or (isinstance(value, str) and len(value) > LONGEST_NUMBER):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if 1 <= number < 2**53 else None


def _words(value: Any) -> tuple[str, ...] | None:
    """The words of a list, or the names in a dictionary that are true; None for anything else."""
    if isinstance(value, dict):
        value = [name for name, has in value.items() if _switch(has)]
    if not isinstance(value, list):
        return None
    words = tuple(_word(each) for each in value[:MOST_WORDS] if isinstance(each, str))
    return words if words or not value else None


def _word(value: Any) -> str:
    return _plain(value) if isinstance(value, str) and len(value) <= LONGEST_WORD else ""


@lru_cache(maxsize=4096)
def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def _kind_word(value: Any) -> str | None:
    """A word for a kind; None for one that says nothing, such as llama.cpp's "model"."""
    word = _word(value)
    return word if word in KINDS else None


def _switch(value: Any) -> bool | None:
    """Yes or no, as such or as Anthropic writes it: `{"supported": true}`; None for neither."""
    if isinstance(value, dict):
        value = value.get("supported")
    return value if isinstance(value, bool) else None


Count = Annotated[int | None, BeforeValidator(_count)]
Words = Annotated[tuple[str, ...] | None, BeforeValidator(_words)]
Word = Annotated[str, BeforeValidator(_word)]

CONTEXT = (
    "max_model_len",
    "loaded_context_length",
    "context_length",
    "context_window",
    "max_context_length",
    "context_size",
    "max_input_tokens",
    "input_token_limit",
)
MAX_OUTPUT = ("max_output_length", "max_output_tokens", "max_completion_tokens", "output_token_limit", "max_tokens")
KIND = ("type", "task", "mode", "model_type")
INPUTS, OUTPUTS = (
    ("input_modalities", "supported_input_modalities"),
    ("output_modalities", "supported_output_modalities"),
)
ENDPOINT_LISTS = ("endpoints", "supported_endpoints", "supported_endpoint_types")
ABILITIES = ("capabilities", "model_ability")

READABLE: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*CONTEXT, *MAX_OUTPUT), _count),
    **dict.fromkeys(KIND, _kind_word),
    **dict.fromkeys((*INPUTS, *OUTPUTS, *ENDPOINT_LISTS, *ABILITIES), _words),
}
"""What reads a field that another one can stand in for; None from it, and the other one is taken."""


class Entry(BaseModel):
    """What one entry of a listing says, wherever it stands there."""

    model_config = ConfigDict(frozen=True)

    context: Count = Field(
        None,
        validation_alias=AliasChoices(
            *CONTEXT,
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
            *MAX_OUTPUT,
            AliasPath("top_provider", "max_completion_tokens"),
            AliasPath("metadata", "max_tokens"),
            AliasPath("model_info", "max_output_tokens"),
        ),
    )
    kind: Word = Field("", validation_alias=AliasChoices(*KIND, AliasPath("model_info", "mode")))
    inputs: Words = Field(None, validation_alias=AliasChoices(*INPUTS, AliasPath("architecture", "input_modalities")))
    outputs: Words = Field(
        None, validation_alias=AliasChoices(*OUTPUTS, AliasPath("architecture", "output_modalities"))
    )
    endpoints: Words = Field(None, validation_alias=AliasChoices(*ENDPOINT_LISTS))
    features: Words = Field(None, validation_alias="supported_features")
    some_features: Words = Field(None, validation_alias="features")
    parameters: Words = Field(None, validation_alias="supported_parameters")
    capabilities: Words = Field(None, validation_alias=AliasChoices(*ABILITIES))
    tags: Words = Field(None, validation_alias=AliasChoices("tags", AliasPath("metadata", "tags")))


def read_listing(body: Any) -> Listing | None:
    """What a listing of any dialect says, or None when the body is no listing.

    Args:
        body: the parsed JSON of the answer.
    """
    entries = entries_of(body)
    if entries is None:
        return None
    entries = _completed(entries[:MOST_LISTED], body)
    try:
        packed = _packed(entries)
    except (ValueError, RecursionError):  # nested deeper than can be written again
        entries = [id_of(entry) for entry in entries]
        packed = _packed(entries)
    read: dict[str, Model] = {}
    for entry in entries:
        name = id_of(entry)
        if name and name not in read:
            read[name] = _model(name, entry if isinstance(entry, dict) else {})
    return Listing(tuple(read.values()), packed)


def unpack(packed: bytes) -> Listing | None:
    """A listing from what `Listing.packed` was; None when it is none, whoever wrote it."""
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed, MOST_UNPACKED)
        return read_listing(json.loads(text)) if unpacking.eof else None
    except (zlib.error, ValueError, RecursionError):
        return None


def _packed(entries: list[Any]) -> bytes:
    # no check: parsed JSON has no circles, and one would be too deep
    text = json.dumps(entries, separators=(",", ":"), check_circular=False)
    return zlib.compress(text.encode(), 1)


def _completed(entries: list[Any], body: Any) -> list[Any]:
    """The entries, each with what llama.cpp says of the same model in a second list beside `data`."""
    second = body.get("models") if isinstance(body, dict) else None
    if not isinstance(second, list) or second is body.get("data"):
        return entries
    more = {id_of(entry): entry for entry in second[:MOST_LISTED] if isinstance(entry, dict)}
    return [{**more.get(id_of(each), {}), **each} if isinstance(each, dict) else each for each in entries]


def _model(name: str, fields: Mapping[str, Any]) -> Model:
    said = {
        field: value
        for field, value in fields.items()
        if value is not None and (field not in READABLE or READABLE[field](value) is not None)
    }
    try:
        entry = Entry.model_validate(said)
    except (ValidationError, RecursionError):
        return Model(name)
    kind = _kind(entry, said)
    has, lacks = _capabilities(entry, said)
    return Model(name, kind, entry.context, entry.max_output, has, lacks, _price(said, kind))


def _kind(entry: Entry, said: Mapping[str, Any]) -> str | None:
    """Of the kinds that the entry names, by the fields from the clearest on."""
    return KINDS.get(entry.kind) or _kind_made(entry) or _kind_served(entry, _chats(said))


def _kind_made(entry: Entry) -> str | None:
    """By what comes out."""
    if not entry.outputs:
        return None
    if "text" in entry.outputs:
        return CHAT_KIND
    return KINDS.get(entry.outputs[0], entry.outputs[0])


def _kind_served(entry: Entry, chats: bool | None) -> str | None:
    """By the endpoints, or by abilities that name some; what does not chat is of another kind, or of a third one."""
    if chats:
        return CHAT_KIND
    kind = _kind_reached(entry.endpoints or ()) or _kind_able(entry.capabilities or ())
    return "other" if chats is False and kind in (None, CHAT_KIND) else kind


def _kind_reached(endpoints: Sequence[str]) -> str | None:
    named = (kind for endpoint in endpoints for part, kind in ENDPOINTS.items() if part in endpoint)
    return next(named, None)


def _kind_able(abilities: Sequence[str]) -> str | None:
    if any(part in word for word in abilities for part in CHAT_ABILITIES):
        return CHAT_KIND
    return EMBEDDING_KIND if any("embed" in word for word in abilities) else None


def _chats(said: Mapping[str, Any]) -> bool | None:
    """Mistral's and Fireworks' switches."""
    switches = (_switch(_at(said, "capabilities.completion_chat")), _switch(said.get("supports_chat")))
    return True if True in switches else False if False in switches else None


def _capabilities(entry: Entry, said: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    has, lacks = set(_named(entry)), set(_missing(entry, said))
    for capability, yes in _switches(said):
        (has if yes else lacks).add(capability)
    return _interned(frozenset(has)), _interned(frozenset(lacks - has))


def _named(entry: Entry) -> Iterator[str]:
    lists = (entry.features, entry.some_features, entry.parameters, entry.capabilities, entry.tags, entry.inputs)
    for word in (word for words in lists for word in words or ()):
        if word in _MEANING:
            yield _MEANING[word]
    if entry.kind == "vlm":
        yield VISION


def _missing(entry: Entry, said: Mapping[str, Any]) -> Iterator[str]:
    """What a list that is meant to be complete does not name."""
    if entry.features is not None or entry.parameters is not None:
        yield from (TOOLS, JSON_MODE, SCHEMA, REASONING)
    if entry.inputs or _is_lm_studio(entry, said) or _is_llama_cpp(entry):
        yield VISION


def _is_lm_studio(entry: Entry, said: Mapping[str, Any]) -> bool:
    """There a model with eyes is a "vlm"; elsewhere an "llm" may have some."""
    return entry.kind == "llm" and "arch" in said


def _is_llama_cpp(entry: Entry) -> bool:
    return entry.capabilities is not None and "completion" in entry.capabilities


def _switches(said: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Fields such as `supports_vision: true`, and Mistral's dictionary of `capabilities`."""
    holders = [said, said.get("capabilities"), said.get("model_info")]
    for holder in (each for each in holders if isinstance(each, dict)):
        switches = [(_word(name), yes) for name, value in holder.items() if (yes := _switch(value)) is not None]
        for name, yes in switches:
            word = name.removeprefix("supports_")
            if word not in _MEANING or (holder is said and word == name):
                continue
            if yes or word not in MORE_THAN:
                yield _MEANING[word], yes


@lru_cache(maxsize=256)
def _interned(words: frozenset[str]) -> frozenset[str]:
    return words


def _price(said: Mapping[str, Any], kind: str | None) -> Price | None:
    """The first price that can be read."""
    for given, made, cached, unit in PRICES:
        first = _amount(_at(said, given))
        if first is None:
            continue
        values = [first, _amount(_at(said, made)), _amount(_at(said, cached))]
        found = _converted(values, _unit(said, given, unit, values), given, made)
        if found is not None:
            return _of_kind(found, kind)
    return None


def _of_kind(price: Price, kind: str | None) -> Price | None:
    """Nothing comes out of an embedding; and what is paid by the picture or by the minute has no price in tokens."""
    if kind in (None, CHAT_KIND):
        return price
    if kind not in (EMBEDDING_KIND, "rerank"):
        return price if price.input or price.output else None
    return price if price.output is not None else _free_output(price)


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
    beside = _at(said, path.rpartition(".")[0])
    named, currency = beside.get("unit"), beside.get("currency")
    if currency is not None and _word(currency) not in ("usd", "$"):
        return None
    if unit is not None:
        return unit
    if named is not None:
        return UNITS.get(_word(named))
    dearest = max(value for value in values if value is not None)
    return PER_TOKEN if dearest < LEAST_PER_MILLION else PER_MILLION


def _at(said: Any, path: str) -> Any:
    """What stands at a path; what has no path is the whole."""
    for name in _parts(path):
        said = said.get(name) if isinstance(said, dict) else None
    return said


@lru_cache(maxsize=256)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split(".")) if path else ()


def _amount(value: Any) -> Decimal | None:
    """A price that is a number; None for what is none: OpenRouter's router has -1."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if (isinstance(value, str) and len(value) > LONGEST_NUMBER) or (isinstance(value, int) and abs(value) > MOST_ASKED):
        return None
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and (amount == 0 or LEAST_ASKED <= amount <= MOST_ASKED) else None
