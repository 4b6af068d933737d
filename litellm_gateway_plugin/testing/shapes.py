"""What real servers say when they refuse, as tables from a name to an answer. A new shape is a new row.

The rows are transcripts or follow the vendors' own pages; those whose names begin with `hostile-` are made up, because
a refusal is text that anybody can write.
"""

from __future__ import annotations

import email.utils
import gzip
import json
import math
from typing import TYPE_CHECKING

from .answers import EVENTS, JSON, Answer, Headers, error_object, html_answer, json_answer, redirect, text_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MANY_NAMES = tuple(f"X-Api-Token-{number}" for number in range(50))
HUGE_BODY_BYTES = 5_000_000


def _challenge(value: str) -> Headers:
    return (("www-authenticate", value),)


def _hinting(header: str) -> Answer:
    """A refusal that tells the caller to send the key in this header, in the challenge and in words."""
    return json_answer(
        401,
        {"message": f"Access denied: send your key in the {header} header"},
        _challenge(f'ApiKey realm="gateway",name="{header}",type="header"'),
    )


def _gzip_bomb() -> Answer:
    body = gzip.compress(b'{"error":"' + b"0" * (64 * HUGE_BODY_BYTES // 5) + b'"}', compresslevel=9, mtime=0)
    return Answer(401, body, (*JSON, ("content-encoding", "gzip")))


_AZURE = 'AzureApiManagementKey realm="https://gateway.example/v1",name="Ocp-Apim-Subscription-Key",type="header"'

REFUSALS: Mapping[str, Answer | Callable[[], Answer]] = {
    "vllm": json_answer(401, {"error": "Unauthorized"}),
    "llama_cpp": json_answer(
        401, {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}
    ),
    "litserve": json_answer(401, {"detail": "Not authenticated"}, _challenge("APIKey")),
    "litellm_proxy": json_answer(
        401, error_object("Authentication Error, No api key passed in.", "auth_error", "401", "None")
    ),
    "litellm_proxy_malformed": json_answer(
        401,
        error_object(
            "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.", "auth_error", "401"
        ),
    ),
    "litellm_proxy_no_db": json_answer(400, error_object("No connected db.", "no_db_connection", "400")),
    "azure_apim": json_answer(
        401,
        {
            "statusCode": 401,
            "message": "Access denied due to missing subscription key. Make sure to include subscription key when "
            "making requests to an API.",
        },
        _challenge(_AZURE),
    ),
    "azure_apim_wrong": json_answer(
        401,
        {
            "statusCode": 401,
            "message": "Access denied due to invalid subscription key. Make sure to provide a valid key for an active "
            "subscription.",
        },
        _challenge(_AZURE),
    ),
    "kong": json_answer(401, {"message": "No API key found in request"}, _challenge('Key realm="kong"')),
    "kong_wrong": json_answer(401, {"message": "Unauthorized"}, _challenge('Key realm="kong"')),
    "aws": json_answer(403, {"message": "Forbidden"}, (("x-amzn-errortype", "ForbiddenException"),)),
    "chutes": json_answer(401, {"detail": "Authentication required."}),
    "chutes_invalid": json_answer(401, {"detail": "Invalid token."}),
    "chutes_html_429": html_answer(429, "429 Too Many Requests"),
    "openai": json_answer(401, error_object("Incorrect API key provided.", "invalid_request_error", "invalid_api_key")),
    "plain_401": Answer(401, b"", ()),
    "plain_403": text_answer(403, "Forbidden"),
    "html_401": html_answer(401, "401 Authorization Required", _challenge('Basic realm="gateway"')),
    "html_403": html_answer(403, "403 Forbidden"),
    "format_401": json_answer(401, error_object("Model $MODEL is not supported for format openai", "auth", None)),
    "plan_403": json_answer(403, error_object("Your plan does not include the model $MODEL.", "permission", None)),
    "hostile_host": _hinting("Host"),
    "hostile_content_length": _hinting("Content-Length"),
    "hostile_cookie": _hinting("Cookie"),
    "hostile_transfer_encoding": _hinting("Transfer-Encoding"),
    "hostile_crlf": _hinting("X-Key\\r\\nX-Injected: 1"),
    "hostile_crlf_encoded": _hinting("X-Key%0d%0aX-Injected:%201"),
    "hostile_unicode": json_answer(401, {"message": "send your key in the X-Clé-API header"}),
    "hostile_many_names": json_answer(
        401,
        {"message": "send your key in one of " + ", ".join(MANY_NAMES)},
        tuple(("www-authenticate", f'ApiKey name="{name}"') for name in MANY_NAMES),
    ),
    "hostile_huge": lambda: Answer(401, b'{"error":"' + b"no " * (HUGE_BODY_BYTES // 3) + b'"}', JSON),
    "hostile_gzip_bomb": _gzip_bomb,
}
"""How a gateway says that it does not like the credential. Callables are made on use, for they are large."""

MISSING_ROUTES: Mapping[str, Answer] = {
    "fastapi": json_answer(404, {"detail": "Not Found"}),
    "llama_cpp": json_answer(404, {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}),
    "chutes": json_answer(404, {"detail": "No matching cord found!"}),
    "nginx": html_answer(404, "404 Not Found"),
    "go": text_answer(404, "404 page not found\n"),
    "kong": json_answer(404, {"message": "no Route matched with those values"}),
    "azure_apim": json_answer(404, {"statusCode": 404, "message": "Resource not found"}),
    "openai": json_answer(404, error_object("Invalid URL (POST $PATH)", "invalid_request_error", None)),
    "empty": Answer(404, b"", ()),
    "method_not_allowed": json_answer(405, {"detail": "Method Not Allowed"}),
    "console": html_answer(200, "Gateway console"),
    "json_200": json_answer(200, {"status": "ok", "documentation": "/docs"}),
    "aws": json_answer(403, {"message": "Missing Authentication Token"}),
    "login": redirect(302, "/login"),
    "slash_307": redirect(307, "$PATH/$QUERY"),
    "slash_308": redirect(308, "$PATH/$QUERY"),
}
"""How a gateway says that there is nothing under this path."""

UNKNOWN_MODELS: Mapping[str, Answer] = {
    "vllm": json_answer(404, error_object("The model `$MODEL` does not exist.", "NotFoundError", 404, "model")),
    "litellm_proxy": json_answer(
        400,
        error_object(
            "/chat/completions: Invalid model name passed in model=$MODEL. Call `/v1/models` to view available models "
            "for your key.",
            "invalid_request_error",
            "400",
        ),
    ),
    "chutes": json_answer(404, {"detail": "model not found: $MODEL"}),
    "openai": json_answer(
        404,
        error_object(
            "The model `$MODEL` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
    ),
    "openrouter": json_answer(400, {"error": {"message": "$MODEL is not a valid model ID", "code": 400}}),
    "500_reset": json_answer(500, error_object("Internal Server Error", "server_error", 500), after="reset"),
}
"""How a gateway says that it does not serve this model. The name `ignored` means that every id is served."""


def _litserve() -> Answer:
    """LitServe's 429; in a stream a 200 with one error event that no blank line ends."""
    error = {"message": "model at capacity", "type": "server_error", "code": 429}
    event = b"data: " + json.dumps({"error": error}).encode() + b"\n"
    return Answer(429, b'{"detail":"model at capacity"}', JSON, "keep-alive", Answer(200, event, EVENTS))


FULL: Mapping[str, Answer] = {
    "openai": json_answer(429, error_object("Rate limit reached for requests", "requests", "rate_limit_exceeded")),
    "nginx_503": html_answer(503, "503 Service Temporarily Unavailable"),
    "nginx_429": html_answer(429, "429 Too Many Requests"),
    "litserve": _litserve(),
    "litellm_proxy": json_answer(
        429,
        error_object("No deployments available for selected model", "None", "429"),
        (("llm_provider-retry-after", "1"),),
    ),
    "llama_cpp": json_answer(503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}),
    "openrouter": json_answer(200, {"error": {"message": "Provider returned error: rate limited", "code": 429}}),
    "envoy": text_answer(
        503,
        "upstream connect error or disconnect/reset before headers. reset reason: overflow",
        (("x-envoy-overloaded", "true"),),
    ),
    "anthropic_529": json_answer(
        529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    ),
    "ollama": json_answer(503, {"error": "server busy, please try again. maximum pending requests exceeded"}),
    "chutes": json_answer(429, {"detail": "Infrastructure is at maximum capacity, try again later"}),
    "chutes_instance": json_answer(429, {"detail": "Instance is at maximum capacity, try again later"}),
    "chutes_maintenance": json_answer(429, {"detail": "model is under maintenance"}),
    "chutes_no_instances": json_answer(
        503, {"detail": "No instances available (yet) for chute_id='00000000-0000-0000-0000-000000000000'"}
    ),
    "chutes_exhausted": json_answer(500, {"detail": "exhausted all available targets to no avail"}),
    "chutes_quota": json_answer(
        402, {"detail": {"message": "Quota exceeded for this model", "quota_reset_timestamp": 1_760_000_000}}
    ),
    "chutes_cap": json_answer(402, {"detail": "Subscription usage cap exceeded, please try again later"}),
    "plain_429": Answer(429, b"", ()),
    "plain_503": Answer(503, b"", ()),
}
"""How a gateway says that it is full. The 402 rows are quotas, which do not pass by waiting a moment."""


def _http_date(seconds: float, now: float) -> str:
    return email.utils.formatdate(now + seconds, usegmt=True)


RETRY_AFTER: Mapping[str, Callable[[float, float], Mapping[str, str]]] = {
    "seconds": lambda seconds, _now: {"retry-after": str(math.ceil(seconds))},
    "float": lambda seconds, _now: {"retry-after": str(float(seconds))},
    "date": lambda seconds, now: {"retry-after": _http_date(seconds, now)},
    "ms": lambda seconds, _now: {"retry-after-ms": str(round(seconds * 1000))},
    "llm_provider": lambda seconds, _now: {"llm_provider-retry-after": str(math.ceil(seconds))},
    "reset_requests": lambda seconds, _now: {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": f"{seconds:g}s",
    },
    "reset_tokens_ms": lambda seconds, _now: {
        "x-ratelimit-limit-tokens": "100000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": f"{round(seconds * 1000)}ms",
    },
    "reset_epoch": lambda seconds, now: {
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(math.ceil(now + seconds)),
    },
    "garbage": lambda _seconds, _now: {"retry-after": "soon"},
    "negative": lambda _seconds, _now: {"retry-after": "-1"},
    "huge": lambda _seconds, _now: {"retry-after": "9" * 400},
}
"""Spellings of "come back in so many seconds": from (seconds, wall-clock now) to headers."""


def look_up(table: Mapping[str, Answer | Callable[[], Answer]], shape: str | Answer) -> Answer:
    """The answer for a name in a table; an `Answer` stands for itself.

    Raises:
        KeyError: the table has no such name; the message lists those that it has.
    """
    if isinstance(shape, Answer):
        return shape
    try:
        found = table[shape]
    except KeyError:
        raise KeyError(f"no shape {shape!r}; there are: {', '.join(sorted(table))}") from None
    return found if isinstance(found, Answer) else found()
