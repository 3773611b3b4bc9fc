"""The static figures of a report, as SVG."""

import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from backends.registry import title_of
from benchmarks.analysis.findings import Findings
from benchmarks.analysis.statistics import ends
from benchmarks.bundle import files
from benchmarks.reports.cases import Group, comparable_groups, in_summary_order, measured
from benchmarks.reports.figures.looks import PARTS, look
from benchmarks.reports.formats import MS, number
from benchmarks.reports.sections import image
from benchmarks.texts import harmless

BESIDE: Any = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False, "fontsize": 8}
"""How a legend stands beside its axes."""
LONGEST = 60
"""Characters of a name that figures show at most."""
AXIS_STARTS = (0.0, 0.5, 0.8, 0.9, 0.95)
"""Where the axis of accuracies may start; accuracies at step 0, by chance, may lie below it."""


def write(findings: Findings, folder: Path) -> None:
    """Draw every figure of a run for which there are results, into its bundle."""
    timed, groups = measured(findings.summary), comparable_groups(findings)
    curves = in_summary_order(findings.curves, findings)
    times = in_summary_order(findings.time_to_accuracy, findings)
    figures: dict[str, Figure] = {}
    if len(findings.totals):
        figures["total_time"] = total_time(findings.totals)
    if groups:
        figures["ranking"] = ranking(groups)
    if len(findings.floors) and len(timed):
        figures["step_parts"] = step_parts(timed, findings.floors["step_ms"].min())
    if len(curves):
        seconds = "seconds of training, without start-up"
        figures["accuracy"] = accuracy(curves, "step", "steps trained")
        figures["accuracy_seconds"] = accuracy(curves, "train_seconds", seconds)
    if times["reached"].any():
        figures["time_to_accuracy"] = time_to_accuracy(times)
    for name, figure in figures.items():
        save(figure, folder, image(name))


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure into a bundle, such that the same figure always gives the same file."""
    content = io.BytesIO()
    looks = mpl.rc_context({"svg.hashsalt": Path(name).name, "svg.fonttype": "none"})
    with looks, warnings.catch_warnings():
        # The reader's fonts show what those here lack; very long names leave no room for the rest.
        warnings.filterwarnings("ignore", "Glyph .* missing from|constrained_layout not applied")
        figure.savefig(content, format="svg", metadata={"Date": None}, facecolor="white")
    files.write_bytes(folder, name, content.getvalue())


def plain(name: object) -> str:
    """A name as matplotlib shows it, which takes dollars for formulas and hides leading `_`."""
    shown = harmless(str(name))
    shown = shown[:LONGEST] + "…" * (len(shown) > LONGEST)
    return " " * shown.startswith("_") + shown.replace("$", r"\$")


def ranking(groups: list[Group]) -> Figure:
    """Each ranked case's time as a multiple of its tier's fastest, with its 95% interval."""
    heights = [len(group.rows) for group in groups]
    figure = Figure(figsize=(7.5, 1.1 * len(groups) + 0.32 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), sharex=True, squeeze=False, height_ratios=heights)
    for axes, group in zip(panels.flat, groups, strict=True):
        for place, (_, row) in enumerate(group.rows.iterrows()):
            _interval(axes, place, row, "times_fastest")
            _beside(axes, place, f"{number(row['step_ms'], MS)} ms")
        _rows(axes, list(group.rows["case"]))
        _log_across(axes, (1, 1.2, 1.5, 2, 3, 4, 5, 7))
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_title(plain(group.name), fontsize=9, loc="left")
    panels.flat[-1].set_xlabel(
        "times the fastest of the tier, within rounds; 95% intervals (right: step time)"
    )
    return figure


def total_time(seconds: pd.DataFrame) -> Figure:
    """Total time against steps; `seconds` as `break_even.totals` returns it."""
    figure, axes = _blank("steps trained", "seconds from the start of the process")
    for place, (case, rows) in enumerate(seconds.groupby("case", sort=False)):
        # Markers of different cases at different places, so that none hides another.
        looks = style(str(case)) | {"label": plain(case), "markevery": (2 * place % 12, 12)}
        axes.loglog(rows["steps"], rows["total_seconds"], **looks)
    axes.legend(**BESIDE)
    return figure


def by_value(points: pd.DataFrame, factor: str) -> Figure:
    """Images a second of each case against a factor's value, with 95% intervals.

    `points` has the columns of sweep.csv, for one factor.
    """
    figure, axes = _blank(factor, "images a second")
    axes.set(xscale="log", yscale="log")
    for case, line in points.sort_values("value").groupby("case", sort=False):
        rate, (step, low, high) = line["images_per_second"], (line[n] for n in ends("step_ms"))
        reach = [rate * (1 - step / high), rate * (step / low - 1)]
        looks = style(str(case)) | {"label": plain(case), "capsize": 2}
        axes.errorbar(line["value"], rate, yerr=reach, **looks)
    values = sorted(points["value"].unique())
    axes.set_xticks(values, labels=[f"{value:,}" for value in values])
    axes.minorticks_off()
    axes.legend(**BESIDE)
    return figure


def step_parts(timed: pd.DataFrame, floor: float) -> Figure:
    """The parts of each case's step, against the floor in milliseconds."""
    figure, axes = _blank("milliseconds of a step", "", height=1.5 + 0.32 * len(timed))
    left = np.zeros(len(timed))
    for part, (colour, hatch, _) in PARTS.items():
        width = timed[f"{part}_ms"].fillna(0).to_numpy()
        axes.barh(
            np.arange(len(timed)), width, 0.7, left, label=part, color=colour, hatch=hatch,
            edgecolor="black", linewidth=0.5,
        )  # fmt: skip
        left = left + width
    axes.axvline(floor, color="black", linestyle="dashed", label=f"floor: {floor:.2f} ms")
    _rows(axes, list(timed["case"]))
    axes.legend(**BESIDE)
    return figure


def accuracy(curves: pd.DataFrame, across: str, label: str) -> Figure:
    """Validation accuracy against a column of curves.csv: means, with 95% intervals as bands.

    A panel a backend, with the others in grey.
    """
    backends = curves["case"].str.split().str[0]
    names = list(dict.fromkeys(backends))
    figure = Figure(figsize=(2.2 + 2.6 * len(names), 4), layout="constrained")
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, names, strict=True):
        for _, line in curves[backends != name].groupby("case"):
            axes.plot(line[across], line["validation_accuracy"], color="#bbbbbb", linewidth=0.6)
        for place, (case, line) in enumerate(curves[backends == name].groupby("case", sort=False)):
            looks = style(str(case))
            value, low, high = (line[column] for column in ends("validation_accuracy"))
            axes.fill_between(
                line[across], low, high, color=looks["color"], alpha=0.12, linewidth=0
            )
            looks |= {"label": plain(case), "markevery": (place % 3, 3)}
            axes.plot(line[across], value, **looks)
        axes.legend(loc="lower right", fontsize=7)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.set_title(plain(title_of(name)), fontsize=9)
    learned = curves.loc[curves["step"] > 0, "validation_accuracy"].min()
    start = max((start for start in AXIS_STARTS if start < learned), default=0.0)
    panels.flat[0].set(
        xlim=(0, None), ylim=(start, 1), ylabel=f"validation accuracy (axis from {start:.0%})"
    )
    panels.flat[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.supxlabel(f"{label}; bands: 95% intervals over seeds", fontsize="medium")
    return figure


def time_to_accuracy(times: pd.DataFrame) -> Figure:
    """Seconds to each target that was reached, with 95% intervals, and with the start-up added."""
    cases = list(times["case"].unique())
    targets = sorted(times.loc[times["reached"] > 0, "target"].unique())
    figure = Figure(figsize=(3 + 2.6 * len(targets), 1.4 + 0.34 * len(cases)), layout="constrained")
    panels = figure.subplots(1, len(targets), sharex=True, sharey=True, squeeze=False)
    for axes, target in zip(panels.flat, targets, strict=True):
        _log_across(axes, (1, 2, 5))
        axes.set_title(f"{target:.0%}", fontsize=9)
        for _, row in times[times["target"] == target].iterrows():
            place, colour = cases.index(row["case"]), look(row["case"]).colour
            _interval(axes, place, row, "train_seconds")
            axes.plot(row["total_seconds"], place, marker="|", markersize=11, color=colour)
            _beside(axes, place, f"{row['reached']}/{row['seeds']}")
        _rows(axes, cases)
    figure.supxlabel(
        "seconds of training, 95% intervals over seeds; │: start-up added; "
        "right: seeds that reached it",
        fontsize="medium",
    )
    return figure


def style(case: str) -> dict[str, Any]:
    """The style of a case's line and markers: hollow for streamed input."""
    looks = look(case)
    return {
        "color": looks.colour,
        "linestyle": looks.line[0],
        "marker": looks.marker[0],
        "fillstyle": "none" if looks.streamed else "bottom" if looks.stock_adam else "full",
        "markersize": 4.5,
    }


def _interval(axes: Axes, place: int, row: pd.Series, name: str) -> None:
    """Draw one estimate of a case with its interval, if it has one, along the x axis."""
    value, low, high = (row[column] for column in ends(name))
    reach = np.array([[value - low], [high - value]])
    bars = reach if np.isfinite(reach).all() else None
    axes.errorbar(value, place, xerr=bars, capsize=3, **style(row["case"]) | {"linestyle": "solid"})


def _beside(axes: Axes, place: int, text: str) -> None:
    """Write a short text at the right of a row."""
    axes.annotate(
        text, (1, place), (3, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", va="center", fontsize=8,
    )  # fmt: skip


def _log_across(axes: Axes, marks: tuple[float, ...]) -> None:
    """Make the x axis logarithmic, with plain numbers at `marks` of each power of ten."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=marks))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _rows(axes: Axes, cases: list[str]) -> None:
    """Name the rows, one a case, the first at the top."""
    axes.set_yticks(range(len(cases)), labels=list(map(plain, cases)), fontsize=8)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3, which="both", linewidth=0.5)
    axes.grid(visible=False, axis="y")


def _blank(across: str, up: str, height: float = 4.5) -> tuple[Figure, Axes]:
    """An empty figure with named axes."""
    figure = Figure(figsize=(7.5, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=across, ylabel=up)
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    return figure, axes
