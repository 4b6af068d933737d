"""Content-Encoding: httpx's own decoders, fed in slices, so that a small body cannot become a huge one unnoticed."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cache

import httpx

from .faults import broken

# What one slice can become: gzip and deflate expand a byte to at most 1032 (zlib's own figure), so 1 KiB makes 1 MiB.
# The others know no such limit per byte; with slices this small it is theirs per block.
_SLICE = 1024
_SMALL_SLICE = 4
_WHOLE = 1 << 16


@cache
def accept_encoding() -> str:
    """What httpx can decode here; the packages for br and zstd may be missing."""
    # A bare context, because the default one loads the authorities and nothing is sent.
    with httpx.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False) as client:
        return client.headers["accept-encoding"]


@cache
def _decodable() -> frozenset[str]:
    return frozenset(coding.strip() for coding in accept_encoding().split(","))


def coding_of(headers: Mapping[str, str], origin: str) -> str | None:
    """The codings of a body as httpx wants them, or None when there are none.

    Raises:
        ConnectionBroken: one that cannot be decoded here; httpx would hand the coded bytes on as if they were text.
    """
    value = headers.get("content-encoding")
    if value is None:
        return None
    named = [part.strip().lower() for part in value.split(",")]
    codings = [coding for coding in named if coding not in ("", "identity")]
    if not _decodable().issuperset(codings):
        raise broken(origin, "the body has a Content-Encoding that was not asked for")
    return ", ".join(codings) or None


def slice_size(coding: str, origin: str) -> int:
    """How many bytes to decode at a time when what comes out must be bounded.

    Raises:
        ConnectionBroken: coded more than once: expansion multiplies, and only an attack looks like that.
    """
    if "," in coding:
        raise broken(origin, "the body is coded more than once")
    return _SLICE if coding in ("gzip", "deflate") else _SMALL_SLICE


class Slices(httpx.SyncByteStream):
    """A raw body in slices of `size` bytes; `size` may change on the way."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.size = _WHOLE

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield from sliced(piece, self)

    def decoded(self, coding: str) -> Iterator[bytes]:
        return httpx.Response(200, headers={"content-encoding": coding}, stream=self).iter_bytes()


class AsyncSlices(httpx.AsyncByteStream):
    """The same, for coroutines."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.size = _WHOLE

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            for part in sliced(piece, self):
                yield part

    def decoded(self, coding: str) -> AsyncIterator[bytes]:
        return httpx.Response(200, headers={"content-encoding": coding}, stream=self).aiter_bytes()


def sliced(piece: bytes, slices: Slices | AsyncSlices) -> Iterator[bytes]:
    start = 0
    while start < len(piece):
        size = slices.size
        yield piece[start : start + size]
        start += size
