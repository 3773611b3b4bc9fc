"""How groups of ranks scale: against one process, against their own floor, and what they say.

*Strong* scaling divides the workload's batch among the ranks; *weak* scaling gives each rank a
whole one. Speed-up is in images a second, against the fastest case of one process in the same
framework, which has as many threads as each rank; efficiency is speed-up by ranks.

The floor of a group is that of the fastest library for a rank's share of a step, all ranks at once,
and the fastest sum of all gradients over the ranks. Where a case sums up gradients while others are
still computed, it is the larger of the two, else both.
"""

from typing import Any

import numpy as np
import pandas as pd

from backends.contract import TEXTBOOK
from backends.ladder import FLOOR
from backends.registry import mode_of, tier_of
from benchmarks.analysis import statistics
from benchmarks.analysis.pairs import without_variants
from benchmarks.analysis.statistics import Estimate
from benchmarks.bundle.records import CaseRecord
from benchmarks.schema import COMMUNICATION_SECONDS, frames

STRONG, WEAK = "strong", "weak"
HERE = "a group's floor"
"""A column of step times, while a case is set against its floor."""


def group_floors(samples: pd.DataFrame) -> pd.DataFrame:
    """The table `group_floors`: shares of a step, and sums over ranks, by each library."""
    floors = samples[(samples["mode"] == FLOOR) & samples["ranks"].notna()]
    if floors.empty:
        return frames.from_rows("group_floors", [])
    table = statistics.step_seconds(floors)
    rows = []
    for case, timed in floors.groupby("case"):
        share = statistics.interval_of_logs(np.log(table[case]))
        rows.append(
            {
                "case": case,
                "backend": timed["backend"].iloc[0],
                "ranks": int(timed["ranks"].iloc[0]),
                "batch_size": int(timed["batch_size"].iloc[0]),
                **statistics.with_interval("share_ms", share, 1000),
                "reduce_ms": timed["reduce_seconds"].median() * 1000,
            }
        )
    return frames.from_rows("group_floors", rows).sort_values(
        ["ranks", "batch_size", "share_ms"], ignore_index=True
    )


def scaling(
    cases: tuple[CaseRecord, ...],
    samples: pd.DataFrame,
    floors: pd.DataFrame,
    parts: pd.DataFrame,
    alone: pd.DataFrame,
    certified: set[str],
    batch_size: int,
) -> pd.DataFrame:
    """The table `scaling`: one row for each measured group.

    `floors` is the table `group_floors`, `alone` are the rows of the summary that may be compared,
    `certified` the groups that are.
    """
    timed = [case for case in cases if case.ranks and not case.repetition]
    timed = [case for case in timed if case.case in set(samples["case"])]
    if not timed:
        return frames.from_rows("scaling", [])
    table = statistics.step_seconds(samples)
    messages = parts[parts["part"] == COMMUNICATION_SECONDS].groupby("case")["value"].median()
    plain = without_variants(alone[(alone["ranks"] == 1) & (alone["adam"] == TEXTBOOK)])
    rows: list[dict[str, Any]] = []
    for case in timed:
        ranks, batch = int(case.ranks or 1), int(case.batch or batch_size)
        bases = plain[plain["backend"] == case.backend].sort_values("step_ms")["case"]
        base = str(bases.iloc[0]) if len(bases) else ""
        ratio = statistics.ratio(table, base, case.case) if base else statistics.NOTHING
        step = statistics.interval_of_logs(np.log(table[case.case]))
        speed_up = times(ratio, batch / batch_size)
        communication = messages.get(case.case, np.nan)
        alike = floors[(floors["ranks"] == ranks) & (floors["batch_size"] == batch)]
        own = alike[alike["backend"] == case.backend]
        rows.append(
            {
                "case": case.case,
                "backend": case.backend,
                "tier": tier_of(case.backend, case.mode),
                "ranks": ranks,
                "scaling": WEAK if case.batch else STRONG,
                "batch_size": batch,
                "certified": case.case in certified,
                **statistics.with_interval("step_ms", step, 1000),
                "base": base,
                **statistics.with_interval("speed_up", speed_up),
                **statistics.with_interval("efficiency", times(speed_up, 1 / ranks)),
                "communication_ms": communication * 1000,
                "communication_share": communication / step.value,
                "floor_ms": _floor(case, alike),
                **statistics.with_interval("x_floor", _against(table, case, alike)),
                "own_floor_ms": _floor(case, own),
                **statistics.with_interval("x_own_floor", _against(table, case, own)),
            }
        )
    return frames.from_rows("scaling", rows)


def times(estimate: Estimate, factor: float) -> Estimate:
    """An estimate times a number that is known."""
    return Estimate(
        value=estimate.value * factor, low=estimate.low * factor, high=estimate.high * factor
    )


def overlaps(case: CaseRecord) -> bool:
    """Whether a case sums up gradients over ranks while others are still computed."""
    mode = mode_of(case.backend, case.mode)
    return mode is not None and mode.overlaps


def _floor(case: CaseRecord, floors: pd.DataFrame) -> float:
    """The milliseconds of the least that a group's step can take, by the fastest of these."""
    parts = (floors["share_ms"].min(), floors["reduce_ms"].min())
    return float(max(parts) if overlaps(case) else sum(parts))


def _against(table: pd.DataFrame, case: CaseRecord, floors: pd.DataFrame) -> Estimate:
    """Times that, within rounds."""
    floor = _floor(case, floors)
    if np.isnan(floor):
        return statistics.NOTHING
    fastest = floors.iloc[0]
    # What a sum over ranks adds is the same in all rounds.
    of_floor = table[fastest["case"]] * (floor / fastest["share_ms"])
    return statistics.ratio(table.assign(**{HERE: of_floor}), case.case, HERE)
