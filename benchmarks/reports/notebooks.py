"""Bundles in notebooks: `from benchmarks import load_bundle` in a checkout.

run = load_bundle("results/reference/epyc-zen4-2-cores")
run.cases                                   one row a case: `summary.csv`
run.table("time_to_accuracy")               any computed table
run.verdict("jax scan", "pytorch eager")    what the run says of two cases
run.figure("ranking")                       a figure of the report, which a notebook shows
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.analysis.statistics import ends
from benchmarks.errors import UsageError
from benchmarks.reports import summary
from benchmarks.reports.cases import compared
from benchmarks.reports.formats import joined
from benchmarks.reports.summary import Summary
from benchmarks.words import similar_to


class Verdict(NamedTuple):
    """What a run says of a case against another."""

    verdict: str
    """`faster`, `slower`, `tie`, `undecided`, or `not judged`, as across tiers."""
    ratio: float
    """Step time of the first divided by that of the second, within rounds."""
    low: float
    high: float
    """The ends of its interval; NaN after a single launch."""


@dataclass(frozen=True)
class Run:
    """A bundle as its summary.json describes it."""

    summary: Summary

    @property
    def title(self) -> str:
        """The frameworks that were compared."""
        return self.summary.report.title

    @property
    def answer(self) -> list[str]:
        """The answer: a sentence in markdown for each tier, and one for all of them."""
        return [*self.summary.report.lead, self.summary.report.rest]

    @property
    def resolution(self) -> float:
        """How far the interval of the run's typical pair reaches; 0.02 is 2%."""
        return self.summary.resolution

    @property
    def environment(self) -> Any:
        """Machine, versions, workload and run: environment.json, by its fields."""
        return self.summary.environment

    @property
    def cases(self) -> pd.DataFrame:
        """The table `summary`: a row a case, fastest first, tier by tier."""
        return self.table("summary")

    @property
    def tables(self) -> list[str]:
        """The names of all tables, which docs/bundles.md describes column by column."""
        return list(self.summary.tables)

    def table(self, name: str) -> pd.DataFrame:
        """A computed table; raises UsageError for a name that is none."""
        return self.summary.tables[_known(name, self.summary.tables, "table")].copy()

    def verdict(self, case: str, other: str) -> Verdict:
        """What the run says of `case` against `other`; UsageError where it compares them not."""
        names = set(self.summary.tables["summary"]["case"])
        for name in (case, other):
            _known(name, names, "case")
        rows = compared(self.summary.tables)
        rows = rows[(rows["case"] == case) & (rows["other"] == other)]
        if rows.empty:
            raise UsageError(f"{case} and {other} are not compared in this run")
        row = rows.iloc[0]
        return Verdict(row["verdict"], *(float(row[end]) for end in ends("ratio")))

    @property
    def figures(self) -> list[str]:
        """The names of the report's figures."""
        return self.summary.report.figures

    def figure(self, name: str) -> Any:
        """A figure of the report as a chart of Altair's, which notebooks show; or UsageError."""
        # Not above: it takes time to import.
        from benchmarks.reports.figures import charts, marks

        drawn = charts.FIGURES[_known(name, self.figures, "figure")]
        return marks.finished(drawn(self.summary.tables))


def load_bundle(folder: str | Path) -> Run:
    """A bundle by its folder; raises UsageError where it has no summary.json that can be read."""
    return Run(summary.read(Path(folder)))


def _known(name: str, names: Any, what: str) -> str:
    """The name, if it is one of `names`; else UsageError, with what may have been meant."""
    if name in names:
        return name
    hint = similar_to(name, names)
    raise UsageError(
        f"{name!r} is no {what} of this run; "
        + (f"did you mean {hint}?" if hint else f"there are {joined(sorted(names))}")
    )
