"""How the interactive figures look: one look for a case everywhere, as in figures.py.

A backend has a colour; its modes are told apart by dash, marker and, in bars, by pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from backends.registry import BACKENDS, MODES
from benchmarks.figures import COLOURS

INK, QUIET, GRID, SHADE, PAPER = "#23272e", "#5a616b", "#dfe2e7", "#e9ebef", "#ffffff"
DARK = {
    INK: "#e4e6ea",
    QUIET: "#a3a9b3",
    GRID: "#363b44",
    SHADE: "#3f4651",
    PAPER: "#15181d",
    # Of the backends' colours, those that are too dark on a dark page, lighter.
    COLOURS["pytorch"]: "#ee7a2b",
    COLOURS["jax"]: "#56a8e0",
    COLOURS["numpy"]: "#a8adb5",
    "#4c6a92": "#7397c4",
    "#b5651d": "#d1884a",
}
"""What each colour becomes on a dark page; what is not here stays."""

DASHES = dict(zip(MODES, ("solid", "dashdot", "dash", "longdash", "dot"), strict=True))
SYMBOLS = dict(
    zip(MODES, ("circle", "triangle-down", "square", "diamond", "triangle-up"), strict=True)
)
"""The counterparts of figures.LINES and figures.MARKERS."""
PATTERNS = dict(zip(MODES, ("", "-", "/", "x", "."), strict=True))
ROW = 38
"""Pixels a row of bars: its name takes two lines."""


def blank(across: str, up: str = "", *, height: int) -> go.Figure:
    """An empty figure with its axes named."""
    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zerolinecolor": GRID,
        "zerolinewidth": 1,
        "automargin": True,
        "ticks": "",
        "title": {"standoff": 10, "font": {"size": 13}},
    }
    figure = go.Figure(
        layout={
            # None of plotly's own looks.
            "template": go.layout.Template(),
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {
                "orientation": "h",
                "y": 0,
                "yref": "container",
                "yanchor": "bottom",
                "x": 0,
                "xref": "container",
                "traceorder": "grouped",
                "groupclick": "togglegroup",
                "grouptitlefont": {"weight": "bold"},
            },
            "hoverlabel": {
                "align": "left",
                "bgcolor": PAPER,
                "bordercolor": INK,
                "font": {"color": INK, "size": 13},
            },
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": QUIET, "activecolor": INK},
        }
    )
    figure.update_xaxes(title_text=across)
    return figure.update_yaxes(title_text=up)


def legend(case: str) -> dict[str, Any]:
    """The entry of a case in the legend, under the title of its backend; `meta` is its name."""
    backend, mode = case.split(maxsplit=1)
    title = {"text": BACKENDS[backend].title}
    return {"name": mode, "meta": case, "legendgroup": backend, "legendgrouptitle": title}


def line(case: str) -> dict[str, Any]:
    """The line of a case."""
    backend, mode, *_ = case.split()
    return {"color": COLOURS[backend], "dash": DASHES[mode], "width": 2}


def marker(case: str) -> dict[str, Any]:
    """The marker of a case."""
    backend, mode, *_ = case.split()
    return {"color": COLOURS[backend], "symbol": SYMBOLS[mode], "size": 7}


def fill(case: str) -> dict[str, Any]:
    """The bar of a case."""
    backend, mode, *_ = case.split()
    return patterned(COLOURS[backend], PATTERNS[mode])


def patterned(colour: str, shape: str) -> dict[str, Any]:
    """A colour with light lines or dots upon it."""
    lines = {"shape": shape, "bgcolor": colour, "fgcolor": "#ffffff", "fgopacity": 0.55}
    return {"color": colour, "pattern": lines | {"size": 9, "solidity": 0.15}}


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
