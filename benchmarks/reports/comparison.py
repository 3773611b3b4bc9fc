"""The comparison of two bundles: its table, its sentences, and its markdown report."""

from __future__ import annotations

from benchmarks.analysis.comparison import Comparison, beyond
from benchmarks.analysis.statistics import SIGNIFICANCE, SMALLEST_DIFFERENCE, TIE_MARGIN
from benchmarks.reports.formats import MS, as_interval, as_number, interval, joined, percent
from benchmarks.reports.sections import Note, Part, document, section
from benchmarks.reports.several import environment_differences
from benchmarks.reports.tables import CASE, Column, Table

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
    sides = comparison.rows[["before", "after"]] * scale
    columns = [
        CASE,
        *(Column(f"{side} ({unit})", side, as_number(form)) for side in ("before", "after")),
        Column("after / before", "ratio", as_interval(".3f")),
        Column("verdict", "verdict", text=True),
    ]
    return Table(columns, comparison.rows.assign(**sides))


def notes(comparison: Comparison, limit: float | None) -> list[Note]:
    """The verdicts in sentences, and what a reader must know about them."""
    rows, baseline = comparison.rows, comparison.baseline_ratio
    sentences = []
    for verdict in ("slower", "faster", "tie", "undecided"):
        cases = list(rows.loc[rows["verdict"] == verdict, "case"])
        sentences += [f"{verdict}: {joined(cases)}."] if cases else []
    if baseline is not None:
        sentences.append(
            f"The baseline itself, {comparison.baseline}, takes "
            f"{interval(baseline.value, baseline.low, baseline.high, '.3f')} times as long after "
            "as before; a change in its own software shows in every other case."
        )
    left_out = [f"Not compared: {case}, which {why}." for case, why in comparison.left_out.items()]
    warnings = [Note(f"{warning}.", "warning") for warning in comparison.warnings]
    cautions = map(Note, [f"{caution}." for caution in comparison.cautions])
    verdicts = [*map(Note, sentences), *gate(comparison, limit)]
    return [*verdicts, *map(Note, left_out), *warnings, *cautions]


def gate(comparison: Comparison, limit: float | None) -> list[Note]:
    """The cases that are slower by more than `limit`, and those that may be."""
    if limit is None:
        return []
    shown, possible = (joined(cases) for cases in beyond(comparison.rows, limit))
    notes = []
    if shown:
        notes.append(Note(f"Slower by more than {percent(limit)}: {shown}.", "warning"))
    if possible:
        notes.append(Note(f"May be slower by more than {percent(limit)}, not shown: {possible}."))
    return notes or [Note(f"No case is slower by more than {percent(limit)}, by its estimate.")]


def markdown(comparison: Comparison, before: str, after: str, limit: float | None) -> str:
    """The whole report; `before` and `after` name the bundles."""
    opening: list[Part] = [
        f"Before is {before}, after is {after}.",
        table(comparison),
        notes(comparison, limit),
    ]
    differences = environment_differences(comparison.differences)
    sections = [differences, section("How it was compared", METHOD)]
    return document(f"{after} against {before}", opening, sections)
