"""Which gateways the doctor looks at, with which key and which models. No I/O beyond the environment; no litellm.

A key goes to the origin that it was set for: the doctor follows the same rule as the calls.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..catalogue import Listing
from ..credentials import BASIC, clean_key
from ..errors import InvalidInput, NoBase
from ..settings import BASE_NAMES, KEY_NAMES, NUMBERED, GatewayBase, GatewaySettings, named_base
from ..survey import labelled
from ..urls import Base, parse_base
from ..variables import no_gateway
from .report import Cell

NAME = re.compile(r"_?[A-Z]+\d{0,3}(?:_(?:[A-Z]+\d{0,3}|\d{1,3}))*")
"""A variable as people name them: words in capitals. What looks otherwise may be a key, and is never shown."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models to call, "" where none is known."""

    text: str = ""
    vlm: str = ""
    tools: str = ""
    embedding: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One gateway to look at.

    Attributes:
        label: what people call it: no user, password or query, numbered where several accounts share one base.
        base: the cleaned base.
        key: the credential, None for none.
        key_name: the environment variable that holds it, None for none (or when the base itself holds it).
        named: the style that the operator's own form of the key names ("basic" for user and password in the base).
        models: as the operator names them.
        configured: whether a variable of its own names this base, so that litellm calls find it without `api_base`.
        base_name: that variable; else one that names no other gateway, to be set.
    """

    label: str
    base: Base
    key: str | None = field(repr=False)
    key_name: str | None = None
    named: str | None = None
    models: Models = Models()
    configured: bool = True
    base_name: str = BASE_NAMES[0]


@dataclass(frozen=True, slots=True)
class Examined:
    """What the matrix has shown of a target.

    Attributes:
        models: the ones to call: named by the operator, or else chosen from the listing.
        listing: None when it has none.
        cells: the matrix.
        works_base: the form of the base on which chat works (or is full), "" when on none.
        works_style: the style with which it does.
    """

    target: Target
    models: Models
    listing: Listing | None
    cells: tuple[Cell, ...]
    works_base: str = ""
    works_style: str = ""


def targets_of(
    settings: GatewaySettings,
    environment: Mapping[str, str],
    bases: Sequence[str] = (),
    key_name: str | None = None,
    models: Models = Models(),
) -> list[Target]:
    """The gateways to look at.

    Args:
        settings: as the environment has them.
        environment: where a named key is looked up.
        bases: as typed; none for every base in the environment.
        key_name: the environment variable with the key for the typed bases.
        models: as typed; they go before those of the environment.

    Raises:
        errors.NoBase: none is typed and none is in the environment.
        errors.InvalidInput: a base or a key that cannot be sent, or a name that is none of a variable with a key.
    """
    if key_name is not None:
        _check_key_name(key_name, environment)
        if not bases:
            raise InvalidInput("--key-env is the key for typed bases: type one, or leave it out.")
    configured = settings.all_bases
    if not bases and not configured:
        raise NoBase(no_gateway(environment))
    chosen = [_typed(text, configured, environment, key_name) for text in bases] if bases else list(configured)
    return [_target(label, base, settings, models, environment) for label, base in labelled(chosen).items()]


def _check_key_name(name: str, environment: Mapping[str, str]) -> None:
    """Raises InvalidInput: no variable holds a key under this name. It is shown only when it can be no key itself."""
    if environment.get(name):
        return
    if name in environment or NAME.fullmatch(name):
        raise InvalidInput(f"The environment variable {name} is not set; it should hold the key.")
    if name.startswith("$"):
        raise InvalidInput("--key-env wants the name of an environment variable without the $, as in --key-env MY_KEY.")
    raise InvalidInput(
        "--key-env wants the name of an environment variable, and this is none: export MY_KEY=..., then "
        "--key-env MY_KEY."
    )


def _typed(
    text: str, configured: Sequence[GatewayBase], environment: Mapping[str, str], key_name: str | None
) -> GatewayBase:
    """A typed base with its key: the one named beside it, else that of the same base or origin in the environment.

    The unnumbered key serves any typed base when no unnumbered base says where it belongs.
    """
    base = named_base("BASE", text)
    if key_name is not None:
        return GatewayBase.model_validate({"api_base": text, "api_key": environment[key_name], "key_name": key_name})
    forms = {base.form(toggled) for toggled in (False, True)}
    same = [each for each in configured if parse_base(each.api_base).origin == base.origin]
    exact = [each for each in same if str(parse_base(each.api_base)) in forms]
    for known in (*exact, *same):
        return known.model_copy(update={"api_base": text})
    free = not any(environment.get(name.replace("KEY", "BASE")) for name in KEY_NAMES)
    name = next((name for name in KEY_NAMES if environment.get(name)), None) if free else None
    key = environment[name] if name is not None else None
    return GatewayBase.model_validate({"api_base": text, "api_key": key, "key_name": name})


def _base_name(environment: Mapping[str, str], base: GatewayBase) -> str | None:
    """The variable that names this base, in either form; of several accounts on one base, the one beside this key."""
    wanted = parse_base(base.api_base)
    names = [name for name in environment if name in BASE_NAMES or NUMBERED.fullmatch(name)]
    same = [name for name in names if _is_same(environment[name], wanted)]
    beside = (name for name in same if name.replace("API_BASE", "API_KEY") == base.key_name)
    return next(beside, same[0] if same else None)


def _is_same(text: str, wanted: Base) -> bool:
    """Whether a variable names this base; one that another variable overrules may hold anything."""
    try:
        base = parse_base(text)
    except InvalidInput:
        return False
    is_form = str(base) in {wanted.form(toggled) for toggled in (False, True)}
    return is_form and (base.query, base.userinfo) == (wanted.query, wanted.userinfo)


def _free_name(environment: Mapping[str, str]) -> str:
    """The first variable for a base that is not set, under either name: one that is set belongs to another gateway."""
    ours, older = BASE_NAMES
    suffixes = itertools.chain([""], (f"_{number}" for number in itertools.count(1)))
    return next(ours + each for each in suffixes if not (environment.get(ours + each) or environment.get(older + each)))


def _target(
    label: str, base: GatewayBase, settings: GatewaySettings, models: Models, environment: Mapping[str, str]
) -> Target:
    known = parse_base(base.api_base)
    key, named = base.key, None
    if key is None and known.userinfo:
        key, named = clean_key(known.userinfo), BASIC
    kinds = ("text", "vlm", "tools")
    mine = Models(*(base.preferred(kind) or getattr(settings, f"{kind}_model") or "" for kind in kinds))
    given = {name: value for name in Models.__slots__ if (value := getattr(models, name))}
    base_name = _base_name(environment, base)
    return Target(
        label,
        known,
        key,
        base.key_name,
        named,
        replace(mine, **given),
        configured=base_name is not None,
        base_name=base_name or _free_name(environment),
    )
