"""How far cases are from their limits, on samples whose step times are known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from backends.floors import FLOOR_VERSION
from benchmarks.analysis import limits
from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.run.document import answer, document
from benchmarks.reports.run.sentences import cautions
from tests.synthetic_bundles import identity, write_bundle

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
        ("jax floor", "host_seconds", 0.0002),
    ],
    columns=["case", "part", "value"],
)
NO_BOUNDS = limits.compute_bounds(pd.DataFrame(columns=["piece", "backend", "library", "seconds"]))


def test_cases_are_set_against_the_fastest_floor_and_their_own() -> None:
    floors, rows = limits.compute_limits(FLOPS, samples(STEPS), PARTS, NO_BOUNDS)
    assert list(floors["case"]) == ["jax floor", "pytorch floor"]
    assert list(floors["peak_gflops"]) == pytest.approx([200, 100])
    assert list(floors["launches_ms"]) == pytest.approx([0.2, float("nan")], nan_ok=True)
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
    cases = limits.compute_limits(FLOPS, samples(STEPS, waited=0.25), PARTS, NO_BOUNDS)[
        1
    ].set_index("case")
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
    floors, cases = limits.compute_limits(
        FLOPS, samples({"jax compiled": 2.0}), PARTS.iloc[:0], NO_BOUNDS
    )
    assert floors.empty
    assert cases["x_floor"].isna().all()
    assert list(cases["bound"]) == [""]


PIECES = pd.DataFrame(
    [
        ("forward 1", "pytorch", "mkl", 3e-4),
        ("forward 1", "pytorch", "onednn", 2e-4),
        ("forward 1", "jax", "xla", 4e-4),
        ("adam", "pytorch", "pytorch", 3e-4),
        ("adam", "jax", "xla", 1e-4),
    ],
    columns=["piece", "backend", "library", "seconds"],
)


def test_the_bound_is_the_sum_of_the_least_times_of_all_pieces() -> None:
    bounds = limits.compute_bounds(PIECES)
    assert limits.bound_ms(bounds) == pytest.approx(0.2 + 0.1)
    fastest = bounds[bounds["fastest"]]
    assert list(fastest["piece"]) == ["forward 1", "adam"]
    assert list(fastest["library"]) == ["onednn", "xla"]
    floors, _ = limits.compute_limits(FLOPS, samples(STEPS), PARTS, bounds)
    assert dict(zip(floors["backend"], floors["bound_ms"], strict=True)) == pytest.approx(
        {"jax": 0.5, "pytorch": 0.5}
    )
    assert pd.isna(limits.bound_ms(NO_BOUNDS))


def findings_of(
    folder: Path, times_the_floor: float, version: int | None = FLOOR_VERSION
) -> tuple[Bundle, Findings]:
    """A run of a case that takes so many times as long as its floor, and of a slow one."""
    times = {"jax compiled": times_the_floor, "numpy eager": 2.0, "jax floor": 1.0}
    *cases, floor = map(identity, times)
    run = {"floor_version": version, "cases": cases, "floors": [floor]}
    bundle = Bundle.read(write_bundle(folder, times, spread=0.001, run=run))
    return bundle, compute_findings(bundle)


def test_a_case_below_the_floor_is_held_back_and_every_reader_told(tmp_path: Path) -> None:
    bundle, findings = findings_of(tmp_path / "bundle", 0.95)
    row = findings.summary.set_index("case").loc["jax compiled"]
    assert row["held_back"].startswith("held back until it is explained: it takes 0.9")
    assert pd.isna(row["rank"])
    assert pd.isna(row["times_fastest"])
    assert findings.verdicts.empty
    assert "jax compiled" not in answer(findings)
    assert any(
        note.severity == "warning" and note.text.startswith("jax compiled is held back")
        for note in cautions(bundle, findings)
    )
    report = document(bundle, findings).markdown()
    section = report.partition("## Not ranked")[2].partition("## ")[0]
    assert "held back until it is explained" in section


@pytest.mark.parametrize(("times", "fused"), [(0.98, True), (1.02, False)])
def test_a_case_near_the_floor_is_ranked(tmp_path: Path, times: float, fused: bool) -> None:
    bundle, findings = findings_of(tmp_path / "bundle", times)
    row = findings.summary.set_index("case").loc["jax compiled"]
    assert row["held_back"] == ""
    assert row["rank"] == 1
    assert ("it fuses pieces" in document(bundle, findings).markdown()) == fused


def test_nothing_follows_from_floors_of_the_first_version(tmp_path: Path) -> None:
    _, findings = findings_of(tmp_path / "bundle", 0.95, version=None)
    assert (findings.summary["held_back"] == "").all()


@pytest.mark.parametrize(("seconds", "held"), [(0.05, True), (0.02, False), (-0.05, False)])
def test_a_case_that_leaves_work_for_its_state_is_held_back(seconds: float, held: bool) -> None:
    timed = pd.DataFrame({"case": ["a", "a", "a", "floor"], "seconds": 1.0})
    timed["settling_seconds"] = [seconds, seconds, 0.9, float("nan")]
    late = limits.late(timed)
    assert list(late) == (["a"] if held else [])
    assert all("took 5% of a block longer" in why for why in late.values())
