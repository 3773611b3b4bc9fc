"""How far each case is from what the machine allows, and where the rest of its step goes."""

import numpy as np
import pandas as pd

from backends.ladder import FLOOR
from benchmarks.analysis import statistics, tables
from benchmarks.schema import HOST_SECONDS, INPUT_SECONDS, PEAK_FLOPS
from benchmarks.schema.tables import COMPUTED

BOUNDS = {
    "arithmetic": "the products at the peak rate of a large one",
    "memory": "one pass over Adam's arrays, as the fastest floor makes it alone",
    "dispatch": "what Python and the framework take for a step of any size",
    "input": "fetching its batch",
    "rest": "what none of these explains: products below the peak rate, further passes over memory",
}
"""The parts of a step, of which the largest bounds it, and what each of them is."""

_SUMMARY = COMPUTED["summary"].names
CASE_COLUMNS = _SUMMARY[_SUMMARY.index("x_floor") : _SUMMARY.index("bound") + 1]


def compute_limits(
    flops: float, samples: pd.DataFrame, parts: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The floors of a run whose steps have `flops` operations, and its cases against them.

    `samples` are those of undisturbed rounds, `parts` is the table of that name. The result is the
    table `floors`, the fastest first, and the columns of the table `summary` from `x_floor` to
    `bound` with the case. The parts of BOUNDS sum up to the step; `waited_ms` overlaps with them.
    """
    table = statistics.step_seconds(samples)
    median = parts.groupby(["case", "part"])["value"].median()
    floors = _floors(samples, table, median)
    peak, memory = floors["peak_gflops"].max() * 1e9, floors["pass_ms"].min() / 1000
    waited = (samples["seconds"] - samples["dispatch_seconds"]) / samples["steps"]
    waited_ms = waited.groupby(samples["case"]).median() * 1000
    rows: list[dict[str, object]] = []
    nearest = str(floors["case"].iloc[0]) if len(floors) else ""
    timed = samples.loc[samples["mode"] != FLOOR, ["case", "backend"]].drop_duplicates()
    for case, backend in timed.itertuples(index=False):
        step = statistics.interval_of_logs(np.log(table[case])).value
        dispatch = median.get((case, HOST_SECONDS), float("nan"))
        fetching = median.get((case, INPUT_SECONDS), 0.0)
        arithmetic = flops / peak
        # Parts that overlap may sum up to more than the step: no time is less than none.
        rest = max(step - arithmetic - memory - dispatch - fetching, 0.0)
        values = (arithmetic, memory, dispatch, fetching, rest)
        by_part = pd.Series(dict(zip(BOUNDS, values, strict=True)))
        # Without a floor there is nothing to compare with.
        against_nearest, against_backends = (
            statistics.ratio(table, case, floor) if floor in table else statistics.NOTHING
            for floor in (nearest, f"{backend} {FLOOR}")
        )
        row = {
            "case": case,
            **statistics.with_interval("x_floor", against_nearest),
            "x_own_floor": against_backends.value,
            "gflops": flops / step / 1e9,
            "peak_share": flops / step / peak,
            **{f"{part}_ms": seconds * 1000 for part, seconds in by_part.items()},
            "waited_ms": waited_ms[case],
            "bound": by_part.idxmax() if by_part.notna().all() else "",
        }
        rows.append(row)
    return floors, pd.DataFrame(rows, columns=None if rows else ["case", *CASE_COLUMNS])


def _floors(samples: pd.DataFrame, table: pd.DataFrame, median: pd.Series) -> pd.DataFrame:
    """The table `floors`; `table` has seconds a step, `median` that of each case and part."""
    floors = samples.loc[samples["mode"] == FLOOR, ["case", "backend"]].drop_duplicates()
    by_case = samples.groupby("case")
    passes, peaks = by_case["pass_seconds"].median(), by_case["peak_flops"].median()
    rows = []
    for case, backend in floors.itertuples(index=False):
        step = statistics.interval_of_logs(np.log(table[case]))
        # Older bundles have the peak apart, and no pass.
        peak = median.get((case, PEAK_FLOPS), peaks[case])
        row = {"case": case, "backend": backend, **statistics.with_interval("step_ms", step, 1000)}
        row |= {"pass_ms": passes[case] * 1000, "peak_gflops": peak / 1e9}
        rows.append(row)
    return tables.from_rows("floors", rows).sort_values("step_ms", ignore_index=True)
