"""The static figures of a report, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backends.registry import BACKENDS, MODES

# Of Okabe and Ito, told apart by people who do not see all colours.
COLOURS = dict(zip(BACKENDS, ("#d55e00", "#e69f00", "#0072b2", "#595959"), strict=True))
"""The same colour for a backend everywhere; its modes are told apart by line and marker."""
LINES: dict[str, Any] = dict(
    zip(MODES, ("solid", "dashdot", "dashed", (0, (6, 1)), "dotted"), strict=True)
)
MARKERS = dict(zip(MODES, ("o", "v", "s", "D", "^"), strict=True))


def style(case: str) -> dict[str, Any]:
    """How the line of a case is drawn."""
    backend, mode, *_ = case.split()
    return {"color": COLOURS[backend], "linestyle": LINES[mode], "marker": MARKERS[mode]}


def total_time(seconds: pd.DataFrame, path: Path) -> None:
    """Total time against steps; `seconds` is that of break_even.totals."""
    figure, axes = _blank("steps trained", "seconds from the start of the process")
    for case in seconds:
        axes.loglog(seconds.index, seconds[case], label=case, **style(str(case)) | {"marker": ""})
    _save(figure, axes, path)


def by_value(found: pd.DataFrame, factor: str, path: Path) -> None:
    """Images a second of each case against a factor's value, with 95% intervals.

    `found` has the columns of sweep.csv, for one factor.
    """
    figure, axes = _blank(factor, "images a second")
    axes.set(xscale="log", yscale="log")
    for case, own in found.sort_values("value").groupby("case", sort=False):
        rate = own["images_per_second"]
        reach = [
            rate * (1 - own["step_ms"] / own["step_ms_high"]),
            rate * (own["step_ms"] / own["step_ms_low"] - 1),
        ]
        axes.errorbar(
            own["value"], rate, yerr=reach, label=case, capsize=2, **style(str(case)), markersize=4
        )
    values = sorted(found["value"].unique())
    axes.set_xticks(values, labels=[f"{value:,}" for value in values])
    axes.minorticks_off()
    _save(figure, axes, path)


def _blank(across: str, up: str) -> tuple[Figure, Axes]:
    """An empty figure with its axes named."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=across, ylabel=up)
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    """Write a figure with its legend; the same figure gives the same file."""
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
