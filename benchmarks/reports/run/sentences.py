"""The sentences that reports and terminal share: what the results of a run mean."""

import math
from collections.abc import Mapping

import pandas as pd

from backends.contract import TEXTBOOK
from backends.ladder import FLOOR
from backends.registry import title_of
from benchmarks.analysis.accuracy import MOST_SEEDS, NOT_CERTIFIED
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.analysis.ledger_differences import substituted
from benchmarks.analysis.noise import FEWEST_LAUNCHES
from benchmarks.analysis.spoiled import spoiled_by
from benchmarks.bundle.checks import describe_damage
from benchmarks.bundle.reader import Bundle
from benchmarks.bundle.records import FORMAT, Run
from benchmarks.reports.formats import (
    Row,
    as_interval,
    counted,
    joined,
    number,
    stage_title,
    text,
)
from benchmarks.reports.run import nodes
from benchmarks.reports.sections import Note
from benchmarks.schema import OTHER_SHARE, TIER

MOST_PAIRS = 6
"""Up to this number, pairs that are not decided are named."""
MOST_NAMED = 2
"""Up to this number, differences in accuracy are named one by one."""


def departure(check: Row) -> str:
    """Where a failed check departs from the reference, and by how much; or why it tells nothing.

    `check` has level, stage, parameter, relative_error, bound and reason, as a row of
    certificates.csv.
    """
    parameter = f", {check['parameter']}" if isinstance(check["parameter"], str) else ""
    where = f"{stage_title(check['stage'])}{parameter} ({check['level']})"
    error, bound = check["relative_error"], check["bound"]
    if isinstance(check["reason"], str) and check["reason"]:
        return f"cannot be certified: {check['reason']} ({where})"
    if not math.isfinite(error):
        return f"departs from the reference at {where}: it is not finite, as the reference is"
    return f"departs from the reference at {where}: relative error {error:.1e}, allowed {bound:.1e}"


def block_departure(check: Row) -> str:
    """Where a timed block departs from the training; `check` is a row of blocks.csv."""
    parameter = f" of {check['parameter']}" if isinstance(check["parameter"], str) else ""
    steps = f"{check['steps']} steps" if check["steps"] > 1 else "step"
    error, bound = check["error"], check["bound"]
    where = f"{check['check']}{parameter}, in the {steps} after step {check['first_step']}"
    if isinstance(check["reason"], str) and check["reason"]:
        return f"cannot be certified: {check['reason']} ({where})"
    if bound >= 1:
        return f"cannot be certified: rounding alone may change so much ({where}: {bound:.1e})"
    how_far = f"{error:.1e}, allowed {bound:.1e}" if math.isfinite(error) else "not finite"
    return f"departs from the training in a timed block: {where}: {how_far}"


def substitutions(ledger: pd.DataFrame) -> list[str]:
    """Which cases are certified in float64 with the products of other libraries."""
    sentences = []
    for case, libraries in substituted(ledger).items():
        by, _, without = libraries.partition(" for ")
        sentences.append(
            f"{case} is certified in float64 with the products of {by}, since {without} has none "
            "there: its own are certified as they are timed alone."
        )
    return sentences


def equivalence(row: Row) -> str:
    """The verdict on a pair of equivalences.csv."""
    within = f"within {row['margin_points']:g} points"
    about = seeds_needed(row["seeds"], row["seeds_needed"])
    verdicts = {
        NOT_CERTIFIED: f"{within}, but not certified to train alike",
        "equivalent": f"equivalent {within}",
        "different": "different",
    }
    return verdicts.get(row["verdict"], f"too few seeds to tell{about and f', {about} needed'}")


def seeds_needed(seeds: float, needed: float) -> str:
    """How many seeds would likely decide; empty after one seed, which tells nothing of that."""
    if math.isfinite(needed):
        return f"about {needed:.0f}"
    return f"more than {MOST_SEEDS}" if seeds > 1 else ""


def accuracy(findings: Findings) -> str:
    """Whether the backends that do the same training differ in accuracy."""
    if findings.accuracies.empty and findings.apart:
        return "What the frameworks learn was not measured."
    if findings.accuracies.empty:
        return "No case was trained to the end, so no final accuracy is compared."
    # Groups that are not certified, or train by another Adam, have names that are no backend's.
    backends = findings.accuracies[findings.accuracies["group"] == findings.accuracies["backend"]]
    titles = {name: text(title_of(name)) for name in backends["group"]}
    names = joined(list(titles.values()))
    if len(backends) == 1:
        mean = as_interval(".2%")(backends.iloc[0], "test_accuracy")
        return f"The mean test accuracy of {names} is {mean}."
    pairs = findings.equivalences
    pairs = pairs[pairs["group"].isin(titles) & pairs["other"].isin(titles)]
    if pairs.empty:
        return "No two backends that do the same training were trained to the end."
    worst, best = (number(f(backends["test_accuracy"]), ".2%") for f in (min, max))
    span = f"accuracies from {worst} to {best}" if worst != best else f"accuracy {best}"
    return _difference(pairs, titles, f"{names} (test {span})", findings.apart)


def _difference(pairs: pd.DataFrame, titles: Mapping[str, str], names: str, apart: bool) -> str:
    """What the pairs of backends say together; `names` are the backends and their accuracies."""
    if (pairs["verdict"] == "equivalent").all():
        margin = pairs["margin_points"].iloc[0]
        return f"Accuracy does not differ: {names} are equivalent within {margin:g} points."
    different = pairs[pairs["verdict"] == "different"]
    if len(different) > MOST_NAMED:
        return f"**Accuracy differs** between {len(different)} of {len(pairs)} pairs of {names}."
    if len(different):
        verb = "ends" if apart else "tests"
        differences = [
            f"{titles[row['group']]} {verb} {number(abs(row['difference_points']), '.2f')} points "
            f"{'above' if row['difference_points'] > 0 else 'below'} {titles[row['other']]}"
            for _, row in different.iterrows()
        ]
        return f"**Accuracy differs**: {joined(differences)}."
    undecided = pairs[pairs["verdict"] == "too few seeds"]
    seeds = undecided["seeds"].min()
    about = seeds_needed(seeds, undecided["seeds_needed"].max(skipna=False))
    return (
        f"Whether accuracy differs is open: over {counted(seeds, 'seed')}, {names} are shown "
        "neither to differ nor to be equivalent"
        f"{about and f'; a new run of {about} seeds would likely decide it'}."
    )


def bounds(measured: pd.DataFrame) -> list[Note]:
    """What takes most of each case's step, and how far the case is from the floors."""
    sentences = []
    for _, row in measured[(measured["bound"] != "") & ~control_of(measured)].iterrows():
        share = number(row[f"{row['bound']}_ms"] / row["step_ms"], ".0%")
        largest = (
            f"spends {share} of its step on what no single part explains"
            if row["bound"] == "rest"
            else f"is bound by {row['bound']}: {share} of its step"
        )
        sentences.append(
            f"{row['case']} {largest}. It "
            f"takes {number(row['x_floor'], '.2f')} times as long as the attained floor, and "
            f"{number(row['x_own_floor'], '.2f')} times as long as the floor of its library."
        )
    fused = measured[(measured["x_floor_high"] < 1) & (measured["held_back"] == "")]
    sentences += [
        f"{row['case']} takes {as_interval('.3f')(row, 'x_floor')} times as long as the attained "
        "floor: it fuses pieces that the floor makes one after another."
        for _, row in fused[~control_of(fused)].iterrows()
    ]
    return list(map(Note, sentences))


def resolution(findings: Findings) -> str:
    """How small a difference this run can show, and whether copies of a case are shown equal."""
    if math.isnan(findings.resolution):
        told = "No pair has an interval, so this run's resolution is unknown."
    else:
        told = (
            f"The interval of a typical ratio reaches {number(findings.resolution, '.1%')} to "
            "either side."
        )
    control = findings.control
    if math.isnan(control.low):
        return told
    apart = "differed by" if control.low > 1 or control.high < 1 else "are not told apart:"
    value = f"{control.value:.3f} [{control.low:.3f}, {control.high:.3f}]"
    return f"{told} Two copies of the same case {apart} {value}."


def other_speeds(findings: Findings, launches: int) -> list[str]:
    """The processes that ran on another speed, or how many might have without being seen."""
    if findings.other_speeds.empty:
        unseen = number(1 - 0.05 ** (1 / max(launches, 1)), ".0%")
        said = (
            f"Of {launches} launches none had a process that was slower than its case's others; up "
            f"to {unseen} of all processes may be, and not be seen."
        )
        return [said] if launches >= FEWEST_LAUNCHES else []
    return [
        f"{case} ran on another speed in {len(rows)} of {launches} launches: "
        f"{joined([number(times, '.2f') for times in rows['times']])} times its usual step time. "
        "These launches are in no estimate."
        for case, rows in findings.other_speeds.groupby("case", sort=False)
    ]


def overall(findings: Findings) -> str:
    """What holds for all tiers: the accuracy and the resolution."""
    return f"{accuracy(findings)} {resolution(findings)}"


SCOPE = Note(
    "The figures hold for this machine, these versions and this workload. A small dense network "
    "says little about large or convolutional ones, or about other batch sizes."
)


def cautions(bundle: Bundle, findings: Findings) -> list[Note]:
    """What a reader must know about this run before quoting a figure."""
    run, summary = bundle.environment.run, findings.summary
    measured = summary[summary["status"] == "measured"]
    diverged = summary[(summary["diverged"] != "") & ~control_of(summary)]
    warnings = [f"{row['case']} {row['diverged']}." for _, row in diverged.iterrows()]
    warnings += [f"Unfair: {sentence}." for sentence in findings.unfair]
    held_back = summary[(summary["held_back"] != "") & ~control_of(summary)]
    warnings += [f"{row['case']} is {row['held_back']}." for _, row in held_back.iterrows()]
    spoiled = spoiled_by(bundle.environment, bundle.tables["ledger"])
    warnings += [f"Spoiled: {sentence}." for sentence in spoiled]
    if (share := bundle.tables["rounds"]["other_share"].median()) > OTHER_SHARE:
        warnings.append(
            f"Spoiled: other processes took {number(share, '.0%')} of the processors' time in the "
            "median round."
        )
    if damage := describe_damage(bundle.problems):
        warnings.insert(0, damage)
    if run.state != "complete":
        warnings.insert(
            0,
            f"Incomplete: {run.state} after {run.finished_launches} of {run.launches} "
            "launches; the figures rest on what had been measured by then.",
        )
    notes = [*_undecided(findings), *other_speeds(findings, run.finished_launches)]
    notes += nodes.notes(bundle)
    notes += [*_limits_of_time(run, measured, findings.apart), *_disturbances(bundle)]
    if (bundle.environment.format or 1) < FORMAT:
        notes.append(
            "Written by an older version of this program: the bundle has no checksum of its data."
        )
    if summary["adam"].nunique() > 1 or (summary["adam"] != TEXTBOOK).all():
        notes.append(
            "Cases named stock-adam run Keras' own Adam, which adds ε elsewhere (ε̂ in its paper): "
            "another algorithm, certified as such and not comparable with the others."
        )
    notes += substitutions(bundle.tables["ledger"])
    if len(uncertified := measured.loc[~measured["certified"], "case"]):
        notes.append(
            f"Not comparable, and not ranked: {joined(list(uncertified))} "
            f"{'was' if len(uncertified) == 1 else 'were'} not shown to compute the same training "
            "as the reference."
        )
    return [*(Note(warning, "warning") for warning in warnings), *map(Note, notes)]


def _undecided(findings: Findings) -> list[str]:
    """Which pairs within a tier are not decided."""
    verdicts = findings.verdicts
    if "relation" not in verdicts:
        return []
    pairs = verdicts[(verdicts["relation"] == TIER) & (verdicts["verdict"] == "undecided")]
    named = [f"{row['case']} and {row['other']}" for _, row in pairs.iterrows()]
    more = len(named) - MOST_PAIRS
    if more > 0:
        named = [*named[:MOST_PAIRS], counted(more, "further pair")]
    return [f"Which is faster is not decided of {'; '.join(named)}."] if named else []


def _limits_of_time(run: Run, measured: pd.DataFrame, apart: bool) -> list[str]:
    """The launches and steps that are missing, and what that means."""
    notes = []
    launches, planned = run.finished_launches, run.launches
    partly = measured[~measured["trained_to_end"] & ~apart]
    if run.state == "complete" and run.out_of_time:
        if launches < planned:
            notes.append(f"The time limit left out {planned - launches} of {planned} launches.")
        if len(partly):
            notes.append(
                "The time limit ended training runs before their last step: final accuracies are "
                "those of the steps shown."
            )
    if launches < 2:
        notes.append(
            "With fewer than two launches nothing is known about how processes differ from one "
            "another: there are no intervals, and no verdicts."
        )
    elif launches < 3:
        notes.append("There were only two launches, so the intervals are wide.")
    if len(partly) and not run.out_of_time:
        steps = ", ".join(f"{row['case']} ({row['steps']:,} steps)" for _, row in partly.iterrows())
        notes.append(f"Not trained to the end: {steps}.")
    return notes


def _disturbances(bundle: Bundle) -> list[str]:
    """What went wrong while the run was measured."""
    outcomes, launches = bundle.tables["outcomes"], bundle.tables["launches"]
    notes = [
        f"{row['case']} failed and is not among the floors: {row['reason']}."
        for _, row in outcomes[outcomes["mode"] == FLOOR].iterrows()
    ]
    if (share := bundle.tables["rounds"]["disturbed"].mean()) > 0:
        notes.append(
            f"{number(share, '.1%')} of rounds were disturbed by other load on the machine; they "
            "were excluded and repeated."
        )
    notes += _leaks(bundle.tables["samples"])
    unsteady = launches.loc[~launches["warmup_steady"].astype(bool), "case"].unique()
    if len(unsteady):
        notes.append(f"Still getting faster when timing began: {joined(list(unsteady))}.")
    return notes


def _leaks(samples: pd.DataFrame) -> list[str]:
    """Blocks that began while threads of another case still ran."""
    leaks = samples[samples["running_threads"] > 0]
    if leaks.empty:
        return []
    return [
        f"{number(len(leaks) / len(samples), '.1%')} of blocks began while threads of another case "
        f"still ran, for all that the session waited {leaks['wait_seconds'].max():.1f} s for them; "
        "their rounds count as disturbed."
    ]
