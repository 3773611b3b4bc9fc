"""What a floor must do: the work it stands for, computed once more by matrix calculus."""

from __future__ import annotations

import numpy as np

from backends.contract import Array, Execution, Network
from backends.floors import PASS_DECAY, PASS_RATE, Floor, floor_arrays
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


def check_update(floor: Floor, error: float) -> None:
    """The pass alone adds one gradient to both moments, and the first moment to the weights."""
    before = [[array.copy() for array in arrays] for arrays in floor.arrays()]
    floor.update()
    floor.synchronise()
    after = floor.arrays()
    for w, m, v, old_w, old_m, old_v in zip(*after, *before, strict=True):
        gradient = m / PASS_DECAY - old_m
        np.testing.assert_allclose(v / PASS_DECAY - old_v, gradient, atol=error * abs(old_v).max())
        np.testing.assert_allclose(old_w - PASS_RATE * m, w, atol=1e-6)
        assert abs(m - old_m).max() > 0


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
    check_update(floor, error)
    assert floor.device() == device()
    floor.multiply(floor.square(16))
    floor.synchronise()
