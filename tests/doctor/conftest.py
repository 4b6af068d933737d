"""What the tests of the doctor share."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping

import pytest

UNTOLD = frozenset({"in_memory_llm_clients_cache", "_async_client_cleanup_registered"})
"""litellm's own clients, and whether it has registered what closes them when the process ends."""


def _told(value: object) -> str:
    text = repr(value)
    return f"{id(value)} {hash(text)} {text[:1000]}"


@pytest.fixture
def litellm_state() -> Callable[[], Mapping[str, str]]:
    """What litellm's globals are: a function that tells, for a comparison. Names that appear later are its imports."""
    import litellm

    names = [
        name
        for name, value in vars(litellm).items()
        if not isinstance(value, (types.ModuleType, types.FunctionType, type)) and name not in UNTOLD
    ]

    def tell() -> Mapping[str, str]:
        found = {name: vars(litellm)[name] for name in names}
        return {name: _told(value) for name, value in found.items() if not name.startswith("__")}

    return tell
