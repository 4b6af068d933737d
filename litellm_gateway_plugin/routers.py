"""What a call has to do with a litellm Router: whose attempt it is, which deployments it had to choose from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import litellm

CALLBACK_LISTS = ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback")
"""Where every Router puts methods of its own."""

METADATA = ("metadata", "litellm_metadata")
"""Where a Router leaves its note: the second for the bridged surfaces, whose callers own the first."""


@dataclass(frozen=True, slots=True)
class RouterCall:
    """One attempt of a Router's.

    Attributes:
        group: the model group that was asked for; an alias, a name that a wildcard serves, or a deployment's own id.
        deployment: the id of the deployment that was chosen.
        team: the team of the proxy's caller; some groups are one team's alone.
        name: of the deployment's model, as the Router noted it.
        is_last: whether the Router has no attempt left after this one.
    """

    group: str
    deployment: str
    team: str | None = None
    name: str = field(default="", compare=False)
    is_last: bool = field(default=False, compare=False)


def router_call(params: Mapping[str, Any]) -> RouterCall | None:
    """Whether a call is a Router's attempt.

    Args:
        params: the litellm params of the call, as in `logging_obj.litellm_params`.
    """
    for name in METADATA:
        note = params.get(name) or {}
        group = note.get("model_group") if isinstance(note, Mapping) else None
        deployment = _id(note) or _id(params)
        if isinstance(group, str) and deployment is not None:
            name, is_last = str(note.get("deployment") or ""), _is_last(note)
            return RouterCall(group, deployment, note.get("user_api_key_team_id"), name, is_last)
    return None


def group_params(call: RouterCall) -> tuple[Mapping[str, Any], ...]:
    """The litellm params of every deployment among which the Router chooses; () when no Router knows the deployment.

    The dictionaries are the Router's own: they are to be read only. They are looked up anew each time, which takes
    less than 10 µs, because a Router's deployments may change at any time.
    """
    for router in _routers():
        chosen = _deployment(router, call.deployment)
        if chosen is not None:
            group = _group(router, call)
            listed = any(_id(member) == call.deployment for member in group)
            return tuple(member["litellm_params"] for member in (group if listed else (chosen,)))
    return ()


def group_of(router: Any, group: str, asked: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The deployments of a group, those that are cooling down too; to be read only.

    Args:
        router: the Router.
        group: the model group.
        asked: the call's arguments, as the Router knows them.
    """
    notes = [asked.get(name) or {} for name in METADATA]
    team = next((note["user_api_key_team_id"] for note in notes if note.get("user_api_key_team_id")), None)
    return _group(router, RouterCall(group, "", team))


def deployments_named(group: str, team: str | None = None) -> list[Mapping[str, Any]]:
    """Every deployment that a Router would choose from for a name; to be read only.

    Args:
        group: the name that is asked for.
        team: of the proxy's caller.
    """
    return [each for router in _routers() for each in _group(router, RouterCall(group, "", team))]


def router_of(deployment: str) -> Any:
    """The Router that has a deployment, to be read only; None when no Router knows it."""
    return next((router for router in _routers() if _deployment(router, deployment) is not None), None)


def deployment_in(router: Any, deployment: str) -> Mapping[str, Any] | None:
    """A deployment as a Router holds it; None when it has none of that id."""
    return _deployment(router, deployment)


def discard_watch(router: Any) -> Callable[[], bool]:
    """Whether a Router was discarded since, to be asked later.

    Discarding takes its methods out of all of litellm's callback lists; a program that puts lists of its own there
    replaces two of them. A Router that found no place in them is never known to be discarded.
    """
    ours = {id(router), id(getattr(router, "_core", router))}

    def is_listed() -> bool:
        entries = chain.from_iterable(getattr(litellm, name, None) or () for name in CALLBACK_LISTS)
        return any(id(getattr(each, "__self__", None)) in ours for each in entries)

    was_listed = is_listed()
    return lambda: was_listed and not is_listed()


def deployment_of(deployment: str) -> Mapping[str, Any] | None:
    """A deployment as its Router holds it; None when no Router that is in use has it."""
    found = (_deployment(router, deployment) for router in _routers())
    return next((each for each in found if each is not None), None)


def leave_uncooled(logging_obj: Any) -> None:
    """Make the Router leave the deployment in its choice after the error that is about to be raised.

    What is set belongs to this call; the deployment's own settings stay as they are.
    """
    params = (getattr(logging_obj, "model_call_details", None) or {}).get("litellm_params")
    if not isinstance(params, dict):
        return
    params["cooldown_time"] = 0
    info = params.get("model_info")
    if isinstance(info, dict) and info.get("cooldown_time") is not None:
        params["model_info"] = {**info, "cooldown_time": 0}  # newer litellm looks here first


def _is_last(note: Mapping[str, Any]) -> bool:
    done, most = note.get("attempted_retries"), note.get("max_retries")
    return not (isinstance(done, int) and isinstance(most, int) and done < most)


def setting_of(router: Any, name: str) -> Any:
    """`fallbacks` or `routing_strategy` of a Router; newer ones deprecate the attributes and answer in `settings()`."""
    return getattr(router.settings() if hasattr(router, "registry") else router, name, None)


def has_fallback(router: Any, group: str) -> bool:
    """Whether a Router has another group to go to when this one fails."""
    entries = [each for each in setting_of(router, "fallbacks") or () if isinstance(each, Mapping)]
    return any(each.get(group) or each.get("*") for each in entries)


def _id(holder: Any) -> str | None:
    info = holder.get("model_info") if isinstance(holder, Mapping) else None
    found = info.get("id") if isinstance(info, Mapping) else None
    return None if found is None else str(found)


def _routers() -> Iterator[Any]:
    """The Routers of this process, the newest first: each has put methods of its own into litellm's callback lists.

    The LiteLLM proxy's is found also where somebody has replaced those lists: clients must never get past it.
    """
    seen: set[int] = set()
    callbacks = chain(reversed(litellm.failure_callback or ()), reversed(litellm.success_callback or ()))
    proxys = getattr(sys.modules.get("litellm.proxy.proxy_server"), "llm_router", None)
    for owner in chain((getattr(callback, "__self__", None) for callback in callbacks), (proxys,)):
        if isinstance(owner, litellm.Router) and id(owner) not in seen:
            seen.add(id(owner))
            yield owner


def _registry(router: Any) -> Any:
    """What newer Routers are asked through; the methods used without it are deprecated there."""
    return router.registry() if hasattr(router, "registry") else None


def _deployment(router: Any, deployment: str) -> Mapping[str, Any] | None:
    registry = _registry(router)
    found: Mapping[str, Any] | None = (
        router.get_model_info(deployment) if registry is None else registry.deployment_dict(deployment)
    )
    return found


def _group(router: Any, call: RouterCall) -> Sequence[Mapping[str, Any]]:
    registry = _registry(router)
    ask = router.get_model_list if registry is None else registry.deployments
    return ask(model_name=call.group, team_id=call.team) or ()
