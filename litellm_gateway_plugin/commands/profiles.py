"""`litellm-gateway profiles`: what is kept on disk about which gateway, and how it goes. No key is in it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..printable import counted
from . import options, output

if TYPE_CHECKING:
    from ..guesses import DiskGuesses
    from ..listings import DiskShelf
    from ..plan import Route
    from ..settings import GatewaySettings

HEADS = ("base", "surface", "style", "asked at")
LISTING_HEADS = ("base", "models", "read")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Kept:
    """A listing on disk.

    Attributes:
        base: whose it is, "" when no base is known whose it could be: a file is named by a hash.
        path: of the file.
        models: how many it holds.
        read_at: Unix seconds.
    """

    base: str
    path: Path
    models: int
    read_at: float


@dataclass(frozen=True, slots=True)
class Cache:
    """The files of the cache."""

    guesses: DiskGuesses
    shelf: DiskShelf

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.guesses.path.parent

    def routes(self, forms: Sequence[str] = ()) -> dict[tuple[str, str], Route]:
        """The routes of these forms of a base, of all bases without any."""
        return {name: route for name, route in self.guesses.all().items() if not forms or name[0] in forms}

    def listings(self, bases: Iterable[str], *, others: bool) -> list[Kept]:
        """The listings of these bases; with `others`, those of bases that nobody names too."""
        paths = {path: base for base in bases for path in self.shelf.files(base)}
        unnamed = sorted(set(self.shelf.folder.glob("*")) - paths.keys()) if others else []
        found = (self._kept(path, base) for path, base in [*paths.items(), *((path, "") for path in unnamed)])
        return [kept for kept in found if kept is not None]

    def _kept(self, path: Path, base: str) -> Kept | None:
        from ..dialects import unpack

        found = self.shelf.read(path)
        return None if found is None else Kept(base, path, len(unpack(found[0]) or ()), found[1])


class _Profiles(click.Group):
    """A group whose command is `show` when none is typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_named = args[:1] and args[0] in {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if is_named or ctx.resilient_parsing else ["show", *args])


@click.group(cls=_Profiles, short_help="Show or clear what was learnt about gateways.")
def command() -> None:
    """Show or clear what has been learnt about gateways: the credential style, with or without /v1, the listings.

    It is kept on disk, so that the next process begins with what worked; LITELLM_GATEWAY_CACHE_DIR says where, and
    LITELLM_GATEWAY_CACHE=false keeps nothing. There is no key in it.

    \b
    Examples:
        litellm-gateway profiles                                   all bases (show can be left out)
        litellm-gateway profiles https://llm.example.com/v1        one
        litellm-gateway profiles clear https://llm.example.com/v1  forget it: the next process begins anew
        litellm-gateway profiles clear --all

    Exit status: 0; 1 when something cannot be removed, or you have said no; 2 wrong use.
    """


@command.command()
@click.argument("base", metavar="[BASE]", required=False, shell_complete=options.bases)
@click.option("--json", "as_json", is_flag=True, help="Write JSON: docs/commands.md says what is in it.")
def show(base: str | None, as_json: bool) -> None:
    """Show what is kept, of one BASE or of all.

    Two tables on a terminal; in a pipe lines, their columns parted by tabs: base, surface, style and the address for
    what worked; base, "listing", the number of models and the seconds since it was read for a listing.

    Exit status: 0; 2 wrong use.
    """
    from ..settings import load_settings

    settings = load_settings()
    cache, forms = _cache(settings), _forms(base)
    routes = cache.routes(forms)
    bases = forms or dict.fromkeys([*(name for name, _ in routes), *_configured(settings)])
    listings = cache.listings(bases, others=not forms)
    if as_json:
        output.write_json(_as_json(cache, routes, listings))
    elif output.for_people():
        _show(routes, listings)
    else:
        output.write_lines([*_route_rows(routes), *_listing_lines(listings)])
    if not routes and not listings:
        output.complain(f"Nothing is kept{f' for {forms[0]}' if forms else ''}.")
    output.complain(f"The cache is in {cache.folder}.")
    _tell_what_is_elsewhere(settings)


@command.command()
@click.argument("base", metavar="[BASE]", required=False, shell_complete=options.bases)
@click.option("--all", "everything", is_flag=True, help="Of all bases.")
@click.option("--yes", is_flag=True, help="Do not ask before all is removed.")
def clear(base: str | None, everything: bool, yes: bool) -> None:
    """Remove what is kept of one BASE (with /v1 and without), or of all.

    The next process begins anew: that costs a refused request or two, and nothing else. Processes that run go on with
    what they know.

    Exit status: 0, also when there was nothing; 1 when something cannot be removed, or you have said no; 2 wrong use.
    """
    from ..settings import load_settings

    if (base is None) != everything:
        raise click.UsageError("Name one BASE, or say --all.")
    settings = load_settings()
    cache, forms = _cache(settings), _forms(base)
    if everything and not yes:
        click.confirm(f"Remove all that is kept in {cache.folder}?", abort=True, err=True)
    routes, listings = cache.routes(forms), cache.listings(forms, others=everything)
    if routes:
        cache.guesses.remove(routes.keys())
    stuck = [kept.path for kept in listings if not _is_removed(kept.path)]
    left = cache.routes(forms).keys() & routes.keys()
    gone = f"{counted(len(routes) - len(left), 'route')} and {counted(len(listings) - len(stuck), 'listing')}"
    click.echo(f"Removed {gone}{f' of {forms[0]}' if forms else ''}.")
    _tell_what_is_elsewhere(settings)
    if stuck or left:
        raise click.ClickException(f"Not all could be removed: check who may write in {cache.folder}.")


def _cache(settings: GatewaySettings) -> Cache:
    from ..guesses import DiskGuesses
    from ..listings import DiskShelf

    return Cache(DiskGuesses(settings.cache_dir), DiskShelf(settings.cache_dir))


def _forms(base: str | None) -> list[str]:
    """A base as given, and with its `/v1` put on or taken off. Raises InvalidInput: no base."""
    from ..settings import named_base

    known = None if base is None else named_base("BASE", base)
    return [] if known is None else list(dict.fromkeys(known.form(toggled) for toggled in (False, True)))


def _configured(settings: GatewaySettings) -> list[str]:
    from ..urls import parse_base

    return [str(parse_base(each.api_base)) for each in settings.all_bases]


def _tell_what_is_elsewhere(settings: GatewaySettings) -> None:
    if settings.redis is not None:
        output.complain("What processes share through Redis is not in this cache: it stays, and ends by itself.")


def _is_removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _route_rows(routes: dict[tuple[str, str], Route]) -> list[list[str]]:
    return [[base, surface, route.style, _address(base, route)] for (base, surface), route in routes.items()]


def _address(base: str, route: Route) -> str:
    """The form of the base that was asked."""
    from ..urls import parse_base

    return parse_base(base).form(route.toggled)


def _listing_lines(listings: Sequence[Kept]) -> list[list[str]]:
    now = time.time()
    return [
        [kept.base or output.UNKNOWN, "listing", str(kept.models), f"{now - kept.read_at:.0f}"] for kept in listings
    ]


def _show(routes: dict[tuple[str, str], Route], listings: Sequence[Kept]) -> None:
    screen, now = output.screen(), time.time()
    if routes:
        screen.heading("What worked")
        output.show_table(HEADS, _route_rows(routes))
    if listings:
        screen.heading("Listings")
        rows = [[kept.base or "(not known by name)", str(kept.models), _ago(now - kept.read_at)] for kept in listings]
        output.show_table(LISTING_HEADS, rows)
    screen.gap()


def _ago(seconds: float) -> str:
    size, unit = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    return f"{max(0, seconds) // size:.0f} {unit} ago"


def _as_json(cache: Cache, routes: dict[tuple[str, str], Route], listings: Sequence[Kept]) -> dict[str, Any]:
    return {
        "cache_dir": str(cache.folder),
        "routes": [
            {"api_base": base, "surface": surface, "style": route.style, "asked_at": _address(base, route)}
            for (base, surface), route in routes.items()
        ],
        "listings": [
            {"api_base": kept.base or None, "models": kept.models, "age_s": round(time.time() - kept.read_at)}
            for kept in listings
        ],
    }
