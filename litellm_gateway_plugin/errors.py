"""The one error tree, in a leaf module: standard library only, nothing of ours is imported here.

    GatewayError
    ├── InvalidInput          the call or the settings cannot be used; nothing was sent
    │   └── NoBase            no base was given and none is configured
    ├── Unreachable           the network failed; nothing was learnt
    │   ├── ConnectFailed     name, TCP or proxy
    │   ├── TLSFailed         certificate or handshake
    │   ├── TimedOut          a time limit of the call passed
    │   └── ConnectionBroken  the peer went away in the middle
    ├── Answered              the gateway said no, and said it clearly
    │   ├── KeyRefused        every admissible credential style was refused
    │   ├── Forbidden         401/403 about a model, a format or a plan
    │   ├── ModelUnknown      the gateway does not know the model id
    │   ├── Full              429, 503, 529 or capacity wording
    │   ├── RequestRejected   another 4xx: the caller's request is wrong
    │   └── UpstreamFailed    another 5xx, or an error inside a 200
    └── NotAGateway           what came back is not an OpenAI-compatible answer
        └── BrokenAnswer      an answer that began well and cannot be used

No message and no attribute of these ever holds a credential.
"""

from __future__ import annotations

from collections.abc import Mapping


class GatewayError(Exception):
    """Anything that the plugin itself reports.

    Args:
        message: one sentence for a person: what was tried, what came back, what to do.
        api_base: the base concerned, without user, password or query.
    """

    def __init__(self, message: str, *, api_base: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.api_base = api_base


class InvalidInput(GatewayError):
    """The call or the settings cannot be used as they are; nothing was sent."""


class NoBase(InvalidInput):
    """No base was given and none is configured."""


class Unreachable(GatewayError):
    """The network failed before an answer was complete; negotiation learns nothing from it."""


class ConnectFailed(Unreachable):
    """The name did not resolve, or nothing listens there, or the proxy refused."""


class TLSFailed(Unreachable):
    """The certificate was not accepted or the handshake failed."""


class TimedOut(Unreachable):
    """A time limit of the call passed."""


class ConnectionBroken(Unreachable):
    """The connection ended, or broke HTTP's rules, before the answer was complete."""


class Answered(GatewayError):
    """The gateway answered with an error.

    Args:
        status: the HTTP status code of that answer.
        headers: its headers, names in lower case, values never a credential of ours.
        body: the beginning of its body, decoded, at most a few kilobytes.
    """

    def __init__(
        self,
        message: str,
        *,
        api_base: str = "",
        status: int,
        headers: Mapping[str, str] | None = None,
        body: str = "",
    ) -> None:
        super().__init__(message, api_base=api_base)
        self.status = status
        self.headers = dict(headers or {})
        self.body = body


class KeyRefused(Answered):
    """Every admissible credential style was refused."""


class Forbidden(Answered):
    """A 401 or 403 that names a model, a format or a plan: another style would not help."""


class ModelUnknown(Answered):
    """The gateway does not know the model id, and its listing has no equal of it."""


class Full(Answered):
    """The gateway is full or the caller is over a rate limit.

    Args:
        retry_after: seconds until it is worth asking again, or None when nobody knows.
        sent: whether the gateway said so just now; False when it is known from before, and nothing was sent.

    Attributes:
        mapped: whether the caller gets a rate limit whatever the status was; False keeps a 503 what it is.
    """

    def __init__(
        self,
        message: str,
        *,
        api_base: str = "",
        status: int,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message, api_base=api_base, status=status, headers=headers, body=body)
        self.retry_after = retry_after
        self.sent = sent
        self.mapped = True


class RequestRejected(Answered):
    """A 4xx about the request itself."""


class UpstreamFailed(Answered):
    """A 5xx that is not about capacity, or an error object inside a 200."""


class NotAGateway(GatewayError):
    """What came back is not an OpenAI-compatible answer (HTML, no JSON, another shape, no such route)."""

    def __init__(self, message: str, *, api_base: str = "", status: int = 200) -> None:
        super().__init__(message, api_base=api_base)
        self.status = status


class BrokenAnswer(NotAGateway):
    """An answer that began well and cannot be used: a stream cut short, an unreadable event."""
