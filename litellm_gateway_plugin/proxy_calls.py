"""Calls of the LiteLLM proxy: what a client cannot say, and what it is told when its call fails.

The proxy refuses a client's `api_base`, but 1.90 not in `fallbacks`. It passes on other things that steer a call (seen
with 1.90 to 1.109): an `api_key`, a provider's name, headers that carry a credential, the name of another credential of
the operator's. They are put back to what the deployment says, unless the operator lets clients bring their own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import litellm
from litellm.litellm_core_utils.credential_accessor import CredentialAccessor
from litellm.litellm_core_utils.llm_response_utils.get_headers import get_response_headers

from .attributions import ATTEMPTS_HEADER, attempts_header, attribution
from .credentials import CREDENTIAL_HEADERS
from .doors import door_for, first_part
from .handle import Gateway
from .litellm_errors import is_own_header
from .routers import deployment_of, deployments_named, router_of, setting_of
from .urls import origin_of

PROVIDER_NAME = "custom_llm_provider"
ROUTE = ("azure", "deployment_id", "use_litellm_proxy")
"""What makes another client of litellm's carry a call, as a provider's name does: the operator's word alone."""

BASES = ("api_base", "base_url")
"""Both, because litellm takes the second first in chats, and the first alone for embeddings."""

KEY = "api_key"
CREDENTIAL = "litellm_credential_name"
OTHERS_CREDENTIALS = CREDENTIAL_HEADERS | {"proxy-authorization", "cookie"}
HEADERS = ("headers", "extra_headers")
OF_PROVIDER = "provider_specific_header"

OPT_IN = "configurable_clientside_auth_params"
"""In a deployment: clients may name these."""
OPT_IN_TO_ALL = "allow_client_side_credentials"
OPT_INS = (OPT_IN_TO_ALL, "forward_llm_provider_auth_headers")
"""In the proxy's general settings, the second also in litellm's: clients may bring keys, with the first bases too."""
TEAMS_CREDENTIALS = "enable_model_config_credential_overrides"
"""In litellm's settings: the proxy itself gives a team's calls the team's key, and its base."""


class Settled(str):
    """The name of a provider that we have set ourselves: what a client sends is never of this type."""

    __slots__ = ()


def as_configured(gateway: Gateway, kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments, with its route as the operator has configured it; as they are when it is not the proxy's.

    Args:
        gateway: the installation.
        kwargs: what the deployment hook is given. They are not changed.
    """
    if not isinstance(kwargs.get("proxy_server_request"), Mapping) or isinstance(kwargs.get(PROVIDER_NAME), Settled):
        return kwargs
    own = _deployment(kwargs)
    if own is None:
        return kwargs
    settled = {**kwargs, **{name: own.get(name) for name in (*ROUTE, CREDENTIAL) if name in kwargs or name in own}}
    if PROVIDER_NAME in kwargs and _names_provider(kwargs.get("model"), own):
        settled[PROVIDER_NAME] = own.get(PROVIDER_NAME)
    if _is_ours(gateway, own) and not _clients_may_name_bases(own):
        for name in BASES:
            settled.pop(name, None)  # not None: litellm fills what is missing from a named credential
        settled.update({name: own[name] for name in BASES if own.get(name)})
    elif _goes_elsewhere(gateway, kwargs, own):
        return _without_credential(settled, own)
    if _clients_may_bring_keys(own):
        return settled
    if KEY in kwargs and not getattr(litellm, TEAMS_CREDENTIALS, False):
        settled.pop(KEY)  # litellm fills it from a named credential only when it is not there
        settled.update({KEY: own[KEY]} if own.get(KEY) else {})
    operators = {**(own.get("headers") or {}), **(own.get("extra_headers") or {})}
    for name in HEADERS:
        if isinstance(kwargs.get(name), Mapping):
            settled[name] = {**_harmless(kwargs[name], operators), **(own.get(name) or {})}
    if OF_PROVIDER in kwargs:
        settled[OF_PROVIDER] = _of_provider(kwargs[OF_PROVIDER])
    return settled


def leaves_home(gateway: Gateway, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of the proxy's to one of our deployments goes to a base of the client's: the key stays at home."""
    own = _deployment(kwargs) if isinstance(kwargs.get("proxy_server_request"), Mapping) else None
    return own is not None and _is_ours(gateway, own) and _goes_elsewhere(gateway, kwargs, own)


def _goes_elsewhere(gateway: Gateway, kwargs: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether a client whom the operator lets name a base has named one on an origin that is not the deployment's."""
    asked = _origins(kwargs)
    if not asked:
        return False
    home = _origins(own) or _origins(CredentialAccessor.get_credential_values(own.get(CREDENTIAL) or ""))
    if not home and _is_ours(gateway, own):
        return not asked <= {base.origin for base in gateway.bases}
    return bool(home) and not asked <= home


def _origins(params: Mapping[str, Any]) -> set[str | None]:
    return {origin_of(str(params[name])) for name in BASES if params.get(name)}


def _without_credential(settled: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A call without the deployment's key, which is for the deployment's origin alone; the client's own stays."""
    for name in (KEY, CREDENTIAL):
        if settled.get(name) == own.get(name):
            settled.pop(name, None)
    for name in HEADERS:
        if isinstance(settled.get(name), Mapping):
            operators = own.get(name) or {}
            settled[name] = {each: value for each, value in settled[name].items() if operators.get(each) != value}
    return settled


def brings_key(gateway: Gateway, data: Mapping[str, Any], team: str | None) -> bool:
    """Whether a client's request brings a key that is not wanted, for a group with a gateway in it.

    Args:
        gateway: the installation.
        data: the request, as the proxy has it before its Router does.
        team: of the client.
    """
    if KEY not in data or getattr(litellm, TEAMS_CREDENTIALS, False):
        return False
    group = [each["litellm_params"] for each in deployments_named(str(data.get("model")), team)]
    return any(_is_ours(gateway, each) for each in group) and not any(map(_clients_may_bring_keys, group))


def _is_ours(gateway: Gateway, params: Mapping[str, Any]) -> bool:
    base = params.get("api_base") or params.get("base_url")
    return door_for(gateway, str(params.get("model")), params.get(PROVIDER_NAME), base, gateway.names) is not None


def _deployment(kwargs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The litellm params of the chosen deployment; of its original, where litellm has made one for a client."""
    info = kwargs.get("model_info")
    if not isinstance(info, Mapping):
        return None
    chosen = str(info.get("original_model_id") or info.get("id"))
    found = deployment_of(chosen)
    if found is None:
        return None
    return {**(setting_of(router_of(chosen), "default_litellm_params") or {}), **found["litellm_params"]}


def _names_provider(model: Any, own: Mapping[str, Any]) -> bool:
    """Whether the id still begins as the deployment's does: where litellm calls itself, it may have cut that off."""
    return isinstance(model, str) and first_part(model) == first_part(str(own.get("model") or ""))


def _clients_may_bring_keys(own: Mapping[str, Any]) -> bool:
    general = _general_settings()
    return bool(own.get(OPT_IN)) or any(general.get(name) or getattr(litellm, name, False) for name in OPT_INS)


def _clients_may_name_bases(own: Mapping[str, Any]) -> bool:
    """Whether the operator lets clients do that; also where the proxy itself may have named a team's."""
    named = own.get(OPT_IN) or ()
    in_deployment = any(each in BASES or isinstance(each, Mapping) for each in named)  # a pattern is for bases
    return in_deployment or bool(_general_settings().get(OPT_IN_TO_ALL) or getattr(litellm, TEAMS_CREDENTIALS, False))


def _general_settings() -> Mapping[str, Any]:
    return getattr(sys.modules.get("litellm.proxy.proxy_server"), "general_settings", None) or {}


def _harmless(given: Mapping[Any, Any], operators: Mapping[Any, Any]) -> dict[Any, Any]:
    """A client's headers without credentials, and without those that the operator has set; the operator's stay."""
    own = {str(name).lower(): value for name, value in operators.items()}
    return {
        name: value
        for name, value in given.items()
        if own.get(str(name).lower()) == value or str(name).lower() not in OTHERS_CREDENTIALS | own.keys()
    }


def _of_provider(given: Any) -> Any:
    if isinstance(given, (list, tuple)):
        return [_of_provider(each) for each in given]
    if not isinstance(given, Mapping) or not isinstance(given.get("extra_headers"), Mapping):
        return given
    return {**given, "extra_headers": _harmless(given["extra_headers"], {})}


RETRY_AFTER = "retry-after"


def failure_headers(error: BaseException) -> dict[str, str] | None:
    """The headers of the proxy's answer to a failed call: when to come back, and which attempts failed.

    litellm gives a client the upstream's headers under other names, `llm_provider-…`, where no client library looks for
    the time to come back.

    Args:
        error: what litellm raised.

    Returns:
        None when the plugin had no part in the call.
    """
    told = attribution(error)
    if told is None:
        return None
    response = getattr(error, "response", None)
    upstreams = {name: value for name, value in getattr(response, "headers", {}).items() if not is_own_header(name)}
    wait = {RETRY_AFTER: upstreams[RETRY_AFTER]} if RETRY_AFTER in upstreams else {}
    return {**get_response_headers(upstreams), **wait, ATTEMPTS_HEADER: attempts_header(told["attempts"])}
