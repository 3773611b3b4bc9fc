"""What a floor must do: the work it stands for, computed once more by matrix calculus."""

from __future__ import annotations

import numpy as np

from backends.contract import PASS_DECAY, PASS_RATE, Array, Execution, Floor, Network, floor_arrays
from tests.conftest import configured, device

NETWORK = Network(layer_sizes=(31, 17, 9, 5))
BATCH_SIZE = 8
STEPS = 7


def expected() -> list[list[Array]]:
    """Weights and moments after STEPS steps, in float64, by matrix calculus."""
    x, weights, first, second = floor_arrays(NETWORK, BATCH_SIZE, "float64")
    for _ in range(STEPS):
        w1, w2, w3 = weights
        y = x @ w1 @ w2 @ w3
        gradients = [
            x.T @ y @ w3.T @ w2.T,
            (x @ w1).T @ y @ w3.T,
            (x @ w1 @ w2).T @ y,
        ]
        first = [(m + g) * PASS_DECAY for m, g in zip(first, gradients, strict=True)]
        second = [(v + g) * PASS_DECAY for v, g in zip(second, gradients, strict=True)]
        weights = [w - PASS_RATE * m for w, m in zip(weights, first, strict=True)]
    return [weights, first, second]


def check_floor(name: str, precision: str, error: float) -> None:
    """A floor takes its steps in several calls and a shorter one, and multiplies."""
    module = configured(name)
    execution = Execution(mode="floor", precision=precision, device=device(), steps_per_call=3)
    floor: Floor = module.Floor(NETWORK, BATCH_SIZE, execution)
    floor.train(np.empty((STEPS, 0)))
    floor.synchronise()
    for arrays, references in zip(floor.arrays(), expected(), strict=True):
        for array, reference in zip(arrays, references, strict=True):
            atol = error * np.abs(reference).max()
            np.testing.assert_allclose(array, reference, rtol=error, atol=atol)
    assert floor.device() == device()
    floor.multiply(floor.square(16))
    floor.synchronise()
