"""The schema of a bundle: every table and column, and the words that stand in their cells.

Writers, readers, checks and docs/bundles.md all take the columns from here.
"""

from __future__ import annotations

from benchmarks.schema.columns import Column, Table
from benchmarks.schema.computed import COMPUTED
from benchmarks.schema.measured import IDENTITY_COLUMNS, LAUNCH_COLUMNS, MEASURED
from benchmarks.schema.names import (
    ACCURACY_MARGIN_POINTS,
    ENTRIES,
    EXACT_BOUND,
    HOST_SECONDS,
    INPUT_SECONDS,
    LEVELS,
    OUTCOMES,
    PEAK_FLOPS,
    STAGES,
    Entry,
    control_name,
    repetition_in,
)

__all__ = [
    "ACCURACY_MARGIN_POINTS",
    "COLUMNS",
    "COLUMNS_ADDED_LATER",
    "COMPUTED",
    "ENTRIES",
    "EXACT_BOUND",
    "HOST_SECONDS",
    "IDENTITY",
    "IDENTITY_COLUMNS",
    "INPUT_SECONDS",
    "LAUNCH",
    "LAUNCH_COLUMNS",
    "LEVELS",
    "MEASURED",
    "OUTCOMES",
    "PEAK_FLOPS",
    "STAGES",
    "TABLES",
    "Column",
    "Entry",
    "Table",
    "control_name",
    "repetition_in",
]

TABLES = MEASURED | COMPUTED
"""Every table of a bundle, and of a sweep, by name."""

IDENTITY = tuple(column.name for column in IDENTITY_COLUMNS)
"""The columns that say which case a row belongs to."""

LAUNCH = tuple(column.name for column in LAUNCH_COLUMNS)
"""The columns that say which launch a row belongs to."""

COLUMNS = {name: tuple(table.names) for name, table in MEASURED.items()}
"""The columns of the tables that are written as a run goes."""

COLUMNS_ADDED_LATER = {
    name: tuple(column.name for column in table.columns if column.added_later)
    for name, table in MEASURED.items()
}
"""Columns that older bundles lack: they are read as empty."""
