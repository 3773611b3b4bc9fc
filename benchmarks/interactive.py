"""The figures of report.html: drawn by plotly, each with the rows that it is drawn from.

A figure shows what stands in the bundle's CSVs and nothing else. How a case looks is in
interactive_style.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from benchmarks import words
from benchmarks.break_even import STARTUP
from benchmarks.certificate import LEVELS, STAGES
from benchmarks.interactive_style import (
    BLACK,
    INK,
    PARTS,
    ROW,
    SHADE,
    blank,
    fill,
    legend,
    line,
    marker,
    patterned,
    reach,
    two_lines,
)
from benchmarks.summary import Bundle, Findings, control_of


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure with its views, by what the button of each says, and the rows behind them."""

    views: dict[str, go.Figure]
    data: pd.DataFrame


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
    return Chart(views=views, data=_with_intervals(ranked, ["rank", "case", "tier"], columns))


def _bars(rows: pd.DataFrame, column: str, unit: str) -> go.Figure:
    """A bar a case with its interval; in the order of the rows, from above."""
    figure = blank(unit, height=ROW * len(rows))
    for _, row in rows.iterrows():
        value, low, high = (row[column], row[f"{column}_low"], row[f"{column}_high"])
        figure.add_bar(
            x=[value],
            y=[two_lines(row["case"])],
            orientation="h",
            error_x=reach([value], [low], [high]),
            marker=fill(row["case"]),
            hovertemplate=f"<b>{row['case']}</b><br>{words.interval(value, low, high, '.3g')} "
            f"{unit}<extra></extra>",
            **legend(row["case"]),
        )
    _from_above(figure, rows["case"])
    figure.update_xaxes(range=_from_zero(rows[column], rows[f"{column}_high"]))
    return figure.update_layout(barmode="overlay", bargap=0.35)


def curves(_: Bundle, findings: Findings) -> Chart:
    """Validation accuracy as training goes on, with intervals over seeds."""
    rows = _in_order(findings.curves, findings)
    across = {
        "by training time": ("train_seconds", "seconds of training"),
        "by steps": ("step", "steps trained"),
    }
    views = {name: _curves(rows, *axis) for name, axis in across.items()}
    estimates = ["train_seconds", "validation_accuracy"]
    return Chart(views=views, data=_with_intervals(rows, ["case", "step", "seeds"], estimates))


def _curves(rows: pd.DataFrame, column: str, across: str) -> go.Figure:
    """A line a case in a band for its interval."""
    later = rows.loc[rows["step"] > 0, "validation_accuracy"]
    # All begin at chance: the figure opens on where they differ, and says so.
    lowest = np.floor(100 * later.min() - 0.5) / 100 if len(later) else 0.0
    up = f"validation accuracy, from {lowest:.0%}" if lowest > 0 else "validation accuracy"
    figure = blank(across, up, height=420)
    for case, own in rows.groupby("case", sort=False):
        known = own.dropna(subset=["validation_accuracy_low"])
        ends = (known["validation_accuracy_high"], known["validation_accuracy_low"][::-1])
        figure.add_scatter(
            x=pd.concat([known[column], known[column][::-1]]),
            y=pd.concat(ends),
            fill="toself",
            fillcolor=line(str(case))["color"],
            opacity=0.08,
            mode="none",
            hoverinfo="skip",
            **legend(str(case)) | {"showlegend": False},
        )
    for case, own in rows.groupby("case", sort=False):
        figure.add_scatter(
            x=own[column],
            y=own["validation_accuracy"],
            mode="lines+markers",
            line=line(str(case)),
            marker=marker(str(case)),
            customdata=own[["step", "validation_accuracy_low", "validation_accuracy_high"]],
            hovertemplate=f"<b>{case}</b><br>%{{y:.2%}} [%{{customdata[1]:.2%}}, "
            "%{customdata[2]:.2%}]<br>step %{customdata[0]:,}, %{x:,.3~g} "
            f"{across}<extra></extra>",
            **legend(str(case)),
        )
    highest = min(1.0, float(rows["validation_accuracy"].max()) + 0.006) if len(rows) else 1.0
    figure.update_yaxes(range=[lowest, highest], tickformat=".1%")
    return figure.update_xaxes(range=_from_zero(rows[column], rows[column]))


def time_to_accuracy(_: Bundle, findings: Findings) -> Chart:
    """Start-up and training until an accuracy is reached, for each target that was."""
    rows = _in_order(findings.time_to_accuracy, findings)
    reached = rows[rows["reached"] > 0]
    views = {f"{target:.0%}": _time_to(own) for target, own in reached.groupby("target")}
    names = ["case", "target", "seeds", "reached", "steps", "startup_seconds", "total_seconds"]
    return Chart(views=views, data=_with_intervals(rows, names, ["train_seconds"]))


def _time_to(rows: pd.DataFrame) -> go.Figure:
    """A bar a case: start-up, and upon it the training with its interval."""
    rows = rows.sort_values("total_seconds")
    figure = blank("seconds from the start of the process", height=ROW * len(rows))
    figure.add_bar(
        name="import, build, first call",
        legendgroup="start-up",
        legendgrouptitle={"text": "Start-up"},
        x=rows["startup_seconds"],
        y=rows["case"].map(two_lines),
        orientation="h",
        marker={"color": SHADE, "line": {"color": INK, "width": 0.5}},
        hovertemplate="<b>%{y}</b><br>start-up %{x:.3g} s<extra></extra>",
    )
    for _, row in rows.iterrows():
        value, low, high = (row[f"train_seconds{end}"] for end in ("", "_low", "_high"))
        figure.add_bar(
            x=[value],
            y=[two_lines(row["case"])],
            orientation="h",
            marker=fill(row["case"]),
            error_x=reach([value], [low], [high]),
            hovertemplate=f"<b>{row['case']}</b><br>training "
            f"{words.interval(value, low, high, '.3g')} s, {row['steps']:,.0f} steps<br>"
            f"reached in {row['reached']} of {row['seeds']} seeds<extra></extra>",
            **legend(row["case"]),
        )
    _from_above(figure, rows["case"])
    ends = rows["startup_seconds"] + rows["train_seconds_high"]
    figure.update_xaxes(range=_from_zero(rows["total_seconds"], ends))
    return figure.update_layout(barmode="stack", bargap=0.35)


def equivalence(_: Bundle, findings: Findings) -> Chart:
    """The differences in accuracy between backends, and the margin within which they are equal."""
    rows = findings.equivalences
    figure = blank("percentage points", height=ROW * len(rows))
    names = [f"{row['group']}<br>less {row['other']}" for _, row in rows.iterrows()]
    value, low, high = (rows[f"difference_points{end}"] for end in ("", "_low", "_high"))
    figure.add_scatter(
        x=value,
        y=names,
        mode="markers",
        marker={"color": INK, "symbol": "diamond", "size": 10},
        error_x=reach(value, low, high),
        customdata=np.stack([low, high, rows["verdict"]], axis=-1),
        hovertemplate="<b>%{y}</b><br>%{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}] "
        "points<br>%{customdata[2]}<extra></extra>",
        showlegend=False,
    )
    margin = rows["margin_points"].max()
    figure.add_vrect(x0=-margin, x1=margin, fillcolor=SHADE, opacity=0.6, layer="below",
        line_width=0, annotation={"text": "as good as equal", "yref": "paper", "y": 1,
        "yanchor": "bottom", "x": 0, "xanchor": "center", "showarrow": False})  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    _from_above(figure, names)
    widest = np.nanmax([*abs(low), *abs(high), *abs(value), 2 * margin])
    figure.update_xaxes(range=[-1.05 * widest, 1.05 * widest])
    columns = ["group", "other", "seeds", "margin_points", "p_equivalent", "p_different", "verdict"]
    return Chart(views={"": figure}, data=_with_intervals(rows, columns, ["difference_points"]))


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
    figure = blank("seconds", height=ROW * len(rows), grouped=False)
    for part, name, look in zip(
        parts, ("import", "build", "first call"), PARTS.values(), strict=False
    ):
        figure.add_bar(
            name=name,
            x=rows[part],
            y=rows["case"].map(two_lines),
            orientation="h",
            marker=patterned(*look, lines=BLACK),
            hovertemplate=f"<b>%{{y}}</b><br>{name} %{{x:.2f}} s<extra></extra>",
        )
    figure.add_scatter(
        name="one launch",
        x=launches[STARTUP].sum(axis=1),
        y=launches["case"].map(two_lines),
        mode="markers",
        marker={"color": SHADE, "size": 7, "line": {"color": INK, "width": 1.5}},
        hovertemplate="<b>%{y}</b><br>%{x:.2f} s in one launch<extra></extra>",
    )
    _from_above(figure, rows["case"])
    figure.update_xaxes(rangemode="tozero")
    return figure.update_layout(barmode="stack", bargap=0.35)


def total_time(_: Bundle, findings: Findings) -> Chart:
    """Total time against steps, on logarithmic axes."""
    figure = blank("steps trained", "seconds from the start of the process", height=420)
    for case in findings.totals:
        figure.add_scatter(
            x=findings.totals.index,
            y=findings.totals[case],
            mode="lines",
            line=line(str(case)),
            hovertemplate=f"<b>{case}</b><br>%{{x:,}} steps in %{{y:.3g}} s<extra></extra>",
            **legend(str(case)),
        )
    figure.update_xaxes(type="log", tickformat="~s")
    figure.update_yaxes(type="log", tickformat=",", dtick="D2")
    return Chart(views={"": figure}, data=findings.totals.reset_index())


def break_even(_: Bundle, findings: Findings) -> Chart:
    """After how many steps each slower starter has overtaken the other."""
    rows = findings.break_even
    names = [f"{row['case']}<br>past {row['overtakes']}" for _, row in rows.iterrows()]
    colours = [line(case)["color"] for case in rows["case"]]
    figure = blank("steps trained", height=ROW * len(rows), grouped=False)
    figure.add_scatter(
        name="caches filled, 95% interval",
        x=rows["steps"],
        y=names,
        mode="markers",
        marker={"color": colours, "symbol": "diamond", "size": 9},
        error_x=reach(rows["steps"], rows["steps_low"], rows["steps_high"]),
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
    _from_above(figure, names)
    steps = rows[["first_steps", "steps"]].to_numpy()
    # An interval may begin or end at absurd counts: it leaves the figure there.
    ends = [np.nanmin(steps) / 20, np.nanmax(steps) * 20] if np.isfinite(steps).any() else [1, 10]
    figure.update_xaxes(type="log", tickformat="~s", range=list(np.log10(ends)))
    return Chart(views={"": figure}, data=rows)


def parts(_: Bundle, findings: Findings) -> Chart:
    """What a step is made of, beside the floor."""
    summary = findings.summary
    rows = summary[(summary["status"] == "measured") & ~control_of(summary)]
    cases = rows["case"].map(two_lines)
    figure = blank("ms a step", height=ROW * len(rows), grouped=False)
    for part, look in PARTS.items():
        figure.add_bar(
            name=part,
            x=rows[f"{part}_ms"],
            y=cases,
            orientation="h",
            marker=patterned(*look, lines=BLACK),
            hovertemplate=f"<b>%{{y}}</b><br>{part} %{{x:.3f}} ms<extra></extra>",
        )
    figure.add_scatter(
        name="whole step, 95% interval",
        x=rows["step_ms"],
        y=cases,
        mode="markers",
        error_x=reach(rows["step_ms"], rows["step_ms_low"], rows["step_ms_high"]),
        marker={"color": INK, "symbol": "line-ns-open", "size": 12},
        hovertemplate="<b>%{y}</b><br>%{x:.3f} ms a step<extra></extra>",
    )
    figure.add_vline(x=findings.floors["step_ms"].iloc[0],
        line={"color": INK, "dash": "dot", "width": 1.5},
        annotation={"text": "the floor", "yref": "paper", "y": 1, "yanchor": "bottom",
        "xanchor": "center"})  # fmt: skip
    _from_above(figure, rows["case"])
    figure.update_xaxes(range=_from_zero(rows["step_ms"], rows["step_ms_high"]))
    figure.update_layout(barmode="stack", bargap=0.35)
    data = _with_intervals(rows, ["case"], ["step_ms"]).join(rows[[f"{part}_ms" for part in PARTS]])
    return Chart(views={"": figure}, data=data)


def certificates(bundle: Bundle, findings: Findings) -> Chart:
    """How far below its bound each error is: of each case and stage the worst."""
    rows = bundle.tables["certificates"]
    share = (rows["relative_error"] / rows["bound"]).fillna(-1)
    rows = rows.assign(share=share)[rows["not_read"].isna()]
    worst = rows.sort_values("share").groupby(["level", "case", "stage"], sort=False).tail(1)
    worst = _in_order(worst, findings)
    views = {name: _errors(worst[worst["level"] == name]) for name in LEVELS[::-1]}
    columns = ["case", "level", "stage", "parameter", "launch", "relative_error", "bound"]
    return Chart(views=views, data=worst[columns])


def _errors(rows: pd.DataFrame) -> go.Figure:
    """A mark a case in each stage; errors of zero have no place on a logarithmic axis."""
    figure = blank("relative error, as a share of its bound", height=2 * ROW * len(STAGES))
    for case, own in rows[rows["share"] > 0].groupby("case", sort=False):
        figure.add_scatter(
            x=own["share"],
            y=own["stage"].str.replace("_", "<br>", n=1).str.replace("_", " "),
            mode="markers",
            orientation="h",
            marker=marker(str(case)) | {"size": 9},
            customdata=own[["relative_error", "bound"]],
            hovertemplate=f"<b>{case}</b><br>%{{y}}: error %{{customdata[0]:.1e}} of "
            "%{customdata[1]:.1e}<extra></extra>",
            **legend(str(case)),
        )
    figure.add_vline(x=1, line={"color": INK, "width": 1.5, "dash": "dot"},
        # On a logarithmic axis an annotation is placed by the logarithm, a line is not.
        annotation={"text": "the bound", "x": 0, "yref": "paper", "y": 1, "yanchor": "bottom",
        "xanchor": "center"})  # fmt: skip
    names = [stage.replace("_", "<br>", 1).replace("_", " ") for stage in STAGES]
    _from_above(figure, names)
    shares = np.log10(rows.loc[rows["share"] > 0, "share"])
    ends = [min(shares.min(), -1) - 0.4, max(shares.max(), 0) + 0.6] if len(shares) else [-1, 0]
    figure.update_xaxes(type="log", dtick=1, tickformat="~g", range=ends)
    return figure.update_layout(scattermode="group", scattergap=0.3)


FIGURES: dict[str, Callable[[Bundle, Findings], Chart]] = {
    function.__name__: function
    for function in (
        *(ranking, curves, time_to_accuracy, equivalence, startup),
        *(total_time, break_even, parts, certificates),
    )
}
"""What draws each figure that a report names."""


def _in_order(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows without those of the control, the cases in the order of the summary."""
    order = findings.summary["case"].reset_index().set_index("case")["index"]
    own = rows[~control_of(rows)]
    return own.sort_values("case", key=lambda case: case.map(order), kind="stable")


def _from_above(figure: go.Figure, names: Iterable[str]) -> None:
    """Let the rows of a figure go in this order, from above."""
    order = [name if "<br>" in name else two_lines(name) for name in names]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], showgrid=False)
    figure.update_yaxes(range=[-0.5, len(order) - 0.5])


def _from_zero(values: pd.Series, highs: pd.Series) -> list[float]:
    """A range that holds the values and their intervals; the longest of these leave it."""
    longest = max(values.max(), min(highs.max(), 1.6 * values.max()))
    return [0.0, 1.04 * longest]


def _with_intervals(rows: pd.DataFrame, names: list[str], columns: list[str]) -> pd.DataFrame:
    """Some columns of a table, each estimate with the ends of its interval."""
    ends = [f"{column}{end}" for column in columns for end in ("", "_low", "_high")]
    return rows[[*names, *ends]]
