"""Which model on which base answered, after which failed attempts: on responses, for loggers, and as headers.

- Names, numbers and our own words; never a credential.
- Nothing of the caller's is written to. The one exception is the note that a Router keeps of a call, which may be the
  caller's own metadata: there the trail of the failed attempts is kept until the call is served.
- The names of our headers are ours alone: what an upstream sends under them never stands among ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import quote, unquote

from .answers import shorten
from .errors import GatewayError, InvalidInput
from .exchange import Report
from .litellm_errors import HEADER_PREFIX, to_litellm
from .routers import METADATA
from .urls import parse_base, split_url

NAME = "gateway"
"""Where the report is: in `_hidden_params`, in a logger's keyword arguments, and in its metadata."""
ATTEMPTS = "gateway_attempts"
"""Where the failed attempts are: on an exception, and beside litellm's facts of a call."""
ATTEMPTS_HEADER = f"{HEADER_PREFIX}attempts"
READ_AS = f"llm_provider-{HEADER_PREFIX}"
"""What litellm makes of our headers when it takes them for the provider's."""

REASON_LIMIT = 200
HEADER_LIMIT = 1000
CHAIN_LIMIT = 10
IN_HEADER = re.compile(r"(?! )[ -$&-~]*(?<! )")
IN_LIST = re.compile(r"[!-$&-:<-~]*")
"""What stands in a header, and in its list of attempts, as it is; all else is percent-encoded."""
SAFE = "".join(map(chr, range(33, 127))).translate({ord("%"): None, ord(";"): None})
CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")

Attempts = list[dict[str, str]]
"""Failed attempts, the first one first: `api_base`, `model`, `error` (litellm's class) and `reason` (our words)."""

_NUMBERS = {"int": int, "float": float}
_FIELDS = {each.name: _NUMBERS.get(str(each.type), str) for each in fields(Report) if each.name != "failed"}


class Trail(dict[str, Any]):
    """The failed attempts of one litellm call, as they are kept: `{"trace_id": …, "attempts": […]}`.

    A class of its own, so that metadata which a caller of the LiteLLM proxy sends as JSON is never taken for it. It
    stays one object: a Router copies its note for each fallback group, and all copies share the trail.
    """


class Call:
    """Where one call's attempts and report are noted.

    Args:
        logging_obj: litellm's, of this attempt.
    """

    __slots__ = ("_holders", "_logging_obj", "_trace", "_trail")

    def __init__(self, logging_obj: Any) -> None:
        self._logging_obj = logging_obj
        self._trace = getattr(logging_obj, "litellm_trace_id", None)
        self._holders = _routers_notes(logging_obj) or [_details(logging_obj)]
        trails = (holder.get(ATTEMPTS) for holder in self._holders)
        # a caller may use one dictionary for many calls: a trail of another trace is another call's
        self._trail = next(
            (trail for trail in trails if isinstance(trail, Trail) and trail["trace_id"] == self._trace), None
        )

    @property
    def attempts(self) -> Attempts:
        """Those that failed before."""
        return [] if self._trail is None else list(self._trail["attempts"])

    def failed(self, attempts: Attempts) -> Attempts:
        """Keep these for the attempts that follow.

        Args:
            attempts: all that have failed so far.

        Returns:
            The list that is kept. What fails later is added to it: a Router whose fallbacks fail too raises the first
            attempt's exception.
        """
        if self._trail is None:
            self._trail = Trail(attempts=[])
        self._trail["trace_id"] = self._trace
        kept: Attempts = self._trail["attempts"]
        kept[:] = attempts
        for holder in self._holders:
            holder[ATTEMPTS] = self._trail
        return kept

    def served(self, report: dict[str, Any]) -> None:
        """Leave the report where litellm's loggers find it; the trail is at its end.

        It is then `kwargs["gateway"]` and `kwargs["litellm_params"]["metadata"]["gateway"]`, and in the standard
        payload `["metadata"]["spend_logs_metadata"]["gateway"]`, which is the one place there that keeps it whole.
        """
        if self._trail is not None:
            self._trail.update(trace_id="", attempts=[])
            for holder in self._holders:
                holder.pop(ATTEMPTS, None)
        details = _details(self._logging_obj)
        details[NAME] = report
        params = details.get("litellm_params")
        if not isinstance(params, dict):
            details["litellm_params"] = params = {}
        old = _dict(params.get("metadata"))
        spend = {**_dict(old.get("spend_logs_metadata")), NAME: report}
        params["metadata"] = {**old, NAME: report, "spend_logs_metadata": spend}
        if not params.get("api_base"):  # that of embeddings, and of a configured base, litellm does not note
            params["api_base"] = report["api_base"]


def attempts_of(error: GatewayError | None, *, api_base: str, model: str, provider: str) -> Attempts:
    """The failed attempts that end in an error: it, and those within the same call of ours that it was raised from.

    Args:
        error: the last one; None for no attempt.
        api_base: where it was sent.
        model: the id that was asked for.
        provider: the provider name that litellm is told.
    """
    return [
        {
            "api_base": max(api_base, each.api_base, key=len),  # an error of the network's knows the origin alone
            "model": model,
            "error": type(to_litellm(each, model, provider)).__name__,
            "reason": shorten(each.message, REASON_LIMIT),
        }
        for each in reversed(list(_chain(error)))
    ]


def put_on(made: Exception, attempts: Attempts) -> None:
    """Let a litellm exception tell the attempts: as `gateway_attempts`, and in its response's headers if it has one."""
    made.gateway_attempts = attempts  # type: ignore[attr-defined]  # ours
    headers = getattr(getattr(made, "response", None), "headers", None)
    if headers is not None:
        headers[ATTEMPTS_HEADER] = attempts_header(attempts)


def headers_of(report: Mapping[str, Any]) -> dict[str, str]:
    """A report as headers, `x-litellm-gateway-<field>`: printable ASCII, at most `HEADER_LIMIT` characters each.

    What is not printable ASCII is percent-encoded; the attempts are given without their reasons.
    """
    made = {
        HEADER_PREFIX + name.replace("_", "-"): _encoded(str(value), IN_HEADER)
        for name, value in report.items()
        if isinstance(value, (str, int, float))
    }
    attempts = report.get("attempts")
    if attempts:
        made[ATTEMPTS_HEADER] = attempts_header(attempts)
    return made


def attempts_header(attempts: Sequence[Mapping[str, str]]) -> str:
    """Attempts as "`<api_base> <model> <error>`; …", the first ones first; what does not fit is counted at the end."""
    parts: list[str] = []
    room = HEADER_LIMIT - len("; +999")
    for number, each in enumerate(attempts):
        part = " ".join(_encoded(each[name], IN_LIST) for name in ("api_base", "model", "error"))
        room -= len(part) + len("; ")
        if room < 0:
            return "; ".join([*parts, f"+{len(attempts) - number}"])
        parts.append(part)
    return "; ".join(parts)


def error_headers(error: GatewayError, request: Any, provider: str) -> dict[str, str]:
    """The attempt that an HTTP client of litellm's own has just failed at, as a header of its response.

    Args:
        error: ours.
        request: the client's request, read.
        provider: the provider name that litellm is told.
    """
    try:
        model = str(json.loads(request.content)["model"])
    except (ValueError, TypeError, KeyError):  # a form, or no body at all
        model = ""
    found = split_url(str(request.url))
    base = "" if found is None else str(found[0])
    return {ATTEMPTS_HEADER: attempts_header(attempts_of(error, api_base=base, model=model, provider=provider))}


def base_named(api_base: Any) -> str:
    """A base as it may be reported: without user, password and query; "" when there is none or it cannot be read."""
    try:
        return str(parse_base(api_base)) if isinstance(api_base, str) else ""
    except InvalidInput:
        return ""


def attribution(thing: Any) -> dict[str, Any] | None:
    """Which model on which base answered a litellm call, and which attempts of the same call failed before.

    Args:
        thing: what the caller holds: the response of `completion`, `embedding` or a Router, a stream or one of its
            chunks, or the exception that was raised instead.

    Returns:
        The report, a dictionary of names and numbers without any credential: `api_base`, `auth_style`, `surface`,
        `requested_model`, `served_model`, `requests`, `waited_s` (seconds), `transport`, and `attempts`, the list of
        the attempts that failed before, the first one first, each with `api_base`, `model`, `error` (the name of
        litellm's exception class) and `reason`. Of an exception only `attempts`, its own among them.
        None when the plugin had no part in it, and for a coroutine's stream that has not begun to arrive.

        A response of a sync `openai/…` call, which litellm makes from HTTP headers, tells the attempts without
        their `reason`.
    """
    if isinstance(thing, BaseException):
        attempts = _attempts_on(thing)
        return {"attempts": attempts} if attempts else None
    hidden = _member(thing, "_hidden_params")
    report = _member(hidden, NAME) or _details(getattr(thing, "logging_obj", None)).get(NAME)
    if isinstance(report, dict):
        return {**report, "attempts": list(report.get("attempts") or ())}
    headers = _member(hidden, "additional_headers")
    return _report_in(headers) if isinstance(headers, Mapping) else None


def _attempts_on(error: BaseException | None) -> Attempts | None:
    """Also through litellm's error about a stream that broke, and through an error raised from litellm's."""
    for _ in range(CHAIN_LIMIT):
        found = getattr(error, ATTEMPTS, None)
        if isinstance(found, list):
            return list(found)
        for headers in (getattr(getattr(error, "response", None), "headers", None), _told_by_client(error)):
            if isinstance(headers, Mapping) and ATTEMPTS_HEADER in headers:
                return _attempts_in(str(headers[ATTEMPTS_HEADER]))
        within = getattr(error, "original_exception", None)
        error = within if isinstance(within, BaseException) else getattr(error, "__cause__", None)
    return None


def _told_by_client(error: BaseException | None) -> Any:
    """Where litellm puts the headers of an answer that an HTTP client of its own has got."""
    return getattr(error, "litellm_response_headers", None)


def _report_in(headers: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report that has come as headers through an HTTP client of litellm's own."""
    given = {
        name.removeprefix(READ_AS).replace("-", "_"): str(value)
        for name, value in headers.items()
        if name.startswith(READ_AS)
    }
    found: dict[str, Any] = {name: _typed(name, given[name]) for name in _FIELDS if name in given}
    if not found:
        return None
    return {**found, "attempts": _attempts_in(given.get("attempts", ""))}


def _typed(name: str, text: str) -> Any:
    try:
        return _FIELDS[name](unquote(text))
    except ValueError:
        return text


def _attempts_in(text: str) -> Attempts:
    parts = (part.split(" ") for part in text.split("; "))
    return [
        dict(zip(("api_base", "model", "error"), map(unquote, part), strict=True)) for part in parts if len(part) == 3
    ]


def _encoded(text: str, plain: re.Pattern[str]) -> str:
    """Text as it can stand in a header: `unquote` gives it back, but for what is too long."""
    if len(text) <= HEADER_LIMIT and plain.fullmatch(text):
        return text
    return CUT_ESCAPE.sub("", quote(text[:HEADER_LIMIT], safe=SAFE, errors="replace")[:HEADER_LIMIT])


def _chain(error: BaseException | None) -> Iterator[GatewayError]:
    seen: set[int] = set()
    while isinstance(error, GatewayError) and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _routers_notes(logging_obj: Any) -> list[dict[str, Any]]:
    """What a Router notes of a call: one dictionary for the attempts at a group.

    Behind the proxy's bridged surfaces there are two: the first is a copy that ends with the attempt.
    """
    params = _dict(getattr(logging_obj, "litellm_params", None))
    notes: Iterable[Any] = (params.get(name) for name in METADATA)
    return [note for note in notes if isinstance(note, dict) and isinstance(note.get("model_group"), str)]


def _details(logging_obj: Any) -> dict[str, Any]:
    return _dict(getattr(logging_obj, "model_call_details", None))


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _member(thing: Any, name: str) -> Any:
    """Of a dictionary or of an object: litellm's responses are both, and so are their hidden parameters."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
