"""A bundle's tables brought together: one row a case, one row a pair of cases.

Everything here is computed from the bundle's CSVs alone, so it can be done again at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backends.contract import EPSILON_HAT, Network
from backends.registry import tier_of
from benchmarks.analysis import accuracy, break_even, limits, statistics, tutorial
from benchmarks.analysis import ledger_differences as differences
from benchmarks.bundle.writer import read_environment, read_table
from benchmarks.schema import ACCURACY_MARGIN_POINTS, COLUMNS, IDENTITY

MOST_TRAININGS = 10
"""Total times are computed for up to so many times the steps of the run."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What a run has written."""

    folder: Path
    environment: dict[str, Any]
    tables: dict[str, pd.DataFrame]

    @property
    def undisturbed_samples(self) -> pd.DataFrame:
        """The samples that estimates rest on."""
        return statistics.undisturbed(self.tables["samples"], self.tables["rounds"])

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Read a bundle; raises UsageError where a file of it is missing."""
        return cls(
            folder=folder,
            environment=read_environment(folder),
            tables={table: read_table(folder, table) for table in COLUMNS},
        )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a run has found."""

    summary: pd.DataFrame
    """A row a case: estimates with `_low` and `_high` beside them."""
    verdicts: pd.DataFrame
    ledger: pd.DataFrame
    """Where the measured cases differ in what they did: see differences.py."""
    unfair: list[str]
    """What makes the ranking unfair, a sentence each; best empty."""
    settled: bool
    """Whether more launches would decide nothing that can be decided."""
    resolution: float
    """Relative difference that the control could not have told apart; NaN without one."""
    floors: pd.DataFrame
    """What no step can be faster than: see limits.py."""
    break_even: pd.DataFrame
    totals: pd.DataFrame
    """When a slower start pays off: see break_even.py, `find` and `totals`."""
    curves: pd.DataFrame
    accuracies: pd.DataFrame
    equivalences: pd.DataFrame
    time_to_accuracy: pd.DataFrame
    """What the cases have learned: see the functions of these names in accuracy.py."""
    tutorial: pd.DataFrame
    """What the tutorial's loop prints: see tutorial.py; empty but with its preset."""


def _cases(bundle: Bundle) -> pd.DataFrame:
    """Every case of the run, whatever became of it."""
    return pd.DataFrame(bundle.environment["run"]["cases"], columns=list(IDENTITY))


def _precision_found(entries: pd.DataFrame, case: pd.Series) -> str:
    """The precision of the case's products by effect; as asked where none was taken."""
    found = entries.loc[entries["entry"] == "product", "value"]
    return str(found.iloc[0]) if len(found) else str(case["precision"])


def control_of(summary: pd.DataFrame) -> pd.Series:
    """Whether each case is another's control."""
    return summary["case"].str.endswith("(control)")


def _startup(rows: pd.DataFrame) -> dict[Any, Any]:
    """The parts of the start-up: medians over launches, but for the first call.

    Compilers may keep what they have compiled: `first_call_seconds` is the first launch's, with
    empty caches, `first_call_again_seconds` the median of the later ones.
    """
    first, later = rows[rows["launch"] == 0], rows[rows["launch"] > 0]
    medians = rows[
        ["import_seconds", "build_seconds", "warmup_seconds", "warmup_steps", "certificate_seconds"]
    ].median()
    first_call = first["first_call_seconds"].median()
    return {
        **medians.to_dict(),
        "first_call_seconds": first_call,
        "first_call_again_seconds": later["first_call_seconds"].median(),
        "startup_seconds": medians["import_seconds"] + medians["build_seconds"] + first_call,
    }


def _row(bundle: Bundle, case: pd.Series, table: pd.DataFrame) -> dict[Any, Any]:
    """The summary of one case."""
    name = case["case"]

    def own(of: str) -> pd.DataFrame:
        rows = bundle.tables[of]
        return rows.loc[rows["case"] == name]

    outcomes, certificates, launches = own("outcomes"), own("certificates"), own("launches")
    # Accuracy is that of training runs that came to their end, where any did.
    to_end = launches[launches["steps"] == bundle.environment["workload"]["steps"]]
    trained = to_end if len(to_end) else launches
    seconds = np.log(table[name]) if name in table else pd.Series(dtype=float)
    status = "measured" if seconds.notna().any() else "not reached"
    step = statistics.interval_of_logs(seconds)
    batch_size = bundle.environment["workload"]["batch_size"]
    row: dict[Any, Any] = {
        **case.to_dict(),
        "tier": tier_of(case["backend"], case["mode"]),
        "status": outcomes["status"].iloc[0] if len(outcomes) else status,
        "reason": outcomes["reason"].iloc[0] if len(outcomes) else "",
        "certified": bool(len(certificates) and certificates["passed"].all()),
        "precision_found": _precision_found(own("ledger"), case),
        "launches": len(launches),
        "rounds": int(seconds.notna().sum()),
        "steps": trained["steps"].min() if len(trained) else 0,
        "trained_to_end": bool(len(to_end)),
        "step_ms": step.value * 1000,
        "step_ms_low": step.low * 1000,
        "step_ms_high": step.high * 1000,
        "images_per_second": batch_size / step.value,
        **_startup(launches),
        "peak_rss_mib": launches["peak_rss_mib"].median(),
        "peak_device_mib": launches["peak_device_mib"].median(),
        "energy_mj_per_step": launches["energy_mj_per_step"].median(),
    }
    for figure in ("validation_accuracy", "test_accuracy"):
        found = statistics.mean_of_launches(trained[figure])
        row |= {figure: found.value, f"{figure}_low": found.low, f"{figure}_high": found.high}
    return row


def find(bundle: Bundle) -> Findings:
    """Estimates, verdicts and ranks, from the bundle's raw tables."""
    samples = bundle.undisturbed_samples
    table = statistics.step_seconds(samples)
    cases = _cases(bundle)
    summary = pd.DataFrame([_row(bundle, case, table) for _, case in cases.iterrows()])
    rankable = (summary["status"] == "measured") & summary["certified"] & ~control_of(summary)
    found = statistics.verdicts(samples, summary[rankable])
    load = bundle.environment["workload"]
    network = Network(layer_sizes=tuple(load["layer_sizes"]))
    readings, launches = bundle.tables["accuracy"], bundle.tables["launches"]
    diverged = accuracy.divergence(readings, load["layer_sizes"][-1])
    summary["diverged"] = [diverged.get(case, "") for case in summary["case"]]
    own = summary[~control_of(summary)]
    limit = limits.find(network.step_flops(load["batch_size"]), samples, bundle.tables["parts"])
    summary = summary.merge(limit.cases, how="left", on="case")
    summary = summary.merge(_against_fastest(summary[rankable], table), how="left", on="case")
    rank = statistics.ranks(summary[rankable], found)
    summary.insert(0, "rank", summary["case"].map(rank).astype("Int64"))
    summary = summary.sort_values(
        # The textbook's Adam before Keras' own.
        [*statistics.MATCHED, "rank", "step_ms"],
        key=lambda column: column == EPSILON_HAT if column.name == "adam" else column,
        na_position="last",
        ignore_index=True,
    )
    measured = list(summary.loc[(summary["status"] == "measured") & ~control_of(summary), "case"])
    entries = pd.concat(
        [bundle.tables["ledger"][["case", "entry", "value"]], differences.timed_entries(samples)]
    )
    return Findings(
        summary=summary,
        verdicts=found,
        ledger=differences.find(entries, measured),
        settled=statistics.settled(found),
        unfair=_unfair(summary[summary["rank"].notna()], entries),
        resolution=statistics.resolution(samples),
        floors=limit.floors,
        break_even=break_even.find(samples, launches, measured),
        totals=break_even.totals(
            summary[summary["case"].isin(measured) & summary["startup_seconds"].notna()],
            MOST_TRAININGS * load["steps"],
        ),
        curves=accuracy.curves(readings),
        accuracies=accuracy.accuracies(launches, own, load["steps"]),
        equivalences=accuracy.equivalences(
            accuracy.finals(launches, own, load["steps"]),
            # Older bundles do not say.
            bundle.environment["run"].get("accuracy_margin_points", ACCURACY_MARGIN_POINTS),
        ),
        time_to_accuracy=accuracy.time_to_accuracy(
            readings, summary.set_index("case")["startup_seconds"]
        ),
        tutorial=tutorial.find(bundle.tables["readings"]),
    )


def _unfair(ranked: pd.DataFrame, entries: pd.DataFrame) -> list[str]:
    """What makes a ranking unfair, in each group of cases that are ranked together."""
    sentences = differences.compiled_otherwise(entries[entries["case"].isin(ranked["case"])])
    for _, group in ranked.groupby(list(statistics.MATCHED), sort=False):
        sentences += differences.unfair(entries, list(group["case"]))
    return sentences


def _against_fastest(ranked: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Each ranked case's ratio to the fastest of its group, within rounds."""
    rows = []
    for _, group in ranked.groupby(list(statistics.MATCHED)):
        fastest = group.sort_values("step_ms")["case"].iloc[0]
        for case in group["case"]:
            found = statistics.ratio(table, case, fastest)
            rows.append(
                {
                    "case": case,
                    "times_fastest": found.value,
                    "times_fastest_low": found.low,
                    "times_fastest_high": found.high,
                }
            )
    columns = ["case", "times_fastest", "times_fastest_low", "times_fastest_high"]
    return pd.DataFrame(rows, columns=columns)


def write(findings: Findings, folder: Path) -> None:
    """Write the tables that are computed from the others."""
    findings.summary.to_csv(folder / "summary.csv", index=False)
    findings.verdicts.to_csv(folder / "verdicts.csv", index=False)
    findings.floors.to_csv(folder / "floors.csv", index=False)
    findings.break_even.to_csv(folder / "break_even.csv", index=False)
    findings.totals.to_csv(folder / "totals.csv")
    for name in ("curves", "accuracies", "equivalences", "time_to_accuracy"):
        getattr(findings, name).to_csv(folder / f"{name}.csv", index=False)
    if len(findings.tutorial):
        findings.tutorial.to_csv(folder / "tutorial.csv", index=False)
