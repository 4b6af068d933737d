"""What the doctor's tests share: a gateway as a target, and what the gateway itself saw of an examination."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from litellm_gateway_plugin.doctor.matrix import announce, examine
from litellm_gateway_plugin.doctor.report import Cell, Diagnosis, Outcome
from litellm_gateway_plugin.doctor.targets import Examined, Models, Target
from litellm_gateway_plugin.testing import PickyGateway
from litellm_gateway_plugin.urls import parse_base

NO_ENVIRONMENT: Mapping[str, str] = {}
TIMEOUT = 20.0
Seen = dict[tuple[str, str], list[str]]


def target_of(base: str, key: str | None = "test-key-of-the-doctor", *, text: str = "", **more: Any) -> Target:
    """A base as a target, its key in the variable NAME_OF_KEY."""
    known = {"key_name": None if key is None else "NAME_OF_KEY", "models": Models(text=text), **more}
    return Target(str(parse_base(base)), parse_base(base), key, **known)


def at(gateway: PickyGateway, prefix: str | None = None, **more: Any) -> Target:
    """A running gateway as a target, with its right key unless another is given."""
    return target_of(gateway.base(prefix), more.pop("key", gateway.manners.key), **more)


def examined(target: Target, *, every: bool = False, **more: Any) -> Examined:
    """One target, examined; the announced number is kept, or the test fails."""
    options = {"timeout": TIMEOUT, "environment": NO_ENVIRONMENT, **more}
    (found,) = examine([target], every=every, **options)
    return found


def looked_at(gateway: PickyGateway, target: Target | None = None, *, every: bool = False, **more: Any) -> Examined:
    """A gateway, examined; it must not have seen more than was announced."""
    target = target or at(gateway)
    found = examined(target, every=every, **more)
    announced = announce([target], every=every)
    assert len(gateway.seen) <= announced.requests
    assert len([seen for seen in gateway.seen if seen.surface == "chat" and seen.status != 307]) <= announced.chat_calls
    return found


def styles_seen(gateway: PickyGateway) -> Seen:
    """The styles of the requests that a gateway saw, by surface and base; in an order of their own."""
    found: Seen = defaultdict(list)
    for seen in gateway.seen:
        found[seen.surface, seen.base].append(seen.style)
    return {place: sorted(styles) for place, styles in found.items()}


def cell(found: Examined, style: str, surface: str = "chat/completions", *, toggled: bool = False) -> Cell:
    """The one cell of a style."""
    place = (surface, style, toggled)
    (one,) = [each for each in found.cells if (each.surface, each.style, each.toggled) == place]
    return one


def outcomes(found: Examined, surface: str = "chat/completions") -> dict[str, str]:
    """The outcome and the verdict by style, on the given form; skipped cells have no verdict."""
    return {
        each.style: each.verdict or each.outcome.value
        for each in found.cells
        if each.surface == surface and not each.toggled
    }


def codes(diagnoses: Sequence[Diagnosis], *, serious: bool | None = None) -> list[str]:
    """The codes of diagnoses, of the serious ones or of the others when that is said."""
    return [each.code for each in diagnoses if serious is None or each.serious is serious]


def skipped(found: Examined) -> list[Cell]:
    """The cells for which nothing was sent."""
    return [each for each in found.cells if each.outcome is Outcome.SKIPPED]
