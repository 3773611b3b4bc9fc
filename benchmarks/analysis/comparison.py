"""Two bundles compared case by case: an upgrade, another machine, another day.

The two are independent runs, so nothing pairs a round of one with a round of the other. What a
launch gives is one value, the median over its rounds of the logarithm of the step time, and the
two bundles' values are compared by Welch's t interval, which does not suppose that they vary alike.
Divided by a baseline, that logarithm is of a ratio within rounds: what slows a whole machine
cancels, and bundles of different machines can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import Array
from benchmarks.analysis.environments import MACHINE, differing
from benchmarks.analysis.findings import Bundle, control_of, find
from benchmarks.analysis.statistics import (
    CONFIDENCE,
    MATCHED,
    SMALLEST_DIFFERENCE,
    Estimate,
    adjust,
    launch_medians,
    step_seconds,
    verdict,
)
from benchmarks.errors import UsageError

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two bundles say of one another."""

    rows: pd.DataFrame
    """A row a case: `before` and `after` (seconds a step, or times the baseline), their `ratio`
    with `ratio_low` and `ratio_high`, the launches of each, and the verdict on AFTER."""
    baseline: str | None
    baseline_ratio: Estimate | None
    """How many times as long the baseline itself takes in AFTER."""
    left_out: dict[str, str]
    """Cases that are not compared, and why."""
    differences: pd.DataFrame
    """What the environments differ in."""
    cautions: list[str]


def compare(before: Bundle, after: Bundle, baseline: str | None = None) -> Comparison:
    """Compare every case that both bundles have measured; raises UsageError where none is."""
    _check_workloads(before, after)
    found = {BEFORE: find(before), AFTER: find(after)}
    summaries = {
        name: findings.summary[~control_of(findings.summary)].set_index("case")
        for name, findings in found.items()
    }
    left_out = _left_out(summaries)
    common = [case for case in summaries[AFTER].index if case not in left_out]
    if not common:
        raise UsageError(
            f"{before.folder} and {after.folder} have no case in common that can be compared: "
            + "; ".join(f"{case} {why}" for case, why in left_out.items())
        )
    if baseline is not None and baseline not in common:
        why = left_out.get(baseline, "is a case of neither bundle")
        raise UsageError(f"--baseline {baseline}: {why}; compared can be {', '.join(common)}")
    compared = [case for case in common if case != baseline]
    if not compared:
        raise UsageError(f"--baseline {baseline}: is the only case that both bundles have measured")
    old, new = (step_seconds(one.undisturbed_samples) for one in (before, after))
    unfair = [f"In {name}: {what}" for name, one in found.items() for what in one.unfair]
    differences = differing({BEFORE: before.environment, AFTER: after.environment})
    return Comparison(
        rows=rows_of(compared, old, new, baseline),
        baseline=baseline,
        baseline_ratio=None
        if baseline is None
        else ratio(launch_values(old, baseline), launch_values(new, baseline)),
        left_out=left_out,
        differences=differences,
        cautions=[*_cautions(before, after, differences, baseline), *unfair],
    )


def launch_values(table: pd.DataFrame, case: str, baseline: str | None = None) -> Array:
    """The median over rounds of log seconds a step, or of log times the baseline; one a launch."""
    logs = np.log(table[case])
    return launch_medians(logs if baseline is None else logs - np.log(table[baseline]))


def ratio(before: Array, after: Array) -> Estimate:
    """Exp of the difference of two independent means, with Welch's 95% interval.

    With fewer than two values on a side there is no interval.
    """
    value = float(np.exp(after.mean() - before.mean()))
    if min(len(before), len(after)) < 2:
        return Estimate(value=value, low=np.nan, high=np.nan)
    test = stats.ttest_ind(after, before, equal_var=False)
    low, high = np.exp(test.confidence_interval(CONFIDENCE))
    return Estimate(value=value, low=float(low), high=float(high), p_value=float(test.pvalue))


def beyond(rows: pd.DataFrame, limit: float) -> tuple[list[str], list[str]]:
    """The cases slower by more than `limit`: those shown to be, and those that may be.

    Shown: the whole interval lies above the limit. May be: only the estimate does.
    """
    above = rows["ratio"] > 1 + limit
    shown = rows["ratio_low"] > 1 + limit
    return list(rows.loc[shown, "case"]), list(rows.loc[above & ~shown, "case"])


def rows_of(
    cases: list[str], old: pd.DataFrame, new: pd.DataFrame, baseline: str | None = None
) -> pd.DataFrame:
    """A row a case; the verdicts account for there being several, as those within a run do."""
    values = [[launch_values(table, case, baseline) for table in (old, new)] for case in cases]
    found = [ratio(before, after) for before, after in values]
    adjusted = adjust([one.p_value for one in found])
    rows = [
        {
            "case": case,
            "before": float(np.exp(before.mean())),
            "after": float(np.exp(after.mean())),
            "ratio": one.value,
            "ratio_low": one.low,
            "ratio_high": one.high,
            "launches_before": len(before),
            "launches_after": len(after),
            "verdict": verdict(one, SMALLEST_DIFFERENCE, p_adjusted),
        }
        for case, (before, after), one, p_adjusted in zip(
            cases, values, found, adjusted, strict=True
        )
    ]
    return pd.DataFrame(rows)


def _check_workloads(before: Bundle, after: Bundle) -> None:
    """Raise UsageError where the two trained different things; steps alone may differ."""
    old, new = before.environment["workload"], after.environment["workload"]
    different = [
        f"{name} is {old.get(name)} in {before.folder} and {new.get(name)} in {after.folder}"
        for name in dict.fromkeys([*old, *new])
        if name != "steps" and old.get(name) != new.get(name)
    ]
    if different:
        raise UsageError(f"different workloads cannot be compared: {'; '.join(different)}")


def _left_out(summaries: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Cases that cannot be compared, and why."""
    left_out: dict[str, str] = {}
    for case in dict.fromkeys(case for summary in summaries.values() for case in summary.index):
        reasons = []
        for name, summary in summaries.items():
            if case not in summary.index:
                reasons.append(f"is not in {name}")
            elif (status := str(summary.at[case, "status"])) != "measured":
                reasons.append(f"was {status} in {name}")
            elif not summary.at[case, "certified"]:
                reasons.append(f"failed its certificate in {name}")
        if not reasons:
            for column in MATCHED:
                old, new = (str(summary.at[case, column]) for summary in summaries.values())
                if old != new:
                    what = column.replace("_", " ")
                    reasons.append(f"has {what} {old} in before and {new} in after")
        if reasons:
            left_out[str(case)] = " and ".join(reasons)
    return left_out


def _cautions(
    before: Bundle, after: Bundle, differences: pd.DataFrame, baseline: str | None
) -> list[str]:
    """What a reader must know before quoting a ratio."""
    notes = []
    machines = [fact for fact in MACHINE if fact in differences.index]
    if machines and baseline is None:
        what = "; ".join(
            f"{fact} {old} before, {new} after"
            for fact, old, new in differences.loc[machines, [BEFORE, AFTER]].itertuples()
        )
        notes.append(
            f"**Absolute times of different machines are compared** ({what}): the ratios are those "
            "of machine and software together. `--baseline CASE` compares ratios instead"
        )
    elif baseline is None:
        notes.append(
            "The intervals cover how launches differ, not what else may have changed on the "
            "machine between two runs; `--baseline CASE` divides out what slows all cases alike"
        )
    for fact in ("threads", "steps", "block steps"):
        if fact in differences.index:
            old, new = differences.loc[fact, [BEFORE, AFTER]]
            notes.append(f"The runs differ in {fact}: {old} before, {new} after")
    for name, bundle in ((BEFORE, before), (AFTER, after)):
        run = bundle.environment["run"]
        if run["state"] != "complete":
            notes.append(f"The run {name} is incomplete: {run['state']}")
        if bundle.tables["samples"]["launch"].nunique() < 2:
            notes.append(
                f"The run {name} has one launch: no interval, and no verdict but undecided"
            )
    return notes
