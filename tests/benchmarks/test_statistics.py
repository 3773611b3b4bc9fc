"""The statistics, on samples whose true step times are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from benchmarks.analysis import means, statistics
from benchmarks.analysis.between_runs import comparison
from benchmarks.analysis.noise import Variance
from benchmarks.analysis.statistics import Estimate
from benchmarks.bundle.reader import undisturbed

AB, AC, BC = ((*pair, "tier") for pair in (("a", "b"), ("a", "c"), ("b", "c")))


def make_samples(
    step_ms: dict[str, float],
    *,
    launches: int = 3,
    rounds: int = 20,
    noise: float = 0.02,
    slowdown: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Blocks of 10 steps; `slowdown` is how much slower all cases are in the last round."""
    generator = np.random.default_rng(seed)
    rows = []
    for launch in range(launches):
        for round_number in range(rounds):
            machine = 1 + slowdown * round_number / rounds
            for case, mean in step_ms.items():
                seconds = 10 * mean / 1000 * machine * np.exp(generator.normal(0, noise))
                repetition = int(case.endswith("(control)"))
                rows.append((launch, round_number, case, case[0], repetition, 10, seconds))
    columns = ["launch", "round", "case", "backend", "repetition", "steps", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def test_step_time_is_seconds_by_steps() -> None:
    table = statistics.step_seconds(make_samples({"a": 3.0}, noise=0))
    np.testing.assert_allclose(table["a"], 0.003)


def test_a_known_ratio_lies_within_its_interval() -> None:
    table = statistics.step_seconds(make_samples({"a": 3.0, "b": 2.0}))
    estimate = statistics.ratio(table, "a", "b")
    assert estimate.low < 1.5 < estimate.high
    assert estimate.value == pytest.approx(1.5, rel=0.02)
    assert estimate.high - estimate.low < 0.15


def test_a_slowdown_that_all_cases_share_cancels() -> None:
    calm = statistics.step_seconds(make_samples({"a": 3.0, "b": 2.0}))
    slowing = statistics.step_seconds(make_samples({"a": 3.0, "b": 2.0}, slowdown=1.0))
    for name in ("value", "low", "high"):
        assert getattr(statistics.ratio(slowing, "a", "b"), name) == pytest.approx(
            getattr(statistics.ratio(calm, "a", "b"), name)
        )


def test_processes_that_differ_widen_the_interval() -> None:
    samples = make_samples({"a": 3.0, "b": 2.0})
    unlike = samples.copy()
    slow = (unlike["case"] == "a") & (unlike["launch"] == 1)
    unlike.loc[slow, "seconds"] *= 1.2

    def width(of: pd.DataFrame) -> float:
        estimate = statistics.ratio(statistics.step_seconds(of), "a", "b")
        return estimate.high - estimate.low

    assert width(unlike) > 3 * width(samples)


def test_rounds_without_one_of_the_two_are_left_out() -> None:
    samples = make_samples({"a": 3.0, "b": 2.0})
    lost = (samples["case"] == "b") & (samples["launch"] == 2)
    estimate = statistics.ratio(statistics.step_seconds(samples[~lost]), "a", "b")
    assert estimate.value == pytest.approx(1.5, rel=0.02)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        ((0.80, 0.78, 0.82), "faster"),
        ((1.25, 1.22, 1.28), "slower"),
        ((1.001, 0.995, 1.008), "tie"),
        ((1.05, 0.98, 1.12), "undecided"),
        # Significant, but no more than what counts as equal.
        ((1.009, 1.001, 1.017), "tie"),
        ((0.992, 0.965, 0.999), "undecided"),
        ((1.02, 1.015, 1.025), "slower"),
        ((np.nan, np.nan, np.nan), "undecided"),
    ],
)
def test_verdict_rule(estimate: tuple[float, float, float], expected: str) -> None:
    value, low, high = estimate
    tested = Estimate(value=value, low=low, high=high)
    p_value = 0.01 if low > 1 or high < 1 else 0.2
    assert statistics.verdict(tested, p_value) == expected


def test_a_difference_that_many_pairs_explain_is_none() -> None:
    estimate = Estimate(value=1.10, low=1.01, high=1.20, p_value=0.03)
    assert statistics.verdict(estimate, 0.03) == "slower"
    assert statistics.verdict(estimate, 0.04) == "undecided"


def test_adjusted_p_values() -> None:
    # Benjamini and Hochberg: p · pairs / rank, made monotone; computed by hand.
    assert statistics.adjust([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    adjusted = statistics.adjust([0.02, float("nan")])
    assert adjusted[0] == pytest.approx(0.02)
    assert np.isnan(adjusted[1])
    assert statistics.adjust([]) == []


def test_one_launch_decides_nothing() -> None:
    samples = make_samples({"a": 3.0, "b": 2.0}, launches=1)
    verdicts = statistics.verdicts(samples, [AB])
    assert verdicts["verdict"].item() == "undecided"
    assert verdicts["ratio"].item() == pytest.approx(1.5, rel=0.05)
    assert np.isnan(verdicts["ratio_low"].item())


def needed(*medians: float) -> float:
    values = np.array(medians)
    own = float(np.var(values, ddof=1)) if len(values) > 1 else np.nan
    return statistics.launches_needed(values, Variance(own, len(values) - 1))


def test_launches_needed() -> None:
    # Of mean 5% and deviation 3%: at 3%, t(n − 1) · 3% / √n < 5% first holds for n = 5.
    assert needed(0.02, 0.05, 0.08) == 5
    # Nothing between the two, and a hundred launches would not show it to be less than 3%.
    assert np.isnan(needed(0.20, -0.20, 0.0))
    # Equal, with a deviation of 2%: t(n − 1) · 2% / √n < 2.96% first holds for n = 5.
    assert needed(-0.02, 0.0, 0.02) == 5
    assert np.isnan(needed(0.1))


def test_launches_needed_are_fewer_where_other_pairs_tell_the_spread() -> None:
    # As the first of these, with t(n + 7) instead of t(n − 1).
    assert statistics.launches_needed(np.array([0.02, 0.05, 0.08]), Variance(9e-4, 10)) == 4


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("faster", 0.001, np.nan), ("tie", 0.5, np.nan)], True),
        # Significant, but not enough to end a run early for it.
        ([("slower", 0.02, np.nan)], False),
        ([("undecided", 0.3, 7.0)], False),
        ([("undecided", 0.9, np.nan)], True),
        ([], True),
    ],
)
def test_settled(pairs: list[tuple[str, float, float]], expected: bool) -> None:
    columns = ["verdict", "p_adjusted", "launches_needed"]
    assert statistics.settled(pd.DataFrame(pairs, columns=columns)) is expected


def test_disturbed_rounds_are_left_out_unless_most_are() -> None:
    samples = make_samples({"a": 2.0}, launches=2, rounds=5)
    rounds = samples[["launch", "round"]].assign(disturbed=False)
    rounds.loc[rounds["launch"] == 0, "disturbed"] = [True, False, False, True, False]
    rounds.loc[rounds["launch"] == 1, "disturbed"] = [True, True, True, True, False]
    kept = undisturbed(samples, rounds)
    assert kept.groupby("launch")["round"].agg(list).to_dict() == {
        0: [1, 2, 4],
        1: [0, 1, 2, 3, 4],
    }
    assert list(kept.columns) == list(samples.columns)


def test_verdicts_and_ranks() -> None:
    samples = make_samples({"a": 3.0, "b": 2.0, "c": 2.0}, noise=0.005, rounds=40)
    verdicts = statistics.verdicts(samples, [AB, AC, BC])
    by_pair = verdicts.set_index(["case", "other"])["verdict"]
    assert by_pair["a", "b"] == "slower"
    assert by_pair["a", "c"] == "slower"
    assert by_pair["b", "c"] != "faster"
    assert statistics.ranks("abc", verdicts) == {"a": 3, "b": 1, "c": 1}


def test_pairs_of_other_relations_make_no_rank() -> None:
    verdicts = pd.DataFrame(
        {
            "case": ["a", "b", "b"],
            "other": ["b", "c", "a (old)"],
            "relation": ["tier", "rung", "variant"],
            "verdict": ["faster", "slower", "slower"],
        }
    )
    assert statistics.ranks(["a", "b"], verdicts) == {"a": 1, "b": 2}


def test_a_verdict_can_be_read_both_ways() -> None:
    samples = make_samples({"a": 3.0, "b": 2.0}, noise=0.005)
    one, other = statistics.both_ways(statistics.verdicts(samples, [AB])).to_dict("records")
    assert (one["case"], one["verdict"]) == (other["other"], "slower")
    assert (other["case"], other["verdict"]) == (one["other"], "faster")
    assert other["ratio"] == pytest.approx(1 / one["ratio"])
    assert other["ratio_low"] == pytest.approx(1 / one["ratio_high"])
    assert other["ratio_low"] < other["ratio"] < other["ratio_high"]


def test_pairs_with_a_case_that_was_not_timed_are_left_out() -> None:
    verdicts = statistics.verdicts(make_samples({"a": 3.0, "b": 2.0}), [AB, AC])
    assert list(verdicts["other"]) == ["b"]


def test_the_typical_pair_gives_the_resolution() -> None:
    calm = make_samples({"a": 2.0, "b": 2.0}, noise=0.001)
    noisy = make_samples({"a": 2.0, "b": 2.0}, noise=0.1)
    fine, coarse = (statistics.resolution(statistics.verdicts(one, [AB])) for one in (calm, noisy))
    assert fine < 0.005 < coarse
    assert np.isnan(statistics.resolution(statistics.verdicts(calm, [])))


def test_what_is_shown_is_ranked_however_widely_other_pairs_vary() -> None:
    samples = make_samples({"a": 2.06, "b": 2.0, "c": 3.0}, noise=0.001)
    # Two of three pairs vary by a tenth from launch to launch.
    samples.loc[samples["case"] == "c", "seconds"] *= 1 + 0.1 * (samples["launch"] - 1)
    verdicts = statistics.verdicts(samples, [AB, AC, BC]).set_index(["case", "other"])
    assert statistics.resolution(verdicts) > 0.05
    assert verdicts.loc[("a", "b"), "verdict"] == "slower"


def test_no_interval_says_anything_else_than_its_verdict() -> None:
    generator = np.random.default_rng(0)
    for seed in range(30):
        cases = {name: 2 * float(np.exp(generator.normal(0, 0.03))) for name in "abcdef"}
        samples = make_samples(cases, noise=0.05, seed=seed)
        pairs = [(*pair, "tier") for pair in combinations(cases, 2)]
        verdicts = statistics.verdicts(samples, pairs)
        holds_one = (verdicts["ratio_low"] <= 1) & (verdicts["ratio_high"] >= 1)
        significant = verdicts["p_adjusted"] <= statistics.SIGNIFICANCE
        assert (holds_one == ~significant).all()
        assert verdicts["confidence"].nunique() == 1


@pytest.mark.parametrize("launches", [2, 3, 5])
def test_intervals_cover_the_truth_where_processes_differ(launches: int) -> None:
    """200 simulated runs with 1% between rounds and 2% between processes: 95% should cover."""
    generator = np.random.default_rng(launches)
    covered = 0
    for _ in range(200):
        process = generator.normal(0, 0.02, launches).repeat(20)
        noise = generator.normal(0, 0.01, launches * 20)
        index = pd.MultiIndex.from_product([range(launches), range(20)], names=["launch", "round"])
        estimate = statistics.interval_of_logs(pd.Series(process + noise, index=index))
        covered += estimate.low <= 1 <= estimate.high
    # 95% of 200 is 190; fewer than 180 has a probability of 0.2%.
    assert covered >= 180


def test_mean_of_launches() -> None:
    estimate = means.mean_of_launches(pd.Series([0.97, 0.98, 0.99]))
    assert estimate.value == pytest.approx(0.98)
    # Student's t with 2 degrees of freedom: 4.303 standard errors.
    assert estimate.high - estimate.value == pytest.approx(4.303 * 0.01 / 3**0.5, rel=1e-3)
    assert np.isnan(means.mean_of_launches(pd.Series([0.97])).low)
    assert np.isnan(means.mean_of_launches(pd.Series(dtype=float)).value)


def test_launches_that_are_all_equal_are_no_reason_for_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    for values in (np.full(3, np.log(0.001)), np.full(3, np.log(0.7))):
        assert statistics.interval_of_medians(values).p_value < 0.01
        equal = comparison.ratio(values + 1e-15 * np.arange(3), values)
        assert equal.value == pytest.approx(1)
    assert not recwarn.list


def test_launches_that_tell_nothing_are_no_reason_for_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    wide = statistics.interval_of_medians(np.array([-1.0, 1.0]), confidence=1 - 1e-6)
    assert (wide.low, wide.high) == (0.0, np.inf)
    assert statistics.verdict(wide, 1.0) == "undecided"
    assert not recwarn.list
