"""From samples to estimates, intervals, verdicts and ranks: pure functions over DataFrames.

Every comparison is made within rounds: the logarithm of the ratio of two cases' step times in the
same round, so that what drifts over a run cancels. A launch gives one number, the median of its
rounds: rounds of one launch are not independent of one another (drift, and each process has a speed
of its own), launches are. Estimates are means over launches, with Student's t interval: the spread
between launches holds both levels of variation, that of processes and that of the rounds within
them, however the rounds hang together. `python -m benchmarks.validation` shows how often it is
right.

The rule for a verdict is in `verdict`: a difference must be significant, with the number of pairs
accounted for, and not finer than what the run can tell apart; a tie is shown too, not supposed.
With one launch nothing is known of how processes differ: there is no interval, and no verdict but
`undecided`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import Array

CONFIDENCE = 0.95
TIE_MARGIN = 0.03
"""Cases whose step times are shown to lie within 3% of one another are equal for all practical
purposes: nobody should choose a framework for that."""
SMALLEST_DIFFERENCE = 0.01
"""No case is called faster than another by less, nor by less than the resolution of the run."""
MOST_LAUNCHES = 100
"""The most launches that are ever said to be needed."""
SIGNIFICANCE = 0.03
STOPPING_LEVEL = 0.005
"""The adjusted p-value at which a case is called faster or slower, and the one at which that may
end a run early. A run looks at its verdicts after each launch: these levels keep the share of equal
pairs that are ever called different under 5%, as `benchmarks.validation` shows."""
MATCHED = ("precision_found", "device", "adam")
"""Only cases that have these in common are compared: the precision by effect, where the results
lie, and the form of Adam."""
VERDICT_COLUMNS = [
    *("case", "other", "ratio", "ratio_low", "ratio_high", "p_value", "p_adjusted"),
    *("margin", "launches", "rounds", "verdict", "launches_needed"),
]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its 95% interval, which is NaN where there is none."""

    value: float
    low: float
    high: float
    p_value: float = np.nan
    """Of the hypothesis that the true value is one; two-sided, for this estimate alone."""


NOTHING = Estimate(value=np.nan, low=np.nan, high=np.nan)


def undisturbed(samples: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """The samples of the rounds that nothing from outside disturbed: see drift.py.

    A launch keeps all its rounds where most were disturbed: then that is how the machine is.
    """
    share = rounds.groupby("launch")["disturbed"].mean()
    noisy = rounds["launch"].map(share) > 0.5
    left_out = rounds.loc[rounds["disturbed"].astype(bool) & ~noisy, ["launch", "round"]]
    marked = samples.merge(left_out, how="left", on=["launch", "round"], indicator="found")
    return marked[marked["found"] == "left_only"].drop(columns="found")


def step_seconds(samples: pd.DataFrame) -> pd.DataFrame:
    """Seconds a step: one row a (launch, round), one column a case."""
    per_step = samples.assign(step_seconds=samples["seconds"] / samples["steps"])
    return per_step.pivot_table(
        index=["launch", "round"], columns="case", values="step_seconds", sort=True
    )


def launch_medians(values: pd.Series) -> Array:
    """The median over rounds of each launch; `values` are indexed by (launch, round)."""
    present = values.dropna()
    if present.empty:
        # A case that was never timed has no launches to group by.
        return np.array([])
    return present.groupby(level="launch").median().to_numpy()


def interval_of_logs(values: pd.Series) -> Estimate:
    """Exp of the mean over launches of the median over rounds of `values`, with its interval.

    `values` are logarithms, indexed by (launch, round); missing ones are left out.
    """
    return interval_of_medians(launch_medians(values))


def interval_of_medians(medians: Array) -> Estimate:
    """Exp of the mean of `medians`, which are logarithms, one a launch, with its interval."""
    found = mean_of_launches(pd.Series(medians))
    value, low, high = np.exp([found.value, found.low, found.high]).tolist()
    p_value = np.nan if len(medians) < 2 else float(stats.ttest_1samp(medians, 0.0).pvalue)
    return Estimate(value=value, low=low, high=high, p_value=p_value)


def ratio(table: pd.DataFrame, case: str, other: str) -> Estimate:
    """How many times as long a step of `case` takes as one of `other`, within rounds."""
    return interval_of_logs(np.log(table[case]) - np.log(table[other]))


def control_medians(table: pd.DataFrame) -> Array:
    """Of each launch, the logarithm of the ratio between a case and its own repetition.

    `table` is that of `step_seconds`; empty where the run has no control.
    """
    for control in [name for name in table.columns if name.endswith("(control)")]:
        twin = control.removesuffix(" (control)")
        if twin in table.columns:
            return launch_medians(np.log(table[control]) - np.log(table[twin]))
    return np.array([])


def resolution(samples: pd.DataFrame) -> float:
    """The largest difference within the interval between a case and its own repetition.

    NaN where the run has no control. 0.02 means that nothing finer than 2% can be told apart.
    """
    return resolution_of(control_medians(step_seconds(samples)))


def resolution_of(control: Array) -> float:
    """`resolution`, from `control_medians`."""
    found = interval_of_medians(control)
    return float(max(abs(np.log(found.low)), abs(np.log(found.high))))


def smallest_difference(found_resolution: float) -> float:
    """The smallest relative difference that a run of this resolution (NaN: unknown) ranks."""
    return (
        SMALLEST_DIFFERENCE
        if np.isnan(found_resolution)
        else max(SMALLEST_DIFFERENCE, found_resolution)
    )


def verdict(found: Estimate, margin: float, p_adjusted: float) -> str:
    """The verdict on a ratio; `margin` is the smallest relative difference that is ranked.

    `faster` or `slower`: the estimate lies beyond the margin, and its p-value, adjusted for the
    number of pairs, is at most SIGNIFICANCE. `tie`: neither, and the whole interval lies within
    TIE_MARGIN. Everything else is `undecided`.
    """
    low, value, high = np.log([found.low, found.value, found.high])
    if not np.isfinite([low, high]).all():
        return "undecided"
    if p_adjusted <= SIGNIFICANCE and abs(value) > np.log1p(margin):
        return "faster" if value < 0 else "slower"
    if max(abs(low), abs(high)) <= np.log1p(TIE_MARGIN):
        return "tie"
    return "undecided"


def launches_needed(medians: Array, control: Array) -> float:
    """How many launches would likely decide, if they are like those so far; NaN where too many.

    A difference beyond the margin is decided once it is significant; one within TIE_MARGIN, once
    the interval is too. More launches narrow the margin as well: it is the interval of the
    `control`, of which `control_medians` gives the launches.
    """
    if len(medians) < 2:
        return float("nan")
    value, deviation = abs(medians.mean()), medians.std(ddof=1)
    count = np.arange(len(medians) + 1, MOST_LAUNCHES + 1)

    def reach(level: float, deviation: float) -> Array:
        return stats.t.ppf(1 - level / 2, count - 1) * deviation / np.sqrt(count)

    margin = np.full(len(count), SMALLEST_DIFFERENCE)
    if len(control) > 1:
        resolution = abs(control.mean()) + reach(1 - CONFIDENCE, control.std(ddof=1))
        margin = np.maximum(margin, resolution)
    different = (value > np.log1p(margin)) & (reach(SIGNIFICANCE, deviation) < value)
    equal = value + reach(1 - CONFIDENCE, deviation) < np.log1p(TIE_MARGIN)
    enough = count[different | equal]
    return float(enough[0]) if len(enough) else float("nan")


def verdicts(samples: pd.DataFrame, comparable: pd.DataFrame) -> pd.DataFrame:
    """Every pair of `comparable` cases (columns case and MATCHED) that may be compared.

    The p-values of a run's pairs are adjusted together (Benjamini and Hochberg, 1995), so that of
    all the differences a run claims at most 5% are expected to be none.
    """
    table = step_seconds(samples)
    control = control_medians(table)
    margin = smallest_difference(resolution_of(control))
    rows: list[dict[str, object]] = []
    estimates: list[Estimate] = []
    for (_, first), (_, second) in combinations(comparable.iterrows(), 2):
        if any(first[column] != second[column] for column in MATCHED):
            continue
        case, other = first["case"], second["case"]
        if case not in table or other not in table:
            continue
        logs = (np.log(table[case]) - np.log(table[other])).dropna()
        medians = launch_medians(logs)
        found = interval_of_medians(medians)
        estimates.append(found)
        rows.append(
            {
                "case": case,
                "other": other,
                "ratio": found.value,
                "ratio_low": found.low,
                "ratio_high": found.high,
                "p_value": found.p_value,
                "margin": margin,
                "launches": len(medians),
                "rounds": len(logs),
                "launches_needed": launches_needed(medians, control),
            }
        )
    adjusted = adjust([found.p_value for found in estimates])
    for row, found, p_adjusted in zip(rows, estimates, adjusted, strict=True):
        row["p_adjusted"] = p_adjusted
        row["verdict"] = verdict(found, margin, p_adjusted)
        if row["verdict"] != "undecided":
            row["launches_needed"] = np.nan
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def settled(found: pd.DataFrame) -> bool:
    """Whether more launches would decide nothing that can be decided.

    Looking after every launch and ending at the first sight of a difference would find too many:
    to end early, differences must be significant at STOPPING_LEVEL.
    """
    different = found["verdict"].isin(["faster", "slower"])
    clear = different & (found["p_adjusted"] <= STOPPING_LEVEL)
    hopeless = (found["verdict"] == "undecided") & found["launches_needed"].isna()
    return bool((clear | (found["verdict"] == "tie") | hopeless).all())


def adjust(p_values: list[float]) -> list[float]:
    """The p-values of several pairs, adjusted for being several; those that are NaN stay so."""
    values = np.array(p_values, dtype=float)
    known = np.isfinite(values)
    if known.any():
        values[known] = stats.false_discovery_control(values[known])
    return values.tolist()


def ranks(comparable: pd.DataFrame, found: pd.DataFrame) -> dict[str, int]:
    """One more than the number of comparable cases found faster: those that tie share a rank."""
    return {
        case: 1
        + int(((found["case"] == case) & (found["verdict"] == "slower")).sum())
        + int(((found["other"] == case) & (found["verdict"] == "faster")).sum())
        for case in comparable["case"]
    }


def mean_of_launches(values: pd.Series) -> Estimate:
    """Mean over launches with Student's t interval; the interval is empty for fewer than two."""
    known = values.dropna()
    if known.empty:
        return NOTHING
    mean = float(known.mean())
    if len(known) < 2:
        return Estimate(value=mean, low=np.nan, high=np.nan)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * float(stats.sem(known))
    return Estimate(value=mean, low=mean - reach, high=mean + reach)
