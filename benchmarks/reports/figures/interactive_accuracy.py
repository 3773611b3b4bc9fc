"""The interactive figures of what was learned: accuracy, and the time to reach it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from benchmarks.analysis.findings import Findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.cases import in_summary_order
from benchmarks.reports.figures import charts, looks
from benchmarks.reports.figures.charts import Chart
from benchmarks.reports.formats import MS, as_interval


def curves(_: Bundle, findings: Findings) -> Chart:
    """Validation accuracy as training goes on, with intervals over seeds."""
    rows = in_summary_order(findings.curves, findings)
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
    """A line a case, in a band that shows its interval."""
    later = rows.loc[rows["step"] > 0, "validation_accuracy"]
    # All begin at chance: the axis begins where they differ, and its title says so.
    lowest = np.floor(100 * later.min() - 0.5) / 100 if len(later) else 0.0
    up = f"validation accuracy, from {lowest:.0%}" if lowest > 0 else "validation accuracy"
    figure = charts.blank(across, up, height=420)
    for case, curve in rows.groupby("case", sort=False):
        band = curve.dropna(subset=["validation_accuracy_low"])
        ends = (band["validation_accuracy_high"], band["validation_accuracy_low"][::-1])
        figure.add_scatter(
            x=pd.concat([band[column], band[column][::-1]]),
            y=pd.concat(ends),
            fill="toself",
            fillcolor=charts.line(str(case))["color"],
            opacity=0.08,
            mode="none",
            hoverinfo="skip",
            **charts.legend(str(case)) | {"showlegend": False},
        )
    for case, curve in rows.groupby("case", sort=False):
        figure.add_scatter(
            x=curve[column],
            y=curve["validation_accuracy"],
            mode="lines+markers",
            line=charts.line(str(case)),
            marker=charts.marker(str(case)),
            customdata=curve[["step", "validation_accuracy_low", "validation_accuracy_high"]],
            hovertemplate=charts.hover(
                "%{y:.2%} [%{customdata[1]:.2%}, %{customdata[2]:.2%}]<br>"
                f"step %{{customdata[0]:,}}, %{{x:,.3~g}} {across}",
                str(case),
            ),
            **charts.legend(str(case)),
        )
    highest = min(1.0, float(rows["validation_accuracy"].max()) + 0.006) if len(rows) else 1.0
    figure.update_yaxes(range=[lowest, highest], tickformat=".1%")
    return figure.update_xaxes(range=charts.from_zero(rows[column], rows[column]))


def time_to_accuracy(_: Bundle, findings: Findings) -> Chart:
    """Start-up and training until an accuracy is reached, for each target that was."""
    rows = in_summary_order(findings.time_to_accuracy, findings)
    reached = rows[rows["reached"] > 0]
    views = {f"{target:.0%}": _time_to(times) for target, times in reached.groupby("target")}
    names = ["case", "target", "seeds", "reached", "steps", "startup_seconds", "total_seconds"]
    return Chart(views=views, data=charts.with_intervals(rows, names, ["train_seconds"]))


def _time_to(rows: pd.DataFrame) -> go.Figure:
    """A bar a case: start-up, and upon it the training with its interval."""
    rows = rows.sort_values("total_seconds")
    figure = charts.rows("seconds from the start of the process", rows["case"])
    figure.add_bar(
        name="import, build, first call",
        legendgroup="start-up",
        legendgrouptitle={"text": "Start-up"},
        x=rows["startup_seconds"],
        y=rows["case"].map(charts.two_lines),
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
    ends = rows["startup_seconds"] + rows["train_seconds_high"]
    figure.update_xaxes(range=charts.from_zero(rows["total_seconds"], ends))
    return figure.update_layout(barmode="stack", bargap=0.35)


def equivalence(_: Bundle, findings: Findings) -> Chart:
    """The differences in accuracy between backends, and the margin within which they are equal."""
    rows = findings.equivalences
    names = [f"{row['group']}<br>less {row['other']}" for _, row in rows.iterrows()]
    figure = charts.rows("percentage points", names)
    ends = ["difference_points_low", "difference_points_high"]
    charts.marks(
        figure,
        names,
        {"color": looks.INK, "symbol": "diamond", "size": 10},
        "%{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}] points<br>%{customdata[2]}",
        customdata=rows[[*ends, "verdict"]],
        showlegend=False,
        **charts.estimates(rows, "difference_points"),
    )
    margin = rows["margin_points"].max()
    figure.add_vrect(
        x0=-margin, x1=margin, fillcolor=looks.SHADE, opacity=0.6, line_width=0, layer="below"
    )
    charts.mark(figure, 0, "as good as equal")
    widest = np.nanmax([*rows[["difference_points", *ends]].abs().to_numpy().flat, 2 * margin])
    figure.update_xaxes(range=[-1.05 * widest, 1.05 * widest])
    columns = ["group", "other", "seeds", "margin_points", "p_equivalent", "p_different", "verdict"]
    return Chart(
        views={"": figure}, data=charts.with_intervals(rows, columns, ["difference_points"])
    )
