"""What differs from launch to launch: processes on another speed, and how widely ratios vary.

Few launches tell little of how a ratio varies between them. So the variance of a pair is shrunk
towards that of the run's other pairs of the same two frameworks, as Smyth (2004, "Linear models and
empirical Bayes methods", equation 4) shrinks variances of genes; frameworks differ in how their
processes vary, pairs of the same two much less. No more than PRIOR degrees of freedom come from
the others, however many they are, since cases of one framework do differ.

Some processes run on another speed than others of the same program, for as long as they live: where
their memory lies, decides. What is estimated is the ratio of the speeds that most have; the others
are counted and shown.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from backends.contract import Array

PRIOR = 4.0
"""The most degrees of freedom that a pair is lent."""
LENT = 0.5
"""Of the others' degrees of freedom this share counts: pairs have cases in common."""
ANOTHER_SPEED = 0.06
"""A process that is off by more than this, and by FAR deviations, runs on another speed."""
FAR = 4.0
MEDIANS = 2.0
"""A deviation is at most so many times the median distance from a case's median launch: 1.4 to 2.0
times for three cases in three to eight launches, by simulation. Other speeds hardly change it."""
FEWEST_CASES, FEWEST_LAUNCHES = 3, 3
"""With fewer cases of a framework, how its processes vary is not known well enough to say that one
is far off; with fewer launches, nothing is."""


class Variance(NamedTuple):
    """The variance of a pair's logarithms from launch to launch, and its degrees of freedom."""

    value: float
    freedom: float


def pooled(groups: Sequence[Sequence[Array]], kinds: Sequence[object]) -> list[Variance]:
    """The variance of each pair, shrunk towards that of the others of its kind.

    `groups` has the logarithms of each pair, one for each launch, or in groups that have a mean
    each; `kinds` what two frameworks it is of. NaN where neither the pair nor another of its kind
    has two values in a group.
    """
    freedom = np.array([sum(max(len(one) - 1, 0) for one in own) for own in groups], dtype=float)
    sums = np.array([sum(one.var() * len(one) for one in own if len(one)) for own in groups])
    found = []
    for index, kind in enumerate(kinds):
        others = [n for n, other in enumerate(kinds) if n != index and other == kind]
        of_others = freedom[others].sum()
        lent = min(PRIOR, LENT * of_others)
        total = freedom[index] + lent
        known = sums[index] + (lent * sums[others].sum() / of_others if of_others else 0.0)
        found.append(Variance(known / total if total else np.nan, total))
    return found


def other_speeds(table: pd.DataFrame, frameworks: Mapping[str, str]) -> pd.DataFrame:
    """The launches in which a case ran on another speed than in most: launch, case and `times`.

    `table` has seconds a step by (launch, round) and case, `frameworks` the backend of each case.
    `times` is its step time as a multiple of what the case usually takes, against the other cases.
    """
    columns = ["launch", "case", "times"]
    medians = table.apply(np.log).groupby(level="launch").median()
    if len(medians) < FEWEST_LAUNCHES or medians.shape[1] < FEWEST_CASES:
        return pd.DataFrame(columns=columns)
    # What all cases of a launch have in common is the machine's.
    own = medians.sub(medians.median(axis=1), axis=0)
    off = own - own.median()
    rows = []
    for _, cases in own.T.groupby(own.columns.map(frameworks)).groups.items():
        distances = off[list(cases)].abs().to_numpy()
        # A case's median launch is no distance away.
        distances = distances[distances > 0]
        if len(cases) < FEWEST_CASES or not len(distances):
            continue
        deviation = MEDIANS * float(np.median(distances))
        for case in cases:
            far = off[case][off[case].abs() > max(ANOTHER_SPEED, FAR * deviation)]
            rows += [(launch, case, float(np.exp(by))) for launch, by in far.items()]
    return pd.DataFrame(rows, columns=columns)


def on_main_speed(table: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The table without the launches of cases that `other_speeds` has found."""
    table = table.copy()
    for launch, case in others[["launch", "case"]].itertuples(index=False):
        table.loc[table.index.get_level_values("launch") == launch, case] = np.nan
    return table
