"""When a slower start pays off, on launches whose times are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.analysis import break_even


def samples(step_ms: dict[str, float]) -> pd.DataFrame:
    rows = [
        (launch, number, case, 10, ms / 100)
        for launch in range(3)
        for number in range(2)
        for case, ms in step_ms.items()
    ]
    return pd.DataFrame(rows, columns=["launch", "round", "case", "steps", "seconds"])


def launches(startup: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    rows = [
        (launch, case, 0.25, 0.25, seconds - 0.5)
        for case, by_launch in startup.items()
        for launch, seconds in enumerate(by_launch)
    ]
    return pd.DataFrame(rows, columns=["launch", "case", *break_even.STARTUP])


def test_when_one_overtakes_another() -> None:
    overtakings = break_even.find_overtakings(
        samples({"slow start": 1.0, "fast start": 3.0}),
        launches({"slow start": (11.0, 3.0, 3.2), "fast start": (1.0, 1.0, 1.0)}),
        ["slow start", "fast start"],
    )
    row = overtakings.iloc[0]
    assert (row["case"], row["overtakes"], len(overtakings)) == ("slow start", "fast start", 1)
    # 10 s by 2 ms with empty caches; 2 and 2.2 s later.
    assert row["first_steps"] == pytest.approx(5000)
    assert row["steps"] == pytest.approx(np.sqrt(1000 * 1100))
    assert row["steps_low"] < 1000 < 1100 < row["steps_high"]


def test_a_case_that_starts_and_steps_faster_is_never_overtaken() -> None:
    overtakings = break_even.find_overtakings(
        samples({"a": 1.0, "b": 3.0}),
        launches({"a": (1.0, 1.0, 1.0), "b": (2.0, 2.0, 2.0)}),
        ["a", "b"],
    )
    assert overtakings.empty


def test_where_launches_disagree_there_is_no_row() -> None:
    overtakings = break_even.find_overtakings(
        samples({"a": 1.0, "b": 3.0}),
        launches({"a": (2.0, 1.0, 2.0), "b": (1.5, 1.5, 1.5)}),
        ["a", "b"],
    )
    assert overtakings.empty


def test_totals_and_leaders() -> None:
    summary = pd.DataFrame(
        {
            "case": ["a", "b"],
            "import_seconds": 0.5,
            "build_seconds": 0.5,
            "first_call_seconds": 9.0,
            "first_call_again_seconds": [2.0, np.nan],
            "step_ms": [1.0, 0.1],
        }
    )
    totals = break_even.totals(summary, 100_000)
    seconds = totals.set_index(["case", "steps"])["total_seconds"]
    assert seconds["a", 1] == pytest.approx(3.001)
    assert seconds["b", 100_000] == pytest.approx(20.0)
    (start, first), (steps, then) = break_even.leaders(totals)
    assert (start, first, then) == (1, "a", "b")
    # They meet at 7 s / 0.9 ms = 7,778 steps; the grid is 20% fine.
    assert 7_778 <= steps < 1.25 * 7_778
