"""The sections on ladders and variants: what one change brings within a framework."""

import pandas as pd

from backends.registry import title_of
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.analysis.statistics import ends
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.formats import Row, as_interval, text
from benchmarks.reports.sections import CASE, STEP, Column, Part, Section, Table
from benchmarks.schema import OVERRIDES, VARIANT

BRINGS = {
    "faster": "helps",
    "slower": "costs",
    "tie": "makes no difference",
    "undecided": "undecided",
}
"""What is said of a change, by the verdict on its rung against the one below it."""
ABOUT = (
    "Each rung of a ladder changes one thing of the rung below it. *Times the rung below* is the "
    "ratio within rounds, under 1 where the change *helps* and over 1 where it *costs*: both are "
    "verdicts, as is *makes no difference*, which is a tie. Rungs below a rung are counted by the "
    "dots before its name; a change links to the page that teaches it. *Lines* are those of code "
    "that train, without blank lines, comments and docstrings. *Undocumented* is what a rung "
    "calls that its framework does not document."
)


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


def of_each_backend(findings: Findings) -> list[tuple[str, pd.DataFrame]]:
    """The ladders of more than one rung, and those of cases that no ranking has, by backend."""
    ranked = findings.summary.loc[findings.summary["rank"].notna(), "case"]
    return [
        (str(backend), rungs)
        for backend, rungs in findings.ladders.groupby("backend", sort=False)
        if (rungs["depth"] > 0).any() or not rungs["case"].isin(ranked).all()
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
    return Section("Ladders", [ABOUT, *parts]) if parts else None


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
