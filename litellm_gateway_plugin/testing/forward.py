"""Sending an accepted request on to a real upstream, with the upstream's own credential."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

    from .manners import Manners
    from .request import Place, Request

HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Forwarder:
    """The client side of the gateway; it belongs to the gateway's event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        import aiohttp  # here, so that a gateway without an upstream does not pay for it

        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                skip_auto_headers=("accept", "accept-encoding", "user-agent", "content-type"),
            )
        return self._session

    async def open(
        self, request: Request, place: Place, manners: Manners, secret: frozenset[str]
    ) -> aiohttp.ClientResponse:
        """The upstream's answer, open for reading; whoever asks for it closes it.

        Args:
            secret: the names of the headers that hold the client's credential, which stays here.
        """
        from yarl import URL

        url = URL(upstream_url(request, place, manners), encoded=True)
        headers = [(name, value) for name, value in request.headers if name not in HOP_BY_HOP | secret]
        headers += upstream_credential(manners)
        data = request.body if request.body or request.method == "POST" else None
        return await self._client().request(request.method, url, headers=headers, data=data, allow_redirects=False)

    async def close(self) -> None:
        """Close the connections to the upstream."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # lets the transports notice


def upstream_url(request: Request, place: Place, manners: Manners) -> str:
    """The URL at the upstream: its base instead of the gateway's own prefix."""
    assert manners.upstream is not None
    return manners.upstream.rstrip("/") + request.target.removeprefix(place.base)


def upstream_credential(manners: Manners) -> list[tuple[str, str]]:
    """The credential header for the upstream, if it wants one."""
    if manners.upstream_key is None:
        return []
    key, style = manners.upstream_key, manners.upstream_style
    forms = {"bearer": ("authorization", f"Bearer {key}"), "raw": ("authorization", key)}
    return [forms.get(style, (style, key))]


def passed_on(answer: aiohttp.ClientResponse) -> tuple[tuple[str, str], ...]:
    """The headers of the upstream's answer that the client gets to see."""
    pairs = ((name.decode("latin-1").lower(), value.decode("utf-8", "replace")) for name, value in answer.raw_headers)
    return tuple((name, value) for name, value in pairs if name not in HOP_BY_HOP)
