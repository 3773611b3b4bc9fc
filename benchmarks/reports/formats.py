"""How numbers, intervals and names are written in reports, figures and the terminal.

The functions named `as_...` are the forms of table columns: they take a row and the name of one of
its columns, and return the cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

MS = "#.3g"
"""Format of milliseconds a step: three significant digits."""
MISSING = "–"

Row = Mapping[Any, Any] | pd.Series
Form = Callable[[Row, str], str]


def number(value: float, form: str) -> str:
    """A number in a format such as ".2f"; a dash if it is not finite."""
    # The format "#.3g" keeps zeros, as in 3.30, but leaves a point behind whole numbers.
    return format(value, form).rstrip(".") if math.isfinite(value) else MISSING


def percent(value: float, digits: int = 1) -> str:
    """A share as a percentage: 0.0123 is 1.2%."""
    return number(100 * value, f".{digits}f") + "%" * math.isfinite(value)


def interval(value: float, low: float, high: float, form: str = ".2f") -> str:
    """A number with its interval, if it has one: 1.23 [1.20, 1.26]."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, form)
    return f"{number(value, form)} [{number(low, form)}, {number(high, form)}]"


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


def as_text(row: Row, name: str) -> str:
    """The value as it is; a dash if there is none."""
    value = row.get(name)
    return MISSING if pd.isna(value) else str(value)


def as_number(form: str) -> Form:
    """The form of numbers in a format such as ".2f"."""
    return lambda row, name: number(row[name], form)


def as_percent(digits: int) -> Form:
    """The form of shares, written as percentages."""
    return lambda row, name: percent(row[name], digits)


def as_interval(form: str = ".2f") -> Form:
    """The form of estimates, whose intervals are in the columns `_low` and `_high`."""
    return lambda row, name: interval(row[name], row[f"{name}_low"], row[f"{name}_high"], form)


def as_percent_interval(row: Row, name: str) -> str:
    """A share with its interval, in percent: 97.07% [96.57%, 97.58%]."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    brackets = f" [{percent(low, 2)}, {percent(high, 2)}]" if math.isfinite(low) else ""
    return percent(row[name], 2) + brackets
