"""Which pairs of cases a run judges, and the ladders that they make.

Judged is what answers one of three questions, and nothing else. Within a tier, which framework is
fastest: every pair of the cases that contend there. Up a ladder, what a change brings: each rung
and the rung below it. Of a variant, what its overrides bring: the variant and its base, and the
variants of one base. The p-values of all of these are adjusted together, so each further pair costs
the others some power. Pairs across tiers, and those of rungs that lie apart, answer nothing that
anybody asks and are not judged.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from backends.ladder import FLOOR
from backends.registry import BACKENDS, mode_of
from benchmarks.analysis import statistics
from benchmarks.analysis.statistics import MATCHED, ends
from benchmarks.schema import CODE_LINES, RUNG, TIER, VARIANT, frames, repetition_in

GROUP = (*MATCHED, "tier")
"""Cases that have these in common are ranked together."""
BASE = ("backend", "mode", "input", *MATCHED)
"""What a variant has in common with its base and with the base's other variants."""

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


class Pair(NamedTuple):
    """Two cases whose ratio is judged, and what they are to one another: one of RELATIONS."""

    case: str
    other: str
    relation: str


def without_variants(comparable: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cases that are no variants of others."""
    return comparable[comparable["variant"].isin(["", None, np.nan])]


def contenders(comparable: pd.DataFrame) -> list[str]:
    """The cases that are ranked: those whose modes stand for their tier.

    Where the standing cases of a tier are all of one framework, or there are none, all its cases
    are. A mode that the registry does not know, as in an old bundle, stands for its tier.
    """
    cases: list[str] = []
    for _, group in without_variants(comparable).groupby(list(GROUP), sort=False):
        modes = [mode_of(*names) for names in zip(group["backend"], group["mode"], strict=True)]
        standing = group[[mode is None or mode.stands for mode in modes]]
        cases += list((standing if standing["backend"].nunique() > 1 else group)["case"])
    return cases


def rung_below(case: pd.Series, comparable: pd.DataFrame) -> tuple[str, list[str]]:
    """The nearest rung below a case among `comparable`, and the modes that it lacks in between.

    The rung has the same input where it was measured with that, else any. The name is empty where
    there is none.
    """
    passed_over: list[str] = []
    entry = BACKENDS.get(case["backend"])
    mode = mode_of(case["backend"], case["mode"])
    plain = without_variants(comparable)
    alike = plain[(plain["backend"] == case["backend"]) & (plain["case"] != case["case"])]
    for column in MATCHED:
        alike = alike[alike[column] == case[column]]
    while entry and mode and mode.below:
        found = alike[alike["mode"] == mode.below]
        if len(found):
            same_input = found[found["input"] == case["input"]]
            return str((same_input if len(same_input) else found)["case"].iloc[0]), passed_over
        passed_over.append(mode.below)
        mode = mode_of(case["backend"], mode.below)
    return "", passed_over


def judged(comparable: pd.DataFrame) -> list[Pair]:
    """The pairs that a run judges, each once.

    `comparable` has the columns that say which case a row belongs to, `tier` and those of MATCHED.
    """
    pairs: dict[frozenset[str], Pair] = {}
    for pair in (*_within_tiers(comparable), *_up_ladders(comparable), *_of_variants(comparable)):
        pairs.setdefault(frozenset((pair.case, pair.other)), pair)
    return list(pairs.values())


def not_judged(comparable: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The other pairs of cases that may be compared, for who wants to see one against any."""
    decided = {frozenset(pair[:2]) for pair in judged(comparable)}
    return [
        (*pair, "")
        for _, group in comparable.groupby(list(MATCHED), sort=False)
        for pair in combinations(group["case"], 2)
        if frozenset(pair) not in decided
    ]


def _within_tiers(comparable: pd.DataFrame) -> Iterator[Pair]:
    ranked = comparable[comparable["case"].isin(contenders(comparable))]
    for _, group in ranked.groupby(list(GROUP), sort=False):
        yield from (Pair(*pair, TIER) for pair in combinations(group["case"], 2))


def _up_ladders(comparable: pd.DataFrame) -> Iterator[Pair]:
    for _, case in without_variants(comparable).iterrows():
        below, _ = rung_below(case, comparable)
        if below:
            yield Pair(case["case"], below, RUNG)


def _of_variants(comparable: pd.DataFrame) -> Iterator[Pair]:
    for _, group in comparable.groupby(list(BASE), sort=False):
        base = without_variants(group)
        variants = [case for case in group["case"] if case not in set(base["case"])]
        yield from (Pair(*pair, VARIANT) for pair in combinations([*variants, *base["case"]], 2))


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
    rungs = [row for _, row in without_variants(summary).iterrows() if _is_rung(row)]
    rungs.sort(key=lambda rung: _place(rung["backend"], rung["mode"]))
    below = {rung["case"]: rung_below(rung, comparable) for rung in rungs}
    rows = []
    for rung, depth in _in_tree_order(rungs, {case: name for case, (name, _) in below.items()}):
        case, mode = rung["case"], mode_of(rung["backend"], rung["mode"])
        assert mode is not None, "it is a rung"
        name, passed_over = below[case]
        failed = rung["status"] == "measured" and not rung["certified"]
        row: dict[str, Any] = {column: rung[column] for column in FROM_SUMMARY}
        row |= {"depth": depth, "below": name, "passed_over": ", ".join(passed_over) * bool(name)}
        row |= {"change": mode.change, "private": mode.private, "source": mode.source}
        row |= {"reason": "its certificate failed" if failed else rung["reason"]}
        row |= {column: judged.get((case, name), NOT_JUDGED)[column] for column in NOT_JUDGED}
        rows.append(row | {"code_lines": code_lines.get(case, np.nan)})
    return frames.from_rows("ladders", rows)


def _place(backend: str, mode: str) -> tuple[int, int]:
    """The place of a rung in the registry."""
    entry = BACKENDS[backend]
    return list(BACKENDS).index(backend), [*entry.modes, *entry.group_modes].index(mode)


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
