"""What went wrong, in our own errors.

A library's message may quote a header, a URL or what the peer sent (and a peer can send our credential back), so none
is ever passed on: only error numbers, TLS reasons and status codes are.
"""

from __future__ import annotations

import os
import socket
import ssl

import httpx

from ..errors import ConnectFailed, ConnectionBroken, InvalidInput, TimedOut, TLSFailed, Unreachable
from .values import Deadline


def timed_out(origin: str, deadline: Deadline, *, connecting: bool = False, in_tls: bool = False) -> TimedOut:
    """`connecting`: it was the limit for connecting that passed; `in_tls`: when TCP stood, and TLS did not."""
    if connecting and deadline.connect is not None:
        tls = ": the TLS handshake got no answer" if in_tls else ""
        return TimedOut(f"{origin}: no connection within {deadline.connect:g} s{tls}.", api_base=origin)
    within = "" if deadline.seconds is None else f" within {deadline.seconds:g} s"
    return TimedOut(f"{origin}: no complete answer{within}.", api_base=origin)


def connect_failed(origin: str, error: BaseException | None = None, *, proxied: bool = False) -> ConnectFailed:
    whom = "the proxy" if proxied else "the host"
    return ConnectFailed(f"{origin}: {whom} cannot be reached{_reason(error)}.", api_base=origin)


def proxy_refused(origin: str, status: str = "") -> ConnectFailed:
    shown = f" with status {status}" if status.isdigit() else ""
    return ConnectFailed(f"{origin}: the proxy refused the connection{shown}.", api_base=origin)


def tls_failed(origin: str, error: BaseException | None = None) -> TLSFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        return TLSFailed(f"{origin}: the certificate was not accepted ({error.verify_message}).", api_base=origin)
    return TLSFailed(f"{origin}: the TLS handshake failed{_reason(error)}.", api_base=origin)


def broken(origin: str, what: str = "the connection ended before the answer was complete") -> ConnectionBroken:
    return ConnectionBroken(f"{origin}: {what}.", api_base=origin)


def not_http(origin: str) -> ConnectionBroken:
    return broken(origin, "what came back breaks the rules of HTTP")


def from_httpx(error: BaseException, origin: str, deadline: Deadline) -> Unreachable | InvalidInput | None:
    """Our error for one of httpx's, or None for anything else, which the caller lets pass."""
    if isinstance(error, httpx.TimeoutException):
        return timed_out(origin, deadline, connecting=isinstance(error, httpx.ConnectTimeout))
    if isinstance(error, httpx.ProxyError):
        return proxy_refused(origin, str(error)[:3])
    if isinstance(error, httpx.ConnectError):
        return connect_failed(origin)
    if isinstance(error, httpx.RemoteProtocolError):
        ended = str(error).startswith(("peer closed connection", "Server disconnected"))
        return broken(origin) if ended else not_http(origin)
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return InvalidInput("The request cannot be sent: it breaks the rules of HTTP.", api_base=origin)
    if isinstance(error, httpx.DecodingError):
        return broken(origin, "the body cannot be decoded as its Content-Encoding says")
    if isinstance(error, (httpx.HTTPError, httpx.StreamError)):
        return broken(origin)
    if type(error).__module__.startswith("socksio"):
        return proxy_refused(origin)
    return None


def _reason(error: BaseException | None) -> str:
    """The reason in brackets, from numbers and constants only."""
    if isinstance(error, ssl.SSLError):
        return f" ({error.reason.lower().replace('_', ' ')})" if error.reason else ""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return " (its name does not resolve)"
    if isinstance(error, OSError) and error.errno:
        return f" ({os.strerror(error.errno)})"
    return ""
