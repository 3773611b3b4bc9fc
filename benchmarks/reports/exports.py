"""The results of a run in the formats of other programs, from its summary.

Only cases whose times may be quoted are among them: measured, certified and not held back.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.analysis.statistics import ends
from benchmarks.errors import UsageError
from benchmarks.reports.cases import comparable_cases
from benchmarks.reports.formats import interval
from benchmarks.reports.summary import Summary

NANOSECONDS = 1e6
"""In a millisecond: Bencher's own measure `latency` is in nanoseconds."""


def as_json(summary: Summary) -> str:
    """summary.json, as its schema describes it."""
    return json.dumps(summary.to_json(), ensure_ascii=False, indent=1, allow_nan=False)


def as_bmf(summary: Summary) -> str:
    """Bencher Metric Format: the time of a step of each case, with its 95% interval.

    The format is described at https://bencher.dev/docs/reference/bencher-metric-format/.
    """
    names = ("value", "lower_value", "upper_value")
    content = {}
    for row in comparable_cases(summary.tables["summary"]).to_dict("records"):
        known = zip(names, (row[end] for end in ends("step_ms")), strict=True)
        latency = {name: NANOSECONDS * value for name, value in known if pd.notna(value)}
        content[row["case"]] = {"latency": latency}
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)


def as_action_benchmark(summary: Summary) -> str:
    """The list that github-action-benchmark reads as `customSmallerIsBetter`.

    The format is described at https://github.com/benchmark-action/github-action-benchmark.
    """
    entries: list[dict[str, Any]] = []
    for row in comparable_cases(summary.tables["summary"]).to_dict("records"):
        value, low, high = (row[end] for end in ends("step_ms"))
        entry = {"name": row["case"], "unit": "ms a step", "value": value}
        if pd.notna(low):
            entry["range"] = interval(value, low, high, "#.4g").partition(" ")[2]
        entries.append(entry | {"extra": f"{row['launches']} launches, {row['rounds']} rounds"})
    return json.dumps(entries, ensure_ascii=False, indent=1, allow_nan=False)


def write_parquet(summary: Summary, folder: Path) -> list[Path]:
    """Write each table of the summary as a Parquet file into a folder that exists.

    Raises UsageError where pyarrow is not installed.
    """
    paths = []
    for name, rows in summary.tables.items():
        path = folder / f"{name}.parquet"
        try:
            rows.to_parquet(path, index=False)
        except ImportError:
            raise UsageError(
                "--to parquet: needs pyarrow; install it with: pip install pyarrow"
            ) from None
        paths.append(path)
    return paths


def write_images(summary: Summary, folder: Path) -> list[Path]:
    """Write each figure of the report as a PNG into a folder that exists."""
    # Not above: it takes time to import.
    from benchmarks.reports.figures import charts, marks

    paths = []
    for name, figure in charts.drawn(summary.report.figures, summary.tables).items():
        paths.append(folder / f"{name.replace('_', '-')}.png")
        paths[-1].write_bytes(marks.image(figure, "png"))
    return paths


FOLDERS: dict[str, Callable[[Summary, Path], list[Path]]] = {
    "parquet": write_parquet,
    "png": write_images,
}
"""The formats that are several files, by name."""
TEXTS: dict[str, Callable[[Summary], str]] = {
    "json": as_json,
    "bmf": as_bmf,
    "github-action-benchmark": as_action_benchmark,
}
"""The formats that are one text, by name."""
