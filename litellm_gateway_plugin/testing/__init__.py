"""A gateway with settable manners, for tests.

    from litellm_gateway_plugin.testing import Manners, PickyGateway

    with PickyGateway(Manners(styles={"*": ("x-api-key",)})) as gateway:
        ...  # talk to gateway.base() with gateway.manners.key
        assert gateway.styles("chat") == ["bearer", "x-api-key"]

It knows nothing of the plugin, so that what it reports is an independent observation.
"""

from __future__ import annotations

from .answers import Answer, html_answer, json_answer, redirect, text_answer
from .faults import FAULTS, Fault
from .gateway import PickyGateway
from .listings import LISTINGS
from .manners import FAKE_KEY, PUBLIC, Manners
from .presets import PRESETS
from .replies import ToolCall, vector
from .script import Script
from .seen import Seen
from .shapes import FULL, MISSING_ROUTES, REFUSALS, RETRY_AFTER, UNKNOWN_MODELS
from .streams import CAPACITY_ERROR, StreamShape

__all__ = [
    "CAPACITY_ERROR",
    "FAKE_KEY",
    "FAULTS",
    "FULL",
    "LISTINGS",
    "MISSING_ROUTES",
    "PRESETS",
    "PUBLIC",
    "REFUSALS",
    "RETRY_AFTER",
    "UNKNOWN_MODELS",
    "Answer",
    "Fault",
    "Manners",
    "PickyGateway",
    "Script",
    "Seen",
    "StreamShape",
    "ToolCall",
    "html_answer",
    "json_answer",
    "redirect",
    "text_answer",
    "vector",
]
