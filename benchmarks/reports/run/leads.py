"""The sentences that lead a report: who is fastest, tier by tier."""

import pandas as pd

from backends.ladder import EXPERT, LIMIT, TAUGHT
from backends.registry import title_of
from benchmarks.analysis.findings import Findings
from benchmarks.analysis.statistics import MOST_LAUNCHES, TIE_MARGIN, both_ways
from benchmarks.reports.cases import Group, comparable_groups
from benchmarks.reports.formats import MS, as_interval, joined, number, text

BEGINNINGS = {TAUGHT: "As taught", EXPERT: "Written by an expert", LIMIT: "At the limit"}
"""How the sentence on a tier begins."""


def fastest(findings: Findings) -> list[str]:
    """A sentence for each tier: the cases not shown slower than its fastest, and the others.

    A run of a single tier, as that of the preset `quick`, says so.
    """
    sentences = []
    where = ""
    groups = comparable_groups(findings)
    for group in groups:
        # What all tiers of a run share is said once.
        shared = group.where if group.where != where else ""
        begins = [BEGINNINGS[group.tier]] if group.tier else []
        where = group.where
        sentences.append(_sentence(findings.verdicts, [*begins, *filter(None, [shared])], group))
    tiers = {group.tier for group in groups}
    if len(tiers) == 1 and "" not in tiers:
        sentences[-1] += f" This run holds the {tiers.pop()} tier alone."
    return sentences


def _sentence(verdicts: pd.DataFrame, begins: list[str], group: Group) -> str:
    """Who leads a group, and how far the best of each other framework is behind."""
    rows = group.rows.sort_values("step_ms", kind="stable")
    best, step = rows.iloc[0], f"{number(rows['step_ms'].iloc[0], MS)} ms a step"
    beginning = text(", ".join([*begins, ""]))
    name = text(best["case"])
    if len(rows) == 1:
        sentence = f"{beginning}{name} takes {step}; there is nothing to compare it with"
    else:
        pairs = both_ways(verdicts)
        pairs = pairs[(pairs["case"] == best["case"]) & pairs["other"].isin(rows["case"])]
        slower = pairs.loc[pairs["verdict"] == "faster", "other"]
        leaders = rows[~rows["case"].isin(slower)]
        lead = (
            f"**{name}** trains fastest: {step}"
            if len(leaders) == 1
            else _open(leaders, pairs[~pairs["other"].isin(slower)])
        )
        sentence = beginning + lead + _behind(rows, leaders)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _open(leaders: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The cases of which none is shown to be the fastest; `pairs` are the first and the others."""
    names = joined([f"**{text(case)}**" for case in leaders["case"]])
    steps = joined([number(step, MS) for step in leaders["step_ms"]])
    launches = pairs.loc[pairs["verdict"] == "undecided", "launches_needed"]
    if len(launches) == 0:
        why = f"a tie, within {TIE_MARGIN:.0%}"
    elif pairs["launches"].max() < 2:
        why = "one launch decides nothing"
    elif launches.notna().all():
        # A new one: going on with a run until it decides would find differences where none are.
        why = f"a new run with --launches {launches.max():.0f} would likely decide"
    else:
        why = f"no run of {MOST_LAUNCHES} launches would likely decide"
    return f"{names} are not shown to be slower than the fastest of them: {steps} ms a step ({why})"


def _behind(rows: pd.DataFrame, leaders: pd.DataFrame) -> str:
    """How much longer the best case takes of each framework that has none among the leaders."""
    others = rows[~rows["backend"].isin(leaders["backend"])].drop_duplicates("backend")
    against = f" as long as {text(leaders['case'].iloc[0])}"
    parts = []
    for _, row in others.iterrows():
        name = f"the best of {text(title_of(row['backend']))}, {text(row['case'])}"
        parts.append(f"; {name}, takes {as_interval()(row, 'times_fastest')} times{against}")
        against = ""
    return "".join(parts)
