"""What a backend's floor must provide: the least that a training step can be in a framework."""

from abc import abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np

from backends.contract import Array, Execution, Network, NotKeptError, Program, Timed


class Floor(Timed):
    """The least that a training step can be: its matrix products, and one pass over Adam's arrays.

    This is a step of a network without biases, ReLU and loss: the products of the forward pass,
    the backward products for each weight and for the inputs of every layer but the first, and one
    pass that reads weight, moments and gradient and writes weight and moments. Each step works on
    the results of the step before, so no compiler can leave one out. Everything is computed in the
    fastest way that the framework has, in buffers that are kept.
    """

    @abstractmethod
    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        """Build everything, from the small random numbers of `floor_arrays`."""

    @abstractmethod
    def train(self, rows: Array) -> None:
        """Take as many steps as `rows` has lines; its content is ignored."""

    @abstractmethod
    def square(self, size: int) -> Any:
        """A matrix (size, size) of the framework's own type."""

    @abstractmethod
    def multiply(self, matrix: Any) -> None:
        """Multiply a `square` matrix by itself."""

    @abstractmethod
    def update(self) -> None:
        """Pass over Adam's arrays alone, with some gradients, and return as `train` does."""

    @abstractmethod
    def arrays(self) -> list[list[Array]]:
        """The current weights, first moments and second moments, each a list by layer."""

    @abstractmethod
    def device(self) -> str:
        """The device whose memory holds the results: "cpu" or "gpu"."""

    def program(self, steps: int) -> Program:
        """The compiled program of one call of `steps`, as `Trainer.program` gives it."""
        raise NotKeptError("no compiled program that can be read")


PASS_DECAY = 0.5
PASS_RATE = 1e-9
"""A floor's pass computes m ← (m + g) / 2, v ← (v + g) / 2, w ← w − 1e-9 · m. The arithmetic costs
next to nothing beside the memory traffic; the rate is so small that the numbers hardly change."""


def floor_arrays(
    network: Network, batch_size: int, dtype: str
) -> tuple[Array, list[Array], list[Array], list[Array]]:
    """Images (batch_size, pixels), weights and two moments (inputs, outputs) to start a floor."""
    sizes, normal = network.layer_sizes, np.random.default_rng(0).normal
    images = normal(size=(batch_size, sizes[0])).astype(dtype)
    weights = [(normal(size=(m, n)) / m**0.5).astype(dtype) for m, n in pairwise(sizes)]
    return images, weights, [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
