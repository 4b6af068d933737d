"""Whether a request is accepted, and what it is told when it is not. Pure: no clock, no socket.

The order of the checks is the table at the end; each check answers with a judgement, or with None to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .answers import Answer, json_answer, redirect
from .manners import PUBLIC, Manners
from .request import GET_SURFACES, Place, Request
from .shapes import MISSING_ROUTES, REFUSALS, UNKNOWN_MODELS, look_up

if TYPE_CHECKING:
    from .credentials import Credential

Verdict = Literal["served", "refused", "no route", "no model", "full", "fault", "page"]


@dataclass(frozen=True, slots=True)
class Case:
    """A request with all that was found out about it."""

    request: Request
    place: Place
    credentials: list[Credential]
    manners: Manners


@dataclass(frozen=True, slots=True)
class Judgement:
    """A request that is not accepted: why, and the answer."""

    verdict: Verdict
    answer: Answer


Check = Callable[[Case], "Judgement | None"]


def page(case: Case) -> Judgement | None:
    """A public page of its own."""
    found = case.manners.pages.get(case.request.path)
    if found is None:
        return None
    return Judgement("page", found if isinstance(found, Answer) else json_answer(200, found))


def route(case: Case) -> Judgement | None:
    """Is there anything at this path?"""
    manners, place = case.manners, case.place
    if place.base not in manners.bases_for(place.surface):
        return Judgement("no route", look_up(MISSING_ROUTES, manners.missing_route))
    path, query = case.request.path, "?" + case.request.query if case.request.query else ""
    if place.slash and manners.trailing_slash == "redirect":
        return Judgement("no route", redirect(307, path[:-1] + query))
    if not place.slash and manners.trailing_slash == "required":
        return Judgement("no route", redirect(307, path + "/" + query))
    if place.slash and manners.trailing_slash == "missing":
        return Judgement("no route", look_up(MISSING_ROUTES, manners.missing_route))
    return _method(case)


def _method(case: Case) -> Judgement | None:
    reads = case.request.method in ("GET", "HEAD")
    allowed = reads if case.place.surface in GET_SURFACES else not reads or case.place.surface == "files"
    if allowed:
        return None
    return Judgement("no route", json_answer(405, {"detail": "Method Not Allowed"}))


def credential(case: Case) -> Judgement | None:
    """Is the credential one that this surface takes?"""
    manners = case.manners
    reason = refusal_reason(case.credentials, manners.styles_for(case.place.surface), manners)
    if reason is None:
        return None
    if reason == "extra" and manners.extra_credential_refused is not None:
        return Judgement("refused", look_up(REFUSALS, manners.extra_credential_refused))
    return Judgement("refused", look_up(REFUSALS, manners.refusals.get(reason, manners.refusal)))


def refusal_reason(credentials: list[Credential], styles: tuple[str, ...], manners: Manners) -> str | None:
    """Why these credentials are refused: `missing`, `malformed`, `wrong-key`, `extra`; None when they are accepted."""
    if manners.key is None:
        return None
    taken = [found for found in credentials if found.style in styles]
    authorization = [found for found in credentials if found.header == "authorization"]
    if PUBLIC in styles:
        bad = manners.public_checks_authorization and any(not (f.right and f in taken) for f in authorization)
        return "wrong-key" if bad else None
    if len(credentials) > 1 and manners.extra_credential_refused is not None:
        return "extra"
    if manners.authorization_wins and authorization and ("bearer" in styles or "raw" in styles):
        taken = [found for found in taken if found in authorization]
        if not taken:
            return "malformed"
    if not taken:
        return "missing"
    return None if any(found.right for found in taken) else "wrong-key"


def model(case: Case) -> Judgement | None:
    """Is the model one that it serves?"""
    asked = case.place.item if case.place.surface == "models" else case.request.model
    missing = not asked and (case.place.surface in ("models", "files") or case.manners.upstream is not None)
    if missing or case.manners.serves(asked) or case.place.surface == "files":
        return None
    return Judgement("no model", look_up(UNKNOWN_MODELS, case.manners.unknown_model))


CHECKS: Mapping[str, tuple[Check, ...]] = {
    "auth-first": (page, credential, route, model),
    "route-first": (page, route, credential, model),
}


def judge(case: Case) -> Judgement | None:
    """The first check that the request fails, with the answer filled in; None when it is accepted."""
    for check in CHECKS[case.manners.checks]:
        found = check(case)
        if found is not None:
            asked, request = case.place.item or case.request.model, case.request
            answer = found.answer.filled(model=asked, path=request.path, query=request.query)
            return Judgement(found.verdict, answer)
    return None
