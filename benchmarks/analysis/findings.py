"""A bundle's tables brought together: one row a case, one row a pair of cases.

Everything here is computed from the measured tables alone, so it can be computed again at any time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backends.contract import EPSILON_HAT, Network
from backends.ladder import TIERS
from backends.registry import tier_of
from benchmarks.analysis import (
    accuracy,
    break_even,
    learning,
    ledger_differences,
    limits,
    means,
    pairs,
    scaling,
    statistics,
)
from benchmarks.analysis.certified import groups_left_out, is_certified
from benchmarks.bundle import files
from benchmarks.bundle.reader import Bundle
from benchmarks.schema import (
    ACCURACY_MARGIN_POINTS,
    frames,
    repetition_in,
)
from benchmarks.schema.tables import COMPUTED, IDENTITY

NOT_IN_ALL = ("tutorial", "group_floors", "scaling")
"""The tables that a bundle has only where there is anything in them."""
MOST_TRAININGS = 10
"""Total times are computed for up to this many times the steps of the run."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of a run. A field that is named like a table of the schema is that table."""

    summary: pd.DataFrame
    verdicts: pd.DataFrame
    ratios: pd.DataFrame
    ladders: pd.DataFrame
    ledger: pd.DataFrame
    """How the measured cases differ in what they did: see ledger_differences.find_differences."""
    unfair: list[str]
    """What makes the ranking unfair, a sentence each; best empty."""
    settled: bool
    """Whether more launches would decide nothing that can be decided."""
    resolution: float
    """Relative difference that the run's typical pair does not tell apart; NaN without one."""
    control: statistics.Estimate
    """The ratio of the control to the case that it repeats, which is 1 if the claims are right."""
    other_speeds: pd.DataFrame
    """The launches of cases whose processes ran on another speed: see noise.py."""
    floors: pd.DataFrame
    bounds: pd.DataFrame
    group_floors: pd.DataFrame
    scaling: pd.DataFrame
    """These two without rows unless groups of ranks were timed: see scaling.py."""
    break_even: pd.DataFrame
    totals: pd.DataFrame
    curves: pd.DataFrame
    accuracies: pd.DataFrame
    equivalences: pd.DataFrame
    apart: bool
    """Whether learning was measured apart from speed: see learning.py."""
    learned: bool
    """Whether more seeds would decide nothing about what is learned."""
    time_to_accuracy: pd.DataFrame
    tutorial: pd.DataFrame
    """Without rows unless the preset takes the tutorial's readings."""


def control_of(rows: pd.DataFrame) -> pd.Series:
    """Whether each row is of a case that repeats another: a control.

    Tables without the column `repetition` name the case alone, which says it too.
    """
    if "repetition" in rows:
        return rows["repetition"] > 0
    return rows["case"].map(repetition_in) > 0


def _startup(launches: pd.DataFrame, *, apart: bool) -> dict[Any, Any]:
    """The parts of a case's start-up: medians over launches, but for the first call.

    Compilers may keep what they have compiled: `first_call_seconds` is the first launch's, with
    empty caches, `first_call_again_seconds` the median of the later ones.
    """
    # Where each launch ran as a job of its own, `apart`, caches were empty in all of them.
    is_first = (launches["launch"] == 0) | apart
    first, later = launches[is_first], launches[~is_first]
    medians = launches[
        ["import_seconds", "build_seconds", "warmup_seconds", "warmup_steps", "certificate_seconds"]
    ].median()
    first_call = first["first_call_seconds"].median()
    return {
        **medians.to_dict(),
        "first_call_seconds": first_call,
        "first_call_again_seconds": later["first_call_seconds"].median(),
        "startup_seconds": medians["import_seconds"] + medians["build_seconds"] + first_call,
    }


def _fixed_seconds(samples: pd.DataFrame) -> float:
    """What a block costs beside its steps: what its lead-in took beyond as many timed steps."""
    expected = samples["lead_in_steps"].astype(float) * samples["seconds"] / samples["steps"]
    return float((samples["lead_in_seconds"] - expected).median())


def _case_row(
    bundle: Bundle, case: pd.Series, step_seconds: pd.DataFrame, trainings: pd.DataFrame
) -> dict[Any, Any]:
    """The part of a case's summary that its own rows tell."""
    name, workload = case["case"], bundle.environment.workload
    layers = len(workload.layer_sizes) - 1
    tables_of_case = ("outcomes", "certificates", "blocks", "launches", "ledger", "samples")
    outcomes, certificates, blocks, launches, ledger, timed = (
        rows.loc[rows["case"] == name] for rows in (bundle.tables[t] for t in tables_of_case)
    )
    # Accuracy is that of trainings that came to their end, where any did.
    learned = trainings[trainings["case"] == name]
    to_end = learned[learned["steps"] == workload.steps]
    trained = to_end if len(to_end) else learned
    products = ledger.loc[ledger["entry"] == "product", "value"]
    logs = np.log(step_seconds[name]) if name in step_seconds else pd.Series(dtype=float)
    status, reason = "measured" if logs.notna().any() else "not reached", ""
    if len(outcomes):
        status, reason = outcomes[["status", "reason"]].iloc[0]
    elif any(one.file == "outcomes.csv" and one.case == name for one in bundle.problems):
        # What became of the case is lost, but not that it did not run to its end.
        status, reason = "failed", "its row of outcomes.csv is damaged"
    step = statistics.interval_of_logs(logs)
    row: dict[Any, Any] = {
        **case.to_dict(),
        "tier": tier_of(case["backend"], case["mode"]),
        "status": status,
        "reason": reason,
        "certified": is_certified(certificates, blocks, launches, timed, layers),
        # As it was asked for where it was not read.
        "precision_found": str(next(iter(products), case["precision"])),
        "launches": len(launches),
        "rounds": int(logs.notna().sum()),
        "steps": (trained if len(trained) else launches)["steps"].min() if len(launches) else 0,
        "trained_to_end": bool(len(to_end)),
        **statistics.with_interval("step_ms", step, scale=1000),
        "fixed_ms": _fixed_seconds(timed) * 1000,
        "images_per_second": workload.batch_size / step.value,
        **_startup(launches, apart=bundle.environment.run.seeds is not None),
        **launches[["peak_rss_mib", "peak_device_mib", "energy_mj_per_step"]].median().to_dict(),
    }
    for figure in ("validation_accuracy", "test_accuracy"):
        row |= means.share_with_interval(figure, trained[figure])
    return row


def compute_findings(bundle: Bundle) -> Findings:
    """Estimates, verdicts and ranks, from the bundle's measured tables."""
    every_sample = bundle.undisturbed_samples
    # Cases with batches of their own train something else: see scaling.py.
    samples = every_sample[every_sample["batch"].isna()]
    step_seconds, other_speeds = statistics.on_main_speed(samples)
    apart = learning.trained_apart(bundle)
    run, workload = bundle.environment.run, bundle.environment.workload
    alike = [case.to_json() for case in run.cases if not case.batch]
    cases = pd.DataFrame(alike, columns=list(IDENTITY)).fillna({"ranks": 1})
    cases = cases.astype({"ranks": int})
    trainings = learning.trainings(bundle)
    summary = pd.DataFrame(
        [_case_row(bundle, case, step_seconds, trainings) for _, case in cases.iterrows()]
    )
    flops = Network(layer_sizes=workload.layer_sizes).step_flops(workload.batch_size)
    bounds = limits.compute_bounds(bundle.tables["pieces"])
    alone = samples[samples["ranks"].isna()]
    floors, limited = limits.compute_limits(flops, alone, bundle.tables["parts"], bounds)
    first_readings = bundle.tables["accuracy"]
    held_back = (
        accuracy.apart(first_readings[first_readings["batch"].isna()])
        | limits.late(every_sample)
        | limits.held_back(limited, run.floor_version)
    )
    summary["held_back"] = [held_back.get(case, "") for case in summary["case"]]
    is_comparable = (summary["status"] == "measured") & summary["certified"] & ~control_of(summary)
    comparable = summary[is_comparable & (summary["held_back"] == "")]
    verdicts = statistics.verdicts(samples, pairs.judged(comparable))
    readings, launches = learning.readings(bundle, step_seconds), bundle.tables["launches"]
    others = ledger_differences.substituted(bundle.tables["ledger"])
    summary["substituted"] = [others.get(case, "") for case in summary["case"]]
    every = pd.concat([first_readings, readings]) if apart else readings
    diverged = accuracy.find_failed_trainings(every, workload.layer_sizes[-1])
    summary["diverged"] = [diverged.get(case, "") for case in summary["case"]]
    without_controls = summary[~control_of(summary)]
    summary = summary.merge(limited, how="left", on="case").fillna({"bound": ""})
    ranks = statistics.ranks(pairs.contenders(comparable), verdicts)
    against_fastest = _against_fastest(comparable, list(ranks), step_seconds, verdicts)
    summary = summary.merge(against_fastest, how="left", on="case")
    summary["rank"] = summary["case"].map(ranks).astype("Int64")
    summary = frames.in_order("summary", summary).sort_values(
        [*pairs.GROUP, "rank", "step_ms"], key=_sorted_by, na_position="last", ignore_index=True
    )
    is_measured = (summary["status"] == "measured") & ~control_of(summary)
    measured = list(summary.loc[is_measured, "case"])
    timed = ledger_differences.timed_entries(samples)
    ledger = bundle.tables["ledger"]
    read = ledger[["case", "entry", "value"]]
    entries = pd.concat([read[~read["entry"].isin(timed["entry"])], timed])
    margin = run.accuracy_margin_points
    equivalences = accuracy.equivalences(
        accuracy.final_accuracies(trainings, without_controls, workload.steps),
        # Older bundles do not say.
        ACCURACY_MARGIN_POINTS if margin is None else margin,
    )
    startup_seconds = summary.set_index("case")["startup_seconds"]
    # Groups of ranks have more processors, so that no start-up pays off against theirs.
    timed_alone = set(alone["case"])
    ranked_alone = [case for case in ranks if case in timed_alone]
    group_floors = scaling.group_floors(every_sample)
    return Findings(
        summary=summary,
        verdicts=verdicts,
        ratios=statistics.ratios(samples, pairs.not_judged(comparable)),
        ladders=pairs.find_ladders(
            summary, summary[summary["case"].isin(comparable["case"])], verdicts, ledger
        ),
        ledger=ledger_differences.find_differences(entries, measured),
        settled=statistics.settled(verdicts),
        unfair=_unfair(comparable, entries),
        resolution=statistics.resolution(verdicts),
        control=statistics.interval_of_medians(statistics.control_medians(samples, step_seconds)),
        other_speeds=other_speeds,
        floors=floors,
        bounds=bounds,
        group_floors=group_floors,
        scaling=scaling.scaling(
            groups_left_out(bundle, held_back),
            every_sample,
            group_floors,
            bundle.tables["parts"],
            comparable,
            workload.batch_size,
        ),
        # Of cases that are ranked: the pairs of all rungs are too many to read.
        break_even=break_even.find_overtakings(
            samples, launches, ranked_alone, apart=run.seeds is not None
        ),
        totals=break_even.totals(
            summary[summary["case"].isin(ranked_alone) & summary["startup_seconds"].notna()],
            MOST_TRAININGS * workload.steps,
        ),
        curves=accuracy.curves(readings),
        accuracies=accuracy.accuracies(trainings, without_controls, workload.steps),
        equivalences=equivalences,
        apart=apart,
        learned=accuracy.learned(equivalences),
        time_to_accuracy=accuracy.time_to_accuracy(
            readings, summary[is_measured], step_seconds, startup_seconds
        ),
        tutorial=learning.beside_original(bundle.tables["readings"]),
    )


def _sorted_by(column: pd.Series) -> pd.Series:
    """What a column of the summary is sorted by: the textbook's Adam comes before Keras' own."""
    if column.name == "adam":
        return column == EPSILON_HAT
    return column.map([*TIERS, ""].index) if column.name == "tier" else column


def _unfair(compared: pd.DataFrame, entries: pd.DataFrame) -> list[str]:
    """What makes comparisons unfair, in each group of cases that may be compared.

    What a variant overrides is not among it: that differs on purpose.
    """
    of_compared = entries[entries["case"].isin(compared["case"])]
    sentences = ledger_differences.compilation_problems(of_compared)
    for _, group in compared.groupby(list(statistics.MATCHED), sort=False):
        sentences += ledger_differences.unfair(entries, list(group["case"]))
    return sentences


def _against_fastest(
    comparable: pd.DataFrame,
    ranked: list[str],
    step_seconds: pd.DataFrame,
    verdicts: pd.DataFrame,
) -> pd.DataFrame:
    """Each comparable case's ratio to the fastest ranked one of its tier, within rounds.

    Where the run judges the pair it has the interval of its verdict.
    """
    judged = statistics.both_ways(verdicts).set_index(["case", "other"])
    rows = []
    for _, group in comparable.groupby(list(pairs.GROUP)):
        leaders = group[group["case"].isin(ranked)].sort_values("step_ms")["case"]
        fastest = str(leaders.iloc[0]) if len(leaders) else ""
        for case in group["case"] if fastest else ():
            ratio = statistics.ratio(step_seconds, case, fastest)
            if (case, fastest) in judged.index:
                row = judged.loc[(case, fastest)]
                value, low, high = (float(row[end]) for end in statistics.ends("ratio"))
                ratio = statistics.Estimate(value=value, low=low, high=high)
            rows.append({"case": case, **statistics.with_interval("times_fastest", ratio)})
    columns = ["case", *statistics.with_interval("times_fastest", statistics.NOTHING)]
    return pd.DataFrame(rows, columns=columns)


def write(findings: Findings, folder: Path) -> None:
    """Write the computed tables; that of the tutorial only where there is anything in it."""
    for name in COMPUTED.keys() - {"sweep"}:
        table: pd.DataFrame = getattr(findings, name)
        if name not in NOT_IN_ALL or len(table):
            files.write_text(folder, f"{name}.csv", table.to_csv(index=False))
