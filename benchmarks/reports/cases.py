"""Which cases a table or figure shows, and in which order."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from backends.contract import TEXTBOOK
from backends.ladder import EXPERT, LIMIT, TAUGHT
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.analysis.pairs import GROUP
from benchmarks.analysis.statistics import both_ways
from benchmarks.reports.formats import number, text

TIERS = {
    TAUGHT: "what each framework's own first tutorial does",
    EXPERT: "what each framework's own performance pages advise",
    LIMIT: "the fastest program known in each framework",
}
"""What the cases of each tier are."""
NOT_JUDGED = "not judged"
"""What stands for a verdict on a pair that may be compared and is not judged."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The ranked cases of one tier that may be compared, fastest first."""

    tier: str
    """Empty in old bundles, whose modes the registry does not know."""
    where: str
    """A phrase for what else they share."""
    rows: pd.DataFrame

    @property
    def name(self) -> str:
        """The group in a few words."""
        return f"{self.tier.capitalize()}, {self.where}" if self.tier else f"Ranked {self.where}"

    @property
    def about(self) -> str:
        """What its cases are; empty where that is not known."""
        return TIERS.get(self.tier, "")

    @property
    def markdown(self) -> str:
        """The group above its table."""
        return f"**{text(self.name)}**{self.about and ': '}{self.about}"


def ranked(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases that have a rank, fastest first."""
    return summary[summary["rank"].notna()]


def measured(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases that were timed, without controls."""
    return summary[(summary["status"] == "measured") & ~control_of(summary)]


def comparable_cases(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases whose times may be quoted: measured, certified and not held back; no controls."""
    trusted = (summary["status"] == "measured") & summary["certified"]
    return summary[trusted & (summary["held_back"] == "") & ~control_of(summary)]


def compared(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every pair that a run compares, both ways, with its verdict or NOT_JUDGED.

    Where the tables have a pair twice, that with a verdict stands.
    """
    unjudged = tables["ratios"].assign(verdict=NOT_JUDGED)
    pairs = both_ways(pd.concat([tables["verdicts"], unjudged], join="inner"))
    return pairs.drop_duplicates(["case", "other"])


def comparable_groups(findings: Findings) -> list[Group]:
    """The ranked cases in groups that are ranked together, tier by tier."""
    return groups_of(ranked(findings.summary))


def groups_of(cases: pd.DataFrame) -> list[Group]:
    """Rows of the summary in groups that are ranked together."""
    groups = []
    for (precision, device, adam, _, tier), rows in cases.groupby(list(GROUP), sort=False):
        optimizer = "" if adam == TEXTBOOK else " with Keras' own Adam"
        ranks = int(rows["ranks"].iloc[0])
        together = f", {ranks} ranks together" if ranks > 1 else ""
        where = f"in {precision} on the {str(device).upper()}{optimizer}{together}"
        groups.append(Group(tier=str(tier), where=where, rows=rows))
    return groups


def names_of(rows: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """The names of the cases that rows are of, in the order of the summary, without controls."""
    named = set(rows.loc[~control_of(rows), "case"])
    return [case for case in summary["case"] if case in named]


def in_summary_order(rows: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows, by case in the order of the summary, without those of controls."""
    names = names_of(rows, findings.summary)
    kept = rows[rows["case"].isin(names)]
    return kept.sort_values("case", key=lambda case: case.map(names.index), kind="stable")


def span(rows: pd.DataFrame, column: str, form: str, unit: str) -> str:
    """From which to which case a column reaches, as in "from 1.2 ms (a) to 3.4 ms (b)"."""
    known = rows.dropna(subset=column).sort_values(column)
    if known.empty:
        return "nothing is known"
    ends = known.iloc[[0, -1]] if len(known) > 1 else known
    unit = f" {unit}" * bool(unit)
    named = [f"{number(row[column], form)}{unit} ({row['case']})" for _, row in ends.iterrows()]
    return "from " + " to ".join(named) if len(named) > 1 else named[0]
