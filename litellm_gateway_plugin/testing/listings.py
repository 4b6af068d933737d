"""What `GET /models` answers, in the dialects of real servers. From (ids, facts by id) to JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

CREATED = 1_760_000_000
Facts = Mapping[str, Mapping[str, Any]]
Dialect = Callable[[Sequence[str], Facts], Any]


def _entry(model: str, owner: str, facts: Facts, **more: Any) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": CREATED, "owned_by": owner, **more, **facts.get(model, {})}


def _listed(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": entries}


def openai(models: Sequence[str], facts: Facts) -> Any:
    """The plain form."""
    return _listed([_entry(model, "gateway", facts) for model in models])


def vllm(models: Sequence[str], facts: Facts) -> Any:
    """With the length of the window."""
    return _listed(
        [_entry(model, "vllm", facts, root=model, parent=None, max_model_len=32768, permission=[]) for model in models]
    )


def llama_cpp(models: Sequence[str], facts: Facts) -> Any:
    """With the server's own `models` beside `data`."""
    entries = [_entry(model, "llamacpp", facts, meta={"n_ctx_train": 8192, "n_vocab": 49152}) for model in models]
    native = [{"name": model, "model": model, "type": "model", "capabilities": ["completion"]} for model in models]
    return {"models": native, **_listed(entries)}


def chutes(models: Sequence[str], facts: Facts) -> Any:
    """With prices in USD per million tokens, modalities and features."""
    return _listed([_entry(model, "sglang", facts, **_chutes_facts(model)) for model in models])


def _chutes_facts(model: str) -> dict[str, Any]:
    money = {"input": 0.08, "output": 0.55, "input_cache_read": 0.04}
    return {
        "root": model,
        "chute_id": "00000000-0000-0000-0000-000000000000",
        "quantization": "fp8",
        "price": {kind: {"tao": usd / 400, "usd": usd} for kind, usd in money.items()},
        "pricing": {"prompt": 0.08, "completion": 0.55, "input_cache_read": 0.04},
        "max_model_len": 262144,
        "context_length": 262144,
        "max_output_length": 65536,
        "input_modalities": ["text", "image"] if "VL" in model else ["text"],
        "output_modalities": ["text"],
        "supported_features": ["json_mode", "tools", "structured_outputs"],
        "supported_sampling_parameters": ["temperature", "top_p", "seed", "stop"],
    }


def openrouter(models: Sequence[str], facts: Facts) -> Any:
    """With prices in USD per token, as strings."""
    return {
        "data": [
            {
                "id": model,
                "canonical_slug": model,
                "name": model,
                "created": CREATED,
                "context_length": 131072,
                "architecture": {"modality": "text->text", "input_modalities": ["text"], "output_modalities": ["text"]},
                "pricing": {"prompt": "0.00000008", "completion": "0.00000055", "request": "0", "image": "0"},
                "top_provider": {"context_length": 131072, "max_completion_tokens": 16384, "is_moderated": False},
                "supported_parameters": ["tools", "response_format", "structured_outputs"],
                **facts.get(model, {}),
            }
            for model in models
        ]
    }


def together(models: Sequence[str], facts: Facts) -> Any:
    """A bare array."""
    return [
        {
            "id": model,
            "object": "model",
            "created": CREATED,
            "type": "chat",
            "display_name": model,
            "context_length": 131072,
            "pricing": {"hourly": 0, "input": 0.2, "output": 0.6, "base": 0, "finetune": 0},
            **facts.get(model, {}),
        }
        for model in models
    ]


def lm_studio(models: Sequence[str], facts: Facts) -> Any:
    """With the state of each model."""
    return _listed(
        [
            {
                "id": model,
                "object": "model",
                "type": "llm",
                "publisher": "community",
                "arch": "llama",
                "state": "loaded",
                "max_context_length": 8192,
                **facts.get(model, {}),
            }
            for model in models
        ]
    )


def groq(models: Sequence[str], facts: Facts) -> Any:
    """With windows, and nulls."""
    return _listed(
        [
            _entry(
                model,
                "Groq",
                facts,
                active=True,
                context_window=131072,
                public_apps=None,
                max_completion_tokens=32768,
            )
            for model in models
        ]
    )


def mistral(models: Sequence[str], facts: Facts) -> Any:
    """With a dictionary of capabilities."""
    return _listed([_entry(model, "mistralai", facts, **_mistral_facts(model)) for model in models])


def _mistral_facts(model: str) -> dict[str, Any]:
    return {
        "capabilities": {
            "completion_chat": True,
            "completion_fim": False,
            "function_calling": True,
            "fine_tuning": False,
            "vision": False,
            "classification": False,
        },
        "name": model,
        "description": f"Official {model} model",
        "max_context_length": 131072,
        "aliases": [],
        "deprecation": None,
        "default_model_temperature": 0.3,
        "type": "base",
    }


def deepinfra(models: Sequence[str], facts: Facts) -> Any:
    """With all that is of interest in `metadata`, prices in USD per million tokens."""
    metadata = {
        "description": "A model",
        "context_length": 131072,
        "max_tokens": 16384,
        "pricing": {"input_tokens": 0.23, "output_tokens": 0.4, "cache_read_tokens": 0.1},
        "tags": ["vision", "prompt_cache"],
    }
    return _listed([_entry(model, "deepinfra", facts, root=model, parent=None, metadata=metadata) for model in models])


def vercel(models: Sequence[str], facts: Facts) -> Any:
    """With prices in USD per token, as strings, and tags."""
    return _listed(
        [
            _entry(
                model,
                "vendor",
                facts,
                name=model,
                description="A model",
                context_window=131072,
                max_tokens=16384,
                type="language",
                tags=["reasoning", "tool-use"],
                pricing={"input": "0.00000008", "output": "0.00000055", "input_cache_read": "0.00000004"},
            )
            for model in models
        ]
    )


LISTINGS: Mapping[str, Dialect] = {
    "openai": openai,
    "vllm": vllm,
    "llama_cpp": llama_cpp,
    "chutes": chutes,
    "openrouter": openrouter,
    "together": together,
    "lm_studio": lm_studio,
    "groq": groq,
    "mistral": mistral,
    "deepinfra": deepinfra,
    "vercel": vercel,
}
"""The dialects by name."""
