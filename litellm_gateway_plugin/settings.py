"""Every knob, its environment name, its default and its unit. `docs/settings.md` is made from this class."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from typing_extensions import Self

from .credentials import clean_key
from .errors import InvalidInput
from .urls import Base, parse_base

PREFIX = "LITELLM_GATEWAY_"
FIELD_NAMED = re.compile(r'field "(\w+)"')
REDIS_URL = re.compile(r"(?:rediss?|unix)://|off\Z", re.IGNORECASE)
NUMBERED = re.compile(r"(?:LITELLM_GATEWAY|CHUTES)_API_BASE_(\d+)")
BASE_NAMES = ("LITELLM_GATEWAY_API_BASE", "CHUTES_API_BASE")
TRUE = {"true", "1", "yes", "on"}
PREFERENCES = ("text_model", "vlm_model", "tools_model")
KEY_NAMES = ("LITELLM_GATEWAY_API_KEY", "CHUTES_API_KEY")


class GatewayBase(BaseModel):
    """A configured gateway: its base, the key that belongs to it, and the models that are preferred there.

    Attributes:
        key_name: the environment variable that holds the key, None when it was given in code.
    """

    model_config = ConfigDict(frozen=True)

    api_base: str
    api_key: SecretStr | None = None
    key_name: str | None = None
    text_model: str | None = None
    vlm_model: str | None = None
    tools_model: str | None = None

    def preferred(self, kind: str) -> str | None:
        """The model that the operator has named for "text", "vlm" or "tools"."""
        named: str | None = getattr(self, f"{kind}_model", None)
        return named

    @property
    def key(self) -> str | None:
        """The key in the clear, for a header and nothing else. Raises InvalidInput: no header can carry it."""
        try:
            return clean_key(self.api_key.get_secret_value()) if self.api_key else None
        except InvalidInput as error:
            where = f"The API key in {self.key_name}" if self.key_name else "The API key"
            raise InvalidInput(error.message.replace("The API key", where, 1)) from None


def _named(*older: str, name: str) -> AliasChoices:
    """Our own environment name, then the older ones that stay in use, then the field's name for keyword arguments."""
    return AliasChoices(PREFIX + name.upper(), *older, name)


class GatewaySettings(BaseSettings):
    """What an operator can set, in the environment or as keyword arguments of `install()`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, populate_by_name=True, env_ignore_empty=True)

    api_base: str | None = Field(
        None,
        repr=False,  # it may hold user and password
        validation_alias=_named("CHUTES_API_BASE", name="api_base"),
        description="Base of the gateway for calls that name none. Further ones: the same name with `_1`, `_2`, …",
    )
    api_key: SecretStr | None = Field(
        None,
        validation_alias=_named("CHUTES_API_KEY", name="api_key"),
        description="Key of that gateway; sent to its origin and to no other. Numbered like the bases.",
    )
    bases: tuple[GatewayBase, ...] = Field(
        (),
        repr=False,
        validation_alias=_named(name="bases"),
        description='Further gateways as JSON: `[{"api_base": …, "api_key": …}]`; numbered names end up here too.',
    )
    intercept: Literal["auto", "configured", "off"] = Field(
        "auto",
        validation_alias=_named(name="intercept"),
        description="Which calls that do not name the provider `gateway` are taken: all with a foreign `api_base`, "
        "those with a configured base, or none.",
    )
    negotiate: bool = Field(
        True,
        validation_alias=_named("SCILLM_CHUTES_CANONICALIZE_OPENAI_AUTH", name="negotiate"),
        description="Whether another credential style is tried when one is refused.",
    )
    cold_grace_s: float = Field(
        1.0,
        ge=0,
        le=60,
        validation_alias=_named(name="cold_grace_s"),
        description="Seconds for which simultaneous first calls wait for the first one's status line.",
    )
    namespaces: tuple[str, ...] = Field(
        (),
        validation_alias=_named(name="namespaces"),
        description='Further vendor namespaces for sync calls, as a JSON list: `["acme"]` routes `acme/some-model`.',
    )
    text_model: str | None = Field(
        None,
        validation_alias=_named("CHUTES_TEXT_MODEL", name="text_model"),
        description="Preferred text model; its namespace is known from the start.",
    )
    vlm_model: str | None = Field(
        None,
        validation_alias=_named("CHUTES_VLM_MODEL", name="vlm_model"),
        description="Preferred picture model; its namespace is known from the start.",
    )
    tools_model: str | None = Field(
        None,
        validation_alias=_named("CHUTES_TOOLS_MODEL", name="tools_model"),
        description="Preferred model for tool calls; its namespace is known from the start.",
    )
    gate: bool = Field(
        True,
        validation_alias=_named(name="gate"),
        description="Whether requests wait while their gateway is full. Without it every one is sent at once.",
    )
    cooldown_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        validation_alias=_named("SCILLM_COOLDOWN_429_S", name="cooldown_s"),
        description="Seconds for which a gateway is left alone, at least, after a refusal that names no time.",
    )
    retry_after_s: float = Field(
        0.0,
        ge=0,
        validation_alias=_named("LITELLM_RETRY_AFTER", name="retry_after_s"),
        description="Seconds between a refusal and the next request, at least, whatever the refusal names.",
    )
    rate_limit_qps: float | None = Field(
        None,
        gt=0,
        validation_alias=_named("SCILLM_RATE_LIMIT_QPS", name="rate_limit_qps"),
        description="Requests a second to one origin with one key, at most, evenly spaced; 0 for any number.",
    )
    max_concurrency: int | None = Field(
        None,
        ge=1,
        validation_alias=_named(name="max_concurrency"),
        description="Requests under way to one model of an origin, at most; below it the limit adapts by itself.",
    )
    max_wait_s: float | None = Field(
        None,
        ge=0,
        validation_alias=_named(name="max_wait_s"),
        description="Seconds for which a call is held, at most; its own time-out always bounds it.",
    )
    max_retries: int | None = Field(
        None,
        ge=0,
        le=100,
        validation_alias=_named("LITELLM_MAX_RETRIES", name="max_retries"),
        description="Times that a failed call is sent again when neither the call nor its Router says how often.",
    )
    timeout_s: float | None = Field(
        None,
        gt=0,
        validation_alias=_named("LITELLM_TIMEOUT", name="timeout_s"),
        description="Seconds for a call that names no time-out of its own, instead of litellm's default.",
    )
    map_503: bool = Field(
        True,
        validation_alias=_named(name="map_503"),
        description="Whether a 503 is a `RateLimitError`; otherwise it stays a `ServiceUnavailableError`.",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=_named(name="redis_url"),
        description="Redis that processes share the gate, the guesses and the listings through; `off` for none. "
        "Without it: `REDIS_URL`, or `REDIS_HOST` and its like, as litellm reads them.",
    )
    read_listings: bool = Field(
        False,
        validation_alias=_named(name="read_listings"),
        description="Whether the listing of each gateway in use is read in the background, so that litellm knows price "
        "and window of its models. Otherwise a listing is read when something asks for it.",
    )
    rank_refresh_s: float = Field(
        30.0,
        ge=0,
        validation_alias=_named(name="rank_refresh_s"),
        description="Seconds between two looks at the gateways of an `auto_router_from_env`; 0 for one look.",
    )
    model_map: dict[str, str] = Field(
        {},
        validation_alias=_named(name="model_map"),
        description='Ids that are meant by other names, as JSON: `{"gpt-4o": "Qwen/Qwen3-32B"}`.',
    )
    listing_ttl_s: float = Field(
        300.0,
        gt=0,
        validation_alias=_named(name="listing_ttl_s"),
        description="Seconds for which a listing is not read again; then it is, in the background, when it is used.",
    )
    disable_aiohttp: bool = Field(
        False,
        validation_alias=_named("SCILLM_DISABLE_AIOHTTP", name="disable_aiohttp"),
        description="Whether async calls use httpx alone (litellm's own `disable_aiohttp_transport` does the same).",
    )
    cache: bool = Field(
        True,
        validation_alias=_named(name="cache"),
        description="Whether what worked, and what was listed, is kept on disk for the next process; never a key.",
    )
    cache_dir: Path | None = Field(
        None,
        validation_alias=_named(name="cache_dir"),
        description="Folder of these files; the user's cache folder by default.",
    )

    @field_validator("rate_limit_qps", "timeout_s", mode="before")
    @classmethod
    def _nothing_is_none(cls, value: object) -> object:
        """A nought in these older names means that there is no such limit."""
        try:
            return None if isinstance(value, (str, int, float)) and float(value) <= 0 else value
        except ValueError:
            return value

    @field_validator("redis_url")
    @classmethod
    def _redis_is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not REDIS_URL.match(value.get_secret_value()):
            raise ValueError('it must be like "redis://:password@host:6379/0", or "off"')
        return value

    @model_validator(mode="after")
    def _bases_are_urls(self) -> Self:
        try:
            if self.api_base is not None:
                named_base(_name_of(os.environ, BASE_NAMES, "", self.api_base) or "api_base", self.api_base)
            listed = f"{PREFIX}BASES" if os.environ.get(f"{PREFIX}BASES") else "bases"
            for place, base in enumerate(self.bases):
                named_base(f"{listed}[{place}].api_base", base.api_base)
            object.__setattr__(self, "bases", (*self.bases, *numbered_bases(os.environ)))
        except InvalidInput as error:
            raise ValueError(error.message) from None
        return self

    @property
    def redis(self) -> str | None:
        """The Redis in force, with its password, for its client and nothing else; None without one."""
        if self.redis_url is None:
            return redis_from(os.environ)
        url = self.redis_url.get_secret_value().strip()
        return None if url.lower() in {"", "off"} else url

    def sharing_secret(self, url: str) -> bytes:
        """What fingerprints in that Redis are keyed with: the same for all processes of one operator."""
        return sharing_secret(os.environ, url)

    @property
    def all_bases(self) -> tuple[GatewayBase, ...]:
        """Every configured gateway, the unnumbered one first, none twice."""
        unique: dict[tuple[str, str | None], GatewayBase] = {}
        for base in (*self._first, *self.bases):
            known = parse_base(base.api_base)
            unique.setdefault((min(str(known), known.form(toggled=True), key=len), base.key), base)
        return tuple(unique.values())

    @property
    def _first(self) -> tuple[GatewayBase, ...]:
        if not self.api_base:
            return ()
        key, preferred = self.api_key, {name: getattr(self, name) for name in PREFERENCES}
        name = _name_of(os.environ, KEY_NAMES, "", key.get_secret_value()) if key is not None else None
        return (GatewayBase(api_base=self.api_base, api_key=key, key_name=name, **preferred),)


def redis_from(environment: Mapping[str, str]) -> str | None:
    """The URL of the Redis that litellm itself uses: `REDIS_URL`, or made of `REDIS_HOST` and its like."""
    if environment.get("REDIS_URL"):
        return environment["REDIS_URL"]
    host = environment.get("REDIS_HOST")
    if not host:
        return None
    scheme = "rediss" if environment.get("REDIS_SSL", "").lower() in TRUE else "redis"
    user, password = (quote(environment.get(name, ""), safe="") for name in ("REDIS_USERNAME", "REDIS_PASSWORD"))
    credential = f"{user}:{password}@" if user or password else ""
    where = f"[{host}]" if ":" in host else host
    port, database = environment.get("REDIS_PORT") or "6379", environment.get("REDIS_DB") or "0"
    return f"{scheme}://{credential}{where}:{port}/{database}"


def sharing_secret(environment: Mapping[str, str], url: str) -> bytes:
    """What fingerprints in a shared Redis are keyed with: the same for all processes of one operator.

    It comes from `LITELLM_SALT_KEY`, `LITELLM_MASTER_KEY` or the password of the Redis, whichever is there first.
    """
    names = ("LITELLM_SALT_KEY", "LITELLM_MASTER_KEY")
    given = next((environment[name] for name in names if environment.get(name)), None) or _password(url)
    return hashlib.blake2b(given.encode(), key=b"litellm-gateway-plugin", digest_size=32).digest()


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # it will be told where it is used
        return ""


def numbered_bases(environment: Mapping[str, str]) -> list[GatewayBase]:
    """The gateways under numbered names, in the order of their numbers; gaps are allowed.

    A number without a key of its own takes the unnumbered key only when both have the same origin: a key goes to the
    origin that it was set for.
    """
    numbers = sorted({int(found[1]) for name in environment if (found := NUMBERED.fullmatch(name))})
    return [base for number in numbers if (base := _numbered(environment, number)) is not None]


def _numbered(environment: Mapping[str, str], number: int) -> GatewayBase | None:
    suffix = f"_{number}"
    base_name, key_name = _holder(environment, BASE_NAMES, suffix), _holder(environment, KEY_NAMES, suffix)
    if base_name is None:
        return None
    base, first = named_base(base_name, environment[base_name]), _holder(environment, BASE_NAMES, "")
    if key_name is None and first is not None and named_base(first, environment[first]).origin == base.origin:
        key_name = _holder(environment, KEY_NAMES, "")
    return GatewayBase(
        api_base=environment[base_name],
        api_key=SecretStr(environment[key_name]) if key_name else None,
        key_name=key_name,
        **{
            each: _first(environment, (PREFIX + each.upper(), f"CHUTES_{each.upper()}"), suffix) for each in PREFERENCES
        },
    )


def _name_of(environment: Mapping[str, str], names: tuple[str, ...], suffix: str, value: str) -> str | None:
    """The variable that holds this value."""
    return next((name + suffix for name in names if environment.get(name + suffix) == value), None)


def _holder(environment: Mapping[str, str], names: tuple[str, ...], suffix: str) -> str | None:
    """The first of these variables that holds something."""
    return next((name + suffix for name in names if environment.get(name + suffix)), None)


def _first(environment: Mapping[str, str], names: tuple[str, ...], suffix: str) -> str | None:
    name = _holder(environment, names, suffix)
    return None if name is None else environment[name]


def named_base(name: str, value: str) -> Base:
    """The base; the complaint about one that cannot be used names what holds it. Raises InvalidInput."""
    try:
        return parse_base(value)
    except InvalidInput as error:
        raise InvalidInput(name + error.message.removeprefix("api_base")) from None


def load_settings(**overrides: Any) -> GatewaySettings:
    """The settings of the environment with keyword arguments on top.

    Raises:
        InvalidInput: a value cannot be used; the message names the setting and the reason, never the value.
    """
    try:
        return GatewaySettings(**overrides)
    except ValidationError as error:
        raise InvalidInput(f"The settings cannot be used: {'; '.join(map(_reason, error.errors()))}.") from None
    except SettingsError as error:  # a list or a dictionary that is no JSON
        named = FIELD_NAMED.search(str(error))
        name = PREFIX + named[1].upper() if named else "one of the variables"
        raise InvalidInput(f"The settings cannot be used: {name} must be JSON, as docs/settings.md shows.") from None


def _reason(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    return ": ".join(filter(None, (where, problem["msg"].removeprefix("Value error, ").rstrip("."))))
