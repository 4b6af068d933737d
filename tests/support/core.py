"""Drives the negotiation by hand: answers in, path out. No sockets, no clock but the one that a test holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from litellm_gateway_plugin import capacity
from litellm_gateway_plugin.answers import Answer
from litellm_gateway_plugin.catalogue import equal_id
from litellm_gateway_plugin.dialects import read_listing
from litellm_gateway_plugin.errors import GatewayError
from litellm_gateway_plugin.exchange import answer_of
from litellm_gateway_plugin.memory import Memory
from litellm_gateway_plugin.negotiation import Ask, Attempt, Flow, Policy, Served, Wait, negotiate
from litellm_gateway_plugin.plan import Route
from litellm_gateway_plugin.urls import parse_base

CHAT = "chat/completions"
KEY = "sk-a-key-of-32-letters-abcdefgh"
BASE = "https://llm.example.com/v1"
COMPLETION = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}

Path = list[tuple[str, bool]]
Script = Callable[[Attempt], Answer]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def policy(**changes: Any) -> Policy:
    """The built-in decisions."""
    kept: dict[str, Any] = {
        "is_capacity": capacity.is_capacity,
        "model_id": lambda base, model, listing: equal_id(model, listing),
        "read_listing": read_listing,
        "negotiated": lambda base, surface, route, tried: None,
        "now": lambda: 1_700_000_000.0,
    }
    return Policy(**{**kept, **changes})


def ask(base: str = BASE, surface: str = CHAT, key: str | None = KEY, model: str = "vendor/model", **more: Any) -> Ask:
    return Ask(parse_base(base), surface, key, model, **more)


def answer(status: int, body: Any = "", surface: str = CHAT, **headers: str) -> Answer:
    """An answer as the wire would give it; a body that is no text is JSON, and header names use underscores."""
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer_of(surface, status, named, text.encode())


def ok() -> Answer:
    return answer(200, COMPLETION)


def listing(*ids: str) -> Answer:
    return answer(200, {"object": "list", "data": [{"id": name} for name in ids]}, surface="models")


@dataclass
class Outcome:
    """How a call ended and which way it went."""

    path: Path = field(default_factory=list)
    listings: Path = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    waits: int = 0
    served: Served | None = None
    error: GatewayError | None = None

    @property
    def styles(self) -> list[str]:
        return [style for style, _ in self.path]


def drive(flow: Flow, script: Script, surface: str = CHAT) -> Outcome:
    """Answer every attempt from the script; a wait is over at once."""
    outcome = Outcome()
    reply: Answer | None = None
    try:
        while True:
            step = flow.send(reply)
            if isinstance(step, Wait):
                outcome.waits += 1
                reply = None
                continue
            note(outcome, step, surface)
            reply = script(step)
            step.head(reply.status)
    except StopIteration as stop:
        outcome.served = stop.value
    except GatewayError as error:
        outcome.error = error
    return outcome


def note(outcome: Outcome, attempt: Attempt, surface: str = CHAT) -> None:
    taken = outcome.path if attempt.surface == surface else outcome.listings
    taken.append((attempt.route.style, attempt.route.toggled))
    if attempt.surface == surface:
        outcome.models.append(attempt.model)


def call(
    script: Script, memory: Memory | None = None, wanted: Ask | None = None, rules: Policy | None = None
) -> Outcome:
    wanted = wanted or ask()
    flow = negotiate(wanted, memory if memory is not None else Memory(), rules or policy())
    return drive(flow, script, wanted.surface)


def scripted(*answers: Answer) -> Script:
    """These answers, in this order; one more attempt than answers is a mistake."""
    left = iter(answers)
    return lambda attempt: next(left)


def guarded(
    accepted: Mapping[bool, str | None], refusal: Answer, missing: Answer | None = None, success: Answer | None = None
) -> Script:
    """A gateway that takes one style on each form: guard first where a style is named, no route where it is None."""

    def reply(attempt: Attempt) -> Answer:
        wanted = accepted.get(attempt.route.toggled)
        if wanted is None:
            return missing or answer(404, {"detail": "Not Found"})
        return (success or ok()) if attempt.route.style == wanted else refusal

    return reply


def route(style: str, toggled: bool = False, slash: bool = False) -> Route:
    return Route(style, toggled, slash)
