"""What differs from launch to launch, on medians and samples whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.analysis import noise
from benchmarks.analysis.statistics import backends_of, step_seconds
from benchmarks.validation.whole_runs import Noise, simulate


def test_a_variance_is_shrunk_towards_those_of_its_kind() -> None:
    medians = [np.array([0.0, 0.1, 0.2]), np.array([0.0, 0.3, 0.6]), np.array([0.0, 1.0])]
    one, other, alone = noise.pooled([[values] for values in medians], ["ab", "ab", "ac"])
    # Variances 0.01 and 0.09 of two degrees of freedom each; half of the other's two are lent.
    assert one == pytest.approx(((2 * 0.01 + 1 * 0.09) / 3, 3))
    assert other == pytest.approx(((2 * 0.09 + 1 * 0.01) / 3, 3))
    assert alone == pytest.approx((0.5, 1))


def test_groups_have_means_of_their_own() -> None:
    apart = [np.array([0.0, 0.1, 0.2]), np.array([5.0, 5.3, 5.6])]
    assert noise.pooled([apart], ["a"]) == [pytest.approx(((2 * 0.01 + 2 * 0.09) / 4, 4))]


def test_no_more_is_lent_than_the_limit() -> None:
    medians = [[np.array([0.0, 0.1, 0.2])]] * 20
    assert noise.pooled(medians, ["ab"] * 20)[0].freedom == 2 + noise.PRIOR


def test_one_launch_tells_no_variance() -> None:
    assert np.isnan(noise.pooled([[np.array([0.1])]], ["ab"])[0].value)


QUIET = Noise("quiet", (0.005, 0.005, 0.005))


@pytest.mark.parametrize("launches", [3, 5])
def test_a_process_on_another_speed_is_found_and_left_out(launches: int) -> None:
    samples = simulate(QUIET, launches, 0.0, seed=1)
    slow = (samples["case"] == "b expert") & (samples["launch"] == 1)
    samples.loc[slow, "seconds"] *= 1.14
    table, frameworks = (
        step_seconds(samples),
        backends_of(samples),
    )
    found = noise.other_speeds(table, frameworks)
    assert found[["launch", "case"]].to_numpy().tolist() == [[1, "b expert"]]
    assert found["times"].item() == pytest.approx(1.14, abs=0.02)
    kept = noise.on_main_speed(table, found)
    assert kept["b expert"].loc[1].isna().all()
    assert kept.notna().to_numpy().sum() == table.size - len(table.loc[1])


def test_where_processes_vary_widely_none_is_on_another_speed() -> None:
    samples = simulate(Noise("wide", (0.06, 0.06, 0.06)), 5, 0.0, seed=1)
    frameworks = backends_of(samples)
    assert noise.other_speeds(step_seconds(samples), frameworks).empty


def test_of_too_few_cases_or_launches_nothing_is_said() -> None:
    samples = simulate(QUIET, 2, 0.0, seed=1)
    samples.loc[(samples["case"] == "b expert") & (samples["launch"] == 1), "seconds"] *= 2
    frameworks = backends_of(samples)
    assert noise.other_speeds(step_seconds(samples), frameworks).empty
    longer = simulate(QUIET, 4, 0.0, seed=1)
    longer.loc[(longer["case"] == "b expert") & (longer["launch"] == 1), "seconds"] *= 2
    few = longer[longer["case"].isin(["a expert", "b expert", "c expert"])]
    assert noise.other_speeds(step_seconds(few), frameworks).empty
