"""Cassettes: real servers' answers, recorded once and played without them. All of vcrpy's configuration is here.

vcrpy by itself ignores headers, so that a client which never changes the style of its credential would be played a
refusal and then the success that followed it. Here a request matches by method, URI, JSON body (the model id included)
and credential style; a request that the cassette does not hold, and a cassette that is played in part, fail the test.

    with open_cassette(path) as tape:
        litellm.completion("gateway/tiny", messages, api_base=f"{tape.origin}/v1", api_key=KEY)
    assert tape.steps == ["POST /v1/chat/completions bearer 200"]
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vcr
import yaml

from tests.support.redaction import ORIGIN, clean_request_headers, clean_response_headers, clean_text, style_of

CASSETTES = Path(__file__).resolve().parents[2] / "cassettes"


@dataclass
class Tape:
    """What happened between a test and its cassette.

    Attributes:
        origin: where the server is, for the test to begin its base with.
        steps: each request that was answered: method, path, credential style, status.
        missing: each request that the cassette does not hold, or holds no more.
    """

    origin: str = ORIGIN
    steps: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_cassette(path: Path, *, record_from: str = "") -> Iterator[Tape]:
    """Play a cassette; it must be played whole, and nothing else may be asked.

    Args:
        path: the cassette.
        record_from: the origin of a real server; then the cassette is written anew from its answers.

    Raises:
        AssertionError: a request that it does not hold, with the style that was tried; or it was played in part.
    """
    if record_from:
        path.unlink(missing_ok=True)
    else:
        assert path.exists(), f"there is no cassette {path.parent.name}/{path.name}: make record"
    tape = Tape(record_from or ORIGIN)
    with _recorder(record_from).use_cassette(str(path), record_mode="all" if record_from else "none") as cassette:
        _watch(cassette, tape)
        try:
            yield tape
        finally:
            if tape.missing:
                raise AssertionError(f"{path.name} does not hold, or no more: {'; '.join(tape.missing)}") from None
    if not record_from:
        assert cassette.all_played, f"{path.name} was played in part: {_unplayed(cassette)} came too late"


def _recorder(origin: str) -> Any:
    def clean_request(request: Any) -> Any:
        request.uri = clean_text(request.uri, origin)
        request.headers = clean_request_headers(request.headers)
        if isinstance(request.body, bytes):
            request.body = clean_text(request.body.decode(), origin).encode()
        return request

    def clean_response(response: Any) -> Any:
        response["headers"] = clean_response_headers(response["headers"], origin)
        body = response["body"].get("string") or b""
        response["body"] = {"string": clean_text(body.decode(), origin).encode()}
        return response

    recorder = vcr.VCR(
        serializer="readable",
        match_on=("method", "uri", "json_body", "credential_style"),
        before_record_request=clean_request,
        before_record_response=clean_response,
        decode_compressed_response=True,
        record_on_exception=False,
    )
    recorder.register_serializer("readable", Readable)
    for matcher in (json_body, credential_style):
        recorder.register_matcher(matcher.__name__, matcher)
    return recorder


def credential_style(made: Any, recorded: Any) -> None:
    """The credential is sent in the same style, whatever its value."""
    tried, known = style_of(made.headers), style_of(recorded.headers)
    assert tried == known, f"{tried!r} was tried, {known!r} is recorded"


def json_body(made: Any, recorded: Any) -> None:
    """The bodies are the same JSON, whatever their spaces and the order of their names."""
    ours, theirs = _parsed(made.body), _parsed(recorded.body)
    assert ours == theirs, f"{ours!r} was sent, {theirs!r} is recorded"


def _parsed(body: bytes | None) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body


def _watch(cassette: Any, tape: Tape) -> None:
    """Take notes. vcrpy's own error for a missing request may end inside one of litellm's, so it is noted here too."""
    can_play, play, append = cassette.can_play_response_for, cassette.play_response, cassette.append
    replaying = cassette.write_protected

    def noting_can_play(request: Any) -> bool:
        playable = bool(can_play(request))
        if replaying and not playable:
            tape.missing.append(_described(cassette.filter_request(request)))
        return playable

    def noting_play(request: Any) -> Any:
        response = play(request)
        tape.steps.append(_step(cassette.filter_request(request), response))
        return response

    def noting_append(request: Any, response: Any) -> None:
        append(request, response)
        tape.steps.append(_step(*cassette.data[-1]))

    cassette.can_play_response_for, cassette.play_response = noting_can_play, noting_play
    cassette.append = noting_append


def _step(request: Any, response: Any) -> str:
    return f"{_route(request)} {response['status']['code']}"


def _route(request: Any) -> str:
    return f"{request.method} {request.path} {style_of(request.headers)}"


def _described(request: Any) -> str:
    body = _parsed(request.body)
    model = f", model {body['model']!r}" if isinstance(body, dict) and "model" in body else ""
    return f"{request.method} {request.uri} with the credential style {style_of(request.headers)!r}{model}"


def _unplayed(cassette: Any) -> str:
    left = (request for index, request in enumerate(cassette.requests) if not cassette.play_counts[index])
    return ", ".join(map(_route, left))


class Readable:
    """vcrpy's format, in an order for people: the request's line first, texts of several lines as they are."""

    REQUEST = ("method", "uri", "headers", "body")
    RESPONSE = ("status", "headers", "body")

    @classmethod
    def serialize(cls, cassette: dict[str, Any]) -> str:
        """A cassette as YAML."""
        interactions = [
            {"request": _ordered(one["request"], cls.REQUEST), "response": _ordered(one["response"], cls.RESPONSE)}
            for one in cassette["interactions"]
        ]
        whole = {"version": cassette["version"], "interactions": interactions}
        text: str = yaml.dump(whole, Dumper=_Dumper, sort_keys=False, width=120)
        return text

    @staticmethod
    def deserialize(text: str) -> Any:
        """YAML as a cassette."""
        return yaml.safe_load(text)


def _ordered(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names}


class _Dumper(yaml.SafeDumper):
    """Event streams stay readable: a text of several lines is written line by line."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_representer: Callable[[_Dumper, str], yaml.ScalarNode] = _Dumper.represent_text
_Dumper.add_representer(str, _representer)
