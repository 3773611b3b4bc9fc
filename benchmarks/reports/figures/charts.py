"""What the interactive figures share: one look for a case everywhere, as in figures.py.

A backend has a colour; its modes are told apart by dash, marker and, in bars, by pattern.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from backends.registry import title_of
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.reports.figures import static as figures
from benchmarks.reports.figures.static import COLOURS, MODES

INK, GRID, SHADE, PAPER = "#23272e", "#dfe2e7", "#e9ebef", "#ffffff"
DARK = {
    INK: "#e4e6ea",
    GRID: "#363b44",
    SHADE: "#3f4651",
    PAPER: "#15181d",
    # Of the backends' colours, those that are too dark on a dark page, lighter.
    COLOURS["pytorch"]: "#ee7a2b",
    COLOURS["jax"]: "#56a8e0",
    COLOURS["numpy"]: "#a8adb5",
}
"""What each colour becomes on a dark page; what is not here stays."""

DASHES = defaultdict(
    lambda: "solid", zip(MODES, ("solid", "dashdot", "dash", "longdash", "dot"), strict=True)
)
SYMBOLS = defaultdict(
    lambda: "cross",
    zip(MODES, ("circle", "triangle-down", "square", "diamond", "triangle-up"), strict=True),
)
"""The counterparts of figures.LINES and figures.MARKERS."""
BLACK = "#000000"
"""What is drawn upon bright bars, in both themes."""
PARTS = {
    part: (colour, shape)
    for (part, (colour, _)), shape in zip(figures.PARTS.items(), ("", "/", ".", "x"), strict=True)
}
"""What a step is made of, as in figures.PARTS."""
PATTERNS = defaultdict(str, zip(MODES, ("", "-", "/", "x", "."), strict=True))
FONT = "system-ui, sans-serif"
ROW = 38
"""Pixels a row of bars: its name takes two lines."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure with its views, by what the button of each says, and the rows behind them."""

    views: dict[str, go.Figure]
    data: pd.DataFrame


def blank(across: str, up: str = "", *, height: int, grouped: bool = True) -> go.Figure:
    """An empty figure with its axes named and `height` pixels between them.

    The page adds what a legend needs below: `meta` tells it the height. In a `grouped` legend each
    backend has a column.
    """
    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": GRID,
        "zerolinewidth": 1,
        "automargin": True,
        "tickangle": 0,
        "ticks": "",
        "title": {"standoff": 10, "font": {"size": 13}},
    }
    figure = go.Figure(
        layout={
            # None of plotly's own looks.
            "template": go.layout.Template(),
            "meta": {"height": height},
            "height": height + 300,
            "margin": {"l": 8, "r": 12, "t": 10, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 13, "color": INK},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {
                "orientation": "h",
                "y": 0,
                "yref": "container",
                "yanchor": "bottom",
                "x": 0,
                "xref": "container",
                "traceorder": "grouped" if grouped else "normal",
                "maxheight": 290,
                "groupclick": "togglegroup",
                "grouptitlefont": {"weight": "bold"},
            },
            "hoverlabel": {
                "align": "left",
                "bgcolor": PAPER,
                "bordercolor": INK,
                "font": {"family": FONT, "color": INK, "size": 13},
            },
        }
    )
    figure.update_xaxes(title_text=across)
    return figure.update_yaxes(title_text=up)


def legend(case: str) -> dict[str, Any]:
    """The entry of a case in the legend, under the title of its backend; `meta` is its name."""
    backend, mode = case.split(maxsplit=1)
    title = {"text": title_of(backend)}
    return {"name": mode, "meta": case, "legendgroup": backend, "legendgrouptitle": title}


def line(case: str) -> dict[str, Any]:
    """The line of a case."""
    backend, mode, *_ = case.split()
    return {"color": COLOURS[backend], "dash": DASHES[mode], "width": 2}


def marker(case: str) -> dict[str, Any]:
    """The marker of a case: hollow for streamed input, with a dot for Keras' own Adam."""
    backend, mode, *others = case.split()
    symbol = SYMBOLS[mode] + "-open" * ("streamed" in others) + "-dot" * ("stock-adam" in others)
    return {"color": COLOURS[backend], "symbol": symbol, "size": 7}


def fill(case: str) -> dict[str, Any]:
    """The bar of a case: hollow for streamed input."""
    backend, mode, *others = case.split()
    colour = COLOURS[backend]
    if "streamed" in others:
        looks = patterned(PAPER, PATTERNS[mode] or "|", lines=colour, opacity=1)
        return looks | {"line": {"color": colour, "width": 1.5}}
    return patterned(colour, PATTERNS[mode])


def patterned(
    colour: str, shape: str, *, lines: str = PAPER, opacity: float = 0.55
) -> dict[str, Any]:
    """A colour with lines or dots upon it."""
    drawn = {"shape": shape, "bgcolor": colour, "fgcolor": lines, "fgopacity": opacity}
    return {"color": colour, "pattern": drawn | {"size": 9, "solidity": 0.15}}


def reach(value: Iterable[float], low: Iterable[float], high: Iterable[float]) -> dict[str, Any]:
    """An error bar from `low` to `high`."""
    ends = list(zip(value, low, high, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [top - middle for middle, _, top in ends],
        "arrayminus": [middle - bottom for middle, bottom, _ in ends],
        "color": INK,
        "thickness": 1.5,
        "width": 4,
    }


def two_lines(case: str) -> str:
    """A case's name, for narrow windows."""
    return case.replace(" ", "<br>", 1)


def in_order(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows without those of the control, the cases in the order of the summary."""
    order = findings.summary["case"].reset_index().set_index("case")["index"]
    own = rows[~control_of(rows)]
    return own.sort_values("case", key=lambda case: case.map(order), kind="stable")


def from_above(figure: go.Figure, names: Iterable[str]) -> None:
    """Let the rows of a figure go in this order, from above."""
    order = [name if "<br>" in name else two_lines(name) for name in names]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], showgrid=False)
    figure.update_yaxes(range=[-0.5, len(order) - 0.5])


def marked(figure: go.Figure, x: float, text: str) -> None:
    """A dotted line at `x` with a word above it."""
    figure.add_vline(x=x, line={"color": INK, "width": 1.5, "dash": "dot"})
    # On a logarithmic axis words are placed by the logarithm, lines are not.
    place = float(np.log10(x)) if figure.layout.xaxis.type == "log" else x
    figure.add_annotation(
        x=place, y=1, yref="paper", yanchor="bottom", text=text, showarrow=False
    )  # fmt: skip
    figure.update_layout(margin_t=30)


def from_zero(values: pd.Series, highs: pd.Series) -> list[float]:
    """A range that holds the values and their intervals; the longest of these leave it."""
    longest = max(values.max(), min(highs.max(), 1.6 * values.max()))
    return [0.0, 1.04 * longest]


def with_intervals(rows: pd.DataFrame, names: list[str], columns: list[str]) -> pd.DataFrame:
    """Some columns of a table, each estimate with the ends of its interval."""
    ends = [f"{column}{end}" for column in columns for end in ("", "_low", "_high")]
    return rows[[*names, *ends]]
