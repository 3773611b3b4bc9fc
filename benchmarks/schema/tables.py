"""Every table and column of a bundle, as tables.toml lists them: meaning, unit, type and range."""

import re
import tomllib
from dataclasses import dataclass, replace
from math import inf, isnan
from pathlib import Path
from typing import Any, Literal

LARGEST = 10**15
"""No count and no time is larger, unless the column says so: a larger one is damage."""
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan|-?inf", re.ASCII | re.IGNORECASE)
WHOLE = re.compile(r"-?\d{1,20}(\.0*)?", re.ASCII)
FLAGS = {"True": True, "False": False}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    about: str
    unit: str = ""
    kind: Literal["text", "flag", "integer", "number"] = "number"
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
        kinds = {"flag": "True or False", "integer": "whole number"}
        values = kinds.get(self.kind, self.kind)
        if self.choices:
            values = ", ".join(f"`{choice}`" for choice in self.choices)
        elif self.lowest > -inf:
            values += f", {self._range}"
        return values + ("; may be empty" if self.may_be_empty else "")

    @property
    def _range(self) -> str:
        until = f" to {self.highest:g}" if self.highest < LARGEST else " or more"
        return f"{self.lowest:g}{until}"

    def read(self, cell: str) -> str | float | None:
        """The value of a cell; None where it is not known.

        Raises ValueError where the column cannot hold it: the message says what was found.
        """
        if cell == "" or (cell == "nan" and self.kind in ("integer", "number")):
            if self.may_be_empty:
                return None
            raise ValueError("is empty")
        if self.kind == "text":
            if self.choices and cell not in self.choices:
                raise ValueError(f"{shown(cell)} is none of {', '.join(self.choices)}")
            return cell
        if self.kind == "flag":
            # Spreadsheets write TRUE and FALSE.
            if cell.capitalize() not in FLAGS:
                raise ValueError(f"{shown(cell)} is neither True nor False")
            return FLAGS[cell.capitalize()]
        if self.kind == "integer":
            if not WHOLE.fullmatch(cell):
                raise ValueError(f"{shown(cell)} is not a whole number")
            value: float = int(cell.partition(".")[0])
        else:
            if not NUMBER.fullmatch(cell):
                raise ValueError(f"{shown(cell)} is not a number")
            value = float(cell)
        if isnan(value) or not self.lowest <= value <= self.highest:
            raise ValueError(f"{shown(cell)} is outside of {self.lowest:g} to {self.highest:g}")
        return value


def shown(cell: str, longest: int = 30) -> str:
    """A text as messages show it: in quotes, without control characters, and not too long."""
    return repr(cell if len(cell) <= longest else f"{cell[: longest - 1]}…")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One CSV file of a bundle."""

    name: str
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """The columns that no two rows have in common; empty for a table that is computed."""
    added_later: bool = False
    """Older bundles lack the file; it is read as a table without rows."""

    @property
    def names(self) -> list[str]:
        """Its columns' names, in order."""
        return [column.name for column in self.columns]


KINDS: dict[str, dict[str, Any]] = {
    "text": {"kind": "text"},
    "flag": {"kind": "flag"},
    "integer": {"kind": "integer", "lowest": 0, "highest": LARGEST},
    "number": {"lowest": 0, "highest": LARGEST},
    "seconds": {"lowest": 0, "highest": LARGEST, "unit": "s"},
    "loss": {"lowest": 0, "unit": "nats", "may_be_empty": True},
    "share": {"lowest": 0, "highest": 1, "unit": "share"},
    "p_value": {"lowest": 0, "highest": 1},
    "estimate": {"lowest": 0, "highest": LARGEST, "may_be_empty": True},
}
"""The kinds of column that tables.toml names; a column's other keys come on top."""


def read(content: dict[str, Any], part: str) -> dict[str, Table]:
    """The tables of one part of tables.toml, by name.

    Raises KeyError for a group or kind that does not exist, TypeError for a key that is missing or
    unknown, and ValueError for a bound that is no number.
    """
    return {
        name: Table(
            **table
            | {
                "name": name,
                "columns": tuple(_columns(table["columns"], content)),
                "key": tuple(table.get("key", ())),
            }
        )
        for name, table in content[part].items()
    }


def _columns(entries: dict[str, Any], content: dict[str, Any]) -> list[Column]:
    columns = []
    for name, entry in entries.items():
        if "include" in entry:
            columns += _columns(content["shared"][entry["include"]], content)
        else:
            columns += _column(name, **entry)
    return columns


def _column(name: str, kind: str, **entry: Any) -> list[Column]:
    """The column of one entry; an estimate's is followed by the ends of its 95% interval.

    The ends of a mean's interval may lie beyond what a single value can be, so they have no range.
    """
    optional = {"may_be_empty": True} if kind.endswith("?") else {}
    settings = KINDS[kind.removesuffix("?")] | optional | entry
    for bound in ("lowest", "highest"):
        if isinstance(settings.get(bound), str):
            raise ValueError(f"{name}: {bound} cannot be {settings[bound]!r}")
    choices = tuple(settings.pop("choices", ()))
    columns = [Column(name=name, choices=choices, **settings)]
    if kind == "estimate":
        for end, side in (("low", "Lower"), ("high", "Upper")):
            about = f"{side} end of the 95% interval of `{name}`."
            column = replace(columns[0], name=f"{name}_{end}", about=about)
            columns.append(replace(column, lowest=-inf, highest=inf))
    return columns


_CONTENT = tomllib.loads((Path(__file__).parent / "tables.toml").read_text("utf-8"))

MEASURED = read(_CONTENT, "measured")
"""The tables that a run writes as it goes, one row at a time, by name."""

COMPUTED = read(_CONTENT, "computed")
"""The tables that are computed from the measured ones, after a run and by every `report`."""

TABLES = MEASURED | COMPUTED
"""Every table of a bundle, and of a sweep, by name."""

SHARED = {name: tuple(_columns(group, _CONTENT)) for name, group in _CONTENT["shared"].items()}
"""Groups of columns that several tables have: which launch and case a row belongs to."""

IDENTITY = tuple(column.name for column in SHARED["case"])
"""The columns that say which case a row belongs to."""
