"""What a run's trainings have learned, whichever way it was measured.

Whole seeds are trained apart from what is timed, and read on one grid of steps. In older bundles,
and for presets that print what a tutorial prints, every case learned while it was timed, in as many
launches as there were.
"""

import numpy as np
import pandas as pd

from benchmarks.analysis import means
from benchmarks.bundle.reader import Bundle
from benchmarks.schema import frames

LAST = 10
"""Readings at the end of a training whose mean is compared: a single one varies by 0.2 points from
one to the next, their mean by 0.06 (two cores of a Xeon, 4,000 steps)."""

# One run of the tutorial, whose initial parameters, batches and validation images were drawn
# differently from those here.
ORIGINAL = pd.DataFrame(
    {
        "step": [0, 1000, 2000, 3000, 4000],
        "loss": [2.30, 0.08, 0.17, 0.04, 0.06],
        "accuracy": [0.2285, 0.9551, 0.9551, 0.9746, 0.9844],
    }
)
"""What the original tutorial's loop printed. It trains on batch i and, where i is a multiple of
BatchReadings.every, prints loss and accuracy on a batch of validation images: so step i stands for
i + 1 updates."""


def trained_apart(bundle: Bundle) -> bool:
    """Whether learning was measured apart from speed."""
    return bundle.environment.run.timed_from_step is not None


def trainings(bundle: Bundle) -> pd.DataFrame:
    """A row for each case and seed: steps, accuracies, test_loss, and `compared`.

    `validation_accuracy` is the mean of the LAST readings, and so is what is compared; in older
    bundles it is the last reading, and `compared` the test accuracy.
    """
    if not trained_apart(bundle):
        launches = bundle.tables["launches"]
        return launches.assign(compared=launches["test_accuracy"])
    readings = bundle.tables["learning"].sort_values("step")
    last = readings.groupby(["case", "seed"]).tail(LAST).groupby(["case", "seed"])
    means = last["validation_accuracy"].mean().reset_index()
    found = bundle.tables["trainings"].merge(means, how="left", on=["case", "seed"])
    return found.assign(compared=found["validation_accuracy"])


def readings(bundle: Bundle, step_seconds: pd.DataFrame) -> pd.DataFrame:
    """The readings, with `train_seconds`: that many steps at the case's step time."""
    if not trained_apart(bundle):
        return bundle.tables["accuracy"]
    read = bundle.tables["learning"]
    typical = step_seconds.groupby(level="launch").median().apply(np.log).mean().map(np.exp)
    return read.assign(train_seconds=read["step"] * read["case"].map(typical))


def beside_original(readings: pd.DataFrame) -> pd.DataFrame:
    """The table `tutorial`: means over seeds of each case and step, from the table `readings`."""
    original = ORIGINAL.set_index("step")
    rows = [
        {
            "case": case,
            "step": step,
            "seeds": len(seeds),
            **means.mean_with_interval("loss", seeds["loss"]),
            **means.mean_with_interval("accuracy", seeds["accuracy"]),
            "original_loss": original["loss"].get(step, np.nan),
            "original_accuracy": original["accuracy"].get(step, np.nan),
        }
        for (case, step), seeds in readings.groupby(["case", "step"], sort=False)
    ]
    return frames.from_rows("tutorial", rows)
