"""The callback: litellm's deployment hook, which hands asynchronous calls to the provider.

litellm calls hooks by keyword; the parameter names below are its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from .attributions import NAME, headers_of
from .calls import Facts, leave_facts
from .doors import ALIASES, OPENAI_NAMES, PROVIDER, door_for, is_foreign, is_stray
from .errors import InvalidInput
from .litellm_errors import CARRIED, to_litellm
from .proxy_calls import Settled, as_configured, brings_key, failure_headers, leaves_home
from .routing import choose
from .urls import parse_base

CHAT_CALLS = frozenset({"acompletion", "atext_completion"})
BRIDGED_CALLS = frozenset({"aresponses", "anthropic_messages"})
EMBEDDING_CALLS = frozenset({"aembedding"})
OURS = CHAT_CALLS | BRIDGED_CALLS | EMBEDDING_CALLS
MOCKS = ("mock_response", "mock_tool_calls", "mock_timeout")

# Parameters that OpenAI's API has and litellm refuses for custom providers unless they are allowed by name.
ALLOWED = ("reasoning_effort", "thinking", "verbosity")
EMBEDDING_PARAMETERS = ("dimensions", "encoding_format", "user")


class GatewayCallback(CustomLogger):
    """Registered in `litellm.callbacks`.

    Args:
        installation: gives the installation in force, or None after `uninstall()`.
    """

    def __init__(self, installation: Callable[[], Any]) -> None:
        super().__init__()
        self._installation = installation

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        """Set the provider of a call that is ours; leave every other one as it is."""
        installation = self._installation()
        if installation is None:
            return None
        asked, kwargs = kwargs, as_configured(installation.gateway, kwargs)
        logging_obj = kwargs.get("litellm_logging_obj")
        model = kwargs.get("model") or getattr(logging_obj, "model", None)
        if not isinstance(model, str) or kwargs.get("azure") or kwargs.get("deployment_id"):
            return None
        base = kwargs.get("api_base") or kwargs.get("base_url")
        provider = kwargs.get("custom_llm_provider")
        door = door_for(installation.gateway, model, provider, base, installation.names)
        if door is None:
            if leaves_home(installation.gateway, asked):
                return kwargs
            return _left_alone(asked, provider, installation.names)
        kind = getattr(call_type, "value", call_type)
        if kind not in OURS or any(kwargs.get(name) for name in MOCKS):
            return kwargs if kwargs is not asked else None
        installation.repair()
        _check(base, model)
        installation.saw((model,) if not door.prefix else ())
        if not base:
            await installation.gateway.prepare(model.removeprefix(f"{PROVIDER}/"))
        return _taken(kwargs, kind, door.prefix, installation.names)

    def log_pre_api_call(self, model: str, messages: Any, kwargs: dict[str, Any]) -> None:  # noqa: ARG002  litellm's own
        """Keep a key of the whole process from a gateway that litellm itself is about to ask.

        litellm carries sync `responses` and `anthropic.messages` of `openai/…`, and sync embeddings of `openai_like/…`,
        with an HTTP client of its own that no setting replaces. The headers it logs here are the ones it sends.
        """
        installation = self._installation()
        if installation is None:
            return
        installation.repair()
        if kwargs.get("custom_llm_provider") not in (*OPENAI_NAMES, *ALIASES):
            return
        sent = kwargs.get("additional_args") or {}
        headers, url = sent.get("headers"), sent.get("api_base")
        if not isinstance(headers, dict) or not isinstance(url, str):
            return
        name = next((name for name in headers if name.lower() == "authorization"), None)
        if name is not None and is_stray(installation.gateway, str(headers[name]).removeprefix("Bearer "), url):
            del headers[name]

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: Any,
        messages: Any,  # noqa: ARG002  litellm's own
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,  # noqa: ARG002  as above
    ) -> Any:
        """Leave deployments out of the Router's choice whose gateway is full, and wait when all are."""
        installation = self._installation()
        if installation is None or not isinstance(healthy_deployments, list) or not healthy_deployments:
            return healthy_deployments
        return list(await choose(installation.gateway, model, healthy_deployments, request_kwargs or {}))

    def log_failure_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:  # noqa: ARG002  litellm's own
        """Tell the gate of a full gateway that litellm met on a path which the plugin did not carry."""
        self._note_refusal(kwargs)

    async def async_log_failure_event(
        self,
        kwargs: dict[str, Any],
        response_obj: Any,  # noqa: ARG002  litellm's own
        start_time: Any,  # noqa: ARG002  as above
        end_time: Any,  # noqa: ARG002  as above
    ) -> None:
        """The same for a coroutine's call."""
        self._note_refusal(kwargs)

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,  # noqa: ARG002  litellm's own
        response: Any,  # noqa: ARG002  as above
        request_headers: dict[str, str] | None = None,  # noqa: ARG002  as above
        litellm_call_info: dict[str, Any] | None = None,  # noqa: ARG002  as above
    ) -> dict[str, str] | None:
        """The report as headers of the LiteLLM proxy's answer, also on the surfaces that it bridges to chat."""
        details = getattr(data.get("litellm_logging_obj"), "model_call_details", None)
        report = details.get(NAME) if isinstance(details, dict) else None
        return headers_of(report) if isinstance(report, dict) else None

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,
        cache: Any,  # noqa: ARG002  litellm's own
        data: dict[str, Any],
        call_type: Any,  # noqa: ARG002  as above
    ) -> dict[str, Any]:
        """Take a key that a client of the proxy brings out of its request, before the Router sees it.

        The Router makes a deployment with that key, and before litellm 1.105 leaves it in the group for all clients.
        Where a call passes the Router by, nobody else takes out a deployment's name, by which we would find its key.
        """
        installation = self._installation()
        if installation is not None:
            data.pop("model_info", None)
        team = getattr(user_api_key_dict, "team_id", None)
        if installation is not None and brings_key(installation.gateway, data, team):
            del data["api_key"]
        return data

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],  # noqa: ARG002  litellm's own
        original_exception: Exception,
        user_api_key_dict: Any,  # noqa: ARG002  as above
        traceback_str: str | None = None,  # noqa: ARG002  as above
    ) -> None:
        """Leave the headers of the LiteLLM proxy's answer on the exception, where the proxy looks for them first."""
        headers = failure_headers(original_exception)
        if headers is not None:
            original_exception.headers = headers  # type: ignore[attr-defined]  # litellm reads it from any exception

    def _note_refusal(self, kwargs: dict[str, Any]) -> None:
        installation = self._installation()
        error: Any = kwargs.get("exception")
        base = (kwargs.get("litellm_params") or {}).get("api_base")
        if installation is None or installation.gateway.gate is None or not base:
            return
        if not isinstance(error, (litellm.RateLimitError, litellm.ServiceUnavailableError)):
            return
        headers = dict(getattr(getattr(error, "response", None), "headers", None) or {})
        if CARRIED not in headers and is_foreign(installation.gateway, base):
            installation.gateway.note_refusal(parse_base(base), str(kwargs.get("model")), headers)


def _check(base: Any, model: str) -> None:
    """Litellm looks at the base before it asks the provider, and stumbles over some that are no URL."""
    try:
        if isinstance(base, str) and base:
            parse_base(base)
    except InvalidInput as error:
        raise to_litellm(error, model, PROVIDER) from None


def _left_alone(asked: dict[str, Any], provider: str | None, names: frozenset[str]) -> dict[str, Any] | None:
    """A call that is litellm's own: no client of the proxy makes it ours by a provider's name, with its key."""
    return {**asked, "custom_llm_provider": provider} if asked.get("custom_llm_provider") in names else None


def _taken(kwargs: dict[str, Any], kind: str, prefix: str, names: frozenset[str]) -> dict[str, Any]:
    taken = dict(kwargs)
    taken["custom_llm_provider"] = _provider(kwargs, names)
    if isinstance(kwargs.get("model"), str):
        taken["model"] = kwargs["model"].removeprefix(prefix)
    facts = Facts(prefix=prefix)
    if hasattr(kwargs.get("timeout"), "connect"):
        facts.timeout = kwargs["timeout"]
    if kind in EMBEDDING_CALLS:
        _embedding(taken, facts)
    elif kind in CHAT_CALLS:
        _chat(taken, facts)
    leave_facts(str(kwargs.get("litellm_call_id")), facts)
    return taken


def _provider(kwargs: dict[str, Any], names: frozenset[str]) -> str | None:
    """The name to set: the caller's, when it is ours; none when the id says it, since litellm cuts that off."""
    given = kwargs.get("custom_llm_provider")
    if given in names and given not in ALIASES:
        return Settled(given)
    model = kwargs.get("model")
    return None if isinstance(model, str) and model.startswith(f"{PROVIDER}/") else Settled(PROVIDER)


def _chat(taken: dict[str, Any], facts: Facts) -> None:
    wanted = [name for name in ALLOWED if taken.get(name) is not None]
    if wanted:
        taken["allowed_openai_params"] = [*(taken.get("allowed_openai_params") or []), *wanted]
    # the LiteLLM proxy lists this callback a second time, so the hook may have been here before
    if taken.get("stream"):
        taken["stream"] = 1  # truthy, and not True: see GatewayLLM.astreaming
        facts.eager = True


def _embedding(taken: dict[str, Any], facts: Facts) -> None:
    """Litellm gives a custom embedding provider no headers, and refuses these parameters; the body takes both."""
    facts.headers = {**(taken.get("headers") or {}), **(taken.get("extra_headers") or {})}
    extra = {name: taken.pop(name) for name in EMBEDDING_PARAMETERS if taken.get(name) is not None}
    if extra:
        taken["extra_body"] = {**(taken.get("extra_body") or {}), **extra}
