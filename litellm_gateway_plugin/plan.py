"""What is still to be tried for one unproven profile. Pure data and its moves: no lock, no clock, no I/O.

Theory of operation. A route is a style on one of the two forms of a base. A plan walks over them in one order that
every answer shortens:

    the style was refused        drop it; what the refusal hints at goes first
    there is no such route here  go to the other form, with the styles not yet refused
    all styles are refused       one look at the other form: when its refusal reads the same, the same guard stands
                                 before both and the key is wrong; when it differs, its styles get their turn

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
    """

    styles: list[str]
    forms: list[bool]
    base_known: bool = False
    slash: bool = False
    refusals: dict[tuple[bool, str], Answer] = field(default_factory=dict)
    missing: dict[bool, Answer] = field(default_factory=dict)
    _hinted: int = 0
    _second_look: bool = False

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

    def refuse(self, route: Route, answer: Answer, hints: Sequence[str] = ()) -> None:
        """The style was refused. A refusal of something already refused changes nothing."""
        if (route.toggled, route.style) in self.refusals:
            return
        self.refusals[route.toggled, route.style] = answer
        if route.style in self.styles and self.forms and self.forms[0] == route.toggled:
            self.styles.remove(route.style)
        self._take_hints(hints)
        if not self.styles:
            self._look_at_other_form(route)

    def no_route(self, route: Route, answer: Answer) -> None:
        """There is no such route on this form; what was refused there still counts as refused."""
        if route.toggled in self.forms:
            self.forms.remove(route.toggled)
            self.missing[route.toggled] = answer

    def _take_hints(self, hints: Sequence[str]) -> None:
        refused = {style for _, style in self.refusals}
        wanted = [style for style in hints if style not in refused]
        new = [style for style in wanted if style not in self.styles][: MAX_HINTED - self._hinted]
        self._hinted += len(new)
        leading = [style for style in wanted if style in self.styles or style in new]
        self.styles = list(dict.fromkeys([*leading, *self.styles]))

    def _look_at_other_form(self, route: Route) -> None:
        if self._second_look:
            self._styles_of_a_different_guard(route)
        elif not self.base_known and len(self.forms) == 2:
            self._second_look = True
            self.forms.remove(route.toggled)
            self.styles = self.tried_styles[:1]

    def _styles_of_a_different_guard(self, route: Route) -> None:
        here = self.refusals[route.toggled, route.style]
        there = self.refusals.get((not route.toggled, route.style))
        if there is None or (here.status, here.text[:200]) == (there.status, there.text[:200]):
            return
        self.styles = [style for style in self.tried_styles if (route.toggled, style) not in self.refusals]
