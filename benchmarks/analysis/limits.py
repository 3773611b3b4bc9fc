"""How far each case is from what the machine allows, and where the rest of its step goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backends.registry import FLOOR
from benchmarks.analysis import statistics
from benchmarks.schema import HOST_SECONDS, INPUT_SECONDS, PEAK_FLOPS

BOUNDS = {
    "arithmetic": "the products at the peak rate of a large one",
    "memory": "what its products and its passes over memory take beyond that",
    "dispatch": "what Python and the framework take for a step of any size",
    "input": "fetching its batch",
}
"""What can bound a step, and what is counted for it."""

CASE_COLUMNS = [
    *("x_floor", "x_floor_low", "x_floor_high", "x_own_floor", "gflops", "peak_share"),
    *("arithmetic_ms", "memory_ms", "dispatch_ms", "input_ms", "waited_ms", "bound"),
]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The floors of a run, and its cases against them."""

    floors: pd.DataFrame
    """A row a floor, the fastest first: case, backend, step_ms with its interval, peak_gflops."""
    cases: pd.DataFrame
    """CASE_COLUMNS by case. `x_floor` is the ratio to the fastest floor within rounds and
    `x_own_floor` that to the backend's own; `peak_share` is of the largest peak_gflops.
    `waited_ms` is what was left of a step when the framework had returned; the other parts are
    those of BOUNDS, and sum up to the step."""


def find(flops: float, samples: pd.DataFrame, parts: pd.DataFrame) -> Limits:
    """The limits of a run whose steps have `flops` operations.

    `samples` are its undisturbed ones, `parts` its parts.csv.
    """
    table = statistics.step_seconds(samples)
    median = parts.groupby(["case", "part"])["value"].median()
    floors = _floors(samples, table, median)
    peak = floors["peak_gflops"].max() * 1e9
    waited = (samples["seconds"] - samples["dispatch_seconds"]) / samples["steps"]
    waited_ms = waited.groupby(samples["case"]).median() * 1000
    rows = {}
    nearest = floors["case"].iloc[0] if len(floors) else None
    timed = samples.loc[samples["mode"] != FLOOR, ["case", "backend"]].drop_duplicates()
    for case, backend in timed.itertuples(index=False):
        step = statistics.interval_of_logs(np.log(table[case])).value
        dispatch = median.get((case, HOST_SECONDS), float("nan"))
        fetching = median.get((case, INPUT_SECONDS), 0.0)
        arithmetic = flops / peak
        # What is overlapped is in none of the others: nothing takes less than no time.
        memory = max(step - arithmetic - dispatch - fetching, 0.0)
        found = {
            "arithmetic": arithmetic, "memory": memory, "dispatch": dispatch, "input": fetching
        }  # fmt: skip
        known = pd.Series(found).dropna()
        own = f"{backend} {FLOOR}"
        against = statistics.ratio(table, case, nearest) if nearest else statistics.NOTHING
        rows[case] = {
            "x_floor": against.value,
            "x_floor_low": against.low,
            "x_floor_high": against.high,
            "x_own_floor": statistics.ratio(table, case, own).value
            if own in table
            else float("nan"),
            "gflops": flops / step / 1e9,
            "peak_share": flops / step / peak,
            **{f"{part}_ms": seconds * 1000 for part, seconds in found.items()},
            "waited_ms": waited_ms[case],
            "bound": known.idxmax() if len(known) == len(found) else "",
        }
    cases = pd.DataFrame.from_dict(rows, orient="index", columns=CASE_COLUMNS)
    return Limits(floors=floors, cases=cases.rename_axis("case").reset_index())


def _floors(samples: pd.DataFrame, table: pd.DataFrame, median: pd.Series) -> pd.DataFrame:
    """See Limits."""
    rows = []
    own = samples.loc[samples["mode"] == FLOOR, ["case", "backend"]].drop_duplicates()
    for case, backend in own.itertuples(index=False):
        found = statistics.interval_of_logs(np.log(table[case]))
        rows.append(
            {
                "case": case,
                "backend": backend,
                "step_ms": found.value * 1000,
                "step_ms_low": found.low * 1000,
                "step_ms_high": found.high * 1000,
                "peak_gflops": median.get((case, PEAK_FLOPS), float("nan")) / 1e9,
            }
        )
    columns = ["case", "backend", "step_ms", "step_ms_low", "step_ms_high", "peak_gflops"]
    return pd.DataFrame(rows, columns=columns).sort_values("step_ms", ignore_index=True)
