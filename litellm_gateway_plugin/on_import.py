"""Installs the plugin at the moment when a program has imported litellm: one that never does it pays nothing.

Nothing of litellm is touched for that. A finder at the head of `sys.meta_path` has litellm found by the others, as
always, and adds a step to the loading: when litellm's own code has run, `install()` does. Other threads that import
litellm wait for both, by Python's own lock of a module that is being imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

HOST = "litellm"


def install_on_import() -> None:
    """Have the plugin installed as soon as litellm is imported; now, if it has been."""
    if HOST in sys.modules:
        _install()
    else:
        sys.meta_path.insert(0, _Finder())


def _install() -> None:
    from .installation import install

    install()


class _Finder(MetaPathFinder):
    """Finds litellm where the others find it. It leaves when litellm has been imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != HOST:
            return None
        others = (each for each in list(sys.meta_path) if each is not self)
        spec = next(filter(None, (each.find_spec(name, path, target) for each in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _AndThen(spec.loader, self)
        return spec


class _AndThen(Loader):
    """Loads as the real loader does, gives that its place in the module before anybody looks, and then installs."""

    def __init__(self, real: Loader, finder: _Finder) -> None:
        self._real = real
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        """What else the real loader can do, for whoever looks for litellm without importing it."""
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        _install()
