from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_gateway_plugin import eventstream
from litellm_gateway_plugin.errors import BrokenAnswer
from litellm_gateway_plugin.eventstream import EventReader


def read(*chunks: bytes) -> list[str]:
    reader = EventReader()
    return [*(event for chunk in chunks for event in reader.feed(chunk)), *reader.finish()]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data:a\r\n\r\ndata:b\r\r", ["a", "b"]),
        (b"data:  two spaces\n\n", [" two spaces"]),
        (b"data: a\ndata\ndata: b\n\n", ["a\n\nb"]),
        (b": comment\nevent: x\nid: 1\nretry: 5\nodd: y\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"data: \xef\xbb\xbfa\n\n", ["\ufeffa"]),
        (b'data: a\n\n{"detail": "full"}\n', ["a", '{"detail": "full"}']),
        (b'data: a\n{"detail": "full"}', ["a", '{"detail": "full"}']),
        (b'data: {"error": "no blank line"}', ['{"error": "no blank line"}']),
        (b"\n\n\n", []),
        (b"", []),
        (b"data: \xc3", ["\ufffd"]),
        ("data: ü€😀\n\n".encode(), ["ü€😀"]),
        ("data: a\u2028b\x0bc\x85d\n\n".encode(), ["a\u2028b\x0bc\x85d"]),
    ],
)
def test_events_are_the_same_however_the_bytes_are_split(stream: bytes, events: list[str]) -> None:
    assert read(stream) == events
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == events
    for at in range(len(stream)):
        assert read(stream[:at], stream[at:]) == events


def reference(text: str) -> list[str]:
    """The specification read literally, with our two leniencies: a bare `{` line, and a last event without its end."""
    events: list[str] = []
    data: list[str] = []
    for line in [*re.split("\r\n|\n|\r", text.removeprefix("\ufeff")), ""]:
        name, colon, value = line.partition(":")
        bare = line.startswith("{")
        if (not line or bare) and data:
            events.append("\n".join(data))
            data = []
        if bare:
            data.append(line)
        elif name == "data" and line:
            data.append(value.removeprefix(" ") if colon else "")
    return events + (["\n".join(data)] if data else [])


LINES = st.lists(
    st.sampled_from(
        ["data: x", "data:y", "data", "data:", "", ":c", "id: 1", "\ufeff", '{"a":1}', "database: z", " data: w", "ü"]
    )
    | st.text(max_size=5),
    max_size=12,
)


@given(LINES, st.data())
def test_any_stream_reads_as_the_specification_says(lines: list[str], data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=len(lines), max_size=len(lines)))
    text = "".join(line + end for line, end in zip(lines, ends, strict=True)).encode("utf-8", "replace")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(*chunks) == reference(text.decode())


def test_an_event_that_would_fill_the_memory_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventstream, "LONGEST_EVENT", 100)
    assert read(*[b"data: " + b"x" * 60 + b"\n\n"] * 5) == ["x" * 60] * 5
    assert read(*[b"data: ", b"x" * 60, b"\n\ndata: y"] * 5)[0] == "x" * 60
    for chunks in ([b"data: " + b"x" * 101], [b"data: " + b"x" * 50] * 3, [b"data: " + b"x" * 30 + b"\n"] * 4):
        with pytest.raises(BrokenAnswer, match="64 MB"):
            read(*chunks)


def test_finishing_twice_gives_nothing_twice() -> None:
    reader = EventReader()
    assert list(reader.feed(b"data: a")) == []
    assert list(reader.finish()) == ["a"]
    assert list(reader.finish()) == []
