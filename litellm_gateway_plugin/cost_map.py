"""What gateways list, in litellm's own map of prices, windows and capabilities; and how it leaves that map again.

The entries are written straight into `litellm.model_cost`, all of a listing at once. litellm's `register_model` would
take 0.5 to 4.5 ms for each model, because each time it walks over the whole map (10,000 entries in one batch: 1 ms). It
prints what it thinks of models that it does not know, and newer versions replay for ever what was once registered with
them. (Measured with 1.90.0, 1.106.2 and 1.109.1.)

An entry is ours as long as it says whose listing it is from: litellm changes entries in place, and newer versions put
others with the same members in their place. What litellm or a program has priced is left alone. What says nothing is
not: a Router writes such an entry for each deployment whose model it does not know yet, and it would hide ours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import litellm

from .catalogue import CHAT_KIND, EMBEDDING_KIND, REASONING, SCHEMA, TOOLS, VISION, Listing, Model, Price
from .forking import renew_after_fork
from .recent import Recent

PROVIDER = "gateway"

SPELLINGS = (PROVIDER, "openai_like", "openai", "custom_openai")
"""What may stand before an id in a deployment, and so in the name of a Router's entry."""

MOST_LISTINGS = 256
MOST_ENTRIES = 20_000
"""Models at most, of all gateways together; what is listed after them is left out."""

CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    TOOLS: ("supports_function_calling", "supports_tool_choice"),
    VISION: ("supports_vision",),
    SCHEMA: ("supports_response_schema",),
    REASONING: ("supports_reasoning",),
}
"""Our names, and litellm's."""

LISTED = "gateway_listing"
"""In every entry of ours: the base of the gateway whose listing it is from. litellm lets it be, and the next one."""

SOURCE = "gateway_price_source"
"""Beside a price: the fields of the listing that gave it, and their unit."""


@dataclass(frozen=True, slots=True)
class Known:
    """A listed model that is in the map.

    Attributes:
        gateway: whose listing it is from.
        key: the name of its entry.
        model: as it was listed.
    """

    gateway: str
    key: str
    model: Model


class CostMap:
    """Our entries in `litellm.model_cost`. There is one, as there is one such map."""

    def __init__(self) -> None:
        self._map: dict[str, Any] | None = None
        self._replaced: dict[str, dict[str, Any]] = {}
        self._known: dict[str, Known] = {}
        self._listings: Recent[tuple[str, str], Listing] = Recent(MOST_LISTINGS)
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """In the child: the parent's lock may be held by a thread that does not exist here."""
        self._lock = threading.Lock()

    def learn(self, api_base: str, listing: Listing, account: str = "") -> None:
        """Tell litellm what a gateway lists.

        An id that several gateways list has the entry of the first; a later listing of that one changes it, or leaves
        the id to the others.

        Args:
            api_base: in any of its forms.
            listing: what it lists now.
            account: whose listing it is; a gateway may list other ids for another one.
        """
        gateway = gateway_of(api_base)
        with self._lock:
            before = self._listings.get((gateway, account), Listing())
            self._listings.put((gateway, account), listing)
            heirs = self._forget(gateway, [model.id for model in before if listing.get(model.id) is None])
            self._write([*heirs, *((gateway, model) for model in listing)])

    def repair(self) -> None:
        """Write everything again when litellm's map is another one: its proxy replaces it when it reads prices anew."""
        if self._map is None or self._map is litellm.model_cost:
            return
        with self._lock:
            known, self._known = self._known, {}
            self._replaced = {}
            self._write((each.gateway, each.model) for each in known.values())

    def clear(self) -> None:
        """Take out every entry that is still ours, and forget all."""
        with self._lock:
            if self._known:
                self._take_out([key for key in list(litellm.model_cost) if self.owns(key)])
            self._map, self._replaced, self._known = None, {}, {}
            self._listings.clear()

    def owns(self, name: str) -> bool:
        """Whether the entry of this name is one of ours."""
        return LISTED in litellm.model_cost.get(name, ())

    def cost(self, api_base: str, model: str, usage: Any) -> float | None:
        """USD of an answer, None when litellm's own sum is the right one.

        It is not when a gateway has another price for the model than the one whose price is in the map. Prices that a
        program has set itself are left alone.

        Args:
            api_base: of the gateway that has served it, in any of its forms.
            model: the id under which it was served.
            usage: litellm's `Usage`, or None.
        """
        known = self._known.get(model)
        if known is None or usage is None:
            return None
        gateway = gateway_of(api_base)
        price = None if gateway == known.gateway else self._price(gateway, model)
        if price is None or _sums(price) == _sums(known.model.price) or not self._as_written(known):
            return None
        return cost_of(price, usage)

    def _price(self, gateway: str, model: str) -> Price | None:
        listed = self._listed(model).get(gateway)
        return listed.price if listed is not None else None

    def _listed(self, name: str) -> dict[str, Model]:
        """The gateways that list an id, and what each says of it: the newest, where several accounts are told of it."""
        listings = list(self._listings.items())  # a copy, since another thread may be learning
        found = ((gateway, listing.get(name)) for (gateway, _), listing in listings)
        return {gateway: model for gateway, model in found if model is not None}

    def _as_written(self, known: Known) -> bool:
        entry, written = litellm.model_cost.get(known.key, {}), _sums(known.model.price)
        return all(entry.get(name) == written.get(name) for name in ("input_cost_per_token", "output_cost_per_token"))

    def _write(self, listed: Iterable[tuple[str, Model]]) -> None:
        self._map = litellm.model_cost
        batch: dict[str, dict[str, Any]] = {}
        for gateway, model in listed:
            fields = entry_of(model) if self._may_write(gateway, model.id) and "*" not in model.id else {}
            if not fields:
                continue
            provider, keys = self._place(model.id)
            batch.update({key: {"litellm_provider": provider, LISTED: gateway, **fields} for key in keys})
            if keys:
                self._known[model.id] = Known(gateway, keys[0], model)
        if batch:
            gone = {key: self._map[key] for key in batch if key in self._map and not self.owns(key)}
            self._replaced.update(gone)
            self._map.update(batch)
            _look_again()

    def _forget(self, gateway: str, gone: Iterable[str]) -> list[tuple[str, Model]]:
        """Take out what a gateway has told and lists no more; returned is what is to be written in its place."""
        left = [name for name in gone if name in self._known and self._known[name].gateway == gateway]
        heirs = {name: self._heir(gateway, name) for name in left}
        for name in left:
            del self._known[name]
        lost = {key for name, heir in heirs.items() if heir is None for key in (name, *_spelled(name))}
        self._take_out([key for key in lost if self._is_from(gateway, key) and key not in self._known])
        return [heir for heir in heirs.values() if heir is not None]

    def _heir(self, gateway: str, name: str) -> tuple[str, Model] | None:
        """Who else tells of an id: the gateway itself, to another account, before other ones."""
        told = {other: model for other, model in self._listed(name).items() if entry_of(model)}
        heir = gateway if gateway in told else next(iter(told), None)
        return None if heir is None else (heir, told[heir])

    def _take_out(self, keys: Sequence[str]) -> None:
        """Delete entries of ours; those that they have replaced are back."""
        for key in keys:
            del litellm.model_cost[key]
        litellm.model_cost.update({key: self._replaced.pop(key) for key in keys if key in self._replaced})
        if keys:
            _look_again()

    def _is_from(self, gateway: str, key: str) -> bool:
        return bool(litellm.model_cost.get(key, {}).get(LISTED) == gateway)

    def _may_write(self, gateway: str, name: str) -> bool:
        known = self._known.get(name)
        return len(self._known) < MOST_ENTRIES if known is None else known.gateway == gateway

    def _place(self, name: str) -> tuple[str | None, list[str]]:
        """The provider and the keys under which litellm is told of an id.

        They are the id itself, for any provider (None; without it, a Router writes its own there), and what hides it.
        When litellm knows a model of this name, in whatever case, it is the id with our provider's name before it.
        """
        found = _find(name)
        if found is not None and not self._is_free(found):
            own = f"{PROVIDER}/{name}"
            return PROVIDER, [own] if self._is_free(own) else []
        return None, [name, *(key for key in _spelled(name) if key in litellm.model_cost and self._is_free(key))]

    def _is_free(self, key: str) -> bool:
        return self.owns(key) or says_nothing(litellm.model_cost.get(key, {}))


def entry_of(model: Model) -> dict[str, Any]:
    """What litellm is told of a model; {} when the listing says nothing of it.

    What is unknown is left out: litellm hands a None on, and takes a False for a reason to use another model. A price
    counts when both of its sides are known. litellm takes a model without one for free: its answers cost 0.
    """
    entry: dict[str, Any] = {
        "mode": model.kind if model.kind in (CHAT_KIND, EMBEDDING_KIND) else None,
        "max_input_tokens": model.context,
        "max_output_tokens": model.max_output,
        "max_tokens": model.max_output,
        **_priced(model.price),
        **{name: model.can(ours) for ours, names in CAPABILITIES.items() for name in names},
    }
    return {name: value for name, value in entry.items() if value is not None}


def says_nothing(entry: Mapping[str, Any]) -> bool:
    """Whether an entry has neither a price nor a limit."""
    return all(value is None for name, value in entry.items() if "cost" in name or "tokens" in name)


def cost_of(price: Price, usage: Any) -> float | None:
    """USD for these tokens; None when nothing was counted or half of the price is unknown."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    if price.output is None or prompt + completion == 0:
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    cached = min(getattr(details, "cached_tokens", None) or 0, prompt)
    return float((prompt - cached) * price.input + cached * _cached(price) + completion * price.output)


def gateway_of(api_base: str) -> str:
    """A name for a gateway, the same for a base with and without its `/v1`."""
    return api_base[: -len("/v1")] if api_base.lower().endswith("/v1") else api_base


def _priced(price: Price | None) -> dict[str, Any]:
    sums = _sums(price)
    return {**sums, SOURCE: price.source} if price is not None and price.source and sums else sums


def _sums(price: Price | None) -> dict[str, float]:
    """A price in litellm's fields; {} when half of it is unknown."""
    if price is None or price.output is None:
        return {}
    return {
        "input_cost_per_token": price.input,
        "output_cost_per_token": price.output,
        "cache_read_input_token_cost": _cached(price),
    }


def _cached(price: Price) -> float:
    """Of a prompt token from a cache: the full price unless a lower one is known (litellm 1.90 makes it free)."""
    return price.input if price.cached is None else price.cached


def _spelled(name: str) -> list[str]:
    """An id as deployments may name it."""
    return [f"{spelling}/{name}" for spelling in SPELLINGS]


def _find(name: str) -> str | None:
    """The key under which litellm finds a model of this name, in whatever case."""
    find = getattr(litellm.utils, "get_model_cost_key", None) or litellm.utils._get_model_cost_key
    found: str | None = find(name)
    return found


def _look_again() -> None:
    """Have litellm forget what it has looked up in its map."""
    private = getattr(litellm.utils, "_invalidate_model_cost_lowercase_map", None)
    (private or litellm.get_model_info.cache_clear)()  # type: ignore[attr-defined]  # it is cached, and typed as if not


COSTS = CostMap()
"""The one for the life of the process."""
