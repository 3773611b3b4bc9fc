"""The sections of a report on what was learned: accuracy, and the time to reach it."""

import pandas as pd

from benchmarks.analysis import learning
from benchmarks.analysis.findings import Findings, control_of
from benchmarks.bundle.reader import Bundle
from benchmarks.plan.blocks import READ_EVERY
from benchmarks.reports.cases import in_summary_order, span
from benchmarks.reports.formats import as_interval, counted, joined, number
from benchmarks.reports.run.sentences import equivalence
from benchmarks.reports.sections import CASE, STEPS, Column, Figure, Part, Section, Table, columns

BACKEND = Column("backend", "group", text=True)
SEEDS = Column("seeds", "seeds")
ACCURACIES = [
    *(BACKEND, Column("modes and inputs", "cases"), SEEDS),
    Column("validation", "validation_accuracy", as_interval(".2%")),
    Column("test", "test_accuracy", as_interval(".2%")),
    Column("test loss", "test_loss", as_interval(".3f")),
]
EQUIVALENCES = [
    *(BACKEND, Column("other", "other", text=True), SEEDS),
    Column("difference (points)", "difference_points", as_interval()),
    Column("p equivalent", "p_equivalent", ".3f"),
    Column("p different", "p_different_adjusted", ".3f"),
    Column("verdict", "verdict", lambda row, _: equivalence(row), text=True),
]


TRAINED_WHILE_TIMED = (
    "Means over seeds of the cases trained to the end, with 95% intervals. The modes and inputs of "
    "a backend do the same training but for rounding, so for each seed their mean counts once."
)
TRAINED_APART = (
    "Means over seeds, with 95% intervals. What is learned is measured apart from speed: the "
    "fastest certified case of each framework trains whole seeds in a process that lives on, and "
    f"is read every {READ_EVERY} steps. *Validation* is the mean of the last {learning.LAST} "
    "readings; *test* is read once, at the end."
)
COMPARED = f"Mean of the last {learning.LAST} readings of the validation accuracy"
TEST_IMAGES = 10_000


def accuracy(bundle: Bundle, findings: Findings) -> Section | None:
    """Accuracy of each backend, whether backends differ, the curves, and each seed's accuracy."""
    trainings = learning.trainings(bundle)
    if trainings.empty:
        return None
    parts: list[Part] = []
    if len(findings.accuracies):
        about = TRAINED_APART if findings.apart else TRAINED_WHILE_TIMED
        test_images = (
            " The test set tells an accuracy of 97% to "
            f"{100 * (0.97 * 0.03 / TEST_IMAGES) ** 0.5:.2f} points (one standard error of "
            f"{TEST_IMAGES:,} images); all backends share its images, so this is in no difference "
            "between them."
        )
        parts += [about + test_images, Table(ACCURACIES, findings.accuracies)]
    if len(findings.equivalences):
        margin = findings.equivalences["margin_points"].iloc[0]
        parts += [
            f"{COMPARED if findings.apart else 'Test accuracy'} of each pair, the first minus the "
            "second, paired by seed, since a seed "
            "fixes initial parameters and batches. Brackets hold the 90% interval. Where it lies "
            f"within {margin:g} points, two one-sided t-tests show the two to be equivalent, and "
            "*p equivalent* is at most 0.05. *p different* is two-sided and adjusted for the "
            "number of pairs.",
            Figure(
                "equivalence", "Differences in accuracy, with 90% intervals", _verdicts(findings)
            ),
            Table(EQUIVALENCES, findings.equivalences),
        ]
    parts += [
        Figure("accuracy", "Validation accuracy against steps", _ends_at(findings)),
        Figure("accuracy_seconds", "Validation accuracy against seconds", _sooner(findings)),
        f"Validation{f' (the last {learning.LAST} readings)' * findings.apart} / test accuracy of "
        "each seed, at the end of its training.",
        _by_seed(trainings, bundle.environment.workload.steps),
    ]
    return Section("Accuracy", parts)


def _verdicts(findings: Findings) -> str:
    """How many pairs are equivalent, different and open."""
    counts = findings.equivalences["verdict"].value_counts()
    said = [f"{verdict}: {count}" for verdict, count in counts.items()]
    return f"Of {counted(len(findings.equivalences), 'pair')}, {joined(said)}."


def _ends_at(findings: Findings) -> str:
    """From which to which accuracy the curves end, of those that are as long as any."""
    curves = findings.curves[~control_of(findings.curves)]
    last = curves[curves["step"] == curves["step"].max()]
    steps = f"After {curves['step'].max():,} steps: "
    return f"{steps}{span(last, 'validation_accuracy', '.2%', '')}."


def _sooner(findings: Findings) -> str:
    """Which case has trained its steps in the least time."""
    curves = findings.curves[~control_of(findings.curves)]
    last = curves[curves["step"] == curves["step"].max()]
    return f"The same steps take {span(last, 'train_seconds', '.2f', 's')}."


def _by_seed(trainings: pd.DataFrame, steps: int) -> Table:
    """Validation / test accuracy of each case and seed; those cut before `steps` say so."""
    rows = []
    for case, of_case in trainings.groupby("case", sort=False):
        row = {"case": case}
        for _, launch in of_case.iterrows():
            accuracies = launch["validation_accuracy"], launch["test_accuracy"]
            cut = f" after {launch['steps']:,} steps" if launch["steps"] < steps else ""
            row[f"seed {launch['seed']}"] = _pair(*accuracies, ".2%") + cut
        rows.append(row)
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
        original = _pair(first["original_loss"], first["original_accuracy"], ".2f")
        row = {"step": f"{step:,}", "tutorial": original}
        for _, reading in of_step.iterrows():
            row[reading["case"]] = _pair(reading["loss"], reading["accuracy"], ".2f")
        rows.append(row)
    frame = pd.DataFrame(rows)
    return Table(columns(frame.columns), frame)


def _pair(first: float, accuracy: float, form: str) -> str:
    """A number in the given format, and an accuracy."""
    return f"{number(first, form)} / {number(accuracy, '.2%')}"


def tutorial(bundle: Bundle, findings: Findings) -> Section | None:
    """What the tutorial's loop prints here, beside what the tutorial itself shows."""
    table = tutorial_table(findings)
    if table is None:
        return None
    seeds, images = findings.tutorial["seeds"].max(), bundle.tables["readings"]["images"].max()
    about = (
        f"Loss / accuracy on {images} validation images after training on the batch of that step, "
        f"the first being step 0; means over {counted(seeds, 'seed')}. The tutorial's column is "
        "one run of it on random numbers of its own. One standard error of an accuracy of 97% on "
        f"{images} images is {100 * (0.97 * 0.03 / images) ** 0.5:.1f} points; tutorial.csv has "
        "95% intervals over seeds."
    )
    return Section("What the tutorial's loop prints", [about, table])


def time_to_accuracy(findings: Findings) -> Section | None:
    """The time each case takes to reach a validation accuracy, the fastest first."""
    times = findings.time_to_accuracy
    times = times[~control_of(times)]
    if not times["reached"].any():
        return None
    rows = times[times["reached"] > 0].sort_values(["target", "train_seconds"], kind="stable")
    shown = [
        *(Column("target", "target", ".0%"), CASE),
        Column("seeds that reached it", "reached", lambda row, n: f"{row[n]} of {row['seeds']}"),
        STEPS,
        Column("training (s)", "train_seconds", as_interval()),
        Column("start-up, empty caches (s)", "startup_seconds", ".2f"),
        Column("together (s)", "total_seconds", ".2f"),
    ]
    reached = times.groupby("target")["reached"].any()
    missed = [number(target, ".0%") for target in reached.index[~reached]]
    first = rows.groupby("target").first()
    soonest = " ".join(
        f"{target:.0%}: soonest {row['case']}, {row['train_seconds']:.2f} s of training."
        for target, row in first.iterrows()
    )
    parts: list[Part] = [
        "Time from the first step to the first reading of the validation accuracy that reaches the "
        "target and is followed by another that does; readings are a block apart. The times are "
        "typical seconds of the seeds that reached the target, with 95% intervals; if not all "
        "seeds did, these are the quicker ones. Start-up (import, build, first call with empty "
        "caches) is shown apart, and added in the last column.",
        Figure("time_to_accuracy", "Time to accuracy", soonest),
        Table(shown, rows),
        *([f"No case reached {joined(missed)} in any seed."] if missed else []),
    ]
    return Section("Time to accuracy", parts)
