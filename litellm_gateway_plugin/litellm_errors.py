"""Our errors as litellm's own classes: one total map, by our class and by status."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import httpx
import litellm
from litellm.litellm_core_utils.exception_mapping_utils import ExceptionCheckers

from .errors import (
    Answered,
    BrokenAnswer,
    ConnectFailed,
    ConnectionBroken,
    Forbidden,
    Full,
    GatewayError,
    InvalidInput,
    KeyRefused,
    ModelUnknown,
    NoBase,
    NotAGateway,
    RequestRejected,
    TimedOut,
    TLSFailed,
    Unreachable,
    UpstreamFailed,
)

Maker = Callable[[GatewayError, str, str], Exception]
BAD_ANSWER = 502
HEADER_PREFIX = "x-litellm-gateway-"
"""Headers of ours."""
PASSED_PREFIX = "llm_provider-"
"""What litellm puts before the name of a provider's header."""
CARRIED = f"{HEADER_PREFIX}carried"
"""A header on our errors' responses: the gate knows of this one already."""
DROPPED_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})


def to_litellm(error: GatewayError, model: str, provider: str) -> Exception:
    """The litellm exception for one of our errors; it keeps status, words, headers and `retry_after`.

    Args:
        error: ours.
        model: the id that the caller asked for.
        provider: the provider name that litellm is to report.
    """
    made = MAP[type(error)](error, model, provider)
    made.__cause__ = None
    return made


def is_own_header(name: str) -> bool:
    """Whether a header's name is one of ours, or what litellm makes of one."""
    return name.lower().removeprefix(PASSED_PREFIX).startswith(HEADER_PREFIX)


def _plain(kind: type[Exception]) -> Maker:
    def make(error: GatewayError, model: str, provider: str) -> Exception:
        return kind(message=error.message, model=model, llm_provider=provider)  # type: ignore[call-arg]  # litellm's own classes share these

    return make


def _answered(kind: type[Exception]) -> Maker:
    def make(error: GatewayError, model: str, provider: str) -> Exception:
        assert isinstance(error, Answered)
        response = _response(error)
        made = kind(message=error.message, model=model, llm_provider=provider, response=response)  # type: ignore[call-arg]  # as above
        made.litellm_response_headers = response.headers  # type: ignore[attr-defined]  # where the stock Router looks
        return made

    return make


def _api_error(status: int) -> Maker:
    def make(error: GatewayError, model: str, provider: str) -> Exception:
        code = error.status if isinstance(error, Answered) else status
        return litellm.APIError(status_code=code, message=error.message, model=model, llm_provider=provider)

    return make


def _rate_limit(error: GatewayError, model: str, provider: str) -> Exception:
    assert isinstance(error, Full)
    made = _answered(litellm.RateLimitError if error.mapped else litellm.ServiceUnavailableError)(
        error, model, provider
    )
    made.retry_after = error.retry_after  # type: ignore[attr-defined]  # the exact hint, in seconds
    return made


def _rejected(error: GatewayError, model: str, provider: str) -> Exception:
    assert isinstance(error, RequestRejected)
    if error.status in (400, 413, 422) and ExceptionCheckers.is_error_str_context_window_exceeded(error.body):
        return _answered(litellm.ContextWindowExceededError)(error, model, provider)
    if error.status == 400 and _is_content_policy(error.body):
        return _answered(litellm.ContentPolicyViolationError)(error, model, provider)
    return REJECTED.get(error.status, _api_error(error.status))(error, model, provider)


def _no_gateway(error: GatewayError, model: str, provider: str) -> Exception:
    assert isinstance(error, NotAGateway)
    if 300 <= error.status < 500:
        return _plain(litellm.NotFoundError)(error, model, provider)
    return _api_error(BAD_ANSWER)(error, model, provider)


def _upstream(error: GatewayError, model: str, provider: str) -> Exception:
    assert isinstance(error, UpstreamFailed)
    return FAILED.get(error.status, _api_error(error.status))(error, model, provider)


def _timeout(error: GatewayError, model: str, provider: str) -> Exception:
    made = litellm.Timeout(message=error.message, model=model, llm_provider=provider)
    made.status_code = error.status if isinstance(error, Answered) else made.status_code
    return made


def _forbidden(error: GatewayError, model: str, provider: str) -> Exception:
    assert isinstance(error, Forbidden)
    kind = litellm.AuthenticationError if error.status == 401 else litellm.PermissionDeniedError
    return _answered(kind)(error, model, provider)


def _is_content_policy(text: str) -> bool:
    return "content_policy_violation" in text or "content_filter" in text


def _response(error: Answered) -> httpx.Response:
    """A response for the exception: the gateway's headers, with the wait in whole seconds where the Router reads it.

    A gateway behind which another of us works sends headers with our names: they are renamed, as litellm would.
    """
    headers = {
        PASSED_PREFIX + name if name.startswith(HEADER_PREFIX) else name: value
        for name, value in error.headers.items()
        if name not in DROPPED_HEADERS
    }
    if isinstance(error, Full) and error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    headers[CARRIED] = "true"
    request = httpx.Request("POST", error.api_base or "https://gateway.invalid")
    return httpx.Response(error.status, headers=headers, request=request)


REJECTED: Mapping[int, Maker] = {
    400: _answered(litellm.BadRequestError),
    404: _answered(litellm.NotFoundError),
    408: _plain(litellm.Timeout),
    413: _answered(litellm.BadRequestError),
    415: _answered(litellm.BadRequestError),
    422: _answered(litellm.UnprocessableEntityError),
}
FAILED: Mapping[int, Maker] = {
    500: _answered(litellm.InternalServerError),
    503: _answered(litellm.ServiceUnavailableError),
    504: _timeout,
}
MAP: Mapping[type[GatewayError], Maker] = {
    GatewayError: _api_error(BAD_ANSWER),
    InvalidInput: _plain(litellm.BadRequestError),
    NoBase: _plain(litellm.BadRequestError),
    Unreachable: _plain(litellm.APIConnectionError),
    ConnectFailed: _plain(litellm.APIConnectionError),
    TLSFailed: _plain(litellm.APIConnectionError),
    ConnectionBroken: _plain(litellm.APIConnectionError),
    TimedOut: _plain(litellm.Timeout),
    Answered: _api_error(BAD_ANSWER),
    KeyRefused: _answered(litellm.AuthenticationError),
    Forbidden: _forbidden,
    ModelUnknown: _answered(litellm.NotFoundError),
    Full: _rate_limit,
    RequestRejected: _rejected,
    UpstreamFailed: _upstream,
    NotAGateway: _no_gateway,
    BrokenAnswer: _api_error(BAD_ANSWER),
}
