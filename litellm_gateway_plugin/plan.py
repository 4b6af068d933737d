"""What is still to be tried for one unproven profile. Pure data and its moves: no lock, no clock, no I/O.

Theory of operation. A route is a style on one of the two forms of a base. A plan walks over them in one order that
every answer shortens:

    the style was refused        drop it; what the refusal hints at goes first
    there is no such route here  a slash at its end goes first; then go to the other form, with the styles not yet
                                 refused
    all styles are refused       one look at the other form: when its refusal reads like one of the first form's, the
                                 same guard stands before both and the key is wrong; when it does not, another guard
                                 stands there, and the styles that only the first one refused get their turn

A plan is shared by all callers of its profile: what one learns, all know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .answers import Answer
from .credentials import MAX_HINTED


@dataclass(frozen=True, slots=True)
class Route:
    """How a request travels.

    Attributes:
        style: the credential style's name.
        toggled: whether the base is used in its other form (`/v1` put on or taken off).
        slash: whether the surface's path ends in a slash, which a redirect asked for.
    """

    style: str
    toggled: bool = False
    slash: bool = False


@dataclass(slots=True)
class Plan:
    """The routes left for one profile.

    Attributes:
        styles: the styles left on the present form, the next one first.
        forms: the forms left (False as given, True toggled), the present one first.
        base_known: whether the present form is proven, so that refusals are about the style alone.
        slash: whether the surface's path ends in a slash.
        refusals: what was refused, by form and style, in the order of the refusals.
        missing: the forms without such a route, and what they answered.
    """

    styles: list[str]
    forms: list[bool]
    base_known: bool = False
    slash: bool = False
    refusals: dict[tuple[bool, str], Answer] = field(default_factory=dict)
    missing: dict[bool, Answer] = field(default_factory=dict)
    _hinted: int = 0

    @classmethod
    def begin(cls, order: Iterable[str], first: Route | None, *, can_toggle: bool, base_known: bool = False) -> Plan:
        """A plan that starts with a guess and goes on in the given order of styles."""
        leading = [first.style] if first else []
        form = bool(first and first.toggled and can_toggle)
        forms = [form, not form] if can_toggle else [False]
        return cls(list(dict.fromkeys([*leading, *order])), forms, base_known, bool(first and first.slash))

    @property
    def current(self) -> Route | None:
        """The route to try now, or None when nothing is left."""
        if not self.styles or not self.forms:
            return None
        return Route(self.styles[0], self.forms[0], self.slash)

    @property
    def tried_styles(self) -> list[str]:
        """The styles refused so far, in the order in which they were."""
        return list(dict.fromkeys(style for _, style in self.refusals))

    @property
    def refused_key(self) -> Route | None:
        """The first route whose guard refused the key, or None when nothing but routes was missing.

        A form that has let one style through to a missing route has accepted the key.
        """
        routes = (Route(style, form, self.slash) for form, style in self.refusals if form not in self.missing)
        return next(routes, None)

    def name(self, style: str) -> None:
        """A caller names the style of its key: it goes first, unless it is in the plan or was refused already."""
        if style not in self.styles and style not in self.tried_styles:
            self.styles.insert(0, style)

    def refuse(self, route: Route, answer: Answer, hints: Sequence[str] = ()) -> None:
        """The style was refused. A refusal of something already refused changes nothing."""
        if (route.toggled, route.style) in self.refusals:
            return
        self.refusals[route.toggled, route.style] = answer
        if route.style in self.styles and self.forms[:1] == [route.toggled]:
            self.styles.remove(route.style)
        self._take_hints(hints)
        if self.forms and not self.styles:
            self._all_refused(self.forms[0])

    def no_route(self, route: Route, answer: Answer) -> None:
        """There is no such route on this form; what was refused there still counts as refused."""
        if route.slash:
            self.slash = False
        elif route.toggled in self.forms:
            self.forms.remove(route.toggled)
            self.missing[route.toggled] = answer

    def _take_hints(self, hints: Sequence[str]) -> None:
        refused = {style for _, style in self.refusals}
        wanted = [style for style in hints if style not in refused]
        new = [style for style in wanted if style not in self.styles][: MAX_HINTED - self._hinted]
        self._hinted += len(new)
        leading = [style for style in wanted if style in self.styles or style in new]
        self.styles = list(dict.fromkeys([*leading, *self.styles]))

    def _all_refused(self, form: bool) -> None:
        if len(self.forms) == 2 and not self.base_known:
            self.forms.remove(form)
            self.styles = self.tried_styles[:1]
        elif self._another_guard(form):
            self.styles = [style for style in self.tried_styles if (form, style) not in self.refusals]

    def _another_guard(self, form: bool) -> bool:
        """Whether the refusals of this form read otherwise than those of the form before it."""
        here, there = self._readings(form), self._readings(not form)
        return bool(there) and here.isdisjoint(there)

    def _readings(self, form: bool) -> set[tuple[int, str]]:
        return {(answer.status, answer.text[:200]) for (at, _), answer in self.refusals.items() if at == form}
