"""What a floor must do: the work it stands for, computed once more by matrix calculus."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from backends.contract import Adam, Array, Execution, Network, Training, TrainingSet
from backends.floors import ADAM, GATHER, Floor
from tests.conftest import configured, device

NETWORK = Network(layer_sizes=(31, 17, 9, 5))
BATCH_SIZE = 8
STEPS = 7
IMAGES = 40
ROWS = np.random.default_rng(1).integers(0, IMAGES, (STEPS, BATCH_SIZE)).astype(np.int32)
# A rate that moves the weights visibly, where a floor in a run has FLOOR_RATE; and an epsilon that
# shows.
RATE, EPSILON = 1e-3, 1e-2


def training(dtype: str, network: Network = NETWORK, images: int = IMAGES) -> Training:
    """Random images, labels and weights for a floor; those in float64, as in every run."""
    generator, sizes = np.random.default_rng(0), network.layer_sizes
    return Training(
        network=network,
        adam=Adam(learning_rate=RATE, epsilon=EPSILON),
        training_set=TrainingSet(
            images=generator.normal(size=(images, sizes[0])).astype(dtype),
            labels=generator.integers(0, sizes[-1], images).astype(np.int32),
        ),
        start=[(generator.normal(size=(m, n)) / m**0.5, np.ones(n)) for m, n in pairwise(sizes)],
    )


def expected() -> list[list[Array]]:
    """Weights and moments after the steps of ROWS, in float64, by matrix calculus."""
    trained = training("float64")
    weights = [weight for weight, _ in trained.start]
    first, second = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    for step, rows in enumerate(ROWS, start=1):
        x, (w1, w2, w3) = trained.training_set.images[rows], weights
        y = x @ w1 @ w2 @ w3
        gradients = [
            x.T @ y @ w3.T @ w2.T,
            (x @ w1).T @ y @ w3.T,
            (x @ w1 @ w2).T @ y,
        ]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        weights = [
            w - RATE * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + EPSILON)
            for w, m, v in zip(weights, first, second, strict=True)
        ]
    return [weights, first, second]


def floor_of(name: str, execution: Execution, **changes: Any) -> Floor:
    """The floor of a backend on the training above; `changes` replace fields of the execution."""
    execution = replace(execution, mode="floor", device=device(), **changes)
    floor: Floor = configured(name).Floor(training(execution.stored), BATCH_SIZE, execution)
    return floor


def check_arrays(floor: Floor, error: float) -> None:
    """Weights, moments and labels are those that the steps of ROWS lead to."""
    for arrays, references in zip(floor.arrays(), expected(), strict=True):
        for array, reference in zip(arrays, references, strict=True):
            assert (array.shape, array.dtype.name) == (reference.shape, "float32")
            atol = error * np.abs(reference).max()
            np.testing.assert_allclose(array, reference, rtol=error, atol=atol)
    np.testing.assert_array_equal(floor.labels(), training("float64").training_set.labels[ROWS[-1]])


def check_update(floor: Floor) -> None:
    """The pass alone changes weights and moments."""
    before = [[array.copy() for array in arrays] for arrays in floor.arrays()]
    floor.update()
    floor.synchronise()
    for old, new in zip(before, floor.arrays(), strict=True):
        assert all((a != b).mean() > 0.9 for a, b in zip(old, new, strict=True))


def check_floor(name: str, precision: str, error: float) -> None:
    """A floor takes its steps in several calls and a shorter one, and multiplies."""
    floor = floor_of(name, Execution(mode="floor", precision=precision, steps_per_call=3))
    floor.train(ROWS)
    floor.synchronise()
    check_arrays(floor, error)
    check_update(floor)
    assert floor.device() == device()
    floor.multiply(floor.square(16))
    floor.synchronise()


def check_pieces(floor: Floor, names: list[str]) -> None:
    """Every piece is timed, by one library that is chosen and perhaps others; steps go on."""
    pieces = floor.pieces()
    assert all(piece.seconds > 0 for piece in pieces)
    chosen = {piece.piece: piece.library for piece in pieces if piece.chosen}
    assert chosen.keys() == {*names, ADAM, GATHER}
    assert floor.products() == {name: chosen[name] for name in names}
    floor.train(ROWS[:1])
    floor.synchronise()
