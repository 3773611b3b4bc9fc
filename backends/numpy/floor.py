"""The least that a step can be in NumPy."""

import numpy as np

from backends import floors
from backends.contract import Array, Execution, Network
from backends.floors import PASS_DECAY, PASS_RATE


class Floor(floors.Floor):
    """One BLAS call for each product, into arrays that are kept; NumPy's own loops for the pass."""

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        images, *self._state = floors.floor_arrays(network, batch_size, execution.stored)
        self._gradients = [np.empty_like(weight) for weight in self._state[0]]
        sizes = network.layer_sizes[1:]
        self._outputs = [images, *(np.empty((batch_size, n), images.dtype) for n in sizes)]
        self._deltas = [np.empty_like(output) for output in self._outputs]

    def train(self, rows: Array) -> None:
        for _ in rows:
            self._step()

    def _step(self) -> None:
        weights = self._state[0]
        outputs, gradients = self._outputs, self._gradients
        for layer, weight in enumerate(weights):
            np.matmul(outputs[layer], weight, out=outputs[layer + 1])
        delta = outputs[-1]
        for layer in reversed(range(len(weights))):
            np.matmul(outputs[layer].T, delta, out=gradients[layer])
            if layer:
                delta = np.matmul(delta, weights[layer].T, out=self._deltas[layer])
        self.update()

    def update(self) -> None:
        for w, m, v, g in zip(*self._state, self._gradients, strict=True):
            for moment in (m, v):
                moment += g
                moment *= PASS_DECAY
            w -= PASS_RATE * m

    def synchronise(self) -> None:
        """Do nothing: NumPy has finished when it returns."""

    def square(self, size: int) -> Array:
        return np.ones((size, size), self._outputs[0].dtype)

    def multiply(self, matrix: Array) -> None:
        np.matmul(matrix, matrix)

    def arrays(self) -> list[list[Array]]:
        return self._state

    def device(self) -> str:
        return "cpu"
