"""Tables of reports: columns that say where their cells come from and how they are written.

The terminal, markdown and the page make their tables from these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate

from benchmarks.reports.formats import MS, Form, as_interval, as_number, as_percent, as_text


@dataclass(frozen=True)
class Column:
    """A column of a table.

    `source` is the column of the rows that its cells come from, `form` how they are written, and
    `text` whether they are words, which are aligned to the left, or numbers.
    """

    heading: str
    source: str
    form: Form = as_text
    text: bool = False


@dataclass(frozen=True)
class Table:
    """A table; `rows` has the sources of the columns, and may have more."""

    columns: Sequence[Column]
    rows: pd.DataFrame

    def cells(self) -> list[list[str]]:
        """The cells as they are shown, row by row."""
        return [
            [column.form(row, column.source) for column in self.columns]
            for row in self.rows.to_dict("records")
        ]


def columns(names: Iterable[object], *, text: bool = False) -> list[Column]:
    """Columns that are headed by their sources and show them as they are."""
    return [Column(str(name), str(name), text=text) for name in names]


def numbers(form: str, headings: dict[str, str]) -> list[Column]:
    """Columns of numbers in one format, by source: {source: heading}."""
    return [Column(heading, source, as_number(form)) for source, heading in headings.items()]


def markdown(table: Table) -> str:
    """A table as markdown."""
    return tabulate(
        table.cells(),
        headers=[column.heading for column in table.columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if column.text else "right" for column in table.columns],
    )


# The columns that several tables share.
CASE = Column("case", "case", text=True)
TIER = Column("tier", "tier", text=True)
STEP = Column("ms a step", "step_ms", as_interval(MS))
TIMES_FASTEST = Column("times the fastest", "times_fastest", as_interval())
TEST = Column("test", "test_accuracy", as_percent(2))
