"""Manners of real servers, as they were measured. A preset is a start: `dataclasses.replace` changes what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .manners import PUBLIC, Manners
from .shapes import RETRY_AFTER
from .streams import StreamShape

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUTES_MODELS = ("Qwen/Qwen3-235B-A22B-Instruct-2507", "Qwen/Qwen3-VL-235B-A22B-Instruct")

SEED_000 = Manners(
    styles={"*": ("x-api-key",), "models": (PUBLIC, "x-api-key")},
    public_checks_authorization=True,  # its listing is public, and still a 401 to a Bearer
    refusal="chutes",
    models=CHUTES_MODELS,
    listing="chutes",
    unknown_model="chutes",
    missing_route="chutes",
    full="chutes",
)
"""Chat takes x-api-key and refuses Bearer; the listing is public; all lives under /v1."""

SEED_001 = Manners(
    styles={"*": ("bearer", "raw"), "models": (PUBLIC, "bearer", "raw", "x-api-key")},
    public_checks_authorization=True,
    refusal="chutes",
    models=CHUTES_MODELS,
    listing="chutes",
    unknown_model="chutes",
    missing_route="chutes",
    full="chutes",
    full_headers=RETRY_AFTER["seconds"](1, 0),
    always_full=("raw",),
)
"""Chat takes Bearer and refuses x-api-key; a raw Authorization is let in and told to come back in a second."""

VLLM = Manners(
    refusal="vllm",
    absent=("embeddings", "responses", "transcriptions", "translations", "speech", "images", "files"),
    trailing_slash="redirect",
    listing="vllm",
)

LLAMA_CPP = Manners(
    styles={"*": ("bearer", "raw", "x-api-key")},
    refusal="llama_cpp",
    bases={"*": ("/v1", "")},
    native_bases=("",),
    absent=("responses", "transcriptions", "translations", "speech", "images", "files"),
    missing_route="llama_cpp",
    checks="auth-first",
    listing="llama_cpp",
    unknown_model="ignored",
    full="llama_cpp",
    stream=StreamShape(first_content=None),
)

LITSERVE = Manners(
    styles={"*": ("x-api-key",)},
    refusal="litserve",
    absent=("completions", "models", "responses", "transcriptions", "translations", "speech", "images", "files"),
    trailing_slash="redirect",
    unknown_model="ignored",
    full="litserve",
)

LITELLM_PROXY = Manners(
    styles={"*": ("bearer", "x-api-key", "api-key")},
    refusal="litellm_proxy",
    refusals={"malformed": "litellm_proxy_malformed", "wrong-key": "litellm_proxy_no_db"},
    bases={"*": ("/v1", "")},
    trailing_slash="redirect",
    unknown_model="litellm_proxy",
    full="litellm_proxy",
)

CHUTES = Manners(
    styles={"*": ("bearer", "raw"), "models": (PUBLIC, "bearer", "raw")},
    public_checks_authorization=True,
    refusal="chutes",
    refusals={"wrong-key": "chutes_invalid"},
    missing_route="chutes",
    models=CHUTES_MODELS,
    listing="chutes",
    unknown_model="chutes",
    full="chutes",
)

AZURE_APIM = Manners(
    styles={"*": ("ocp-apim-subscription-key",)},
    refusal="azure_apim",
    refusals={"wrong-key": "azure_apim_wrong"},
    bases={"*": ("/openai/v1",)},
    missing_route="azure_apim",
    unknown_model="openai",
)

KONG = Manners(
    styles={"*": ("apikey",)},
    refusal="kong",
    refusals={"wrong-key": "kong_wrong"},
    missing_route="kong",
    unknown_model="openai",
)

AWS = Manners(styles={"*": ("x-api-key",)}, refusal="aws", missing_route="aws", unknown_model="openai")

PRESETS: Mapping[str, Manners] = {
    "seed-000": SEED_000,
    "seed-001": SEED_001,
    "vllm": VLLM,
    "llama-cpp": LLAMA_CPP,
    "litserve": LITSERVE,
    "litellm-proxy": LITELLM_PROXY,
    "chutes": CHUTES,
    "azure-apim": AZURE_APIM,
    "kong": KONG,
    "aws": AWS,
}
"""The presets by the name under which the command line knows them."""
