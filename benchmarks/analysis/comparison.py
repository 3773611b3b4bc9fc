"""Two bundles compared case by case: an upgrade, another machine, another day.

The two are independent runs, so nothing pairs a round of one with a round of the other. Each launch
gives one value, the median over its rounds of the logarithm of the step time. The values of the two
bundles are compared by Welch's t interval, which does not assume that they vary equally.
With a baseline, the logarithm is that of a ratio within rounds: whatever slows the whole machine
cancels, and bundles of different machines can be compared.
"""

from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import Array
from benchmarks.analysis import statistics
from benchmarks.analysis.environments import MACHINE, differing
from benchmarks.analysis.findings import compute_findings, control_of
from benchmarks.analysis.statistics import MATCHED, Estimate
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.reader import Bundle
from benchmarks.errors import UnjudgedError, UsageError

BEFORE, AFTER = "before", "after"
SAME_MACHINE = (
    "The intervals cover how launches differ, not what else may have changed on the machine "
    "between two runs; --baseline CASE divides out what slows all cases alike"
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
    missing: frozenset[str]
    """Those of them that one of the two bundles has not measured."""
    unknown_data: str
    """Why nobody can tell by content whether the data is the same; empty where it is."""
    other_machine: str
    """How the machines differ, where absolute times are compared; empty where they do not."""
    differences: pd.DataFrame
    """The properties in which the environments differ."""
    warnings: list[str]
    """Cautions that must be read before any ratio is quoted."""
    cautions: list[str]


def compare(before: Bundle, after: Bundle, baseline: str | None = None) -> Comparison:
    """Compare every case that both bundles have measured.

    `baseline` is the case that all others are divided by. Raises UnjudgedError where workload or
    data differ, or where no case, or not the baseline, can be compared.
    """
    unknown_data = _check_workloads(before, after)
    both = {BEFORE: compute_findings(before), AFTER: compute_findings(after)}
    summaries = {
        name: findings.summary[~control_of(findings.summary)].set_index("case")
        for name, findings in both.items()
    }
    left_out, missing = _left_out(summaries)
    common = [case for case in summaries[AFTER].index if case not in left_out]
    if baseline in left_out:
        raise UnjudgedError(f"--baseline {baseline}: {left_out[baseline]}")
    compared = [case for case in common if case != baseline]
    if not compared:
        others = "; ".join(f"{case} {why}" for case, why in left_out.items()) or "there is no other"
        besides = f" besides the baseline {baseline}" if baseline else ""
        raise UnjudgedError(
            f"{before.folder} and {after.folder} have no case in common that can be compared"
            f"{besides}: {others}"
        )
    old, new = (statistics.step_seconds(one.undisturbed_samples) for one in (before, after))
    differences = differing({BEFORE: before, AFTER: after})
    machines = "" if baseline else _other_machine(differences)
    cautions = _cautions({BEFORE: before, AFTER: after}, differences)
    if baseline is None and not machines:
        cautions.insert(0, SAME_MACHINE)
    cautions += [unknown_data] if unknown_data else []
    cautions += [f"In {name}: {one}" for name, findings in both.items() for one in findings.unfair]
    return Comparison(
        rows=rows_of(compared, old, new, baseline),
        baseline=baseline,
        baseline_ratio=None
        if baseline is None
        else ratio(launch_values(old, baseline), launch_values(new, baseline)),
        left_out=left_out,
        missing=missing,
        unknown_data=unknown_data,
        other_machine=machines,
        differences=differences,
        warnings=_warnings(machines, before, after),
        cautions=cautions,
    )


def cases_of(bundle: Bundle) -> list[str]:
    """The names of a bundle's cases, whatever became of them, without controls."""
    return [case.case for case in bundle.environment.run.cases if not case.repetition]


def check_case(option: str, case: str, before: Bundle, after: Bundle) -> None:
    """Raise UsageError where the value of `option` is a case of neither bundle."""
    known = dict.fromkeys([*cases_of(before), *cases_of(after)])
    if case not in known:
        similar = get_close_matches(case, known, 1)
        hint = f"; did you mean {similar[0]}?" if similar else "."
        named = ", ".join(f'"{name}"' for name in known)
        raise UsageError(
            f'{option} "{case}": is a case of neither bundle{hint} In quotation marks, the cases '
            f"are {named}"
        )


def same_run(before: Bundle, after: Bundle) -> bool:
    """Whether two bundles hold the same: a copy, or one folder twice.

    Equal rows of another machine, say, or with others that are damaged, are not the same.
    """
    return (
        len(before.tables["samples"]) > 0
        and (before.environment, before.problems) == (after.environment, after.problems)
        and all(table.equals(after.tables[name]) for name, table in before.tables.items())
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
    test = statistics.tested(stats.ttest_ind, after, before, equal_var=False)
    low, high = np.exp(test.confidence_interval(statistics.CONFIDENCE))
    return Estimate(value=value, low=float(low), high=float(high), p_value=float(test.pvalue))


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


def _check_workloads(before: Bundle, after: Bundle) -> str:
    """Why nobody can tell whether both were trained on the same data; empty where they were.

    Raises UnjudgedError where the workloads differ in more than their steps, or the data differs.
    """
    old, new = (bundle.environment.workload.to_json() for bundle in (before, after))
    by_content = "data_sha256" in old and "data_sha256" in new
    ignored = {"steps", "data" if by_content else "data_sha256"}
    different = [
        f"{name} is {old.get(name, 'not recorded')} in {before.folder} and "
        f"{new.get(name, 'not recorded')} in {after.folder}"
        for name in dict.fromkeys([*old, *new])
        if name not in ignored and old.get(name) != new.get(name)
    ]
    if different:
        raise UnjudgedError(f"different workloads cannot be compared: {'; '.join(different)}")
    if by_content:
        return ""
    silent = [
        str(one.folder) for one in (before, after) if not one.environment.workload.data_sha256
    ]
    return (
        f"Both were trained on data called {old['data']}, but {' and '.join(silent)}, of an older "
        "version of this program, cannot tell by content whether it is the same"
    )


def _left_out(summaries: dict[str, pd.DataFrame]) -> tuple[dict[str, str], frozenset[str]]:
    """The cases that cannot be compared, and why; those of them that one side has not measured."""
    left_out: dict[str, str] = {}
    missing = set()
    for case in dict.fromkeys(case for summary in summaries.values() for case in summary.index):
        reasons = []
        for name, summary in summaries.items():
            if case not in summary.index:
                reasons.append(f"is not in {name.upper()}")
            elif (status := str(summary.at[case, "status"])) != "measured":
                reasons.append(f"{'' if status == 'failed' else 'was '}{status} in {name.upper()}")
            elif not summary.at[case, "certified"]:
                reasons.append(f"failed its certificate in {name.upper()}")
            elif summary.at[case, "held_back"]:
                reasons.append(f"is held back from the ranking in {name.upper()}")
            untrusted = reasons and ("certificate" in reasons[-1] or "held back" in reasons[-1])
            missing |= {case} if reasons and not untrusted else set()
        for column in () if reasons else MATCHED:
            old, new = (str(summary.at[case, column]) for summary in summaries.values())
            if old != new:
                what = column.replace("_", " ")
                reasons.append(f"has {what} {old} in BEFORE and {new} in AFTER")
        if reasons:
            left_out[str(case)] = " and ".join(reasons)
    return left_out, frozenset(missing)


def _other_machine(differences: pd.DataFrame) -> str:
    """In what the machines differ; empty where they are the same, as far as is known."""
    machines = [name for name in MACHINE if name in differences.index]
    return "; ".join(
        f"{name} {old} before, {new} after"
        for name, old, new in differences.loc[machines, [BEFORE, AFTER]].itertuples()
    )


def _warnings(machines: str, before: Bundle, after: Bundle) -> list[str]:
    """Damage, absolute times of different `machines`, and an AFTER that is the older run."""
    warnings = [
        f"In {name}: {damage.removesuffix('.')}"
        for name, bundle in ((BEFORE, before), (AFTER, after))
        if (damage := describe_damage(bundle.problems))
    ]
    if machines:
        warnings.append(
            f"Absolute times of different machines are compared ({machines}): the ratios are those "
            "of machine and software together. --baseline CASE compares ratios instead"
        )
    old, new = before.environment.started, after.environment.started
    try:
        later_first = datetime.fromisoformat(new) < datetime.fromisoformat(old)
    except TypeError:  # only one of them has a time zone
        later_first = False
    if later_first:
        warnings.append(f"AFTER is older than BEFORE: it was started at {new}, BEFORE at {old}")
    return warnings


def _cautions(bundles: dict[str, Bundle], differences: pd.DataFrame) -> list[str]:
    """The cautions about other differences between the runs, and about what one of them lacks."""
    notes = []
    for name in ("threads", "steps", "block steps", "lead-in steps"):
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
