"""How backends, modes and the parts of a step look in every figure, static or interactive.

A backend has a colour; its modes are told apart by line, marker and, in bars, by pattern. A name
that is not registered, as in a bundle from elsewhere, gets a look that is computed from the name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from backends.registry import BACKENDS

COLOURS = {
    "pytorch": ("#d55e00", "#ee7a2b"),
    "tensorflow": ("#c08400", "#e69f00"),
    "jax": ("#0072b2", "#56a8e0"),
    "numpy": ("#595959", "#a8adb5"),
}
"""Colours on a light and on a dark page: those of Okabe and Ito, which colour-blind readers can
tell apart, darkened or lightened where needed for a contrast of at least 3 with the page."""
SPARE_COLOURS = (
    *("#009e73", "#cc79a7", "#8457d6", "#8a7a00"),
    *("#c0506a", "#2f8f9d", "#5f8a3a", "#a9683a"),
)
"""Colours of further backends, in turn, with the same contrast on both pages."""

INK, GRID, SHADE, PAPER = "#23272e", "#dfe2e7", "#e9ebef", "#ffffff"
DARK = {INK: "#e4e6ea", GRID: "#363b44", SHADE: "#3f4651", PAPER: "#15181d"}
DARK |= {light: dark for light, dark in COLOURS.values() if light != dark}
"""What each colour becomes on a dark page; colours that are not here stay."""

# Each in matplotlib's words and in plotly's. The numbers of lines, markers and patterns have no
# common divisor, so that many places pass before two modes look the same.
LINES: tuple[tuple[Any, str], ...] = (
    *(("solid", "solid"), ("dashed", "dash"), ((0, (6, 1)), "longdash")),
    *(("dashdot", "dashdot"), ("dotted", "dot"), ((0, (8, 2, 1, 2)), "longdashdot")),
    ((0, (2, 4)), "3px,8px"),
)
MARKERS = (
    *(("o", "circle"), ("s", "square"), ("D", "diamond"), ("v", "triangle-down")),
    *(("^", "triangle-up"), ("p", "pentagon"), ("<", "triangle-left"), ("X", "x")),
    *((">", "triangle-right"), ("h", "hexagon"), ("P", "cross"), ("*", "star")),
)
PATTERNS = ("", "/", "x", "-", ".")
"""Patterns of bars, in plotly's words alone: matplotlib draws no bars of cases."""
PARTS = {
    "arithmetic": ("#999999", "", ""),
    "memory": ("#56b4e9", "///", "/"),
    "dispatch": ("#f0e442", "...", "."),
    "input": ("#cc79a7", "xxx", "x"),
    "rest": ("#d9d9d9", "", ""),
}
"""Colour of each part of a step, and its pattern in matplotlib's words and in plotly's."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """The look of a case; line and marker in matplotlib's words and in plotly's.

    Streamed input is drawn hollow, Keras' own Adam half filled or with a dot.
    """

    colour: str
    line: tuple[Any, str]
    marker: tuple[str, str]
    pattern: str
    streamed: bool
    stock_adam: bool


def look(case: str) -> Look:
    """The look of a case, by its name: backend, mode, and what else sets it apart."""
    backend, mode, *others = [*case.split(), "", ""]
    number = place(mode, modes_of(backend))
    return Look(
        colour=colours(backend)[0],
        line=LINES[number % len(LINES)],
        marker=MARKERS[number % len(MARKERS)],
        pattern=PATTERNS[number % len(PATTERNS)],
        streamed="streamed" in others,
        stock_adam="stock-adam" in others,
    )


def modes_of(backend: str) -> list[str]:
    """The modes that share a backend's colour, and must be told apart otherwise."""
    return list(BACKENDS[backend].modes) if backend in BACKENDS else []


def colours(backend: str) -> tuple[str, str]:
    """A backend's colour on a light and on a dark page."""
    if backend in COLOURS:
        return COLOURS[backend]
    number = place(backend, [name for name in BACKENDS if name not in COLOURS])
    return (SPARE_COLOURS[number % len(SPARE_COLOURS)],) * 2


def place(name: str, registered: Sequence[str]) -> int:
    """The place of a name in a registry; of any other name a number that is always the same."""
    return registered.index(name) if name in registered else crc32(name.encode())
