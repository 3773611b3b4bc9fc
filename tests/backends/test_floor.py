"""A floor does the work it is said to be, in every framework: no product or pass is left out."""

from __future__ import annotations

import numpy as np
import pytest

from backends.contract import (
    PASS_DECAY,
    PASS_RATE,
    Array,
    Execution,
    Floor,
    Network,
    floor_arrays,
)
from backends.registry import BACKENDS
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


KINDS = [
    pytest.param(name, precision, error, id=f"{name}-{precision}")
    for name, backend in BACKENDS.items()
    for precision, error in (("float32", 1e-4), ("bfloat16", 5e-2))
    if precision in backend.precisions
]


@pytest.mark.parametrize(("name", "precision", "error"), KINDS)
def test_a_floor_does_its_products_and_its_pass(name: str, precision: str, error: float) -> None:
    check_floor(name, precision, error)


def check_floor(name: str, precision: str, error: float) -> None:
    """Several calls, and a shorter one."""
    module = configured(name)
    execution = Execution(mode="floor", precision=precision, device=device(), steps_per_call=3)
    floor: Floor = module.Floor(NETWORK, BATCH_SIZE, execution)
    floor.train(np.empty((STEPS, 0)))
    floor.synchronise()
    for found, wanted in zip(floor.arrays(), expected(), strict=True):
        for own, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(own, other, rtol=error, atol=error * np.abs(other).max())
    assert floor.device() == device()
    floor.multiply(floor.square(16))
    floor.synchronise()
