"""What several tests share: backends set up once a process, and small workloads."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np
import pytest

from backends.contract import Adam, Array, Execution, Network, Parameters, TrainingSet
from backends.registry import BACKENDS, load, missing_packages

CASES = [
    pytest.param(name, mode, input_, id=f"{name}-{mode}-{input_}")
    for name, backend in BACKENDS.items()
    for mode, inputs in backend.modes.items()
    for input_ in inputs
]
"""Every backend, mode and input."""

MODES = [
    pytest.param(name, mode, id=f"{name}-{mode}")
    for name, backend in BACKENDS.items()
    for mode in backend.modes
]
"""Every backend and mode."""

STEPS_PER_CALL = 4
BATCH_SIZE = 19
IMAGES = 200


@cache
def configured(name: str) -> ModuleType:
    """A backend, set up for float64 on the CPU: its settings are those of the whole process."""
    missing = missing_packages(name)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    module = load(name)
    module.configure(Execution(mode="eager", precision="float64", threads=2))
    return module


@pytest.fixture(autouse=True)
def forget_compiled_functions() -> Iterator[None]:
    """PyTorch gives up compiling a function once it has done so for eight different trainers."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].compiler.reset()


class Problem:
    """A small workload: random images, a network of odd sizes, and batches."""

    def __init__(self, *hidden: int, learning_rate: float = 0.01, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.network = Network(layer_sizes=(23, *hidden, 7))
        self.adam = Adam(learning_rate=learning_rate)
        self.training_set = TrainingSet(
            images=generator.random((IMAGES, 23)),
            labels=generator.integers(0, 7, IMAGES).astype(np.int32),
        )
        sizes = self.network.layer_sizes
        self.start: Parameters = [
            (generator.uniform(-1, 1, (m, n)) * m**-0.5, generator.uniform(-1, 1, n) * m**-0.5)
            for m, n in itertools.pairwise(sizes)
        ]
        self.generator = generator

    def rows(self, steps: int) -> Array:
        """Batches drawn anew."""
        shape = (steps, BATCH_SIZE)
        return self.generator.integers(0, IMAGES, shape).astype(np.int32)


@pytest.fixture
def problem() -> Problem:
    return Problem(17, 11)
