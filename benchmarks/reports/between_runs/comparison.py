"""The comparison of two bundles: its table, its sentences, and its markdown report."""

from dataclasses import replace

from benchmarks.analysis.between_runs.comparison import Comparison
from benchmarks.analysis.between_runs.gate import Gate
from benchmarks.analysis.statistics import SIGNIFICANCE, SMALLEST_DIFFERENCE, TIE_MARGIN
from benchmarks.reports.formats import MS, as_interval, interval, joined, number, text
from benchmarks.reports.sections import CASE, Column, Document, Note, Table
from benchmarks.reports.sections import markdown as as_markdown

METHOD = f"""\
A launch contributes the median, over its undisturbed rounds, of the logarithm of the step time, or
of its ratio to the baseline in the same round. Runs are independent. Of one run a side, the ratio
and its 95% interval are those of Welch's t interval on the launches' values. Of several, each run
contributes the mean of its launches, and the interval is Student's, with a variance that is
learned from both sides and from the framework's other cases (Smyth, 2004). *slower* and *faster*
are verdicts on the later runs: the p-value, adjusted for the number of cases (Benjamini and
Hochberg), is at most {100 * SIGNIFICANCE:.0f}%, and the ratio differs from one by more than
{100 * SMALLEST_DIFFERENCE:.0f}%; *tie*: the whole interval lies within {100 * TIE_MARGIN:.0f}%.
With one run a side, whatever else differed between the two, such as another program on the machine,
is in the ratio and not in the interval."""

MOST_NOTES = 4
"""Sentences that stand above the table."""
SAME_RUN = "BEFORE and AFTER hold the same run: nothing is compared."
FINE_LIMIT = "A limit under 1% is finer than runs can tell apart."


def table(comparison: Comparison) -> Table:
    """A row a case, with its verdict."""
    unit = "times baseline" if comparison.baseline else "ms a step"
    scale, form = (1, ".2f") if comparison.baseline else (1000, MS)
    sides = ["before", "after"]
    columns = [
        CASE,
        *(Column(f"{side} ({unit})", side, form) for side in sides),
        Column("after / before", "ratio", as_interval(".3f")),
        Column("verdict", "verdict", text=True),
    ]
    return Table(columns, comparison.rows.assign(**comparison.rows[sides] * scale))


def notes(comparison: Comparison, gate: Gate | None) -> list[Note]:
    """The verdicts in sentences, and what a reader must know about them."""
    rows, baseline = comparison.rows, comparison.baseline_ratio
    verdicts = [
        Note(f"{verdict}: {joined(cases)}.")
        for verdict in ("slower", "faster", "tie", "undecided")
        if (cases := list(rows.loc[rows["verdict"] == verdict, "case"]))
    ]
    if baseline is not None:
        times = interval(baseline.value, baseline.low, baseline.high, ".3f")
        sentence = (
            f"The baseline itself, {comparison.baseline}, takes {times} times as long after as "
            "before; a change in its own software shows in every other case."
        )
        verdicts.append(Note(sentence))
    return [
        *verdicts,
        *(gate_notes(gate) if gate else []),
        *(Note(f"Not compared: {case}, which {why}.") for case, why in comparison.left_out.items()),
        *(Note(f"{warning}.", "warning") for warning in comparison.warnings),
        *(Note(f"{caution}.") for caution in comparison.cautions),
    ]


def gate_notes(gate: Gate) -> list[Note]:
    """The cases that are slower than the limit, and what cannot be judged."""
    slower = f"slower by more than {number(gate.limit, '.1%')}"
    if gate.slower:
        notes = [Note(f"{slower.capitalize()}: {joined(gate.slower)}.", "warning")]
    else:
        notes = [Note(f"No case that was compared is shown to be {slower}.")]
    notes += [Note(f"Cannot judge: {reason}.", "warning") for reason in gate.unjudged]
    if gate.allowed:
        notes.append(Note(f"Missing, as --allow-missing allows: {joined(gate.allowed)}."))
    # A case that could hide more is not judged, which is said above.
    if gate.smallest_shown < 1:
        smallest = number(gate.smallest_shown, ".1%")
        notes.append(
            Note(f"In 9 of 10 such comparisons, a slowdown of {smallest} would be found in "
                 f"{gate.worst_case}, which is the hardest to judge; smaller ones in the others.")
        )  # fmt: skip
    if gate.limit < SMALLEST_DIFFERENCE:
        notes.append(Note(FINE_LIMIT, "warning"))
    return notes


MOST_ROWS = 12
"""Cases that the markdown names; the CSVs of the bundles have all."""
DECISIVE = ("slower", "undecided", "faster", "tie")
"""The order in which verdicts are shown."""


def markdown(comparison: Comparison, before: str, after: str, *, gate: Gate | None) -> str:
    """The report in at most 30 lines, as a comment on a change.

    It has the verdict, a table and, folded away, what else to know. `before` and `after` name the
    bundles of each side.
    """
    rows = comparison.rows.sort_values("verdict", key=lambda column: column.map(DECISIVE.index))
    said = notes(comparison, gate)
    verdict = gate_notes(gate) if gate else [note for note in said if note.severity == "warning"]
    verdict.sort(key=lambda note: note.severity == "note")
    first = verdict[:MOST_NOTES] or said[:1]
    most = MOST_ROWS - max(len(first) - 2, 0)
    left_out = len(rows) - most
    shown = table(replace(comparison, rows=rows.head(most)))
    differences = [
        f"{index}: {joined([str(value) for value in row])}"
        for index, row in zip(
            comparison.differences.index, comparison.differences.to_numpy(), strict=True
        )
    ]
    details = [
        f"Before: {text(before)}. After: {text(after)}.",
        " ".join(note.markdown for note in said if note not in first),
        f"What the environments differ in: {text('; '.join(differences) or 'nothing recorded')}.",
        METHOD.replace("\n", " "),
    ]
    return "\n".join([
        f"**{text(after)} against {text(before)}**",
        "",
        *(f"- {note.markdown}" for note in first),
        "",
        as_markdown(shown),
        *(["", f"{left_out} more cases are in the bundles."] if left_out > 0 else []),
        "",
        "<details><summary>What else to know</summary>",
        "",
        *(f"- {line}" for line in details if line),
        "",
        "</details>",
        "",
    ])  # fmt: skip


def markdown_of_same_run(before: str, after: str) -> str:
    """The report where there is nothing to compare."""
    return Document(f"{after} against {before}", [], SAME_RUN, []).markdown()
