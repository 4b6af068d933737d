"""How a gateway behaves: one frozen value with every knob. `dataclasses.replace` makes another one.

Shapes of answers are given by name, from the tables in `shapes.py`, or as an `Answer` of one's own.
Mappings by surface have surfaces as keys (`chat`, `models`, `embeddings`, …) and `"*"` for all others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .streams import StreamShape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .answers import Answer, Headers
    from .faults import Fault
    from .replies import Replier, Reply

FAKE_KEY = "sk-test-not-a-real-key"

PUBLIC = "none"
"""The style of a surface that wants no credential."""


@dataclass(frozen=True)
class Manners:
    """Everything that one gateway does its own way.

    *Credentials*

    Args:
        key: the one right key; None for a gateway without keys, which takes anything.
        styles: by surface, the styles it takes: `bearer`, `raw` (`Authorization` without a scheme), a header's name
            such as `x-api-key`, `api-key` or `ocp-apim-subscription-key`, or `none` for a public surface.
        authorization_wins: where a surface takes some style of Authorization, that header alone is looked at when it
            is there, so that a wrong one beside a right key elsewhere is refused.
        public_checks_authorization: a public surface refuses an Authorization that it would not take.
        extra_credential_refused: what a second credential header is answered; None to ignore it.
        refusal: the answer to a credential that is not accepted.
        refusals: other answers by reason: `missing`, `malformed` (another style of Authorization), `wrong-key`.

    *Where things are*

    Args:
        bases: by surface, the prefixes under which it lives.
        absent: surfaces that are nowhere.
        trailing_slash: what one slash too many does: `missing`, `redirect` (307 to the path without it), `served`, or
            `required` (the path without it is a 307 to the one with it).
        missing_route: the answer where nothing is.
        checks: whether the credential is looked at before the route (`auth-first`) or after it (`route-first`).
        native_bases: prefixes where `/embeddings` and `/completions` answer 200 in llama.cpp's own shape.
        pages: further public paths and their JSON or `Answer`, such as `/chutes/utilization`.

    *Models*

    Args:
        models: the listed ids.
        served: the ids that it serves; None for the listed ones.
        facts: by id, more members for the listing's entry.
        listing: the dialect of the listing, a name in `LISTINGS` or an `Answer`.
        unknown_model: the answer to an id that it does not serve; `ignored` serves every id.

    *Capacity*

    Args:
        room: how many requests it works on at a time; None for any number.
        qps: how many it accepts in a second; None for any number.
        full: the answer when it is full.
        full_headers: added to that answer: `retry-after` and its like.
        always_full: credential styles that are let in and always told that it is full.

    *Serving*

    Args:
        reply: what it says: a text, a tool call, a message, or a function from the request's JSON to one of these.
        reasoning: the reasoning text of each answer; None for no reasoning.
        stream: the shape of its event streams.
        fault: something that goes wrong with every accepted request, by name or as a `Fault`.
        delay: seconds before it begins to answer a request of work; for demonstrations and benchmarks.
        event_delay: seconds between two events.
        headers: added to every answer that it serves.
        gzip: whether answers that are no streams are compressed.

    *In front of another gateway*

    Args:
        upstream: the base, such as `http://127.0.0.1:8000/v1`, to which accepted requests are sent on.
        upstream_key: the credential for it.
        upstream_style: and its style: `bearer`, `raw` or a header's name.
    """

    key: str | None = field(default=FAKE_KEY, repr=False)
    styles: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"*": ("bearer",)})
    authorization_wins: bool = True
    public_checks_authorization: bool = False
    extra_credential_refused: str | Answer | None = None
    refusal: str | Answer = "vllm"
    refusals: Mapping[str, str | Answer] = field(default_factory=dict)

    bases: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"*": ("/v1",)})
    absent: tuple[str, ...] = ("responses",)
    trailing_slash: Literal["missing", "redirect", "served", "required"] = "missing"
    missing_route: str | Answer = "fastapi"
    checks: Literal["auth-first", "route-first"] = "route-first"
    native_bases: tuple[str, ...] = ()
    pages: Mapping[str, object] = field(default_factory=dict)

    models: tuple[str, ...] = ("test/model-small", "test/model-large")
    served: tuple[str, ...] | None = None
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    listing: str | Answer = "openai"
    unknown_model: str | Answer = "vllm"

    room: int | None = None
    qps: float | None = None
    full: str | Answer = "openai"
    full_headers: Mapping[str, str] = field(default_factory=dict)
    always_full: tuple[str, ...] = ()

    reply: Replier | Reply | None = None
    reasoning: str | None = None
    stream: StreamShape = field(default_factory=StreamShape)
    fault: str | Fault | None = None
    delay: float = 0.0
    event_delay: float = 0.0
    headers: Mapping[str, str] | Headers = ()
    gzip: bool = False

    upstream: str | None = None
    upstream_key: str | None = field(default=None, repr=False)
    upstream_style: str = "bearer"

    def styles_for(self, surface: str) -> tuple[str, ...]:
        """The credential styles that a surface takes."""
        return self.styles.get(surface, self.styles.get("*", ()))

    def bases_for(self, surface: str) -> tuple[str, ...]:
        """The prefixes under which a surface lives; none when it is absent."""
        if not surface or surface in self.absent:
            return ()
        return self.bases.get(surface, self.bases.get("*", ()))

    def serves(self, model: str) -> bool:
        """Whether it serves this id."""
        if self.unknown_model == "ignored" or (self.upstream and self.served is None):
            return True
        return model in (self.models if self.served is None else self.served)

    @property
    def credential_headers(self) -> frozenset[str]:
        """The header names among the styles, lower case."""
        named = {style.lower() for styles in self.styles.values() for style in styles}
        return frozenset(named - {"bearer", "raw", PUBLIC})
