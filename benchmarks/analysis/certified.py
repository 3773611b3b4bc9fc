"""Which cases have passed all of their certificates, from the tables of a bundle."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.records import CaseRecord
from benchmarks.schema import HORIZON, LEVELS, block_figures, figures

UNCERTIFIED, NOT_REACHED = "its certificate failed", "the run ended before its first block"


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


def groups_left_out(bundle: Bundle, held_back: Mapping[str, str]) -> dict[CaseRecord, str]:
    """Each group of ranks, and why it may not be compared; nothing where it may be.

    `held_back` says why of cases that are.
    """
    layers = len(bundle.environment.workload.layer_sizes) - 1
    tables = ("outcomes", "certificates", "blocks", "launches", "samples")

    def why_not(case: str) -> str:
        outcomes, *passed, timed = (
            rows.loc[rows["case"] == case] for rows in (bundle.tables[table] for table in tables)
        )
        if len(outcomes):
            return f"{outcomes['status'].iloc[0]}: {outcomes['reason'].iloc[0]}"
        if timed.empty:
            return NOT_REACHED
        certificates, blocks, launches = passed
        if not is_certified(certificates, blocks, launches, timed, layers):
            return UNCERTIFIED
        return held_back.get(case, "")

    groups = (one for one in bundle.environment.run.cases if one.ranks and not one.repetition)
    return {group: why_not(group.case) for group in groups}


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
