"""Which cases have passed all of their certificates, from the tables of a bundle."""

from typing import Any

import pandas as pd

from benchmarks.bundle.reader import Bundle
from benchmarks.schema import HORIZON, LEVELS, block_figures, figures


def is_certified(
    certificates: pd.DataFrame,
    blocks: pd.DataFrame,
    launches: pd.DataFrame,
    timed: pd.DataFrame,
    layers: int,
) -> bool:
    """Whether a case has passed all of its certificates; the tables are its own rows."""
    made = {*launches["launch"], *timed["launch"]}
    program = _certified(certificates, made, layers)
    return program and _blocks_certified(blocks, launches, layers)


def certified_groups(bundle: Bundle) -> set[str]:
    """The groups of ranks that have passed all of their certificates."""
    layers = len(bundle.environment.workload.layer_sizes) - 1
    groups = [case.case for case in bundle.environment.run.cases if case.ranks]

    def passed(case: str) -> bool:
        certificates, blocks, launches, timed = (
            rows.loc[rows["case"] == case]
            for rows in (
                bundle.tables[t] for t in ("certificates", "blocks", "launches", "samples")
            )
        )
        return is_certified(certificates, blocks, launches, timed, layers)

    return {case for case in groups if passed(case)}


def _certified(certificates: pd.DataFrame, launches: set[int], layers: int) -> bool:
    """Whether a case has passed every check that it must have passed in `launches` to be trusted.

    `certificates` are its rows, which are all of the first launch. In older bundles, which do not
    tell their steps, later launches have the last level too. A check that is missing or was left
    out as damaged proves nothing.
    """
    older = certificates["steps"].isna().all()
    expected = {
        (launch, level, *figure)
        for launch in ({0, *launches} if older else {0})
        for level in (LEVELS if launch == 0 else LEVELS[-1:])
        for figure in figures(level, layers)
        if not (older and figure[0] == HORIZON)
    }
    return _all_passed(certificates, ["launch", "level", "stage", "parameter"], expected)


def _all_passed(checks: pd.DataFrame, key: list[str], expected: set[tuple[Any, ...]]) -> bool:
    """Whether every check has passed, and all that are `expected` by their `key` are there."""
    passed = checks[checks["passed"]].fillna({"parameter": ""})
    found = set(passed[key].itertuples(index=False, name=None))
    return expected <= found and bool(checks["passed"].all())


def _blocks_certified(blocks: pd.DataFrame, launches: pd.DataFrame, layers: int) -> bool:
    """Whether a timed block of a case has passed every check, in each launch that made them.

    Bundles from before these checks have none, and a launch that was cut short made none.
    """
    checked = launches.loc[launches["checking_seconds"].notna(), "launch"]
    expected = {(launch, *figure) for launch in checked for figure in block_figures(layers)}
    return _all_passed(blocks, ["launch", "check", "parameter"], expected)
