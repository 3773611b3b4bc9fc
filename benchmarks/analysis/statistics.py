"""From samples to estimates, intervals, verdicts and ranks: pure functions over DataFrames.

Every comparison is made within rounds: the logarithm of the ratio of two cases' step times in the
same round, so that a gradual change of the machine's speed cancels. A launch gives one number, the
median of its rounds: rounds of one launch depend on one another (the machine's speed changes, and
each process has a speed of its own), launches do not. Estimates are means over launches, with
Student's t interval: the spread between launches covers both the variation of processes and that of
rounds within them, however the rounds depend on one another. How a pair varies from launch to
launch is learned from the run's other pairs as well: see noise.py. `python -m
benchmarks.validation` measures how often the intervals and verdicts are right.

The rule for a verdict is in `verdict`: a difference must be significant, with the number of pairs
accounted for, and large enough to matter; a tie too must be shown. One launch
tells nothing of how processes differ: there is no interval, and no verdict but `undecided`.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import Array
from benchmarks.analysis import noise
from benchmarks.analysis.noise import Variance
from benchmarks.schema import TIER, control_name, frames

CONFIDENCE = 0.95
TIE_MARGIN = 0.03
"""Cases whose step times are shown to lie within 3% of one another are equal for all practical
purposes: such a difference is no reason to choose a framework."""
SMALLEST_DIFFERENCE = 0.01
"""Smaller differences are not ranked."""
MOST_LAUNCHES = 100
"""Where more launches than this would be needed, no number is given."""
SIGNIFICANCE = 0.03
STOPPING_LEVEL = 0.005
"""A case is called faster or slower if its adjusted p-value is at most SIGNIFICANCE; only one of at
most STOPPING_LEVEL may end a run early. A run looks at its verdicts after each launch: these levels
keep the share of equal pairs that are ever called different under 5%, as `benchmarks.validation`
shows."""
MATCHED = ("precision_found", "device", "adam", "ranks")
"""Only cases that have these in common are compared: the precision of products by their effect, the
device, and the form of Adam. `pairs.py` says which of them are."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its 95% interval, which is NaN where there is none."""

    value: float
    low: float
    high: float
    p_value: float = np.nan
    """Two-sided p-value of the hypothesis that the true value is one, not yet adjusted."""


NOTHING = Estimate(value=np.nan, low=np.nan, high=np.nan)
"""The estimate from no data."""


def ends(name: str) -> list[str]:
    """The columns of an estimate: its value, and the low and high end of its interval."""
    return [name, f"{name}_low", f"{name}_high"]


def with_interval(name: str, estimate: Estimate, scale: float = 1.0) -> dict[str, float]:
    """An estimate as columns of a table: `name`, `name`_low and `name`_high, times `scale`."""
    values = (estimate.value, estimate.low, estimate.high)
    return {column: value * scale for column, value in zip(ends(name), values, strict=True)}


def step_seconds(samples: pd.DataFrame) -> pd.DataFrame:
    """Seconds a step: one row for each (launch, round), one column for each case.

    Samples of several nodes have rows for each (node, launch, round).
    """
    per_step = samples.assign(step_seconds=samples["seconds"] / samples["steps"])
    nodes = ["node"] if "node" in samples else []
    return per_step.pivot_table(
        index=[*nodes, "launch", "round"], columns="case", values="step_seconds", sort=True
    )


def on_main_speed(samples: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`step_seconds` without launches of cases on another speed, and these: see noise.py."""
    table = step_seconds(samples)
    others = noise.other_speeds(table, backends_of(samples))
    return noise.on_main_speed(table, others), others


def launch_medians(values: pd.Series) -> Array:
    """The median over rounds, one for each launch; `values` are indexed by (launch, round).

    Of several nodes it is the mean of a node's launches, one for each node: launches of one node
    have that in common, and what is claimed is claimed of other nodes as well.
    """
    present = values.dropna()
    if present.empty:
        # A case that was never timed has no launches to group by.
        return np.array([])
    if "node" in present.index.names:
        medians = present.groupby(level=["node", "launch"]).median()
        return medians.groupby(level="node").mean().to_numpy()
    return present.groupby(level="launch").median().to_numpy()


def tested(test: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """The result of a test of scipy's; values that are all equal are no reason for a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        return test(*values, **options)


def interval_of_logs(values: pd.Series) -> Estimate:
    """Exp of the mean over launches of the median over rounds of `values`, with its interval.

    `values` are logarithms, indexed by (launch, round); missing ones are left out.
    """
    return interval_of_medians(launch_medians(values))


def interval_of_medians(
    medians: Array, variance: Variance | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """Exp of the mean of `medians`, one logarithm for each launch, with its interval.

    Without a `variance` it is their own, whose degrees of freedom are one less than the launches.
    """
    count = len(medians)
    own = float(np.var(medians, ddof=1)) if count > 1 else np.nan
    spread, freedom = variance or (own, count - 1.0)
    mean = float(np.mean(medians)) if count else np.nan
    error = float(np.sqrt(spread / count)) if count else np.nan
    return interval_of_mean(mean, error, freedom, confidence)


def interval_of_mean(
    mean: float, error: float, freedom: float, confidence: float = CONFIDENCE
) -> Estimate:
    """Exp of a mean of logarithms, with Student's interval; `error` is its standard error."""
    if not (freedom > 0 and np.isfinite(error) and np.isfinite(mean)):
        return Estimate(value=float(np.exp(mean)), low=np.nan, high=np.nan)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        # Equal values have no spread: a mean of zero is then no sign of a difference.
        away = np.divide(abs(mean), error) if error or mean else 0.0
    with np.errstate(over="ignore"):  # two launches that differ widely tell nothing
        value, low, high = np.exp([mean, mean - reach, mean + reach]).tolist()
    p_value = float(2 * stats.t.sf(away, freedom))
    return Estimate(value=value, low=low, high=high, p_value=p_value)


def ratio(table: pd.DataFrame, case: str, other: str) -> Estimate:
    """How many times as long a step of `case` takes as one of `other`, within rounds."""
    return interval_of_logs(np.log(table[case]) - np.log(table[other]))


def control_medians(samples: pd.DataFrame, table: pd.DataFrame) -> Array:
    """Logarithm of the ratio between a control and the case that it repeats; one for each launch.

    `table` is `step_seconds` of `samples`. Without a control the array is empty.
    """
    cases = samples[["case", "repetition"]].drop_duplicates().sort_values("repetition")
    repeated = set(cases.loc[cases["repetition"] == 0, "case"])
    for control, repetition in cases[cases["repetition"] > 0].itertuples(index=False):
        for case in repeated:
            if control_name(case, repetition) == control:
                return launch_medians(np.log(table[control]) - np.log(table[case]))
    return np.array([])


def resolution(pairs: pd.DataFrame) -> float:
    """How far the interval of a run's typical pair reaches: the median over `pairs`, by `verdicts`.

    0.02 means that a typical difference under 2% is not told apart. NaN without any interval.
    """
    return float(pairs["reach"].median())


def verdict(estimate: Estimate, p_adjusted: float) -> str:
    """The verdict on a ratio.

    `faster` or `slower`: it is off by more than SMALLEST_DIFFERENCE, and its p-value, adjusted for
    the number of pairs, is at most SIGNIFICANCE. `tie`: neither, and the whole interval lies within
    TIE_MARGIN. Everything else is `undecided`.
    """
    with np.errstate(divide="ignore"):
        low, value, high = np.log([estimate.low, estimate.value, estimate.high])
    if not np.isfinite([low, high]).all():
        return "undecided"
    if p_adjusted <= SIGNIFICANCE and abs(value) > np.log1p(SMALLEST_DIFFERENCE):
        return "faster" if value < 0 else "slower"
    if max(abs(low), abs(high)) <= np.log1p(TIE_MARGIN):
        return "tie"
    return "undecided"


def launches_needed(medians: Array, variance: Variance) -> float:
    """How many launches would likely decide a pair, if later ones are like those so far.

    `medians` are the pair's logarithms of ratios, one for each launch. A difference beyond the
    margin is decided once it is significant; one within TIE_MARGIN, once the whole interval lies
    within it. NaN where more than MOST_LAUNCHES would be needed.
    """
    if len(medians) < 2 or not np.isfinite(variance.value):
        return float("nan")
    value, deviation = abs(medians.mean()), np.sqrt(variance.value)
    count = np.arange(len(medians) + 1, MOST_LAUNCHES + 1)
    freedom = variance.freedom + count - len(medians)

    def reach(level: float) -> Array:
        return stats.t.ppf(1 - level / 2, freedom) * deviation / np.sqrt(count)

    different = (value > np.log1p(SMALLEST_DIFFERENCE)) & (reach(SIGNIFICANCE) < value)
    equal = value + reach(1 - CONFIDENCE) < np.log1p(TIE_MARGIN)
    enough = count[different | equal]
    return float(enough[0]) if len(enough) else float("nan")


def verdicts(samples: pd.DataFrame, judged: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    """The table `verdicts`, of the pairs that are judged: case, other and relation of each.

    The p-values of a run's pairs are adjusted together (Benjamini and Hochberg, 1995), which
    bounds the expected share of false ones among the differences that a run claims. The intervals
    are adjusted for what is claimed (Benjamini and Yekutieli, 2005, "False discovery rate–adjusted
    multiple confidence intervals"): where R of m pairs are significant, all have a level of
    1 − R·SIGNIFICANCE/m, so that those of just these R do not hold 1. Pairs with a case that was
    not timed are left out.
    """
    pairs, logs, medians, variances = _launches_of(samples, judged)
    estimates = [interval_of_medians(*one) for one in zip(medians, variances, strict=True)]
    adjusted = adjust([estimate.p_value for estimate in estimates])
    claimed = max(sum(p <= SIGNIFICANCE for p in adjusted), 1)
    confidence = 1 - claimed * SIGNIFICANCE / max(len(pairs), 1)
    rows = []
    for pair, ratios, values, variance, estimate, p_adjusted in zip(
        pairs, logs, medians, variances, estimates, adjusted, strict=True
    ):
        together = interval_of_medians(values, variance, confidence)
        outcome = verdict(together, p_adjusted)
        launches = ratios.index.get_level_values("launch").nunique()
        needed = launches_needed(values, variance) if outcome == "undecided" else np.nan
        # Of several nodes, each value is one of several launches.
        needed *= max(round(launches / max(len(values), 1)), 1)
        row: dict[str, Any] = dict(zip(("case", "other", "relation"), pair, strict=True))
        row |= with_interval("ratio", together) | {"confidence": confidence}
        row |= {"reach": estimate.high / estimate.value - 1}
        row |= {"p_value": estimate.p_value, "p_adjusted": p_adjusted}
        row |= {"launches": launches, "rounds": len(ratios)}
        rows.append(row | {"verdict": outcome, "launches_needed": needed})
    return frames.from_rows("verdicts", rows)


def _launches_of(
    samples: pd.DataFrame, named: Iterable[tuple[str, str, str]]
) -> tuple[list[tuple[str, str, str]], list[pd.Series], list[Array], list[Variance]]:
    """The pairs whose cases were timed; their ratios' logarithms, launches' medians, variances."""
    table, _ = on_main_speed(samples)
    frameworks = backends_of(samples)
    pairs = [pair for pair in named if {*pair[:2]} <= {*table.columns}]
    logs = [(np.log(table[case]) - np.log(table[other])).dropna() for case, other, _ in pairs]
    medians = [launch_medians(ratios) for ratios in logs]
    kinds = [frozenset(map(frameworks.get, pair[:2])) for pair in pairs]
    return pairs, logs, medians, noise.pooled([[one] for one in medians], kinds)


def ratios(samples: pd.DataFrame, pairs: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    """The table `ratios`, of pairs that are not judged: how many times as long a step takes.

    Each interval is that of its pair alone; variances are learned from all of them.
    """
    named, _, medians, variances = _launches_of(samples, pairs)
    rows = [
        {"case": case, "other": other}
        | with_interval("ratio", interval_of_medians(values, variance))
        for (case, other, _), values, variance in zip(named, medians, variances, strict=True)
    ]
    return frames.from_rows("ratios", rows)


def backends_of(samples: pd.DataFrame) -> dict[str, str]:
    """The framework of each case."""
    return dict(samples[["case", "backend"]].drop_duplicates().itertuples(index=False))


def both_ways(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Every verdict twice: on a case against another, and on that against the case."""
    turned = verdicts.rename(columns={"case": "other", "other": "case"})
    turned[ends("ratio")] = 1 / verdicts[["ratio", "ratio_high", "ratio_low"]].to_numpy()
    turned["verdict"] = turned["verdict"].replace({"faster": "slower", "slower": "faster"})
    return pd.concat([verdicts, turned[verdicts.columns]], ignore_index=True)


def settled(pairs: pd.DataFrame) -> bool:
    """Whether more launches would decide nothing that can be decided; `pairs` by `verdicts`.

    Looking after every launch and ending at the first sign of a difference would claim too many:
    to end early, differences must be significant at STOPPING_LEVEL.
    """
    different = pairs["verdict"].isin(["faster", "slower"])
    clear = different & (pairs["p_adjusted"] <= STOPPING_LEVEL)
    hopeless = (pairs["verdict"] == "undecided") & pairs["launches_needed"].isna()
    return bool((clear | (pairs["verdict"] == "tie") | hopeless).all())


def adjust(p_values: list[float]) -> list[float]:
    """The p-values of a family of tests, adjusted for their number; those that are NaN stay NaN."""
    values = np.array(p_values, dtype=float)
    finite = np.isfinite(values)
    if finite.any():
        values[finite] = stats.false_discovery_control(values[finite])
    return values.tolist()


def ranks(cases: Iterable[str], pairs: pd.DataFrame) -> dict[str, int]:
    """One more than the number of cases of the tier shown to be faster: ties share a rank.

    `pairs` by `verdicts`, of which those within a tier count.
    """
    within = pairs[pairs["relation"] == TIER]
    slower = within["case"].where(within["verdict"] == "slower")
    slower = slower.fillna(within["other"].where(within["verdict"] == "faster"))
    return {case: 1 + int((slower == case).sum()) for case in cases}
