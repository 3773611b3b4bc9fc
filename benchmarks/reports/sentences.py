"""What a run's figures mean, in plain words: the sentences that the report and terminal share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from backends.contract import TEXTBOOK
from backends.registry import FLOOR, title_of
from benchmarks.analysis.accuracy import MOST_SEEDS, NOT_CERTIFIED
from benchmarks.analysis.findings import Bundle, Findings, control_of
from benchmarks.analysis.statistics import (
    MATCHED,
    SIGNIFICANCE,
    SMALLEST_DIFFERENCE,
    TIE_MARGIN,
    smallest_difference,
)

MS = "#.3g"
"""The form of a step's milliseconds: three digits."""
MOST_NAMED = 2
"""So many differences in accuracy are named one by one."""


def percent(value: float, digits: int = 1) -> str:
    """0.0123 → 1.2%."""
    return f"{100 * value:.{digits}f}%" if math.isfinite(value) else "–"


def number(value: float, form: str) -> str:
    """A figure, or a dash where there is none."""
    # The form "#.3g" keeps zeros, as in 3.30, but leaves a point behind whole numbers.
    return format(value, form).rstrip(".") if math.isfinite(value) else "–"


def interval(value: float, low: float, high: float, form: str = ".2f") -> str:
    """A figure with its interval: 1.23 [1.20, 1.26]."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, form)
    return f"{number(value, form)} [{number(low, form)}, {number(high, form)}]"


def joined(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def bullets(sentences: list[str]) -> str:
    """The sentences as a markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def ranked(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases that have a rank, fastest first."""
    return summary[summary["rank"].notna()]


def not_shown_slower(findings: Findings, best: str, cases: list[str]) -> list[str]:
    """The cases that no verdict shows to be slower than `best`."""
    found = findings.verdicts
    slower = {
        *found.loc[(found["other"] == best) & (found["verdict"] == "slower"), "case"],
        *found.loc[(found["case"] == best) & (found["verdict"] == "faster"), "other"],
    }
    return [case for case in cases if case != best and case not in slower]


def groups(findings: Findings) -> list[tuple[str, pd.DataFrame]]:
    """The ranked cases that may be compared with one another, and in words what they share."""
    parts = []
    for (precision, device, adam), group in ranked(findings.summary).groupby(
        list(MATCHED), sort=False
    ):
        own = "" if adam == TEXTBOOK else " with Keras' own Adam"
        parts.append((f"in {precision} on the {str(device).upper()}{own}", group))
    return parts


def pairs_of(findings: Findings, best: str, rivals: list[str]) -> pd.DataFrame:
    """The verdicts between a case and some others, whichever is named first."""
    found = findings.verdicts
    pair = (found["case"] == best) & found["other"].isin(rivals)
    return found[pair | ((found["other"] == best) & found["case"].isin(rivals))]


def apart(findings: Findings, best: str, rivals: list[str]) -> str:
    """What keeps the best from being called faster than its rivals."""
    found = pairs_of(findings, best, rivals)
    if len(found) and (found["verdict"] == "tie").all():
        return f"are a tie, within {percent(TIE_MARGIN)}"
    return "cannot be told apart here"


def needed(findings: Findings, best: str, rivals: list[str]) -> str:
    """How many launches would likely tell the best from its rivals; empty where too many."""
    found = pairs_of(findings, best, rivals)
    launches = found.loc[found["verdict"] == "undecided", "launches_needed"]
    if launches.empty or launches.isna().any():
        return ""
    return f" About {launches.max():.0f} launches would likely decide it."


def fastest(findings: Findings) -> list[str]:
    """Who is fastest, and by how much over the best of each other framework."""
    sentences = []
    for where, group in groups(findings):
        best = group.sort_values("step_ms").iloc[0]
        rivals = not_shown_slower(findings, best["case"], list(group["case"]))
        step = f"{number(best['step_ms'], MS)} ms a step"
        if len(group) == 1:
            sentences.append(
                f"{best['case']} takes {step} {where}; there is nothing to compare it with."
            )
        elif not rivals:
            sentences.append(f"**{best['case']}** trains fastest {where}: {step}.")
        else:
            sentences.append(
                f"No single case is shown to be fastest {where}: {joined([best['case'], *rivals])} "
                f"{apart(findings, best['case'], rivals)}; {best['case']} has the lowest estimate, "
                f"{step}.{needed(findings, best['case'], rivals)}"
            )
        for backend, own in group.groupby("backend", sort=False):
            other = own.sort_values("step_ms").iloc[0]
            if backend == best["backend"]:
                continue
            times = interval(*other[["times_fastest", "times_fastest_low", "times_fastest_high"]])
            sentences.append(
                f"The best of {title_of(str(backend))}, {other['case']}, takes {times} times "
                f"as long as {best['case']}."
            )
    return sentences


def departure(check: Mapping[str, Any] | pd.Series) -> str:
    """Where a failed check stands and by how much it fails.

    `check` has level, stage, parameter, relative_error and bound, as a row of certificates.csv.
    """
    parameter = check["parameter"] if isinstance(check["parameter"], str) else ""
    where = ", ".join(filter(None, [check["stage"].replace("_", " "), parameter]))
    why = f"{check['relative_error']:.1e} where the bound is {check['bound']:.1e}"
    return f"{where} ({check['level']}): relative error {why}"


def percents(row: pd.Series, name: str) -> str:
    """A share with its interval, in percent: 97.07% [96.57%, 97.58%]."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    brackets = f" [{percent(low, 2)}, {percent(high, 2)}]" if math.isfinite(low) else ""
    return percent(row[name], 2) + brackets


def points(row: pd.Series) -> str:
    """The difference of a pair of equivalences.csv with its 90% interval, in percentage points."""
    return interval(
        row["difference_points"], row["difference_points_low"], row["difference_points_high"]
    )


def equivalence(row: pd.Series) -> str:
    """The verdict on a pair of equivalences.csv."""
    if row["verdict"] == NOT_CERTIFIED:
        return f"within {row['margin_points']:g} points, but not certified to train alike"
    if row["verdict"] == "equivalent":
        return f"equivalent within {row['margin_points']:g} points"
    if row["verdict"] == "different":
        return "different"
    about = seeds_needed(row["seeds"], row["seeds_needed"])
    return f"too few seeds to tell{about and f', {about} needed'}"


def seeds_needed(seeds: float, needed: float) -> str:
    """How many seeds would likely tell; empty for one, which says nothing of that."""
    if math.isfinite(needed):
        return f"about {needed:.0f}"
    return f"more than {MOST_SEEDS}" if seeds > 1 else ""


def accuracy(findings: Findings) -> list[str]:
    """Whether the backends that do the same training differ in accuracy, in one sentence."""
    known = findings.accuracies
    if known.empty:
        return ["No case was trained to the end, so no final accuracy is compared."]
    # Those that are not certified, or train by another Adam, have names of their own.
    known = known[known["group"] == known["backend"]]
    titles = {name: title_of(name) for name in known["group"]}
    named = joined(list(titles.values()))
    if len(known) == 1:
        only = known.iloc[0]
        return [f"The mean test accuracy of {named} is {percents(only, 'test_accuracy')}."]
    pairs = findings.equivalences
    pairs = pairs[pairs["group"].isin(titles) & pairs["other"].isin(titles)]
    if pairs.empty:
        return ["No two backends that do the same training were trained to the end."]
    worst, best = (percent(f(known["test_accuracy"]), 2) for f in (min, max))
    span = f"accuracies from {worst} to {best}" if worst != best else f"accuracy {best}"
    figures = f"(test {span})"
    if (pairs["verdict"] == "equivalent").all():
        margin = pairs["margin_points"].iloc[0]
        return [
            f"Accuracy does not differ: {named} {figures} are equivalent within {margin:g} points."
        ]
    different = pairs[pairs["verdict"] == "different"]
    if len(different) > MOST_NAMED:
        return [
            f"**Accuracy differs** between {len(different)} of {len(pairs)} pairs of {named} "
            f"{figures}."
        ]
    if len(different):
        found = [
            f"{titles[row['group']]} tests {number(abs(row['difference_points']), '.2f')} points "
            f"{'above' if row['difference_points'] > 0 else 'below'} {titles[row['other']]}"
            for _, row in different.iterrows()
        ]
        return [f"**Accuracy differs**: {joined(found)}."]
    open_ = pairs[pairs["verdict"] == "too few seeds"]
    seeds, needed = open_["seeds"].min(), open_["seeds_needed"].max(skipna=False)
    about = seeds_needed(seeds, needed)
    return [
        f"Whether accuracy differs is open: over {seeds} {'seed' if seeds == 1 else 'seeds'} "
        f"{named} {figures} are shown neither to differ nor to be equivalent"
        f"{about and f'; {about} seeds would likely tell'}."
    ]


def bounds(measured: pd.DataFrame) -> list[str]:
    """What bounds each case, a sentence each."""
    sentences = []
    for _, row in measured[measured["bound"] != ""].iterrows():
        if row["case"].endswith("(control)"):
            continue
        share = row[f"{row['bound']}_ms"] / row["step_ms"]
        sentences.append(
            f"{row['case']} is bound by {row['bound']}: {percent(share, 0)} of its step. It takes "
            f"{number(row['x_floor'], '.2f')} times the floor, and "
            f"{number(row['x_own_floor'], '.2f')} times its own framework's."
        )
    return sentences


def certainty(findings: Findings) -> list[str]:
    """How fine a difference this run can show."""
    if math.isnan(findings.resolution):
        return ["This run has no usable control, so its resolution is unknown."]
    margin = smallest_difference(findings.resolution)
    return [
        f"Resolution: two runs of one and the same case differ by at most "
        f"{percent(findings.resolution)} here (95% interval); differences under "
        f"{percent(margin)} are not ranked."
    ]


def cautions(bundle: Bundle, findings: Findings) -> list[str]:
    """What a reader must know before quoting a figure."""
    run, summary = bundle.environment["run"], findings.summary
    notes = []
    if run["state"] != "complete":
        notes.append(
            f"**Incomplete**: {run['state']} after {run['finished_launches']} of "
            f"{run['launches']} launches; the figures rest on what was measured until then."
        )
    elif run["out_of_time"]:
        if run["finished_launches"] < run["launches"]:
            notes.append(
                f"The time limit left {run['launches'] - run['finished_launches']} of "
                f"{run['launches']} launches out."
            )
        if not summary.loc[summary["status"] == "measured", "trained_to_end"].all():
            notes.append(
                "The time limit ended training runs before their last step: final accuracies are "
                "those of the steps shown."
            )
    if run["finished_launches"] < 2:
        notes.append(
            "With fewer than two launches nothing is known of how processes differ from one "
            "another: there are no intervals, and no verdict is given."
        )
    elif run["finished_launches"] < 3:
        notes.append("Two launches only: the intervals are wide because of that.")
    outcomes = bundle.tables["outcomes"]
    for _, row in outcomes[outcomes["mode"] == FLOOR].iterrows():
        notes.append(f"{row['case']} failed and is not among the floors: {row['reason']}.")
    share = bundle.tables["rounds"]["disturbed"].mean()
    if share > 0:
        notes.append(
            f"{percent(share)} of the rounds were disturbed from outside, left out and made up for."
        )
    launches = bundle.tables["launches"]
    restless = launches.loc[~launches["warmup_steady"].astype(bool), "case"].unique()
    if len(restless):
        notes.append(f"Still getting faster when the timing began: {joined(list(restless))}.")
    partly = summary[(summary["status"] == "measured") & ~summary["trained_to_end"]]
    if len(partly) and not run["out_of_time"]:
        steps = ", ".join(f"{row['case']} ({row['steps']:,} steps)" for _, row in partly.iterrows())
        notes.append(f"Not trained to the end: {steps}.")
    failed = summary[(summary["diverged"] != "") & ~control_of(summary)]
    notes += [f"**{row['case']} {row['diverged']}.**" for _, row in failed.iterrows()]
    notes += [f"**Unfair**: {sentence}." for sentence in findings.unfair]
    if summary["adam"].nunique() > 1 or (summary["adam"] != TEXTBOOK).all():
        notes.append(
            "Cases named stock-adam run Keras' own Adam, which adds ε elsewhere (ε̂ in its paper): "
            "another algorithm, certified as such and not comparable with the others."
        )
    uncertified = summary[(summary["status"] == "measured") & ~summary["certified"]]
    if len(uncertified):
        notes.append(
            f"Not comparable, and not ranked: {joined(list(uncertified['case']))} did not compute "
            "the same training as the reference."
        )
    notes.append(
        "The figures hold for this machine, these versions and this workload. A small dense "
        "network says little of large or convolutional ones, nor of other batch sizes."
    )
    return notes


METHOD = f"""\
A step is timed in blocks, each ended by a device synchronisation; the clock runs over the forward
pass, the loss, the derivative, Adam's update and fetching the batch. It does not run over start-up,
compilation, warm-up and accuracy readings. A case is warm when its blocks no longer get faster.
Every case has its own process; cases take turns in rounds of random order, and ratios are taken
within rounds. A launch, which is a set of fresh processes with a seed of its own, gives the median
of its rounds; intervals are 95%, by Student's t over launches. A case is called faster or slower
where the p-value of the pair, adjusted for the number of pairs (Benjamini and Hochberg), is at most
{100 * SIGNIFICANCE:.0f}% and the ratio lies beyond {100 * SMALLEST_DIFFERENCE:.0f}% and beyond the
resolution; two are a tie where the whole interval lies within {100 * TIE_MARGIN:.0f}%. Launches
follow one another until all that can be decided is, or the time is spent. Beside every round a
small fixed workload is timed; rounds in which it tells of a disturbance from outside are kept in
the CSVs, left out of the estimates and made up for (rounds.csv). A case's rank is one more than the
number of cases shown to be faster; verdicts.csv has every pair."""
