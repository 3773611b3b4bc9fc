"""How far each case is from what the machine allows, and where the rest of its step goes.

The *bound* is the sum of a step's pieces, each alone and by the fastest library at hand; the
*attained floor* the fastest whole sequence of just these pieces, timed as a case in the rounds.
"""

import numpy as np
import pandas as pd

from backends.ladder import FLOOR
from benchmarks.analysis import statistics
from benchmarks.schema import HOST_SECONDS, INPUT_SECONDS, PEAK_FLOPS, frames
from benchmarks.schema.tables import COMPUTED

BOUNDS = {
    "arithmetic": "the products at the peak rate of a large one",
    "memory": "Adam's pass over all weights, as the fastest floor makes it alone",
    "dispatch": "what Python and the framework take for a step of any size",
    "input": "fetching its batch",
    "rest": "what none of these explains: products below the peak rate, further passes over memory",
}
"""The parts of a step, of which the largest bounds it, and what each of them is."""

_SUMMARY = COMPUTED["summary"].names
LEAST_SHARE = 0.97
"""A case whose whole interval lies below this share of the attained floor is held back: it can
hardly do all that it must, or the floor is not what it should be. Between this and 1, pieces that
the floor makes one by one are fused."""
LATE_SHARE = 0.03
"""A case is held back, too, whose state takes longer to read after a block than before it by more
than this share of the block, in the median: it has left work for then."""
CASE_COLUMNS = _SUMMARY[_SUMMARY.index("x_floor") : _SUMMARY.index("bound") + 1]


def compute_limits(
    flops: float, samples: pd.DataFrame, parts: pd.DataFrame, bounds: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The floors of a run whose steps have `flops` operations, and its cases against them.

    `samples` are those of undisturbed rounds, `parts` and `bounds` the tables of those names. The
    result is the table `floors`, the fastest first, and the columns of the table `summary` from
    `x_floor` to `bound` with the case. The parts of BOUNDS sum up to the step; `waited_ms` overlaps
    with them.
    """
    table = statistics.step_seconds(samples)
    median = parts.groupby(["case", "part"])["value"].median()
    floors = _floors(samples, table, median, bounds)
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
        against_nearest, against_own = (
            statistics.ratio(table, case, floor) if floor in table else statistics.NOTHING
            for floor in (nearest, f"{backend} {FLOOR}")
        )
        row = {
            "case": case,
            **statistics.with_interval("x_floor", against_nearest),
            **statistics.with_interval("x_own_floor", against_own),
            "gflops": flops / step / 1e9,
            "peak_share": flops / step / peak,
            **{f"{part}_ms": seconds * 1000 for part, seconds in by_part.items()},
            "waited_ms": waited_ms[case],
            "bound": by_part.idxmax() if by_part.notna().all() else "",
        }
        rows.append(row)
    return floors, pd.DataFrame(rows, columns=None if rows else ["case", *CASE_COLUMNS])


def compute_bounds(pieces: pd.DataFrame) -> pd.DataFrame:
    """The table `bounds`, from that of the `pieces`; in the order of a step."""
    order = list(dict.fromkeys(pieces["piece"]))
    # Parts of a run on several nodes have a time each.
    times = pieces.groupby(["piece", "backend", "library"], sort=False)["seconds"].median()
    least = times.reset_index().sort_values("seconds").drop_duplicates(["piece", "backend"])
    overall = least.groupby("piece")["seconds"].min()
    rows = [
        {
            "piece": piece,
            "backend": backend,
            "library": library,
            "piece_ms": seconds * 1000,
            "fastest": seconds == overall[piece],
        }
        for piece, backend, library, seconds in least[
            ["piece", "backend", "library", "seconds"]
        ].itertuples(index=False)
    ]
    return frames.from_rows("bounds", rows).sort_values(
        "piece", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def bound_ms(bounds: pd.DataFrame) -> float:
    """The bound: the least time of each piece, whatever the library, in sum; NaN without any."""
    return float(bounds.groupby("piece")["piece_ms"].min().sum(min_count=1))


def held_back(limited: pd.DataFrame, floor_version: int | None) -> dict[str, str]:
    """Why each case is held back that lies below the attained floor by more than fusing explains.

    `limited` are the columns of CASE_COLUMNS. Floors of the first version left out the gather and
    most of Adam, so that nothing follows from them.
    """
    if floor_version is None:
        return {}
    below = limited[limited["x_floor_high"].astype(float) < LEAST_SHARE]
    columns = ["case", "x_floor", "x_floor_low", "x_floor_high"]
    return {
        str(case): f"held back until it is explained: it takes {value:.3f} [{low:.3f}, {high:.3f}] "
        "times as long as the attained floor, which does only a part of its work"
        for case, value, low, high in below[columns].itertuples(index=False)
    }


def late(samples: pd.DataFrame) -> dict[str, str]:
    """Why each case is held back that has not done all of its work when its blocks end."""
    share = (samples["settling_seconds"] / samples["seconds"]).groupby(samples["case"]).median()
    return {
        str(case): f"held back until it is explained: reading its state took {value:.0%} of a "
        "block longer after the block than before it, as if work had been left for then"
        for case, value in share[share > LATE_SHARE].items()
    }


def _floors(
    samples: pd.DataFrame, table: pd.DataFrame, median: pd.Series, bounds: pd.DataFrame
) -> pd.DataFrame:
    """The table `floors`; `table` has seconds a step, `median` that of each case and part."""
    bound = bounds.groupby("backend")["piece_ms"].sum()
    floors = samples.loc[samples["mode"] == FLOOR, ["case", "backend"]].drop_duplicates()
    by_case = samples.groupby("case")
    passes, peaks = by_case["pass_seconds"].median(), by_case["peak_flops"].median()
    rows = []
    for case, backend in floors.itertuples(index=False):
        step = statistics.interval_of_logs(np.log(table[case]))
        # Older bundles have the peak apart, and no pass.
        peak = median.get((case, PEAK_FLOPS), peaks[case])
        row = {"case": case, "backend": backend, **statistics.with_interval("step_ms", step, 1000)}
        row["bound_ms"] = bound.get(backend, float("nan"))
        row["launches_ms"] = median.get((case, HOST_SECONDS), float("nan")) * 1000
        row |= {"pass_ms": passes[case] * 1000, "peak_gflops": peak / 1e9}
        rows.append(row)
    return frames.from_rows("floors", rows).sort_values("step_ms", ignore_index=True)
