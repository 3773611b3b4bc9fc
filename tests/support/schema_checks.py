"""Finds where the CSV files of a bundle are not as the schema describes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.schema.tables import Column, Table

FLAGS = ("True", "False")
MISSING = ("", "nan")
"""How a number that is not known is written."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A place where a table is not as the schema describes it."""

    column: str
    row: int | None
    """Line of the file, of which the first has the columns' names; None for a whole column."""
    message: str

    def __str__(self) -> str:
        where = f"column {self.column}" if self.row is None else f"line {self.row}, {self.column}"
        return f"{where}: {self.message}"


def check_file(path: Path, table: Table) -> list[Problem]:
    """The problems of a CSV file; see `check_table`."""
    return check_table(pd.read_csv(path, dtype="str", keep_default_na=False), table)


def check_table(cells: pd.DataFrame, table: Table) -> list[Problem]:
    """Every place where a table departs from the schema; without any, the list is empty.

    The table must have exactly the schema's columns, in its order, and each cell a value of its
    column's type within its range. `cells` holds the text of every cell, as the file has it.
    """
    names = list(cells.columns)
    problems = [
        Problem(column=name, row=None, message=message)
        for message, group in (
            ("is missing", [name for name in table.names if name not in names]),
            ("is not in the schema", [name for name in names if name not in table.names]),
        )
        for name in group
    ]
    if not problems and names != table.names:
        first = next(name for name, other in zip(names, table.names, strict=True) if name != other)
        problems.append(Problem(column=first, row=None, message="is not at its place"))
    for column in table.columns:
        if column.name in cells:
            problems += _check_column(cells[column.name].reset_index(drop=True), column)
    return problems


def _check_column(cells: pd.Series, column: Column) -> list[Problem]:
    """The cells of a column that it may not hold."""
    empty = cells.isin(MISSING) if column.kind in ("integer", "number") else cells == ""
    messages = pd.Series("", index=cells.index)
    if not column.may_be_empty:
        messages[empty] = "is empty"
    filled = cells[~empty]
    if column.kind == "flag":
        messages[filled.index[~filled.isin(FLAGS)]] = "is neither True nor False"
    elif column.kind == "text":
        if column.choices:
            expected = f"is none of {', '.join(column.choices)}"
            messages[filled.index[~filled.isin(column.choices)]] = expected
    else:
        numbers = pd.to_numeric(filled, errors="coerce").astype(float)
        whole = np.isfinite(numbers) & (numbers % 1 == 0)
        outside = (numbers < column.lowest) | (numbers > column.highest)
        messages[filled.index[outside]] = f"is outside of {column.lowest:g} to {column.highest:g}"
        if column.kind == "integer":
            messages[filled.index[~whole]] = "is not a whole number"
        messages[filled.index[numbers.isna()]] = "is not a number"
    return [
        Problem(column=column.name, row=line, message=f"{cell!r} {message}")
        for line, (cell, message) in enumerate(zip(cells, messages, strict=True), start=2)
        if message
    ]
