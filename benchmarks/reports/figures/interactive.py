"""The figures of report.html, drawn by plotly, each with the rows that it is drawn from.

A figure shows what is in the bundle's CSVs and nothing else. The figures of what was learned are in
`interactive_accuracy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from benchmarks.analysis.break_even import STARTUP
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import cases
from benchmarks.reports.figures import charts, looks
from benchmarks.reports.figures.charts import Chart
from benchmarks.reports.figures.interactive_accuracy import curves, equivalence, time_to_accuracy
from benchmarks.reports.formats import MS, as_interval, stage_title
from benchmarks.schema import LEVELS, STAGES


def ranking(_: Bundle, findings: Findings) -> Chart:
    """Each ranked case with its interval: against the fastest, against the floor, and alone."""
    units = {"times the fastest": "times_fastest", "times the floor": "x_floor"}
    groups = cases.comparable_groups(findings)
    ranked = cases.ranked(findings.summary)
    views = {}
    for where, rows in groups:
        for unit, column in units.items():
            if rows[column].notna().any():
                views[unit if len(groups) == 1 else f"{unit} {where}"] = _bars(rows, column, unit)
    views["ms a step"] = _bars(ranked, "step_ms", "ms a step")
    columns = [*units.values(), "step_ms"]
    return Chart(views=views, data=charts.with_intervals(ranked, ["rank", "case", "tier"], columns))


def _bars(rows: pd.DataFrame, column: str, unit: str) -> go.Figure:
    """A bar a case with its interval, in the order of the rows from the top."""
    figure = charts.rows(unit, rows["case"])
    charts.bars(figure, rows, column, lambda row: f"{as_interval(MS)(row, column)} {unit}")
    figure.update_xaxes(range=charts.from_zero(rows[column], rows[f"{column}_high"]))
    return figure.update_layout(barmode="overlay", bargap=0.35)


def startup(bundle: Bundle, findings: Findings) -> Chart:
    """Start-up by parts, medians; a dot is the sum of one launch."""
    rows = findings.summary[(findings.summary["launches"] > 0) & ~control_of(findings.summary)]
    launches = bundle.tables["launches"]
    launches = launches[launches["case"].isin(rows["case"])]
    views = {}
    for name, call, dots in (
        ("caches filled", "first_call_again_seconds", launches[launches["launch"] > 0]),
        ("empty caches", "first_call_seconds", launches[launches["launch"] == 0]),
    ):
        if rows[call].notna().any():
            views[name] = _startup(rows, call, dots)
    return Chart(views=views, data=launches[["case", "launch", *STARTUP]])


def _startup(rows: pd.DataFrame, call: str, launches: pd.DataFrame) -> go.Figure:
    """A bar a case, of its parts, and a dot a launch; `call` is the column of the first call."""
    parts = {"import_seconds": "import", "build_seconds": "build", call: "first call"}
    rows = rows.assign(total=rows[list(parts)].sum(axis=1)).sort_values("total")
    figure = charts.rows("seconds", rows["case"], grouped=False)
    charts.stack(figure, rows, parts, "%{x:.2f} s")
    dot = {"color": looks.SHADE, "size": 7, "line": {"color": looks.INK, "width": 1.5}}
    names = launches["case"].map(charts.two_lines)
    sums: dict[str, Any] = {"name": "one launch", "x": launches[STARTUP].sum(axis=1)}
    charts.marks(figure, names, dot, "%{x:.2f} s in one launch", **sums)
    return figure.update_xaxes(rangemode="tozero")


def total_time(_: Bundle, findings: Findings) -> Chart:
    """Total time against steps, on logarithmic axes."""
    figure = charts.blank("steps trained", "seconds from the start of the process", height=420)
    for case, rows in findings.totals.groupby("case", sort=False):
        figure.add_scatter(
            x=rows["steps"],
            y=rows["total_seconds"],
            mode="lines",
            line=charts.line(str(case)),
            hovertemplate=charts.hover("%{x:,} steps in %{y:.3g} s", str(case)),
            **charts.legend(str(case)),
        )
    figure.update_xaxes(type="log", tickformat="~s")
    figure.update_yaxes(type="log", tickformat=",", dtick="D2")
    return Chart(views={"": figure}, data=findings.totals)


def break_even(_: Bundle, findings: Findings) -> Chart:
    """The number of steps after which each slower starter has overtaken the other case."""
    rows = findings.break_even
    names = [f"{row['case']}<br>past {row['overtakes']}" for _, row in rows.iterrows()]
    colours = [charts.line(case)["color"] for case in rows["case"]]
    figure = charts.rows("steps trained", names, grouped=False)
    charts.marks(
        figure,
        names,
        {"color": colours, "symbol": "diamond", "size": 9},
        "after %{x:,.0f} [%{customdata[0]:,.0f}, %{customdata[1]:,.0f}] steps",
        name="caches filled, 95% interval",
        customdata=rows[["steps_low", "steps_high"]],
        **charts.estimates(rows, "steps"),
    )
    hollow = {"color": colours, "symbol": "circle-open", "size": 9, "line": {"width": 2}}
    first: dict[str, Any] = {"name": "empty caches, one launch", "x": rows["first_steps"]}
    charts.marks(figure, names, hollow, "after %{x:,.0f} steps, with empty caches", **first)
    steps = rows[["first_steps", "steps"]].to_numpy()
    # An interval may reach absurd counts: there it leaves the figure.
    ends = [np.nanmin(steps) / 20, np.nanmax(steps) * 20] if np.isfinite(steps).any() else [1, 10]
    figure.update_xaxes(type="log", tickformat="~s", range=list(np.log10(ends)))
    return Chart(views={"": figure}, data=rows)


def parts(_: Bundle, findings: Findings) -> Chart:
    """The parts of each case's step, beside the floor."""
    rows = cases.measured(findings.summary)
    columns = {f"{part}_ms": part for part in looks.PARTS}
    figure = charts.rows("ms a step", rows["case"], grouped=False)
    charts.stack(figure, rows, columns, "%{x:.3f} ms")
    names = rows["case"].map(charts.two_lines)
    stroke = {"color": looks.INK, "symbol": "line-ns-open", "size": 12}
    whole = charts.estimates(rows, "step_ms") | {"name": "whole step, 95% interval"}
    charts.marks(figure, names, stroke, "%{x:.3f} ms a step", **whole)
    charts.mark(figure, findings.floors["step_ms"].iloc[0], "the floor")
    figure.update_xaxes(range=charts.from_zero(rows["step_ms"], rows["step_ms_high"]))
    data = charts.with_intervals(rows, ["case"], ["step_ms"]).join(rows[list(columns)])
    return Chart(views={"": figure}, data=data)


def certificates(bundle: Bundle, findings: Findings) -> Chart:
    """How far each error lies below its bound: the worst of each case and stage."""
    rows = bundle.tables["certificates"]
    share = (rows["relative_error"] / rows["bound"]).fillna(-1)
    rows = rows.assign(share=share)[rows["not_read"].isna()]
    worst = rows.sort_values("share").groupby(["level", "case", "stage"], sort=False).tail(1)
    worst = cases.in_summary_order(worst, findings)
    views = {name: _errors(worst[worst["level"] == name]) for name in LEVELS[::-1]}
    columns = ["case", "level", "stage", "parameter", "launch", "relative_error", "bound"]
    return Chart(views=views, data=worst[columns])


def _errors(rows: pd.DataFrame) -> go.Figure:
    """A mark a case in each stage; errors of zero have no place on a logarithmic axis."""
    names = {stage: stage_title(stage.replace("_", "<br>", 1)) for stage in STAGES}
    across = "relative error, as a share of its bound"
    figure = charts.rows(across, names.values(), height=2 * charts.ROW)
    for case, shown in rows[rows["share"] > 0].groupby("case", sort=False):
        charts.marks(
            figure,
            shown["stage"].map(names),
            charts.marker(str(case)) | {"size": 9},
            "%{y}: error %{customdata[0]:.1e} of %{customdata[1]:.1e}",
            title=str(case),
            x=shown["share"],
            orientation="h",
            customdata=shown[["relative_error", "bound"]],
            **charts.legend(str(case)),
        )
    shares = np.log10(rows.loc[rows["share"] > 0, "share"])
    ends = [min(shares.min(), -1) - 0.4, max(shares.max(), 0) + 0.6] if len(shares) else [-1, 0]
    figure.update_xaxes(type="log", dtick=1, tickformat="~g", range=ends)
    charts.mark(figure, 1, "the bound")
    return figure.update_layout(scattermode="group", scattergap=0.3)


def bundles(summaries: Mapping[str, pd.DataFrame]) -> Chart:
    """The measured cases of several bundles, with a mark for each bundle, by the bundles' names."""
    named = [rows.assign(bundle=name) for name, rows in summaries.items()]
    rows = cases.measured(pd.concat(named, ignore_index=True))
    units = {"times the fastest": "times_fastest", "ms a step": "step_ms"}
    names = ["bundle", "case", "tier"]
    return Chart(
        views={name: _bundles(rows, column, name) for name, column in units.items()},
        data=charts.with_intervals(rows, names, list(units.values())),
    )


def _bundles(rows: pd.DataFrame, column: str, unit: str) -> go.Figure:
    """A row a case, in it a mark with its interval for each bundle."""
    height = max(charts.ROW, 18 * rows["bundle"].nunique())
    figure = charts.rows(unit, rows["case"].unique(), height=height, grouped=False)
    for (bundle, shown), (_, symbol) in zip(
        rows.groupby("bundle", sort=False), cycle(looks.MARKERS), strict=False
    ):
        charts.marks(
            figure,
            shown["case"].map(charts.two_lines),
            {"color": looks.INK, "symbol": symbol, "size": 9},
            f"%{{x:.3g}} [%{{customdata[0]:.3g}}, %{{customdata[1]:.3g}}] {unit}<br>{bundle}",
            title="%{customdata[2]}",
            name=bundle,
            orientation="h",
            customdata=shown[[f"{column}_low", f"{column}_high", "case"]],
            **charts.estimates(shown, column),
        )
    figure.update_xaxes(range=charts.from_zero(rows[column], rows[f"{column}_high"]))
    return figure.update_layout(scattermode="group", scattergap=0.35)


Draw = Callable[[Bundle, Findings], Chart]

FIGURES: dict[str, Draw] = {
    function.__name__: function
    for function in (
        *(ranking, curves, time_to_accuracy, equivalence, startup),
        *(total_time, break_even, parts, certificates),
    )
}
"""The function that draws each figure, by the name that reports use."""
