"""What the interactive figures share: axes, legends, marks and bars, in the looks of `looks`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from backends.registry import title_of
from benchmarks.analysis.statistics import ends
from benchmarks.reports.figures.looks import GRID, INK, PAPER, PARTS, look
from benchmarks.reports.formats import Row
from benchmarks.texts import harmless

BLACK = "#000000"
"""The colour of what is drawn upon bright bars, on light and dark pages."""
FONT = "system-ui, sans-serif"
ROW = 38
"""Height of a row of bars in pixels: its name takes two lines."""


@dataclass(frozen=True)
class Chart:
    """A figure's views, by the label of the button that shows each, and the rows behind them."""

    views: dict[str, go.Figure]
    data: pd.DataFrame


def blank(across: str, up: str = "", *, height: int, grouped: bool = True) -> go.Figure:
    """An empty figure with named axes, whose plot is `height` pixels high.

    The page adds the height of the legend below, and reads that of the plot from `meta`. In a
    `grouped` legend each backend has a column.
    """
    axis: dict[str, Any] = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID}
    axis |= {"zerolinewidth": 1, "automargin": True, "tickangle": 0, "ticks": ""}
    axis |= {"title": {"standoff": 10, "font": {"size": 13}}}
    below: dict[str, Any] = {"orientation": "h", "groupclick": "togglegroup", "maxheight": 290}
    below |= {"x": 0, "xref": "container", "y": 0, "yref": "container", "yanchor": "bottom"}
    below |= {"traceorder": "grouped" if grouped else "normal"}
    text = {"family": FONT, "size": 13, "color": INK}
    figure = go.Figure(
        layout={
            # Without plotly's own looks.
            "template": go.layout.Template(),
            "meta": {"height": height},
            "height": height + 300,
            "margin": {"l": 8, "r": 12, "t": 10, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": text,
            "xaxis": axis,
            "yaxis": axis,
            "legend": below | {"grouptitlefont": {"weight": "bold"}},
            "hoverlabel": {"align": "left", "bgcolor": PAPER, "bordercolor": INK, "font": text},
        }
    )
    figure.update_xaxes(title_text=across)
    return figure.update_yaxes(title_text=up)


def rows(across: str, labels: Iterable[str], height: int = ROW, grouped: bool = True) -> go.Figure:
    """An empty figure of rows with labels, the first at the top, each `height` pixels high."""
    order = list(labels)[::-1]
    figure = blank(across, height=height * len(order), grouped=grouped)
    figure.update_yaxes(categoryorder="array", categoryarray=order, showgrid=False)
    return figure.update_yaxes(range=[-0.5, len(order) - 0.5])


def legend(case: str) -> dict[str, Any]:
    """The entry of a case in the legend, under the title of its backend; `meta` is its name."""
    backend, _, rest = case.partition(" ")
    title = {"text": literal(title_of(backend))}
    entry = {"name": literal(rest or backend), "meta": case, "legendgroup": backend}
    return entry | {"legendgrouptitle": title}


def line(case: str) -> dict[str, Any]:
    """The line of a case."""
    return {"color": look(case).colour, "dash": look(case).line[1], "width": 2}


def marker(case: str) -> dict[str, Any]:
    """The marker of a case: hollow for streamed input, with a dot for Keras' own Adam."""
    looks = look(case)
    symbol = looks.marker[1] + "-open" * looks.streamed + "-dot" * looks.stock_adam
    return {"color": looks.colour, "symbol": symbol, "size": 7}


def fill(case: str) -> dict[str, Any]:
    """The bar of a case: hollow for streamed input."""
    looks = look(case)
    if not looks.streamed:
        return patterned(looks.colour, looks.pattern)
    bar = patterned(PAPER, looks.pattern or "|", lines=looks.colour, opacity=1)
    return bar | {"line": {"color": looks.colour, "width": 1.5}}


def patterned(
    colour: str, shape: str, *, lines: str = PAPER, opacity: float = 0.55
) -> dict[str, Any]:
    """A colour with lines or dots upon it."""
    pattern = {"shape": shape, "bgcolor": colour, "fgcolor": lines, "fgopacity": opacity}
    return {"color": colour, "pattern": pattern | {"size": 9, "solidity": 0.15}}


def estimates(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    """The values of a column along the x axis, each with its interval as an error bar."""
    value, low, high = (rows[name] for name in ends(column))
    error: dict[str, Any] = {"type": "data", "symmetric": False}
    error |= {"color": INK, "thickness": 1.5, "width": 4}
    error |= {"array": list(high - value), "arrayminus": list(value - low)}
    return {"x": list(value), "error_x": error}


def hover(text: str, title: str = "%{y}") -> str:
    """What a mark shows when it is pointed at."""
    return f"<b>{title}</b><br>{text}<extra></extra>"


def bars(figure: go.Figure, rows: pd.DataFrame, column: str, text: Callable[[Row], str]) -> None:
    """Add a bar with its interval for each case; `text` is what it shows when pointed at."""
    for case, row in rows.groupby("case", sort=False):
        figure.add_bar(
            y=[two_lines(str(case))],
            orientation="h",
            marker=fill(str(case)),
            hovertemplate=hover(text(row.iloc[0]), literal(case)),
            **estimates(row, column),
            **legend(str(case)),
        )


def marks(
    figure: go.Figure, labels: Iterable[str], text: str, title: str = "%{y}", **trace: Any
) -> None:
    """Add marks in the rows with these labels; `text` is what they show when pointed at."""
    look = {"mode": "markers", "hovertemplate": hover(text, title)}
    figure.add_scatter(y=list(labels), **look, **trace)


def stack(figure: go.Figure, rows: pd.DataFrame, parts: Mapping[str, str], value: str) -> None:
    """Add a bar of parts {column: name} for each case; `value` is how plotly writes one."""
    for (column, name), (colour, _, pattern) in zip(parts.items(), PARTS.values(), strict=False):
        figure.add_bar(
            name=name,
            x=rows[column],
            y=list(map(two_lines, rows["case"])),
            orientation="h",
            marker=patterned(colour, pattern, lines=BLACK),
            hovertemplate=hover(f"{name} {value}"),
        )
    figure.update_layout(barmode="stack", bargap=0.35)


def two_lines(case: str) -> str:
    """The label of a case's row, for narrow windows."""
    return literal(case).replace(" ", "<br>", 1)


def literal(name: object) -> str:
    """A name as plotly shows it, which takes `<` for markup and `%{` for a value of a mark."""
    return escape(harmless(str(name)), quote=False).replace("%{", "%&#123;")


def mark(figure: go.Figure, x: float, text: str) -> None:
    """Draw a dotted line at `x` with its name above it."""
    figure.add_vline(x=x, line={"color": INK, "width": 1.5, "dash": "dot"})
    # On a logarithmic axis text is placed by the logarithm, lines are not.
    place = float(np.log10(x)) if figure.layout.xaxis.type == "log" else x
    name = {"text": text, "yref": "paper", "yanchor": "bottom", "showarrow": False}
    figure.add_annotation(x=place, y=1, **name)
    figure.update_layout(margin_t=30)


def from_zero(figure: go.Figure, values: pd.Series, highs: pd.Series) -> go.Figure:
    """Let the x axis hold values and their intervals, but for parts of very long ones."""
    longest = max(values.max(), min(highs.max(), 1.6 * values.max()))
    return figure.update_xaxes(range=[0.0, 1.04 * longest])


def shown(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """These columns of a table, and those of their intervals where they have one."""
    return rows[[name for column in columns for name in ends(column) if name in rows]]
