"""What litellm is told of a listed model, and how an answer is priced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from litellm_gateway_plugin.catalogue import JSON_MODE, REASONING, SCHEMA, TOOLS, VISION, Model, Price
from litellm_gateway_plugin.cost_map import SOURCE, cost_of, entry_of, gateway_of, says_nothing


def usage(prompt: int | None, completion: int | None, cached: int | None = None) -> Any:
    return SimpleNamespace(
        prompt_tokens=prompt,
        completion_tokens=completion,
        prompt_tokens_details=SimpleNamespace(cached_tokens=cached),
    )


def test_everything_that_is_known_is_told_in_litellms_words() -> None:
    model = Model(
        "Qwen/X",
        kind="chat",
        context=32768,
        max_output=4096,
        has=frozenset({TOOLS, SCHEMA, JSON_MODE}),
        lacks=frozenset({VISION, REASONING}),
        price=Price(1e-6, 2e-6, 5e-7, "price.input.usd"),
    )
    assert entry_of(model) == {
        "mode": "chat",
        "max_input_tokens": 32768,
        "max_output_tokens": 4096,
        "max_tokens": 4096,
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
        "cache_read_input_token_cost": 5e-7,
        SOURCE: "price.input.usd",
        "supports_function_calling": True,
        "supports_tool_choice": True,
        "supports_response_schema": True,
        "supports_vision": False,
        "supports_reasoning": False,
    }


def test_a_model_of_which_nothing_is_known_has_no_entry() -> None:
    assert entry_of(Model("Qwen/X")) == {}


@pytest.mark.parametrize(
    ("model", "entry"),
    [
        (Model("m", kind="embedding"), {"mode": "embedding"}),
        (Model("m", kind="rerank"), {}),
        (Model("m", context=8192), {"max_input_tokens": 8192}),
        (Model("m", max_output=8), {"max_output_tokens": 8, "max_tokens": 8}),
        (Model("m", has=frozenset({VISION})), {"supports_vision": True}),
        (Model("m", has=frozenset({JSON_MODE})), {}),
        (Model("m", price=Price(1e-6, None, None, "pricing.input")), {}),
    ],
)
def test_what_is_unknown_is_left_out(model: Model, entry: dict[str, Any]) -> None:
    assert entry_of(model) == entry


def test_a_free_model_has_a_price() -> None:
    entry = entry_of(Model("m", price=Price(0.0, 0.0)))
    assert entry == {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "cache_read_input_token_cost": 0.0}


@pytest.mark.parametrize(
    ("price", "tokens", "dollars"),
    [
        (Price(1e-6, 2e-6), usage(100, 10), 120e-6),
        (Price(1e-6, 2e-6, 1e-7), usage(100, 10, 40), 60e-6 + 4e-6 + 20e-6),
        (Price(1e-6, 2e-6), usage(100, 10, 40), 120e-6),
        (Price(1e-6, 2e-6, 1e-7), usage(100, None, 400), 10e-6),
        (Price(1e-6, 2e-6), SimpleNamespace(prompt_tokens=3, completion_tokens=0), 3e-6),
        (Price(0.0, 0.0), usage(100, 10), 0.0),
    ],
)
def test_what_an_answer_costs(price: Price, tokens: Any, dollars: float) -> None:
    assert cost_of(price, tokens) == pytest.approx(dollars, abs=1e-12)


@pytest.mark.parametrize(("price", "tokens"), [(Price(1e-6), usage(1, 1)), (Price(1e-6, 2e-6), usage(0, None))])
def test_half_a_price_and_no_tokens_give_no_cost(price: Price, tokens: Any) -> None:
    assert cost_of(price, tokens) is None


@pytest.mark.parametrize(
    ("entry", "silent"),
    [
        ({}, True),
        ({"id": "x", "litellm_provider": "gateway", "mode": "chat", "input_cost_per_token": None}, True),
        ({"input_cost_per_token": 0.0}, False),
        ({"max_input_tokens": 1}, False),
        ({"input_cost_per_second": 1e-3}, False),
    ],
)
def test_an_entry_without_price_and_limit_says_nothing(entry: dict[str, Any], silent: bool) -> None:
    assert says_nothing(entry) is silent


@pytest.mark.parametrize("base", ["https://a.example", "https://a.example/v1", "https://a.example/V1"])
def test_both_forms_of_a_base_are_one_gateway(base: str) -> None:
    assert gateway_of(base) == "https://a.example"


def test_another_version_is_another_gateway() -> None:
    assert gateway_of("https://a.example/v2") == "https://a.example/v2"
