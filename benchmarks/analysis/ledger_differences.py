"""How cases differ in what they did, by their ledgers, and whether that makes a ranking unfair."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarks.schema import ENTRIES, EVIDENCE, NO_OVERRIDES, OVERRIDES, SUBSTITUTED

OF_ONE_RUN = {"cpus_used", "compiled_while_timed", "drawn", "programs", "variables"}
"""Entries that no two runs need have in common, and the variables, which are compared by name."""

DECIDED = {
    "threads=": {"threads", "cpus_allowed", "cores"},
    "env:PYTHON": {"python_state"},
}
"""The entries that are unfair to differ in, but that a variant's overrides decide."""
LISTED = {name: about for name, about in ENTRIES.items() if about.listed}


def substituted(ledger: pd.DataFrame) -> dict[str, str]:
    """The cases whose evidence in float64 has other libraries' products, and whose for which."""
    entries = ledger[ledger["entry"] == EVIDENCE].drop_duplicates("case")
    found = {
        case: value.partition(SUBSTITUTED)[2].strip()
        for case, value in entries[["case", "value"]].astype(str).itertuples(index=False)
    }
    return {case: libraries for case, libraries in found.items() if libraries}


def timed_entries(samples: pd.DataFrame) -> pd.DataFrame:
    """The ledger entries that follow from timed blocks: case, entry and value."""
    blocks = samples.groupby("case", sort=False)
    used = (samples["cpu_seconds"] / samples["seconds"]).groupby(samples["case"]).median()
    compiled = blocks["compilations"].sum()
    rows = [
        *((case, "cpus_used", f"{value:.1f}") for case, value in used.items()),
        *((case, "compiled_while_timed", str(value)) for case, value in compiled.items()),
    ]
    return pd.DataFrame(rows, columns=["case", "entry", "value"])


def find_differences(entries: pd.DataFrame, cases: list[str]) -> pd.DataFrame:
    """The entries in which `cases` differ: a row for each value, with the cases that have it.

    `entries` has the columns case, entry and value, like ledger.csv and `timed_entries`. A case
    whose value changed between launches shows all its values.
    """
    rows = []
    for entry, about in LISTED.items():
        of_cases = entries[(entries["entry"] == entry) & entries["case"].isin(cases)]
        cases_by_value: dict[str, list[str]] = {}
        for case, values in of_cases.groupby("case")["value"]:
            value = " or ".join(sorted({str(one) for one in values}))
            cases_by_value.setdefault(value, []).append(str(case))
        if len(cases_by_value) > 1:
            rows += [
                {
                    "entry": entry,
                    "title": about.title,
                    "value": value,
                    "cases": sorted(having_it, key=cases.index),
                    "unfair": about.unfair,
                }
                for value, having_it in sorted(cases_by_value.items())
            ]
    return pd.DataFrame(rows, columns=["entry", "title", "value", "cases", "unfair"])


def across_bundles(ledgers: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, str]]:
    """The entries of several bundles as names and values, for each bundle.

    `ledgers` are tables like ledger.csv. Cases and entries that a bundle lacks are left out. An
    entry that all cases have alike in every bundle has one name, others one for each case.
    """
    values = {name: _by_entry_and_case(ledger) for name, ledger in ledgers.items()}
    found: dict[str, dict[str, str]] = {name: {} for name in ledgers}
    common = set.intersection(*(set(one) for one in values.values()))
    for entry, about in LISTED.items():
        cases = [] if entry in OF_ONE_RUN else sorted(case for e, case in common if e == entry)
        read = {name: {case: one[entry, case] for case in cases} for name, one in values.items()}
        alike = cases and all(len(set(of_cases.values())) == 1 for of_cases in read.values())
        for name, of_cases in read.items():
            if alike:
                found[name][about.title] = of_cases[cases[0]]
            else:
                found[name] |= {f"{about.title} ({case})": of_cases[case] for case in cases}
    return found


def _by_entry_and_case(ledger: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The values of each entry of each case; all of them where launches differ."""
    groups = ledger.groupby(["entry", "case"], sort=False)["value"]
    return {
        (str(entry), str(case)): " or ".join(sorted({str(value) for value in values}))
        for (entry, case), values in groups
    }


def compilation_problems(entries: pd.DataFrame) -> list[str]:
    """Where compilation did not go as it should, a sentence each.

    `entries` as in `find_differences`.
    """
    sentences = []
    for case, case_entries in entries.groupby("case", sort=False):
        values = case_entries.groupby("entry")["value"].agg(list)
        compiles = not any(str(value).startswith("none") for value in values.get("compiler", []))
        if compiles and "0" in values.get("programs", []):
            sentences.append(f"{case} names a compiler, but its first call compiled nothing")
        timed = sum(int(value) for value in values.get("compiled_while_timed", []))
        if timed:
            sentences.append(f"{case} compiled {timed} programs within timed blocks")
    return sentences


def overridden(entries: pd.DataFrame) -> dict[str, str]:
    """What each variant overrides, as its ledger has it: {case: "threads=1, env:XLA_FLAGS=--x"}.

    `entries` as in `find_differences`.
    """
    rows = entries[(entries["entry"] == OVERRIDES) & (entries["value"] != NO_OVERRIDES)]
    return {str(case): str(value) for case, value in zip(rows["case"], rows["value"], strict=True)}


def chosen_by(overrides: str) -> set[str]:
    """The entries of the ledger that a variant's overrides decide."""
    return {
        entry
        for part, entries in DECIDED.items()
        if overrides.startswith(part) or f", {part}" in overrides
        for entry in entries
    }


def unfair(entries: pd.DataFrame, cases: list[str]) -> list[str]:
    """What makes a ranking of `cases` unfair, a sentence each.

    What a variant overrides differs on purpose, and is not among it. `entries` as in
    `find_differences`.
    """
    chosen = {case: chosen_by(overrides) for case, overrides in overridden(entries).items()}
    on_purpose = [
        entry in chosen.get(case, ()) for case, entry in entries[["case", "entry"]].to_numpy()
    ]
    differences = find_differences(entries[~np.array(on_purpose, dtype=bool)], cases)
    sentences = []
    for title, rows in differences[differences["unfair"].astype(bool)].groupby("title", sort=False):
        values = zip(rows["value"], rows["cases"], strict=True)
        parts = [f"{value} in {', '.join(having_it)}" for value, having_it in values]
        sentences.append(f"{title}: {'; '.join(parts)}")
    return sentences
