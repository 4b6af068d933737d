"""litellm-gateway-plugin: every OpenAI-compatible gateway answers through stock litellm.

    import litellm_gateway_plugin; litellm_gateway_plugin.install()          # scripts, notebooks
    litellm.callbacks = [litellm_gateway_plugin.callback]                    # the callbacks setting, in code
    litellm_settings: {callbacks: ["litellm_gateway_plugin.callback"]}       # the LiteLLM proxy's config.yaml

Importing this package imports nothing else; a name is imported when it is first used, and `callback` and `provider`
install the plugin when they are.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .attributions import attribution
    from .auto_router import (
        aauto_model_list_from_env,
        aauto_router_from_env,
        auto_model_list_from_env,
        auto_router_from_env,
    )
    from .catalogue import Listing, Model, Price
    from .custom_llm import GatewayLLM
    from .deployment_hook import GatewayCallback
    from .handle import Gateway
    from .hookspecs import hookimpl
    from .installation import install, uninstall
    from .model_lists import alist_models, list_models
    from .race import afirst_success, first_success
    from .settings import GatewaySettings

    callback: GatewayCallback
    provider: GatewayLLM

__all__ = [
    "Gateway",
    "GatewaySettings",
    "Listing",
    "Model",
    "Price",
    "__version__",
    "aauto_model_list_from_env",
    "aauto_router_from_env",
    "afirst_success",
    "alist_models",
    "attribution",
    "auto_model_list_from_env",
    "auto_router_from_env",
    "callback",
    "first_success",
    "hookimpl",
    "install",
    "list_models",
    "provider",
    "uninstall",
]

_HOME = {
    "Gateway": "handle",
    "GatewaySettings": "settings",
    "Listing": "catalogue",
    "Model": "catalogue",
    "Price": "catalogue",
    "aauto_model_list_from_env": "auto_router",
    "aauto_router_from_env": "auto_router",
    "afirst_success": "race",
    "alist_models": "model_lists",
    "attribution": "attributions",
    "auto_model_list_from_env": "auto_router",
    "auto_router_from_env": "auto_router",
    "first_success": "race",
    "hookimpl": "hookspecs",
    "install": "installation",
    "list_models": "model_lists",
    "uninstall": "installation",
}
_INSTALLING = ("callback", "provider")


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _INSTALLING:
        installation = importlib.import_module(".installation", __name__)
        installation.install()
        return getattr(installation.current(), name)
    if name in _HOME:
        return getattr(importlib.import_module("." + _HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
