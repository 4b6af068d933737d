"""What an answer means for the negotiation: one table, read from the top. Pure: standard library only.

A new manner of a gateway is a new row here (or a hook), never an `if` in a driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum

from .answers import Answer, error_fields, error_object, error_status
from .capacity import is_spent
from .credentials import hinted_styles

CapacityTest = Callable[[int, Mapping[str, str], str], bool]


class Verdict(Enum):
    """What to make of an answer."""

    PROVEN = "style and base are right"
    STYLE = "the credential style was refused"
    BASE = "no such route here"
    MODEL = "the model id is unknown"
    FORBIDDEN = "refused, and not because of the credential's style"
    FULL = "the gateway is full"
    SPENT = "as FULL, but a quota or a balance is used up"
    REJECTED = "the request itself is wrong"
    FAILED = "the gateway failed"
    BROKEN = "an answer of this API that cannot be used"


# Words for "there is no such model" beside the id itself (gateways.md collects the dialects).
MISSING = re.compile(
    r"not (?:be )?(?:found|exist|available|supported|a valid|recognized|recognised|loaded)|n[o']t exist|invalid model"
    r"|unknown model|no such model|unsupported model|no available channel|is not valid|no endpoints found"
    r"|unable to access model",
    re.IGNORECASE,
)
# ... and sentences that say it without the id (Fireworks, DeepSeek).
NO_MODEL = re.compile(r"model (?:not found|not exist|does not exist)\b", re.IGNORECASE)
MODEL_CODES = frozenset({"model_not_found", "model_not_available"})
# 401 and 403 that no other style would cure: a model, a format, a plan, a country.
NOT_THE_CREDENTIAL = re.compile(
    r"\bmodels?\b|\bthis format\b|unsupported format|\bplans?\b|\bquota\b|\bbilling\b|\bcredits?\b|\bbalance\b|\btier\b"
    r"|\bupgrade\b|\bpayment\b|\bregion\b|\bcountry\b|\bsubscription (?!key)|\bsuspended\b|\bmoderation\b"
    r"|\bcontent filter|\bguardrail|额度|余额",
    re.IGNORECASE,
)
# ... unless the words blame the key outright.
BLAMES_THE_KEY = re.compile(
    r"\b(?:invalid|missing|incorrect|malformed|no|expired|wrong|bad) (?:or \w+ )?(?:the )?"
    r"(?:api|auth\w*|access|subscription|bearer)[ _-]?(?:key|token|header)",
    re.IGNORECASE,
)
ABOUT_THE_KEY = re.compile(
    r"\b(?:api|access|auth\w*|subscription|secret)[ _-]?(?:key|token)\b|\bcredentials?\b|\bbearer\b"
    r"|\bauthenticat(?:ed|ion)\b|\bauthoriz(?:ed|ation)\b|\bunauthori[sz]ed\b|no_db_connection|\bauth_error\b",
    re.IGNORECASE,
)
KEY_PROBLEM = re.compile(
    r"\bmissing\b|\binvalid\b|\bmalformed\b|\brequired\b|\bnot valid\b|\bincorrect\b|\bexpired\b|\bno (?:api )?key\b"
    r"|not authenticated|no_db_connection|auth_error|unauthori[sz]ed|multiple|not (?:be )?provided",
    re.IGNORECASE,
)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
AWS_NO_ROUTE = "Missing Authentication Token"  # AWS API Gateway says this, with 403, of a route that does not exist


def about_model(answer: Answer, model: str) -> bool:
    """Whether an error is about the model id (the rule of gateways.md, which held on every server tried)."""
    fields = error_fields(answer.json)
    if not model:
        return False
    if fields.get("param") == "model" or _model_code(answer):
        return True
    if not answer.is_html and NO_MODEL.match(answer.words):
        return True
    return not answer.is_html and bool(MISSING.search(answer.words)) and _names(answer.words, model)


def _model_code(answer: Answer) -> bool:
    """Whether the code or the type of an error says that the model is unknown (new-api puts it under a 503)."""
    fields = error_fields(answer.json)
    return any(isinstance(value, str) and value in MODEL_CODES for value in (fields.get("code"), fields.get("type")))


def about_key(answer: Answer) -> bool:
    """Whether a 400 is really a refused credential (Google, and the LiteLLM proxy without a database).

    An error that names a parameter is about that one, and what it quotes are the caller's own words.
    """
    fields = error_fields(answer.json)
    if fields.get("param"):
        return False
    text = f"{QUOTED.sub(' ', answer.words)} {fields.get('code')} {fields.get('type')}"
    return bool(ABOUT_THE_KEY.search(text) and KEY_PROBLEM.search(text))


def _not_the_credential(answer: Answer, model: str) -> bool:
    words = answer.words
    if answer.is_html or BLAMES_THE_KEY.search(words) or hinted_styles(answer.headers, words):
        return False
    fields = error_fields(answer.json)
    said = f"{words} {fields.get('code')} {fields.get('type')}".replace("_", " ")
    return bool(NOT_THE_CREDENTIAL.search(said)) or (len(model) > 3 and _names(words, model))


def _names(words: str, model: str) -> bool:
    """Whether the words name this id, rather than a path or a longer word that it happens to be a part of."""
    return bool(re.search(rf"(?<![\w-]){re.escape(model)}(?![\w/-])", words, re.IGNORECASE))


Row = tuple[Callable[[Answer, str], bool], Verdict]

TABLE: tuple[Row, ...] = (
    (lambda a, m: a.fits, Verdict.PROVEN),
    (lambda a, m: a.status < 300 and a.ours, Verdict.BROKEN),
    (lambda a, m: a.status < 400, Verdict.BASE),
    (lambda a, m: a.status == 403 and a.words == AWS_NO_ROUTE, Verdict.BASE),
    (lambda a, m: a.status in (401, 403) and _not_the_credential(a, m), Verdict.FORBIDDEN),
    (lambda a, m: a.status in (401, 403), Verdict.STYLE),
    (lambda a, m: a.status in (400, 404, 422) and about_model(a, m), Verdict.MODEL),
    (lambda a, m: a.status == 503 and bool(m) and _model_code(a), Verdict.MODEL),
    (lambda a, m: a.status in (404, 405), Verdict.BASE),
    (lambda a, m: a.status == 400 and about_key(a), Verdict.STYLE),
    (lambda a, m: a.status < 500, Verdict.REJECTED),
    (lambda a, m: True, Verdict.FAILED),
)


def read_verdict(answer: Answer, model: str, is_capacity: CapacityTest) -> Verdict:
    """The first row of the table that holds, with capacity looked at before everything but success.

    Args:
        answer: what came back, `unwrapped`.
        model: the id that was sent, "" when the surface has none.
        is_capacity: the capacity decision, a hook's or `capacity.is_capacity`.
    """
    unknown_model = bool(model) and answer.status == 503 and _model_code(answer)
    full = not answer.fits and answer.status >= 400 and is_capacity(answer.status, answer.headers, answer.text)
    if full and not unknown_model:
        return Verdict.SPENT if is_spent(answer.headers, answer.text) else Verdict.FULL
    return next(verdict for holds, verdict in TABLE if holds(answer, model))


def unwrapped(answer: Answer) -> Answer:
    """An error object under a 2xx counts as the status that it names, and else as a failure of the gateway."""
    if answer.fits or answer.status >= 300:
        return answer
    body = answer.json
    return replace(answer, status=error_status(body) or 500, mismatch="") if error_object(body) else answer
