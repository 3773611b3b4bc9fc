"""What the figures share: data, scales, marks with their intervals, in the looks of `looks`.

A figure is one specification of Vega-Lite. `image` makes an SVG or PNG of it without a network; the
page draws the same specification with what readers point at and click.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import altair as alt
import pandas as pd
import vl_convert

from benchmarks.analysis.statistics import ends
from benchmarks.reports.figures.looks import GRID, INK, PAPER, look
from benchmarks.reports.formats import as_interval
from benchmarks.schema import frames
from benchmarks.texts import harmless

Chart: TypeAlias = alt.LayerChart | alt.VConcatChart
WIDTH, ROW, HEIGHT = 440, 24, 300
"""Width of the inner plot in an image, height of a row and of a plot without rows, in pixels."""
LONGEST = 60
"""Characters of a name that figures show at most."""
INKS: dict[str, Any] = {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal"}
INKS |= {"labelFontSize": 12, "titleFontSize": 12}
AXIS: dict[str, Any] = INKS | {"gridColor": GRID, "domainColor": GRID, "tickColor": GRID}
AXIS |= {"labelLimit": 330, "labelOverlap": True, "labelFlush": False}
LEGEND: dict[str, Any] = INKS | {"labelLimit": 300, "symbolLimit": 0, "symbolOpacity": 1}
LEGEND |= {"orient": "bottom", "direction": "horizontal", "columns": 3}

CLIP = re.compile(r"\bclip\d+\b")
"""The name of what a mark is cut to, within an SVG."""
GRID_ALONE = alt.Axis(labels=False, ticks=False, domain=False, title=None)
"""The x axis of plots that share the one below them."""


def plain(name: object) -> str:
    """A name as figures show it."""
    shown = harmless(str(name))
    return shown[:LONGEST] + "…" * (len(shown) > LONGEST)


def finished(chart: Chart) -> Chart:
    """A figure with the looks that all have."""
    return chart.configure(
        background=PAPER,
        font="system-ui, sans-serif",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(**AXIS),
        legend=alt.LegendConfig(**LEGEND),
        title=alt.TitleConfig(color=INK),
    )


def specification(chart: Chart) -> dict[str, Any]:
    """A figure in Vega-Lite, with what the page needs to fit it into a window."""
    # What is drawn here was checked by tests; checking it again takes longer than drawing it.
    content: dict[str, Any] = finished(chart).to_dict(validate=False)
    return content | {"usermeta": {"labels": 7 * _longest_label(content), "beside": 70}}


def _longest_label(content: Any) -> int:
    """Characters of the longest name of a row; a few where there are none."""
    if isinstance(content, list):
        return max(map(_longest_label, content), default=8)
    if not isinstance(content, dict):
        return 8
    names = content.get("sort")
    rows = names if isinstance(names, list) and "axis" in content else []
    own = max(map(len, rows), default=0)
    return max([own, *map(_longest_label, content.values())])


def image(content: dict[str, Any], kind: Literal["svg", "png"] = "svg") -> bytes:
    """A specification as an image; the same one always gives the same bytes."""
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(content, scale=2))
    svg = str(vl_convert.vegalite_to_svg(content))
    # Their numbers count on from one figure of a process to the next.
    names = {name: f"clip{number}" for number, name in enumerate(dict.fromkeys(CLIP.findall(svg)))}
    return CLIP.sub(lambda found: names[found[0]], svg).encode()


def data(rows: pd.DataFrame) -> alt.Data:
    """Rows within a figure; what is not a finite number is missing."""
    names = list(rows)
    values = [
        {name: _short(value) for name, value in zip(names, row, strict=True)}
        for row in frames.plain_rows(rows)
    ]
    return alt.Data(values=values)


def _short(value: Any) -> Any:
    """A number with as many digits as a figure can show; a text without control characters.

    These end the program that draws, and the process with it.
    """
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return harmless(value) if isinstance(value, str) else value


def estimates(rows: pd.DataFrame, column: str, form: str, **others: Any) -> pd.DataFrame:
    """An estimate of each row as `value`, `low` and `high`, and as text: `shown`."""
    value, low, high = (rows[name] for name in ends(column))
    shown = [as_interval(form)(row, column) for row in rows.to_dict("records")]
    frame = pd.DataFrame({"value": value, "low": low, "high": high, "shown": shown})
    named = {"case": rows["case"].map(plain)} if "case" in rows else {}
    return frame.assign(**named, **others)


def looks(cases: Iterable[str], *, legend: bool = True) -> dict[str, Any]:
    """The channels that show each case in its look, by name: colour, fill, shape, strokeDash.

    A click on a case in the legend shows it alone.
    """
    of_cases = {plain(case): look(case) for case in cases}
    shown = alt.Legend(title=None) if legend else None

    def scale(field: str) -> dict[str, Any]:
        domain, values = list(of_cases), [getattr(one, field) for one in of_cases.values()]
        return {"scale": alt.Scale(domain=domain, range=values), "legend": shown}

    return {
        "color": alt.Color("case:N", **scale("colour")),
        "fill": alt.Fill("case:N", **scale("fill")),
        "shape": alt.Shape("case:N", **scale("marker")),
        "strokeDash": alt.StrokeDash("case:N", **scale("line")),
    }


def only(channels: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Some of the channels that `looks` returns."""
    return {name: channels[name] for name in names}


def rows_by(field: str, order: Iterable[str], **options: Any) -> alt.Y:
    """Rows with names, the first at the top."""
    axis = alt.Axis(title=None, grid=False, ticks=False, domain=False, labelOverlap=False)
    return alt.Y(f"{field}:N", sort=list(order), axis=axis, **options)


def across(
    field: str, title: str, *, log: bool = False, form: str = "", shown: bool = True, **scale: Any
) -> alt.X:
    """The x axis: of numbers from zero, or of their logarithms; `form` is how they are written.

    It is not drawn unless it is to be `shown`.
    """
    kind: dict[str, Any] = {"type": "log", "nice": False, "padding": 8} if log else {"zero": True}
    written = alt.Axis(format=form or "~g") if form or log else alt.Axis()
    said = f"{title}; logarithmic" if log else title
    axis, lines = (written, said.split("; ")) if shown else (GRID_ALONE, None)
    return alt.X(f"{field}:Q", title=lines, scale=alt.Scale(**kind | scale), axis=axis)


def interval(y: alt.Y, x: alt.X, **channels: Any) -> alt.Chart:
    """A line from `low` to `high` in each row that has both."""
    line = alt.Chart()
    low = x.copy()
    low.shorthand = "low:Q"
    return line.mark_rule(strokeWidth=2, clip=True).encode(y=y, x=low, x2="high", **channels)


def dots(y: alt.Y, x: alt.X, tooltip: Sequence[alt.Tooltip], **channels: Any) -> alt.LayerChart:
    """A mark with its interval in each row."""
    lines = {name: channel for name, channel in channels.items() if name in ("color", "yOffset")}
    point = alt.Chart().mark_point(size=70, opacity=1, strokeWidth=2, clip=True)
    return interval(y, x, **lines) + point.encode(y=y, x=x, tooltip=list(tooltip), **channels)


def beside(y: alt.Y, text: str) -> alt.Chart:
    """A short text at the right of each row."""
    mark = alt.Chart().mark_text(align="left", dx=6, color=INK, fontSize=12)
    return mark.encode(y=y, x=alt.value("width"), text=text)


def line_at(value: float, label: str) -> alt.LayerChart:
    """A dotted line at a place of the x axis, with its name at the top."""
    at = alt.Chart(data(pd.DataFrame({"at": [value], "label": [label]})))
    rule = at.mark_rule(strokeDash=[2, 3], color=INK, strokeWidth=1.5).encode(x="at:Q")
    text = at.mark_text(align="left", dx=4, dy=-6, baseline="bottom", color=INK)
    return rule + text.encode(x="at:Q", y=alt.value(0), text="label:N")


def stacked(rows: pd.DataFrame, order: Iterable[str], parts: Mapping[str, str], title: str) -> Any:
    """Bars of parts, each named within; `rows` have case, part, value and shown, a row a part."""
    places = {part: place for place, part in enumerate(parts)}
    total = rows.groupby("case")["value"].sum().max()
    named = rows["part"].where(rows["value"] > 0.12 * total, "")
    bars = alt.Chart(data(rows.assign(place=rows["part"].map(places), named=named)))
    y, x = rows_by("case", order), alt.X("value:Q", stack="zero", title=title)
    colour = alt.Color("part:N", scale=alt.Scale(domain=list(parts), range=list(parts.values())),
                       legend=alt.Legend(title=None))  # fmt: skip
    bar = bars.mark_bar(stroke=PAPER, strokeWidth=1).encode(
        y=y, x=x, color=colour, order="place:O", tooltip=["case:N", "part:N", "shown:N"]
    )
    text = bars.mark_text(color="#000000", fontSize=10, limit=90).encode(
        y=y, x=alt.X("value:Q", stack="zero", bandPosition=0.5), text="named:N", order="place:O"
    )
    return bar + text


def panels(
    draw: Callable[[pd.DataFrame, bool], Any], rows: pd.DataFrame, field: str, order: Iterable[str]
) -> alt.VConcatChart:
    """The same plot for each value of a field, one below the other.

    `draw` takes the rows of a plot, and whether it is the last: that alone has the shared axis.
    """
    values = list(order)
    plots = [
        draw(rows[rows[field] == value], value == values[-1]).properties(
            data=data(rows[rows[field] == value]),
            title=alt.Title(plain(value), anchor="start", frame="group", fontSize=12),
            width=WIDTH,
        )
        for value in values
    ]
    return alt.vconcat(*plots, spacing=6).resolve_scale(x="shared")


def at(value: float, *, axis: bool, **looks: Any) -> alt.Chart:
    """A line at a place of the x axis, which has a plot's `axis` or none."""
    rule = alt.Chart().mark_rule(color=INK, **looks)
    return rule.encode(x=alt.XDatum(value, **({} if axis else {"axis": GRID_ALONE})))
