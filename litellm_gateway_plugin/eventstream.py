"""Server-sent events, as the WHATWG specification has them (HTML standard, section 9.2). Pure: bytes in, events out.

One leniency, for servers that answer an error in the middle of a stream: a line that begins with `{` and is no field
counts as data (Chutes sends such a line), and so does a whole JSON body.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from .errors import BrokenAnswer

LONGEST_EVENT = 64 * 1024 * 1024
"""Characters of one event: far beyond a picture in base64, short of what would hurt the process."""


class EventReader:
    """Collects bytes and gives the data of each complete event.

    Lines end with LF, CRLF or CR; several `data:` lines make one event; one space after the colon belongs to the
    syntax; comments and unknown fields are passed over; a byte-order mark at the very beginning is dropped.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._tail: list[str] = []
        self._data: list[str] = []
        self._size = 0
        self._started = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of the events that this chunk completes.

        Raises:
            BrokenAnswer: an event beyond `LONGEST_EVENT`.
        """
        yield from self._lines(self._decoder.decode(chunk))

    def finish(self) -> Iterator[str]:
        """The data of an event that the stream's end left without its blank line.

        The specification drops such an event; servers whose last words are an error without a blank line (LitServe)
        make that a silent success, so it is given, and the caller judges whether it is whole.
        """
        yield from self._lines(self._decoder.decode(b"", final=True))
        line, self._tail = "".join(self._tail), []
        yield from self._line(line)
        yield from self._dispatch()

    def _lines(self, text: str) -> Iterator[str]:
        if not text:
            return
        if not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        self._after_cr = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        first, *rest = text.split("\n")
        self._tail.append(first)
        self._size += len(first)
        if rest:
            lines = ["".join(self._tail), *rest[:-1]]
            self._tail = [rest[-1]]
            self._size = sum(map(len, self._data)) + len(rest[-1])
            for line in lines:
                yield from self._line(line)
        if self._size > LONGEST_EVENT:
            raise BrokenAnswer("The gateway sent a single event of more than 64 MB; the stream was given up.")

    def _line(self, line: str) -> Iterator[str]:
        if not line:
            yield from self._dispatch()
        elif line.startswith("data:"):
            self._take(line[6:] if line.startswith("data: ") else line[5:])
        elif line == "data":
            self._take("")
        elif line[0] == "{":
            yield from self._dispatch()
            self._take(line)

    def _take(self, data: str) -> None:
        self._data.append(data)
        self._size += len(data)

    def _dispatch(self) -> Iterator[str]:
        if self._data:
            data = "\n".join(self._data)
            self._size -= len(data) - len(self._data) + 1
            self._data = []
            yield data
