"""Tables that have exactly the columns of the schema, so that neither can change alone."""

from collections.abc import Iterable, Mapping, Sequence
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


def _check(name: str, columns: Iterable[Any]) -> None:
    if departing := set(columns) ^ set(TABLES[name].names):
        raise ValueError(f"{name}.csv: {', '.join(sorted(departing))}: in code or schema alone")
