"""The figures of several bundles, of a case's history, and of a sweep."""

from collections.abc import Iterable

import altair as alt
import pandas as pd

from benchmarks.reports.figures import marks
from benchmarks.reports.figures.charts import CASE, SHOWN, lines
from benchmarks.reports.figures.marks import Chart, data, estimates, plain
from benchmarks.reports.formats import MS, as_interval


def bundles(rows: pd.DataFrame) -> Chart:
    """The ranked cases of several bundles, each against the fastest of its own and its tier.

    `rows` are those of their summaries, with the column `bundle`.
    """
    ratios = estimates(rows, "times_fastest", ".2f", bundle=rows["bundle"].map(plain))
    y = marks.rows_by("case", list(ratios["case"].unique()))
    x = marks.across("value", "times the fastest of its bundle and tier", log=True)
    offset = alt.YOffset("bundle:N", sort=list(ratios["bundle"].unique()))
    tooltip = [alt.Tooltip("bundle:N"), CASE, alt.Tooltip(SHOWN, title="times the fastest")]
    legend = alt.Legend(title=None)
    looks = {"color": alt.Color("bundle:N", legend=legend), "yOffset": offset,
             "shape": alt.Shape("bundle:N", legend=legend)}  # fmt: skip
    shown = alt.layer(marks.dots(y, x, tooltip, **looks), data=data(ratios))
    step = alt.Step(16 * rows["bundle"].nunique(), **{"for": "position"})
    return shown.properties(width=marks.WIDTH, height=step)


def history(rows: pd.DataFrame, order: Iterable[str]) -> Chart:
    """Times the attained floor of each case, run by run; `rows` have case, run and x_floor."""
    ratios = estimates(rows, "x_floor", ".2f", run=rows["run"].map(plain))
    names = [plain(name) for name in order]
    x = alt.X("run:O", sort=names, title="run, the oldest first", axis=alt.Axis(labelAngle=-30))
    y = alt.Y("value:Q", title="times the attained floor", scale=alt.Scale(zero=False))
    tooltip = [CASE, alt.Tooltip("run:N"), alt.Tooltip(SHOWN, title="times the floor")]
    return lines(ratios, x, y, marks.looks(rows["case"].unique()), tooltip, every=1)


def by_value(points: pd.DataFrame, factor: str) -> Chart:
    """Images a second of each case against a factor's value; `points` are rows of sweep.csv."""
    rows = pd.DataFrame({
        "case": points["case"].map(plain), "factor": points["value"],
        "value": points["images_per_second"],
        "shown": [as_interval(MS)(row, "step_ms") for row in points.to_dict("records")],
    }).sort_values("factor")  # fmt: skip
    x = marks.across("factor", factor, log=True)
    x.axis = alt.Axis(values=sorted(rows["factor"].unique()), format=",")
    y = alt.Y("value:Q", title="images a second", scale=alt.Scale(type="log"),
              axis=alt.Axis(format="~s"))  # fmt: skip
    tooltip = [CASE, alt.Tooltip("factor:Q", title=factor, format=","),
               alt.Tooltip(SHOWN, title="ms a step")]  # fmt: skip
    return lines(rows, x, y, marks.looks(points["case"].unique()), tooltip)
