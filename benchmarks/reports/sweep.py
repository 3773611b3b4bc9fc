"""The report of a sweep: for each factor a table, a figure, and where the ranking changes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.reports import sentences as words
from benchmarks.reports.figures import static as figures
from benchmarks.reports.sections import Figure, Section, Table, document, section
from benchmarks.reports.sentences import joined, number

INTRODUCTION = """\
Each factor is varied alone; every point is a bundle of its own under points/, with all that the
report of a single run has. Cells hold milliseconds a step and, in brackets, the rank among the
cases of that point; cases that could not be told apart share one."""


def ranked(found: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a rank."""
    return found[found["rank"].notna()]


def changes(own: pd.DataFrame) -> list[str]:
    """Who is fastest from which value on, a sentence each; `own` is of one factor."""
    factor = own["factor"].iloc[0]
    sentences: list[str] = []
    leaders: list[str] = []
    for value, point in ranked(own).groupby("value"):
        first = sorted(point.loc[point["rank"] == 1, "case"])
        if first != leaders:
            start = f"At {factor} {value:,}" if not leaders else f"From {factor} {value:,} on"
            verb = "is" if len(first) == 1 else "are not told apart, and are"
            sentences.append(f"{start}, {joined(first)} {verb} fastest.")
            leaders = first
    return sentences


def by_factor(folder: Path, factor: str, own: pd.DataFrame) -> Section:
    """One factor of the report; draws its figure."""
    name = f"{factor.replace(' ', '-')}.svg"
    figures.by_value(ranked(own), factor, folder / "figures" / name)
    order = list(dict.fromkeys(ranked(own).sort_values("rank")["case"]))
    rows = []
    for value, point in ranked(own).groupby("value"):
        cells = {
            row["case"]: f"{number(row['step_ms'], words.MS)} ({row['rank']})"
            for _, row in point.iterrows()
        }
        rows.append({factor: f"{value:,}", **{case: cells.get(case, "–") for case in order}})
    figure = Figure("by_value", f"Images a second by {factor}", f"figures/{name}")
    return section(factor.capitalize(), " ".join(changes(own)), Table(rows), figure)


def markdown(folder: Path, found: pd.DataFrame) -> str:
    """The whole report; `found` is sweep.csv."""
    opening = [INTRODUCTION.replace("\n", " ")]
    sections = [
        by_factor(folder, str(factor), own)
        for factor, own in found.groupby("factor", sort=False)
        if len(ranked(own))
    ]
    lost = found[found["status"].ne("measured")]
    if len(lost):
        rows = [
            {
                "where": f"{row['factor']} {row['value']:,}",
                "case": row["case"],
                "what": row["status"],
                "why": row["reason"],
            }
            for _, row in lost.iterrows()
        ]
        sections.append(section("Not measured", Table(rows)))
    return document("Where the ranking changes", opening, sections)


def write(folder: Path, found: pd.DataFrame) -> None:
    """Write report.md and its figures."""
    (folder / "report.md").write_text(markdown(folder, found))
