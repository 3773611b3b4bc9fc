"""What the terminal shows besides progress: what can run here, and the results of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table as RichTable

from backends.registry import BACKENDS
from benchmarks.analysis.comparison import Comparison
from benchmarks.analysis.findings import Findings
from benchmarks.bundle.reader import Bundle
from benchmarks.machine.probe import Probe
from benchmarks.reports import accuracy, comparison, run
from benchmarks.reports.formats import stage_title
from benchmarks.reports.sections import Note
from benchmarks.reports.sentences import cautions, departure
from benchmarks.reports.several import differences_table
from benchmarks.reports.tables import Table
from benchmarks.schema import ENTRIES, LEVELS, STAGES
from benchmarks.session.certifying import CertifiedCase, FailedCase
from benchmarks.worker.certificate import first_failure


def rich_table(table: Table, **looks: Any) -> RichTable:
    """A table of a report for the terminal; `looks` are arguments of rich's own table."""
    shown = RichTable(**looks)
    for column in table.columns:
        justify: Any = "left" if column.text else "right"
        shown.add_column(escape(column.heading), justify=justify, no_wrap=column.heading == "case")
    for cells in table.cells():
        shown.add_row(*map(escape, cells))
    return shown


def show_notes(console: Console, notes: Iterable[Note]) -> None:
    """A list of notes, in which warnings stand out."""
    for note in notes:
        style = "bold yellow" if note.severity == "warning" else "none"
        console.print(Markdown(f"- {note.text}", style=style))


def show_list(console: Console, probes: dict[str, Probe], device: str) -> None:
    """Every backend and mode, and whether it can run here."""
    table = RichTable("backend", "mode", "tier", "input", f"on the {device} here")
    for name, probe in probes.items():
        problem = probe.problem
        versions = ", ".join(f"{package} {version}" for package, version in probe.versions.items())
        for row, (mode, about) in enumerate(BACKENDS[name].modes.items()):
            state = f"no: {problem}" if problem else "yes"
            if row == 0 and not problem:
                state = f"yes ({versions})"
            table.add_row(
                name if row == 0 else "", mode, about.tier, ", ".join(about.inputs), escape(state)
            )
        table.add_section()
    console.print(table)


def show_certificate(console: Console, outcome: CertifiedCase | FailedCase) -> None:
    """One case's certificate and ledger, or why there is none."""
    if isinstance(outcome, FailedCase):
        text = f"{outcome.case.name} failed: {outcome.reason}\n{outcome.output}".strip()
        console.print(f"{text}\n", markup=False, highlight=False)
        return
    certified, block = outcome.certified, outcome.block
    table = RichTable("stage", title=outcome.case.name, title_justify="left")
    for level in LEVELS:
        for heading in (level, "bound", "worst parameter"):
            table.add_column(heading, justify="left" if heading.startswith("worst") else "right")
    for stage in STAGES:
        cells = []
        for level in LEVELS:
            checks = [c for c in certified.checks if (c.level, c.stage) == (level, stage)]
            # An error that is not finite is the worst of all.
            worst = max(checks, key=lambda c: (not c.passed, c.error / c.bound if c.error else 0.0))
            where = worst.not_read or worst.parameter
            error = "–" if worst.not_read else f"{worst.error:.1e}"
            cells += [error, f"{worst.bound:.0e}", f"{where}{'' if worst.passed else ' ✗'}"]
        table.add_row(stage_title(stage), *cells)
    console.print(table)
    failure = first_failure(certified.checks)
    if failure is None:
        console.print(f"certified in {certified.seconds:.1f} s")
    else:
        check = asdict(failure) | {"relative_error": failure.error}
        console.print(f"NOT certified: first departs at {departure(check)}", markup=False)
    entries = certified.ledger | {
        "cpus_used": f"{block.cpu_seconds / block.seconds:.1f}",
        "compiled_while_timed": str(block.compilations),
    }
    ledger = RichTable.grid(padding=(0, 2))
    for entry, about in ENTRIES.items():
        ledger.add_row(about.title, escape(entries[entry]))
    ledger.add_row("versions", escape(" ".join(f"{k} {v}" for k, v in certified.versions.items())))
    console.print(ledger)
    console.print()


def show_findings(console: Console, bundle: Bundle, findings: Findings, folder: Path) -> None:
    """The ranking, the answer and the cautions of a report, and where the report is."""
    for where, table in run.terminal_ranking(findings):
        console.print(rich_table(table, title=f"{where}, 95% intervals"))
    if tutorial := accuracy.tutorial_table(findings):
        console.print(rich_table(tutorial, title="loss / accuracy, as the tutorial prints them"))
    missing = findings.summary[findings.summary["status"] != "measured"]
    for _, row in missing.iterrows():
        reason = f": {row['reason']}" if row["reason"] else ""
        console.print(f"{row['status']}: {row['case']}{reason}", markup=False)
    console.print(Markdown(run.answer(findings)))
    show_notes(console, cautions(bundle, findings))
    console.print(f"report: {folder / 'report.md'}", markup=False, highlight=False, soft_wrap=True)


def show_comparison(console: Console, compared: Comparison, limit: float | None) -> None:
    """The comparison of two bundles and what to know about it, as in its report."""
    console.print(rich_table(comparison.table(compared), title="95% intervals"))
    show_notes(console, comparison.notes(compared, limit))
    if len(compared.differences):
        console.print("What the environments differ in:")
        console.print(rich_table(differences_table(compared.differences)))
