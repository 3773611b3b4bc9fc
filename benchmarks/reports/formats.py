"""How numbers, intervals and names are written in reports, figures and the terminal."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.texts import harmless

MS = "#.3g"
"""Format of milliseconds a step: three significant digits."""
MISSING = "–"
MARKUP = re.compile(
    r"[`*<>|~$\\#@]|&#?\w+;|\[(?![-–\d])|\][(\[:]|(?<!\w)_|_(?!\w)"  # emphasis, HTML, links
    r"|://|www\.|:[+a-z-][\w+-]*:",  # addresses and pictures that GitHub finds by itself
    re.IGNORECASE,
)
"""What markdown, as CommonMark and GitHub have it, may take for more than text, within a word."""
LEADING_MARKUP = re.compile(r"[-+=]+|\d+[.)]")
"""What begins a list or draws a line, as the first word."""

Row = Mapping[Any, Any] | pd.Series
Form = Callable[[Row, str], str]
"""Takes a row and the name of one of its columns, and returns the cell of a table."""


def number(value: float, form: str) -> str:
    """A number in a format such as ".2f", or ".1%" for a share; a dash if it is not finite."""
    # The format "#.3g" keeps zeros, as in 3.30, but leaves a point behind whole numbers.
    return format(value, form).rstrip(".") if math.isfinite(value) else MISSING


def interval(value: float, low: float, high: float, form: str = ".2f") -> str:
    """A number with its interval, if it has one: 1.23 [1.20, 1.26]."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, form)
    return f"{number(value, form)} [{number(low, form)}, {number(high, form)}]"


def as_interval(form: str = ".2f") -> Form:
    """The form of estimates, each number in a format such as ".2f"."""
    return lambda row, name: interval(row[name], row[f"{name}_low"], row[f"{name}_high"], form)


def as_text(row: Row, name: str) -> str:
    """The value as it is; a dash if there is none."""
    value = row.get(name)
    return MISSING if pd.isna(value) else str(value)


def text(value: object) -> str:
    """Any text as markdown that shows it and nothing else: words that look like markup are code."""
    words = harmless(str(value)).split(" ")
    marked = [bool(MARKUP.search(word)) for word in words]
    marked[0] |= bool(LEADING_MARKUP.fullmatch(words[0]))
    return " ".join(
        code(word) if is_marked else word for word, is_marked in zip(words, marked, strict=True)
    )


def code(value: str) -> str:
    """Any text as code within a line of markdown."""
    shown = harmless(value)
    fence = _fence(shown, 1)
    blank = " " * (shown.startswith("`") or shown.endswith("`"))
    return f"{fence}{blank}{shown}{blank}{fence}"


def block(lines: Sequence[str]) -> str:
    """Any lines as a block of code in markdown."""
    shown = "\n".join(map(harmless, lines))
    fence = _fence(shown, 3)
    return f"{fence}\n{shown}\n{fence}"


def _fence(shown: str, fewest: int) -> str:
    """More backticks than follow one another anywhere in a text."""
    longest = max(map(len, re.findall("`+", shown)), default=0)
    return "`" * max(fewest, longest + 1)


def joined(names: Sequence[str]) -> str:
    """An enumeration: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(count: int, noun: str) -> str:
    """A number of things, with the plural where it is due: 1 seed, 2 seeds."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def bullets(sentences: Sequence[str]) -> str:
    """A markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def stage_title(stage: str) -> str:
    """A stage of the certificate as it is written: parameters 10 steps."""
    return stage.replace("_", " ")
