"""`auto_router_from_env`: a stock litellm Router over every base in the environment, ranked, and kept ranked.

One group holds all candidates. The Router takes the one with the lowest `order` that is not cooling down, and goes on
to the next for the same call when one fails. While the Router lives, a daemon thread looks again at an interval and
changes the `order` of the Router's own deployments.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import litellm

from . import installation
from .candidates import KINDS, wanted
from .catalogue import Model
from .choosing import PROBE_S, RETRIES_WHEN_FULL, Choice, Plan
from .cost_map import entry_of
from .credentials import clean_key
from .doors import PROVIDER
from .errors import GatewayError, InvalidInput
from .forking import renew_after_fork
from .litellm_errors import to_litellm
from .ranking import Candidate, why
from .routers import deployment_in, discard_watch
from .settings import GatewayBase, load_settings
from .survey import Survey, labelled

logger = logging.getLogger("litellm_gateway_plugin")


def auto_router_from_env(
    kind: str = "text",
    require_json: bool = False,
    require_tools: bool = False,
    max_bases: int = 5,
    max_candidates_per_base: int = 2,
    *,
    model_name: str | None = None,
    probe_timeout_s: float = PROBE_S,
    refresh_s: float | None = None,
    **router_options: Any,
) -> litellm.Router:
    """A stock `litellm.Router` over every gateway in the environment, the best candidate first, the rest its fallbacks.

    The gateways are `LITELLM_GATEWAY_API_BASE` (or `CHUTES_API_BASE`) and the numbered ones, gaps allowed; without any,
    those of `install()`. They are asked side by side for their listings and for how busy they are; a dead one is
    skipped with a warning. `LITELLM_GATEWAY_TEXT_MODEL`, `…_VLM_MODEL`, `…_TOOLS_MODEL` (or `CHUTES_…`), and the same
    with a base's number, name models that are preferred.

    Args:
        kind: "text", "vlm" (the model sees pictures), or "tools".
        require_json: whether the model has to be able to answer in JSON.
        require_tools: whether it has to be able to call tools.
        max_bases: of so many gateways, at most.
        max_candidates_per_base: so many models of each, at most.
        model_name: the Router's model group; by default the kind: `router.completion(model="text", …)`.
        probe_timeout_s: seconds for the look at all gateways together.
        refresh_s: seconds between two looks while the Router lives, 0 for none; by default `rank_refresh_s`.
        **router_options: further arguments of `litellm.Router`.

    Raises:
        litellm.BadRequestError: no gateway is configured, none can be used, or none lists a model that can do this.
    """
    choice = _choice(kind, require_json, require_tools, max_bases, max_candidates_per_base)
    with _LitellmErrors():
        survey = choice.survey(probe_timeout_s, anew=True)
        plan = choice.plan(survey.wait())
    return _router(choice, plan, model_name or kind, refresh_s, probe_timeout_s, router_options)


async def aauto_router_from_env(
    kind: str = "text",
    require_json: bool = False,
    require_tools: bool = False,
    max_bases: int = 5,
    max_candidates_per_base: int = 2,
    *,
    model_name: str | None = None,
    probe_timeout_s: float = PROBE_S,
    refresh_s: float | None = None,
    **router_options: Any,
) -> litellm.Router:
    """The same from a coroutine: the event loop goes on while the gateways are asked."""
    choice = _choice(kind, require_json, require_tools, max_bases, max_candidates_per_base)
    with _LitellmErrors():
        survey = choice.survey(probe_timeout_s, anew=True)
        plan = choice.plan(await survey.await_())
    return _router(choice, plan, model_name or kind, refresh_s, probe_timeout_s, router_options)


def auto_model_list_from_env(
    kind: str = "text",
    require_json: bool = False,
    require_tools: bool = False,
    max_bases: int = 5,
    max_candidates_per_base: int = 2,
    *,
    model_name: str | None = None,
    probe_timeout_s: float = PROBE_S,
) -> list[dict[str, Any]]:
    """The `model_list` of such a Router, for those who make the Router themselves; its ranks stay as they are.

    A key that comes from the environment is written as `os.environ/NAME`, which litellm looks up.

    Raises:
        litellm.BadRequestError: as `auto_router_from_env`.
    """
    choice = _choice(kind, require_json, require_tools, max_bases, max_candidates_per_base)
    with _LitellmErrors():
        plan = choice.plan(choice.survey(probe_timeout_s, anew=True).wait())
    return model_list(plan, model_name or kind)


async def aauto_model_list_from_env(
    kind: str = "text",
    require_json: bool = False,
    require_tools: bool = False,
    max_bases: int = 5,
    max_candidates_per_base: int = 2,
    *,
    model_name: str | None = None,
    probe_timeout_s: float = PROBE_S,
) -> list[dict[str, Any]]:
    """The same from a coroutine."""
    choice = _choice(kind, require_json, require_tools, max_bases, max_candidates_per_base)
    with _LitellmErrors():
        plan = choice.plan(await choice.survey(probe_timeout_s, anew=True).await_())
    return model_list(plan, model_name or kind)


class RankKeeper:
    """Keeps a living Router's deployments in the order that holds now, from a thread of its own.

    It ends with `uninstall()`, with the Router, and when the Router is discarded.

    Args:
        choice: what the Router was made for.
        plan: what it was made of.
        router: held weakly.
        interval: seconds between two looks.
        seconds: for each look.
    """

    def __init__(self, choice: Choice, plan: Plan, router: litellm.Router, interval: float, seconds: float) -> None:
        self._choice = replace(choice, bases={each.base: choice.bases[each.base] for each in plan.ranked})
        self._ids = plan.ids
        self._ranked = list(plan.ranked)
        self._interval = interval
        self._seconds = seconds
        self._stopped = threading.Event()
        self._router = weakref.ref(router, lambda _: self.stop())
        self._was_discarded = discard_watch(router)
        installation.stop_with_it(self)
        renew_after_fork(self)
        self._start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def after_fork(self) -> None:
        """In the child: the thread is the parent's, and so is whoever waits for the event."""
        was_stopped, self._stopped = self._stopped.is_set(), threading.Event()
        if was_stopped:
            self.stop()
        else:
            self._start()

    def _start(self) -> None:
        threading.Thread(target=self._run, name="litellm-gateway-ranks", daemon=True).start()

    def _run(self) -> None:
        stopped = self._stopped
        while not stopped.wait(self._interval) and not self._was_discarded():
            try:
                self.look()
            except Exception:  # the next look may go better, and calls go on with the order that they have
                logger.warning("The ranks of a Router could not be refreshed", exc_info=True)

    def look(self) -> None:
        """Ask every base again, and change the order where that is due."""
        installed, router = installation.current(), self._router()
        if installed is None or router is None:
            return
        choice = replace(self._choice, gateway=installed.gateway)
        findings = Survey(choice.gateway, choice.bases, self._seconds, anew=False).wait()
        before, self._ranked = self._ranked, choice.again(findings, self._ranked)
        if [each.name for each in before] == [each.name for each in self._ranked]:
            return
        for order, candidate in enumerate(self._ranked, start=1):
            deployment = deployment_in(router, self._ids[candidate.name])
            if deployment is not None:
                deployment["litellm_params"]["order"] = order
        words = (f"{each.model} at {each.base} ({why(each)})" for each in self._ranked)
        logger.info("The order of gateways is now: %s", "; ".join(words))


def _router(
    choice: Choice, plan: Plan, group: str, refresh_s: float | None, seconds: float, options: Mapping[str, Any]
) -> litellm.Router:
    settings = choice.gateway.settings
    full = settings.max_retries if settings.max_retries is not None else RETRIES_WHEN_FULL
    given = {"num_retries": 0, "retry_policy": {"RateLimitErrorRetries": full}, **options}
    router = litellm.Router(model_list=model_list(plan, group), **given)
    interval = settings.rank_refresh_s if refresh_s is None else refresh_s
    if interval > 0 and len(plan.ranked) > 1:
        RankKeeper(choice, plan, router, interval, seconds)
    return router


def model_list(plan: Plan, group: str) -> list[dict[str, Any]]:
    """The Router's deployments, in their order."""
    return [_deployment(plan, group, order, each) for order, each in enumerate(plan.ranked, start=1)]


def _deployment(plan: Plan, group: str, order: int, candidate: Candidate) -> dict[str, Any]:
    found = plan.findings[candidate.base]
    key = _key_reference(found.base)
    params = {"model": f"{PROVIDER}/{candidate.model}", "api_base": found.base.api_base, "order": order}
    model = found.listing.get(candidate.model) if found.listing is not None else None
    info = _facts(model) if model is not None else {}
    return {
        "model_name": group,
        "litellm_params": {**params, "api_key": key} if key else params,
        "model_info": {**info, "id": plan.ids[candidate.name], "gateway": candidate.base},
    }


def _choice(kind: str, require_json: bool, require_tools: bool, max_bases: int, per_base: int) -> Choice:
    with _LitellmErrors():
        if kind not in KINDS:
            raise InvalidInput(f"kind={kind!r} does not exist: it is one of {', '.join(map(repr, KINDS))}.")
        if max_bases < 1 or per_base < 1:
            raise InvalidInput("max_bases and max_candidates_per_base must be 1 at least.")
        gateway = installation.install()
        settings = load_settings()
        settings = settings if settings.all_bases else gateway.settings
    asked = wanted(kind, require_json=require_json, require_tools=require_tools)
    preferred: str | None = getattr(settings, f"{kind}_model")
    return Choice(gateway, labelled(settings.all_bases), asked, preferred, max_bases, per_base)


def _key_reference(base: GatewayBase) -> str | None:
    """The key as litellm looks it up, so that the list can be shown; in the clear only when it came in code."""
    key = base.key
    if key is None or base.key_name is None or clean_key(os.environ.get(base.key_name)) != key:
        return key
    return f"os.environ/{base.key_name}"


def _facts(model: Model) -> dict[str, Any]:
    """What litellm is to know of this deployment: its price may differ from that of the same model elsewhere."""
    return {name: value for name, value in entry_of(model).items() if name != "litellm_provider"}


class _LitellmErrors:
    """Our errors leave this block as litellm's own."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, GatewayError):
            raise to_litellm(error, "", PROVIDER) from None
