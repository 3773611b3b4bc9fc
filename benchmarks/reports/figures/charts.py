"""The figures of reports, each declared once, from the tables of a summary.

A figure shows what is in the bundle's CSVs and nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from benchmarks.analysis.statistics import ends
from benchmarks.errors import UsageError
from benchmarks.reports.cases import groups_of, measured, names_of, ranked
from benchmarks.reports.figures import marks
from benchmarks.reports.figures.looks import INK, PARTS, SHADE, STARTS
from benchmarks.reports.figures.marks import Chart, data, estimates, only, plain
from benchmarks.reports.formats import MS, number, stage_title
from benchmarks.schema import LEVELS, STAGES

Tables = Mapping[str, pd.DataFrame]
CASE, SHOWN = alt.Tooltip("case:N"), "shown:N"
AXIS_STARTS = (0.0, 0.5, 0.8, 0.9, 0.95)
"""Where the axis of accuracies may start; accuracies at step 0, by chance, may lie below it."""
EVERY = 6
"""Lines of many points have a marker at every so many."""


def ranking(tables: Tables) -> Chart:
    """Each ranked case's time as a multiple of its tier's fastest, with its interval."""
    cases = ranked(tables["summary"])
    steps = [f"{number(step, MS)} ms" for step in cases["step_ms"]]
    groups = {case: group.name for group in groups_of(cases) for case in group.rows["case"]}
    tiers = cases["case"].map(groups)
    rows = estimates(cases, "times_fastest", ".2f", step=steps, tier=tiers)
    title = "times the fastest of the tier, within rounds; right: step time"
    tooltip = [CASE, alt.Tooltip(SHOWN, title="times the fastest"), alt.Tooltip("step:N")]
    channels = only(marks.looks(cases["case"], legend=False), "color", "fill", "shape")

    def draw(of_tier: pd.DataFrame, last: bool) -> alt.LayerChart:
        x = marks.across("value", title, log=True, shown=last)
        y = marks.rows_by("case", of_tier["case"])
        points = marks.dots(y, x, tooltip, **channels)
        return (marks.at(1, axis=last) + points + marks.beside(y, "step:N")).properties(
            height=alt.Step(marks.ROW)
        )

    return marks.panels(draw, rows, "tier", rows["tier"].unique())


def _curves(tables: Tables, column: str, title: str) -> Chart:
    """Validation accuracy against a column: means, with 95% intervals as bands."""
    curves = tables["curves"]
    cases = names_of(curves, tables["summary"])
    value, *_ = ends("validation_accuracy")
    rows = estimates(curves, value, ".2%", step=curves["step"], across=curves[column])
    rows = rows[curves["case"].isin(cases)]
    learned = curves.loc[curves["step"] > 0, value].min()
    start = max((start for start in AXIS_STARTS if start < learned), default=0.0)
    x = marks.across("across", f"{title}; bands: 95% intervals over seeds")
    scale = alt.Scale(domain=[start, 1])
    y = alt.Y("value:Q", title=f"validation accuracy, from {start:.0%}", scale=scale,
              axis=alt.Axis(format=".0%"))  # fmt: skip
    channels = marks.looks(cases)
    tooltip = [CASE, alt.Tooltip("step:Q", format=","), alt.Tooltip("across:Q", title=title),
               alt.Tooltip(SHOWN, title="validation accuracy")]  # fmt: skip
    return lines(rows, x, y, channels, tooltip, band=True)


def lines(
    rows: pd.DataFrame,
    x: alt.X,
    y: alt.Y,
    channels: dict[str, alt.SchemaBase],
    tooltip: list[alt.Tooltip],
    *,
    band: bool = False,
    every: int = EVERY,
) -> Chart:
    """A line a case with markers here and there; a click in the legend leaves one bright."""
    number = rows.groupby("case").cumcount()
    place = rows.groupby("case", sort=False).ngroup()
    base = alt.Chart(data(rows.assign(marked=(number + place) % every == 0)))
    picked = alt.selection_point(fields=["case"], bind="legend")
    bright = alt.condition(picked, alt.value(1.0), alt.value(0.08))
    line = base.mark_line(clip=True, strokeWidth=2).encode(
        x=x, y=y, opacity=bright, **only(channels, "color", "strokeDash")
    )
    points = base.transform_filter("datum.marked").mark_point(clip=True, size=45, strokeWidth=1.5)
    looks = only(channels, "color", "fill", "shape")
    points = points.encode(x=x, y=y, opacity=bright, tooltip=tooltip, **looks)
    layers = [line, points.add_params(picked)]
    if band:
        low = y.copy()
        low.shorthand = "low:Q"
        area = base.mark_area(clip=True).encode(
            x=x,
            y=low,
            y2="high",
            color=channels["color"],
            opacity=alt.condition(picked, alt.value(0.1), alt.value(0.0)),
        )  # fmt: skip
        layers.insert(0, area)
    return alt.layer(*layers).properties(width=marks.WIDTH, height=marks.HEIGHT)


def accuracy(tables: Tables) -> Chart:
    """Validation accuracy by steps."""
    return _curves(tables, "step", "steps trained")


def accuracy_seconds(tables: Tables) -> Chart:
    """Validation accuracy by time."""
    return _curves(tables, "train_seconds", "seconds of training, without start-up")


def time_to_accuracy(tables: Tables) -> Chart:
    """Seconds to each target that was reached, and with the start-up added."""
    times = tables["time_to_accuracy"]
    times = times[(times["reached"] > 0) & times["case"].isin(names_of(times, tables["summary"]))]
    reached = [f"{row['reached']}/{row['seeds']}" for row in times.to_dict("records")]
    targets = [number(target, ".0%") for target in times["target"]]
    together, start = times["total_seconds"], [number(s, ".2f") for s in times["startup_seconds"]]
    rows = estimates(times, "train_seconds", ".2f", reached=reached, target=targets,
                     together=together, start=start)  # fmt: skip
    title = "seconds of training, 95% intervals; │: start-up added; right: seeds that reached it"
    tooltip = [CASE, alt.Tooltip(SHOWN, title="training (s)"),
               alt.Tooltip("start:N", title="start-up, empty caches (s)"),
               alt.Tooltip("together:Q", title="together (s)", format=".2f")]  # fmt: skip
    channels = only(marks.looks(times["case"], legend=False), "color", "fill", "shape")
    names = [plain(case) for case in names_of(times, tables["summary"])]

    def draw(of_target: pd.DataFrame, last: bool) -> alt.LayerChart:
        present = set(of_target["case"])
        y = marks.rows_by("case", [name for name in names if name in present])
        x = marks.across("value", title, log=True, shown=last)
        whole = marks.across("together", title, log=True, shown=last)
        tick = alt.Chart().mark_tick(thickness=2, height=14, opacity=1)
        tick = tick.encode(x=whole, y=y, color=channels["color"])
        points = marks.dots(y, x, tooltip, **channels) + tick + marks.beside(y, "reached:N")
        return points.properties(height=alt.Step(marks.ROW))

    return marks.panels(draw, rows, "target", sorted(set(targets)))


def equivalence(tables: Tables) -> Chart:
    """The differences in accuracy between backends, and the margin within which they are equal."""
    pairs = tables["equivalences"]
    named = zip(pairs["group"], pairs["other"], strict=True)
    names = [f"{plain(one)} less {plain(other)}" for one, other in named]
    difference, *_ = ends("difference_points")
    rows = estimates(pairs, difference, ".2f", pair=names, verdict=pairs["verdict"])
    margin = float(pairs["margin_points"].max())
    widest = 1.05 * float(np.nanmax([*rows[["value", "low", "high"]].abs().max(), 2 * margin]))
    y = marks.rows_by("pair", names)
    x = marks.across("value", "percentage points; 90% intervals; grey: equivalent",
                     domain=[-widest, widest])  # fmt: skip
    ends_of_band = alt.Chart(data(pd.DataFrame({"from": [-margin], "to": [margin]})))
    band = ends_of_band.mark_rect(color=SHADE).encode(x="from:Q", x2="to")
    tooltip = [alt.Tooltip("pair:N"), alt.Tooltip(SHOWN, title="points"), alt.Tooltip("verdict:N")]
    ink = {"color": alt.value(INK), "fill": alt.value(INK), "shape": alt.value("diamond")}
    zero = alt.Chart().mark_rule(color=INK, strokeDash=[2, 3]).encode(x=alt.datum(0))
    shown = alt.layer(band, zero, marks.dots(y, x, tooltip, **ink), data=data(rows))
    return shown.properties(width=marks.WIDTH, height=alt.Step(marks.ROW))


def startup(tables: Tables) -> Chart:
    """Start-up by parts: with empty caches, and with caches that a first launch has filled."""
    cases = measured(tables["summary"])
    calls = {"empty caches": "first_call_seconds", "caches filled": "first_call_again_seconds"}
    bars = []
    for caches, call in calls.items():
        parts = dict(zip(STARTS, ("import_seconds", "build_seconds", call), strict=True))
        for part, column in parts.items():
            value = cases[column].where(cases[call].notna())
            rows = pd.DataFrame({"case": cases["case"].map(plain), "part": part, "value": value})
            bars.append(rows.assign(caches=caches).dropna(subset="value"))
    rows = pd.concat(bars)
    shown = rows.assign(shown=[f"{number(value, '.2f')} s" for value in rows["value"]])
    drawn = [
        marks.stacked(of_caches, _shortest_first(of_caches), STARTS, "seconds").properties(
            title=alt.Title(str(caches), anchor="start"),
            width=marks.WIDTH,
            height=alt.Step(marks.ROW),
        )
        for caches, of_caches in shown.groupby("caches", sort=False)
    ]
    return alt.vconcat(*drawn)


def _shortest_first(rows: pd.DataFrame) -> list[str]:
    return list(rows.groupby("case")["value"].sum().sort_values().index)


def step_parts(tables: Tables) -> Chart:
    """The parts of each case's step, beside the attained floor."""
    cases = measured(tables["summary"])
    cases = cases[cases["ranks"] == 1]
    names = list(cases["case"].map(plain))
    of_part = [
        pd.DataFrame({"case": names, "part": part, "value": cases[f"{part}_ms"].to_numpy()})
        for part in PARTS
    ]
    rows = pd.concat(of_part).dropna(subset="value")
    rows = rows.assign(shown=[f"{number(value, '.3f')} ms" for value in rows["value"]])
    floor = float(tables["floors"]["step_ms"].min())
    bars = marks.stacked(rows, names, PARTS, "milliseconds of a step")
    at_floor = marks.line_at(floor, f"attained floor: {number(floor, MS)} ms")
    return (bars + at_floor).properties(width=marks.WIDTH, height=alt.Step(marks.ROW))


def scaling(tables: Tables) -> Chart:
    """Speed-up of each group, with its interval; a mark shows as many times as it has ranks."""
    groups = tables["scaling"]
    groups = groups[groups["left_out"].isin(["", None]) & groups["speed_up"].notna()]
    rows = estimates(groups, "speed_up", ".2f", ranks=groups["ranks"].astype(float))
    y = marks.rows_by("case", list(rows["case"]))
    x = marks.across("value", "images a second, times one process; │: as many as ranks")
    ideal = x.copy()
    ideal.shorthand = "ranks:Q"
    tooltip = [CASE, alt.Tooltip(SHOWN, title="speed-up"), alt.Tooltip("ranks:Q")]
    channels = only(marks.looks(groups["case"], legend=False), "color", "fill", "shape")
    tick = alt.Chart().mark_tick(thickness=2, height=14, opacity=1, color=INK)
    shown = alt.layer(
        tick.encode(x=ideal, y=y), marks.dots(y, x, tooltip, **channels), data=data(rows)
    )
    return shown.properties(width=marks.WIDTH, height=alt.Step(marks.ROW))


def total_time(tables: Tables) -> Chart:
    """Total time against steps, on logarithmic axes."""
    totals = tables["totals"].rename(columns={"total_seconds": "value"})
    rows = totals.assign(case=totals["case"].map(plain))
    x = marks.across("steps", "steps trained", log=True, form="~s")
    title = "seconds from the start of the process, caches filled"
    y = alt.Y(
        "value:Q", title=title, scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="~g")
    )
    tooltip = [CASE, alt.Tooltip("steps:Q", format=","),
               alt.Tooltip("value:Q", title="seconds", format=".3~g")]  # fmt: skip
    return lines(rows, x, y, marks.looks(totals["case"].unique()), tooltip)


def break_even(tables: Tables) -> Chart:
    """The number of steps after which each slower starter has overtaken the other case."""
    pairs = tables["break_even"]
    named = zip(pairs["case"], pairs["overtakes"], strict=True)
    names = [f"{plain(one)} past {plain(other)}" for one, other in named]
    rows = estimates(pairs, "steps", ",.0f", pair=names, first=pairs["first_steps"])
    steps = pairs[["first_steps", "steps"]].to_numpy(dtype=float)
    # An interval may reach absurd counts: there it leaves the figure.
    finite = steps[np.isfinite(steps) & (steps > 0)]
    domain = [finite.min() / 20, finite.max() * 20] if len(finite) else [1, 10]
    y = marks.rows_by("pair", names)
    title = "steps trained; filled: compilers' caches filled, hollow: empty caches, one launch"
    x = marks.across("value", title, log=True, domain=domain, form="~s")
    first = x.copy()
    first.shorthand = "first:Q"
    tooltip = [alt.Tooltip("pair:N"), alt.Tooltip(SHOWN, title="steps, caches filled"),
               alt.Tooltip("first:Q", title="steps, empty caches", format=",.0f")]  # fmt: skip
    looks = only(marks.looks(pairs["case"], legend=False), "color", "fill")
    empty = alt.Chart().mark_point(size=70, clip=True, filled=False)
    empty = empty.encode(y=y, x=first, color=looks["color"], tooltip=tooltip)
    shown = alt.layer(marks.dots(y, x, tooltip, **looks), empty, data=data(rows))
    return shown.properties(width=marks.WIDTH, height=alt.Step(marks.ROW))


def certificates(tables: Tables) -> Chart:
    """How far each error lies below its bound: the worst of each case and stage."""
    checks = tables["margins"]
    checks = checks[(checks["share"] > 0) & checks["stage"].isin(STAGES)]
    cases = names_of(checks, tables["summary"])
    checks = checks[checks["case"].isin(cases)]
    errors = [
        f"{row['relative_error']:.1e} of {row['bound']:.1e}" for row in checks.to_dict("records")
    ]
    names = {stage: stage_title(stage) for stage in STAGES}
    rows = pd.DataFrame({"case": checks["case"].map(plain), "level": checks["level"],
                         "stage": checks["stage"].map(names), "value": checks["share"],
                         "shown": errors})  # fmt: skip
    title = "relative error as a share of its bound, which is 1"
    offset = alt.YOffset("case:N", sort=[plain(case) for case in cases])
    channels = only(marks.looks(cases), "color", "fill", "shape")
    tooltip = [CASE, alt.Tooltip("stage:N"), alt.Tooltip(SHOWN, title="error")]
    height = len(STAGES) * min(60, max(24, 5 * len(cases)))

    def draw(_: pd.DataFrame, last: bool) -> alt.LayerChart:
        y = marks.rows_by("stage", list(names.values()))
        x = marks.across("value", title, log=True, form=".0e", shown=last)
        point = alt.Chart().mark_point(size=45, opacity=1)
        point = point.encode(x=x, y=y, yOffset=offset, tooltip=tooltip, **channels)
        return (marks.at(1, axis=last, strokeDash=[2, 3]) + point).properties(height=height)

    return marks.panels(
        draw, rows, "level", [one for one in LEVELS[::-1] if one in set(rows["level"])]
    )


FIGURES: dict[str, Callable[[Tables], Chart]] = {
    function.__name__: function
    for function in (
        *(ranking, accuracy, accuracy_seconds, time_to_accuracy, equivalence),
        *(startup, total_time, break_even, step_parts, certificates, scaling),
    )
}
"""The function that draws each figure of a run, by the name that reports use."""


def drawn(names: Iterable[str], tables: Tables) -> dict[str, dict[str, Any]]:
    """The specifications of a run's figures, by name."""
    known = list(names)
    if unknown := set(known) - set(FIGURES):
        raise UsageError(f"there is no figure {min(unknown)[:30]!r}")
    return {name: marks.specification(FIGURES[name](tables)) for name in known}
