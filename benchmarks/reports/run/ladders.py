"""The sections on ladders, variants and releases: what one change brings within a framework."""

from itertools import pairwise
from typing import Any

import pandas as pd

from backends.registry import title_of
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.analysis.statistics import TIE_MARGIN, ends
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.formats import Row, as_interval, text
from benchmarks.reports.sections import CASE, STEP, Column, Note, Part, Section, Table
from benchmarks.schema import ENTRIES, OVERRIDES, VARIANT

BRINGS = {
    "faster": "helps",
    "slower": "costs",
    "tie": "makes no difference",
    "undecided": "undecided",
}
"""What is said of a change, by the verdict on its rung against the one below it."""
ABOUT = (
    "Each rung of a ladder changes one thing of the rung below it, which stands above it in the "
    "table. Where a run lacks the rungs between two, *with* names them, and the ratio holds what "
    "they change too. *Times the rung below* is the "
    "ratio within rounds, under 1 where the change *helps* and over 1 where it *costs*: both are "
    "verdicts, as is *makes no difference*, which is a tie. Rungs below a rung are counted by the "
    "dots before its name; a change links to the page that teaches it. *Lines* are those of code "
    "that train, without blank lines, comments and docstrings."
)
UNDOCUMENTED = " *Undocumented* is what a rung calls that its framework does not document."


def _rung(row: Row, _: str) -> str:
    """A rung's name, after a dot for each rung below it."""
    return f"{'·' * row['depth']} {_without_backend(row['case'], row)}".strip()


def _below(row: Row, name: str) -> str:
    return _without_backend(row[name], row)


def _without_backend(case: str, row: Row) -> str:
    """The name of a case in a table that has cases of one backend alone."""
    return case.removeprefix(f"{row['backend']} ")


def _change(row: Row, name: str) -> str:
    """What a rung changes, and the rungs between that the run does not have."""
    if not row[name]:
        return "where a ladder begins"
    return row[name] + (f" (with {row['passed_over']})" if row["passed_over"] else "")


def _brings(row: Row, name: str) -> str:
    """What the change of a rung brings, or why that is not known."""
    if row["reason"]:
        return f"{row['status']}: {row['reason']}".removeprefix("measured: ")
    return BRINGS.get(row[name], "")


RUNG = Column("rung", "case", _rung, text=True)
TIMES_BELOW = Column("times the rung below", "ratio", as_interval())
BRINGS_IT = Column("the change", "verdict", _brings, text=True)
SHORT = [RUNG, Column("below", "below", _below, text=True), STEP, TIMES_BELOW, BRINGS_IT]
"""The columns of a ladder in a terminal."""
FULL = [
    *SHORT[:2],
    Column("what it changes", "change", _change, text=True, link="source"),
    *SHORT[2:],
    Column("tier", "tier", text=True),
    Column("lines", "code_lines", ".0f"),
    Column("start-up (s)", "startup_seconds", ".1f"),
    Column("undocumented", "private", text=True),
]
VARIANTS = [
    *(CASE, Column("overrides", "overrides", text=True), STEP),
    Column("against", "other", text=True),
    Column("times as long", "ratio", as_interval()),
    Column("verdict", "verdict", text=True),
]
RELEASES = [
    CASE,
    Column("from", "before", text=True),
    Column("to", "after", text=True),
    Column("times as long", "ratio", as_interval()),
    Column("so the later is", "verdict", text=True),
]
LATER_IS = {"tie": f"as fast, within {TIE_MARGIN:.0%}", "undecided": "not told apart here"}
INVERSE = {"faster": "slower", "slower": "faster"}


def of_each_backend(findings: Findings) -> list[tuple[str, pd.DataFrame]]:
    """The ladders of more than one rung, and those of cases that no ranking has, by backend.

    A ladder of which nothing was measured is left out.
    """
    ranked = findings.summary.loc[findings.summary["rank"].notna(), "case"]
    return [
        (str(backend), rungs)
        for backend, rungs in findings.ladders.groupby("backend", sort=False)
        if rungs["step_ms"].notna().any()
        and ((rungs["depth"] > 0).any() or not rungs["case"].isin(ranked).all())
    ]


def terminal_ladders(findings: Findings) -> list[tuple[str, Table]]:
    """The ladders in short, each with the title of its backend."""
    return [(title_of(name), Table(SHORT, rungs)) for name, rungs in of_each_backend(findings)]


def ladder_table(rungs: pd.DataFrame) -> Table:
    """The whole table of one backend's ladder."""
    columns = FULL if (rungs["private"] != "").any() else FULL[:-1]
    return Table(columns, rungs)


def ladders(findings: Findings) -> Section | None:
    """Each framework's ladder: what each rung changes, and what that brings."""
    parts: list[Part] = []
    for backend, rungs in of_each_backend(findings):
        parts += [f"**{text(title_of(backend))}**", ladder_table(rungs)]
    private = UNDOCUMENTED if (findings.ladders["private"] != "").any() else ""
    return Section("Ladders", [ABOUT + private, *parts]) if parts else None


def variants_table(bundle: Bundle, findings: Findings) -> Table | None:
    """Each variant against its base, and against the other variants of that base."""
    pairs = findings.verdicts[findings.verdicts["relation"] == VARIANT]
    if pairs.empty:
        return None
    ledger = bundle.tables["ledger"]
    read = ledger[ledger["entry"] == OVERRIDES].drop_duplicates("case").set_index("case")["value"]
    summary = findings.summary[~control_of(findings.summary)]
    rows = pairs.join(summary.set_index("case")[ends("step_ms")], on="case")
    return Table(VARIANTS, rows.assign(overrides=rows["case"].map(read)))


def variants(bundle: Bundle, findings: Findings) -> Section | None:
    """What the overrides of variants bring."""
    table = variants_table(bundle, findings)
    if table is None:
        return None
    about = (
        "A variant is another case with something overridden: another Python, variables, threads "
        "or the library of its products. Each is certified and timed in the same rounds as its "
        "base; the ratio is taken within rounds."
    )
    return Section("Variants", [about, table])


def releases(bundle: Bundle, findings: Findings) -> Section | None:
    """The changes between neighbouring releases in each mode; None in a run that has none."""
    names = list(bundle.environment.run.releases or ())
    rows = findings.summary[~control_of(findings.summary)]
    rows = rows[rows["variant"].isin(names)]
    if len(names) < 2 or rows.empty:
        return None
    changes: list[dict[str, Any]] = []
    notes: list[Note] = []
    for _, of_mode in rows.groupby(["backend", "mode", "input", "adam"], sort=False):
        by_release = {row["variant"]: row for row in of_mode.to_dict("records")}
        present = [by_release[name] for name in names if name in by_release]
        for row in present:
            if problem := _problem(row):
                notes.append(Note(f"{row['case']} {problem}.", "warning"))
        comparable = [row for row in present if not _problem(row)]
        changes += [_release_change(*pair, findings.verdicts) for pair in pairwise(comparable)]
    about = (
        "Releases are compared in the order in which the run names them; each has an environment "
        "of its own, with the same Python, and is timed in the same rounds. *Times as long*: how "
        "many times as long a step takes with the later release as with the one before it."
    )
    notes += [Note(sentence) for sentence in _other_packages(bundle, rows, names)]
    table = [Table(RELEASES, pd.DataFrame(changes))] if changes else []
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


def _release_change(before: Row, after: Row, verdicts: pd.DataFrame) -> dict[str, Any]:
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
        change["verdict"] = LATER_IS.get(row["verdict"], row["verdict"])
    elif len(pair := verdicts[(named == before["case"]) & (other == after["case"])]):
        row = pair.iloc[0]
        change["ratio"] = 1 / row["ratio"]
        change["ratio_low"], change["ratio_high"] = 1 / row["ratio_high"], 1 / row["ratio_low"]
        verdict = INVERSE.get(row["verdict"], row["verdict"])
        change["verdict"] = LATER_IS.get(verdict, verdict)
    return change


def _other_packages(bundle: Bundle, rows: pd.DataFrame, names: list[str]) -> list[str]:
    """Where the environments of neighbouring releases differ in other packages, a sentence each."""
    versions = {name: _versions(bundle, rows, name) for name in names}
    sentences = []
    known = [name for name in names if versions[name]]
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
        one_release = len({name.partition(" ")[0] for name in known}) == 1
        sentences.append(
            "All packages that are recorded are the same."
            if one_release
            else "Of the packages that are recorded, only the framework's own differ."
        )
    return sentences


def _versions(bundle: Bundle, rows: pd.DataFrame, release: str) -> dict[str, str]:
    """The packages that a release ran with; of those that have its own version, their builds."""
    ledger = bundle.tables["ledger"]
    ledger = ledger[ledger["case"].isin(rows.loc[rows["variant"] == release, "case"])]
    ledger = ledger[~ledger["entry"].isin(ENTRIES.keys() - {"numpy", "python"})]
    versions = dict(zip(ledger["entry"], ledger["value"], strict=True))
    own = release.partition(" ")[0].partition("+")[0]
    packages = {}
    for name, value in versions.items():
        version, _, build = str(value).partition("+")
        if version != own:
            packages[str(name)] = str(value)
        elif build:
            packages[f"{name}'s build"] = build
    return packages
