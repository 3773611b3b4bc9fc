"""What the terminal shows besides progress: the results of a run, and of a comparison."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks.analysis.between_runs.comparison import Comparison
from benchmarks.analysis.between_runs.gate import Gate
from benchmarks.analysis.findings import Findings
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.between_runs import comparison
from benchmarks.reports.between_runs.several import differences_table
from benchmarks.reports.formats import text
from benchmarks.reports.run import accuracy, ladders
from benchmarks.reports.run import document as run
from benchmarks.reports.run.sentences import cautions
from benchmarks.reports.sections import Note, Table
from benchmarks.texts import harmless


def rich_table(table: Table, **looks: Any) -> RichTable:
    """A table of a report for the terminal; `looks` are arguments of rich's own table."""
    if "title" in looks:
        looks["title"] = escape(harmless(looks["title"]))
    shown = RichTable(**looks)
    for column in table.columns:
        justify: Any = "left" if column.text else "right"
        shown.add_column(escape(column.heading), justify=justify, no_wrap=column.heading == "case")
    for cells in table.cells():
        shown.add_row(*map(escape, cells))
    return shown


def show_line(console: Console, line: str) -> None:
    """A line as it is, however wide the terminal."""
    console.print(harmless(line), markup=False, emoji=False, highlight=False, soft_wrap=True)


def _markdown(shown: str, **looks: Any) -> Markdown:
    """Markdown for the terminal, without links: what a bundle quotes opens nothing."""
    return Markdown(shown, hyperlinks=False, **looks)


def show_notes(console: Console, notes: Iterable[Note]) -> None:
    """A list of notes, in which warnings stand out."""
    for note in notes:
        style = "bold yellow" if note.severity == "warning" else "none"
        console.print(_markdown(f"- {text(note.text)}", style=style))


def show_findings(console: Console, bundle: Bundle, findings: Findings) -> None:
    """The rankings, the ladders, the answer and the cautions of a report."""
    for where, table in run.terminal_ranking(findings):
        console.print(rich_table(table, title=f"{where}; 95% intervals"))
    for title, table in ladders.terminal_ladders(findings):
        console.print(rich_table(table, title=f"The ladder of {title}; 95% intervals"))
    if variants := ladders.variants_table(bundle, findings):
        console.print(rich_table(variants, title="Variants; 95% intervals"))
    if tutorial := accuracy.tutorial_table(findings):
        console.print(rich_table(tutorial, title="loss / accuracy, as the tutorial prints them"))
    missing = findings.summary[findings.summary["status"] != "measured"]
    for (status, reason), rows in missing.groupby(["status", "reason"], sort=False):
        cases = ", ".join(rows["case"])
        show_line(console, f"{status}: {cases}{reason and ': '}{reason}")
    console.print(_markdown(run.answer(findings)))
    show_notes(console, cautions(bundle, findings))
    if changed := ladders.releases(bundle, findings):
        for part in changed.parts:
            if isinstance(part, Table):
                console.print(rich_table(part, title=changed.heading))
            elif isinstance(part, list):
                show_notes(console, part)


def show_comparison(console: Console, compared: Comparison, gate: Gate | None) -> None:
    """The comparison of two bundles and what to know about it, as in its report."""
    console.print(rich_table(comparison.table(compared), title="95% intervals"))
    show_notes(console, comparison.notes(compared, gate))
    if len(compared.differences):
        console.print("What the environments differ in:")
        console.print(rich_table(differences_table(compared.differences)))
