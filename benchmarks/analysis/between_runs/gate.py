"""The gate for CI: which cases a change has made slower than allowed, and what it cannot judge.

Runs of the same program differ from one to the next, by more than the launches within a run show.
So the gate wants several runs a side, made by turns. Its errors are those of the whole call, over
all cases: where nothing has changed, it names a case in at most 2 of 100 calls. And it passes a
case only where the runs show that it is not slower by twice the limit. `python -m
benchmarks.validation gate` measures how often it errs.

It fails closed: every case that the earlier runs list must be judged, on one machine and one
workload. What stands against that is a reason not to judge, and never a silent pass.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.analysis.between_runs.comparable import Sides, cases_of, named, started
from benchmarks.analysis.between_runs.comparison import LAUNCH, RUN, Comparison
from benchmarks.analysis.between_runs.environments import properties
from benchmarks.analysis.spoiled import spoiled_by
from benchmarks.bundle.checks import describe_damage

FEWEST_RUNS, MOST_RUNS = 3, 24
"""The fewest runs a side that are judged, and the most that it asks for."""
LEVEL = 0.015
"""The false alarms of a call, by formula; what it may ask for besides keeps them under 2%."""
SURE, POWER = 0.95, 0.9
"""Of a case that is passed, this is how sure it is that it is not slower by twice the limit; of one
that is, this share is to be found with the number of runs that is asked for."""
CAUTION = 1.2
"""It asks for as many runs as it would take if runs varied so many times as much as they seem to,
so that those it asks for do suffice."""
AGAIN = "measure it again"
FREEDOM = {RUN: 2.0, LAUNCH: 1.0}
"""The degrees of freedom that another run a side brings, or another launch."""
VARYING = ("launches", "block steps")
"""Properties in which runs of one side may differ."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a gate says of a comparison."""

    limit: float
    slower: list[str]
    """The cases that are shown to be slower, and by more than the limit."""
    unjudged: list[str]
    """Why it cannot judge all that it should, a sentence each, with what to do; best empty."""
    allowed: list[str]
    """Cases that are missing and that were allowed to be."""
    worst_case: str
    """The case whose slowdown is the hardest to show, of those that have an interval."""
    smallest_shown: float
    """The smallest slowdown of that case that 9 of 10 such comparisons find; NaN without any."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the figures of several runs a side decide about each case."""

    slower: list[str]
    doubtful: list[str]
    """Slower than the limit by their estimates, which their runs do not show."""
    hidden: list[str]
    """Not shown to be less than twice the limit slower."""
    shown: pd.Series
    """The ratio of each case that is found in 9 of 10 comparisons."""
    needed: float
    """How many runs a side would likely decide all; infinite where MOST_RUNS would not."""


def decide(rows: pd.DataFrame, count: int, limit: float, unit: str = RUN) -> Decision:
    """Decide about the cases of a comparison, by its rows, with so many runs a side or launches."""
    rows = rows.set_index("case")
    claimed, shown = thresholds(rows["error"], rows["freedom"], len(rows), limit)
    slower, above = rows["ratio"] > claimed, rows["ratio"] > 1 + limit
    most = rows["ratio"] * np.exp(stats.t.ppf(SURE, rows["freedom"]) * rows["error"])
    doubtful, hidden = above & ~slower, ~above & (most > 1 + 2 * limit)
    open_ = rows[doubtful | hidden]
    each = FREEDOM[unit]
    needed = [_needed(row, count, each, len(rows), limit) for _, row in open_.iterrows()]
    return Decision(
        slower=list(rows.index[slower]),
        doubtful=list(rows.index[doubtful]),
        hidden=list(rows.index[hidden]),
        shown=shown,
        needed=max(needed, default=count),
    )


def judge(compared: Comparison, sides: Sides, limit: float, allowed: list[str]) -> Gate:
    """Judge a comparison of the runs of `sides` by a limit, 0.05 for 5%.

    Cases that are `allowed` may be missing: not measured in one of the runs.
    """
    unjudged = [*_of_runs(compared, sides), *_of_missing_cases(compared, sides, allowed)]
    slower, shown = list[str](), pd.Series(dtype=float)
    if few := _of_few_runs(compared):
        unjudged.append(few)
    else:
        decided = decide(compared.rows, compared.count, limit, compared.unit)
        slower, shown = decided.slower, decided.shown
        unjudged += _of_figures(compared, decided, limit)
    return Gate(
        limit=limit,
        slower=slower,
        unjudged=unjudged,
        allowed=[case for case in compared.left_out if case in allowed],
        worst_case=str(shown.idxmax()) if shown.notna().any() else "",
        smallest_shown=float(shown.max() - 1),
    )


def thresholds(
    error: pd.Series, freedom: pd.Series, cases: int, limit: float
) -> tuple[pd.Series, pd.Series]:
    """The ratios above which a case is called slower, and those that are called so in 9 of 10.

    `error` and `freedom` are those of a ratio's logarithm. One of `cases` equals is called slower
    by chance in LEVEL of the calls (Bonferroni).
    """
    reach = pd.Series(stats.t.isf(LEVEL / cases, freedom), error.index) * error
    claimed = reach.clip(lower=np.log1p(limit))
    likely = claimed + pd.Series(stats.t.ppf(POWER, freedom), error.index) * error
    return claimed.apply(np.exp), likely.apply(np.exp)


def _needed(row: pd.Series, count: int, each: float, cases: int, limit: float) -> float:
    """How many runs a side, or launches, would likely judge a case, if `count` have not.

    Each brings so many degrees of freedom. Infinite where MOST_RUNS would not.
    """
    counts = np.arange(count + 1, MOST_RUNS + 1)
    error = pd.Series(CAUTION * row["error"] * np.sqrt(count / counts))
    freedom = pd.Series(row["freedom"] + each * (counts - count))
    _, shown = thresholds(error, freedom, cases, limit)
    enough = counts[shown <= 1 + 2 * limit]
    return float(enough[0]) if len(enough) else np.inf


def _of_figures(compared: Comparison, decided: Decision, limit: float) -> list[str]:
    """What is not decided, a sentence for each case, with how many runs or launches would do."""
    ratios = dict(zip(compared.rows["case"], compared.rows["ratio"], strict=True))
    units, needed = ("runs" if compared.unit == RUN else "launches"), decided.needed
    a_side = " a side" if compared.unit == RUN else ""
    if needed > MOST_RUNS:
        advice = f"use a quieter machine: {MOST_RUNS} {units}{a_side} would not suffice"
    else:
        how = {RUN: "go on with ab … --runs", LAUNCH: "measure anew with --launches"}
        advice = (
            f"it would likely take {needed:.0f} {units}{a_side}: {how[compared.unit]} {needed:.0f}"
        )
    return [
        *(
            f"{case} is {ratios[case] - 1:.1%} slower by its estimate, which its {units} do not "
            f"show; {advice}"
            for case in decided.doubtful
        ),
        *(
            f"{case} could be {2 * limit:.0%} slower, so widely do its {units} differ; {advice}"
            for case in decided.hidden
        ),
    ]


def _of_few_runs(compared: Comparison) -> str:
    """Why so few runs tell nothing of how runs differ; empty where there are enough."""
    if compared.count >= FEWEST_RUNS:
        return ""
    if compared.unit == LAUNCH:
        return f"fewer than {FEWEST_RUNS} launches of a case; measure it with --launches 5"
    return (
        f"{compared.count} run{'s' * (compared.count > 1)} a side cannot tell a change from what "
        f"differs from run to run; make {FEWEST_RUNS} a side by turns: python run_all.py ab REV1 "
        "REV2, or --before A1 A2 A3 --after B1 B2 B3"
    )


def _of_runs(compared: Comparison, sides: Sides) -> list[str]:
    """What the runs as wholes are lacking, and in what they must not differ."""
    reasons = []
    runs = {name.upper(): bundle for name, bundle in named(sides).items()}
    for name, bundle in runs.items():
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
    for name, side in sides.items():
        seen = [properties(one.environment) for one in side]
        names = [one for one in seen[0] if one not in VARYING and len({s[one] for s in seen}) > 1]
        if names:
            reasons.append(f"the runs {name.upper()} differ in {', '.join(names)}; make them alike")
    lead_ins = {bool(one.environment.run.lead_in_steps) for one in runs.values()}
    if len(lead_ins) > 1:
        # Short blocks without one read up to a tenth slower.
        reasons.append("blocks of some runs alone have a lead-in; measure all with this version")
    spoiled = [set[str](spoiled_by(one.environment, one.tables["ledger"])) for one in runs.values()]
    if different := sorted(set[str]().union(*spoiled) - spoiled[0].intersection(*spoiled)):
        # A slowdown would hide behind what slowed the earlier runs too.
        reasons.append(f"some runs alone were spoiled: {'; '.join(different)}; measure all alike")
    if compared.unknown_data:
        reasons.append(f"{compared.unknown_data}; measure BEFORE again with this version")
    judgeable = compared.unit == RUN and compared.count >= FEWEST_RUNS
    if judgeable and (order := _of_order(sides)):
        reasons.append(order)
    return reasons


def _of_order(sides: Sides) -> str:
    """Why the order of the runs may show as a change; empty where they were made by turns."""
    if len({len(side) for side in sides.values()}) > 1:
        return "the sides have unlike numbers of runs, so they were not made by turns; make as many"
    begun = [
        (started(one.environment.started), name) for name, side in sides.items() for one in side
    ]
    times = [(time, name) for time, name in begun if time is not None]
    if len(times) < len(begun):
        return "a run does not say when it was started, so that its turn is not known"
    order = [name for _, name in sorted(times)]
    if all(one != other for one, other in zip(order[::2], order[1::2], strict=True)):
        return ""
    return (
        "the runs were not made by turns, one BEFORE and one AFTER, so that what changed on the "
        "machine would count as theirs; make them with ab"
    )


def _of_missing_cases(compared: Comparison, sides: Sides, allowed: Iterable[str]) -> list[str]:
    """Cases that the earlier runs have and that could not be compared."""
    expected = {case for bundle in next(iter(sides.values())) for case in cases_of(bundle)}
    reasons = []
    for case, why in compared.left_out.items():
        missing = case in compared.missing
        if case in expected and not (missing and case in allowed):
            advice = f'; allow it with --allow-missing "{case}"' if missing else ""
            reasons.append(f"{case} {why}{advice}")
    return reasons
