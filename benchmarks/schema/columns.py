"""Tables and columns as values: what a cell means, its unit, its type and the range it lies in."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

Kind = Literal["text", "flag", "integer", "number"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    about: str
    unit: str = ""
    kind: Kind = "number"
    lowest: float = -inf
    highest: float = inf
    choices: tuple[str, ...] = ()
    """The only texts that a cell may hold; any text where this is empty."""
    may_be_empty: bool = False
    added_later: bool = False
    """Older bundles lack the column; it is read as empty."""

    @property
    def dtype(self) -> str:
        """The pandas type that holds every value of the column."""
        if self.kind == "integer":
            return "Int64" if self.may_be_empty else "int64"
        return {"text": "str", "flag": "bool", "number": "float64"}[self.kind]

    @property
    def values(self) -> str:
        """What a cell may hold, in words."""
        kinds = {"text": "text", "flag": "True or False", "integer": "whole number"}
        values = kinds.get(self.kind, "number")
        if self.choices:
            values = ", ".join(f"`{choice}`" for choice in self.choices)
        elif self.lowest > -inf:
            until = f" to {self.highest:g}" if self.highest < inf else " or more"
            values += f", {self.lowest:g}{until}"
        return values + ("; may be empty" if self.may_be_empty else "")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One CSV file of a bundle."""

    name: str
    about: str
    columns: tuple[Column, ...]
    added_later: bool = False
    """Older bundles lack the file; it is read as a table without rows."""

    @property
    def names(self) -> list[str]:
        """Its columns' names, in order."""
        return [column.name for column in self.columns]


def text(name: str, about: str, *choices: str, empty: bool = False) -> Column:
    """A column of text: any text, or one of `choices`."""
    return Column(name=name, about=about, kind="text", choices=choices, may_be_empty=empty)


def flag(name: str, about: str) -> Column:
    """A column of True and False."""
    return Column(name=name, about=about, kind="flag")


def integer(
    name: str, about: str, unit: str = "", *, lowest: float = 0, empty: bool = False
) -> Column:
    """A column of whole numbers, from `lowest` up."""
    return Column(
        name=name, about=about, unit=unit, kind="integer", lowest=lowest, may_be_empty=empty
    )


def number(
    name: str,
    about: str,
    unit: str = "",
    *,
    lowest: float = 0,
    highest: float = inf,
    empty: bool = False,
    added_later: bool = False,
) -> Column:
    """A column of numbers from `lowest` to `highest`."""
    return Column(
        name=name,
        about=about,
        unit=unit,
        lowest=lowest,
        highest=highest,
        may_be_empty=empty,
        added_later=added_later,
    )


def seconds(name: str, about: str, *, empty: bool = False) -> Column:
    """A column of durations."""
    return number(name, about, "s", empty=empty)


def share(name: str, about: str, *, empty: bool = False) -> Column:
    """A column of shares: 0 for none, 1 for all."""
    return number(name, about, "share", highest=1, empty=empty)


def p_value(name: str, about: str) -> Column:
    """A column of p-values, empty where nothing could be tested."""
    return number(name, about, highest=1, empty=True)


def estimate(
    name: str, about: str, unit: str = "", *, lowest: float = 0, highest: float = inf
) -> tuple[Column, ...]:
    """An estimate and the two ends of its 95% interval, of which any may be empty.

    The ends of a mean's interval may lie beyond what a single value can be, so they have no range.
    """
    end = {"unit": unit, "lowest": -inf, "empty": True}
    return (
        number(name, about, unit, lowest=lowest, highest=highest, empty=True),
        number(f"{name}_low", f"Lower end of the 95% interval of `{name}`.", **end),  # type: ignore[arg-type]
        number(f"{name}_high", f"Upper end of the 95% interval of `{name}`.", **end),  # type: ignore[arg-type]
    )
