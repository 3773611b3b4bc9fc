"""Several bundles in one report, beside one another and never ranked across."""

from collections.abc import Mapping

import pandas as pd

from benchmarks.analysis.between_runs.environments import differing
from benchmarks.analysis.findings import Findings
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import sections
from benchmarks.reports.formats import joined
from benchmarks.reports.sections import Column, Document, Figure, Note, Section, Table

INTRODUCTION = """\
Each bundle is a run of its own, in the order in which they were named; nothing is ranked across
them. Brackets hold 95% intervals. *Times the fastest* is the ratio within rounds to the fastest
ranked case of the same bundle and tier; it may be compared with that of another machine.
`run_all.py compare` tests two bundles against each other.""".replace("\n", " ")


def cases(bundles: Mapping[str, tuple[Bundle, Findings]]) -> pd.DataFrame:
    """The rows of all summaries, with the column `bundle`."""
    named = [findings.summary.assign(bundle=name) for name, (_, findings) in bundles.items()]
    return pd.concat(named, ignore_index=True)


def document(bundles: Mapping[str, tuple[Bundle, Findings]]) -> Document:
    """One report of all bundles, by name."""
    rows = cases(bundles)
    uncertified = (rows["status"] == "measured") & ~rows["certified"]
    rows["status"] = rows["status"].mask(uncertified, "not certified")
    shown = [
        *(Column("bundle", "bundle", text=True), sections.CASE, sections.TIER),
        *(Column("status", "status", text=True), sections.STEP, sections.TIMES_FASTEST),
        Column("test accuracy", "test_accuracy", ".2%"),
    ]
    figure = Figure("bundles", "The cases of each bundle, with 95% intervals")
    damage = [
        Note(f"In {name}: {damage}", "warning")
        for name, (bundle, _) in bundles.items()
        if (damage := describe_damage(bundle.problems))
    ]
    content = [
        Section("Cases", [*([damage] if damage else []), figure, Table(shown, rows)]),
        environment_differences(differing({name: bundle for name, (bundle, _) in bundles.items()})),
    ]
    return Document(joined(list(bundles)), [], INTRODUCTION, content)


def differences_table(differences: pd.DataFrame) -> Table:
    """What `differing` returns, as a table."""
    # No bundle, whose names are the other columns, has an empty name.
    what = Column("what", "", text=True)
    shown = [what, *sections.columns(differences.columns, text=True)]
    return Table(shown, differences.reset_index(names=""))


def environment_differences(differences: pd.DataFrame) -> Section:
    """What `differing` returns, as a part of a report."""
    content = differences_table(differences) if len(differences) else "Nothing that is recorded."
    return Section("What the environments differ in", [content])
