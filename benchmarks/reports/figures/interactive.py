"""The figures of report.html, drawn by plotly, each with the rows that it is drawn from.

A figure shows what is in the bundle's CSVs and nothing else.
"""

from collections.abc import Callable, Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from benchmarks.analysis.break_even import STARTUP
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.analysis.statistics import ends
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import cases
from benchmarks.reports.figures import charts, looks
from benchmarks.reports.figures.charts import Chart
from benchmarks.reports.formats import MS, as_interval, stage_title
from benchmarks.schema import LEVELS, STAGES


def ranking(_: Bundle, findings: Findings) -> Chart:
    """Each ranked case with its interval: against its tier's fastest, the floor, and alone."""
    units = {"times the fastest": "times_fastest", "times the floor": "x_floor"}
    groups, ranked = cases.comparable_groups(findings), cases.ranked(findings.summary)
    wheres = {group.where for group in groups}
    views = {
        # What all groups share need not be said.
        (group.name if len(wheres) > 1 else group.tier) or "times the fastest": _bars(
            group.rows, "times_fastest", "times the fastest"
        )
        for group in groups
    }
    for unit, column in {"times the floor": "x_floor", "ms a step": "step_ms"}.items():
        if ranked[column].notna().any():
            views[unit] = _bars(ranked, column, unit)
    return Chart(views, charts.shown(ranked, "rank", "case", "tier", *units.values(), "step_ms"))


def _bars(rows: pd.DataFrame, column: str, unit: str) -> go.Figure:
    """A bar a case with its interval, in the order of the rows from the top."""
    figure = charts.rows(unit, map(charts.two_lines, rows["case"]))
    charts.bars(figure, rows, column, lambda row: f"{as_interval(MS)(row, column)} {unit}")
    charts.from_zero(figure, rows[column], rows[f"{column}_high"])
    return figure.update_layout(barmode="overlay", bargap=0.35)


def curves(_: Bundle, findings: Findings) -> Chart:
    """Validation accuracy as training goes on, with intervals over seeds."""
    rows = cases.in_summary_order(findings.curves, findings)
    views = {
        "by training time": _curves(rows, "train_seconds", "seconds of training"),
        "by steps": _curves(rows, "step", "steps trained"),
    }
    names = ("case", "step", "seeds", "train_seconds", "validation_accuracy")
    return Chart(views, charts.shown(rows, *names))


def _curves(rows: pd.DataFrame, column: str, across: str) -> go.Figure:
    """A line a case, in a band that shows its interval."""
    later = rows.loc[rows["step"] > 0, "validation_accuracy"]
    # All begin at chance: the axis begins where they differ, and its title says so.
    lowest = np.floor(100 * later.min() - 0.5) / 100 if len(later) else 0.0
    up = f"validation accuracy, from {lowest:.0%}" if lowest > 0 else "validation accuracy"
    figure = charts.blank(across, up, height=420)
    value, low, high = ends("validation_accuracy")
    for case, curve in rows.groupby("case", sort=False):
        band = curve.dropna(subset=[low])
        figure.add_scatter(
            x=pd.concat([band[column], band[column][::-1]]),
            y=pd.concat([band[high], band[low][::-1]]),
            fill="toself",
            fillcolor=looks.look(str(case)).colour,
            opacity=0.08,
            mode="none",
            hoverinfo="skip",
            **charts.legend(str(case)) | {"showlegend": False},
        )
    numbers = (
        "%{y:.2%} [%{customdata[1]:.2%}, %{customdata[2]:.2%}]<br>"
        f"step %{{customdata[0]:,}}, %{{x:,.3~g}} {across}"
    )
    for case, curve in rows.groupby("case", sort=False):
        figure.add_scatter(
            x=curve[column],
            y=curve[value],
            mode="lines+markers",
            line=charts.line(str(case)),
            marker=charts.marker(str(case)),
            customdata=curve[["step", low, high]],
            hovertemplate=charts.hover(numbers, charts.literal(case)),
            **charts.legend(str(case)),
        )
    highest = min(1.0, float(rows[value].max()) + 0.006) if len(rows) else 1.0
    figure.update_yaxes(range=[lowest, highest], tickformat=".1%")
    return charts.from_zero(figure, rows[column], rows[column])


def time_to_accuracy(_: Bundle, findings: Findings) -> Chart:
    """Start-up and training until an accuracy is reached, for each target that was."""
    rows = cases.in_summary_order(findings.time_to_accuracy, findings)
    reached = rows[rows["reached"] > 0]
    views = {f"{target:.0%}": _time_to(times) for target, times in reached.groupby("target")}
    names = ("case", "target", "seeds", "reached", "steps", "startup_seconds", "total_seconds")
    return Chart(views, charts.shown(rows, *names, "train_seconds"))


def _time_to(rows: pd.DataFrame) -> go.Figure:
    """A bar a case: start-up, and upon it the training with its interval."""
    rows = rows.sort_values("total_seconds")
    labels = list(map(charts.two_lines, rows["case"]))
    figure = charts.rows("seconds from the start of the process", labels)
    figure.add_bar(
        name="import, build, first call",
        legendgroup="start-up",
        legendgrouptitle={"text": "Start-up"},
        x=rows["startup_seconds"],
        y=labels,
        orientation="h",
        marker={"color": looks.SHADE, "line": {"color": looks.INK, "width": 0.5}},
        hovertemplate=charts.hover("start-up %{x:.3g} s"),
    )
    charts.bars(
        figure,
        rows,
        "train_seconds",
        lambda row: (
            f"training {as_interval(MS)(row, 'train_seconds')} s, {row['steps']:,.0f} steps"
            f"<br>reached in {row['reached']} of {row['seeds']} seeds"
        ),
    )
    highs = rows["startup_seconds"] + rows["train_seconds_high"]
    charts.from_zero(figure, rows["total_seconds"], highs)
    return figure.update_layout(barmode="stack", bargap=0.35)


def equivalence(_: Bundle, findings: Findings) -> Chart:
    """The differences in accuracy between backends, and the margin within which they are equal."""
    rows = findings.equivalences
    pairs = zip(rows["group"], rows["other"], strict=True)
    labels = [f"{charts.literal(one)}<br>less {charts.literal(other)}" for one, other in pairs]
    difference, low, high = ends("difference_points")
    figure = charts.rows("percentage points", labels)
    charts.marks(
        figure,
        labels,
        "%{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}] points<br>%{customdata[2]}",
        marker={"color": looks.INK, "symbol": "diamond", "size": 10},
        customdata=rows[[low, high, "verdict"]],
        showlegend=False,
        **charts.estimates(rows, difference),
    )
    margin = rows["margin_points"].max()
    band = {"fillcolor": looks.SHADE, "opacity": 0.6, "line_width": 0, "layer": "below"}
    figure.add_vrect(x0=-margin, x1=margin, **band)
    charts.mark(figure, 0, "as good as equal")
    widest = 1.05 * np.nanmax([*rows[[difference, low, high]].abs().to_numpy().flat, 2 * margin])
    figure.update_xaxes(range=[-widest, widest])
    columns = ("group", "other", "seeds", "margin_points", "p_equivalent", "p_different", "verdict")
    return Chart({"": figure}, charts.shown(rows, *columns, difference))


def startup(bundle: Bundle, findings: Findings) -> Chart:
    """Start-up by parts, medians; a dot is the sum of one launch."""
    rows = findings.summary[(findings.summary["launches"] > 0) & ~control_of(findings.summary)]
    launches = bundle.tables["launches"]
    launches = launches[launches["case"].isin(rows["case"])]
    calls = {
        "caches filled": ("first_call_again_seconds", launches["launch"] > 0),
        "empty caches": ("first_call_seconds", launches["launch"] == 0),
    }
    views = {
        name: _startup(rows, call, launches[dots])
        for name, (call, dots) in calls.items()
        if rows[call].notna().any()
    }
    return Chart(views, launches[["case", "launch", *STARTUP]])


def _startup(rows: pd.DataFrame, call: str, launches: pd.DataFrame) -> go.Figure:
    """A bar a case, of its parts, and a dot a launch; `call` is the column of the first call."""
    parts = {"import_seconds": "import", "build_seconds": "build", call: "first call"}
    rows = rows.assign(total=rows[list(parts)].sum(axis=1)).sort_values("total")
    figure = charts.rows("seconds", map(charts.two_lines, rows["case"]), grouped=False)
    charts.stack(figure, rows, parts, "%{x:.2f} s")
    text, sums = "%{x:.2f} s in one launch", launches[STARTUP].sum(axis=1)
    dot = {"color": looks.SHADE, "size": 7, "line": {"color": looks.INK, "width": 1.5}}
    labels = map(charts.two_lines, launches["case"])
    charts.marks(figure, labels, text, name="one launch", x=sums, marker=dot)
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
            hovertemplate=charts.hover("%{x:,} steps in %{y:.3g} s", charts.literal(case)),
            **charts.legend(str(case)),
        )
    figure.update_xaxes(type="log", tickformat="~s")
    figure.update_yaxes(type="log", tickformat=",", dtick="D2")
    return Chart({"": figure}, findings.totals)


def break_even(_: Bundle, findings: Findings) -> Chart:
    """The number of steps after which each slower starter has overtaken the other case."""
    rows = findings.break_even
    pairs = zip(rows["case"], rows["overtakes"], strict=True)
    labels = [f"{charts.literal(one)}<br>past {charts.literal(other)}" for one, other in pairs]
    colours = [looks.look(case).colour for case in rows["case"]]
    figure = charts.rows("steps trained", labels, grouped=False)
    charts.marks(
        figure,
        labels,
        "after %{x:,.0f} [%{customdata[0]:,.0f}, %{customdata[1]:,.0f}] steps",
        marker={"color": colours, "symbol": "diamond", "size": 9},
        name="caches filled, 95% interval",
        customdata=rows[["steps_low", "steps_high"]],
        **charts.estimates(rows, "steps"),
    )
    text, first = "after %{x:,.0f} steps, with empty caches", rows["first_steps"]
    hollow = {"color": colours, "symbol": "circle-open", "size": 9, "line": {"width": 2}}
    charts.marks(figure, labels, text, name="empty caches, one launch", x=first, marker=hollow)
    steps = rows[["first_steps", "steps"]].to_numpy()
    # An interval may reach absurd counts: there it leaves the figure.
    across = [np.nanmin(steps) / 20, np.nanmax(steps) * 20] if np.isfinite(steps).any() else [1, 10]
    figure.update_xaxes(type="log", tickformat="~s", range=list(np.log10(across)))
    return Chart({"": figure}, rows)


def step_parts(_: Bundle, findings: Findings) -> Chart:
    """The parts of each case's step, beside the floor."""
    rows = cases.measured(findings.summary)
    columns = {f"{part}_ms": part for part in looks.PARTS}
    labels = list(map(charts.two_lines, rows["case"]))
    figure = charts.rows("ms a step", labels, grouped=False)
    charts.stack(figure, rows, columns, "%{x:.3f} ms")
    step = charts.estimates(rows, "step_ms") | {"name": "whole step, 95% interval"}
    stroke = {"color": looks.INK, "symbol": "line-ns-open", "size": 12}
    charts.marks(figure, labels, "%{x:.3f} ms a step", marker=stroke, **step)
    charts.mark(figure, findings.floors["step_ms"].iloc[0], "the floor")
    charts.from_zero(figure, rows["step_ms"], rows["step_ms_high"])
    return Chart({"": figure}, charts.shown(rows, "case", "step_ms", *columns))


def certificates(bundle: Bundle, findings: Findings) -> Chart:
    """How far each error lies below its bound: the worst of each case and stage."""
    rows = bundle.tables["certificates"]
    share = (rows["relative_error"] / rows["bound"]).fillna(-1)
    rows = rows.assign(share=share)[rows["not_read"].isna()]
    worst = rows.sort_values("share").groupby(["level", "case", "stage"], sort=False).tail(1)
    worst = cases.in_summary_order(worst, findings)
    views = {name: _errors(worst[worst["level"] == name]) for name in LEVELS[::-1]}
    columns = ["case", "level", "stage", "parameter", "launch", "relative_error", "bound"]
    return Chart(views, worst[columns])


def _errors(rows: pd.DataFrame) -> go.Figure:
    """A mark a case in each stage; errors of zero have no place on a logarithmic axis."""
    names = {stage: stage_title(stage.replace("_", "<br>", 1)) for stage in STAGES}
    label = "relative error, as a share of its bound"
    figure = charts.rows(label, names.values(), height=2 * charts.ROW)
    rows = rows[rows["share"] > 0]
    for case, errors in rows.groupby("case", sort=False):
        charts.marks(
            figure,
            errors["stage"].map(names),
            "%{y}: error %{customdata[0]:.1e} of %{customdata[1]:.1e}",
            title=charts.literal(case),
            marker=charts.marker(str(case)) | {"size": 9},
            x=errors["share"],
            orientation="h",
            customdata=errors[["relative_error", "bound"]],
            **charts.legend(str(case)),
        )
    shares = np.log10(rows["share"])
    across = [min(shares.min(), -1) - 0.4, max(shares.max(), 0) + 0.6] if len(shares) else [-1, 0]
    figure.update_xaxes(type="log", dtick=1, tickformat="~g", range=across)
    charts.mark(figure, 1, "the bound")
    return figure.update_layout(scattermode="group", scattergap=0.3)


def bundles(summaries: Mapping[str, pd.DataFrame]) -> Chart:
    """The measured cases of several bundles, with a mark for each bundle, by the bundles' names."""
    named = [rows.assign(bundle=name) for name, rows in summaries.items()]
    rows = cases.measured(pd.concat(named, ignore_index=True))
    units = {"times the fastest": "times_fastest", "ms a step": "step_ms"}
    views = {name: _bundles(rows, column, name) for name, column in units.items()}
    return Chart(views, charts.shown(rows, "bundle", "case", "tier", *units.values()))


def _bundles(rows: pd.DataFrame, column: str, unit: str) -> go.Figure:
    """A row a case, in it a mark with its interval for each bundle."""
    height = max(charts.ROW, 18 * rows["bundle"].nunique())
    labels = map(charts.two_lines, rows["case"].unique())
    figure = charts.rows(unit, labels, height=height, grouped=False)
    by_bundle = rows.groupby("bundle", sort=False)
    for (bundle, of_bundle), (_, symbol) in zip(by_bundle, cycle(looks.MARKERS), strict=False):
        charts.marks(
            figure,
            map(charts.two_lines, of_bundle["case"]),
            f"%{{x:.3g}} [%{{customdata[0]:.3g}}, %{{customdata[1]:.3g}}] {unit}<br>"
            + charts.literal(bundle),
            title="%{customdata[2]}",
            name=charts.literal(bundle),
            marker={"color": looks.INK, "symbol": symbol, "size": 9},
            orientation="h",
            customdata=of_bundle[[f"{column}_low", f"{column}_high"]].assign(
                case=of_bundle["case"].map(charts.literal)
            ),
            **charts.estimates(of_bundle, column),
        )
    charts.from_zero(figure, rows[column], rows[f"{column}_high"])
    return figure.update_layout(scattermode="group", scattergap=0.35)


Draw = Callable[[Bundle, Findings], Chart]

FIGURES: dict[str, Draw] = {
    function.__name__: function
    for function in (
        *(ranking, curves, time_to_accuracy, equivalence, startup),
        *(total_time, break_even, step_parts, certificates),
    )
}
"""The function that draws each figure, by the name that reports use."""
