"""What the terminal shows besides progress: what can run here, and a run's findings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from backends.registry import BACKENDS
from benchmarks.analysis.comparison import Comparison
from benchmarks.analysis.findings import Bundle, Findings
from benchmarks.machine.probe import Probe
from benchmarks.plan.plan import Case
from benchmarks.reports import accuracy as accuracy_report
from benchmarks.reports import comparison as comparison_report
from benchmarks.reports import sentences as words
from benchmarks.reports.sections import TEXT_COLUMNS
from benchmarks.reports.sentences import interval, number, percent
from benchmarks.schema import ENTRIES, LEVELS, STAGES
from benchmarks.worker.certificate import first_failure
from benchmarks.worker.messages import Block, Certified


def show_list(console: Console, probes: dict[str, Probe], device: str) -> None:
    """Every backend and mode, and whether it can run here."""
    table = Table("backend", "mode", "tier", "input", f"on the {device} here")
    for name, found in probes.items():
        problem = found.problem
        versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
        for row, (mode, about) in enumerate(BACKENDS[name].modes.items()):
            state = f"no: {problem}" if problem else "yes"
            if row == 0 and not problem:
                state = f"yes ({versions})"
            table.add_row(
                name if row == 0 else "", mode, about.tier, ", ".join(about.inputs), escape(state)
            )
        table.add_section()
    console.print(table)


def show_certificate(console: Console, case: Case, answer: tuple[Certified, Block] | str) -> None:
    """One case's certificate and ledger, or why there is none."""
    if isinstance(answer, str):
        console.print(f"{case.name} failed: {answer}\n", markup=False, highlight=False)
        return
    certified, block = answer
    table = Table("stage", title=case.name, title_justify="left")
    for level in LEVELS:
        for heading in (level, "bound", "worst parameter"):
            table.add_column(heading, justify="left" if heading.startswith("worst") else "right")
    for stage in STAGES:
        cells = []
        for level in LEVELS:
            own = [c for c in certified.checks if (c.level, c.stage) == (level, stage)]
            # A figure that is not finite is the worst of all.
            worst = max(own, key=lambda c: (not c.passed, c.error / c.bound if c.error else 0.0))
            said = worst.not_read or worst.parameter
            error = "–" if worst.not_read else f"{worst.error:.1e}"
            cells += [error, f"{worst.bound:.0e}", f"{said}{'' if worst.passed else ' ✗'}"]
        table.add_row(stage.replace("_", " "), *cells)
    console.print(table)
    failure = first_failure(certified.checks)
    if failure is None:
        console.print(f"certified in {certified.seconds:.1f} s")
    else:
        row = asdict(failure) | {"relative_error": failure.error}
        console.print(f"NOT certified: first departs at {words.departure(row)}", markup=False)
    ledger = Table.grid(padding=(0, 2))
    found = certified.ledger | {
        "cpus_used": f"{block.cpu_seconds / block.seconds:.1f}",
        "compiled_while_timed": str(block.compilations),
    }
    for entry, about in ENTRIES.items():
        ledger.add_row(about.title, escape(found[entry]))
    ledger.add_row("versions", escape(" ".join(f"{k} {v}" for k, v in certified.versions.items())))
    console.print(ledger)
    console.print()


def show_findings(console: Console, bundle: Bundle, findings: Findings, folder: Path) -> None:
    """The ranking and its meaning, as in the report."""
    for where, group in words.groups(findings):
        table = Table(title=f"{where}, 95% intervals")
        table.add_column("rank", justify="right")
        table.add_column("case", no_wrap=True)
        table.add_column("tier")
        headings = ("ms a step", "times the fastest", "times the floor", "test", "start-up (s)")
        for heading in headings:
            table.add_column(heading, justify="right")
        for _, row in group.iterrows():
            table.add_row(
                str(row["rank"]),
                row["case"],
                row["tier"],
                interval(row["step_ms"], row["step_ms_low"], row["step_ms_high"], words.MS),
                interval(row["times_fastest"], row["times_fastest_low"], row["times_fastest_high"]),
                number(row["x_floor"], ".2f"),
                percent(row["test_accuracy"], 2),
                number(row["startup_seconds"], ".1f"),
            )
        console.print(table)
    if rows := accuracy_report.tutorial_rows(findings):
        table = Table(title="loss / accuracy, as the tutorial prints them")
        for heading in rows[0]:
            table.add_column(heading, justify="right")
        for cells in rows:
            table.add_row(*(cells.get(heading, "–") for heading in rows[0]))
        console.print(table)
    unranked = findings.summary[findings.summary["status"] != "measured"]
    for _, row in unranked.iterrows():
        reason = f": {row['reason']}" if row["reason"] else ""
        console.print(f"{row['status']}: {row['case']}{reason}", markup=False)
    answer = words.fastest(findings) + words.accuracy(findings) + words.certainty(findings)
    console.print(Markdown(" ".join(answer)))
    for note in words.cautions(bundle, findings)[:-1]:
        console.print(Markdown(f"- {note}"))
    console.print(f"report: {folder / 'report.md'}", markup=False, highlight=False, soft_wrap=True)


def show_comparison(console: Console, found: Comparison, limit: float | None) -> None:
    """The comparison of two bundles and what to know about it, as in its report."""
    rows = comparison_report.cells(found)
    table = Table(title="95% intervals")
    for heading in rows[0]:
        text = heading in TEXT_COLUMNS
        table.add_column(heading, justify="left" if text else "right", no_wrap=heading == "case")
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
    for note in comparison_report.notes(found, limit):
        console.print(Markdown(f"- {note}"))
    if len(found.differences):
        console.print("What the environments differ in:")
        different = Table("what", *found.differences.columns)
        for fact, values in found.differences.iterrows():
            different.add_row(escape(str(fact)), *(escape(value) for value in values))
        console.print(different)
