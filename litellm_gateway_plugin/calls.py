"""A litellm call as a job, and a result as litellm's response: the two translations between its world and ours."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import litellm
from litellm.litellm_core_utils.core_helpers import process_response_headers
from litellm.litellm_core_utils.litellm_logging import use_custom_pricing_for_model
from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import convert_to_model_response_object
from litellm.types.utils import EmbeddingResponse, ModelResponse, ModelResponseStream, all_litellm_params

from .attributions import NAME, headers_of
from .bodies import CHAT, EMBEDDINGS, TEXT
from .cost_map import COSTS
from .engine import Result
from .errors import BrokenAnswer, InvalidInput
from .exchange import Job
from .handle import Gateway, time_limits
from .routers import router_call
from .routing import elsewhere

# Names that litellm lets through to a custom provider and that are no part of an OpenAI request. What stock `openai/`
# sends on, unknown names included, goes into the body; these do not.
INTERNAL = frozenset(all_litellm_params) | {
    "api_version",
    "custom_llm_provider",
    "deployment_id",
    "drop_params",
    "extra_body",
    "extra_headers",
    "headers",
    "max_retries",
    "metadata",
    "model",
    "model_id",
    "organization",
    "stream",
    "timeout",
}
UNNAMED_TIMEOUT_S = 600.0

FIRST = "first_chunk"
"""Where a stream keeps what its first chunk carries."""

ROUTING = frozenset({"model", "stream", "api_key", "api_base", "base_url"})
"""What `extra_body` cannot change; everything else in it is the caller's own word to the gateway."""


@dataclass(slots=True)
class Facts:
    """What the deployment hook saw of a call and the provider does not get from litellm.

    Attributes:
        prefix: a provider prefix to cut from the id, such as "openai/".
        timeout: the caller's own, when it is an httpx.Timeout (litellm keeps its read part alone).
        headers: the caller's extra headers (litellm gives them to no custom embedding provider).
        eager: whether `astreaming` may be a coroutine that opens the stream first.
    """

    prefix: str = ""
    timeout: Any = None
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    eager: bool = False


_left: ContextVar[tuple[str, Facts] | None] = ContextVar("litellm_gateway_facts", default=None)


def leave_facts(call_id: str, facts: Facts) -> None:
    """The hook leaves what it saw for the provider, which runs in the same context, under the call's id."""
    _left.set((call_id, facts))


def facts_of(logging_obj: Any) -> Facts:
    """The hook's facts about this call; empty ones for a sync call, which has no hook."""
    left = _left.get()
    if left is None or left[0] != getattr(logging_obj, "litellm_call_id", None):
        return Facts()
    return left[1]


def is_text_completion(logging_obj: Any) -> bool:
    """Whether litellm has bridged a text completion to this chat call."""
    params = getattr(logging_obj, "litellm_params", None)
    return bool(params.get("text_completion")) if isinstance(params, dict) else False


def endpoint(api_base: str | None, api_key: str | None) -> tuple[str | None, str | None]:
    """Base and key of a call: its own, else the pair set in code as `litellm.api_base` and `litellm.api_key`.

    A key set for the whole process is never taken for a base that the call named: it may belong to somebody else.
    """
    if api_base or not litellm.api_base:
        return api_base, api_key
    return litellm.api_base, api_key or litellm.api_key


def chat_job(
    gateway: Gateway,
    *,
    model: str,
    messages: list[Any],
    api_base: str | None,
    api_key: str | None,
    headers: Mapping[str, Any] | None,
    optional_params: Mapping[str, Any],
    timeout: Any,
    stream: bool,
    text: bool = False,
    litellm_params: Mapping[str, Any] | None = None,
) -> Job:
    """The job of a chat completion.

    Args:
        litellm_params: what litellm knows of the call beside its parameters; a Router leaves its note there.
        text: whether this is a text completion that litellm has bridged to chat. It makes one user message of each
            prompt, and a chat gives one answer to all of them: several prompts go to the surface that is made for them.

    Raises:
        InvalidInput: something in the call cannot be sent.
    """
    surface, body = CHAT, {"messages": messages, **_parameters(optional_params)}
    if text and len(messages) > 1:
        del body["messages"]
        surface, body = TEXT, {"prompt": [message["content"] for message in messages], **body}
    job = _job(gateway, surface, model, body, api_base, api_key, headers, timeout, stream)
    return _with_patience(gateway, job, optional_params, litellm_params or {})


def embedding_job(
    gateway: Gateway,
    *,
    model: str,
    input: Any,  # noqa: A002  litellm's own name
    api_base: str | None,
    api_key: str | None,
    headers: Mapping[str, Any] | None,
    optional_params: Mapping[str, Any],
    timeout: Any,
    litellm_params: Mapping[str, Any] | None = None,
) -> Job:
    """The job of an embedding call. Raises as `chat_job`."""
    body = {"input": input, **_parameters(optional_params)}
    if timeout == UNNAMED_TIMEOUT_S:  # litellm's own default, which no setting of its own changes for embeddings
        timeout = gateway.settings.timeout_s or timeout
    job = _job(gateway, EMBEDDINGS, model, body, api_base, api_key, headers, timeout, False)
    return _with_patience(gateway, job, optional_params, litellm_params or {})


def _with_patience(
    gateway: Gateway, job: Job, optional_params: Mapping[str, Any], litellm_params: Mapping[str, Any]
) -> Job:
    """How the call behaves when the gateway is full. Whoever named a number of retries does them, and nobody else."""
    job.elsewhere = elsewhere(gateway, litellm_params)
    named = "max_retries" in optional_params or litellm.num_retries is not None or router_call(litellm_params)
    job.retries = 0 if named else gateway.settings.max_retries or 0
    return job


def _job(
    gateway: Gateway,
    surface: str,
    model: str,
    body: dict[str, Any],
    api_base: str | None,
    api_key: str | None,
    headers: Mapping[str, Any] | None,
    timeout: Any,
    stream: bool,
) -> Job:
    body["model"] = model
    if stream:
        body["stream"] = True
    if not model.strip():
        raise InvalidInput('No model id was given: write model="gateway/<id>" with an id that the gateway lists.')
    base, key = endpoint(api_base, api_key)
    seconds, connect = time_limits(timeout)
    ask, others = gateway.ask(surface=surface, model=model, api_base=base, api_key=key, headers=headers or {})
    return Job(ask, body, headers=others, stream=stream, timeout=seconds, connect=connect)


def asked_parameters(optional_params: Mapping[str, Any], logging_obj: Any) -> Mapping[str, Any]:
    """The parameters as the caller named them: litellm renames `max_completion_tokens` for custom providers."""
    asked = getattr(logging_obj, "optional_params", None) or {}
    limit = asked.get("max_completion_tokens") if isinstance(asked, dict) else None
    if limit is None or "max_tokens" not in optional_params or asked.get("max_tokens") is not None:
        return optional_params
    kept = {name: value for name, value in optional_params.items() if name != "max_tokens"}
    return {**kept, "max_completion_tokens": limit}


def _parameters(optional_params: Mapping[str, Any]) -> dict[str, Any]:
    extra = optional_params.get("extra_body") or {}
    kept = {name: value for name, value in optional_params.items() if name not in INTERNAL and value is not None}
    return {**kept, **{name: value for name, value in extra.items() if name not in ROUTING}}


def chat_response(result: Result, model_response: ModelResponse, logging_obj: Any = None) -> ModelResponse:
    """A chat completion as stock `openai/` would give it, with our report.

    Args:
        result: what the call got.
        model_response: litellm's empty one, to be filled.
        logging_obj: litellm's, of this call.
    """
    data = tidy(_as_chat(result.data) if result.report.surface == TEXT else result.data, "message")
    try:
        response: ModelResponse = convert_to_model_response_object(
            response_object=data,
            model_response_object=model_response,
            response_type="completion",
            stream=False,
            _response_headers=result.headers,
        )
    except Exception as error:  # noqa: BLE001  litellm raises bare exceptions for an answer that it cannot read
        raise _unusable(result.report.api_base, error) from None
    _mark(response, result, logging_obj)
    return response


def _as_chat(data: dict[str, Any]) -> dict[str, Any]:
    """A text completion in the shape from which litellm makes a text completion."""
    choices = [
        {**choice, "message": {"role": "assistant", "content": choice["text"]}, "logprobs": None}
        for choice in data["choices"]
    ]
    return {**data, "object": "chat.completion", "choices": choices}


def _as_delta(data: dict[str, Any]) -> dict[str, Any]:
    """A chunk of a text completion in the shape from which litellm makes one."""
    choices = [{**choice, "delta": {"content": choice.get("text")}} for choice in data.get("choices", ())]
    return {**data, "object": "chat.completion.chunk", "choices": choices}


def embedding_response(result: Result, model_response: EmbeddingResponse, logging_obj: Any = None) -> EmbeddingResponse:
    """An embedding answer as stock `openai/` would give it, with our report. Arguments as of `chat_response`."""
    response: EmbeddingResponse = convert_to_model_response_object(
        response_object=result.data,
        model_response_object=model_response,
        response_type="embedding",
        _response_headers=result.headers,
    )
    _mark(response, result, logging_obj)
    return response


def stream_chunk(data: dict[str, Any], hidden: dict[str, Any], logging_obj: Any = None) -> ModelResponseStream:
    """One chunk of a stream.

    Args:
        data: the chunk as the gateway sent it.
        hidden: what every chunk carries; the stream's own, because the first chunk is kept there.
        logging_obj: litellm's, of this call.
    """
    spoken = _as_delta(data) if hidden[NAME]["surface"] == TEXT else data
    try:
        chunk = ModelResponseStream(**tidy(spoken, "delta"))
    except Exception as error:  # noqa: BLE001  as in `chat_response`
        raise _unusable("", error) from None
    own = {name: value for name, value in hidden.items() if name != FIRST}  # litellm writes into it
    chunk._hidden_params = own
    cost = _cost(chunk, hidden[NAME], logging_obj)
    # litellm 1.90.0 takes this from the chunk with the usage, 1.109.1 from the first; 1.106.2 keeps to what it knows
    for carried in (own, hidden.setdefault(FIRST, own)):
        carried.update(cost)
    return chunk


def hidden_params(result: Result) -> dict[str, Any]:
    """What a response carries beside its content: the report, and the gateway's headers under litellm's names."""
    report = result.report.as_dict()
    headers = {**process_response_headers(result.headers), **headers_of(report)}
    return {NAME: report, "additional_headers": headers}


def _mark(response: Any, result: Result, logging_obj: Any) -> None:
    carried = hidden_params(result)
    carried.update(_cost(response, carried[NAME], logging_obj))
    hidden = response._hidden_params
    if isinstance(hidden, dict):
        hidden.update(carried)
    else:
        for name, value in carried.items():
            setattr(hidden, name, value)


def _cost(response: Any, report: Mapping[str, Any], logging_obj: Any) -> dict[str, float]:
    """What an answer cost, when its gateway has another price than the one that litellm knows; else {}.

    A price that the caller or the deployment has set itself stays.
    """
    cost = COSTS.cost(report["api_base"], report["served_model"], getattr(response, "usage", None))
    if cost is None or use_custom_pricing_for_model(getattr(logging_obj, "litellm_params", None)):
        return {}
    return {"response_cost": cost}


def tidy(data: dict[str, Any], part: str) -> dict[str, Any]:
    """An odd but complete answer in the types that litellm's models want: nothing of what it says is lost."""
    odd = {name: _AS[name](data[name]) for name in _AS if name in data}
    kept = {name: value for name, value in data.items() if name not in odd}
    for choice in kept.get("choices", ()):
        said = choice.get(part)
        if isinstance(said, dict):
            said.update(_spoken(said, part))
    return {**kept, **{name: value for name, value in odd.items() if value is not None}}


def _spoken(said: dict[str, Any], part: str) -> dict[str, Any]:
    role = {} if part == "delta" or said.get("role") else {"role": "assistant"}
    content = said.get("content")
    if not isinstance(content, list):
        return role
    texts = (item.get("text") for item in content if isinstance(item, dict))
    return {**role, "content": "".join(text for text in texts if isinstance(text, str))}


def _whole_number(value: Any) -> int | None:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _name(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, int)) else None


def _usage(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


_AS: Mapping[str, Any] = {"created": _whole_number, "id": _name, "model": _name, "usage": _usage}


def _unusable(api_base: str, error: Exception) -> BrokenAnswer:
    return BrokenAnswer(f"The gateway's answer cannot be used ({type(error).__name__}).", api_base=api_base)
