"""The table of the page that its reader sorts, filters and sees against any case.

The cells are made here; the page's script only arranges them.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from backends.registry import title_of
from benchmarks.analysis.findings import control_of
from benchmarks.reports import sections
from benchmarks.reports.cases import compared
from benchmarks.reports.figures.looks import colours
from benchmarks.reports.formats import as_interval
from benchmarks.reports.run.certificates import CASE_MARKED
from benchmarks.reports.sections import Column
from benchmarks.reports.summary import Summary
from benchmarks.texts import harmless

FACETS = ("framework", "tier", "mode", "input", "precision", "device", "ranks", "variant")
"""What the reader may filter by."""
COLUMNS = {
    "case": CASE_MARKED,
    "ms": sections.STEP,
    "tier": sections.TIER,
    "rank": Column("rank", "rank"),
    "times-fastest": Column("times the fastest of its tier", "times_fastest", as_interval()),
    "times-floor": Column("times the floor", "x_floor", as_interval()),
    "start-up": Column("start-up, empty caches (s)", "startup_seconds", ".1f"),
    "gflops": Column("GFLOP/s", "gflops", ",.0f"),
    "peak-share": Column("of peak", "peak_share", ".0%"),
    "lines": Column("lines of code", "code_lines", ".0f"),
    "memory": Column("peak memory (MiB)", "peak_rss_mib", ",.0f"),
    "status": Column("status", "status", text=True),
}
"""The columns by the names that addresses have for them; on narrow screens the first come first."""
AT_FIRST = ("case", "ms", "tier", "rank", "times-fastest", "times-floor", "start-up", "status")
"""Those that a reader sees who has chosen none."""
ALWAYS = ("case", "ms")
"""Those that are there even where no case has a value."""


@dataclass(frozen=True)
class GridRow:
    """A case: its colours, what it is filtered by, its cells, and what these are sorted by."""

    case: str
    colours: tuple[str, str]
    facets: dict[str, str]
    cells: list[str]
    keys: list[str]


@dataclass(frozen=True)
class Grid:
    """The table, and `against`: for each case and baseline the ratio as text, verdict and value."""

    columns: dict[str, Column]
    rows: list[GridRow]
    against: dict[str, Any]


def of_summary(summary: Summary) -> Grid:
    """The table of a run: every case but the controls."""
    lines = summary.tables["ladders"].set_index("case")["code_lines"].to_dict()
    cases = summary.tables["summary"]
    cases = cases[~control_of(cases)]
    cases = cases.assign(
        framework=cases["backend"].map(title_of),
        precision=cases["precision_found"],
        code_lines=cases["case"].map(lines),
        status=_status(cases),
    )
    columns = {
        name: column
        for name, column in COLUMNS.items()
        if name in ALWAYS or (cases[column.source].notna() & (cases[column.source] != "")).any()
    }
    rows = [
        GridRow(
            case=row["case"],
            colours=colours(row["backend"]),
            facets={name: str(row[name] or "") for name in FACETS},
            cells=[harmless(column.cell(row)) for column in columns.values()],
            keys=["" if pd.isna(row[one.source]) else str(row[one.source])
                  for one in columns.values()],
        )
        for row in cases.to_dict("records")
    ]  # fmt: skip
    return Grid(columns, rows, _against([row.case for row in rows], summary))


def _status(cases: pd.DataFrame) -> pd.Series:
    """What became of each case, and why it is not ranked; empty where all is well."""
    ranked = cases["rank"].notna()
    status = cases["status"].mask(cases["held_back"] != "", "held back")
    status = status.mask((cases["status"] == "measured") & ~cases["certified"], "not certified")
    return status.mask((cases["status"] == "measured") & (ranked | (status == "measured")), "")


def _against(cases: list[str], summary: Summary) -> dict[str, Any]:
    """Each case against each other, by their places in `cases`; null where two are not compared."""
    place = {case: number for number, case in enumerate(cases)}
    cells: list[list[Any]] = [[None] * len(cases) for _ in cases]
    for row in compared(summary.tables).to_dict("records"):
        if row["case"] in place and row["other"] in place and pd.notna(row["ratio"]):
            shown = [as_interval()(row, "ratio"), row["verdict"], row["ratio"]]
            cells[place[row["case"]]][place[row["other"]]] = shown
    return {"cases": cases, "cells": cells}
