"""The lines that the doctor tells people to type. Pure. A name from a gateway or a base is quoted for the shell.

A key appears as its variable alone, and so does a base that holds a user, a password or a query.
"""

from __future__ import annotations

import json
import shlex
from urllib.parse import urlsplit

from ..credentials import BASIC, NONE, header_for
from .targets import Examined, Target

OPTIONS = {"text": "--model", "vlm": "--vlm-model", "tools": "--tools-model"}
"""By which a kind of model is typed."""


def key_variable(target: Target) -> str:
    """The environment variable that holds, or should hold, the key of this base."""
    return target.key_name or target.base_name.replace("API_BASE", "API_KEY")


def holds_secret(target: Target) -> bool:
    """Whether the base itself holds something that no line may show."""
    return bool(target.base.userinfo or target.base.query)


def export(variable: str, value: str = "") -> str:
    """`export NAME=value`; without a value, one to fill in."""
    return f"export {variable}={shlex.quote(value) if value else '...'}"


def export_key(target: Target) -> str:
    """Sets the key; with the base, where no variable names that: a key goes to the base that it stands beside."""
    known = target.configured or holds_secret(target)
    base = "" if known else f"{target.base_name}={shlex.quote(str(target.base))} "
    return f"export {base}{key_variable(target)}=..."


def name_model(target: Target, kind: str = "text", model: str = "") -> str:
    """Names a model for "text", "vlm" or "tools"; without one, to be filled in."""
    if target.configured:
        return export(target.base_name.replace("API_BASE", f"{kind.upper()}_MODEL"), model)
    return doctor(target, "", OPTIONS[kind], shlex.quote(model) if model else "...")


def past_proxy(host: str) -> str:
    """Adds a host to those that are asked without a proxy."""
    return f'export NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{host}"'


def base_word(target: Target) -> str:
    """The base as a word of a command line."""
    return f'"${target.base_name}"' if holds_secret(target) else shlex.quote(str(target.base))


def doctor(target: Target, base: str = "", *more: str) -> str:
    """`litellm-gateway doctor BASE --key-env NAME`, or of another base; with the models that were typed."""
    word = shlex.quote(base) if base else base_word(target)
    key = ("--key-env", target.key_name) if target.key_name else ()
    typed = [] if target.configured else [each for each in OPTIONS.items() if getattr(target.models, each[0])]
    named = [f"{option} {shlex.quote(getattr(target.models, kind))}" for kind, option in typed if option not in more]
    return " ".join(("litellm-gateway doctor", word, *key, *named, *more))


def models(target: Target) -> str:
    """`litellm-gateway models BASE`."""
    return f"litellm-gateway models {base_word(target)}"


def resolve(host: str) -> str:
    """Asks this machine for the addresses of a host; Python is there, unlike other programs that could."""
    return "python3 -c " + shlex.quote(f"import socket; print(socket.getaddrinfo({json.dumps(host)}, 443))")


def curl_chat(examined: Examined, style: str, base: str, *, stream: bool = False) -> str:
    """The chat call of the matrix by hand, with the key's variable in the place of the key."""
    target = examined.target
    body: dict[str, object] = {
        "model": examined.models.text or "default",
        "messages": [{"role": "user", "content": "hello"}],
    }
    body |= {"stream": True} if stream else {}
    where = shlex.quote(f"{base}/chat/completions")
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    options = "-sS -N" if stream else "-sS"
    return f"curl {options} {where} {_credential(target, style)}-H 'Content-Type: application/json' -d {data}"


def _credential(target: Target, style: str) -> str:
    if target.key is None or style == NONE:
        return ""
    if style == BASIC:
        return f'-u "${key_variable(target)}" '
    name, value = header_for(style, f"${key_variable(target)}") or ("", "")
    return f'-H "{name}: {value}" '


def certificate(target: Target) -> str:
    """Shows the dates and the names of the certificate that the gateway presents."""
    parts = urlsplit(target.base.origin)
    where = shlex.quote(parts.netloc if parts.port else f"{parts.netloc}:443")
    shown = "openssl x509 -noout -subject -issuer -dates -ext subjectAltName"
    return f"openssl s_client -connect {where} -servername {shlex.quote(parts.hostname or '')} </dev/null | {shown}"
