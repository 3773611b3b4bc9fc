"""The figures of report.html: drawn by plotly, each with the rows that it is drawn from.

A figure shows what stands in the bundle's CSVs and nothing else. charts.py has what they share,
interactive_accuracy.py those of what was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from benchmarks.analysis.break_even import STARTUP
from benchmarks.analysis.findings import Bundle, Findings, control_of
from benchmarks.reports import sentences as words
from benchmarks.reports.figures import charts
from benchmarks.reports.figures.charts import Chart
from benchmarks.reports.figures.interactive_accuracy import curves, equivalence, time_to_accuracy
from benchmarks.schema import LEVELS, STAGES


def ranking(_: Bundle, findings: Findings) -> Chart:
    """Each ranked case with its interval, against the fastest, against the floor and alone."""
    units = {"times the fastest": "times_fastest", "times the floor": "x_floor"}
    groups = words.groups(findings)
    ranked = words.ranked(findings.summary)
    views = {}
    for where, rows in groups:
        for unit, column in units.items():
            if rows[column].notna().any():
                views[unit if len(groups) == 1 else f"{unit} {where}"] = _bars(rows, column, unit)
    views["ms a step"] = _bars(ranked, "step_ms", "ms a step")
    columns = [*units.values(), "step_ms"]
    return Chart(views=views, data=charts.with_intervals(ranked, ["rank", "case", "tier"], columns))


def _bars(rows: pd.DataFrame, column: str, unit: str) -> go.Figure:
    """A bar a case with its interval; in the order of the rows, from above."""
    figure = charts.blank(unit, height=charts.ROW * len(rows))
    for _, row in rows.iterrows():
        value, low, high = (row[column], row[f"{column}_low"], row[f"{column}_high"])
        figure.add_bar(
            x=[value],
            y=[charts.two_lines(row["case"])],
            orientation="h",
            error_x=charts.reach([value], [low], [high]),
            marker=charts.fill(row["case"]),
            hovertemplate=f"<b>{row['case']}</b><br>{words.interval(value, low, high, words.MS)} "
            f"{unit}<extra></extra>",
            **charts.legend(row["case"]),
        )
    charts.from_above(figure, rows["case"])
    figure.update_xaxes(range=charts.from_zero(rows[column], rows[f"{column}_high"]))
    return figure.update_layout(barmode="overlay", bargap=0.35)


def startup(bundle: Bundle, findings: Findings) -> Chart:
    """Start-up by parts, medians; a dot is the sum of one launch."""
    rows = findings.summary[(findings.summary["launches"] > 0) & ~control_of(findings.summary)]
    launches = bundle.tables["launches"]
    launches = launches[launches["case"].isin(rows["case"])]
    views = {}
    for name, call, own in (
        ("caches filled", "first_call_again_seconds", launches[launches["launch"] > 0]),
        ("empty caches", "first_call_seconds", launches[launches["launch"] == 0]),
    ):
        if rows[call].notna().any():
            views[name] = _startup(rows, ["import_seconds", "build_seconds", call], own)
    return Chart(views=views, data=launches[["case", "launch", *STARTUP]])


def _startup(rows: pd.DataFrame, parts: list[str], launches: pd.DataFrame) -> go.Figure:
    """A bar a case, of its parts, and a dot a launch."""
    rows = rows.assign(total=rows[parts].sum(axis=1)).sort_values("total")
    figure = charts.blank("seconds", height=charts.ROW * len(rows), grouped=False)
    for part, name, look in zip(
        parts, ("import", "build", "first call"), charts.PARTS.values(), strict=False
    ):
        figure.add_bar(
            name=name,
            x=rows[part],
            y=rows["case"].map(charts.two_lines),
            orientation="h",
            marker=charts.patterned(*look, lines=charts.BLACK),
            hovertemplate=f"<b>%{{y}}</b><br>{name} %{{x:.2f}} s<extra></extra>",
        )
    figure.add_scatter(
        name="one launch",
        x=launches[STARTUP].sum(axis=1),
        y=launches["case"].map(charts.two_lines),
        mode="markers",
        marker={"color": charts.SHADE, "size": 7, "line": {"color": charts.INK, "width": 1.5}},
        hovertemplate="<b>%{y}</b><br>%{x:.2f} s in one launch<extra></extra>",
    )
    charts.from_above(figure, rows["case"])
    figure.update_xaxes(rangemode="tozero")
    return figure.update_layout(barmode="stack", bargap=0.35)


def total_time(_: Bundle, findings: Findings) -> Chart:
    """Total time against steps, on logarithmic axes."""
    figure = charts.blank("steps trained", "seconds from the start of the process", height=420)
    for case, rows in findings.totals.groupby("case", sort=False):
        figure.add_scatter(
            x=rows["steps"],
            y=rows["total_seconds"],
            mode="lines",
            line=charts.line(str(case)),
            hovertemplate=f"<b>{case}</b><br>%{{x:,}} steps in %{{y:.3g}} s<extra></extra>",
            **charts.legend(str(case)),
        )
    figure.update_xaxes(type="log", tickformat="~s")
    figure.update_yaxes(type="log", tickformat=",", dtick="D2")
    return Chart(views={"": figure}, data=findings.totals)


def break_even(_: Bundle, findings: Findings) -> Chart:
    """After how many steps each slower starter has overtaken the other."""
    rows = findings.break_even
    names = [f"{row['case']}<br>past {row['overtakes']}" for _, row in rows.iterrows()]
    colours = [charts.line(case)["color"] for case in rows["case"]]
    figure = charts.blank("steps trained", height=charts.ROW * len(rows), grouped=False)
    figure.add_scatter(
        name="caches filled, 95% interval",
        x=rows["steps"],
        y=names,
        mode="markers",
        marker={"color": colours, "symbol": "diamond", "size": 9},
        error_x=charts.reach(rows["steps"], rows["steps_low"], rows["steps_high"]),
        customdata=rows[["steps_low", "steps_high"]],
        hovertemplate="<b>%{y}</b><br>after %{x:,.0f} [%{customdata[0]:,.0f}, "
        "%{customdata[1]:,.0f}] steps<extra></extra>",
    )
    figure.add_scatter(
        name="empty caches, one launch",
        x=rows["first_steps"],
        y=names,
        mode="markers",
        marker={"color": colours, "symbol": "circle-open", "size": 9, "line": {"width": 2}},
        hovertemplate="<b>%{y}</b><br>after %{x:,.0f} steps, with empty caches<extra></extra>",
    )
    charts.from_above(figure, names)
    steps = rows[["first_steps", "steps"]].to_numpy()
    # An interval may begin or end at absurd counts: it leaves the figure there.
    ends = [np.nanmin(steps) / 20, np.nanmax(steps) * 20] if np.isfinite(steps).any() else [1, 10]
    figure.update_xaxes(type="log", tickformat="~s", range=list(np.log10(ends)))
    return Chart(views={"": figure}, data=rows)


def parts(_: Bundle, findings: Findings) -> Chart:
    """What a step is made of, beside the floor."""
    summary = findings.summary
    rows = summary[(summary["status"] == "measured") & ~control_of(summary)]
    cases = rows["case"].map(charts.two_lines)
    figure = charts.blank("ms a step", height=charts.ROW * len(rows), grouped=False)
    for part, look in charts.PARTS.items():
        figure.add_bar(
            name=part,
            x=rows[f"{part}_ms"],
            y=cases,
            orientation="h",
            marker=charts.patterned(*look, lines=charts.BLACK),
            hovertemplate=f"<b>%{{y}}</b><br>{part} %{{x:.3f}} ms<extra></extra>",
        )
    figure.add_scatter(
        name="whole step, 95% interval",
        x=rows["step_ms"],
        y=cases,
        mode="markers",
        error_x=charts.reach(rows["step_ms"], rows["step_ms_low"], rows["step_ms_high"]),
        marker={"color": charts.INK, "symbol": "line-ns-open", "size": 12},
        hovertemplate="<b>%{y}</b><br>%{x:.3f} ms a step<extra></extra>",
    )
    charts.marked(figure, findings.floors["step_ms"].iloc[0], "the floor")
    charts.from_above(figure, rows["case"])
    figure.update_xaxes(range=charts.from_zero(rows["step_ms"], rows["step_ms_high"]))
    figure.update_layout(barmode="stack", bargap=0.35)
    data = charts.with_intervals(rows, ["case"], ["step_ms"]).join(
        rows[[f"{part}_ms" for part in charts.PARTS]]
    )
    return Chart(views={"": figure}, data=data)


def certificates(bundle: Bundle, findings: Findings) -> Chart:
    """How far below its bound each error is: of each case and stage the worst."""
    rows = bundle.tables["certificates"]
    share = (rows["relative_error"] / rows["bound"]).fillna(-1)
    rows = rows.assign(share=share)[rows["not_read"].isna()]
    worst = rows.sort_values("share").groupby(["level", "case", "stage"], sort=False).tail(1)
    worst = charts.in_order(worst, findings)
    views = {name: _errors(worst[worst["level"] == name]) for name in LEVELS[::-1]}
    columns = ["case", "level", "stage", "parameter", "launch", "relative_error", "bound"]
    return Chart(views=views, data=worst[columns])


def _errors(rows: pd.DataFrame) -> go.Figure:
    """A mark a case in each stage; errors of zero have no place on a logarithmic axis."""
    figure = charts.blank(
        "relative error, as a share of its bound", height=2 * charts.ROW * len(STAGES)
    )
    for case, own in rows[rows["share"] > 0].groupby("case", sort=False):
        figure.add_scatter(
            x=own["share"],
            y=own["stage"].str.replace("_", "<br>", n=1).str.replace("_", " "),
            mode="markers",
            orientation="h",
            marker=charts.marker(str(case)) | {"size": 9},
            customdata=own[["relative_error", "bound"]],
            hovertemplate=f"<b>{case}</b><br>%{{y}}: error %{{customdata[0]:.1e}} of "
            "%{customdata[1]:.1e}<extra></extra>",
            **charts.legend(str(case)),
        )
    names = [stage.replace("_", "<br>", 1).replace("_", " ") for stage in STAGES]
    charts.from_above(figure, names)
    shares = np.log10(rows.loc[rows["share"] > 0, "share"])
    ends = [min(shares.min(), -1) - 0.4, max(shares.max(), 0) + 0.6] if len(shares) else [-1, 0]
    figure.update_xaxes(type="log", dtick=1, tickformat="~g", range=ends)
    charts.marked(figure, 1, "the bound")
    return figure.update_layout(scattermode="group", scattergap=0.3)


def bundles(summaries: Mapping[str, pd.DataFrame]) -> Chart:
    """The measured cases of several bundles, by their name, a mark a bundle."""
    named = [rows.assign(bundle=name) for name, rows in summaries.items()]
    rows = pd.concat(named, ignore_index=True)
    rows = rows[(rows["status"] == "measured") & ~control_of(rows)]
    units = {"times the fastest": "times_fastest", "ms a step": "step_ms"}
    names = ["bundle", "case", "tier"]
    return Chart(
        views={name: _bundles(rows, column, name) for name, column in units.items()},
        data=charts.with_intervals(rows, names, list(units.values())),
    )


def _bundles(rows: pd.DataFrame, column: str, unit: str) -> go.Figure:
    """A row a case, in it a mark with its interval for each bundle."""
    cases = list(rows["case"].unique())
    height = max(charts.ROW, 18 * rows["bundle"].nunique()) * len(cases)
    figure = charts.blank(unit, height=height, grouped=False)
    for (bundle, own), symbol in zip(
        rows.groupby("bundle", sort=False), cycle(charts.SYMBOLS.values()), strict=False
    ):
        value, low, high = (own[f"{column}{end}"] for end in ("", "_low", "_high"))
        figure.add_scatter(
            name=bundle,
            x=value,
            y=own["case"].map(charts.two_lines),
            orientation="h",
            mode="markers",
            marker={"color": charts.INK, "symbol": symbol, "size": 9},
            error_x=charts.reach(value, low, high),
            customdata=np.stack([low, high, own["case"]], axis=-1),
            hovertemplate="<b>%{customdata[2]}</b><br>%{x:.3g} [%{customdata[0]:.3g}, "
            f"%{{customdata[1]:.3g}}] {unit}<br>{bundle}<extra></extra>",
        )
    charts.from_above(figure, cases)
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
"""What draws each figure that a report names."""
