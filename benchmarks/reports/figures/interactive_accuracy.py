"""The interactive figures of what was learned: accuracy, and the time to reach it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from benchmarks.analysis.findings import Bundle, Findings
from benchmarks.reports import sentences as words
from benchmarks.reports.figures import charts
from benchmarks.reports.figures.charts import Chart


def curves(_: Bundle, findings: Findings) -> Chart:
    """Validation accuracy as training goes on, with intervals over seeds."""
    rows = charts.in_order(findings.curves, findings)
    across = {
        "by training time": ("train_seconds", "seconds of training"),
        "by steps": ("step", "steps trained"),
    }
    views = {name: _curves(rows, *axis) for name, axis in across.items()}
    estimates = ["train_seconds", "validation_accuracy"]
    return Chart(
        views=views, data=charts.with_intervals(rows, ["case", "step", "seeds"], estimates)
    )


def _curves(rows: pd.DataFrame, column: str, across: str) -> go.Figure:
    """A line a case in a band for its interval."""
    later = rows.loc[rows["step"] > 0, "validation_accuracy"]
    # All begin at chance: the figure opens on where they differ, and says so.
    lowest = np.floor(100 * later.min() - 0.5) / 100 if len(later) else 0.0
    up = f"validation accuracy, from {lowest:.0%}" if lowest > 0 else "validation accuracy"
    figure = charts.blank(across, up, height=420)
    for case, own in rows.groupby("case", sort=False):
        known = own.dropna(subset=["validation_accuracy_low"])
        ends = (known["validation_accuracy_high"], known["validation_accuracy_low"][::-1])
        figure.add_scatter(
            x=pd.concat([known[column], known[column][::-1]]),
            y=pd.concat(ends),
            fill="toself",
            fillcolor=charts.line(str(case))["color"],
            opacity=0.08,
            mode="none",
            hoverinfo="skip",
            **charts.legend(str(case)) | {"showlegend": False},
        )
    for case, own in rows.groupby("case", sort=False):
        figure.add_scatter(
            x=own[column],
            y=own["validation_accuracy"],
            mode="lines+markers",
            line=charts.line(str(case)),
            marker=charts.marker(str(case)),
            customdata=own[["step", "validation_accuracy_low", "validation_accuracy_high"]],
            hovertemplate=f"<b>{case}</b><br>%{{y:.2%}} [%{{customdata[1]:.2%}}, "
            "%{customdata[2]:.2%}]<br>step %{customdata[0]:,}, %{x:,.3~g} "
            f"{across}<extra></extra>",
            **charts.legend(str(case)),
        )
    highest = min(1.0, float(rows["validation_accuracy"].max()) + 0.006) if len(rows) else 1.0
    figure.update_yaxes(range=[lowest, highest], tickformat=".1%")
    return figure.update_xaxes(range=charts.from_zero(rows[column], rows[column]))


def time_to_accuracy(_: Bundle, findings: Findings) -> Chart:
    """Start-up and training until an accuracy is reached, for each target that was."""
    rows = charts.in_order(findings.time_to_accuracy, findings)
    reached = rows[rows["reached"] > 0]
    views = {f"{target:.0%}": _time_to(own) for target, own in reached.groupby("target")}
    names = ["case", "target", "seeds", "reached", "steps", "startup_seconds", "total_seconds"]
    return Chart(views=views, data=charts.with_intervals(rows, names, ["train_seconds"]))


def _time_to(rows: pd.DataFrame) -> go.Figure:
    """A bar a case: start-up, and upon it the training with its interval."""
    rows = rows.sort_values("total_seconds")
    figure = charts.blank("seconds from the start of the process", height=charts.ROW * len(rows))
    figure.add_bar(
        name="import, build, first call",
        legendgroup="start-up",
        legendgrouptitle={"text": "Start-up"},
        x=rows["startup_seconds"],
        y=rows["case"].map(charts.two_lines),
        orientation="h",
        marker={"color": charts.SHADE, "line": {"color": charts.INK, "width": 0.5}},
        hovertemplate="<b>%{y}</b><br>start-up %{x:.3g} s<extra></extra>",
    )
    for _, row in rows.iterrows():
        value, low, high = (row[f"train_seconds{end}"] for end in ("", "_low", "_high"))
        figure.add_bar(
            x=[value],
            y=[charts.two_lines(row["case"])],
            orientation="h",
            marker=charts.fill(row["case"]),
            error_x=charts.reach([value], [low], [high]),
            hovertemplate=f"<b>{row['case']}</b><br>training "
            f"{words.interval(value, low, high, words.MS)} s, {row['steps']:,.0f} steps<br>"
            f"reached in {row['reached']} of {row['seeds']} seeds<extra></extra>",
            **charts.legend(row["case"]),
        )
    charts.from_above(figure, rows["case"])
    ends = rows["startup_seconds"] + rows["train_seconds_high"]
    figure.update_xaxes(range=charts.from_zero(rows["total_seconds"], ends))
    return figure.update_layout(barmode="stack", bargap=0.35)


def equivalence(_: Bundle, findings: Findings) -> Chart:
    """The differences in accuracy between backends, and the margin within which they are equal."""
    rows = findings.equivalences
    figure = charts.blank("percentage points", height=charts.ROW * len(rows))
    names = [f"{row['group']}<br>less {row['other']}" for _, row in rows.iterrows()]
    value, low, high = (rows[f"difference_points{end}"] for end in ("", "_low", "_high"))
    figure.add_scatter(
        x=value,
        y=names,
        mode="markers",
        marker={"color": charts.INK, "symbol": "diamond", "size": 10},
        error_x=charts.reach(value, low, high),
        customdata=np.stack([low, high, rows["verdict"]], axis=-1),
        hovertemplate="<b>%{y}</b><br>%{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}] "
        "points<br>%{customdata[2]}<extra></extra>",
        showlegend=False,
    )
    margin = rows["margin_points"].max()
    figure.add_vrect(
        x0=-margin, x1=margin, fillcolor=charts.SHADE, opacity=0.6, line_width=0, layer="below"
    )
    charts.marked(figure, 0, "as good as equal")
    charts.from_above(figure, names)
    widest = np.nanmax([*abs(low), *abs(high), *abs(value), 2 * margin])
    figure.update_xaxes(range=[-1.05 * widest, 1.05 * widest])
    columns = ["group", "other", "seeds", "margin_points", "p_equivalent", "p_different", "verdict"]
    return Chart(
        views={"": figure}, data=charts.with_intervals(rows, columns, ["difference_points"])
    )
