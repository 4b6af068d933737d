"""Which error a negotiation ends in, and its words. Pure: one sentence says what was tried, the next what to do.

No sentence here can hold a credential: styles by name, bases without user, password and query, and the gateway's own
words with every copy of the key taken out.
"""

from __future__ import annotations

import json
import string
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import quote

from .answers import Answer, looks_like_html, shorten
from .capacity import retry_after
from .catalogue import nearest_ids
from .credentials import NONE
from .errors import (
    Answered,
    BrokenAnswer,
    Forbidden,
    Full,
    GatewayError,
    KeyRefused,
    ModelUnknown,
    NotAGateway,
    RequestRejected,
    UpstreamFailed,
)
from .plan import Plan, Route
from .urls import origin_of
from .verdicts import Verdict

if TYPE_CHECKING:
    from .negotiation import Ask, Claim

PLAIN: dict[Verdict, tuple[type[Answered], str]] = {
    Verdict.FORBIDDEN: (Forbidden, "The gateway refuses this request"),
    Verdict.REJECTED: (RequestRejected, "The gateway rejects this request"),
    Verdict.FAILED: (UpstreamFailed, "The gateway failed"),
}
"""The errors that add nothing to what the gateway said, and how their sentence begins."""

HOW_FULL: dict[Verdict, str] = {Verdict.FULL: "is full", Verdict.SPENT: "has no quota left for this key"}
"""Both are a rate limit for the caller, as 429 is in litellm."""

PIECE = 9
"""Letters of a key that are taken out wherever they stand together: some gateways quote a part of it."""

LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
"""In contrast to `str.lower` it keeps the length of a text."""

URL_SAFE = str.maketrans("+/", "-_")
"""Base64 as URLs and tokens have it (RFC 4648, section 5)."""


class Facts(TypedDict):
    """The keyword arguments of `errors.Answered`."""

    api_base: str
    status: int
    headers: dict[str, str]
    body: str


def error_for(
    verdict: Verdict, ask: Ask, claim: Claim, answer: Answer, tried: Sequence[Route], refused: Sequence[str], now: float
) -> GatewayError:
    """The error for an answer that is surfaced.

    Args:
        verdict: any that no further attempt follows: not PROVEN, not BASE, not MODEL.
        tried: the routes of this call.
        refused: the styles that earlier calls saw refused.
        now: seconds since the epoch.
    """
    base = ask.base.form(claim.route.toggled)
    if verdict in HOW_FULL:
        return _full(ask, base, answer, now, HOW_FULL[verdict])
    if verdict is Verdict.STYLE:
        return _key_refused(ask, base, list(dict.fromkeys([*refused, *(route.style for route in tried)])), answer)
    if verdict is Verdict.BROKEN:
        message = f"The gateway at {base} answered {answer.status} without a result: {answer.mismatch}."
        return BrokenAnswer(message, api_base=base, status=answer.status)
    error, lead = PLAIN[verdict]
    return error(f"{lead} ({answer.status} from {base}): {_said(ask, answer)}", **facts(ask, base, answer))


def nothing_left(ask: Ask, plan: Plan) -> GatewayError:
    """Every admissible route was refused or does not exist."""
    if plan.refused_key is not None:
        (toggled, _), answer = next(reversed(plan.refusals.items()))
        return _key_refused(ask, ask.base.form(toggled), plan.tried_styles, answer)
    return _no_route(ask, plan)


def never_settled(ask: Ask, tried: Sequence[Route]) -> GatewayError:
    """The gateway answered differently each time, and the budget is spent."""
    return NotAGateway(
        f"The gateway at {ask.base} contradicts itself: {len(tried)} attempts, and no two answers agree. It was left.",
        api_base=str(ask.base),
        status=502,
    )


def model_unknown(ask: Ask, answer: Answer, ids: Sequence[str], *, listed: bool) -> ModelUnknown:
    """The gateway does not know the id. The nearest ids of its listing are named, and none of them is used."""
    said = _said(ask, answer)
    nearest = list(_harmless_ids(ask, nearest_ids(ask.model, ids)))
    first = list(islice(_harmless_ids(ask, ids), 3))
    if listed:
        advice = "It lists this id all the same: the model may be down for now."
    elif nearest:
        advice = f"Did you mean {' or '.join(map(repr, nearest))}? It lists {len(ids)} in all."
    elif first:
        advice = f"Nothing like it is listed; the first of {len(ids)} ids: {', '.join(map(repr, first))}."
    else:
        advice = "It has no listing to compare with: look the id up in its documentation."
    shown = shorten(ask.model, 200)
    message = f"The gateway at {ask.base} does not know the model {shown!r} ({answer.status}: {said}). {advice}"
    return ModelUnknown(message, **facts(ask, str(ask.base), answer))


def _harmless_ids(ask: Ask, ids: Iterable[str]) -> Iterator[str]:
    """Ids are the gateway's words too, and may quote the key."""
    return (each for each in ids if without_secrets(each, ask) == each)


def broke_off(ask: Ask, base: str, answer: Answer, *, full: bool, now: float) -> Answered:
    """The error for an error event in the middle of a stream, given as the answer that it should have been."""
    if full:
        message = f"The gateway at {base} became full in the middle of a stream: {_said(ask, answer)}"
        return Full(message, retry_after=retry_after(answer.headers, now, answer.text), **facts(ask, base, answer))
    return UpstreamFailed(
        f"The gateway at {base} broke the stream off: {_said(ask, answer)}", **facts(ask, base, answer)
    )


def _full(ask: Ask, base: str, answer: Answer, now: float, how: str) -> Full:
    wait = retry_after(answer.headers, now, answer.text)
    when = "" if wait is None else f" (it asks to wait {wait:g} s)"
    message = f"The gateway at {base} {how} ({answer.status}): {_said(ask, answer)}{when}"
    return Full(message, retry_after=wait, **facts(ask, base, answer))


def _key_refused(ask: Ask, base: str, styles: Sequence[str], answer: Answer) -> KeyRefused:
    said = _said(ask, answer)
    if ask.key is None:
        advice = "No API key was given: pass api_key=, or set LITELLM_GATEWAY_API_KEY beside LITELLM_GATEWAY_API_BASE."
    elif not ask.base.guarded:
        advice = "Over plain http to a public address a key is offered in one style only: use https."
    else:
        advice = "Check the key, and that it belongs to this gateway."
    tried = ", ".join(styles) or NONE
    what = "wants an API key" if ask.key is None else "refused the API key"
    message = f"The gateway at {base} {what} ({answer.status}: {said}). Styles tried: {tried}. {advice}"
    return KeyRefused(message, **facts(ask, base, answer))


def _no_route(ask: Ask, plan: Plan) -> NotAGateway:
    """Neither form of the base has this surface."""
    accounts = [f"{ask.base.form(form)}/{ask.surface} gave {_account(ask, a)}" for form, a in plan.missing.items()]
    message = (
        f"No OpenAI-compatible API for {ask.surface} was found at {ask.base}: {'; '.join(accounts)}. "
        "Check api_base: it is the part of the URL before /chat/completions."
    )
    first = next(iter(plan.missing.values()))
    return NotAGateway(message, api_base=str(ask.base), status=first.status)


def _account(ask: Ask, answer: Answer) -> str:
    if 300 <= answer.status < 400:
        target = origin_of(answer.headers.get("location", "")) or "another page"
        return f"{answer.status}, a redirect to {target} (redirects to another origin are not followed)"
    if answer.status < 300:
        return f"{answer.status} with {answer.mismatch}"
    kind = "a web page" if looks_like_html(answer.headers, answer.text) else _said(ask, answer)
    return f"{answer.status} ({kind})"


def _said(ask: Ask, answer: Answer) -> str:
    """The gateway's own words, without the key, should it quote it."""
    words = replace(answer, text=without_secrets(answer.text, ask)).words
    return without_secrets(words, ask) or "no explanation"


def without_secrets(text: str, ask: Ask) -> str:
    """A text with every secret of the call taken out."""
    for secret in ask.secrets:
        text = without_key(text, secret)
    return without_pieces(text, ask.key)


def without_key(text: str, key: str | None) -> str:
    """A text with every copy of the key taken out, as it is or as JSON, URLs and base64 write it."""
    if key is None or len(key) <= 3:
        return text
    for copy in _spellings(key):
        text = text.replace(copy, "[key]")
    return text


def without_pieces(text: str, key: str | None) -> str:
    """A text with every piece of `PIECE` letters of the key taken out, in whatever spelling and case."""
    if key is None or len(key) < PIECE:
        return text
    spelt = [spelling.translate(LOWER) for spelling in _spellings(key)]
    pieces = {each[start : start + PIECE] for each in spelt for start in range(len(each) - PIECE + 1)}
    lowered, hidden = text.translate(LOWER), bytearray(len(text))
    for start in range(len(text) - PIECE + 1):
        if lowered[start : start + PIECE] in pieces:
            hidden[start : start + PIECE] = b"1" * PIECE
    runs = groupby(zip(text, hidden, strict=True), itemgetter(1))
    return "".join("[key]" if is_hidden else "".join(letter for letter, _ in run) for is_hidden, run in runs)


def _spellings(key: str) -> tuple[str, ...]:
    """A key as texts may write it: PHP escapes slashes, and base64 depends on how many bytes stand before."""
    raw = key.encode("utf-8", "replace")
    coded = [b64encode(bytes(before) + raw).decode()[cut:].rstrip("=") for before, cut in ((0, 0), (1, 2), (2, 3))]
    plain = (key, json.dumps(key)[1:-1], key.replace("/", "\\/"), quote(key, safe=""))
    return (*plain, *coded, *(each.translate(URL_SAFE) for each in coded))


def facts(ask: Ask, base: str, answer: Answer) -> Facts:
    """What every error about an answer carries, without the key, should the gateway quote it."""
    body = without_secrets(answer.text, ask)[:4000]
    return {"api_base": base, "status": answer.status, "headers": _harmless(answer, ask), "body": body}


def _harmless(answer: Answer, ask: Ask) -> dict[str, str]:
    return {
        name: value[:1000]
        for name, value in answer.headers.items()
        if name not in ("set-cookie", "cookie", "authorization") and without_secrets(value, ask) == value
    }
