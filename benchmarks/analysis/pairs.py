"""Which pairs of cases a run judges: those that answer a question, and no others.

Three questions are asked. Within a tier, which framework is fastest: every pair of the cases that
contend there. Up a ladder, what a change brings: each rung and the rung below it. Of a variant,
what its overrides bring: the variant and its base, and the variants of one base. The p-values of
all of these are adjusted together, so each further pair costs the others some power. Pairs across
tiers, and those of rungs that lie apart, answer nothing that anybody asks and are not judged.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from backends.registry import BACKENDS, mode_of
from benchmarks.analysis.statistics import MATCHED
from benchmarks.schema import RUNG, TIER, VARIANT

GROUP = (*MATCHED, "tier")
"""Cases that have these in common are ranked together."""
BASE = ("backend", "mode", "input", *MATCHED)
"""What a variant has in common with its base and with the base's other variants."""


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
        mode = entry.modes[mode.below]
    return "", passed_over


def judged(comparable: pd.DataFrame) -> list[Pair]:
    """The pairs that a run judges, each once.

    `comparable` has the columns that say which case a row belongs to, `tier` and those of MATCHED.
    """
    pairs: dict[frozenset[str], Pair] = {}
    for pair in (*_within_tiers(comparable), *_up_ladders(comparable), *_of_variants(comparable)):
        pairs.setdefault(frozenset((pair.case, pair.other)), pair)
    return list(pairs.values())


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
