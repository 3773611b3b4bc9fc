"""The ladders of a run: what each rung changes, and what the change brings."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from backends.ladder import FLOOR
from backends.registry import BACKENDS, mode_of
from benchmarks.analysis import pairs, statistics, tables
from benchmarks.analysis.statistics import ends
from benchmarks.schema import CODE_LINES, repetition_in

FROM_SUMMARY = (
    *("case", "backend", "mode", "tier", "status", "startup_seconds"),
    *ends("step_ms"),
)
NOT_JUDGED: dict[str, Any] = {
    **statistics.with_interval("ratio", statistics.NOTHING),
    "p_adjusted": np.nan,
    "verdict": "",
}
"""What a rung has that cannot be compared with one below it."""


def find_ladders(
    summary: pd.DataFrame, comparable: pd.DataFrame, verdicts: pd.DataFrame, ledger: pd.DataFrame
) -> pd.DataFrame:
    """The table `ladders`, in the order of the tree, ladder by ladder.

    `summary` has all cases of the run, `comparable` its rows that may be compared. Modes that the
    registry does not know are on no ladder.
    """
    judged = statistics.both_ways(verdicts).set_index(["case", "other"]).to_dict("index")
    lines = ledger[ledger["entry"] == CODE_LINES].drop_duplicates("case").set_index("case")
    code_lines = pd.to_numeric(lines["value"], errors="coerce").to_dict()
    rungs = [row for _, row in pairs.without_variants(summary).iterrows() if _is_rung(row)]
    rungs.sort(key=lambda rung: _place(rung["backend"], rung["mode"]))
    below = {rung["case"]: pairs.rung_below(rung, comparable) for rung in rungs}
    rows = []
    for rung, depth in _in_tree_order(rungs, {case: name for case, (name, _) in below.items()}):
        case, mode = rung["case"], BACKENDS[rung["backend"]].modes[rung["mode"]]
        name, passed_over = below[case]
        failed = rung["status"] == "measured" and not rung["certified"]
        row: dict[str, Any] = {column: rung[column] for column in FROM_SUMMARY}
        row |= {"depth": depth, "below": name, "passed_over": ", ".join(passed_over) * bool(name)}
        row |= {"change": mode.change, "private": mode.private, "source": mode.source}
        row |= {"reason": "its certificate failed" if failed else rung["reason"]}
        row |= {column: judged.get((case, name), NOT_JUDGED)[column] for column in NOT_JUDGED}
        rows.append(row | {"code_lines": code_lines.get(case, np.nan)})
    return tables.from_rows("ladders", rows)


def _place(backend: str, mode: str) -> tuple[int, int]:
    """The place of a rung in the registry."""
    return list(BACKENDS).index(backend), list(BACKENDS[backend].modes).index(mode)


def _is_rung(row: pd.Series) -> bool:
    """Whether a row of the summary is of a rung: no floor, no control, no former name."""
    known = row["mode"] != FLOOR and mode_of(row["backend"], row["mode"]) is not None
    return known and repetition_in(row["case"]) == 0


def _in_tree_order(
    rungs: list[pd.Series], below: dict[str, str]
) -> Iterator[tuple[pd.Series, int]]:
    """The rungs, each after the one below it, with the number of rungs below each."""

    def above(name: str, depth: int) -> Iterator[tuple[pd.Series, int]]:
        for rung in rungs:
            if below[rung["case"]] == name:
                yield rung, depth
                yield from above(rung["case"], depth + 1)

    return above("", 0)
