"""Two bundles compared case by case: an upgrade, another machine, another day.

The two are independent runs, so nothing pairs a round of one with a round of the other. Each launch
gives one value, the median over its rounds of the logarithm of the step time. The values of the two
bundles are compared by Welch's t interval, which does not assume that they vary equally.
With a baseline, the logarithm is that of a ratio within rounds: whatever slows the whole machine
cancels, and bundles of different machines can be compared.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import Array
from benchmarks.analysis import statistics
from benchmarks.analysis.environments import MACHINE, differing
from benchmarks.analysis.findings import compute_findings, control_of
from benchmarks.analysis.statistics import MATCHED, Estimate
from benchmarks.bundle.reader import Bundle
from benchmarks.errors import UsageError

BEFORE, AFTER = "before", "after"
SAME_MACHINE = (
    "The intervals cover how launches differ, not what else may have changed on the machine "
    "between two runs; `--baseline CASE` divides out what slows all cases alike"
)
"""The caution of a comparison of absolute times on one machine."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of comparing two bundles."""

    rows: pd.DataFrame
    """One row for each case: `before` and `after` (seconds a step, or times the baseline), their
    `ratio` with `ratio_low` and `ratio_high`, the launches of each, and the verdict on AFTER."""
    baseline: str | None
    baseline_ratio: Estimate | None
    """The baseline's own time in AFTER, divided by that in BEFORE."""
    left_out: dict[str, str]
    """Cases that are not compared, and why."""
    differences: pd.DataFrame
    """The properties in which the environments differ."""
    warnings: list[str]
    """Cautions that must be read before any ratio is quoted."""
    cautions: list[str]


def compare(before: Bundle, after: Bundle, baseline: str | None = None) -> Comparison:
    """Compare every case that both bundles have measured.

    `baseline` is the case that all others are divided by. Raises UsageError where the workloads
    differ or no case can be compared.
    """
    _check_workloads(before, after)
    both = {BEFORE: compute_findings(before), AFTER: compute_findings(after)}
    summaries = {
        name: findings.summary[~control_of(findings.summary)].set_index("case")
        for name, findings in both.items()
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
    old, new = (statistics.step_seconds(one.undisturbed_samples) for one in (before, after))
    differences = differing({BEFORE: before, AFTER: after})
    warnings = _warnings(differences, baseline)
    cautions = _cautions({BEFORE: before, AFTER: after}, differences)
    if baseline is None and not warnings:
        cautions.insert(0, SAME_MACHINE)
    cautions += [f"In {name}: {one}" for name, findings in both.items() for one in findings.unfair]
    return Comparison(
        rows=rows_of(compared, old, new, baseline),
        baseline=baseline,
        baseline_ratio=None
        if baseline is None
        else ratio(launch_values(old, baseline), launch_values(new, baseline)),
        left_out=left_out,
        differences=differences,
        warnings=warnings,
        cautions=cautions,
    )


def launch_values(table: pd.DataFrame, case: str, baseline: str | None = None) -> Array:
    """The median over rounds of log seconds a step, one for each launch.

    With a baseline, it is the median of the logarithm of the ratio to it.
    """
    logs = np.log(table[case])
    return statistics.launch_medians(logs if baseline is None else logs - np.log(table[baseline]))


def ratio(before: Array, after: Array) -> Estimate:
    """Exp of the difference of two independent means, with Welch's 95% interval.

    With fewer than two values on a side there is no interval.
    """
    value = float(np.exp(after.mean() - before.mean()))
    if min(len(before), len(after)) < 2:
        return Estimate(value=value, low=np.nan, high=np.nan)
    test = stats.ttest_ind(after, before, equal_var=False)
    low, high = np.exp(test.confidence_interval(statistics.CONFIDENCE))
    return Estimate(value=value, low=float(low), high=float(high), p_value=float(test.pvalue))


def beyond(rows: pd.DataFrame, limit: float) -> tuple[list[str], list[str]]:
    """The cases that are shown to be slower by more than `limit`, and those that may be.

    It is shown if the whole interval lies above the limit; it may be if only the estimate does.
    """
    above = rows["ratio"] > 1 + limit
    shown = rows["ratio_low"] > 1 + limit
    return list(rows.loc[shown, "case"]), list(rows.loc[above & ~shown, "case"])


def rows_of(
    cases: list[str], old: pd.DataFrame, new: pd.DataFrame, baseline: str | None = None
) -> pd.DataFrame:
    """One row for each case; the verdicts account for their number, as those within a run do."""
    values = [[launch_values(table, case, baseline) for table in (old, new)] for case in cases]
    ratios = [ratio(before, after) for before, after in values]
    adjusted = statistics.adjust([estimate.p_value for estimate in ratios])
    rows = [
        {
            "case": case,
            "before": float(np.exp(before.mean())),
            "after": float(np.exp(after.mean())),
            **statistics.with_interval("ratio", estimate),
            "launches_before": len(before),
            "launches_after": len(after),
            "verdict": statistics.verdict(estimate, statistics.SMALLEST_DIFFERENCE, p_adjusted),
        }
        for case, (before, after), estimate, p_adjusted in zip(
            cases, values, ratios, adjusted, strict=True
        )
    ]
    return pd.DataFrame(rows)


def _check_workloads(before: Bundle, after: Bundle) -> None:
    """Raise UsageError where the workloads differ in more than their steps."""
    old, new = (bundle.environment.workload.to_json() for bundle in (before, after))
    different = [
        f"{name} is {old.get(name)} in {before.folder} and {new.get(name)} in {after.folder}"
        for name in dict.fromkeys([*old, *new])
        if name != "steps" and old.get(name) != new.get(name)
    ]
    if different:
        raise UsageError(f"different workloads cannot be compared: {'; '.join(different)}")


def _left_out(summaries: dict[str, pd.DataFrame]) -> dict[str, str]:
    """The cases that cannot be compared, and why."""
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
        for column in () if reasons else MATCHED:
            old, new = (str(summary.at[case, column]) for summary in summaries.values())
            if old != new:
                what = column.replace("_", " ")
                reasons.append(f"has {what} {old} in before and {new} in after")
        if reasons:
            left_out[str(case)] = " and ".join(reasons)
    return left_out


def _warnings(differences: pd.DataFrame, baseline: str | None) -> list[str]:
    """Whether absolute times of different machines are compared."""
    machines = [name for name in MACHINE if name in differences.index]
    if not machines or baseline is not None:
        return []
    what = "; ".join(
        f"{name} {old} before, {new} after"
        for name, old, new in differences.loc[machines, [BEFORE, AFTER]].itertuples()
    )
    return [
        f"Absolute times of different machines are compared ({what}): the ratios are those of "
        "machine and software together. `--baseline CASE` compares ratios instead"
    ]


def _cautions(bundles: dict[str, Bundle], differences: pd.DataFrame) -> list[str]:
    """The cautions about other differences between the runs, and about what one of them lacks."""
    notes = []
    for name in ("threads", "steps", "block steps"):
        if name in differences.index:
            old, new = differences.loc[name, [BEFORE, AFTER]]
            notes.append(f"The runs differ in {name}: {old} before, {new} after")
    for name, bundle in bundles.items():
        if (state := bundle.environment.run.state) != "complete":
            notes.append(f"The run {name} is incomplete: {state}")
        if bundle.tables["samples"]["launch"].nunique() < 2:
            notes.append(
                f"The run {name} has one launch: no interval, and no verdict but undecided"
            )
    return notes
