"""The gate and the stock Router: a group's next attempt goes where there is room, and waits where there is none.

An asynchronous Router asks the callback which deployments are to be left out (`choose`). A synchronous one asks nobody:
there the attempt that would have to wait is refused at once while another gateway of the group is open (`elsewhere`),
and the Router goes on to that one. A refused deployment cools down in the Router for the time of our hint. It must not
when nothing else is open, or the Router would fail calls that the gate would serve in time (`settle_cooldown`).
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .admission import Reserved, place_for, reserved
from .bodies import CHAT
from .doors import PROVIDER, door_for
from .errors import InvalidInput
from .gate import Place, Ticket
from .handle import Gateway, time_limits
from .routers import (
    deployment_of,
    group_of,
    group_params,
    has_fallback,
    leave_uncooled,
    router_call,
    router_of,
    setting_of,
)

TAKE_S = 5.0
"""Seconds for which room is kept for a call that the Router is about to make."""
SHUFFLE = "simple-shuffle"
WEIGHTS = ("weight", "rpm", "tpm")
ROUTERS_OWN_RETRIES = 2
"""What the stock Router does when nobody has told it otherwise (the OpenAI client's default)."""

Deployment = Mapping[str, Any]


def place_of(gateway: Gateway, params: Mapping[str, Any]) -> Place | None:
    """Where a deployment's requests go, None when they do not pass the gate.

    Args:
        gateway: the installation.
        params: the deployment's litellm params.
    """
    model, provider = str(params.get("model") or ""), params.get("custom_llm_provider")
    base = params.get("api_base") or params.get("base_url")
    door = door_for(gateway, model, provider, base, gateway.names)
    if door is None:
        return None
    wanted = model.removeprefix(door.prefix or f"{PROVIDER}/")
    headers = params.get("extra_headers") or params.get("headers") or {}
    try:
        ask, _ = gateway.ask(surface=CHAT, model=wanted, api_base=base, api_key=params.get("api_key"), headers=headers)
    except InvalidInput:
        return None  # the attempt itself will say what is wrong
    return place_for(ask, gateway.memory.served_id(ask) or ask.model)


async def choose(
    gateway: Gateway, group: str, deployments: Sequence[Deployment], asked: Mapping[str, Any]
) -> Sequence[Deployment]:
    """The deployments among which the Router may choose now: those of one upstream that has room.

    Waits while none has, unless the group has fallbacks, and keeps the room for the attempt that follows. Of several
    upstreams with room it takes one as the Router's own shuffle would, by `order` and by weight; any other strategy,
    and a Router with checks of its own (affinity, budgets), chooses for itself among them.

    Args:
        gateway: the installation.
        group: the model group.
        deployments: what the Router would choose from.
        asked: the call's arguments, as the Router knows them.
    """
    router = router_of(_id(deployments[0]))
    siblings = group_of(router, group, asked) if router is not None else ()
    if gateway.gate is None or max(len(siblings), len(deployments)) < 2:
        return deployments
    candidates = _candidates(deployments, asked)
    await _prepare(gateway, candidates)
    if all(_wait(gateway, each) > 0 for each in candidates) and _is_plain_shuffle(router):
        candidates = [*candidates, *_cooling(gateway, _candidates(siblings, asked), deployments)]
    places = [place_of(gateway, each["litellm_params"]) for each in candidates]
    if len(set(places)) < 2:
        return deployments
    waits = dict(zip(places, _waits(gateway, places), strict=True))
    open_now = [each for each, place in zip(candidates, places, strict=True) if waits[place] == 0]
    if open_now and not _is_plain_shuffle(router):
        return open_now
    if not open_now and has_fallback(router, group):
        return deployments
    ranks = _ranks(candidates)
    ranked = [place for _, place in sorted(zip(ranks, places, strict=True), key=lambda pair: pair[0])]
    ranked.sort(key=lambda place: waits[place] > 0)
    ranked = [place for place in ranked if place is None or not _down_for(gateway, place)] or ranked
    chosen = (
        None if ranked[0] is None else await _reserve(gateway, ranked, _seconds(gateway, asked, candidates, router))
    )
    if ranked[0] is not None and chosen is None:
        return deployments
    return [each for each, place in zip(candidates, places, strict=True) if place == chosen]


def _cooling(gateway: Gateway, siblings: Sequence[Deployment], offered: Sequence[Deployment]) -> list[Deployment]:
    """Deployments of the group that the Router has left out because they are full: one of them may be free first."""
    known = {_id(each) for each in offered}
    left_out = [each for each in siblings if _id(each) not in known]
    return [each for each in left_out if _is_full(gateway, place_of(gateway, each["litellm_params"]))]


def _is_full(gateway: Gateway, place: Place | None) -> bool:
    return place is not None and gateway.gate is not None and gateway.gate.is_paused(place)


def _wait(gateway: Gateway, deployment: Deployment) -> float:
    return _waits(gateway, [place_of(gateway, deployment["litellm_params"])])[0]


def _id(deployment: Mapping[str, Any]) -> str:
    return str((deployment.get("model_info") or {}).get("id"))


async def _prepare(gateway: Gateway, deployments: Sequence[Deployment]) -> None:
    """Have what is needed to tell where deployments without a base send their requests."""
    for params in (each["litellm_params"] for each in deployments):
        if not (params.get("api_base") or params.get("base_url")):
            await gateway.prepare(str(params.get("model") or "").removeprefix(f"{PROVIDER}/"))


def elsewhere(gateway: Gateway, params: Mapping[str, Any]) -> Callable[[], bool] | None:
    """Whether a Router would do better with its next attempt; None for a call without one.

    Args:
        gateway: the installation.
        params: the litellm params of the call.
    """
    call = router_call(params)
    if call is None or gateway.gate is None:
        return None
    return lambda: (
        has_fallback(router_of(call.deployment), call.group)
        or (not call.is_last and _another_is_open(gateway, params))
        or _another_is_open(gateway, params, after=_order_of(call.deployment))
    )


def settle_cooldown(gateway: Gateway, logging_obj: Any, error: Any) -> None:
    """Before an error about a full gateway reaches the Router.

    Args:
        gateway: the installation.
        logging_obj: litellm's, of the failed call.
        error: the litellm exception; gets the retries that the operator wants.
    """
    params = getattr(logging_obj, "litellm_params", None) or {}
    call = router_call(params)
    if call is None:
        return
    if not _another_is_open(gateway, params):
        leave_uncooled(logging_obj)
    wanted, router = gateway.settings.max_retries, router_of(call.deployment)
    if wanted is not None and getattr(router, "num_retries", None) == ROUTERS_OWN_RETRIES:
        error.num_retries = wanted


def _order_of(deployment: str) -> float:
    """A deployment's `order`; the Router goes on to higher ones by itself, without any retry."""
    found = deployment_of(deployment)
    return _order(found) if found is not None else math.inf


def _another_is_open(gateway: Gateway, params: Mapping[str, Any], after: float = -math.inf) -> bool:
    """Whether another upstream of the group has room; with `after`, one to which the Router hops from that order."""
    call = router_call(params)
    members = group_params(call) if call else ()
    group = [each for each in members if after == -math.inf or after < _order({"litellm_params": each}) < math.inf]
    own = place_of(gateway, {**params, "model": call.name}) if call and group else None
    others = {place for place in (place_of(gateway, each) for each in group) if place != own}
    return any(wait == 0 for wait in _waits(gateway, list(others)))


def _waits(gateway: Gateway, places: Sequence[Place | None]) -> list[float]:
    """Seconds to wait for each; a deployment that does not pass the gate is always open.

    One to which nobody could connect a moment ago is not: an attempt there would fail, and end the call.
    """
    known = [place for place in places if place is not None]
    found = dict(zip(known, gateway.gate.wait_for(known), strict=True)) if gateway.gate is not None else {}
    return [0.0 if each is None else max(found.get(each, 0.0), _down_for(gateway, each)) for each in places]


def _down_for(gateway: Gateway, place: Place) -> float:
    return gateway.down_for(place.upstream[1])


def _candidates(deployments: Sequence[Deployment], asked: Mapping[str, Any]) -> list[Deployment]:
    """Without those that the Router is about to leave out by itself."""
    order, tried = asked.get("_target_order"), set(asked.get("_excluded_deployment_ids") or ())
    tried |= set(asked.get("_retry_skipped_deployment_ids") or ())
    kept = [each for each in deployments if order is None or each["litellm_params"].get("order") == order]
    return [each for each in kept if each.get("model_info", {}).get("id") not in tried] or kept or list(deployments)


def _is_plain_shuffle(router: Any) -> bool:
    """Whether nobody but the Router's shuffle has a say in which deployment is taken."""
    return (setting_of(router, "routing_strategy") or SHUFFLE) == SHUFFLE and not getattr(
        router, "optional_callbacks", None
    )


def _ranks(deployments: Sequence[Deployment]) -> list[tuple[float, float]]:
    """By `order`, then by chance with the weights that the Router's shuffle looks at: the first kind that any has."""
    kinds = ([_weight(each, kind) for each in deployments] for kind in WEIGHTS)
    weights = next((found for found in kinds if max(found) > 0), [1.0] * len(deployments))
    return [(_order(each), _draw(weight)) for each, weight in zip(deployments, weights, strict=True)]


def _weight(deployment: Deployment, kind: str) -> float:
    try:
        return max(0.0, float(deployment["litellm_params"].get(kind) or 0))
    except (TypeError, ValueError):
        return 0.0


def _order(deployment: Mapping[str, Any]) -> float:
    order = deployment["litellm_params"].get("order")
    return float(order) if isinstance(order, (int, float)) else float("inf")


def _draw(weight: float) -> float:
    """The smallest is the one drawn, each with its weight (Efraimidis and Spirakis, 2006); without one it is last."""
    return -(random.random() ** (1 / weight)) if weight > 0 else 1.0  # noqa: S311  no secret


def _seconds(
    gateway: Gateway, asked: Mapping[str, Any], deployments: Sequence[Deployment], router: Any
) -> float | None:
    """How long the call may wait: its own time-out, else a deployment's, else the Router's."""
    given = [asked.get("timeout"), *(each["litellm_params"].get("timeout") for each in deployments)]
    timeout = next((each for each in (*given, getattr(router, "timeout", None)) if each), None)
    seconds, _ = time_limits(timeout)
    longest = gateway.settings.max_wait_s
    return min((each for each in (seconds, longest) if each is not None), default=None)


async def _reserve(gateway: Gateway, ranked: Sequence[Place | None], seconds: float | None) -> Place | None:
    """Room for one request at the first of these places that has some; None when none has in time."""
    places = tuple(dict.fromkeys(place for place in ranked if place is not None))
    begun = time.monotonic()
    ticket = await _served(gateway, places, seconds)
    kept = Reserved(ticket.granted, time.monotonic() - begun, ticket.number)
    reserved.set(kept)
    asyncio.get_running_loop().call_later(TAKE_S, _give_up, kept)
    return None if ticket.granted is None else ticket.granted.place


async def _served(gateway: Gateway, places: tuple[Place, ...], seconds: float | None) -> Ticket:
    assert gateway.gate is not None  # noqa: S101  the caller has looked
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    expires_at = None if seconds is None else time.monotonic() + seconds
    ticket = Ticket(places, expires_at, lambda: _tell(loop, arrived))
    if not gateway.gate.ask(ticket):
        try:
            await asyncio.wait_for(arrived.wait(), seconds)
        except asyncio.TimeoutError:
            pass  # as if it had been sent away
        finally:
            gateway.gate.withdraw(ticket)
    return ticket


def _tell(loop: asyncio.AbstractEventLoop, arrived: asyncio.Event) -> None:
    """Wake a coroutine from any thread. Raises RuntimeError when its loop is closed."""
    loop.call_soon_threadsafe(arrived.set)


def _give_up(kept: Reserved) -> None:
    """The Router has made another call than it was about to, or none."""
    passed, kept.passed, kept.waited_s = kept.passed, None, 0.0
    if passed is not None:
        passed.leave()
