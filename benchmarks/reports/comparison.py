"""The comparison of two bundles in words and as a markdown report."""

from __future__ import annotations

from benchmarks.analysis.comparison import Comparison, beyond
from benchmarks.analysis.statistics import SIGNIFICANCE, SMALLEST_DIFFERENCE, TIE_MARGIN
from benchmarks.reports import sentences as words
from benchmarks.reports.sections import Part, Table, document, section
from benchmarks.reports.sentences import interval, joined, number, percent
from benchmarks.reports.several import environment_differences

METHOD = f"""\
A launch gives the median over its undisturbed rounds of the logarithm of the step time, or of its
ratio to the baseline in the same round. The two runs are independent: the ratio and its 95%
interval are those of Welch's t interval on the launches' values. *slower* and *faster* are verdicts
on the later run: the p-value, adjusted for the number of cases (Benjamini and Hochberg), is at most
{100 * SIGNIFICANCE:.0f}%, and the ratio lies beyond {100 * SMALLEST_DIFFERENCE:.0f}%; *tie*: the
whole interval lies within {100 * TIE_MARGIN:.0f}%. What differed between the two runs besides what
was meant to, another program on the machine for one, is in the ratio and not in the interval."""


def cells(found: Comparison) -> list[dict[str, str]]:
    """The rows of the comparison as they are printed."""
    unit = "times baseline" if found.baseline else "ms a step"
    scale, form = (1, ".2f") if found.baseline else (1000, words.MS)
    return [
        {
            "case": row["case"],
            f"before ({unit})": number(scale * row["before"], form),
            f"after ({unit})": number(scale * row["after"], form),
            "after / before": interval(row["ratio"], row["ratio_low"], row["ratio_high"], ".3f"),
            "verdict": row["verdict"],
        }
        for _, row in found.rows.iterrows()
    ]


def notes(found: Comparison, limit: float | None) -> list[str]:
    """What the comparison says and what to know about it, a sentence each."""
    said = []
    for verdict in ("slower", "faster", "tie", "undecided"):
        own = list(found.rows.loc[found.rows["verdict"] == verdict, "case"])
        said += [f"{verdict}: {joined(own)}."] if own else []
    if found.baseline_ratio is not None:
        own_ratio = found.baseline_ratio
        said.append(
            f"The baseline itself, {found.baseline}, takes "
            f"{interval(own_ratio.value, own_ratio.low, own_ratio.high, '.3f')} times as long "
            "after as before; a change of its own software shows in every other case."
        )
    said += gate(found, limit)
    said += [f"Not compared: {case}, which {why}." for case, why in found.left_out.items()]
    return [*said, *(f"{caution}." for caution in found.cautions)]


def gate(found: Comparison, limit: float | None) -> list[str]:
    """Which cases are slower by more than `limit`, and which may be."""
    if limit is None:
        return []
    shown, possible = beyond(found.rows, limit)
    said = []
    if shown:
        said.append(f"**Slower by more than {percent(limit)}**: {joined(shown)}.")
    if possible:
        said.append(f"May be slower by more than {percent(limit)}, not shown: {joined(possible)}.")
    return said or [f"No case is slower by more than {percent(limit)}, by its estimate."]


def markdown(found: Comparison, before: str, after: str, limit: float | None) -> str:
    """The whole report."""
    opening: list[Part] = [
        f"Before is {before}, after is {after}.",
        Table([dict(row) for row in cells(found)]),
        words.bullets(notes(found, limit)),
    ]
    sections = [environment_differences(found.differences), section("How it was compared", METHOD)]
    return document(f"{after} against {before}", opening, sections)
