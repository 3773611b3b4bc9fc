"""What changed from release to release, in a run that compares releases of one framework."""

from itertools import pairwise
from typing import Any

import pandas as pd

from benchmarks.analysis.findings import Findings, control_of
from benchmarks.analysis.statistics import TIE_MARGIN
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.formats import Row, as_interval
from benchmarks.reports.sections import CASE, Column, Note, Section, Table
from benchmarks.schema import ENTRIES

COLUMNS = [
    CASE,
    Column("from", "before", text=True),
    Column("to", "after", text=True),
    Column("times as long", "ratio", as_interval()),
    Column("so the later is", "verdict", text=True),
]
VERDICTS = {"tie": f"as fast, within {TIE_MARGIN:.0%}", "undecided": "not told apart here"}
INVERSE = {"faster": "slower", "slower": "faster"}


def section(bundle: Bundle, findings: Findings) -> Section | None:
    """The changes between neighbouring releases in each mode; None in a run that has none."""
    releases = list(bundle.environment.run.releases or ())
    rows = findings.summary[~control_of(findings.summary)]
    rows = rows[rows["variant"].isin(releases)]
    if len(releases) < 2 or rows.empty:
        return None
    changes: list[dict[str, Any]] = []
    notes: list[Note] = []
    for _, of_mode in rows.groupby(["backend", "mode", "input", "adam"], sort=False):
        by_release = {row["variant"]: row for row in of_mode.to_dict("records")}
        present = [by_release[name] for name in releases if name in by_release]
        for row in present:
            if problem := _problem(row):
                notes.append(Note(f"{row['case']} {problem}.", "warning"))
        comparable = [row for row in present if not _problem(row)]
        changes += [_change(*pair, findings.verdicts) for pair in pairwise(comparable)]
    about = (
        "Releases are compared in the order in which the run names them; each has an environment "
        "of its own, with the same Python, and is timed in the same rounds. *Times as long*: how "
        "many times as long a step takes with the later release as with the one before it."
    )
    notes += [Note(sentence) for sentence in _other_packages(bundle, rows, releases)]
    table = [Table(COLUMNS, pd.DataFrame(changes))] if changes else []
    return Section("What changed from release to release", [about, *table, notes])


def _problem(row: Row) -> str:
    """Why a release is not compared in a mode; empty where it is."""
    if row["status"] != "measured":
        became = {"not reached": "was not reached"}.get(row["status"], f"was {row['status']}")
        became = "failed" if row["status"] == "failed" else became
        return f"{became}: {row['reason']}" if row["reason"] else became
    if not row["certified"]:
        return "computes something else: its certificate failed, so its time is not compared"
    return ""


def _change(before: Row, after: Row, verdicts: pd.DataFrame) -> dict[str, Any]:
    """The row of two neighbouring releases; without a ratio where they were not compared."""
    change = {
        # As the case is called without its variant.
        "case": str(after["case"]).removesuffix(f" ({after['variant']})"),
        "before": before["variant"],
        "after": after["variant"],
        **dict.fromkeys(("ratio", "ratio_low", "ratio_high"), float("nan")),
        "verdict": "not compared",
    }
    named, other = verdicts["case"], verdicts["other"]
    if len(pair := verdicts[(named == after["case"]) & (other == before["case"])]):
        row = pair.iloc[0]
        change |= {end: row[end] for end in ("ratio", "ratio_low", "ratio_high")}
        change["verdict"] = VERDICTS.get(row["verdict"], row["verdict"])
    elif len(pair := verdicts[(named == before["case"]) & (other == after["case"])]):
        row = pair.iloc[0]
        change["ratio"] = 1 / row["ratio"]
        change["ratio_low"], change["ratio_high"] = 1 / row["ratio_high"], 1 / row["ratio_low"]
        verdict = INVERSE.get(row["verdict"], row["verdict"])
        change["verdict"] = VERDICTS.get(verdict, verdict)
    return change


def _other_packages(bundle: Bundle, rows: pd.DataFrame, releases: list[str]) -> list[str]:
    """Where the environments of neighbouring releases differ in other packages, a sentence each."""
    versions = {name: _versions(bundle, rows, name) for name in releases}
    sentences = []
    known = [name for name in releases if versions[name]]
    for before, after in pairwise(known):
        first, second = versions[before], versions[after]
        differing = [
            f"{package} {first.get(package, 'none')} / {second.get(package, 'none')}"
            for package in sorted({*first, *second})
            if first.get(package) != second.get(package)
        ]
        if differing:
            sentences.append(
                f"{before} and {after} differ in other packages: {', '.join(differing)}."
            )
    if len(known) > 1 and not sentences:
        sentences.append("Of the packages that are recorded, only the framework's own differ.")
    return sentences


def _versions(bundle: Bundle, rows: pd.DataFrame, release: str) -> dict[str, str]:
    """The packages that a release ran with, but for those that have its own version."""
    ledger = bundle.tables["ledger"]
    ledger = ledger[ledger["case"].isin(rows.loc[rows["variant"] == release, "case"])]
    ledger = ledger[~ledger["entry"].isin(ENTRIES.keys() - {"numpy", "python"})]
    versions = dict(zip(ledger["entry"], ledger["value"], strict=True))
    own = release.partition(" ")[0]
    return {str(name): str(value) for name, value in versions.items() if value != own}
