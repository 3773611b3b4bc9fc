"""When a slower start pays off: start-up and steps together, for any number of steps."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd

from benchmarks.analysis import statistics

STARTUP = ["import_seconds", "build_seconds", "first_call_seconds"]
COLUMNS = ["case", "overtakes", "first_steps", "steps", "steps_low", "steps_high"]


def find(samples: pd.DataFrame, launches: pd.DataFrame, cases: list[str]) -> pd.DataFrame:
    """After how many steps each case has overtaken each other one that starts faster.

    n = (S₁ − S₂) / (t₂ − t₁), with the start-up S (import, build and first call) and the median t
    of the step time, in each launch. `first_steps` is that of the first launch, where compilers
    found empty caches; `steps` with its interval is that of the later ones. A pair is there where
    all launches agree on who starts faster and who is faster then.
    """
    step = statistics.step_seconds(samples).groupby(level="launch").median()
    startup = launches.assign(startup=launches[STARTUP].sum(axis=1)).pivot_table(
        index="launch", columns="case", values="startup"
    )
    rows = []
    known = [case for case in cases if case in step and case in startup]
    for case, other in permutations(known, 2):
        steps = (startup[case] - startup[other]) / (step[other] - step[case])
        slower_start = (startup[case] > startup[other]).loc[steps.dropna().index]
        if steps.dropna().empty or not (slower_start.all() and (steps.dropna() > 0).all()):
            continue
        later = steps[steps.index > 0].dropna()
        found = statistics.interval_of_medians(np.log(later.to_numpy()))
        rows.append(
            {
                "case": case,
                "overtakes": other,
                "first_steps": steps.get(0, np.nan),
                "steps": found.value,
                "steps_low": found.low,
                "steps_high": found.high,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def totals(summary: pd.DataFrame, most_steps: int) -> pd.DataFrame:
    """Seconds from the start of a process to the end of n steps: one column a case, by n.

    With compilers' caches filled, where later launches tell of that; n from 1 to `most_steps`.
    """
    steps = np.unique(np.geomspace(1, most_steps, 60).astype(int))
    again = summary["first_call_again_seconds"].fillna(summary["first_call_seconds"])
    startup = summary["import_seconds"] + summary["build_seconds"] + again
    seconds = {
        case: start + steps * ms / 1000
        for case, start, ms in zip(summary["case"], startup, summary["step_ms"], strict=True)
    }
    return pd.DataFrame(seconds, index=pd.Index(steps, name="steps"))


def leaders(seconds: pd.DataFrame) -> list[tuple[int, str]]:
    """Who has the shortest total from which number of steps on, by `totals`."""
    first = seconds.idxmin(axis=1)
    changes = first[first != first.shift()].reset_index(name="case")
    return [(int(steps), case) for steps, case in changes.itertuples(index=False)]
