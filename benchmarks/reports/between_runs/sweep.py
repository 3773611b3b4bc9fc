"""The report of a sweep: for each factor a table, a figure, and where the ranking changes."""

from pathlib import Path

import pandas as pd

from benchmarks.bundle import files
from benchmarks.reports import sections
from benchmarks.reports.cases import ranked
from benchmarks.reports.figures import between_runs, marks
from benchmarks.reports.formats import MS, joined, number, text
from benchmarks.reports.sections import (
    Column,
    Document,
    Figure,
    Section,
    Table,
    columns,
    image,
)

INTRODUCTION = """\
Each factor is varied alone; every point is a bundle of its own under points/, with all that the
report of a single run has. Cells hold milliseconds a step and, in brackets, the rank among the
cases of that point and of one tier; cases that could not be told apart share one.""".replace(
    "\n", " "
)


def changes(points: pd.DataFrame) -> list[str]:
    """The fastest cases of each tier and the values from which they are, a sentence each.

    `points` are those of one factor.
    """
    factor = points["factor"].iloc[0]
    sentences: list[str] = []
    for tier, of_tier in ranked(points).groupby("tier", sort=False):
        leaders: list[str] = []
        for value, point in of_tier.groupby("value"):
            first = sorted(point.loc[point["rank"] == 1, "case"])
            if first != leaders:
                start = f"At {factor} {value:,}" if not leaders else f"From {factor} {value:,} on"
                verb = "is" if len(first) == 1 else "are not told apart, and are"
                among = f" of tier {tier!s}" if tier else ""
                sentences.append(text(f"{start}, {joined(first)} {verb} fastest{among}."))
                leaders = first
    return sentences


def by_factor(factor: str, points: pd.DataFrame) -> Section:
    """One factor of the report."""
    figure = Figure(factor.replace(" ", "_"), f"Images a second by {factor}")
    rows = [
        {factor: f"{value:,}"}
        | {
            row["case"]: f"{number(row['step_ms'], MS)} ({row['rank']})"
            for _, row in point.iterrows()
        }
        for value, point in points.groupby("value")
    ]
    headings = [factor, *dict.fromkeys(points.sort_values("rank")["case"])]
    table = Table(columns(headings), pd.DataFrame(rows))
    return Section(factor.capitalize(), [" ".join(changes(points)), table, figure])


def write(folder: Path, points: pd.DataFrame) -> None:
    """Write report.md and its figures; `points` is sweep.csv."""
    parts = []
    for factor, rows in ranked(points).groupby("factor", sort=False):
        parts.append(by_factor(str(factor), rows))
        figure = marks.specification(between_runs.by_value(rows, str(factor)))
        files.write_bytes(folder, image(str(factor).replace(" ", "_")), marks.image(figure))
    missing = points[points["status"] != "measured"]
    if len(missing):
        where = Column("where", "value", lambda row, n: f"{row['factor']} {row[n]:,}", text=True)
        shown = [where, sections.CASE, sections.STATUS, sections.REASON]
        parts.append(Section("Not measured", [Table(shown, missing)]))
    report = Document("Where the ranking changes", [], INTRODUCTION, parts)
    files.write_text(folder, "report.md", report.markdown())
