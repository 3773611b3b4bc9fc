"""What of runs before and after a change can be compared, and what must be known about the rest."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from itertools import combinations

import pandas as pd

from benchmarks.analysis.between_runs.environments import MACHINE
from benchmarks.analysis.statistics import MATCHED
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.reader import Bundle
from benchmarks.errors import UnjudgedError, UsageError

BEFORE, AFTER = "before", "after"
SAME_MACHINE = (
    "The intervals cover how launches differ, not what else may have changed on the machine "
    "between two runs; --baseline CASE divides out what slows all cases alike"
)
"""The caution of a comparison of absolute times of two runs on one machine."""
Sides = dict[str, tuple[Bundle, ...]]
"""The runs BEFORE and those AFTER."""


def cases_of(bundle: Bundle) -> list[str]:
    """The names of a bundle's cases, whatever became of them, without controls."""
    return [case.case for case in bundle.environment.run.cases if not case.repetition]


def check_case(option: str, case: str, bundles: Sequence[Bundle]) -> None:
    """Raise UsageError where the value of `option` is a case of none of the bundles."""
    known = dict.fromkeys(name for bundle in bundles for name in cases_of(bundle))
    if case not in known:
        similar = get_close_matches(case, known, 1)
        hint = f"; did you mean {similar[0]}?" if similar else "."
        named = ", ".join(f'"{name}"' for name in known)
        raise UsageError(
            f'{option} "{case}": is a case of none of the bundles{hint} In quotation marks, the '
            f"cases are {named}"
        )


def same_run(before: Bundle, after: Bundle) -> bool:
    """Whether two bundles hold the same: a copy, or one folder twice.

    Equal rows of another machine, say, or with others that are damaged, are not the same.
    """
    return (
        len(before.tables["samples"]) > 0
        and (before.environment, before.problems) == (after.environment, after.problems)
        and all(table.equals(after.tables[name]) for name, table in before.tables.items())
    )


def with_the_same_samples(bundles: Sequence[Bundle]) -> tuple[int, int] | None:
    """The numbers of two bundles whose samples are equal; None where each has its own."""
    samples = [bundle.tables["samples"] for bundle in bundles]
    return next(
        (
            (n, m)
            for n, m in combinations(range(len(bundles)), 2)
            if len(samples[n]) and samples[n].equals(samples[m])
        ),
        None,
    )


def check_workloads(bundles: Sequence[Bundle]) -> str:
    """Why nobody can tell whether all were trained on the same data; empty where they were.

    Raises UnjudgedError where the workloads differ in more than their steps, or the data differs.
    """
    first, *others = bundles
    silent = [str(one.folder) for one in bundles if not one.environment.workload.data_sha256]
    ignored = {"steps", "data_sha256" if silent else "data"}
    old = first.environment.workload.to_json()
    for bundle in others:
        new = bundle.environment.workload.to_json()
        different = [
            f"{name} is {old.get(name, 'not recorded')} in {first.folder} and "
            f"{new.get(name, 'not recorded')} in {bundle.folder}"
            for name in dict.fromkeys([*old, *new])
            if name not in ignored and old.get(name) != new.get(name)
        ]
        if different:
            raise UnjudgedError(f"different workloads cannot be compared: {'; '.join(different)}")
    if not silent:
        return ""
    return (
        f"All were trained on data called {old['data']}, but {' and '.join(silent)}, of an older "
        "version of this program, cannot tell by content whether it is the same"
    )


def cases_left_out(
    summaries: Mapping[str, Sequence[pd.DataFrame]],
) -> tuple[dict[str, str], frozenset[str]]:
    """The cases that cannot be compared, and why; those of them that a run has not measured."""
    left_out: dict[str, str] = {}
    missing = set()
    tables = [table for side in summaries.values() for table in side]
    for case in dict.fromkeys(str(case) for table in tables for case in table.index):
        reasons = dict[str, bool]()
        for name, side in summaries.items():
            for table in side:
                if reason := untrusted(table, case):
                    reasons[f"{reason} in {name.upper()}"] = True
                elif reason := unmeasured(table, case):
                    reasons.setdefault(f"{reason} in {name.upper()}", False)
        if reasons and not any(reasons.values()):
            missing.add(case)
        for column in () if reasons else MATCHED:
            old, new = (
                " or ".join(sorted({str(table.at[case, column]) for table in side}))
                for side in summaries.values()
            )
            if old != new or " or " in old:
                what = column.replace("_", " ")
                reasons[f"has {what} {old} in BEFORE and {new} in AFTER"] = True
        if reasons:
            left_out[case] = " and ".join(reasons)
    return left_out, frozenset(missing)


def unmeasured(summary: pd.DataFrame, case: str) -> str:
    """Why a run has no time of a case; empty where it has one."""
    if case not in summary.index:
        return "is not"
    status = str(summary.at[case, "status"])
    return "" if status == "measured" else f"{'' if status == 'failed' else 'was '}{status}"


def untrusted(summary: pd.DataFrame, case: str) -> str:
    """Why the time that a run has of a case is not to be trusted; empty where it is."""
    if unmeasured(summary, case):
        return ""
    if not summary.at[case, "certified"]:
        return "failed its certificate"
    return "is held back from the ranking" if summary.at[case, "held_back"] else ""


def other_machine(differences: pd.DataFrame) -> str:
    """In what the machines differ; empty where they are the same, as far as is known."""
    machines = [name for name in MACHINE if name in differences.index]
    return "; ".join(
        f"{name} {old} before, {new} after"
        for name, old, new in differences.loc[machines, [BEFORE, AFTER]].itertuples()
    )


def warnings_of(machines: str, sides: Sides) -> list[str]:
    """Damage, absolute times of different `machines`, and an AFTER that is the older run."""
    warnings = [
        f"In {name}: {damage.removesuffix('.')}"
        for name, bundle in named(sides).items()
        if (damage := describe_damage(bundle.problems))
    ]
    if machines:
        warnings.append(
            f"Absolute times of different machines are compared ({machines}): the ratios are those "
            "of machine and software together. --baseline CASE compares ratios instead"
        )
    if len(named(sides)) == 2:
        old, new = (side[0].environment.started for side in sides.values())
        begun = started(old), started(new)
        if begun[0] and begun[1] and begun[1] < begun[0]:
            warnings.append(f"AFTER is older than BEFORE: it was started at {new}, BEFORE at {old}")
    return warnings


def named(sides: Sides) -> dict[str, Bundle]:
    """Every run by its name: "before", or "before 2" where a side has several."""
    return {
        name if len(side) == 1 else f"{name} {number}": bundle
        for name, side in sides.items()
        for number, bundle in enumerate(side, start=1)
    }


def started(text: str) -> datetime | None:
    """When a run was started; None where a bundle does not say it with a time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None


def cautions_of(sides: Sides, differences: pd.DataFrame) -> list[str]:
    """The cautions about other differences between the runs, and about what one of them lacks."""
    notes = []
    for name in ("threads", "steps", "block steps", "lead-in steps"):
        if name in differences.index:
            old, new = differences.loc[name, [BEFORE, AFTER]]
            notes.append(f"The runs differ in {name}: {old} before, {new} after")
    for name, bundle in named(sides).items():
        if (state := bundle.environment.run.state) != "complete":
            notes.append(f"The run {name} is incomplete: {state}")
        if len(named(sides)) == 2 and bundle.tables["samples"]["launch"].nunique() < 2:
            notes.append(
                f"The run {name} has one launch: no interval, and no verdict but undecided"
            )
    return notes
