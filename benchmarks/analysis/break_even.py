"""When a slower start pays off: start-up and steps together, for any number of steps."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd

from benchmarks.analysis import statistics
from benchmarks.schema import frames

WIDEST = 1000.0
"""Intervals that span more than this factor are left out."""
STARTUP = ["import_seconds", "build_seconds", "first_call_seconds"]
"""The columns of launches.csv that sum up to the start-up."""


def find_overtakings(
    samples: pd.DataFrame, launches: pd.DataFrame, cases: list[str], *, apart: bool = False
) -> pd.DataFrame:
    """The table `break_even`: after how many steps a case overtakes one that starts faster.

    n = (S₁ − S₂) / (t₂ − t₁), with the start-up S (import, build and first call) and the median t
    of the step time, in each launch. `first_steps` is that of the first launch, where compilers
    found empty caches; `steps` with its interval is that of the later ones. A pair has a row if all
    launches agree on which case starts faster and which one steps faster.
    """
    step = statistics.step_seconds(samples).groupby(level="launch").median()
    startup = launches.assign(startup=launches[STARTUP].sum(axis=1)).pivot_table(
        index="launch", columns="case", values="startup"
    )
    rows = []
    measured = [case for case in cases if case in step and case in startup]
    for case, other in permutations(measured, 2):
        steps = (startup[case] - startup[other]) / (step[other] - step[case])
        steps = steps.dropna()
        slower_start = (startup[case] > startup[other]).loc[steps.index]
        if steps.empty or not (slower_start.all() and (steps > 0).all()):
            continue
        # Where each launch ran as a job of its own, `apart`, caches were empty in all of them.
        first = steps.median() if apart else steps.get(0, np.nan)
        later = steps[steps.index > 0] if not apart else steps.iloc[:0]
        estimate = statistics.interval_of_medians(np.log(later.to_numpy()))
        if not estimate.high <= WIDEST * estimate.low:
            # It says nothing, with numbers that nobody can read.
            estimate = replace(estimate, low=np.nan, high=np.nan)
        row = {"case": case, "overtakes": other, "first_steps": first}
        rows.append(row | statistics.with_interval("steps", estimate))
    return frames.from_rows("break_even", rows)


def totals(summary: pd.DataFrame, most_steps: int) -> pd.DataFrame:
    """The table `totals`: seconds from the start of a process to the end of n steps.

    n goes from 1 to `most_steps`. Compilers' caches are filled, if there is a later launch to tell
    how long the first call takes then. `summary` has the cases in the order of the rows.
    """
    steps = np.unique(np.geomspace(1, most_steps, 60).astype(int))
    again = summary["first_call_again_seconds"].fillna(summary["first_call_seconds"])
    startup = summary["import_seconds"] + summary["build_seconds"] + again
    rows = [
        {"case": case, "steps": count, "total_seconds": start + count * ms / 1000}
        for case, start, ms in zip(summary["case"], startup, summary["step_ms"], strict=True)
        for count in steps
    ]
    return frames.from_rows("totals", rows)


def leaders(totals: pd.DataFrame) -> list[tuple[int, str]]:
    """Which case has the shortest total time from which number of steps on."""
    fastest = totals.loc[totals.groupby("steps")["total_seconds"].idxmin()]
    first = fastest.set_index("steps")["case"]
    changes = first[first != first.shift()].reset_index()
    return [(int(steps), case) for steps, case in changes.itertuples(index=False)]
