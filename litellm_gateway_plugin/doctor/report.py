"""What the doctor found, as plain values: this is what `--json` writes, and what table, lines and page are made of.

Pydantic makes the JSON schema from these classes (`docs/doctor.schema.json`), so every field is documented here. Fields
are added, never renamed or removed, as long as `SCHEMA_VERSION` stays. No value here ever holds a credential: styles
and environment variables go by their names, bases are without user, password and query, and a gateway's own words have
every copy of the key taken out.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Outcome(str, Enum):
    """How a probe or a check came out."""

    PASS = "PASS"  # noqa: S105  no password
    FAIL = "FAIL"
    CAPACITY = "CAPACITY"
    SKIPPED = "SKIPPED"


class Exit(IntEnum):
    """The doctor's exit status."""

    GOOD = 0
    FAILED = 1
    MISUSED = 2
    FULL = 3


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Cell(_Value):
    """One cell of the matrix: one request, made past litellm."""

    surface: Literal["models", "chat/completions"]
    style: str
    """The credential style: "bearer", "x-api-key", "raw", "none", or the name of another header."""
    api_base: str
    """The form of the base that was asked."""
    toggled: bool
    """Whether that is the base with its `/v1` put on or taken off."""
    outcome: Outcome
    """CAPACITY: the credential was let in, and the gateway is full. SKIPPED: nothing was sent; `words` say why."""
    status: int | None = None
    """The HTTP status; null when there was no answer."""
    verdict: str = ""
    """What the answer means: "proven", "style", "base", "model", "forbidden", "full", "spent" (a quota is), "rejected",
    "failed", "broken";
    or, without an answer, "connect", "tls", "timeout", "broken-off"; "" when nothing was sent."""
    words: str = ""
    """The gateway's own words, or what failed; at most a few hundred characters on one line."""
    html: bool = False
    """Whether a web page came in the place of an answer."""
    retry_after_s: float | None = None
    """Seconds that a full gateway asks to wait."""
    seconds: float = 0.0
    """From the request to the end of the answer."""
    skew_s: float | None = None
    """Seconds by which the gateway's clock (its Date header) is ahead of ours."""


class Check(_Value):
    """One check: of a gateway, through litellm and the plugin, or of the installation."""

    name: str
    """For a gateway: "direct_json", "stream", "tools", "picture", "embeddings", "router", "parallel", "model_list".
    For the installation: the names in `doctor/selftest.py`."""
    outcome: Outcome
    model: str = ""
    """The model that was called."""
    words: str = ""
    """Why it failed or was skipped, or what was seen."""
    hint: str = ""
    """What to set or to do, such as "set LITELLM_GATEWAY_VLM_MODEL"."""
    seconds: float | None = None
    """The whole check; null when nothing was sent."""
    first_token_s: float | None = None
    """Seconds to the first token, of a stream."""
    requests: int | None = None
    """HTTP requests that it took, refused ones included, as far as the plugin carried them."""
    served: str = ""
    """"2/2" for checks of several calls."""
    retry_after_s: float | None = None
    """Seconds that a full gateway asks to wait."""


class Diagnosis(_Value):
    """What is wrong, in words, and what to type next."""

    code: str
    """A stable name, such as "wrong-key"; the troubleshooting page has a section under it."""
    serious: bool
    """Whether it keeps the gateway from working; else it is good to know."""
    title: str
    """A few words."""
    words: str
    """What was seen, and what it means."""
    next_line: str = ""
    """The exact line to type next, "" when there is none."""


class Snippets(_Value):
    """Ready to paste. Keys are read from the environment, so no snippet holds one."""

    python: str
    model_list: str
    """A Router's `model_list`, as Python."""
    config: str
    """A `config.yaml` for the LiteLLM proxy."""


class GatewayReport(_Value):
    """One gateway."""

    label: str
    """The base without user, password and query; numbered when several accounts share one."""
    api_base: str
    """The base as it was given, without user, password and query."""
    key_name: str | None
    """The environment variable that holds its key; null for none."""
    model: str = ""
    """The model that was called, "" when none is known."""
    vlm_model: str = ""
    tools_model: str = ""
    embedding_model: str = ""
    listed: int | None = None
    """How many models it lists; null without a listing."""
    works_base: str = ""
    """The form of the base on which chat works, "" when on none."""
    works_style: str = ""
    """The credential style with which chat works, "" when with none."""
    outcome: Outcome
    """PASS: all good. CAPACITY: reachable, and full. FAIL: something failed."""
    matrix: tuple[Cell, ...] = ()
    checks: tuple[Check, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    snippets: Snippets | None = None
    """For a gateway that works or is full."""


class DoctorReport(_Value):
    """One run of `litellm-gateway doctor`."""

    schema_version: int = SCHEMA_VERSION
    plugin_version: str
    litellm_version: str | None
    """Null when litellm is not installed."""
    python_version: str
    started_at: str
    """UTC, ISO 8601."""
    seconds: float
    requests_announced: int = Field(ge=0)
    """What the doctor said beforehand, at most: requests past litellm and calls through it, together. A call takes one
    request or a few: the first ones negotiate."""
    exit_status: Exit
    gateways: tuple[GatewayReport, ...]
    installation: tuple[Check, ...] = ()
    """The self-test."""
