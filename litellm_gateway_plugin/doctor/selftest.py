"""The self-test: whether litellm here is what the plugin needs, and what in this installation stands in its way.

| name | what is looked at |
| --- | --- |
| `litellm` | its version: installed, 1.90.0 or newer, none of those that were tampered with |
| `packages` | what litellm imports late: tenacity for retries, the HTTP library of the OpenAI client |
| `provider` | a sync call of `gateway/<id>` reaches the plugin |
| `hook` | the hook before an async call fires |
| `tool_calls` | a call with tools comes through (litellm imports `mcp` for it) |
| `stream` | an async stream is open when it is handed over |
| `router` | an async Router leaves full gateways out |
| `session` | a sync call of `openai/<id>` goes through the plugin's HTTP client; none of the program's own is there |
| `switches` | what the program has set in litellm: `api_base`, `drop_params`, callbacks, ... |
| `settings` | whether the settings in the environment can be used |
| `variables` | variables that look like settings and are none |
| `openai_variables` | a base for litellm's own OpenAI calls |
| `proxy` | a proxy that stands between this machine and itself |
| `cache` | whether the cache folder can be written |
| `redis` | whether the Redis that is configured answers |

From `provider` to `session` calls are made, to a gateway on the loopback interface (`loopback.py`). What does no harm
is a PASS, with words.
"""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from ..answers import shorten
from ..errors import InvalidInput
from ..printable import counted
from ..settings import GatewaySettings, load_settings
from ..urls import parse_base
from ..variables import misspelt, ours, without_base
from .host import LOOPBACK, silence, words_of
from .loopback import TRIED, try_litellm
from .report import Check, Outcome

Seen = tuple[Outcome, str, str]
"""An outcome, words, and what to do."""

OLDEST = (1, 90, 0)
QUIET_SINCE = (1, 106, 0)
"""Before it, litellm logs `api_key=` at DEBUG."""

MALWARE = ("1.82.7", "1.82.8")
TAMPERED = (1, 107)

PROXY_NAMES = ("http_proxy", "all_proxy")
OPENAI_BASES = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
NOT_LOADED = "not looked at, because no gateway works; --all looks all the same"
REDIS_COMMAND = 'pip install "litellm-gateway-plugin[redis]"'

SWITCHES: Mapping[str, str] = {
    "api_base": "calls without a base go there",
    "api_key": "the key of calls without one, to that base alone",
    "drop_params": "parameters that litellm takes for unsupported are left out",
    "modify_params": "litellm changes requests",
    "cache": "answers may come from a cache",
    "num_retries": "failed calls are repeated",
}


def self_test(environment: Mapping[str, str] = os.environ, *, load: bool = True) -> tuple[Check, ...]:
    """Look at the installation. litellm's globals are afterwards as they were, and nothing leaves this machine.

    Args:
        environment: where variables are looked up. The settings themselves are always those of the process.
        load: whether litellm is imported and called, which takes seconds; the rest takes none.
    """
    return tuple(_checks(environment, load=load))


def _checks(environment: Mapping[str, str], *, load: bool) -> Iterator[Check]:
    host = _of_litellm(litellm_version())
    host = _imported(host) if load else host
    yield _named("litellm", host)
    yield _named("packages", _packages())
    if load and host[0] is Outcome.PASS:
        yield _named("switches", _switches())
        yield from try_litellm()
    else:  # what is bad must not even be imported
        why = NOT_LOADED if host[0] is Outcome.PASS else "not tried with this litellm"
        yield from (_named(name, (Outcome.SKIPPED, why, "")) for name in ("switches", *(each.name for each in TRIED)))
    settings, problem = _settings()
    yield _named("settings", problem)
    yield _named("variables", _variables(environment))
    yield _named("openai_variables", _openai_variables(environment))
    yield _named("proxy", _proxy(environment, settings))
    for name, look in (("cache", _cache), ("redis", _redis)):
        unknown = (Outcome.SKIPPED, "the settings cannot be used", "")
        yield _named(name, unknown if settings is None else look(settings))


def _named(name: str, seen: Seen) -> Check:
    return Check(name=name, outcome=seen[0], words=seen[1], hint=seen[2])


def _good(words: str, hint: str = "") -> Seen:
    return Outcome.PASS, words, hint


def _bad(words: str, hint: str) -> Seen:
    return Outcome.FAIL, words, hint


# litellm --------------------------------------------------------------------------------------------------------------


def litellm_version() -> str | None:
    """The installed litellm's version, read without importing it; None without one."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return None


def _of_litellm(found: str | None) -> Seen:
    if found is None:
        return _bad("litellm is not installed", "pip install litellm")
    number = tuple(int(part) for part in re.findall(r"\d+", found)[:3])
    if found in MALWARE:
        words = (
            f"litellm {found} was malware that read credentials: whatever keys were on this machine are known to others"
        )
        return _bad(words, "pip install -U litellm, then replace every key")
    if number[:2] == TAMPERED:
        return _bad(f"litellm {found} is of a line that was reported as tampered with", "pip install -U litellm")
    if number < OLDEST:
        return _bad(f"litellm {found} is too old: before 1.90.0 chunks of streams get lost", "pip install -U litellm")
    if number < QUIET_SINCE:
        return _good(
            f"{found}; before 1.106 litellm itself logs keys at DEBUG", "leave LITELLM_LOG unset, or upgrade it"
        )
    return _good(found)


def _imported(seen: Seen) -> Seen:
    """The same, unless this litellm cannot be imported at all: then nothing further can be tried with it."""
    if seen[0] is not Outcome.PASS:
        return seen
    try:
        with silence():
            return seen
    except Exception as error:  # noqa: BLE001  importing a package runs it: whatever it raises is the finding
        words = f"litellm cannot be imported: {type(error).__name__}: {words_of(error)}"
        return _bad(shorten(words), "pip install --force-reinstall litellm")


def _packages() -> Seen:
    if importlib.util.find_spec("tenacity") is None:
        return _bad("tenacity is missing: litellm imports it for num_retries", "pip install tenacity")
    try:
        client = version("openai")
    except PackageNotFoundError:
        return _bad("openai is missing: litellm's OpenAI client", "pip install openai")
    library = "httpx2" if int(client.partition(".")[0]) >= 3 else "httpx"
    if importlib.util.find_spec(library) is None:
        return _bad(f"{library} is missing: openai {client} needs it", f"pip install {library}")
    return _good(f"tenacity, openai {client} with {library}")


def _switches() -> Seen:
    """What the program has set in litellm."""
    with silence():
        import litellm

        from ..installation import CALLBACK_LISTS, current

        ours: tuple[Any, ...] = () if (installed := current()) is None else (installed.callback,)
        foreign = [entry["provider"] for entry in litellm.custom_provider_map if _is_stolen(entry)]
        found = [f"litellm.{name} is set: {what}" for name, what in SWITCHES.items() if getattr(litellm, name, None)]
        listed = (each for name in CALLBACK_LISTS for each in getattr(litellm, name, None) or () if each not in ours)
        callbacks = sorted({_callback(each) for each in listed})
    if foreign:
        return _bad(f"the program has registered a provider of its own as {foreign[0]!r}", "give it another name")
    words = [*found, f"other callbacks: {', '.join(callbacks)}"] if callbacks else found
    return _good("; ".join(words) or "nothing else is set in litellm")


def _is_stolen(entry: Mapping[str, Any]) -> bool:
    from ..custom_llm import GatewayLLM
    from ..doors import ALIASES, PROVIDER

    return entry["provider"] in (PROVIDER, *ALIASES) and not isinstance(entry["custom_handler"], GatewayLLM)


def _callback(entry: Any) -> str:
    """What to call it; never what it looks like, which may tell a key."""
    if isinstance(entry, str):
        return entry
    return getattr(entry, "__name__", None) or type(entry).__name__


# The environment ------------------------------------------------------------------------------------------------------


def _settings() -> tuple[GatewaySettings | None, Seen]:
    try:
        settings = load_settings()
        count = len(settings.all_bases)
    except InvalidInput as error:
        return None, _bad(error.message, "docs/settings.md names what each one takes")
    return settings, _good(f"{counted(count, 'gateway')} in the environment")


def _variables(environment: Mapping[str, str]) -> Seen:
    unknown, alone = misspelt(environment), without_base(environment)
    if unknown:
        return _bad(" ".join(unknown), "")
    if alone:
        return _bad(f"{', '.join(alone)}: no base has this number: ignored", "the base has the same number at its end")
    return _good(f"{len(ours(environment))} of ours are set")


def _openai_variables(environment: Mapping[str, str]) -> Seen:
    names = [name for name in OPENAI_BASES if environment.get(name)]
    if not names:
        return _good("no other base for openai/<id>")
    return _good(f"{names[0]} is set: calls of openai/<id> without api_base go there, and not to your gateways")


def _proxy(environment: Mapping[str, str], settings: GatewaySettings | None) -> Seen:
    name = next((name for name, value in environment.items() if value and name.lower() in PROXY_NAMES), None)
    if name is None:
        return _good("none for http")
    spared = {each.strip() for each in (environment.get("no_proxy") or environment.get("NO_PROXY") or "").split(",")}
    here = {
        host for base in (settings.all_bases if settings is not None else ()) if (host := _host_here(base.api_base))
    }
    if "*" in spared or (here or {LOOPBACK}) <= spared:
        return _good(f"{name} is set, and not for this machine")
    words = f"{name} holds for {LOOPBACK} too: a gateway on this machine is asked for through the proxy"
    return (_bad if here else _good)(words, f"export NO_PROXY={LOOPBACK},localhost")


def _host_here(api_base: str) -> str:
    """The host of a base on this machine, "" for one elsewhere."""
    host = urlsplit(parse_base(api_base).origin).hostname or ""
    return host if host in ("localhost", "::1") or host.startswith("127.") else ""


def _cache(settings: GatewaySettings) -> Seen:
    if not settings.cache:
        return Outcome.SKIPPED, "LITELLM_GATEWAY_CACHE=false", ""
    folder = settings.cache_dir or Path(platformdirs.user_cache_dir("litellm-gateway-plugin"))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return _good(str(folder))
    except OSError as error:
        words = f"{folder} cannot be written ({type(error).__name__}): each process learns anew what works"
        return _good(words, "set LITELLM_GATEWAY_CACHE_DIR, or LITELLM_GATEWAY_CACHE=false")


def _redis(settings: GatewaySettings) -> Seen:
    from ..sharing import client_of

    url = settings.redis
    if url is None:
        return Outcome.SKIPPED, "none is configured: each process keeps its own gate", ""
    off = "LITELLM_GATEWAY_REDIS_URL=off does without it"
    try:
        with client_of(url) as client:
            client.ping()
    except ImportError:
        return _bad("a Redis is configured, and its client is missing", REDIS_COMMAND)
    except ValueError:
        return _bad("the URL of the Redis cannot be read: it must be like redis://:password@host:6379/0", off)
    except Exception as error:  # noqa: BLE001  the client's own errors and the network's; their words may hold the URL
        return _bad(f"the Redis that is configured does not answer ({type(error).__name__})", off)
    return _good("it answers")
