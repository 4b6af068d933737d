"""The wire: the only part that knows httpx and aiohttp. It sends a `WireRequest`, returns the head, reads the body."""

from .clients import Clients
from .options import WireOptions, proxy_for
from .values import AsyncEdge, AsyncReply, Deadline, SyncEdge, SyncReply, WireRequest

__all__ = [
    "AsyncEdge",
    "AsyncReply",
    "Clients",
    "Deadline",
    "SyncEdge",
    "SyncReply",
    "WireOptions",
    "WireRequest",
    "proxy_for",
]
