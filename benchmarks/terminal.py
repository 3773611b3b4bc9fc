"""What the terminal shows besides progress: what can run here, and a run's findings."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from backends.registry import BACKENDS, TIERS
from benchmarks import words
from benchmarks.probe import Probe
from benchmarks.summary import Bundle, Findings
from benchmarks.words import interval, number, percent


def show_list(console: Console, probes: dict[str, Probe], device: str) -> None:
    """Every backend and mode, and whether it can run here."""
    table = Table("backend", "mode", "tier", "input", f"on the {device} here")
    for name, found in probes.items():
        problem = found.problem_on(device)
        versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
        for row, (mode, inputs) in enumerate(BACKENDS[name].modes.items()):
            state = f"no: {problem}" if problem else "yes"
            if row == 0 and not problem:
                state = f"yes ({versions})"
            table.add_row(
                name if row == 0 else "", mode, TIERS[mode], ", ".join(inputs), escape(state)
            )
        table.add_section()
    console.print(table)


def show_findings(console: Console, bundle: Bundle, findings: Findings, folder: Path) -> None:
    """The ranking and its meaning, as in the report."""
    for (precision, device), group in words.ranked(findings.summary).groupby(
        ["precision", "device"], sort=False
    ):
        table = Table(title=f"{precision} on the {str(device).upper()}, 95% intervals")
        table.add_column("rank", justify="right")
        table.add_column("case", no_wrap=True)
        table.add_column("tier")
        for heading in ("ms a step", "times the fastest", "test accuracy", "start-up (s)"):
            table.add_column(heading, justify="right")
        for _, row in group.iterrows():
            table.add_row(
                str(row["rank"]),
                row["case"],
                row["tier"],
                interval(row["step_ms"], row["step_ms_low"], row["step_ms_high"], words.MS),
                interval(row["times_fastest"], row["times_fastest_low"], row["times_fastest_high"]),
                percent(row["test_accuracy"], 2),
                number(row["startup_seconds"], ".1f"),
            )
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
