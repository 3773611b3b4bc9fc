"""Do they all learn the same? Pure functions over the readings and final figures of a run.

The seed fixes initial parameters and batches, so backends are compared within seeds. Modes of one
backend do the same training but for rounding: for each seed a backend's figure is the mean over its
cases. Everything is over seeds, of which each launch has one.

Whether two backends learn alike is asked twice: by two one-sided t-tests whether their difference
is shown to lie within a margin (Schuirmann, 1987), and by a two-sided one whether it is shown to be
there at all. Not finding a difference proves nothing alone.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import EPSILON_HAT, Array
from benchmarks.analysis import statistics
from benchmarks.schema import ACCURACY_MARGIN_POINTS

SIGNIFICANCE = 0.05
LIKELY = 0.8
"""The probability with which the number of seeds said to be needed would decide."""
MOST_SEEDS = 100
"""The most seeds that are ever said to be needed."""
TARGETS = (0.95, 0.97, 0.98)
"""Validation accuracies whose reaching is timed."""
NOT_CERTIFIED = "not certified"
"""Of a group that was not proven to do the same training. An accuracy within the margin does not
make it equivalent: Adam with β₂ 0.9 ends at the same accuracy on the default workload."""
CHANCE = 1.5
"""An accuracy of at most so many times that of guessing is no more than guessing."""

FIGURES = ["validation_accuracy", "test_accuracy", "test_loss"]
CURVE_COLUMNS = [
    *("case", "step", "seeds", "train_seconds", "train_seconds_low", "train_seconds_high"),
    *("validation_accuracy", "validation_accuracy_low", "validation_accuracy_high"),
    *("validation_loss", "train_loss"),
]
ACCURACY_COLUMNS = [
    *("group", "backend", "adam", "cases", "seeds"),
    *(f"{figure}{end}" for figure in FIGURES for end in ("", "_low", "_high")),
]
EQUIVALENCE_COLUMNS = [
    *("group", "other", "seeds", "difference_points"),
    *("difference_points_low", "difference_points_high"),
    *("difference_points_low95", "difference_points_high95"),
    *("margin_points", "p_equivalent", "p_different", "p_different_adjusted"),
    *("verdict", "seeds_needed"),
]
TIME_COLUMNS = [
    *("case", "target", "seeds", "reached", "steps"),
    *("train_seconds", "train_seconds_low", "train_seconds_high"),
    *("startup_seconds", "total_seconds"),
]


def _with_interval(name: str, values: pd.Series) -> dict[str, float]:
    """The mean over seeds as `name`, with its 95% interval."""
    found = statistics.mean_of_launches(values)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def curves(readings: pd.DataFrame) -> pd.DataFrame:
    """CURVE_COLUMNS: means over launches of each case and step read, from accuracy.csv.

    A mean loss is NaN where that of one launch is. What is trained after the last whole block is
    not timed, so `train_seconds` lags behind by that at the last step.
    """
    rows = [
        {
            "case": case,
            "step": step,
            "seeds": len(own),
            **_with_interval("train_seconds", own["train_seconds"]),
            **_with_interval("validation_accuracy", own["validation_accuracy"]),
            "validation_loss": own["validation_loss"].mean(skipna=False),
            "train_loss": own["train_loss"].mean(skipna=False),
        }
        for (case, step), own in readings.groupby(["case", "step"])
    ]
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def group_of(case: pd.Series) -> str:
    """What cases are taken together with: those of their backend that do the same training.

    `case` has backend, adam and certified, as a row of the summary.
    """
    apart = ["stock-adam"] if case["adam"] == EPSILON_HAT else []
    apart += [] if case["certified"] else [NOT_CERTIFIED]
    return f"{case['backend']} ({', '.join(apart)})" if apart else str(case["backend"])


def finals(launches: pd.DataFrame, cases: pd.DataFrame, steps: int) -> pd.DataFrame:
    """FIGURES of each group and seed, means over its cases; only of launches that came to `steps`.

    `launches` are those of launches.csv; `cases` has case, backend, adam and certified.
    """
    named = cases.assign(group=[group_of(case) for _, case in cases.iterrows()])
    own = named[["case", "group"]].merge(launches[launches["steps"] == steps], on="case")
    # What one of its cases has lost is not known of the group either.
    means = own.groupby(["group", "seed"], sort=False)[FIGURES].mean(skipna=False)
    return means.reset_index()


def accuracies(launches: pd.DataFrame, cases: pd.DataFrame, steps: int) -> pd.DataFrame:
    """ACCURACY_COLUMNS: a row a group, the means over seeds; arguments as for `finals`."""
    found = finals(launches, cases, steps)
    ended = set(launches.loc[launches["steps"] == steps, "case"])
    rows = []
    for (backend, adam, certified), own in cases[cases["case"].isin(ended)].groupby(
        ["backend", "adam", "certified"], sort=False
    ):
        group = group_of(own.iloc[0])
        seeds = found[found["group"] == group]
        row = {"group": group, "backend": backend, "adam": adam, "certified": certified}
        row |= {"cases": len(own), "seeds": len(seeds)}
        for figure in FIGURES:
            row |= _with_interval(figure, seeds[figure])
        rows.append(row)
    return pd.DataFrame(rows, columns=ACCURACY_COLUMNS)


def equivalences(found: pd.DataFrame, margin: float = ACCURACY_MARGIN_POINTS) -> pd.DataFrame:
    """EQUIVALENCE_COLUMNS of each pair of groups, on final test accuracy; `found` by `finals`.

    Differences and `margin` are in percentage points, `group` less `other`, paired by seed. The
    interval without a number is that of 90%, which lies within the margin exactly where
    `p_equivalent` is at most 5%. Only the p-values of differences are adjusted for the number of
    pairs.
    """
    points = 100 * found.pivot_table(
        index="seed", columns="group", values="test_accuracy", sort=False
    )
    rows: list[dict[str, Any]] = []
    for group, other in combinations(points.columns, 2):
        # Less noise than the last digit of an accuracy: equal differences shall be equal.
        differences = (points[group] - points[other]).dropna().round(9).to_numpy()
        rows.append({"group": group, "other": other} | _compared(differences, margin))
    adjusted = statistics.adjust([row["p_different"] for row in rows])
    for row, p_adjusted in zip(rows, adjusted, strict=True):
        row["p_different_adjusted"] = p_adjusted
        if row["p_equivalent"] <= SIGNIFICANCE:
            proven = NOT_CERTIFIED not in row["group"] + row["other"]
            row["verdict"] = "equivalent" if proven else NOT_CERTIFIED
        elif p_adjusted <= SIGNIFICANCE:
            row["verdict"] = "different"
        else:
            row["verdict"] = "too few seeds"
            row["seeds_needed"] = row.pop("_needed")
    return pd.DataFrame(rows, columns=EQUIVALENCE_COLUMNS)


def _compared(differences: Array, margin: float) -> dict[str, Any]:
    """The tests of one pair, from its differences in points, one a seed."""
    row = {
        "seeds": len(differences),
        "difference_points": differences.mean() if len(differences) else np.nan,
        "margin_points": margin,
        "seeds_needed": np.nan,
        "_needed": seeds_needed(differences, margin),
    }
    if len(differences) < 2:
        return row | {"p_equivalent": np.nan, "p_different": np.nan}
    if np.ptp(differences) == 0:
        # No spread, so no test: the difference is what it is.
        value = differences[0]
        ends = (f"difference_points_{end}" for end in ("low", "high", "low95", "high95"))
        row |= dict.fromkeys(ends, value)
        return row | {"p_equivalent": float(abs(value) >= margin), "p_different": float(value == 0)}
    different = stats.ttest_1samp(differences, 0)
    above = stats.ttest_1samp(differences, -margin, alternative="greater")
    below = stats.ttest_1samp(differences, margin, alternative="less")
    inner, outer = (different.confidence_interval(level) for level in (1 - 2 * SIGNIFICANCE, 0.95))
    return row | {
        "difference_points_low": inner.low,
        "difference_points_high": inner.high,
        "difference_points_low95": outer.low,
        "difference_points_high95": outer.high,
        "p_equivalent": max(above.pvalue, below.pvalue),
        "p_different": different.pvalue,
    }


def seeds_needed(differences: Array, margin: float) -> float:
    """How many seeds would likely show equivalence or a difference; NaN where more than MOST_SEEDS.

    By the power of the tests, from the noncentral t distribution, were the differences so far
    (points) the truth; for the two one-sided tests by its lower bound, the sum less one. NaN too
    for fewer than two, which tell nothing of the spread.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return float("nan")
    value, deviation = abs(differences.mean()), differences.std(ddof=1)
    count = np.arange(len(differences) + 1, MOST_SEEDS + 1)

    def power(distance: float, level: float) -> Array:
        critical = stats.t.isf(level, count - 1)
        return stats.nct.sf(critical, count - 1, distance / deviation * np.sqrt(count))

    different = power(value, SIGNIFICANCE / 2)
    equal = power(margin - value, SIGNIFICANCE) + power(margin + value, SIGNIFICANCE) - 1
    enough = count[(different >= LIKELY) | (equal >= LIKELY)]
    return float(enough[0]) if len(enough) else float("nan")


def first_reached(accuracies_read: pd.Series, target: float) -> int | None:
    """The place of the first reading of one launch that reaches `target`, as does the next one."""
    enough = (accuracies_read >= target).to_numpy()
    places = np.flatnonzero(enough[:-1] & enough[1:])
    return int(places[0]) if len(places) else None


def time_to_accuracy(readings: pd.DataFrame, startup_seconds: pd.Series) -> pd.DataFrame:
    """TIME_COLUMNS for each case and each of TARGETS, over the seeds that reached it.

    `steps` is the mean; seconds are the typical ones, as step times are: exp of the mean of
    logarithms. `startup_seconds`, by case, is apart from the training and added in `total_seconds`.
    """
    rows = []
    for case, own in readings.groupby("case", sort=False):
        launches = [part.sort_values("step") for _, part in own.groupby("launch")]
        startup = startup_seconds.get(case, np.nan)
        for target in TARGETS:
            places = [first_reached(part["validation_accuracy"], target) for part in launches]
            reached = pd.DataFrame(
                [
                    part.iloc[place]
                    for part, place in zip(launches, places, strict=True)
                    if place is not None
                ],
                columns=readings.columns,
            )
            row = {"case": case, "target": target, "seeds": len(launches), "reached": len(reached)}
            row |= {"steps": reached["step"].astype(float).mean(), "startup_seconds": startup}
            logs = reached["train_seconds"].astype(float).map(np.log)
            for name, value in _with_interval("train_seconds", logs).items():
                row[name] = float(np.exp(value))
            rows.append(row | {"total_seconds": startup + row["train_seconds"]})
    return pd.DataFrame(rows, columns=TIME_COLUMNS)


def divergence(readings: pd.DataFrame, classes: int) -> dict[str, str]:
    """Of each case whose training has failed, how; those that learned something are left out."""
    found = {}
    for case, own in readings.groupby("case", sort=False):
        if said := _diverged(own) or _learned_nothing(own, classes):
            found[str(case)] = said
    return found


def _diverged(own: pd.DataFrame) -> str:
    """From which step on the losses of one case are not finite."""
    lost = own[~np.isfinite(own[["train_loss", "validation_loss"]]).all(axis=1)]
    first = lost.groupby("seed", as_index=False)["step"].min()
    where = [
        f"from step {step:,} in {'seed' if len(seeds) == 1 else 'seeds'} "
        + ", ".join(str(seed) for seed in seeds)
        for step, seeds in first.groupby("step")["seed"]
    ]
    return f"diverged: the loss is not finite {' and '.join(where)}" if where else ""


def _learned_nothing(own: pd.DataFrame, classes: int) -> str:
    """In which launches of one case the last accuracy is that of guessing."""
    last = own[own["step"] > 0].sort_values("step").groupby("seed").tail(1).sort_values("seed")
    guessing = last[last["validation_accuracy"] <= CHANCE / classes]
    where = [
        f"{row['validation_accuracy']:.1%} validation accuracy at the last step, seed {row['seed']}"
        for _, row in guessing.iterrows()
    ]
    return f"learned nothing: accuracy at chance ({'; '.join(where)})" if where else ""
