"""The environment as people set it by hand: variables that look like settings and are none, and no gateway at all.

A variable's name may be shown; its value never is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from pydantic import AliasChoices

from .settings import BASE_NAMES, PREFERENCES, PREFIX, GatewaySettings

NUMBERED = re.compile(rf"({PREFIX}(?:{'|'.join(('api_base', 'api_key', *PREFERENCES)).upper()}))_(\d+)")

NO_GATEWAY = (
    "No gateway is named. Set LITELLM_GATEWAY_API_BASE and LITELLM_GATEWAY_API_KEY (further ones end in _1, _2, ...), "
    "or give `doctor` and `models` a base, as in `litellm-gateway doctor https://llm.example.com/v1`. "
    "No gateway at hand? python -m litellm_gateway_plugin.testing --follow"
)


def no_gateway(environment: Mapping[str, str]) -> str:
    """That no gateway is named, and how to name one; what is misspelt comes first."""
    return " ".join((*misspelt(environment), NO_GATEWAY))


def setting_names() -> frozenset[str]:
    """The environment names of all settings, without numbers."""
    choices = (field.validation_alias for field in GatewaySettings.model_fields.values())
    named = (name for each in choices if isinstance(each, AliasChoices) for name in each.choices)
    return frozenset(name for name in named if isinstance(name, str) and name.startswith(PREFIX))


def ours(environment: Mapping[str, str]) -> list[str]:
    """The variables that hold something and begin as our settings do."""
    return [name for name, value in environment.items() if name.upper().startswith(PREFIX) and value]


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable of ours that no setting knows, with the name that was meant perhaps."""
    known = setting_names()
    unknown = (name for name in ours(environment) if name.upper() not in known and not NUMBERED.fullmatch(name))
    return [f"{name} is no setting: {_nearest(name, known)}" for name in sorted(unknown)]


def without_base(environment: Mapping[str, str]) -> list[str]:
    """The numbered variables whose number no base has."""
    numbered = ((name, NUMBERED.fullmatch(name)) for name in ours(environment))
    return sorted(name for name, found in numbered if found and not _is_base(found[2], environment))


def _nearest(name: str, known: frozenset[str]) -> str:
    number = re.search(r"_\d+\Z", name)
    stem, end = (name[: number.start()], number[0]) if number else (name, "")
    stems = [each.removeprefix(PREFIX) for each in known]
    near = difflib.get_close_matches(stem.upper().removeprefix(PREFIX), stems, 1)
    return f"did you mean {PREFIX}{near[0]}{end}?" if near else "unset it."


def _is_base(number: str, environment: Mapping[str, str]) -> bool:
    return any(environment.get(f"{name}_{number}") for name in BASE_NAMES)
