"""The plugin beside stock litellm, for every test in this folder; no gateway, key or cache of the user's is seen."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import pytest

import litellm_gateway_plugin as lgp
from litellm_gateway_plugin.handle import Gateway
from litellm_gateway_plugin.installation import CALLBACK_LISTS

litellm.suppress_debug_info = True


@pytest.fixture(autouse=True)
def plugin(isolated_environment: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A fresh installation; everything is put back after the test."""
    isolated_environment.setenv("LITELLM_GATEWAY_COLD_GRACE_S", "0.2")
    costs = set(litellm.model_cost)
    before = {name: list(getattr(litellm, name)) for name in CALLBACK_LISTS}
    yield lgp.install()
    lgp.uninstall()
    for name, entries in before.items():  # Routers stay in these lists, and litellm takes no more when they are full
        getattr(litellm, name)[:] = entries
    for name in set(litellm.model_cost) - costs:  # a Router tells litellm of its models, for good
        del litellm.model_cost[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some calls are carried by HTTP clients of litellm's own, which it never closes.

    What the collector says of them comes in whatever test it runs in. For connections of ours the wire has its tests.
    """
    for item in items:
        if "tests/doors" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(autouse=True, scope="module")
def litter() -> Iterator[None]:
    """litellm never closes some of its own HTTP clients; the wire's own tests look for ours."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@dataclass(frozen=True)
class Door:
    """One way of writing a call: what goes before the id, and whether it is awaited."""

    prefix: str
    awaited: bool

    def __str__(self) -> str:
        return f"{'async' if self.awaited else 'sync'} {self.prefix or 'bare '}id"

    def chat(self, model: str, **options: Any) -> Any:
        """A chat completion; a stream comes back as a list of its chunks."""
        options.setdefault("messages", [{"role": "user", "content": "hello"}])
        if self.awaited:
            return asyncio.run(self._achat(model, options))
        response = litellm.completion(model=self.prefix + model, **options)
        return list(response) if options.get("stream") else response

    def embed(self, model: str, **options: Any) -> Any:
        """An embedding of two texts."""
        options.setdefault("input", ["one", "two"])
        if self.awaited:
            return asyncio.run(litellm.aembedding(model=self.prefix + model, **options))
        return litellm.embedding(model=self.prefix + model, **options)

    async def _achat(self, model: str, options: dict[str, Any]) -> Any:
        response = await litellm.acompletion(model=self.prefix + model, **options)
        return [chunk async for chunk in response] if options.get("stream") else response


PROVIDER_DOORS = (Door("gateway/", False), Door("gateway/", True), Door("openai_like/", False), Door("", True))
SESSION_DOORS = (Door("openai/", False),)
HOOK_DOORS = (Door("openai/", True), Door("custom_openai/", True))
ALL_DOORS = PROVIDER_DOORS + SESSION_DOORS + HOOK_DOORS


@pytest.fixture(params=ALL_DOORS, ids=str)
def door(request: pytest.FixtureRequest) -> Door:
    """Each way of writing a call."""
    found: Door = request.param
    return found


@pytest.fixture(params=PROVIDER_DOORS + HOOK_DOORS, ids=str)
def provider_door(request: pytest.FixtureRequest) -> Door:
    """Each way that ends in the provider, where litellm's response is ours to make."""
    found: Door = request.param
    return found


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run a coroutine function in an event loop of its own."""
    return lambda function, *arguments: asyncio.run(function(*arguments))
