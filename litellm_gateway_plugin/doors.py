"""Which calls are ours: what litellm knows it keeps, everything else with a gateway behind it is taken."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import litellm
from litellm.llms.openai_like.json_loader import JSONProviderRegistry

from .catalogue import namespace
from .cost_map import COSTS
from .errors import InvalidInput
from .handle import Gateway
from .urls import Base, parse_base

PROVIDER = "gateway"
ALIASES = ("openai_like",)
"""Other provider names under which litellm itself routes nothing."""

OPENAI_NAMES = ("openai", "custom_openai")
"""Providers of litellm that mean "OpenAI's API, somewhere": with a foreign base they are ours."""

OPENAI_HOSTS = ("api.openai.com", ".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")

# Vendors under whose names open-weight models are listed. A short list, since litellm walks over all registered
# names on every call; the others are registered as they are seen.
VENDORS = (
    "Qwen",
    "deepseek-ai",
    "meta-llama",
    "mistralai",
    "moonshotai",
    "zai-org",
    "NousResearch",
    "unsloth",
    "MiniMaxAI",
    "google",
    "microsoft",
    "THUDM",
)


@dataclass(frozen=True, slots=True)
class Door:
    """That a call is ours, and the provider prefix to cut from its id."""

    prefix: str = ""


def door_for(
    gateway: Gateway, model: str, provider: str | None, api_base: str | None, ours: frozenset[str]
) -> Door | None:
    """Whether an asynchronous call is to be carried by the provider, or None to leave it to litellm.

    Args:
        gateway: the installation in force.
        model: the id as the caller wrote it.
        provider: `custom_llm_provider`, when the caller gave one.
        api_base: the call's base.
        ours: the provider names that are registered for the plugin.
    """
    name = provider or first_part(model)
    if name in ours:
        return Door(f"{name}/" if provider is None and name in ALIASES else "")
    if gateway.settings.intercept == "off":
        return None
    if name in OPENAI_NAMES:
        return Door(f"{name}/") if api_base and is_foreign(gateway, api_base) else None
    if provider is not None or is_known_provider(name) or other_provider(model):
        return None
    if api_base:
        return Door() if is_foreign(gateway, api_base) else None
    return Door() if not in_cost_map(model) and (litellm.api_base or gateway.bases) else None


def is_foreign(gateway: Gateway, api_base: Any) -> bool:
    """Whether a base is a gateway's, and not that of a provider which litellm knows.

    Under `intercept = "configured"` only the operator's own bases count.
    """
    if not isinstance(api_base, str):
        return False
    try:
        base = parse_base(api_base)
    except InvalidInput:
        return gateway.settings.intercept == "auto"  # ours, so that the error is the clear one
    if gateway.is_configured(base):
        return True
    return gateway.settings.intercept == "auto" and not belongs_to_litellm(base)


def belongs_to_litellm(base: Base) -> bool:
    """Whether a base is the endpoint of a provider that litellm knows."""
    host = urlsplit(base.origin).hostname or ""
    if any(host == known or (known[0] == "." and host.endswith(known)) for known in OPENAI_HOSTS):
        return True
    return any(host == known and (base.path + "/").startswith(path + "/") for known, path in known_endpoints())


def known_endpoints() -> tuple[tuple[str, str], ...]:
    """Host and path of litellm's own endpoints."""
    return _endpoints(tuple(litellm.openai_compatible_endpoints))


@lru_cache(maxsize=4)
def _endpoints(listed: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    urls = (urlsplit(entry if "://" in entry else f"https://{entry}") for entry in listed)
    return tuple((url.hostname, url.path.rstrip("/")) for url in urls if url.hostname)


def is_process_wide(key: str, base: Base) -> bool:
    """Whether a key is one that was set for the whole process and for another base.

    Stock litellm sends such a key to any base that a call names (BerriAI/litellm#31467). It is let through to the base
    that was set together with it.
    """
    pairs = (
        (litellm.api_key, litellm.api_base),
        (litellm.openai_key, litellm.api_base),
        (os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")),
    )
    return any(key == held for held, _ in pairs) and not any(
        key == held and own and _same_origin(own, base) for held, own in pairs
    )


def is_stray(gateway: Gateway, key: str, url: str) -> bool:
    """Whether a key of the whole process is on its way to a gateway for which it was not set."""
    try:
        base = parse_base(url.partition("?")[0])
    except InvalidInput:
        return False
    return is_foreign(gateway, str(base)) and is_process_wide(key, base)


def _same_origin(text: str, base: Base) -> bool:
    try:
        return parse_base(text).origin == base.origin
    except InvalidInput:
        return False


def first_part(model: str) -> str:
    """The part of an id before its first slash, "" without one."""
    return namespace(model) or ""


def is_known_provider(name: str) -> bool:
    """Whether litellm has a provider of this name."""
    return bool(name) and (name in litellm.provider_list or JSONProviderRegistry.exists(name))


def other_provider(model: str) -> bool:
    """Whether litellm maps a bare id to a provider that does not speak OpenAI's API (a Claude or Gemini name)."""
    if "/" in model or COSTS.owns(model):
        return False
    entry = litellm.model_cost.get(model)
    return entry is not None and entry.get("litellm_provider") not in (None, "openai", "text-completion-openai")


def in_cost_map(model: str) -> bool:
    """Whether litellm knows an id by itself."""
    return (model in litellm.model_cost and not COSTS.owns(model)) or model.startswith(("ft:", "gpt-"))
