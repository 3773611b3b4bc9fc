"""Verdicts on real trainings by NumPy: equal trainings are equivalent, unequal ones are not."""

from __future__ import annotations

import pandas as pd
import pytest

from backends.contract import Adam, Execution, Network, Training
from backends.numpy.backend import Eager
from benchmarks.analysis import accuracy
from benchmarks.plan import data, workload

NETWORK = Network(layer_sizes=(784, 32, 10))
STEPS, BATCH_SIZE, SEEDS = 100, 64, 5
"""Few enough steps that rounding does not matter, and enough seeds for large differences."""
TRAINERS = {
    "reference": (Adam(learning_rate=0.01), "float32"),
    "double": (Adam(learning_rate=0.01), "float64"),
    "beta_2 0.9": (Adam(learning_rate=0.01, beta_2=0.9), "float32"),
    "learning rate x 10": (Adam(learning_rate=0.1), "float32"),
}


@pytest.fixture(scope="module")
def verdicts() -> dict[tuple[str, str], str]:
    """The verdict on each pair of TRAINERS."""
    dataset = data.load()
    rows = []
    for group, (adam, precision) in TRAINERS.items():
        training, test = (part.stored_as(precision) for part in (dataset.training, dataset.test))
        execution = Execution(mode="eager", precision=precision)
        for seed in range(SEEDS):
            start = workload.initial_parameters(NETWORK, seed)
            trainer = Eager(
                Training(network=NETWORK, adam=adam, training_set=training, start=start), execution
            )
            trainer.train(workload.batch_rows(len(training.labels), BATCH_SIZE, STEPS, seed))
            right = trainer.logits(test.images).argmax(axis=1) == test.labels
            rows.append((group, seed, right.mean()))
    compared = accuracy.equivalences(pd.DataFrame(rows, columns=["group", "seed", "compared"]))
    return {(row["group"], row["other"]): row["verdict"] for _, row in compared.iterrows()}


def test_another_precision_is_equivalent(verdicts: dict[tuple[str, str], str]) -> None:
    assert verdicts["reference", "double"] == "equivalent"


def test_another_learning_rate_is_different(verdicts: dict[tuple[str, str], str]) -> None:
    assert verdicts["reference", "learning rate x 10"] == "different"
    assert verdicts["double", "learning rate x 10"] == "different"


def test_another_decay_is_not_taken_for_equivalent(verdicts: dict[tuple[str, str], str]) -> None:
    """It costs a third of a point here, too little for five seeds to show for certain."""
    assert verdicts["reference", "beta_2 0.9"] != "equivalent"
