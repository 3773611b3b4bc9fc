"""Tables that have exactly the columns of the schema, so that neither can change alone."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from benchmarks.schema.tables import TABLES


def from_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table of that name; raises ValueError unless every row has all its columns."""
    for row in rows:
        _check(name, row)
    return pd.DataFrame(rows, columns=TABLES[name].names)


def in_order(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The table of that name, its columns in order; raises ValueError for any other columns."""
    _check(name, frame)
    return frame[TABLES[name].names]


def plain_rows(frame: pd.DataFrame) -> list[list[Any]]:
    """The rows of a table as JSON holds them: null is what is not known, or not finite."""
    columns = [[_plain(value) for value in frame[name].tolist()] for name in frame]
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and not isfinite(value)):
        return None
    return value


def _check(name: str, columns: Iterable[Any]) -> None:
    if departing := set(columns) ^ set(TABLES[name].names):
        raise ValueError(f"{name}.csv: {', '.join(sorted(departing))}: in code or schema alone")
