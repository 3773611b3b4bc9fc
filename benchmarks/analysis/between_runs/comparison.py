"""Runs before and after a change, compared case by case: an upgrade, another machine or day.

The runs are independent, so nothing pairs a round of one with a round of another. A launch gives
one value, the median over its rounds of the logarithm of the step time. Of one run a side, the
values of launches are compared by Welch's t interval, which does not assume that they vary equally;
what differs from one run to the next is in the difference and not in the interval. Of several runs
a side, each run gives one value, the mean of its launches, and how values vary is learned from both
sides and from the other cases of the framework: see noise.py.

With a baseline, the logarithm is that of a ratio within rounds: whatever slows the whole machine
cancels, and bundles of different machines can be compared. Variants and their bases are compared so
within one run, where each launch gives one value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import Array
from backends.ladder import FLOOR
from backends.registry import BACKENDS
from benchmarks.analysis import noise, statistics
from benchmarks.analysis.between_runs.comparable import (
    AFTER,
    BEFORE,
    SAME_MACHINE,
    Sides,
    cases_left_out,
    cautions_of,
    check_workloads,
    other_machine,
    unmeasured,
    untrusted,
    warnings_of,
)
from benchmarks.analysis.between_runs.environments import differing
from benchmarks.analysis.findings import compute_findings, control_of
from benchmarks.analysis.noise import Variance
from benchmarks.analysis.pairs import without_variants
from benchmarks.analysis.statistics import Estimate
from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.records import Environment
from benchmarks.errors import UnjudgedError
from benchmarks.schema import VARIANT

RUN, LAUNCH = "run", "launch"
HELPS = 0.5
"""Cases are taken against a floor where their variance from run to run then falls to this share."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of comparing runs before and after a change."""

    rows: pd.DataFrame
    """One row for each case: `before` and `after` (seconds a step, or times the baseline), their
    `ratio` with `ratio_low` and `ratio_high`, `values_before` and `values_after`, how many values
    these follow from, and the verdict on AFTER; with several runs a side, or within one, also the
    standard `error` of the ratio's logarithm and its degrees of `freedom`."""
    unit: str
    """What gives a value: "run", or "launch" within one run."""
    count: int
    """How many runs each side has, or launches a case; where they differ in this, the fewest."""
    baseline: str | None
    baseline_ratio: Estimate | None
    """The baseline's own time in AFTER, divided by that in BEFORE."""
    left_out: dict[str, str]
    """Cases that are not compared, and why."""
    missing: frozenset[str]
    """Those of them that one of the runs has not measured."""
    unknown_data: str
    """Why nobody can tell by content whether the data is the same; empty where it is."""
    other_machine: str
    """How the machines differ, where absolute times are compared; empty where they do not."""
    differences: pd.DataFrame
    """The properties in which the environments of the two sides' first runs differ."""
    warnings: list[str]
    """Cautions that must be read before any ratio is quoted."""
    cautions: list[str]


def compare(
    before: Sequence[Bundle], after: Sequence[Bundle], baseline: str | None = None
) -> Comparison:
    """Compare every case that all runs have measured.

    `baseline` is the case that all others are divided by. Several runs a side are taken against a
    floor that all have, where none is named and that helps. Raises UnjudgedError where workload or
    data differ, or where no case, or not the baseline, can be compared.
    """
    sides: Sides = {BEFORE: tuple(before), AFTER: tuple(after)}
    unknown_data = check_workloads([*before, *after])
    found = {name: [compute_findings(one) for one in side] for name, side in sides.items()}
    summaries = {
        name: [one.summary[~control_of(one.summary)].set_index("case") for one in findings]
        for name, findings in found.items()
    }
    left_out, missing = cases_left_out(summaries)
    common = [case for case in summaries[AFTER][0].index if case not in left_out]
    if baseline in left_out:
        raise UnjudgedError(f"--baseline {baseline}: {left_out[baseline]}")
    cases = [case for case in common if case != baseline]
    if not cases:
        others = "; ".join(f"{case} {why}" for case, why in left_out.items()) or "there is no other"
        besides = f" besides the baseline {baseline}" if baseline else ""
        raise UnjudgedError(
            f"{before[0].folder} and {after[0].folder} have no case in common that can be compared"
            f"{besides}: {others}"
        )
    tables = {name: [_step_seconds(one) for one in side] for name, side in sides.items()}
    frameworks = dict(summaries[AFTER][0]["backend"])
    several = max(len(before), len(after)) > 1
    if baseline is None and several:
        baseline = _helpful_floor(cases, tables, frameworks, sides)
        cases = [case for case in cases if case != baseline]
    values = {case: values_of(tables, case, baseline) for case in cases}
    differences = differing({name: side[0] for name, side in sides.items()})
    machines = "" if baseline else other_machine(differences)
    cautions = cautions_of(sides, differences)
    if baseline is None and not machines and not several:
        cautions.insert(0, SAME_MACHINE)
    cautions += [unknown_data] if unknown_data else []
    unfair = {(name, one): None for name in sides for each in found[name] for one in each.unfair}
    cautions += [f"In {name}: {one}" for name, one in unfair]
    return Comparison(
        rows=rows_of(values, frameworks if several else None),
        unit=RUN,
        count=min(len(before), len(after)),
        baseline=baseline,
        baseline_ratio=None if baseline is None else ratio(*values_of(tables, baseline)),
        left_out=left_out,
        missing=missing,
        unknown_data=unknown_data,
        other_machine=machines,
        differences=differences,
        warnings=warnings_of(machines, sides),
        cautions=cautions,
    )


def within(bundle: Bundle) -> Comparison:
    """Compare every variant of a run with its base, in the same rounds.

    Raises UnjudgedError where the run has no variant that can be compared.
    """
    found = compute_findings(bundle)
    summary = found.summary[~control_of(found.summary)].set_index("case")
    plain = set(without_variants(summary.reset_index())["case"])
    variants = [str(case) for case in summary.index if case not in plain]
    pairs = statistics.both_ways(found.verdicts)
    of_base = (pairs["relation"] == VARIANT) & ~pairs["other"].isin(variants)
    pairs = pairs[of_base & pairs["case"].isin(variants)].set_index("case")
    left_out = {
        case: f"{untrusted(summary, case) or unmeasured(summary, case) or 'has no base'} in the run"
        for case in variants
        if case not in pairs.index
    }
    if pairs.empty:
        others = "; ".join(f"{case} {why}" for case, why in left_out.items())
        raise UnjudgedError(f"{bundle.folder} has no variant to compare{others and f': {others}'}")
    table = _step_seconds(bundle)
    values = {
        str(case): launch_values(table, str(case), str(base))
        for case, base in pairs["other"].items()
    }
    frameworks = [summary["backend"][case] for case in values]
    rows = []
    for (case, logs), variance in zip(
        values.items(), noise.pooled([[one] for one in values.values()], frameworks), strict=True
    ):
        sides = {BEFORE: pairs["other"][case], AFTER: case}
        rows.append(
            {"case": case}
            | {side: float(np.exp(launch_values(table, of).mean())) for side, of in sides.items()}
            | statistics.with_interval("ratio", statistics.interval_of_medians(logs, variance))
            | {"error": float(np.sqrt(variance.value / len(logs))), "freedom": variance.freedom}
            | {"values_before": len(logs), "values_after": len(logs)}
            | {"verdict": pairs["verdict"][case]}
        )
    return Comparison(
        rows=pd.DataFrame(rows),
        unit=LAUNCH,
        count=min(len(logs) for logs in values.values()),
        baseline=None,
        baseline_ratio=None,
        left_out=left_out,
        missing=frozenset(case for case in left_out if unmeasured(summary, case)),
        unknown_data="",
        other_machine="",
        differences=pd.DataFrame(),
        warnings=[],
        cautions=list(found.unfair),
    )


def _step_seconds(bundle: Bundle) -> pd.DataFrame:
    return statistics.on_main_speed(bundle.undisturbed_samples)[0]


def launch_values(table: pd.DataFrame, case: str, baseline: str | None = None) -> Array:
    """The median over rounds of log seconds a step, one for each launch.

    With a baseline, it is the median of the logarithm of the ratio to it.
    """
    logs = np.log(table[case])
    return statistics.launch_medians(logs if baseline is None else logs - np.log(table[baseline]))


def values_of(
    tables: Mapping[str, Sequence[pd.DataFrame]], case: str, baseline: str | None = None
) -> tuple[Array, Array]:
    """The logarithms of a case before and after: of each launch, or of each of several runs."""
    if all(len(side) == 1 for side in tables.values()):
        before, after = (launch_values(side[0], case, baseline) for side in tables.values())
        return before, after
    before, after = (
        np.array([launch_values(table, case, baseline).mean() for table in side])
        for side in tables.values()
    )
    return before, after


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


def error_of(before: Array, after: Array, variance: Variance) -> float:
    """The standard error of the difference of two means of values with this variance."""
    return float(np.sqrt(variance.value * (1 / len(before) + 1 / len(after))))


def rows_of(
    values: Mapping[str, tuple[Array, Array]], frameworks: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """One row for each case; the verdicts account for their number, as those within a run do.

    `values` are those of `values_of`. Those of several runs a side come with the `frameworks` of
    their cases, from which is learned how they vary.
    """
    pairs = list(values.values())
    variances = [Variance(np.nan, np.nan)] * len(pairs)
    if frameworks is None:
        ratios = [ratio(*pair) for pair in pairs]
    else:
        variances = noise.pooled(pairs, [frameworks[case] for case in values])
        ratios = [
            statistics.interval_of_mean(
                after.mean() - before.mean(), error_of(before, after, variance), variance.freedom
            )
            for (before, after), variance in zip(pairs, variances, strict=True)
        ]
    adjusted = statistics.adjust([estimate.p_value for estimate in ratios])
    rows = [
        {
            "case": case,
            "before": float(np.exp(before.mean())),
            "after": float(np.exp(after.mean())),
            **statistics.with_interval("ratio", estimate),
            "error": error_of(before, after, variance),
            "freedom": variance.freedom,
            "values_before": len(before),
            "values_after": len(after),
            "verdict": statistics.verdict(estimate, p_adjusted),
        }
        for (case, (before, after)), variance, estimate, p_adjusted in zip(
            values.items(), variances, ratios, adjusted, strict=True
        )
    ]
    return pd.DataFrame(rows)


def _helpful_floor(
    cases: list[str],
    tables: Mapping[str, list[pd.DataFrame]],
    frameworks: Mapping[str, str],
    sides: Sides,
) -> str | None:
    """The floor against which cases vary least from run to run; None where it does not help.

    It must be the same program in all runs, so that a change in its time is the machine's.
    """
    runs = [table for side in tables.values() for table in side]
    environments = [bundle.environment for side in sides.values() for bundle in side]
    floors = {
        one.case
        for one in environments[0].run.cases
        if one.mode == FLOOR
        and one.backend in BACKENDS
        and all(one.case in table for table in runs)
        and len({_program(environment, one.backend) for environment in environments}) == 1
    }
    kinds = [frameworks[case] for case in cases]

    def variance(floor: str | None) -> float:
        pairs = [values_of(tables, case, floor) for case in cases]
        return float(np.mean([one.value for one in noise.pooled(pairs, kinds)]))

    by_floor = {floor: variance(floor) for floor in sorted(floors)}
    if not by_floor:
        return None
    best = min(by_floor, key=lambda floor: by_floor[floor])
    # What has changed it after all might hide the same change in a case.
    changed = ratio(*values_of(tables, best))
    unchanged = changed.low <= 1 <= changed.high
    return best if unchanged and by_floor[best] <= HELPS * variance(None) else None


def _program(environment: Environment, backend: str) -> tuple[object, ...]:
    """What a floor's program consists of: its version, and those of its framework's packages."""
    packages = [environment.packages.get(name) for name in BACKENDS[backend].distributions]
    return environment.run.floor_version, *packages
