"""One run of the doctor, from targets to the report. The matrix needs no litellm; the checks and the self-test do."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from ..printable import counted
from ..version import __version__
from . import matrix as matrix_of
from .checks import KINDS, run_checks
from .diagnosis import diagnose
from .names import CHECKS
from .probes import QUESTION
from .report import Check, DoctorReport, Exit, GatewayReport, Outcome
from .selftest import litellm_version, self_test
from .shown import SURFACES
from .snippets import snippets_of
from .targets import Examined, Target

LOADING = "Loading litellm, which takes a few seconds."

Tell = Callable[[str], None]
"""Is told what begins now, for a line of progress."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user wants of a run.

    Attributes:
        every: whether every combination of the matrix is asked, needed or not.
        quick: whether nothing goes through litellm.
        timeout: seconds for each request.
        skip: names of checks to leave out.
    """

    every: bool = False
    quick: bool = False
    timeout: float = 30.0
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Announced:
    """What a run comes to.

    Attributes:
        matrix: requests past litellm.
        calls: through litellm, at most. Each is one request or a few: the first ones negotiate.
    """

    matrix: matrix_of.Announced
    calls: int

    @property
    def most(self) -> int:
        """Requests and calls together, at most."""
        return self.matrix.requests + self.calls

    def __str__(self) -> str:
        asked, tokens = self.matrix, QUESTION["max_tokens"]
        after = f"; then up to {counted(self.calls, 'call')} through litellm" if self.calls else ""
        return (
            f"Usually {counted(asked.first, 'request')}, at most {asked.requests} ({asked.chat_calls} of them chats of "
            f"{tokens} tokens){after}."
        )


def announce(targets: Sequence[Target], options: Options) -> Announced:
    """How many requests a run sends; known before the first is sent."""
    each = sum(kind.calls for kind in KINDS if kind.name not in options.skip)
    return Announced(matrix_of.announce(targets, every=options.every), 0 if options.quick else len(targets) * each)


def run(targets: Sequence[Target], options: Options, announced: Announced, tell: Tell) -> DoctorReport:
    """Look at gateways, side by side.

    Args:
        targets: one at least.
        options: what is wanted.
        announced: what the user was told.
        tell: is told what has come, from several threads.

    Raises:
        errors.InvalidInput: settings, a proxy or a CA file that cannot be used.
    """
    started_at, begun = datetime.now(timezone.utc), time.monotonic()
    examined = matrix_of.examine(
        targets,
        every=options.every,
        timeout=options.timeout,
        environment=os.environ,
        tell=lambda target, cell: tell(f"{target.label}: {SURFACES[cell.surface]} with {cell.style}"),
    )
    checks, installation = _through_litellm(examined, options, tell)
    gateways = tuple(gateway_report(each, done) for each, done in zip(examined, checks, strict=True))
    return DoctorReport(
        plugin_version=__version__,
        litellm_version=litellm_version(),
        python_version=platform.python_version(),
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - begun, 3),
        requests_announced=announced.most,
        exit_status=exit_status(gateways, installation),
        gateways=gateways,
        installation=installation,
    )


def _through_litellm(
    examined: Sequence[Examined], options: Options, tell: Tell
) -> tuple[Sequence[tuple[Check, ...]], tuple[Check, ...]]:
    """The checks of each gateway, and those of the installation. Where no gateway works, litellm is not even loaded."""
    if options.quick:
        return [()] * len(examined), ()
    if not options.every and not any(each.works_base for each in examined):
        return [()] * len(examined), self_test(os.environ, load=False)
    tell(LOADING)
    installation = self_test(os.environ)
    if installation[0].outcome is Outcome.FAIL:  # no litellm, or one that must not be imported
        return [()] * len(examined), installation
    tell("Calling through litellm")
    return run_checks(
        examined,
        timeout=options.timeout,
        skip=options.skip,
        tell=lambda target, check: tell(f"{target.label}: {CHECKS[check.name]}"),
    ), installation


def gateway_report(examined: Examined, checks: tuple[Check, ...]) -> GatewayReport:
    """What was found out about one gateway."""
    target, models = examined.target, examined.models
    outcome = outcome_of(examined, checks)
    return GatewayReport(
        label=target.label,
        api_base=str(target.base),
        key_name=target.key_name,
        model=models.text,
        vlm_model=models.vlm,
        tools_model=models.tools,
        embedding_model=models.embedding,
        listed=None if examined.listing is None else len(examined.listing),
        works_base=examined.works_base,
        works_style=examined.works_style,
        outcome=outcome,
        matrix=examined.cells,
        checks=checks,
        diagnoses=diagnose(examined, checks),
        snippets=snippets_of(examined) if examined.works_base else None,
    )


def outcome_of(examined: Examined, checks: Sequence[Check]) -> Outcome:
    """A style that is refused is no failure when another one works; a check that fails is one."""
    chat = {cell.outcome for cell in examined.cells if cell.surface == "chat/completions"}
    done = {check.outcome for check in checks}
    if Outcome.FAIL in done or not chat & {Outcome.PASS, Outcome.CAPACITY}:
        return Outcome.FAIL
    return Outcome.CAPACITY if Outcome.CAPACITY in done or Outcome.PASS not in chat else Outcome.PASS


def exit_status(gateways: Sequence[GatewayReport], installation: Sequence[Check]) -> Exit:
    """One failure is a failure; without one, a full gateway is told apart."""
    outcomes = {*(each.outcome for each in gateways), *(check.outcome for check in installation)}
    if Outcome.FAIL in outcomes:
        return Exit.FAILED
    return Exit.FULL if Outcome.CAPACITY in outcomes else Exit.GOOD
