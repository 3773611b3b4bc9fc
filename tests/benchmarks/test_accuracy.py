"""What the cases have learned, from readings whose true values are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.analysis import accuracy


def finals(**groups: list[float]) -> pd.DataFrame:
    """Final test accuracies (percent) of each group by seed, like accuracy.final_accuracies."""
    rows = [
        (group.replace("_", " "), seed, percent / 100)
        for group, percentages in groups.items()
        for seed, percent in enumerate(percentages)
    ]
    return pd.DataFrame(rows, columns=["group", "seed", "compared"])


def verdict(**groups: list[float]) -> pd.Series:
    (_, row), *others = accuracy.equivalences(finals(**groups)).iterrows()
    assert not others
    return row


def test_the_two_one_sided_tests_by_hand() -> None:
    row = verdict(a=[97.1, 97.3, 97.2, 97.4, 97.0], b=[97.0, 97.3, 97.3, 97.3, 96.9])
    differences = np.array([0.1, 0.0, -0.1, 0.1, 0.1])
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(5)
    assert row["difference_points"] == pytest.approx(0.04)
    above, below = (mean + 0.3) / error, (mean - 0.3) / error
    assert row["p_equivalent"] == pytest.approx(max(stats.t.sf(above, 4), stats.t.cdf(below, 4)))
    assert row["p_different"] == pytest.approx(2 * stats.t.sf(mean / error, 4))
    # The tables' quantiles for four degrees of freedom.
    for end, quantile in (("", 2.1318), ("95", 2.7764)):
        assert row[f"difference_points_low{end}"] == pytest.approx(
            mean - quantile * error, abs=1e-5
        )
        assert row[f"difference_points_high{end}"] == pytest.approx(
            mean + quantile * error, abs=1e-5
        )
    assert (row["verdict"], row["seeds"], row["margin_points"]) == ("equivalent", 5, 0.3)
    assert np.isnan(row["seeds_needed"])


@pytest.mark.parametrize("shift", [-0.4, -0.2, 0.0, 0.2, 0.25, 0.4])
def test_equivalent_exactly_where_the_90_percent_interval_lies_within_the_margin(
    shift: float,
) -> None:
    noise = np.array([0.05, -0.02, 0.01, -0.04])
    row = verdict(a=list(97 + shift + noise), b=[97.0] * 4)
    within = row["difference_points_low"] > -0.3 and row["difference_points_high"] < 0.3
    assert (row["p_equivalent"] <= 0.05) == within
    assert row["verdict"] == ("equivalent" if within else "different")


def test_seeds_are_paired() -> None:
    """Seeds differ by percentage points, backends within a seed by hundredths of a point."""
    row = verdict(a=[90.0, 95.0, 99.0], b=[90.01, 95.0, 99.01])
    assert row["verdict"] == "equivalent"


def test_what_is_not_certified_is_never_called_equivalent() -> None:
    same, apart = [97.0, 97.1, 97.2], "jax (not certified)"
    pairs = accuracy.equivalences(
        pd.DataFrame(
            [
                {"group": group, "seed": seed, "compared": value / 100}
                for group, shift in (("jax", 0.0), (apart, 0.0), ("numpy (not certified)", 2.0))
                for seed, value in enumerate(np.add(same, shift))
            ]
        )
    ).set_index(["group", "other"])
    assert pairs.loc[("jax", apart), "verdict"] == "not certified"
    assert pairs.loc[("jax", apart), "p_equivalent"] == 0
    assert pairs.loc[("jax", "numpy (not certified)"), "verdict"] == "different"


def test_one_seed_decides_nothing() -> None:
    row = verdict(a=[97.0], b=[97.0])
    assert row["verdict"] == "too few seeds"
    assert row[["p_equivalent", "p_different", "seeds_needed"]].isna().all()
    assert row["difference_points"] == 0


def test_identical_accuracies_are_equivalent() -> None:
    row = verdict(a=[97.16, 97.06], b=[97.16, 97.06])
    assert (row["verdict"], row["p_equivalent"], row["p_different"]) == ("equivalent", 0, 1)
    # Equal but for the last bit of a double.
    row = verdict(a=[97.16, 97.06], b=[97.06, 96.96])
    assert (row["verdict"], row["p_equivalent"], row["p_different"]) == ("equivalent", 0, 0)
    row = verdict(a=[97.16, 97.06], b=[96.16, 96.06])
    assert (row["verdict"], row["p_equivalent"], row["p_different"]) == ("different", 1, 0)


def test_accuracies_that_are_missing_are_left_out_of_the_pairs() -> None:
    row = verdict(a=[97.0, float("nan"), 97.2], b=[97.0, 97.1, 97.2])
    assert (row["seeds"], row["verdict"]) == (2, "equivalent")
    row = verdict(a=[97.0, 97.1], b=[97.0, float("nan")])
    assert (row["seeds"], row["verdict"]) == (1, "too few seeds")


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", [[0.15, -0.15, 0.0], [0.9, 0.5, 0.1], [-0.9, -0.5, -0.1]], ids=str
)
def test_the_seeds_that_are_needed_decide_with_the_probability_promised(first: list[float]) -> None:
    differences = np.array(first)
    needed = accuracy.seeds_needed(differences, 0.3)
    generator = np.random.default_rng(0)

    def decided(seeds: int) -> float:
        draws = generator.normal(differences.mean(), differences.std(ddof=1), (400, seeds))
        return float(
            np.mean(
                [
                    verdict(a=list(97 + draw), b=[97.0] * seeds)["verdict"] != "too few seeds"
                    for draw in draws
                ]
            )
        )

    assert decided(int(needed)) >= accuracy.LIKELY - 0.05
    assert decided(int(needed) - 2) < accuracy.LIKELY


def test_more_seeds_than_anybody_runs_are_not_promised() -> None:
    """The mean lies halfway between zero and the margin, and the spread is large."""
    assert np.isnan(accuracy.seeds_needed(np.array([3.15, -2.85, 0.15]), 0.3))


def test_differences_are_adjusted_for_the_number_of_pairs() -> None:
    pattern = np.array([3.0, -3.0, 1.0, -1.0]) / np.sqrt(20 / 3)
    # A difference of 3.5 standard errors: 4% alone, but not as one of three pairs.
    different = 1 + pattern * 2 / 3.5
    noise = np.array([5.0, 3.0, -3.0, -5.0])
    groups = {"a": list(80 + different), "b": [80.0] * 4, "c": list(80 + noise)}
    pairs = accuracy.equivalences(finals(**groups))
    assert pairs["p_different"].iloc[0] == pytest.approx(2 * stats.t.sf(3.5, 3))
    assert 0.03 < pairs["p_different"].iloc[0] < 0.05
    expected = stats.false_discovery_control(pairs["p_different"])
    assert pairs["p_different_adjusted"].tolist() == pytest.approx(list(expected))
    assert pairs["verdict"].tolist() == ["too few seeds"] * 3
    assert verdict(a=groups["a"], b=groups["b"])["verdict"] == "different"


def readings(
    *accuracies: float, case: str = "a", launch: int = 0, **columns: float
) -> pd.DataFrame:
    steps = np.arange(len(accuracies)) * 100
    return pd.DataFrame(
        {
            "launch": launch,
            "seed": launch,
            "case": case,
            "step": steps,
            "train_seconds": steps / 1000 * (launch + 1),
            "train_loss": 0.1,
            "validation_loss": 0.2 + launch,
            "validation_accuracy": accuracies,
        }
    ).assign(**columns)


def test_curves_are_means_with_student_t_intervals() -> None:
    curves = accuracy.curves(pd.concat([readings(0.1, 0.9), readings(0.2, 0.94, 0.95, launch=1)]))
    row = curves.iloc[1]
    assert (row["case"], row["step"], row["seeds"]) == ("a", 100, 2)
    assert row["validation_accuracy"] == pytest.approx(0.92)
    # Two values lie one standard error of their mean from it; 12.706 is the table's t(0.975, 1).
    odds = np.log([0.9 / 0.1, 0.94 / 0.06])
    low = odds.mean() - 12.706 * np.diff(odds).item() / 2
    assert row["validation_accuracy_low"] == pytest.approx(1 / (1 + np.exp(-low)), abs=1e-4)
    assert 0 < row["validation_accuracy_low"] < 0.92 < row["validation_accuracy_high"] < 1
    assert row["train_seconds"] == pytest.approx(0.15)
    assert row["validation_loss"] == pytest.approx(0.7)
    alone = curves.iloc[2]
    assert (alone["step"], alone["seeds"]) == (200, 1)
    assert np.isnan(alone["validation_accuracy_low"])


def test_a_target_is_reached_where_two_readings_stay() -> None:
    read = pd.Series([0.9, 0.96, 0.94, 0.95, 0.955, 0.97])
    assert accuracy.first_reached(read, 0.95) == 3
    assert accuracy.first_reached(read, 0.97) is None
    assert accuracy.first_reached(read, 0.2) == 0


def test_time_to_accuracy_is_steps_of_the_framework_times_step_time_of_the_case() -> None:
    read = pd.concat(
        [
            readings(0.1, 0.96, 0.96, 0.975, 0.975),
            readings(0.1, 0.90, 0.96, 0.96, 0.96, launch=1),
        ]
    )
    index = pd.MultiIndex.from_product([range(3), range(2)], names=["launch", "round"])
    step = 0.001 * np.exp([-0.1, -0.1, 0, 0, 0.1, 0.1])
    seconds = pd.DataFrame({"a": step, "a too": 2 * step, "b": step}, index=index)
    named = cases(("a", "textbook", True), ("a too", "textbook", True), ("b", "textbook", True))
    times = accuracy.time_to_accuracy(
        read, named, seconds, pd.Series({"a": 2.0, "a too": 3.0, "b": 1.0})
    )
    # Another framework has no training.
    assert set(times["case"]) == {"a", "a too"}
    rows = {(row["case"], row["target"]): row for _, row in times.iterrows()}
    both = rows["a", 0.95]
    assert (both["seeds"], both["reached"], both["steps"]) == (2, 2, 150)
    # 100 and 200 steps of a millisecond, by their logarithms' mean.
    assert both["train_seconds"] == pytest.approx(0.1 * 2**0.5)
    assert both["total_seconds"] == pytest.approx(2 + 0.1 * 2**0.5)
    # The spread of seeds and that of launches: t(1) and t(2) times a standard error each.
    reach = np.hypot(12.706 * np.log(2) / 2, 4.303 * 0.1 / 3**0.5)
    assert both["train_seconds_low"] == pytest.approx(0.1 * 2**0.5 * np.exp(-reach), rel=1e-3)
    assert rows["a too", 0.95]["train_seconds"] == pytest.approx(0.2 * 2**0.5)
    one = rows["a", 0.97]
    assert (one["seeds"], one["reached"], one["steps"]) == (2, 1, 300)
    assert one["train_seconds"] == pytest.approx(0.3)
    none = rows["a", 0.98]
    assert none["reached"] == 0
    assert none[["steps", "train_seconds", "total_seconds"]].isna().all()
    assert none["startup_seconds"] == 2.0


def test_seeds_end_when_every_pair_is_clear() -> None:
    equal = [97.0, 97.1, 97.05, 97.0, 97.02]
    assert accuracy.learned(accuracy.equivalences(finals(a=equal, b=[*equal[:4], 97.04])))
    apart = [97.0, 97.9, 97.3, 96.5, 97.6]
    assert not accuracy.learned(accuracy.equivalences(finals(a=equal, b=apart)))
    assert accuracy.learned(accuracy.equivalences(finals(a=equal)))


def test_a_failed_training_is_named_with_step_and_seed() -> None:
    lost = readings(0.1, 0.9, 0.1, 0.1, launch=1)
    lost.loc[2:, "validation_loss"] = [np.inf, np.nan]
    rows = pd.concat(
        [
            readings(0.1, 0.9, 0.95, 0.95),
            lost,
            readings(0.1, 0.3, case="slow"),
            readings(0.1, 0.2, 0.101, case="guessing"),
            readings(0.1, case="not trained"),
            *(
                readings(0.1, 0.1, case="b", launch=launch, train_loss=float("nan")).iloc[first:]
                for launch, first in ((0, 1), (1, 0), (2, 1))
            ),
        ]
    )
    assert accuracy.find_failed_trainings(rows, classes=10) == {
        "a": "diverged: the loss is not finite from step 200 in seed 1",
        "b": "diverged: the loss is not finite "
        "from step 0 in seed 1 and from step 100 in seeds 0, 2",
        "guessing": "learned nothing: accuracy at chance "
        "(10.1% validation accuracy at the last step, seed 0)",
    }


def launches(**accuracies: list[float]) -> pd.DataFrame:
    """launches.csv: final test accuracies by seed; those of less than 0.5 were not the last."""
    rows = [
        (case.replace("_", " "), seed, 500 if value > 0.5 else 300, value, value, 0.1)
        for case, percentages in accuracies.items()
        for seed, value in enumerate(percentages)
    ]
    columns = ["case", "seed", "steps", "validation_accuracy", "test_accuracy", "test_loss"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(compared=frame["test_accuracy"])


def cases(*rows: tuple[str, str, bool]) -> pd.DataFrame:
    named = pd.DataFrame(rows, columns=["case", "adam", "certified"])
    return named.assign(backend=named["case"].str.split().str[0])


def test_a_backends_accuracy_is_the_mean_over_its_cases() -> None:
    finished = launches(
        jax_eager=[0.96, 0.98],
        jax_compiled=[0.97, 0.3],
        jax_multistep=[0.6, 0.6],
        tensorflow_fit=[0.9, 0.9],
        numpy_eager=[0.3, 0.3],
    )
    named = cases(
        ("jax eager", "textbook", True),
        ("jax compiled", "textbook", True),
        ("jax multistep", "textbook", False),
        ("tensorflow fit", "epsilon-hat", True),
        ("numpy eager", "textbook", True),
    )
    groups = accuracy.accuracies(finished, named, 500).set_index("group")
    assert list(groups.index) == ["jax", "jax (not certified)", "tensorflow (stock-adam)"]
    jax = groups.loc["jax"]
    assert (jax["cases"], jax["seeds"]) == (2, 2)
    # The second launch of jax compiled was not trained to the end.
    assert jax["test_accuracy"] == pytest.approx((0.965 + 0.98) / 2)
    assert groups.loc["jax (not certified)", "test_accuracy"] == pytest.approx(0.6)
    pairs = accuracy.equivalences(accuracy.final_accuracies(finished, named, 500))
    assert len(pairs) == 3


def first_losses(**losses: float) -> pd.DataFrame:
    """The table `accuracy` of cases with these validation losses after their first block."""
    rows = [
        {
            "launch": 0, "case": case, "adam": "textbook", "precision": "float32", "step": step,
            "validation_loss": loss if step else 2.3,
        }
        for case, loss in losses.items()
        for step in (0, 150, 300)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_case_that_learns_something_else_than_the_others_is_held_back() -> None:
    apart = accuracy.apart(first_losses(a=0.5, b=0.50001, c=0.49999, d=0.51))
    assert list(apart) == ["d"]
    assert "after 150 steps its validation loss is 2.0% above" in apart["d"]


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param({"a": 0.5, "b": 0.504, "c": 0.5}, id="all within"),
        pytest.param({"a": 0.5, "b": 0.51}, id="two cannot tell which is wrong"),
        pytest.param({"a": 0.5, "b": 0.503, "c": 0.52}, id="the others differ too"),
        pytest.param({"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8}, id="all differ"),
    ],
)
def test_where_it_cannot_be_told_nothing_is_held_back(losses: dict[str, float]) -> None:
    assert accuracy.apart(first_losses(**losses)) == {}
