"""Which cases a table or figure shows, and in which order."""

import pandas as pd

from backends.contract import TEXTBOOK
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.analysis.statistics import MATCHED


def ranked(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases that have a rank, fastest first."""
    return summary[summary["rank"].notna()]


def measured(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases that were timed, without controls."""
    return summary[(summary["status"] == "measured") & ~control_of(summary)]


def comparable_groups(findings: Findings) -> list[tuple[str, pd.DataFrame]]:
    """The ranked cases in groups that may be compared, each with a phrase for what they share."""
    groups = []
    for (precision, device, adam), rows in ranked(findings.summary).groupby(
        list(MATCHED), sort=False
    ):
        optimizer = "" if adam == TEXTBOOK else " with Keras' own Adam"
        groups.append((f"in {precision} on the {str(device).upper()}{optimizer}", rows))
    return groups


def in_summary_order(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows, by case in the order of the summary, without those of controls."""
    places = {case: place for place, case in enumerate(findings.summary["case"])}
    kept = rows[~control_of(rows)]
    return kept.sort_values("case", key=lambda case: case.map(places), kind="stable")
