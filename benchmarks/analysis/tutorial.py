"""The training loop of the original tutorial: what it prints here, beside what it printed there.

The loop trains on batch i and, where i is a multiple of BatchReadings.every, prints loss and
accuracy on a batch of validation images: so step i stands for i + 1 updates.
"""

import numpy as np
import pandas as pd

from benchmarks.analysis import statistics, tables

# One run of the tutorial, whose initial parameters, batches and validation images were drawn
# differently from those here.
ORIGINAL = pd.DataFrame(
    {
        "step": [0, 1000, 2000, 3000, 4000],
        "loss": [2.30, 0.08, 0.17, 0.04, 0.06],
        "accuracy": [0.2285, 0.9551, 0.9551, 0.9746, 0.9844],
    }
)
"""What the tutorial printed."""


def beside_original(readings: pd.DataFrame) -> pd.DataFrame:
    """The table `tutorial`: means over seeds of each case and step, from the table `readings`."""
    original = ORIGINAL.set_index("step")
    rows = [
        {
            "case": case,
            "step": step,
            "seeds": len(seeds),
            **statistics.mean_with_interval("loss", seeds["loss"]),
            **statistics.mean_with_interval("accuracy", seeds["accuracy"]),
            "original_loss": original["loss"].get(step, np.nan),
            "original_accuracy": original["accuracy"].get(step, np.nan),
        }
        for (case, step), seeds in readings.groupby(["case", "step"], sort=False)
    ]
    return tables.from_rows("tutorial", rows)
