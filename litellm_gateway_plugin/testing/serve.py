"""What an accepted request is answered. Pure: the request, the manners and a number decide everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import replies
from .answers import Answer, Headers, json_answer
from .delivery import Delivery, compressed, deliver
from .listings import LISTINGS
from .streams import StreamShape, chunks_of, encode

if TYPE_CHECKING:
    from .manners import Manners
    from .request import Place, Request


def serve(request: Request, place: Place, manners: Manners, number: int, swap: bool = False) -> Delivery:
    """The answer to an accepted request.

    Args:
        number: of the request; ids are made from it.
        swap: answer a stream where none was asked for, and the other way round.
    """
    found = _find(request, place, manners, number, swap)
    delivery = deliver(found) if isinstance(found, Answer) else found
    headers = tuple(manners.headers.items()) if isinstance(manners.headers, Mapping) else manners.headers
    own: Headers = (*headers, ("x-request-id", f"req-{number}"))
    delivery = replace(delivery, headers=delivery.headers + own)
    return compressed(delivery) if manners.gzip and not delivery.is_stream else delivery


def _find(request: Request, place: Place, manners: Manners, number: int, swap: bool) -> Answer | Delivery:
    if place.surface == "models":
        return listing(place, manners)
    if place.base in manners.native_bases and place.surface in ("embeddings", "completions"):
        return json_answer(200, replies.native(request))
    if place.surface not in ("chat", "completions"):
        return replies.PLAIN_SURFACES[place.surface](request, number)
    whole = _whole(request, place, manners, number)
    if isinstance(whole, Answer):
        return whole
    if request.streams == swap:
        return json_answer(200, whole)
    return stream(whole, manners.stream, request.fields)


def listing(place: Place, manners: Manners) -> Answer:
    """The listing, or the entry of one model."""
    if isinstance(manners.listing, Answer):
        return manners.listing
    payload = LISTINGS[manners.listing]((place.item,) if place.item else manners.models, manners.facts)
    if not place.item:
        return json_answer(200, payload)
    entries = payload if isinstance(payload, list) else payload["data"]
    return json_answer(200, entries[0])


def _whole(request: Request, place: Place, manners: Manners, number: int) -> dict[str, Any] | Answer:
    """A whole chat or text completion, whether or not it will be streamed."""
    body = request.fields
    if place.surface == "completions":
        return replies.completion(body, number)
    said = manners.reply if manners.reply is not None else replies.echo
    reply = said(body) if callable(said) else said
    return reply if isinstance(reply, Answer) else replies.chat(body, reply, number, manners.reasoning)


def stream(whole: Mapping[str, Any], shape: StreamShape, body: Mapping[str, Any]) -> Delivery:
    """A completion as a stream."""
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    events = encode(chunks_of(whole, shape, asked), shape)
    headers = (("content-type", shape.content_type), ("cache-control", "no-cache"))
    return Delivery(200, headers, events, shape.framing, "close" if shape.framing == "close" else "keep-alive")
