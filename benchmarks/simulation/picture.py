"""The curves as an SVG that can be read on a light and on a dark page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .numbers import STEP_S, Curves

INK = "#7a828c"
"""Grey that stands out from white and from black."""
WANTED, ROOM, AT_WORK, REFUSED = "#b07a10", INK, "#2f86d6", "#d9534f"
LONG = re.compile(r"(?<=[ML ])(-?\d+\.\d)\d+(?=[ \n])")
"""Points that are given more precisely than anybody sees."""
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "simulation",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(by_policy: Mapping[str, Curves], path: Path) -> None:
    """A column for each policy: above the requests at a time, below the refusals per second, all on the same scales."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(by_policy), 5.0), layout="constrained")
        grid = figure.subplots(
            2, len(by_policy), sharex=True, sharey="row", squeeze=False, gridspec_kw={"height_ratios": (3, 1)}
        )
        for (name, shown), above, below in zip(by_policy.items(), grid[0], grid[1], strict=True):
            above.set_title(name, fontsize=10)
            _amounts(above, shown)
            _refusals(below, shown)
        grid[0][0].set_ylim(0, 1.04 * max(shown.wanted.max() for shown in by_policy.values()))
        grid[1][0].set_ylim(0, 1.04 * max(shown.refused.max() for shown in by_policy.values()))
        grid[0][0].set_ylabel("requests at a time")
        grid[1][0].set_ylabel("refused per second")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, transparent=True, metadata={"Date": None})
    path.write_text(LONG.sub(r"\1", path.read_text("utf-8")), "utf-8")


def _amounts(axes: Axes, shown: Curves) -> None:
    axes.fill_between(
        shown.seconds, shown.at_work, step="post", color=AT_WORK, alpha=0.55, linewidth=0, label="served: at work"
    )
    axes.step(shown.seconds, shown.room, where="post", color=ROOM, linewidth=1, label="room of the upstream")
    axes.plot(shown.seconds, shown.wanted, color=WANTED, linewidth=1.3, label="offered: calls that want to be served")


def _refusals(axes: Axes, shown: Curves) -> None:
    axes.fill_between(shown.seconds, shown.refused, step="post", color=REFUSED, linewidth=0)
    axes.set_xlim(0, shown.seconds[-1] + STEP_S)
    axes.set_xlabel("seconds")
