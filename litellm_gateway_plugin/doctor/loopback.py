"""litellm calls a gateway on the loopback interface: do its doors and hooks still do what the plugin needs?

The gateway wants its key in `x-api-key` and lives under `/v1`, and the base is given without that: litellm alone gets
no answer there. Nothing leaves this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ..answers import shorten
from ..settings import GatewaySettings
from ..testing import PRESETS, PickyGateway
from ..urls import parse_base
from .host import Await, event_loop, no_proxy, plugin, silence, words_of
from .report import Check, Outcome

if TYPE_CHECKING:
    from ..handle import Gateway

MODEL = "loopback-model"
"""Without a vendor: no namespace is registered for it."""

GROUP = "self-test"
TIMEOUT_S = 10.0
FULL_S = "60"

FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

MCP_COMMAND = 'pip install "litellm[mcp]"'
UPGRADE = "pip install -U litellm litellm-gateway-plugin"


class Missed(Exception):
    """The plugin had no part in a call, or not the part that it should have had."""


class OwnSession(Missed):
    """The program has taken the plugin's place in litellm."""

    hint = "write gateway/<id> in the place of openai/<id>, or leave litellm.client_session alone"


class Skipped(Exception):
    """This cannot be tried here; the message says why."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """What the checks have.

    Attributes:
        free: a gateway that serves.
        full: one that the gate takes for full.
        own_session: whether the program has set an HTTP client of its own.
    """

    gateway: Gateway
    awaits: Await
    free: PickyGateway
    full: PickyGateway
    own_session: bool

    def call(self, prefix: str, **more: Any) -> dict[str, Any]:
        """The arguments of a call to the gateway that serves."""
        return {**_where(self.free, prefix), "messages": [{"role": "user", "content": "hello"}], **more}

    def needs_all_doors(self) -> None:
        """Raises Skipped: the operator has the plugin leave calls alone that do not name it."""
        intercept = self.gateway.settings.intercept
        if intercept != "auto":
            raise Skipped(f"LITELLM_GATEWAY_INTERCEPT={intercept} leaves such calls alone")


def _where(server: PickyGateway, prefix: str) -> dict[str, Any]:
    return {
        "model": prefix + MODEL,
        "api_base": server.url,
        "api_key": server.manners.key,
        "timeout": TIMEOUT_S,
        "num_retries": 0,
        "max_retries": 0,
    }


def _provider(loopback: Loopback) -> None:
    import litellm

    _carried(litellm.completion(**loopback.call("gateway/")))


def _hook(loopback: Loopback) -> None:
    import litellm

    loopback.needs_all_doors()
    _carried(loopback.awaits(litellm.acompletion(**loopback.call(""))))


def _tool_calls(loopback: Loopback) -> None:
    import litellm

    answer = litellm.completion(**loopback.call("gateway/", tools=[FUNCTION]))
    _carried(answer)
    if not answer.choices[0].message.tool_calls:
        raise Missed("litellm has lost a tool call on its way")


def _stream(loopback: Loopback) -> None:
    import litellm

    async def opened() -> int:
        stream = await litellm.acompletion(**loopback.call("gateway/", stream=True))
        sent = len(loopback.free.served)
        async for _ in stream:
            pass
        return sent

    before = len(loopback.free.served)
    if loopback.awaits(opened()) == before:
        raise Missed("a stream opens only when it is read: a full gateway is found too late to take another one")


def _router(loopback: Loopback) -> None:
    import litellm

    gate, base = loopback.gateway.gate, parse_base(loopback.full.url)
    if gate is None:
        raise Skipped("LITELLM_GATEWAY_GATE=false: full gateways are not kept out")
    loopback.gateway.note_refusal(base, MODEL, {"retry-after": FULL_S})
    servers = (loopback.full, loopback.free)
    router = litellm.Router(
        model_list=[
            {
                "model_name": GROUP,
                "litellm_params": {**_where(server, "gateway/"), "order": order},
                "model_info": {"id": f"{GROUP}-{order}"},
            }
            for order, server in enumerate(servers, 1)
        ],
        num_retries=0,
        timeout=TIMEOUT_S,
    )
    try:
        answer = loopback.awaits(router.acompletion(model=GROUP, messages=[{"role": "user", "content": "hello"}]))
    finally:
        router.discard()  # type: ignore[no-untyped-call]  # litellm's
    if _carried(answer)["attempts"]:
        raise Missed("it tries a full gateway before it goes on to the next one")


def _session(loopback: Loopback) -> None:
    import litellm

    loopback.needs_all_doors()
    if loopback.own_session:
        raise OwnSession(
            "litellm.client_session or aclient_session is set by the program: openai/<id> goes past the plugin"
        )
    _carried(litellm.completion(**loopback.call("openai/")))


def _carried(answer: Any) -> dict[str, Any]:
    """The plugin's report of a call. Raises Missed without one."""
    from ..attributions import attribution

    report = attribution(answer)
    if report is None:
        raise Missed("litellm made the call by itself")
    return report


@dataclass(frozen=True, slots=True)
class Tried:
    """One check.

    Attributes:
        good: what is true when it passes.
        bad: what follows when it does not.
        hint: what to do then.
    """

    name: str
    run: Callable[[Loopback], None]
    good: str
    bad: str
    hint: str = UPGRADE


TRIED: tuple[Tried, ...] = (
    Tried("provider", _provider, "gateway/<id> reaches the plugin", "calls of gateway/<id> fail"),
    Tried("hook", _hook, "the hook before async calls fires", "async calls without gateway/ before the id fail"),
    Tried("tool_calls", _tool_calls, "a call with tools comes through", "calls with tools fail", MCP_COMMAND),
    Tried("stream", _stream, "an async stream is open when it is handed over", "no fail-over for streams"),
    Tried("router", _router, "the Router asks which gateways are full", "an async Router waits for full gateways"),
    Tried("session", _session, "sync openai/<id> goes through the plugin", "calls of openai/<id> are not negotiated"),
)


def try_litellm() -> list[Check]:
    """Make the calls. litellm's globals are afterwards as they were."""
    try:
        return _all()
    except Exception as error:  # noqa: BLE001  litellm, or the plugin with it, cannot even be imported: that is the finding
        words = f"litellm cannot be used here: {type(error).__name__}: {words_of(error)}"
        return [Check(name=TRIED[0].name, outcome=Outcome.FAIL, words=shorten(words), hint=UPGRADE)]


def _all() -> list[Check]:
    manners = replace(PRESETS["seed-000"], models=(MODEL,))
    with ExitStack() as stack:
        stack.enter_context(silence())
        stack.enter_context(no_proxy())
        free, full = (stack.enter_context(PickyGateway(manners)) for _ in range(2))
        session = _own_session()
        # Nothing of the user's: no base, no key, no cache, no Redis.
        settings = GatewaySettings.model_construct(cache=False, redis_url=SecretStr("off"))
        gateway = stack.enter_context(plugin(settings))
        loopback = Loopback(gateway, stack.enter_context(event_loop()), free, full, session)
        return [_check(each, loopback) for each in TRIED]


def _check(tried: Tried, loopback: Loopback) -> Check:
    begun = time.monotonic()
    try:
        tried.run(loopback)
    except Skipped as reason:
        return Check(name=tried.name, outcome=Outcome.SKIPPED, words=str(reason))
    except OwnSession as found:
        return Check(name=tried.name, outcome=Outcome.FAIL, words=str(found), hint=found.hint)
    except Exception as error:  # noqa: BLE001  whatever litellm raises: it is the finding
        words = f"{tried.bad}: {words_of(error)}"
        return Check(name=tried.name, outcome=Outcome.FAIL, words=shorten(words), hint=tried.hint)
    return Check(name=tried.name, outcome=Outcome.PASS, words=tried.good, seconds=time.monotonic() - begun)


def _own_session() -> bool:
    """Whether the program has HTTP clients of its own for litellm; those of an installed plugin are not asked about."""
    import litellm

    from ..installation import current

    own = (litellm.client_session, litellm.aclient_session)
    return current() is None and any(each is not None for each in own)
