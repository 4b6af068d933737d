"""The checks of a gateway: the calls that people make, through stock litellm with the plugin installed.

    direct_json   `litellm.completion` with `response_format`, the model written as a user writes it
    stream        a stream, to its end
    tools         one function, which the model has to call
    picture       a small PNG in the message
    embeddings    one text
    router        the stock `litellm.Router` with one deployment
    parallel      two `acompletion` at once
    model_list    `litellm.completion(model_list=[...])`

Gateways are checked side by side, and the checks of one gateway one after the other, so that a latency means something.
Nothing waits for a full gateway: that is a finding, and what would be sent to the same model after it is not sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..admission import place_for
from ..answers import shorten
from ..bodies import CHAT
from ..capacity import LONGEST_WAIT
from ..catalogue import TOOLS, equal_id, namespace
from ..credentials import BASIC
from ..refusals import without_secrets
from ..settings import PREFIX, GatewaySettings, load_settings
from ..survey import in_thread
from .host import Await, event_loop, plugin, silence, words_of
from .report import Check, Outcome
from .targets import Examined, Target

if TYPE_CHECKING:
    from ..handle import Gateway
    from ..negotiation import Ask

PROMPT = 'Return only {"ok":true} as JSON.'
JSON_MODE = {"type": "json_object"}
MOST_TOKENS = 512
"""Enough for a model that reasons before it answers."""

HELD_S = 1.0
"""Seconds for which a call may be held because the gateway is full."""

WORDS_LIMIT = 300
QUOTE_LIMIT = 80

FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

OURS, OLDER = PREFIX, "CHUTES_"
"""What the names of the variables for gateways and models begin with."""

NOT_SENT = "not sent: the gateway is full"
GROUP = "doctor"

Tell = Callable[[Target, Check], None]


class NotAsAsked(Exception):
    """The gateway answered, and not what the check asked for.

    Args:
        words: what came.
        hint: what to set or to do.
    """

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__(words)
        self.hint = hint


class IsFull(Exception):
    """The gateway is full, and litellm does not say so.

    Args:
        retry_after: seconds until it is worth asking again, None when nobody knows.
    """

    def __init__(self, words: str, retry_after: float | None) -> None:
        super().__init__(words)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Found:
    """What a check has seen.

    Attributes:
        error: why it failed all the same: some of its calls did.
    """

    words: str = ""
    requests: int | None = None
    first_token_s: float | None = None
    served: str = ""
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Patient:
    """One gateway while it is checked.

    Attributes:
        gateway: the plugin's handle.
        awaits: runs coroutines.
        timeout: seconds for each call.
        full: the models that were full, and the seconds to wait that they named.
    """

    examined: Examined
    gateway: Gateway = field(repr=False)
    awaits: Await = field(repr=False)
    timeout: float
    full: dict[str, float | None] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        return self.examined.target

    def ask(self, model: str) -> Ask:
        """What a call for this model wants to reach."""
        ask, _ = self.gateway.ask(
            surface=CHAT, model=model, api_base=_written(self.target), api_key=_key(self.target), headers={}
        )
        return ask

    def call(self, model: str, *, spelt: bool = False) -> dict[str, Any]:
        """The arguments that say which model where. The gateway is named, so that two accounts at one base differ.

        Args:
            model: the gateway's id.
            spelt: whether it is written as a user would: a vendor's id as it is, where the plugin can route it.
        """
        known = spelt and namespace(model) in self.gateway.names
        return {
            "model": model if known else f"gateway/{model}",
            "api_base": _written(self.target),
            "api_key": _key(self.target),
            "timeout": self.timeout,
        }

    def is_full(self, model: str) -> bool:
        """Whether the gateway has said so; the gate would hold a request for this model, or has just done so."""
        if model not in self.full and (seconds := self._paused(model)) is not None:
            self.full[model] = seconds
        return model in self.full

    def _paused(self, model: str) -> float | None:
        ask, gate = self.ask(model), self.gateway.gate
        place = place_for(ask, self.gateway.memory.served_id(ask) or ask.model)
        if gate is None or not gate.is_paused(place):
            return None
        return min(gate.wait_for((place,))[0], LONGEST_WAIT)

    def shown(self, text: str, model: str, limit: int = WORDS_LIMIT) -> str:
        """A text for the report: one line, no credential, and then not too long: half a credential is not found."""
        return shorten(without_secrets(" ".join(text.split()), self.ask(model)), limit)

    def quoted(self, text: str, model: str) -> str:
        """The same in quotes: what a model has said."""
        return json.dumps(self.shown(text, model, QUOTE_LIMIT), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Kind:
    """One check.

    Attributes:
        model: which of the models it calls.
        run: makes the calls, given the gateway and the model's id. Whatever it raises is what went wrong.
        missing: words and hint for a gateway that has no such model.
        calls: how many it makes.
        needs: what the model has to be capable of. Where the operator names no model for it, that for text is called,
            unless its listing says that it is not.
    """

    name: str
    model: str
    run: Callable[[Patient, str], Found]
    missing: Callable[[Mapping[str, str]], tuple[str, str]]
    calls: int = 1
    needs: str = ""


def run_checks(
    examined: Sequence[Examined],
    *,
    timeout: float,
    skip: Collection[str] = (),
    settings: GatewaySettings | None = None,
    environment: Mapping[str, str] = os.environ,
    tell: Tell = lambda target, check: None,
) -> list[tuple[Check, ...]]:
    """Check gateways.

    Args:
        examined: what the matrix has found of each. One on which chat does not work gets no checks.
        timeout: seconds for each call.
        skip: names of checks to leave out.
        settings: the user's, for the plugin; those of the environment by default. A plugin that is installed already
            is used as it is.
        environment: for the hints: where people are used to other names, those are named.
        tell: called with each check as it comes out, from that gateway's thread.

    Returns:
        For each gateway its checks, in the order of the table above.

    Raises:
        errors.InvalidInput: settings that cannot be used.
    """
    with ExitStack() as stack:
        stack.enter_context(silence())
        gateway = stack.enter_context(plugin(_impatient(settings or load_settings())))
        awaits = stack.enter_context(event_loop())
        _warm_up(gateway, awaits)

        def checks_of(each: Examined) -> tuple[Check, ...]:
            return tuple(_checks(Patient(each, gateway, awaits, timeout), skip, environment, tell))

        flights = [in_thread(partial(checks_of, each)) for each in examined]
        return [flight.result() for flight in flights]


def _impatient(settings: GatewaySettings) -> GatewaySettings:
    """The user's settings, but for how long the gate holds a call: long enough for a rate limit of their own."""
    longest = max(HELD_S, 2 / settings.rate_limit_qps) if settings.rate_limit_qps else HELD_S
    held = longest if settings.max_wait_s is None else min(longest, settings.max_wait_s)
    return settings.model_copy(update={"max_wait_s": held})


def _warm_up(gateway: Gateway, awaits: Await) -> None:
    """Have imported and read what the first calls need: that takes a second or two, and is no gateway's latency."""
    import litellm

    mocked: dict[str, Any] = {
        "model": "gateway/none",
        "messages": [{"role": "user", "content": ""}],
        "tools": [FUNCTION],
    }
    gateway.clients.threads()
    with suppress(Exception):  # what is missing fails the check that needs it
        litellm.token_counter(model="gateway/none", text="")
        litellm.completion(**mocked, mock_response="{}")
        awaits(litellm.acompletion(**mocked, mock_response="{}"))


def _checks(patient: Patient, skip: Collection[str], environment: Mapping[str, str], tell: Tell) -> Iterator[Check]:
    if not patient.examined.works_base:
        return
    for kind in KINDS:
        reason = _why_not(patient.examined, kind, skip, environment)
        if reason is None:
            check = _check(patient, kind)
        else:
            check = Check(name=kind.name, outcome=Outcome.SKIPPED, words=reason[0], hint=reason[1])
        tell(patient.target, check)
        yield check


def _why_not(
    examined: Examined, kind: Kind, skip: Collection[str], environment: Mapping[str, str]
) -> tuple[str, str] | None:
    """Why a check is skipped, and what to set; None when it is not."""
    if kind.name in skip:
        return "left out, as asked", ""
    model = _model(examined, kind)
    if not model:
        return kind.missing(environment)
    if kind.needs and not getattr(examined.target.models, kind.model) and _denies(examined, model, kind.needs):
        return f"the listing says that {model} calls no tools", "set LITELLM_GATEWAY_TOOLS_MODEL"
    return None


def _model(examined: Examined, kind: Kind) -> str:
    models = examined.models
    return str(getattr(models, kind.model)) or (models.text if kind.needs else "")


def _denies(examined: Examined, model: str, capability: str) -> bool:
    listing = examined.listing
    named = equal_id(model, listing.ids) if listing is not None else None
    found = listing.get(named) if listing is not None and named is not None else None
    return found is not None and found.can(capability) is False


def _check(patient: Patient, kind: Kind) -> Check:
    model = _model(patient.examined, kind)
    if patient.is_full(model):
        seconds = patient.full[model]
        return Check(name=kind.name, outcome=Outcome.CAPACITY, model=model, words=NOT_SENT, retry_after_s=seconds)
    begun = time.monotonic()
    try:
        found = kind.run(patient, model)
    except Exception as error:  # noqa: BLE001  litellm, gateways and networks fail with anything: it is the finding
        found = Found(error=error)
    seconds = time.monotonic() - begun
    seen = Check(
        name=kind.name,
        outcome=Outcome.PASS,
        model=model,
        words=patient.shown(found.words, model),
        seconds=seconds,
        first_token_s=found.first_token_s,
        requests=found.requests,
        served=found.served,
    )
    return seen if found.error is None else _failed(patient, seen, found.error)


def _failed(patient: Patient, check: Check, error: BaseException) -> Check:
    import litellm

    inner = _innermost(error)
    words = patient.shown(words_of(inner), check.model)
    hint = "raise --timeout" if isinstance(inner, litellm.Timeout) else ""
    told = {"outcome": Outcome.FAIL, "words": words, "hint": getattr(inner, "hint", hint)}
    if isinstance(inner, litellm.RateLimitError) or hasattr(inner, "retry_after"):
        seconds = getattr(inner, "retry_after", None)
        patient.full[check.model] = seconds
        told |= {"outcome": Outcome.CAPACITY, "retry_after_s": seconds}
    return check.model_copy(update=told)


def _innermost(error: BaseException) -> BaseException:
    """What litellm has wrapped in an error about a stream that broke."""
    while isinstance(within := getattr(error, "original_exception", None), BaseException):
        error = within
    return error


def _written(target: Target) -> str:
    """The base as a person would write it, with all that belongs to it."""
    base = target.base
    scheme, _, rest = str(base).partition("://")
    userinfo = f"{quote(base.userinfo, safe=':')}@" if base.userinfo else ""
    return f"{scheme}://{userinfo}{rest}" + (f"?{base.query}" if base.query else "")


def _key(target: Target) -> str | None:
    """The key to pass; user and password are in the base already."""
    return None if target.named == BASIC else target.key


# The calls ------------------------------------------------------------------------------------------------------------


def _once(**asked: Any) -> dict[str, Any]:
    """The arguments of a call that is made once, whoever would repeat it."""
    return {"num_retries": 0, "max_retries": 0, **asked}


def _json_call() -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return _once(messages=messages, response_format=dict(JSON_MODE), max_tokens=MOST_TOKENS)


def _direct_json(patient: Patient, model: str) -> Found:
    import litellm

    response = litellm.completion(**patient.call(model, spelt=True), **_json_call())
    return Found(_json_in(patient, model, response), _requests(response))


def _stream(patient: Patient, model: str) -> Found:
    import litellm

    messages = [{"role": "user", "content": "Say hello in one short sentence."}]
    begun = time.monotonic()
    stream = litellm.completion(**patient.call(model), **_once(messages=messages, stream=True, max_tokens=MOST_TOKENS))
    pieces, first, reason = [], None, None
    for chunk in stream:
        passed = time.monotonic() - begun
        if passed > patient.timeout:
            _close(stream)
            raise NotAsAsked(f"the stream was cut off: it had not ended after {patient.timeout:g} s", "raise --timeout")
        for choice in chunk.choices:
            text = choice.delta.content or ""
            thought = getattr(choice.delta, "reasoning_content", None)
            first = passed if first is None and (text or thought) else first
            reason = choice.finish_reason or reason
            pieces.append(text)
    text = _said("".join(pieces), reason)
    if reason is None:
        raise NotAsAsked("the stream ended without a finish reason")
    return Found(f"{patient.quoted(text, model)}, {reason}", _requests(stream), first)


def _close(stream: Any) -> None:
    close = getattr(getattr(stream, "completion_stream", None), "close", None)
    if callable(close):
        with suppress(Exception):  # it is given up: nobody is there to be told
            close()


def _tools(patient: Patient, model: str) -> Found:
    import litellm

    messages = [{"role": "user", "content": "What is the weather in Paris? Call the function."}]
    response = litellm.completion(
        **patient.call(model), **_once(messages=messages, tools=[FUNCTION], max_tokens=MOST_TOKENS)
    )
    choice = response.choices[0]
    calls = choice.message.tool_calls or ()
    hint = "set LITELLM_GATEWAY_TOOLS_MODEL to a model that calls tools"
    if not calls:
        text = _said(choice.message.content, choice.finish_reason)
        raise NotAsAsked(f"it answered in words and called no tool: {patient.quoted(text, model)}", hint)
    asked = calls[0].function
    if not isinstance(_parsed(asked.arguments), dict):
        given = patient.quoted(str(asked.arguments), model)
        raise NotAsAsked(f"the arguments of its tool call are no JSON object: {given}", hint)
    return Found(f"{asked.name}({asked.arguments})", _requests(response))


def _picture(patient: Patient, model: str) -> Found:
    import litellm

    content = [
        {"type": "text", "text": "Which colour is this picture? One word."},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(png()).decode()}},
    ]
    messages = [{"role": "user", "content": content}]
    response = litellm.completion(**patient.call(model), **_once(messages=messages, max_tokens=MOST_TOKENS))
    return Found(patient.quoted(_content(response), model), _requests(response))


def _embeddings(patient: Patient, model: str) -> Found:
    import litellm

    response = litellm.embedding(**patient.call(model), **_once(input=["hello"]))
    vector = response.data[0]["embedding"] if response.data else None
    if not isinstance(vector, (list, str)) or not vector:
        raise NotAsAsked("the answer holds no embedding")
    return Found(f"{len(vector)} dimensions" if isinstance(vector, list) else "in base64", _requests(response))


def _router(patient: Patient, model: str) -> Found:
    import litellm

    deployment = {"model_name": GROUP, "litellm_params": patient.call(model), "model_info": {"id": _id(patient, model)}}
    router = litellm.Router(model_list=[deployment], num_retries=0, timeout=patient.timeout)
    try:
        response = router.completion(model=GROUP, **_json_call())
    finally:
        router.discard()  # type: ignore[no-untyped-call]  # litellm's
    return Found(_json_in(patient, model, response), _requests(response))


def _id(patient: Patient, model: str) -> str:
    return f"{GROUP}: {model} at {patient.target.label}"


def _parallel(patient: Patient, model: str) -> Found:
    import litellm

    async def both() -> list[Any]:
        calls = (litellm.acompletion(**patient.call(model, spelt=True), **_json_call()) for _ in range(2))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = [_outcome(patient, model, each) for each in patient.awaits(both())]
    served = f"{sum(each.error is None for each in outcomes)}/{len(outcomes)}"
    if served == "2/2":
        return Found(outcomes[0].words, sum(each.requests or 0 for each in outcomes), served=served)
    errors = [each.error for each in outcomes if each.error is not None]
    return Found(served=served, error=min(errors, key=lambda error: hasattr(error, "retry_after")))


def _outcome(patient: Patient, model: str, answer: Any) -> Found:
    if isinstance(answer, BaseException):
        return Found(error=answer)
    try:
        return Found(_json_in(patient, model, answer), _requests(answer))
    except NotAsAsked as error:
        return Found(error=error)


def _model_list(patient: Patient, model: str) -> Found:
    import litellm

    deployment = {"model_name": GROUP, "litellm_params": patient.call(model)}
    response = litellm.completion(model=GROUP, model_list=[deployment], **_json_call())
    if response is not None:
        return Found(_json_in(patient, model, response), _requests(response))
    if patient.is_full(model):
        raise IsFull("litellm.completion(model_list=...) gave None: the gateway is full", patient.full[model])
    raise NotAsAsked(
        "litellm.completion(model_list=...) gave None, which is how it says that every entry failed",
        "litellm_gateway_plugin.first_success does the same and says why",
    )


# The answers ----------------------------------------------------------------------------------------------------------


def _requests(response: Any) -> int | None:
    from ..attributions import attribution

    report = attribution(response)
    return int(report["requests"]) if report and "requests" in report else None


def _json_in(patient: Patient, model: str, response: Any) -> str:
    """The JSON object that came. Raises NotAsAsked: none did."""
    text = _content(response)
    found = _parsed(text)
    if isinstance(found, dict):  # whichever: how clever the model is does not matter here
        return patient.shown(json.dumps(found, separators=(",", ":")), model, QUOTE_LIMIT)
    raise NotAsAsked(
        f"the gateway served the call, and the model answered {patient.quoted(text, model)}: no JSON object",
        "try another model",
    )


def _content(response: Any) -> str:
    choice = response.choices[0]
    return _said(choice.message.content, choice.finish_reason)


def _said(text: str | None, reason: str | None) -> str:
    """The text of an answer. Raises NotAsAsked when there is none."""
    if text and text.strip():
        return text
    if reason == "length":
        raise NotAsAsked(
            f"the answer is empty: all {MOST_TOKENS} tokens were spent before it began (finish_reason length), "
            "as models do that reason for long",
            "try another model",
        )
    raise NotAsAsked(f"the answer is empty (finish_reason {reason})")


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def png(size: int = 64) -> bytes:
    """A red square. Smaller ones are refused by models that cut pictures into patches."""
    rows = (b"\0" + b"\xff\0\0" * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, data) for name, data in parts)


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


# The table ------------------------------------------------------------------------------------------------------------


def _no_text(environment: Mapping[str, str]) -> tuple[str, str]:
    return "no model is named, and none is listed", f"set {_prefix(environment, OURS)}TEXT_MODEL"


def _no_vlm(environment: Mapping[str, str]) -> tuple[str, str]:
    return "no model for pictures is named or listed", f"set {_prefix(environment, OLDER)}VLM_MODEL to enable"


def _no_embedding(environment: Mapping[str, str]) -> tuple[str, str]:  # noqa: ARG001  one signature for the table
    return "no embedding model is listed", "give --embedding-model"


def _prefix(environment: Mapping[str, str], usual: str) -> str:
    """What the names of our variables begin with where this environment comes from; usually the given one."""
    used = [prefix for prefix in (OURS, OLDER) if any(name.startswith(prefix) for name in environment)]
    return used[0] if len(used) == 1 else usual


KINDS: tuple[Kind, ...] = (
    Kind("direct_json", "text", _direct_json, _no_text),
    Kind("stream", "text", _stream, _no_text),
    Kind("tools", "tools", _tools, _no_text, needs=TOOLS),
    Kind("picture", "vlm", _picture, _no_vlm),
    Kind("embeddings", "embedding", _embeddings, _no_embedding),
    Kind("router", "text", _router, _no_text),
    Kind("parallel", "text", _parallel, _no_text, calls=2),
    Kind("model_list", "text", _model_list, _no_text),
)
