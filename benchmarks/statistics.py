"""From samples to estimates, intervals, verdicts and ranks: pure functions over DataFrames.

Every comparison is made within rounds: the logarithm of the ratio of two cases' step times in the
same round, so that what drifts over a run cancels. Launches are resampled first, then the rounds
within each (a two-level bootstrap), because processes differ from one another more than rounds do.

A bootstrap over few launches gives intervals that are too narrow: they are widened by
√(L/(L−1)) · t(L−1) / z, the factor by which Student's t interval of L values exceeds the normal one
with the bootstrap's own variance (Hesterberg, "What Teachers Should Know About the Bootstrap",
2015). With one launch the variation between processes is unknown, nothing can be
widened, and no verdict is given but `undecided`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import Array

CONFIDENCE = 0.95
RESAMPLES = 2000
TIE_MARGIN = 0.01
"""Two cases whose step times are within 1% of one another are equal for all practical purposes."""
MATCHED = ("precision_found", "device", "adam")
"""Only cases that have these in common are compared: the precision by effect, where the results
lie, and the form of Adam."""
VERDICT_COLUMNS = [
    *("case", "other", "ratio", "ratio_low", "ratio_high"),
    *("margin", "launches", "rounds", "verdict"),
]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate with its 95% interval."""

    value: float
    low: float
    high: float


def step_seconds(samples: pd.DataFrame) -> pd.DataFrame:
    """Seconds a step: one row a (launch, round), one column a case."""
    per_step = samples.assign(step_seconds=samples["seconds"] / samples["steps"])
    return per_step.pivot_table(
        index=["launch", "round"], columns="case", values="step_seconds", sort=True
    )


def _by_launch(values: pd.Series) -> list[Array]:
    present = values.dropna()
    if present.empty:
        return []
    return [group.to_numpy() for _, group in present.groupby(level="launch")]


def widening(launches: int) -> float:
    """How much wider than the bootstrap's an interval over so few launches must be."""
    if launches < 2:
        return 1.0
    upper = (1 + CONFIDENCE) / 2
    student = stats.t.ppf(upper, launches - 1) / stats.norm.ppf(upper)
    return float(np.sqrt(launches / (launches - 1)) * student)


def interval_of_logs(values: pd.Series) -> Estimate:
    """Exp of the mean over launches of the median over rounds of `values`, with its interval.

    `values` are logarithms, indexed by (launch, round); missing ones are left out.
    """
    groups = _by_launch(values)
    if not groups:
        return Estimate(value=np.nan, low=np.nan, high=np.nan)
    generator = np.random.default_rng(0)
    centre = float(np.mean([np.median(group) for group in groups]))
    drawn = np.stack(
        [
            np.median(generator.choice(group, (RESAMPLES, len(groups), len(group))), axis=2)
            for group in groups
        ]
    )
    chosen = generator.integers(len(groups), size=(RESAMPLES, len(groups)))
    slots = np.arange(len(groups))
    means = drawn[chosen, np.arange(RESAMPLES)[:, None], slots].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    factor = widening(len(groups))
    return Estimate(
        value=float(np.exp(centre)),
        low=float(np.exp(centre - factor * (centre - low))),
        high=float(np.exp(centre + factor * (high - centre))),
    )


def ratio(table: pd.DataFrame, case: str, other: str) -> Estimate:
    """How many times as long a step of `case` takes as one of `other`, within rounds."""
    return interval_of_logs(np.log(table[case]) - np.log(table[other]))


def resolution(samples: pd.DataFrame) -> float:
    """The largest difference within the interval between a case and its own repetition.

    NaN where the run has no control. 0.02 means that nothing finer than 2% can be told apart.
    """
    table = step_seconds(samples)
    for control in [name for name in table.columns if name.endswith("(control)")]:
        twin = control.removesuffix(" (control)")
        if twin in table.columns:
            paired = table[[control, twin]].dropna()
            if paired.index.get_level_values("launch").nunique() < 2:
                return float("nan")
            found = ratio(table, control, twin)
            return float(max(abs(np.log(found.low)), abs(np.log(found.high))))
    return float("nan")


def verdict(found: Estimate, margin: float, launches: int) -> str:
    """The verdict on a ratio; `margin` is the relative difference that counts as none.

    `tie`: the whole interval lies within the margin. `faster` or `slower`: the interval excludes
    equality and the estimate exceeds the margin. Everything else is `undecided`.
    """
    limit = np.log1p(margin)
    low, value, high = np.log([found.low, found.value, found.high])
    if launches < 2 or not np.isfinite([low, high]).all():
        return "undecided"
    if -limit <= low and high <= limit:
        return "tie"
    if high < 0 and value < -limit:
        return "faster"
    if low > 0 and value > limit:
        return "slower"
    return "undecided"


def verdicts(samples: pd.DataFrame, comparable: pd.DataFrame) -> pd.DataFrame:
    """Every pair of `comparable` cases (columns case and MATCHED) that may be compared."""
    table = step_seconds(samples)
    found_resolution = resolution(samples)
    margin = TIE_MARGIN if np.isnan(found_resolution) else max(TIE_MARGIN, found_resolution)
    rows = []
    for (_, first), (_, second) in combinations(comparable.iterrows(), 2):
        if any(first[column] != second[column] for column in MATCHED):
            continue
        case, other = first["case"], second["case"]
        if case not in table or other not in table:
            continue
        found = ratio(table, case, other)
        paired = table[[case, other]].dropna()
        launches = paired.index.get_level_values("launch").nunique()
        rows.append(
            {
                "case": case,
                "other": other,
                "ratio": found.value,
                "ratio_low": found.low,
                "ratio_high": found.high,
                "margin": margin,
                "launches": launches,
                "rounds": len(paired),
                "verdict": verdict(found, margin, launches),
            }
        )
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


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
        return Estimate(value=np.nan, low=np.nan, high=np.nan)
    mean = float(known.mean())
    if len(known) < 2:
        return Estimate(value=mean, low=np.nan, high=np.nan)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * float(stats.sem(known))
    return Estimate(value=mean, low=mean - reach, high=mean + reach)
