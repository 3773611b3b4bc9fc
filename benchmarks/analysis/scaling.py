"""How groups of ranks scale: against one process, against their own floor, and what they say.

*Strong* scaling divides the workload's batch among the ranks; *weak* scaling gives each rank a
whole one. Speed-up is in images a second, against the fastest case of one process in the same
framework, which has as many threads as each rank; efficiency is the same against the fastest of the
group's own tier, by ranks.

The floor of a group is that of the fastest library for a rank's share of a step, all ranks at once,
and the fastest sum of all gradients over the ranks. Where a case sums up gradients while others are
still computed, it is the larger of the two, else both.
"""

from collections.abc import Mapping
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


def floors_of_groups(samples: pd.DataFrame) -> pd.DataFrame:
    """The samples of floors of groups."""
    return samples[(samples["mode"] == FLOOR) & samples["ranks"].notna()]


def least_sums(floors: pd.DataFrame) -> pd.Series:
    """The least seconds of a sum over ranks, by floor and launch: load only makes it longer."""
    return floors.groupby(["case", "launch"])["reduce_seconds"].min()


def group_floors(samples: pd.DataFrame) -> pd.DataFrame:
    """The table `group_floors`: shares of a step, and sums over ranks, by each library."""
    floors = floors_of_groups(samples)
    if floors.empty:
        return frames.from_rows("group_floors", [])
    table, sums = statistics.step_seconds(floors), least_sums(floors).groupby("case").median()
    rows = [
        {
            "case": case,
            "backend": timed["backend"].iloc[0],
            "ranks": int(timed["ranks"].iloc[0]),
            "batch_size": int(timed["batch_size"].iloc[0]),
            **statistics.with_interval(
                "share_ms", statistics.interval_of_logs(np.log(table[case])), 1000
            ),
            "reduce_ms": sums[case] * 1000,
        }
        for case, timed in floors.groupby("case")
    ]
    return frames.from_rows("group_floors", rows).sort_values(
        ["ranks", "batch_size", "share_ms"], ignore_index=True
    )


def scaling(
    groups: Mapping[CaseRecord, str],
    samples: pd.DataFrame,
    floors: pd.DataFrame,
    parts: pd.DataFrame,
    alone: pd.DataFrame,
    batch_size: int,
) -> pd.DataFrame:
    """The table `scaling`: one row for each group.

    `groups` says why a group may not be compared, with nothing where it may be. `floors` is the
    table `group_floors`, `alone` are the rows of the summary that may be compared.
    """
    if not groups:
        return frames.from_rows("scaling", [])
    table, _ = statistics.on_main_speed(samples)
    sums = least_sums(floors_of_groups(samples))
    messages = parts[parts["part"] == COMMUNICATION_SECONDS].groupby("case")["value"].median()
    plain = without_variants(alone[(alone["ranks"] == 1) & (alone["adam"] == TEXTBOOK)])
    rows: list[dict[str, Any]] = []
    for case, left_out in groups.items():
        ranks, batch = int(case.ranks or 1), int(case.batch or batch_size)
        tier = tier_of(case.backend, case.mode)
        own = plain[plain["backend"] == case.backend].sort_values("step_ms")
        base, of_tier = (_first(bases["case"]) for bases in (own, own[own["tier"] == tier]))
        images = batch / batch_size
        alike = floors[(floors["ranks"] == ranks) & (floors["batch_size"] == batch)]
        by_own = alike[alike["backend"] == case.backend]
        step = _estimate(table, case.case)
        communication = messages.get(case.case, np.nan)
        floor, x_floor = _against_floor(table, case, alike, sums)
        own_floor, x_own_floor = _against_floor(table, case, by_own, sums)
        rows.append(
            {
                "case": case.case,
                "backend": case.backend,
                "tier": tier,
                "ranks": ranks,
                "scaling": WEAK if case.batch else STRONG,
                "batch_size": batch,
                "left_out": left_out,
                **statistics.with_interval("step_ms", step, 1000),
                "base": base,
                **statistics.with_interval("speed_up", _ratio(table, base, case.case, images)),
                "base_of_tier": of_tier,
                **statistics.with_interval(
                    "efficiency", _ratio(table, of_tier, case.case, images / ranks)
                ),
                "communication_ms": communication * 1000,
                "communication_share": communication / step.value,
                "floor_ms": floor * 1000,
                **statistics.with_interval("x_floor", x_floor),
                "own_floor_ms": own_floor * 1000,
                **statistics.with_interval("x_own_floor", x_own_floor),
            }
        )
    return frames.from_rows("scaling", rows)


def overlaps(case: CaseRecord) -> bool:
    """Whether a case sums up gradients over ranks while others are still computed."""
    mode = mode_of(case.backend, case.mode)
    return mode is not None and mode.overlaps


def _first(cases: pd.Series) -> str:
    """The first case; empty where there is none."""
    return str(cases.iloc[0]) if len(cases) else ""


def _estimate(table: pd.DataFrame, case: str) -> Estimate:
    """The seconds of a step; nothing of a case that was not timed."""
    if case not in table:
        return statistics.NOTHING
    return statistics.interval_of_logs(np.log(table[case]))


def _ratio(table: pd.DataFrame, case: str, other: str, factor: float = 1.0) -> Estimate:
    """How many times as long `case` takes as `other`, within rounds, times a known factor."""
    if not (case in table and other in table):
        return statistics.NOTHING
    found = statistics.ratio(table, case, other)
    return Estimate(value=found.value * factor, low=found.low * factor, high=found.high * factor)


def _against_floor(
    table: pd.DataFrame, case: CaseRecord, floors: pd.DataFrame, sums: pd.Series
) -> tuple[float, Estimate]:
    """The seconds of the least that a group's step can take by these floors, and times that."""
    timed = floors[floors["reduce_ms"].notna()]
    if timed.empty:
        return float("nan"), statistics.NOTHING
    share = table[floors.sort_values("share_ms")["case"].iloc[0]]
    by_launch = sums[timed.sort_values("reduce_ms")["case"].iloc[0]]
    summed = share.index.get_level_values("launch").map(by_launch).to_numpy(float)
    here = np.maximum(share, summed) if overlaps(case) else share + summed
    together = table.assign(**{HERE: here})
    return _estimate(together, HERE).value, _ratio(together, case.case, HERE)
