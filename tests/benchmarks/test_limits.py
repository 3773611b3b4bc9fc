"""How far cases are from their limits, on samples whose step times are known."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.analysis import limits

FLOPS = 1e8


def samples(step_ms: dict[str, float], waited: float = 0.0) -> pd.DataFrame:
    rows = [
        {
            "launch": launch,
            "round": number,
            "case": case,
            "backend": case.split()[0],
            "mode": case.split()[1],
            "steps": 10,
            "seconds": 10 * ms / 1000,
            "dispatch_seconds": 10 * ms / 1000 * (1 - waited),
            "peak_flops": PEAKS.get(case),
            "pass_seconds": PASSES.get(case),
        }
        for launch in range(2)
        for number in range(3)
        for case, ms in step_ms.items()
    ]
    return pd.DataFrame(rows)


PEAKS = {"jax floor": 2e11, "pytorch floor": 1e11}
PASSES = {"jax floor": 3e-4, "pytorch floor": 2e-4}
STEPS = {"jax compiled": 2.0, "pytorch eager": 4.0, "jax floor": 1.0, "pytorch floor": 1.6}
PARTS = pd.DataFrame(
    [
        ("jax compiled", "host_seconds", 0.0001),
        ("jax compiled", "input_seconds", 0.00005),
        ("pytorch eager", "host_seconds", 0.003),
    ],
    columns=["case", "part", "value"],
)


def test_cases_are_set_against_the_fastest_floor_and_their_own() -> None:
    floors, rows = limits.compute_limits(FLOPS, samples(STEPS), PARTS)
    assert list(floors["case"]) == ["jax floor", "pytorch floor"]
    assert list(floors["peak_gflops"]) == pytest.approx([200, 100])
    cases = rows.set_index("case")
    assert list(cases.index) == ["jax compiled", "pytorch eager"]
    assert cases["x_floor"].to_dict() == pytest.approx({"jax compiled": 2, "pytorch eager": 4})
    assert cases["x_own_floor"].to_dict() == pytest.approx(
        {"jax compiled": 2, "pytorch eager": 2.5}
    )
    # 1e8 operations in 2 ms are 50 GFLOP/s, of a peak of 200.
    assert cases.at["jax compiled", "gflops"] == pytest.approx(50)
    assert cases.at["jax compiled", "peak_share"] == pytest.approx(0.25)


def test_the_parts_sum_up_to_the_step_and_the_largest_bounds_it() -> None:
    cases = limits.compute_limits(FLOPS, samples(STEPS, waited=0.25), PARTS)[1].set_index("case")
    jax = cases.loc["jax compiled"]
    assert jax["arithmetic_ms"] == pytest.approx(0.5)
    assert jax["memory_ms"] == pytest.approx(0.2)
    assert jax["dispatch_ms"] == pytest.approx(0.1)
    assert jax["input_ms"] == pytest.approx(0.05)
    assert jax["rest_ms"] == pytest.approx(2.0 - 0.5 - 0.2 - 0.1 - 0.05)
    assert jax["waited_ms"] == pytest.approx(0.5)
    assert jax["bound"] == "rest"
    assert cases.at["pytorch eager", "bound"] == "dispatch"


def test_without_floors_and_parts_nothing_is_claimed() -> None:
    floors, cases = limits.compute_limits(FLOPS, samples({"jax compiled": 2.0}), PARTS.iloc[:0])
    assert floors.empty
    assert cases["x_floor"].isna().all()
    assert list(cases["bound"]) == [""]
