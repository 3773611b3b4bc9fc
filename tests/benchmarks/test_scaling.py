"""How groups of ranks are set against one process and their floors, where step times are known."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.analysis import certified, scaling
from benchmarks.analysis.certified import UNCERTIFIED, groups_left_out
from benchmarks.bundle.records import CaseRecord

SUMS = {"jax floor 2 ranks": 0.5, "numpy floor 2 ranks": 0.1}
STEPS = {
    "jax handwritten": 4.0,
    "jax nnx": 10.0,
    "jax sharded 2 ranks": 8.0,
    "jax shard-map-loop 2 ranks": 5.0,
    "jax shard-map-loop 2 ranks batch 256": 8.0,
    "jax floor 2 ranks": 2.0,
    "numpy floor 2 ranks": 3.0,
    "jax floor 2 ranks batch 256": 4.0,
}
"""Milliseconds."""


def record(case: str) -> CaseRecord:
    backend, mode, *others = case.split()
    return CaseRecord(
        case=case, backend=backend, mode=mode, input="resident", precision="float32", device="cpu",
        adam="textbook", repetition=0, ranks=2 if "ranks" in case else None,
        batch=256 if "batch" in others else None,
    )  # fmt: skip


def samples(late_in: int = -1) -> pd.DataFrame:
    """Of three launches of four rounds; in one of them sums over ranks take ten times as long."""
    rows: list[dict[str, Any]] = []
    for launch, number, (case, ms) in product(range(3), range(4), STEPS.items()):
        one = record(case)
        floor = SUMS.get(case.removesuffix(" batch 256"), np.nan)
        rows.append({
            "launch": launch, "round": number, "case": case, "backend": one.backend,
            "mode": one.mode, "ranks": one.ranks, "batch": one.batch,
            "batch_size": one.batch or 128, "steps": 10,
            # Launches and rounds vary alike for all cases.
            "seconds": ms / 100 * (1 + 0.01 * launch + 0.02 * number),
            # Other load makes all but the first in a launch longer.
            "reduce_seconds": floor / 1000 * (1 + number) * (10 if launch == late_in else 1),
        })  # fmt: skip
    return pd.DataFrame(rows).astype({"ranks": float, "batch": float})


ALONE = pd.DataFrame([
    {"case": "jax handwritten", "backend": "jax", "tier": "limit", "step_ms": 4.0},
    {"case": "jax nnx", "backend": "jax", "tier": "taught", "step_ms": 10.0},
]).assign(ranks=1, adam="textbook", variant="")  # fmt: skip
PARTS = pd.DataFrame([("jax sharded 2 ranks", "communication_seconds", 0.002)],
    columns=["case", "part", "value"])  # fmt: skip


def computed(timed: pd.DataFrame, *cases: str) -> pd.DataFrame:
    groups = {record(case): "" for case in cases}
    floors = scaling.group_floors(timed)
    return scaling.scaling(groups, timed, floors, PARTS, ALONE, 128).set_index("case")


def test_speed_up_is_against_the_fastest_and_efficiency_against_the_groups_own_tier() -> None:
    sharded = computed(samples(), "jax sharded 2 ranks").iloc[0]
    assert (sharded["base"], sharded["base_of_tier"]) == ("jax handwritten", "jax nnx")
    assert sharded["speed_up"] == pytest.approx(4 / 8)
    assert sharded["efficiency"] == pytest.approx(10 / 8 / 2)
    assert sharded["communication_share"] == pytest.approx(2 / sharded["step_ms"])


def test_a_weak_group_trains_more_images_and_has_a_floor_of_its_own() -> None:
    rows = computed(samples(), *(case for case in STEPS if "loop" in case))
    strong, weak = rows.iloc[0], rows.iloc[1]
    assert weak["speed_up"] == pytest.approx(2 * 4 / 8)
    # The fastest share and the fastest sum, whoever's; load counts in neither.
    assert strong["x_floor"] == pytest.approx(5 / 2.1, rel=0.01)
    assert strong["x_own_floor"] == pytest.approx(5 / 2.5, rel=0.01)
    assert weak["x_floor"] == pytest.approx(8 / 4.5, rel=0.01)


def test_the_intervals_of_a_floor_hold_its_sums_too() -> None:
    """A sum that takes ten times as long in one launch is in them."""
    case = "jax shard-map-loop 2 ranks"
    steady, unsteady = (computed(samples(late), case).iloc[0] for late in (-1, 1))
    reach = [np.log(row["x_own_floor_high"] / row["x_own_floor_low"]) for row in (steady, unsteady)]
    assert reach[1] > 10 * reach[0]


def test_what_was_not_timed_has_a_row_and_no_figure() -> None:
    one = record("jax shard-map 2 ranks")
    floors = scaling.group_floors(samples())
    row = scaling.scaling({one: "failed: …"}, samples(), floors, PARTS, ALONE, 128).iloc[0]
    assert row["left_out"] == "failed: …"
    assert np.isnan(row[["step_ms", "speed_up", "x_floor"]].astype(float)).all()


def test_a_group_that_fails_later_or_is_held_back_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its samples and certificates of before stand in the bundle."""
    monkeypatch.setattr(certified, "is_certified", lambda certificates, *_: len(certificates) > 0)
    sharded, loop, other = (f"jax {mode} 2 ranks" for mode in ("sharded", "shard-map-loop", "x"))
    given: Any = SimpleNamespace(
        tables=dict.fromkeys(("blocks", "launches"), pd.DataFrame({"case": []}))
        | {
            "outcomes": pd.DataFrame(
                {"case": [sharded], "status": ["failed"], "reason": ["rank 1 drifts"]}
            ),
            "certificates": pd.DataFrame({"case": [sharded, loop]}),
            "samples": pd.DataFrame({"case": [*STEPS, other]}),
        },
        environment=SimpleNamespace(
            run=SimpleNamespace(
                cases=[record(case) for case in (*STEPS, other) if "floor" not in case]
            ),
            workload=SimpleNamespace(layer_sizes=(784, 10)),
        ),
    )
    why = {one.case: reason for one, reason in groups_left_out(given, {loop: "held back"}).items()}
    weak = f"{loop} batch 256"
    assert why == {
        sharded: "failed: rank 1 drifts",
        loop: "held back",
        weak: UNCERTIFIED,
        other: UNCERTIFIED,
    }
