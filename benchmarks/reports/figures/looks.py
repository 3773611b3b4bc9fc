"""How backends, modes and the parts of a step look in every figure: the one table of looks.

A backend has a colour; its modes are told apart by line and marker. A name that is not registered,
as in a bundle from elsewhere, gets a look that is computed from the name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from backends.registry import BACKENDS

COLOURS = {
    "pytorch": ("#d55e00", "#ee7a2b"),
    "tensorflow": ("#a87400", "#e69f00"),
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

# The numbers of lines and markers have no common divisor, so that many places pass before two
# modes look the same.
LINES = ([1, 0], [7, 4], [14, 3], [8, 3, 2, 3], [2, 3], [14, 3, 2, 3, 2, 3], [4, 9])
MARKERS = (
    *("circle", "square", "diamond", "triangle-down", "triangle-up"),
    "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",  # pentagon
    *("triangle-left", "triangle-right", "cross"),
    "M-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0L-1,-.6Z",  # x
    "M0,-1L.87,-.5L.87,.5L0,1L-.87,.5L-.87,-.5Z",  # hexagon
    "M0,-1L.26,-.36L.95,-.31L.42,.14L.59,.81L0,.44L-.59,.81L-.42,.14L-.95,-.31L-.26,-.36Z",  # star
)
"""Names of Vega's own symbols, and paths of further ones in a square from -1 to 1."""
APART = 3
"""Places by which the first marker of each framework is from that of the one before it: as many as
tiers, so that the modes that stand for frameworks have markers of their own."""
PARTS = {
    "arithmetic": "#5b7fa6",
    "memory": "#b57f00",
    "dispatch": "#009e73",
    "input": "#cc79a7",
    "rest": "#8b9099",
}
"""Colour of each part of a step; in bars they are named as well, so no colour is needed."""
STARTS = {"import": "#5b7fa6", "build": "#b57f00", "first call": "#009e73"}
"""Colour of each part of a start-up."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """The look of a case: streamed input is drawn hollow, Keras' own Adam greyed."""

    colour: str
    fill: str
    line: Sequence[int]
    """Lengths of dashes and gaps in pixels, in turn."""
    marker: str


def look(case: str) -> Look:
    """The look of a case, by its name: backend, mode, and what else sets it apart."""
    backend, mode, *others = [*case.split(), "", ""]
    first = APART * place(backend, list(BACKENDS))
    number = place(mode, modes_of(backend))
    colour = colours(backend)[0]
    fills = {(False, False): colour, (True, False): PAPER, (False, True): SHADE, (True, True): GRID}
    return Look(
        colour=colour,
        fill=fills["streamed" in others, "stock-adam" in others],
        line=LINES[number % len(LINES)],
        marker=MARKERS[(number + first) % len(MARKERS)],
    )


def modes_of(backend: str) -> list[str]:
    """The modes that share a backend's colour, and must be told apart otherwise.

    Those that stand for it come first, so that a further rung changes no look of theirs.
    """
    if backend not in BACKENDS:
        return []
    modes = BACKENDS[backend].modes
    ordered = sorted(modes, key=lambda mode: not modes[mode].stands)
    return [*ordered, *BACKENDS[backend].group_modes]


def colours(backend: str) -> tuple[str, str]:
    """A backend's colour on a light and on a dark page."""
    if backend in COLOURS:
        return COLOURS[backend]
    number = place(backend, [name for name in BACKENDS if name not in COLOURS])
    return (SPARE_COLOURS[number % len(SPARE_COLOURS)],) * 2


def place(name: str, registered: Sequence[str]) -> int:
    """The place of a name in a registry; of any other name a number that is always the same."""
    return registered.index(name) if name in registered else crc32(name.encode())
