"""The sections of a report on what was learned: accuracy, and the time to reach it."""

from __future__ import annotations

import pandas as pd

from benchmarks.analysis.findings import Findings, control_of
from benchmarks.bundle.reader import Bundle
from benchmarks.reports.cases import in_summary_order
from benchmarks.reports.figures import static
from benchmarks.reports.formats import (
    as_interval,
    as_number,
    as_percent,
    as_percent_interval,
    counted,
    joined,
    number,
    percent,
)
from benchmarks.reports.sections import Figure, Part, Section, section
from benchmarks.reports.sentences import equivalence
from benchmarks.reports.tables import CASE, Column, Table, columns

BACKEND = Column("backend", "group", text=True)
SEEDS = Column("seeds", "seeds")


def accuracy(bundle: Bundle, findings: Findings) -> Section | None:
    """Accuracy of each backend, whether backends differ, the curves, and each seed's accuracy."""
    launches = bundle.tables["launches"]
    if launches.empty:
        return None
    return section(
        "Accuracy",
        *_by_backend(findings),
        *_pairs(findings),
        Figure("curves", "Validation accuracy as training goes on"),
        Figure("", "Validation accuracy against steps", f"figures/{static.ACCURACY}"),
        Figure("", "Validation accuracy against seconds", f"figures/{static.ACCURACY_SECONDS}"),
        "Validation / test accuracy of each seed, at the last step trained.",
        _by_seed(launches),
    )


def _by_backend(findings: Findings) -> list[Part]:
    """Final accuracies: means over seeds."""
    if findings.accuracies.empty:
        return []
    shown = [
        BACKEND,
        *(Column("modes and inputs", "cases"), SEEDS),
        Column("validation", "validation_accuracy", as_percent_interval),
        Column("test", "test_accuracy", as_percent_interval),
        Column("test loss", "test_loss", as_interval(".3f")),
    ]
    return [
        "Means over seeds of the cases trained to the end, with 95% intervals. The modes and "
        "inputs of a backend do the same training but for rounding, so for each seed their mean "
        "counts once.",
        Table(shown, findings.accuracies),
    ]


def _pairs(findings: Findings) -> list[Part]:
    """Whether the backends of each pair differ in test accuracy."""
    if findings.equivalences.empty:
        return []
    shown = [
        *(BACKEND, Column("other", "other", text=True), SEEDS),
        Column("difference (points)", "difference_points", as_interval()),
        Column("p equivalent", "p_equivalent", as_number(".3f")),
        Column("p different", "p_different_adjusted", as_number(".3f")),
        Column("verdict", "verdict", lambda row, _: equivalence(row), text=True),
    ]
    margin = findings.equivalences["margin_points"].iloc[0]
    return [
        "Test accuracy of each pair, the first minus the second, paired by seed, since a seed "
        "fixes initial parameters and batches. Brackets hold the 90% interval. Where it lies "
        f"within {margin:g} points, two one-sided t-tests show the two to be equivalent, and "
        "*p equivalent* is at most 0.05. *p different* is two-sided and adjusted for the number of "
        "pairs.",
        Figure("equivalence", "Differences in test accuracy, with 90% intervals"),
        Table(shown, findings.equivalences),
    ]


def _by_seed(launches: pd.DataFrame) -> Table:
    """Validation / test accuracy of each case and seed."""
    rows = [
        {"case": case}
        | {
            f"seed {row['seed']}": f"{percent(row['validation_accuracy'], 2)} / "
            f"{percent(row['test_accuracy'], 2)}"
            for _, row in of_case.iterrows()
        }
        for case, of_case in launches.groupby("case", sort=False)
    ]
    frame = pd.DataFrame(rows)
    return Table([CASE, *columns(frame.columns[1:])], frame)


def tutorial_table(findings: Findings) -> Table | None:
    """What the tutorial's loop prints, a row a step: loss and accuracy of each case."""
    readings = in_summary_order(findings.tutorial, findings)
    if readings.empty:
        return None
    rows = []
    for step, of_step in readings.groupby("step"):
        first = of_step.iloc[0]
        row = {"step": f"{step:,}"}
        row |= {"tutorial": _printed(first["original_loss"], first["original_accuracy"])}
        row |= {
            reading["case"]: _printed(reading["loss"], reading["accuracy"])
            for _, reading in of_step.iterrows()
        }
        rows.append(row)
    frame = pd.DataFrame(rows)
    return Table(columns(frame.columns), frame)


def _printed(loss: float, share: float) -> str:
    """Loss and accuracy as the tutorial prints them."""
    return f"{number(loss, '.2f')} / {percent(share, 2)}"


def tutorial(bundle: Bundle, findings: Findings) -> Section | None:
    """What the tutorial's loop prints here, beside what the tutorial itself shows."""
    table = tutorial_table(findings)
    if table is None:
        return None
    seeds, images = findings.tutorial["seeds"].max(), bundle.tables["readings"]["images"].max()
    return section(
        "What the tutorial's loop prints",
        f"Loss / accuracy on {images} validation images after training on the batch of that step, "
        f"the first being step 0; means over {counted(seeds, 'seed')}. The tutorial's column is "
        "one run of it on random numbers of its own. One standard error of an accuracy of 97% on "
        f"{images} images is {100 * (0.97 * 0.03 / images) ** 0.5:.1f} points; tutorial.csv has "
        "95% intervals over seeds.",
        table,
    )


def time_to_accuracy(findings: Findings) -> Section | None:
    """The time each case takes to reach a validation accuracy, the fastest first."""
    times = findings.time_to_accuracy
    times = times[~control_of(times)]
    if not times["reached"].any():
        return None
    rows = times[times["reached"] > 0].sort_values(["target", "train_seconds"], kind="stable")
    shown = [
        *(Column("target", "target", as_percent(0)), CASE),
        Column("seeds that reached it", "reached", lambda row, n: f"{row[n]} of {row['seeds']}"),
        Column("steps", "steps", as_number(",.0f")),
        Column("training (s)", "train_seconds", as_interval()),
        Column("start-up (s)", "startup_seconds", as_number(".2f")),
        Column("together (s)", "total_seconds", as_number(".2f")),
    ]
    reached = times.groupby("target")["reached"].any()
    missed = [percent(target, 0) for target in reached.index[~reached]]
    return section(
        "Time to accuracy",
        "Time from the first step to the first reading of the validation accuracy that reaches the "
        "target and is followed by another that does; readings are a block apart. The times are "
        "typical seconds of the seeds that reached the target, with 95% intervals; if not all "
        "seeds did, these are the quicker ones. Start-up (import, build, first call with empty "
        "caches) is shown apart, and added in the last column.",
        Figure("time_to_accuracy", "Time to accuracy", f"figures/{static.TIME_TO_ACCURACY}"),
        Table(shown, rows),
        *([f"No case reached {joined(missed)} in any seed."] if missed else []),
    )
