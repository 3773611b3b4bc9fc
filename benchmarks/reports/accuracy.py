"""The sections of a report on what was learned: accuracy, and the time to reach it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.analysis.findings import Bundle, Findings, control_of
from benchmarks.reports import sentences as words
from benchmarks.reports.figures import static as figures
from benchmarks.reports.sections import Figure, Part, Section, Table, section
from benchmarks.reports.sentences import interval, number, percent


def accuracy(bundle: Bundle, findings: Findings) -> Section | None:
    """Accuracies of each backend, whether they differ, the curves, and those of each seed."""
    if bundle.tables["launches"].empty:
        return None
    return section(
        "Accuracy",
        *_by_backend(findings),
        *_pairs(findings),
        Figure("curves", "Validation accuracy as training goes on"),
        Figure("", "Validation accuracy against steps", f"figures/{figures.ACCURACY}"),
        Figure("", "Validation accuracy against seconds", f"figures/{figures.ACCURACY_SECONDS}"),
        "Validation / test accuracy of each seed, at the last step trained.",
        Table(_by_seed(bundle.tables["launches"])),
    )


def _by_backend(findings: Findings) -> list[Part]:
    """Final accuracies: means over seeds."""
    if findings.accuracies.empty:
        return []
    rows = [
        {
            "backend": row["group"],
            "modes and inputs": row["cases"],
            "seeds": row["seeds"],
            "validation": words.percents(row, "validation_accuracy"),
            "test": words.percents(row, "test_accuracy"),
            "test loss": interval(
                row["test_loss"], row["test_loss_low"], row["test_loss_high"], ".3f"
            ),
        }
        for _, row in findings.accuracies.iterrows()
    ]
    return [
        "Of the cases trained to the end; means over seeds with 95% intervals. The modes and "
        "inputs of a backend do the same training but for rounding, so each seed counts with "
        "their mean.",
        Table(rows),
    ]


def _pairs(findings: Findings) -> list[Part]:
    """Each pair of backends, whether they differ in test accuracy."""
    if findings.equivalences.empty:
        return []
    rows = [
        {
            "backend": row["group"],
            "other": row["other"],
            "seeds": row["seeds"],
            "difference (points)": words.points(row),
            "p equivalent": number(row["p_equivalent"], ".3f"),
            "p different": number(row["p_different_adjusted"], ".3f"),
            "verdict": words.equivalence(row),
        }
        for _, row in findings.equivalences.iterrows()
    ]
    margin = findings.equivalences["margin_points"].iloc[0]
    return [
        "Test accuracy of each pair, the first less the second, paired by seed, since a seed fixes "
        "initial parameters and batches. Brackets hold the 90% interval: it lies within "
        f"{margin:g} points, and two one-sided t-tests show the two to be equivalent, where "
        "*p equivalent* is at most 0.05. *p different* is two-sided and adjusted for the number of "
        "pairs.",
        Figure("equivalence", "Differences in test accuracy, with 90% intervals"),
        Table(rows),
    ]


def _by_seed(launches: pd.DataFrame) -> list[dict[str, Any]]:
    """Validation / test accuracy of each case and seed."""
    rows = []
    for case, own in launches.groupby("case", sort=False):
        row: dict[str, Any] = {"case": case}
        for _, launch in own.iterrows():
            row[f"seed {launch['seed']}"] = (
                f"{percent(launch['validation_accuracy'], 2)} / "
                f"{percent(launch['test_accuracy'], 2)}"
            )
        rows.append(row)
    return rows


def tutorial_rows(findings: Findings) -> list[dict[str, Any]]:
    """What the tutorial's loop prints, a row a step: loss and accuracy of each case."""
    cases = findings.summary.loc[~control_of(findings.summary), ["case"]]
    rows = []
    for step, own in cases.merge(findings.tutorial, on="case").groupby("step"):
        first = own.iloc[0]
        row = {"step": f"{step:,}"}
        row |= {"tutorial": _printed(first["original_loss"], first["original_accuracy"])}
        row |= {
            reading["case"]: _printed(reading["loss"], reading["accuracy"])
            for _, reading in own.iterrows()
        }
        rows.append(row)
    return rows


def _printed(loss: float, share: float) -> str:
    """Loss and accuracy as the tutorial prints them."""
    return f"{number(loss, '.2f')} / {percent(share, 2)}"


def tutorial(bundle: Bundle, findings: Findings) -> Section | None:
    """What the tutorial's loop prints, beside what it printed then."""
    rows = tutorial_rows(findings)
    if not rows:
        return None
    seeds, images = findings.tutorial["seeds"].max(), bundle.tables["readings"]["images"].max()
    return section(
        "What the tutorial's loop prints",
        f"Loss / accuracy on {images} validation images after training on the batch of that step, "
        f"the first being step 0; means over {seeds} {'seed' if seeds == 1 else 'seeds'}. The "
        "tutorial's column is one run of it on random numbers of its own. One standard error of an "
        f"accuracy of 97% on {images} images is {100 * (0.97 * 0.03 / images) ** 0.5:.1f} points; "
        "tutorial.csv has 95% intervals over seeds.",
        Table(rows),
    )


def time_to_accuracy(findings: Findings) -> Section | None:
    """How long each case takes to reach a validation accuracy; the fastest first."""
    found = findings.time_to_accuracy
    found = found[~control_of(found)]
    if not found["reached"].any():
        return None
    rows = [
        {
            "target": percent(row["target"], 0),
            "case": row["case"],
            "seeds that reached it": f"{row['reached']} of {row['seeds']}",
            "steps": number(row["steps"], ",.0f"),
            "training (s)": interval(
                row["train_seconds"], row["train_seconds_low"], row["train_seconds_high"]
            ),
            "start-up (s)": number(row["startup_seconds"], ".2f"),
            "together (s)": number(row["total_seconds"], ".2f"),
        }
        for _, row in found.sort_values(["target", "train_seconds"], kind="stable").iterrows()
        if row["reached"]
    ]
    reached = found.groupby("target")["reached"].any()
    nobody = [percent(target, 0) for target in reached.index[~reached]]
    return section(
        "Time to accuracy",
        "From the first step to the first reading of the validation accuracy that reaches the "
        "target, as the next one does too; readings are a block apart. Typical seconds of the "
        "seeds that reached it, with 95% intervals: where not all did, those of the quicker ones. "
        "Start-up (import, build, first call with empty caches) is apart, and added in the last "
        "column.",
        Figure("time_to_accuracy", "Time to accuracy", f"figures/{figures.TIME_TO_ACCURACY}"),
        Table(rows),
        *([f"No case reached {words.joined(nobody)} in any seed."] if nobody else []),
    )
