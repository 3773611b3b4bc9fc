"""Whether all backends learn the same: pure functions over a run's readings and final figures.

The seed fixes initial parameters and batches, so backends are compared within seeds. The modes of
one backend do the same training apart from rounding, so a backend's figure for a seed is the mean
over its cases. Means and tests are over seeds; each launch has one.

Two questions are tested for every pair of backends. Two one-sided t-tests ask whether their
difference is shown to lie within a margin (Schuirmann, 1987); a two-sided t-test asks whether there
is shown to be a difference at all. A difference that is merely not found proves nothing.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from backends.contract import EPSILON_HAT, Array
from benchmarks.analysis import means, statistics
from benchmarks.analysis.means import mean_with_interval, share_with_interval
from benchmarks.analysis.statistics import tested
from benchmarks.schema import ACCURACY_MARGIN_POINTS, frames

SIGNIFICANCE = 0.05
LIKELY = 0.8
"""The probability with which `seeds_needed` seeds would decide."""
MOST_SEEDS = 100
"""Where more seeds than this would be needed, no number is given."""
APART, TOGETHER = 1e-2, 1e-3
"""Validation losses after the first block: a case whose own is off by more than the first of these
from those of the other cases, which agree to the second, has not trained as they have."""
TARGETS = (0.95, 0.97, 0.98)
"""The validation accuracies that time to accuracy is measured for."""
NOT_CERTIFIED = "not certified"
"""The mark of a group that was not proven to do the same training. An accuracy within the margin
does not make it equivalent: Adam with β₂ 0.9 ends at the same accuracy on the default workload."""
CHANCE = 1.5
"""An accuracy of at most this many times that of guessing counts as guessing."""

STOPPING_LEVEL = 0.005
"""A pair that is equivalent or different at this level may end the training of seeds early."""
FIGURES = ["validation_accuracy", "test_accuracy", "test_loss"]
INTERVAL_ENDS = [f"difference_points_{end}" for end in ("low", "high", "low95", "high95")]


def curves(readings: pd.DataFrame) -> pd.DataFrame:
    """The table `curves`: means over launches for each case and step, from the table `accuracy`.

    A mean loss is NaN if one launch's is. Steps after the last whole block are not timed, so the
    last `train_seconds` lacks their time.
    """
    rows = [
        {
            "case": case,
            "step": step,
            "seeds": len(seeds),
            **mean_with_interval("train_seconds", seeds["train_seconds"]),
            **share_with_interval("validation_accuracy", seeds["validation_accuracy"]),
            "validation_loss": seeds["validation_loss"].mean(skipna=False),
            "train_loss": seeds["train_loss"].mean(skipna=False),
        }
        for (case, step), seeds in readings.groupby(["case", "step"])
    ]
    return frames.from_rows("curves", rows)


def apart(readings: pd.DataFrame) -> dict[str, str]:
    """Why each case is held back that has learned something else than the others at first.

    `readings` is the table `accuracy`. Compared are cases of one launch, form of Adam and precision
    that were read after as many steps; with two of them, none can be told to be the wrong one.
    """
    trained = readings[readings["step"] > 0].sort_values("step")
    first = trained.drop_duplicates(["launch", "case"])
    reasons: dict[str, str] = {}
    for (*_, step), group in first.groupby(["launch", "adam", "precision", "step"]):
        losses = group.set_index("case")["validation_loss"]
        off = losses / losses.median() - 1
        near = off[off.abs() <= APART]
        if len(near) < max(2, len(off) - 1) or np.ptp(near) > TOGETHER:
            continue
        for case, share in off[off.abs() > APART].items():
            reasons[str(case)] = (
                f"held back until it is explained: after {step} steps its validation loss is "
                f"{abs(share):.1%} {'above' if share > 0 else 'below'} that of the other cases, "
                f"which agree within {TOGETHER:.1%}"
            )
    return reasons


def group_of(case: pd.Series) -> str:
    """The name of a case's group: the cases of its backend that do the same training.

    `case` has backend, adam and certified, like a row of the summary.
    """
    marks = ["stock-adam"] if case["adam"] == EPSILON_HAT else []
    marks += [] if case["certified"] else [NOT_CERTIFIED]
    return f"{case['backend']} ({', '.join(marks)})" if marks else str(case["backend"])


def final_accuracies(trainings: pd.DataFrame, cases: pd.DataFrame, steps: int) -> pd.DataFrame:
    """FIGURES and what is compared for each group and seed, of trainings that came to `steps`.

    They are means over the cases of a group. `trainings` are those of `learning.trainings`; `cases`
    has case, backend, adam and certified.
    """
    grouped = cases.assign(group=[group_of(case) for _, case in cases.iterrows()])
    ended = trainings[trainings["steps"] == steps]
    figures = grouped[["case", "group"]].merge(ended, on="case")
    # A figure that one of its cases lacks is lacking for the group.
    wanted = [*FIGURES, "compared"]
    means = figures.groupby(["group", "seed"], sort=False)[wanted].mean(skipna=False)
    return means.reset_index()


def accuracies(trainings: pd.DataFrame, cases: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The table `accuracies`: means over seeds; arguments as for `final_accuracies`."""
    by_seed = final_accuracies(trainings, cases, steps)
    ended = set(trainings.loc[trainings["steps"] == steps, "case"])
    rows = []
    for (backend, adam, _), members in cases[cases["case"].isin(ended)].groupby(
        ["backend", "adam", "certified"], sort=False
    ):
        group = group_of(members.iloc[0])
        seeds = by_seed[by_seed["group"] == group]
        row = {"group": group, "backend": backend, "adam": adam}
        row |= {"cases": len(members), "seeds": len(seeds)}
        for figure in FIGURES:
            of_share = figure != "test_loss"
            interval = share_with_interval if of_share else mean_with_interval
            row |= interval(figure, seeds[figure])
        rows.append(row)
    return frames.from_rows("accuracies", rows)


def equivalences(
    final_accuracies: pd.DataFrame, margin: float = ACCURACY_MARGIN_POINTS
) -> pd.DataFrame:
    """The table `equivalences`: every pair of groups, on what is compared of their accuracy.

    Differences and `margin` are in percentage points, `group` less `other`, paired by seed. The
    interval without a number is that of 90%, which lies within the margin exactly where
    `p_equivalent` is at most 5%. Only the p-values of differences are adjusted for the number of
    pairs.
    """
    points = 100 * final_accuracies.pivot_table(
        index="seed", columns="group", values="compared", sort=False
    )
    rows: list[dict[str, Any]] = []
    for group, other in combinations(points.columns, 2):
        # Rounded far below the last digit of an accuracy, so that equal differences are equal.
        differences = (points[group] - points[other]).dropna().round(9).to_numpy()
        rows.append({"group": group, "other": other} | _compare(differences, margin))
    adjusted = statistics.adjust([row["p_different"] for row in rows])
    for row, p_adjusted in zip(rows, adjusted, strict=True):
        if row["p_equivalent"] <= SIGNIFICANCE:
            proven = NOT_CERTIFIED not in row["group"] + row["other"]
            verdict = "equivalent" if proven else NOT_CERTIFIED
        else:
            verdict = "different" if p_adjusted <= SIGNIFICANCE else "too few seeds"
        row |= {"p_different_adjusted": p_adjusted, "verdict": verdict}
        if verdict != "too few seeds":
            row["seeds_needed"] = np.nan
    return frames.from_rows("equivalences", rows)


def learned(pairs: pd.DataFrame) -> bool:
    """Whether every pair of `equivalences` is decided, clearly enough to look no further.

    Looking after every seed and ending at the first sign would claim too much. One framework alone
    leaves nothing to decide.
    """
    clear = pairs[["p_equivalent", "p_different_adjusted"]].min(axis=1) <= STOPPING_LEVEL
    return bool(clear.all())


def _compare(differences: Array, margin: float) -> dict[str, Any]:
    """The tests of one pair, from its differences in points, one for each seed."""
    row: dict[str, Any] = {
        **dict.fromkeys(INTERVAL_ENDS, np.nan),
        "seeds": len(differences),
        "difference_points": differences.mean() if len(differences) else np.nan,
        "margin_points": margin,
        "seeds_needed": seeds_needed(differences, margin),
    }
    if len(differences) < 2:
        return row | {"p_equivalent": np.nan, "p_different": np.nan}
    if np.ptp(differences) == 0:
        # No spread, so no test: the difference is what it is.
        value = differences[0]
        row |= dict.fromkeys(INTERVAL_ENDS, value)
        return row | {"p_equivalent": float(abs(value) >= margin), "p_different": float(value == 0)}
    different = tested(stats.ttest_1samp, differences, 0)
    above = tested(stats.ttest_1samp, differences, -margin, alternative="greater")
    below = tested(stats.ttest_1samp, differences, margin, alternative="less")
    inner, outer = (different.confidence_interval(level) for level in (1 - 2 * SIGNIFICANCE, 0.95))
    row |= zip(INTERVAL_ENDS, (*inner, *outer), strict=True)
    p_equivalent = max(above.pvalue, below.pvalue)
    return row | {"p_equivalent": p_equivalent, "p_different": different.pvalue}


def seeds_needed(differences: Array, margin: float) -> float:
    """How many seeds would likely show equivalence or a difference.

    It is computed from the power of the tests (noncentral t distribution), as if the mean and the
    deviation of the `differences` so far, in points, were the true ones; the power of the two
    one-sided tests is replaced by its lower bound, the sum of both less one. NaN where more than
    MOST_SEEDS would be needed, and for fewer than two differences: they do not tell the spread.
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
    """The position of a launch's first reading that reaches `target`, if the next one does too."""
    enough = (accuracies_read >= target).to_numpy()
    positions = np.flatnonzero(enough[:-1] & enough[1:])
    return int(positions[0]) if len(positions) else None


def time_to_accuracy(
    readings: pd.DataFrame,
    cases: pd.DataFrame,
    step_seconds: pd.DataFrame,
    startup_seconds: pd.Series,
) -> pd.DataFrame:
    """The table `time_to_accuracy`: each case and each of TARGETS, over the seeds that reached it.

    The steps are those of the case's own trainings or, where it has none, of its group's: what a
    training learns belongs to the framework and the seed, what a step takes to the case. Both are
    typical values, exp of the mean of logarithms, and so is their product, whose interval has the
    uncertainty of both. `startup_seconds`, by case, is added in `total_seconds`.
    """
    groups = {case["case"]: group_of(case) for _, case in cases.iterrows()}
    of_group = readings.assign(group=readings["case"].map(groups))
    rows = []
    for case, group in groups.items():
        own = readings[readings["case"] == case]
        read = own if len(own) else of_group[of_group["group"] == group]
        if read.empty or case not in step_seconds:
            continue
        trainings = [one.sort_values("step") for _, one in read.groupby(["case", "seed"])]
        step = np.log(step_seconds[case])
        typical = means.mean_of_launches(pd.Series(statistics.launch_medians(step)))
        startup = startup_seconds.get(case, np.nan)
        for target in TARGETS:
            steps = pd.Series(
                [
                    float(one["step"].iloc[position])
                    for one in trainings
                    if (position := first_reached(one["validation_accuracy"], target)) is not None
                ]
            )
            with np.errstate(divide="ignore"):  # of one that reached it untrained
                taken = means.mean_of_launches(steps.map(np.log))
            row = {"case": case, "target": target, "seeds": len(trainings), "reached": len(steps)}
            row |= {"steps": steps.mean(), "startup_seconds": startup}
            row |= statistics.with_interval("train_seconds", _product(taken, typical))
            rows.append(row | {"total_seconds": startup + row["train_seconds"]})
    return frames.from_rows("time_to_accuracy", rows)


def _product(one: statistics.Estimate, other: statistics.Estimate) -> statistics.Estimate:
    """The product of two independent estimates, given as logarithms."""
    value = one.value + other.value
    below = np.hypot(one.value - one.low, other.value - other.low)
    above = np.hypot(one.high - one.value, other.high - other.value)
    value, low, high = np.exp([value, value - below, value + above]).tolist()
    return statistics.Estimate(value=value, low=low, high=high)


def find_failed_trainings(readings: pd.DataFrame, classes: int) -> dict[str, str]:
    """How training failed, for each case that diverged or learned nothing."""
    return {
        str(case): failure
        for case, rows in readings.groupby("case", sort=False)
        if (failure := _diverged(rows) or _learned_nothing(rows, classes))
    }


def _diverged(readings: pd.DataFrame) -> str:
    """A sentence on the step from which the losses of a case are not finite; empty if all are."""
    lost = readings[~np.isfinite(readings[["train_loss", "validation_loss"]]).all(axis=1)]
    first = lost.groupby("seed", as_index=False)["step"].min()
    where = [
        f"from step {step:,} in seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
        for step, seeds in first.groupby("step")["seed"]
    ]
    return f"diverged: the loss is not finite {' and '.join(where)}" if where else ""


def _learned_nothing(readings: pd.DataFrame, classes: int) -> str:
    """A sentence on the seeds whose last accuracy is that of guessing; empty if there are none."""
    last = readings[readings["step"] > 0].sort_values(["seed", "step"]).groupby("seed").tail(1)
    guessing = last[last["validation_accuracy"] <= CHANCE / classes]
    where = [
        f"{row['validation_accuracy']:.1%} validation accuracy at the last step, seed {row['seed']}"
        for _, row in guessing.iterrows()
    ]
    return f"learned nothing: accuracy at chance ({'; '.join(where)})" if where else ""
