"""The probing matrix: which probes are made, in which rounds, and what they show. A flow per target; no I/O in it.

Without `every` only what is needed is asked. The listing goes first, because chat needs a model; its styles say little:
a public listing takes any key. Then chat, on the form of the base on which the listing was found. The other form is
asked only when the first one has no such route (or refuses every style: one look then), and a style beyond the first
three only when all of these are refused. Where the listing is not answered in time chat begins with one style. Where
some styles of chat are refused and others meet a rate limit, which three at once may have set off, these are asked once
more, one after the other. With `every` all styles meet both forms on both surfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pluggy

from ..candidates import candidates_of, wanted
from ..catalogue import EMBEDDING_KIND, Listing, equal_id
from ..credentials import BASIC, DEFAULT_ORDER, MAX_HINTED, NONE
from ..plugins import plugin_manager, policy_of
from ..settings import load_settings
from ..wire import Clients
from ..wire.environment import options_from
from .lanes import side_by_side
from .probes import CHAT, LISTING, Allowance, Pace, Probe, Probed, Prober, Surface, skipped
from .report import Cell, Outcome
from .targets import Examined, Models, Target

FIRST = 3
"""Styles of the order that are tried before a refusal has to ask for more."""

ANY_MODEL = "default"
"""The id that is sent when none is known: servers of one model ignore it, others say that they do not know it."""

SHORT_WAIT_S = 2.0
"""Seconds to come back after which a full gateway is asked once more."""

DEAD = frozenset({"connect", "tls"})
UNANSWERED = DEAD | {"timeout", "broken-off"}
NOT_LET_IN = UNANSWERED | {"style", "base", ""}
"""Verdicts after which another style or the other form may do better."""

NO_KEY = "no key is known"
ONE_STYLE = "over plain http to a public address a key is offered in one style only"
ALL_DEAD = "the gateway could not be reached before"

Round = list[Probe]
Asking = Generator[Sequence[Probe], Sequence[Probed], list[Probed]]
Examination = Generator[Sequence[Probe], Sequence[Probed], Examined]
Tell = Callable[[Target, Cell], None]


@dataclass(frozen=True, slots=True)
class Announced:
    """The largest numbers that an examination comes to.

    Attributes:
        requests: HTTP requests, redirects included.
        chat_calls: chat calls among them; a redirect is none.
        first: requests of the first rounds, after which all is known of a gateway with nothing odd about it.
    """

    requests: int
    chat_calls: int
    first: int


@dataclass(frozen=True, slots=True)
class Styles:
    """The credential styles for one target.

    Attributes:
        first: are tried at once.
        later: are tried when all of these are refused.
        left_out: are never sent, and `why`.
        hints: how many more a refusal may name.
    """

    first: tuple[str, ...]
    later: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    why: str = ""
    hints: int = 0

    @property
    def every(self) -> tuple[str, ...]:
        """All that may be sent."""
        return (*self.first, *self.later)


def styles_of(target: Target, order: Sequence[str]) -> Styles:
    """Which styles a target is offered, by the rules that the calls keep."""
    if target.key is None:
        return Styles((NONE,), left_out=tuple(order), why=NO_KEY)
    if target.named == BASIC:
        return Styles((BASIC,))
    if not target.base.guarded:
        return Styles(tuple(order[:1]), left_out=tuple(order[1:]), why=ONE_STYLE)
    return Styles(tuple(order[:FIRST]), tuple(order[FIRST:]), hints=MAX_HINTED)


def examine(
    targets: Sequence[Target],
    *,
    every: bool,
    timeout: float,
    environment: Mapping[str, str],
    tell: Tell = lambda target, cell: None,
    plugins: pluggy.PluginManager | None = None,
) -> list[Examined]:
    """Probe all targets, side by side.

    Args:
        every: all styles on both forms on both surfaces, instead of what is needed.
        timeout: seconds for each probe.
        environment: says what the wire needs (`SSL_VERIFY` and its like).
        tell: told each cell as it comes, in this thread.
        plugins: the hooks; those of the installed vendor packages by default.

    Raises:
        errors.InvalidInput: settings, a proxy or a CA file that cannot be used, or a vendor package that cannot be
            loaded.
    """
    manager = plugins or plugin_manager()
    options = options_from(environment)
    clients = Clients(lambda: options)
    styles = [styles_of(target, _order(manager, target)) for target in targets]
    redirects = {each.label: _redirects(each, own, every=every) for each, own in zip(targets, styles, strict=True)}
    qps = load_settings().rate_limit_qps
    pace = Pace(1 / qps if qps else 0.0)
    prober = Prober(clients.threads(), policy_of(manager), timeout, Allowance(redirects), pace)
    flows = [examination(target, own, every=every) for target, own in zip(targets, styles, strict=True)]
    try:
        return side_by_side(flows, prober, tell=lambda probed: tell(probed.probe.target, probed.cell))
    finally:
        clients.close()


def announce(targets: Iterable[Target], *, every: bool, plugins: pluggy.PluginManager | None = None) -> Announced:
    """The largest number of requests, and of chat calls among them, that `examine` will send."""
    manager = plugins or plugin_manager()
    requests = chat_calls = first = 0
    for target in targets:
        styles = styles_of(target, _order(manager, target))
        listing, chat = _most(target, styles, every=every)
        requests += listing + chat + _redirects(target, styles, every=every)
        chat_calls += chat
        first += sum(len(_opening(surface, styles, every=every)) for surface in (LISTING, CHAT))
    return Announced(requests, chat_calls, first)


def _order(manager: pluggy.PluginManager, target: Target) -> Sequence[str]:
    return manager.hook.gateway_auth_order(base=target.base, surface=CHAT) or DEFAULT_ORDER


def _most(target: Target, styles: Styles, *, every: bool) -> tuple[int, int]:
    """The most probes of the listing and of chat. `_needed` and `_swept` keep to it."""
    forms = len(_forms(target))
    listing, chat = _opening(LISTING, styles, every=every), _opening(CHAT, styles, every=every)
    more = styles.hints * forms if every else len(styles.later) + styles.hints
    return len(listing) * forms + more, len(chat) * forms + more + _most_again(styles, every=every)


def _most_again(styles: Styles, *, every: bool) -> int:
    """The most styles that are asked once more; at least one is refused then."""
    return 0 if every else len(styles.first) - 1


def _redirects(target: Target, styles: Styles, *, every: bool) -> int:
    """The most redirects that are followed: one for each probe of a form that is there."""
    forms = len(_forms(target)) if every else 1
    more = styles.hints if every else len(styles.later) + styles.hints
    each = sum((len(_opening(surface, styles, every=every)) + more) * forms for surface in (LISTING, CHAT))
    return each + _most_again(styles, every=every)


def _opening(surface: Surface, styles: Styles, *, every: bool) -> tuple[str, ...]:
    """The styles with which a surface is asked first."""
    chosen = styles.every if every else styles.first
    return tuple(dict.fromkeys((NONE, *chosen))) if every or surface == LISTING else chosen


def _forms(target: Target) -> tuple[bool, ...]:
    """The forms of its base: as given, and toggled where there is such a form."""
    return (False,) if target.base.toggled is None else (False, True)


def examination(target: Target, styles: Styles, *, every: bool) -> Examination:
    """The flow of one target: yields rounds of probes, is sent what they have shown, returns what that comes to."""
    ask = _swept if every else _needed
    listed = yield from ask(Probe(target, LISTING, NONE), styles)
    listing = _listing(listed)
    models = chosen_models(target, listing)
    chat = Probe(target, CHAT, NONE, _form_of(listed), models.text or ANY_MODEL)
    if all(each.cell.verdict in DEAD for each in listed):
        return _examined(target, models, listing, listed, [], [*_left_out(chat, styles), *_unsent(chat, styles)])
    late = all(each.cell.verdict == "timeout" for each in listed)
    chatted = yield from ask(chat, _one_first(styles) if late else styles)
    return _examined(target, models, listing, listed, chatted, _left_out(chat, styles))


def _one_first(styles: Styles) -> Styles:
    """The same styles, the first one alone at first: a gateway that answers nothing is not waited for three times."""
    return replace(styles, first=styles.first[:1], later=(*styles.first[1:], *styles.later))


def _swept(first: Probe, styles: Styles) -> Asking:
    """Every style on every form; what the refusals ask for when nothing was let in."""
    forms = _forms(first.target)
    opening = _opening(first.surface, styles, every=True)
    found = list((yield [replace(first, style=style, toggled=form) for form in forms for style in opening]))
    hints = _asked_for(found, styles)
    if not _let_in(found) and hints:
        found += yield [replace(first, style=style, toggled=form) for form in forms for style in hints]
    return found


def _needed(first: Probe, styles: Styles) -> Asking:
    """As few probes as tell how a surface is reached."""
    opening = _opening(first.surface, styles, every=False)
    here = list((yield _with(first, opening)))
    if first.surface == CHAT:
        here = yield from _again(here)
    missing = _missing(here)
    if not missing:
        here += yield from _more(first, styles, here)
    if _let_in(here) or not _answered(here) or len(_forms(first.target)) == 1:
        return here
    other = replace(first, toggled=not first.toggled)
    if missing:
        there = list((yield _with(other, opening)))
        there += yield from _more(other, styles, there)
    else:
        there = yield from _look(other, opening, here)
    return here + there


def _more(first: Probe, styles: Styles, refused: Sequence[Probed]) -> Asking:
    """The later styles and those that the refusals ask for, when every style so far was refused."""
    more = dict.fromkeys((*_asked_for(refused, styles), *styles.later))
    if not more or not all(each.cell.verdict == "style" for each in refused):
        return []
    return list((yield _with(first, more)))


def _again(found: list[Probed]) -> Asking:
    """The same, with those that were full asked once more, where others were refused and the wait is short."""
    if {each.cell.verdict for each in found} != {"full", "style"}:
        return found
    for place, each in enumerate(found):
        wait = each.cell.retry_after_s
        if each.cell.verdict == "full" and wait is not None and wait <= SHORT_WAIT_S:
            (found[place],) = yield [replace(each.probe, after=wait)]
    return found


def _look(first: Probe, opening: Sequence[str], refused: Sequence[Probed]) -> Asking:
    """One look at the other form, where another guard may stand; its own refusal is told by how it reads."""
    keyed = next((style for style in opening if style != NONE), NONE)
    seen = list((yield _with(first, (keyed,))))
    rest = [style for style in opening if style != keyed]
    known = {each.reading for each in refused}
    if rest and all(each.cell.verdict == "style" and each.reading not in known for each in seen):
        seen += yield _with(first, rest)
    return seen


def _with(probe: Probe, styles: Iterable[str]) -> Round:
    return [replace(probe, style=style) for style in styles]


def _asked_for(found: Iterable[Probed], styles: Styles) -> list[str]:
    """The styles that refusals name and that are not among ours; a few at most: what they say is hostile input."""
    named = dict.fromkeys(style for each in found for style in each.hints)
    return [style for style in named if style not in styles.every][: styles.hints]


def _let_in(found: Iterable[Probed]) -> bool:
    """Whether some answer came from behind the guard, where no other style does better."""
    return any(each.cell.verdict not in NOT_LET_IN for each in found)


def _missing(found: Iterable[Probed]) -> bool:
    return any(each.cell.verdict == "base" for each in found)


def _answered(found: Iterable[Probed]) -> bool:
    return any(each.cell.verdict not in UNANSWERED for each in found)


def _form_of(listed: Sequence[Probed]) -> bool:
    """The form on which chat is asked first: where the listing is, else where its guard is, else as given."""
    for verdicts in ({"proven"}, {"style"}):
        forms = [each.probe.toggled for each in listed if each.cell.verdict in verdicts]
        if forms:
            return min(forms)
    return False


def _listing(listed: Sequence[Probed]) -> Listing | None:
    """The listing; the one that a key has shown goes before the one for everybody."""
    ordered = sorted(listed, key=lambda each: (each.probe.style == NONE, each.probe.toggled))
    return next((each.listing for each in ordered if each.listing is not None), None)


def chosen_models(target: Target, listing: Listing | None) -> Models:
    """The models to call: the operator's, as the listing writes them; else those of which the listing says it."""
    mine = target.models
    if listing is None:
        return mine
    named = {kind: name and (equal_id(name, listing.ids) or name) for kind, name in _named(mine)}
    embedding = next((model.id for model in listing if model.kind == EMBEDDING_KIND), "")
    return Models(
        text=named["text"] or _candidate(listing, "text", certain=False),
        vlm=named["vlm"] or _candidate(listing, "vlm", certain=True),
        tools=named["tools"] or _candidate(listing, "tools", certain=True),
        embedding=named["embedding"] or embedding,
    )


def _named(models: Models) -> list[tuple[str, str]]:
    return [(kind, getattr(models, kind)) for kind in Models.__slots__]


def _candidate(listing: Listing, kind: str, *, certain: bool) -> str:
    """The first listed model for a kind of Router, "" when there is none."""
    found = candidates_of("", 0, listing, wanted(kind))
    return next((each.model for each in found if each.certain or not certain), "")


def _left_out(chat: Probe, styles: Styles) -> list[Cell]:
    """The cells of the styles that are never sent."""
    probes = [replace(chat, surface=surface, style=style) for surface in (LISTING, CHAT) for style in styles.left_out]
    return [skipped(probe, styles.why) for probe in probes]


def _unsent(chat: Probe, styles: Styles) -> list[Cell]:
    """The cells of chat with a gateway that cannot be reached."""
    return [skipped(probe, ALL_DEAD) for probe in _with(chat, styles.first)]


def _examined(
    target: Target,
    models: Models,
    listing: Listing | None,
    listed: Sequence[Probed],
    chatted: Sequence[Probed],
    more: Sequence[Cell],
) -> Examined:
    cells = [each.cell for each in (*listed, *chatted)]
    best = min((each for each in chatted if each.cell.outcome in WORKING), key=_rank, default=None)
    if best is None:
        return Examined(target, models, listing, (*cells, *more))
    known = replace(models, text=models.text or best.probe.model)
    return Examined(target, known, listing, (*cells, *more), best.cell.api_base, best.cell.style)


WORKING = (Outcome.PASS, Outcome.CAPACITY)


def _rank(probed: Probed) -> tuple[int, bool, bool]:
    """Served before full, with a key before without, the given form before the other; then in the order of styles."""
    cell = probed.cell
    return WORKING.index(cell.outcome), cell.style == NONE, cell.toggled
