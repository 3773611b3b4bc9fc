"""Means over launches or seeds, with Student's intervals; of shares on the scale of log odds."""

import numpy as np
import pandas as pd
from scipy import special, stats

from benchmarks.analysis import statistics

LEAST_SHARE = 1e-6
"""Shares nearer to 0 or 1 count as this near: their log odds would be infinite."""


def mean_of_launches(values: pd.Series) -> statistics.Estimate:
    """Mean over launches with Student's t interval, whose ends are NaN for fewer than two."""
    present = values.dropna()
    if present.empty:
        return statistics.NOTHING
    mean = float(present.mean())
    if len(present) < 2 or not np.isfinite(mean):
        # The mean of a loss that has diverged may be infinite.
        return statistics.Estimate(value=mean, low=np.nan, high=np.nan)
    reach = stats.t.ppf((1 + statistics.CONFIDENCE) / 2, len(present) - 1) * float(
        stats.sem(present)
    )
    return statistics.Estimate(value=mean, low=mean - reach, high=mean + reach)


def share_with_interval(name: str, values: pd.Series) -> dict[str, float]:
    """The mean over launches or seeds of shares, with an interval that holds nothing but shares.

    It is Student's on the scale of log odds.
    """
    inside = values.astype(float).clip(LEAST_SHARE, 1 - LEAST_SHARE)
    odds = mean_of_launches(pd.Series(special.logit(inside.to_numpy())))
    low, high = special.expit([odds.low, odds.high]).tolist()
    estimate = statistics.Estimate(value=float(values.mean()), low=low, high=high)
    return statistics.with_interval(name, estimate)


def mean_with_interval(name: str, values: pd.Series) -> dict[str, float]:
    """The mean over launches as columns of a table; see `with_interval`."""
    return statistics.with_interval(name, mean_of_launches(values))
