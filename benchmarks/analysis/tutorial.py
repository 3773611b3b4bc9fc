"""The training loop of the original tutorial, and what it prints beside what it printed then.

The loop trains on batch i, and where i is a multiple of READING.every it prints loss and accuracy
on a batch of validation images: so step i stands for i + 1 updates.
"""

from __future__ import annotations

import pandas as pd

from benchmarks.analysis import statistics

# Of one run of the tutorial, on random numbers of its own: initial parameters, batches and
# validation images are others here.
ORIGINAL = pd.DataFrame(
    {
        "step": [0, 1000, 2000, 3000, 4000],
        "loss": [2.30, 0.08, 0.17, 0.04, 0.06],
        "accuracy": [0.2285, 0.9551, 0.9551, 0.9746, 0.9844],
    }
)
"""What the tutorial printed."""
COLUMNS = [
    *("case", "step", "seeds", "loss", "loss_low", "loss_high"),
    *("accuracy", "accuracy_low", "accuracy_high", "original_loss", "original_accuracy"),
]


def find(readings: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS: means over seeds with 95% intervals of each case and step, from readings.csv."""
    rows = []
    for (case, step), own in readings.groupby(["case", "step"], sort=False):
        row: dict[str, object] = {"case": case, "step": step, "seeds": len(own)}
        for name in ("loss", "accuracy"):
            mean = statistics.mean_of_launches(own[name])
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
        rows.append(row)
    found, original = pd.DataFrame(rows, columns=COLUMNS), ORIGINAL.set_index("step")
    return found.assign(
        original_loss=found["step"].map(original["loss"]),
        original_accuracy=found["step"].map(original["accuracy"]),
    )
