"""Several bundles in one report, beside one another and never ranked across."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.analysis import environments as facts
from benchmarks.analysis.findings import Bundle, Findings
from benchmarks.reports import sentences as words
from benchmarks.reports.sections import Figure, Section, Table, document, section
from benchmarks.reports.sentences import interval, percent

INTRODUCTION = """\
Each bundle is a run of its own, in the order in which they were named; nothing is ranked across
them. Brackets hold 95% intervals. *Times the fastest* is the ratio within rounds to the fastest
comparable case of the same bundle, which is what may be set beside that of another machine.
`run_all.py compare` tests two bundles against each other.""".replace("\n", " ")


def markdown(bundles: Mapping[str, tuple[Bundle, Findings]]) -> str:
    """One report of all bundles, by name."""
    return document(title(bundles), [INTRODUCTION], sections(bundles))


def title(bundles: Mapping[str, tuple[Bundle, Findings]]) -> str:
    """What the report is of."""
    return words.joined(list(bundles))


def sections(bundles: Mapping[str, tuple[Bundle, Findings]]) -> list[Section]:
    """What follows the introduction."""
    cases = [
        row for name, (_, findings) in bundles.items() for row in _rows(name, findings.summary)
    ]
    environments = {name: bundle.environment for name, (bundle, _) in bundles.items()}
    return [
        section(
            "Cases", Figure("bundles", "The cases of each bundle, with 95% intervals"), Table(cases)
        ),
        environment_differences(facts.differing(environments)),
    ]


def _rows(name: str, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """A bundle's cases, whatever became of them."""
    return [
        {
            "bundle": name,
            "case": row["case"],
            "tier": row["tier"],
            "status": _status(row),
            "ms a step": interval(
                row["step_ms"], row["step_ms_low"], row["step_ms_high"], words.MS
            ),
            "times the fastest": interval(
                row["times_fastest"], row["times_fastest_low"], row["times_fastest_high"]
            ),
            "test accuracy": percent(row["test_accuracy"], 2),
        }
        for _, row in summary.iterrows()
    ]


def _status(row: pd.Series) -> str:
    """Measured, skipped, failed or not reached; and whether it may be compared with others."""
    uncertified = row["status"] == "measured" and not row["certified"]
    return "not certified" if uncertified else str(row["status"])


def difference_rows(found: pd.DataFrame) -> list[dict[str, Any]]:
    """What `differing` found, as the rows of a table."""
    return [
        {"what": fact} | dict(zip(found.columns, values, strict=True))
        for fact, values in zip(found.index, found.to_numpy(), strict=True)
    ]


def environment_differences(found: pd.DataFrame) -> Section:
    """What `differing` found, as a part of a report."""
    content = Table(difference_rows(found)) if len(found) else "Nothing that is recorded."
    return section("What the environments differ in", content)
