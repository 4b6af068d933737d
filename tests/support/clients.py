"""What the tests of the client libraries share: one gateway's manners, and the path that a first call takes to it."""

from __future__ import annotations

from litellm_gateway_plugin.testing import Manners
from litellm_gateway_plugin.testing.replies import Replier, Reply

MODEL = "Qwen/Qwen3-32B"
PLAIN = "clever-mini"
EMBEDDER = "BAAI/bge-m3"

PICKY = Manners(
    styles={"*": ("x-api-key",), "models": ("none", "x-api-key")},
    refusal="chutes",
    models=(MODEL, PLAIN, EMBEDDER),
    unknown_model="vllm",
)

COLD = ["bearer", "bearer", "x-api-key"]
"""Styles of a first call: to the base without its /v1, the refused Bearer, and the right header."""

WARM = ["x-api-key"]

SPELLINGS = [f"openai/{MODEL}", f"gateway/{MODEL}", f"openai/{PLAIN}", f"gateway/{PLAIN}", f"custom_openai/{MODEL}"]
"""Model strings as the libraries' documentation tells, and the plugin's own."""


def answers(*said: Reply) -> Replier:
    """A reply function that says these things one after the other, and the last one for ever."""
    left = list(said)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
