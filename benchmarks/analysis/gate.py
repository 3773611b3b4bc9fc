"""The gate of a comparison: which cases are slower than allowed, and what it cannot judge.

It fails closed: every case that the earlier run lists must be judged, by two launches or more of
both runs on one machine and one workload. What stands against that is a reason not to judge, and
never a silent pass.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.analysis.comparison import Comparison, cases_of
from benchmarks.analysis.spoiled import spoiled_by
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.reader import Bundle

TOO_WIDE = 2.0
"""A case whose interval reaches beyond a doubled step time is not judged: its launches would have
let so gross a slowdown pass, so that passing says nothing."""
AGAIN = "measure again, with --launches 5 or more"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a gate says of a comparison."""

    limit: float
    slower: list[str]
    """The cases that are shown to be slower by more than the limit."""
    unjudged: list[str]
    """Why it cannot judge all that it should, a sentence each, with what to do; best empty."""
    allowed: list[str]
    """Cases that are missing and that were allowed to be."""
    worst_case: str
    """The case whose slowdown is the hardest to show, of those that have an interval."""
    smallest_shown: float
    """The smallest slowdown of that case that these launches would show; NaN without any."""


def judge(
    compared: Comparison, before: Bundle, after: Bundle, limit: float, allowed: list[str]
) -> Gate:
    """Judge a comparison of `before` and `after` by a limit, 0.05 for 5%.

    Cases that are `allowed` may be missing: not measured in one of the two.
    """
    slower, possible = beyond(compared.rows, limit)
    more = f"by its estimate slower by more than {limit:.1%}, which its launches do not show"
    # A slowdown is shown once its interval, as wide as this one, begins above the limit.
    rows = compared.rows.set_index("case")
    shown = (1 + limit) * rows["ratio"] / rows["ratio_low"] - 1
    return Gate(
        limit=limit,
        slower=slower,
        unjudged=[
            *_of_runs(compared, before, after),
            *_of_missing_cases(compared, cases_of(before), allowed),
            *_of_launches(compared),
            *(f"{case} is {more}; {AGAIN}" for case in possible),
            *_of_intervals(compared.rows, limit),
        ],
        allowed=[case for case in compared.left_out if case in allowed],
        worst_case=str(shown.idxmax()) if shown.notna().any() else "",
        smallest_shown=float(shown.max()),
    )


def beyond(rows: pd.DataFrame, limit: float) -> tuple[list[str], list[str]]:
    """The cases that are shown to be slower by more than `limit`, and those that may be.

    It is shown if the whole interval lies above the limit; it may be if only the estimate does.
    Cases without an interval are neither.
    """
    above = (rows["ratio"] > 1 + limit) & rows["ratio_low"].notna()
    shown = rows["ratio_low"] > 1 + limit
    return list(rows.loc[shown, "case"]), list(rows.loc[above & ~shown, "case"])


def _of_runs(compared: Comparison, before: Bundle, after: Bundle) -> list[str]:
    """What the runs as wholes are lacking, and in what they must not differ."""
    reasons = []
    for name, bundle in (("BEFORE", before), ("AFTER", after)):
        state = bundle.environment.run.state
        if state == "running":
            reasons.append(f"{name} has not ended, or was killed; {AGAIN}")
        elif state != "complete":
            reasons.append(f"{name} was {state}; {AGAIN}")
        if damage := describe_damage(bundle.problems):
            reasons.append(f"{name} is damaged ({damage.removesuffix('.')}); use a whole copy")
    if compared.other_machine:
        reasons.append(
            f"the machines differ ({compared.other_machine}); compare ratios, with --baseline CASE"
        )
    if "threads" in compared.differences.index:
        old, new = compared.differences.loc["threads", ["before", "after"]]
        reasons.append(f"threads are {old} in BEFORE and {new} in AFTER; use --threads in both")
    lead_ins = {bool(one.environment.run.lead_in_steps) for one in (before, after)}
    if len(lead_ins) > 1:
        # Short blocks without one read up to a tenth slower.
        reasons.append("blocks of one run alone have a lead-in; measure both with this version")
    old, new = (set(spoiled_by(one.environment, one.tables["ledger"])) for one in (before, after))
    if different := sorted(old ^ new):
        # A slowdown would hide behind what slowed the earlier run too.
        reasons.append(f"one run alone was spoiled: {'; '.join(different)}; measure both alike")
    if compared.unknown_data:
        reasons.append(f"{compared.unknown_data}; measure BEFORE again with this version")
    return reasons


def _of_missing_cases(compared: Comparison, expected: list[str], allowed: list[str]) -> list[str]:
    """Cases that the earlier run has and that could not be compared."""
    reasons = []
    for case, why in compared.left_out.items():
        missing = case in compared.missing
        if case in expected and not (missing and case in allowed):
            advice = f'; allow it with --allow-missing "{case}"' if missing else ""
            reasons.append(f"{case} {why}{advice}")
    return reasons


def _of_launches(compared: Comparison) -> list[str]:
    """Cases with a single launch on a side, which have no interval; the baseline among them."""
    sides = compared.rows[["launches_before", "launches_after"]].min(axis=1)
    single = list(compared.rows.loc[sides < 2, "case"])
    if compared.baseline_ratio is not None and np.isnan(compared.baseline_ratio.low):
        single.append(f"the baseline {compared.baseline}")
    if not single:
        return []
    return [f"fewer than two finished launches, so no interval: {', '.join(single)}; {AGAIN}"]


def _of_intervals(rows: pd.DataFrame, limit: float) -> list[str]:
    """Cases whose launches differ so much that hardly any slowdown could be shown."""
    most = max(TOO_WIDE, 1 + limit)
    unclear = rows[(rows["ratio_high"] > most) & ~(rows["ratio_low"] > 1 + limit)]
    return [
        f"{row['case']} may take up to {row['ratio_high']:.1f} times as long, so widely do its "
        f"launches differ; {AGAIN}, on a quiet machine"
        for _, row in unclear.iterrows()
    ]
