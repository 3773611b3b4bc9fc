"""The comparison of two bundles: its table, its sentences, and its markdown report."""

from benchmarks.analysis.comparison import Comparison, beyond
from benchmarks.analysis.statistics import SIGNIFICANCE, SMALLEST_DIFFERENCE, TIE_MARGIN
from benchmarks.reports.formats import MS, as_interval, interval, joined, number, text
from benchmarks.reports.sections import CASE, Column, Note, Part, Section, Table, document
from benchmarks.reports.several import environment_differences

METHOD = f"""\
A launch contributes the median, over its undisturbed rounds, of the logarithm of the step time, or
of its ratio to the baseline in the same round. The two runs are independent: the ratio and its 95%
interval are those of Welch's t interval on the launches' values. *slower* and *faster* are verdicts
on the later run: the p-value, adjusted for the number of cases (Benjamini and Hochberg), is at most
{100 * SIGNIFICANCE:.0f}%, and the ratio differs from one by more than
{100 * SMALLEST_DIFFERENCE:.0f}%; *tie*: the whole interval lies within {100 * TIE_MARGIN:.0f}%.
Whatever else differed between the two runs, such as another program on the machine, is in the ratio
and not in the interval."""


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


def notes(comparison: Comparison, limit: float | None) -> list[Note]:
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
        *(*verdicts, *gate(comparison, limit)),
        *(Note(f"Not compared: {case}, which {why}.") for case, why in comparison.left_out.items()),
        *(Note(f"{warning}.", "warning") for warning in comparison.warnings),
        *(Note(f"{caution}.") for caution in comparison.cautions),
    ]


def gate(comparison: Comparison, limit: float | None) -> list[Note]:
    """The cases that are slower by more than `limit`, and those that may be."""
    if limit is None:
        return []
    shown, possible = (joined(cases) for cases in beyond(comparison.rows, limit))
    slower, notes = f"slower by more than {number(limit, '.1%')}", []
    if shown:
        notes.append(Note(f"{slower.capitalize()}: {shown}.", "warning"))
    if possible:
        notes.append(Note(f"May be {slower}, not shown: {possible}."))
    return notes or [Note(f"No case is {slower}, by its estimate.")]


def markdown(comparison: Comparison, before: str, after: str, limit: float | None) -> str:
    """The whole report; `before` and `after` name the bundles."""
    names = f"Before is {text(before)}, after is {text(after)}."
    opening: list[Part] = [names, table(comparison), notes(comparison, limit)]
    differences = environment_differences(comparison.differences)
    sections = [differences, Section("How it was compared", [METHOD])]
    return document(f"{after} against {before}", opening, sections)
