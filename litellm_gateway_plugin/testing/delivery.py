"""From an answer to the bytes of it, and to where a fault cuts them. Pure."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field, replace
from http import client
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .answers import After, Answer
    from .faults import Fault

Framing = Literal["length", "chunked", "close"]
BODILESS = frozenset({204, 304})
HEADER_DRIP = b"x-drip: 1\r\n"
EVENT_DRIP = b": keep-alive\n\n"
BODY_DRIP = b" "


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer that is ready to be sent, in the pieces in which it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    pieces: Sequence[bytes] = field(repr=False)
    framing: Framing = "length"
    after: After = "keep-alive"

    @property
    def is_stream(self) -> bool:
        """Whether it is an event stream."""
        return any(name.lower() == "content-type" and "event-stream" in value for name, value in self.headers)


@dataclass(frozen=True, slots=True)
class Cut:
    """The bytes on the wire in two halves, what ends the body, and what drips in between.

    The first `heads` pieces of the two halves together are the head.
    """

    before: Sequence[bytes] = field(repr=False)
    rest: Sequence[bytes] = field(repr=False)
    heads: int
    end: bytes
    drip: bytes


def deliver(answer: Answer, streams: bool = False) -> Delivery:
    """An answer in one piece; in its streamed form when a stream was asked for and it has one."""
    if streams and answer.streamed is not None:
        answer = answer.streamed
    return Delivery(answer.status, answer.headers, (answer.body,), after=answer.after)


def compressed(delivery: Delivery) -> Delivery:
    """The same delivery, compressed."""
    body = gzip.compress(b"".join(delivery.pieces), mtime=0)
    return replace(delivery, pieces=(body,), headers=(*delivery.headers, ("content-encoding", "gzip")))


def spoiled(delivery: Delivery, fault: Fault) -> Delivery:
    """The same delivery with a body that a fault has changed."""
    if fault.how == "drip" and fault.cut != "in-head" and delivery.framing == "length":
        delivery = replace(delivery, framing="chunked")  # who drips does not know the length beforehand
    if fault.spoil is None or delivery.is_stream:
        return delivery
    return replace(delivery, pieces=(fault.spoil(b"".join(delivery.pieces)),))


def head_of(delivery: Delivery, closing: bool) -> bytes:
    """The status line and the headers."""
    lines = [f"HTTP/1.1 {delivery.status} {client.responses.get(delivery.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in delivery.headers]
    if delivery.framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif delivery.framing == "length" and delivery.status not in BODILESS and not _has_length(delivery):
        lines.append(f"content-length: {sum(map(len, delivery.pieces))}")
    if closing:
        lines.append("connection: close")
    return "\r\n".join((*lines, "", "")).encode("utf-8")


def _has_length(delivery: Delivery) -> bool:
    return any(name.lower() == "content-length" for name, _ in delivery.headers)


def frame(piece: bytes, framing: Framing) -> bytes:
    """A piece of the body as it goes over the wire."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" and piece else piece


def end_of(framing: Framing) -> bytes:
    """What ends a body."""
    return b"0\r\n\r\n" if framing == "chunked" else b""


def cut(delivery: Delivery, head: bytes, fault: Fault) -> Cut:
    """The bytes of a delivery, cut where the fault wants it."""
    bodies, index = list(delivery.pieces), len(delivery.pieces)
    if fault.how == "dribble":
        bodies = [bytes((byte,)) for piece in bodies for byte in piece]
    if fault.cut == "in-body" and bodies:
        place = min(fault.after, len(bodies) - 1)
        half = len(bodies[place]) // 2
        bodies[place : place + 1] = [bodies[place][:half], bodies[place][half:]]
        index = place + 1
    elif fault.cut == "after-events":
        index = min(fault.after, len(bodies))
    elif fault.cut == "before-end" and delivery.framing == "length" and bodies:
        bodies[-1:] = [bodies[-1][:-1], bodies[-1][-1:]]
        index = len(bodies) - 1
    heads, head_index = _cut_head(head, fault)
    wire = [*heads, *(frame(piece, delivery.framing) for piece in bodies)]
    where = {"before-head": 0, "in-head": head_index, "after-head": len(heads), "nowhere": len(wire)}
    at = where.get(fault.cut, len(heads) + index)
    return Cut(wire[:at], wire[at:], len(heads), end_of(delivery.framing), _drip(delivery, fault))


def _cut_head(head: bytes, fault: Fault) -> tuple[list[bytes], int]:
    """The head in the pieces in which it is sent, and how many come before a cut inside it."""
    if fault.how == "dribble":
        return [bytes((byte,)) for byte in head], 1
    if fault.cut == "in-head":
        boundary = head.rindex(b"\r\n", 0, -4) + 2  # between two header lines, so that more can be put there
        return [head[:boundary], head[boundary:]], 1
    return [head], 1


def _drip(delivery: Delivery, fault: Fault) -> bytes:
    if fault.cut == "in-head":
        return HEADER_DRIP
    return frame(EVENT_DRIP if delivery.is_stream else BODY_DRIP, delivery.framing)
