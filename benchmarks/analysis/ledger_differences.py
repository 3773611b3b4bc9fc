"""Where cases differ in what they did, by their ledgers, and whether a ranking is unfair for it."""

from __future__ import annotations

import pandas as pd

from benchmarks.schema import ENTRIES


def timed_entries(samples: pd.DataFrame) -> pd.DataFrame:
    """The entries that the timed blocks tell, as rows of (case, entry, value)."""
    blocks = samples.groupby("case", sort=False)
    used = (samples["cpu_seconds"] / samples["seconds"]).groupby(samples["case"]).median()
    compiled = blocks["compilations"].sum()
    rows = [
        *((case, "cpus_used", f"{value:.1f}") for case, value in used.items()),
        *((case, "compiled_while_timed", str(value)) for case, value in compiled.items()),
    ]
    return pd.DataFrame(rows, columns=["case", "entry", "value"])


def find(entries: pd.DataFrame, cases: list[str]) -> pd.DataFrame:
    """The entries in which `cases` differ: a row for each value, with the cases that have it.

    `entries` has the columns case, entry and value, as ledger.csv and `timed_entries`; a case that
    had several values in several launches shows them all.
    """
    rows = []
    for entry, about in ENTRIES.items():
        found = entries[(entries["entry"] == entry) & entries["case"].isin(cases)]
        values: dict[str, list[str]] = {}
        for case, own in found.groupby("case")["value"]:
            value = " or ".join(sorted({str(one) for one in own}))
            values.setdefault(value, []).append(str(case))
        if len(values) > 1:
            rows += [
                {
                    "entry": entry,
                    "title": about.title,
                    "value": value,
                    "cases": sorted(own, key=cases.index),
                    "unfair": about.unfair,
                }
                for value, own in sorted(values.items())
            ]
    return pd.DataFrame(rows, columns=["entry", "title", "value", "cases", "unfair"])


def compiled_otherwise(entries: pd.DataFrame) -> list[str]:
    """What is wrong with the cases' compilation, a sentence each; `entries` as in `find`."""
    sentences = []
    for case, own in entries.groupby("case", sort=False):
        values = own.groupby("entry")["value"].agg(list)
        compiles = not any(str(value).startswith("none") for value in values.get("compiler", []))
        if compiles and "0" in values.get("programs", []):
            sentences.append(f"{case} names a compiler, but its first call compiled nothing")
        timed = sum(int(value) for value in values.get("compiled_while_timed", []))
        if timed:
            sentences.append(f"{case} compiled {timed} programs within timed blocks")
    return sentences


def unfair(entries: pd.DataFrame, cases: list[str]) -> list[str]:
    """What makes a ranking of `cases` unfair, a sentence each; `entries` as in `find`."""
    found = find(entries, cases)
    return [
        f"{title}: " + "; ".join(f"{value} in {', '.join(own)}" for value, own in values)
        for title, values in (
            (title, zip(rows["value"], rows["cases"], strict=True))
            for title, rows in found[found["unfair"].astype(bool)].groupby("title", sort=False)
        )
    ]
