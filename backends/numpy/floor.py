"""The least that a step can be in NumPy."""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np

from backends import floors
from backends.contract import Array, Execution, Training
from backends.floors import ADAM, EXCHANGED, GATHER, REPEATS, Candidate, Piece

OPENBLAS, LOOPS = "openblas", "numpy"
BLOCK = 16_384
"""Adam passes over so many weights at a time, which then stay in a core's cache."""

Call = Callable[[], object]


class Floor(floors.Floor):
    """One BLAS call for each product, into arrays that are kept; NumPy's own loops for Adam."""

    def __init__(self, training: Training, batch_size: int, execution: Execution) -> None:
        self.repeats = REPEATS["cpu"]
        self._network, self._adam, self._steps = training.network, training.adam, 0
        self._images, self._labels = training.training_set.images, training.training_set.labels
        self._batch_labels = np.empty(batch_size, self._labels.dtype)
        # Weights, gradients and both moments, each in one row, so that Adam makes one pass.
        count = sum(weight.size for weight, _ in training.start)
        self._state = [np.zeros(count, execution.stored) for _ in range(4)]
        self._views = [self._views_of(flat) for flat in self._state]
        for view, (weight, _) in zip(self._views[0], training.start, strict=True):
            view[:] = weight.T
        self._products = execution.products or floors.choose_alike(
            floors.time_candidates(self._candidates, self.synchronise, self.repeats)
        )
        self._batch, self._calls = self._step_of(self._products)
        parts = range(0, count, BLOCK)
        self._blocks = [[flat[at : at + BLOCK] for flat in self._state] for at in parts]
        self._buffer = np.empty(min(BLOCK, count), execution.stored)

    def _views_of(self, flat: Array) -> list[Array]:
        """The weights' parts of a flat array, as (outputs, inputs)."""
        shapes = floors.weight_shapes(self._network)
        ends = np.cumsum([n * m for n, m in shapes])[:-1]
        return [a.reshape(s) for a, s in zip(np.split(flat, ends), shapes, strict=True)]

    def _step_of(self, libraries: dict[str, str]) -> tuple[Array, list[Call]]:
        """The array of a batch, and the calls that make a step's products from it."""
        products = floors.products(self._network)
        by_columns = {p.result for p in products if libraries[p.name].endswith(EXCHANGED)}
        matrices: dict[str, Array] = {}
        shapes = floors.shapes(self._network, len(self._batch_labels))
        for name, (rows, columns) in shapes.items():
            shape = (columns, rows) if name in by_columns else (rows, columns)
            array = np.zeros(shape, self._images.dtype)
            matrices[name] = array.T if name in by_columns else array
        for layer, (weight, gradient) in enumerate(zip(*self._views[:2], strict=True), start=1):
            matrices |= {f"weight {layer}": weight, f"gradient {layer}": gradient}
        calls: list[Call] = []
        for name, *factors, result in products:
            a, b = (matrices[f.matrix].T if f.transposed else matrices[f.matrix] for f in factors)
            c = matrices[result]
            if libraries[name] not in (OPENBLAS, OPENBLAS + EXCHANGED):
                known = f"{OPENBLAS}, {OPENBLAS}{EXCHANGED}"
                raise ValueError(f"products={libraries[name]}: NumPy multiplies by one of {known}")
            # NumPy copies what does not lie by rows; then BLAS must be given the transposes.
            by_rows = c.flags.c_contiguous
            calls.append(
                partial(np.matmul, a, b, out=c)
                if by_rows
                else partial(np.matmul, b.T, a.T, out=c.T)
            )
        return matrices["outputs 0"], calls

    @cached_property
    def _candidates(self) -> list[Candidate]:
        candidates = []
        for library in (OPENBLAS, OPENBLAS + EXCHANGED):
            libraries = {product.name: library for product in floors.products(self._network)}
            _, calls = self._step_of(libraries)
            for name, call in zip(libraries, calls, strict=True):
                candidates.append(Candidate(name, library, partial(self._repeat, call)))
        return candidates

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._gather(batch)
            for call in self._calls:
                call()
            self._pass()

    def _gather(self, batch: Array) -> None:
        # Without a mode, `take` works on a copy, in case a row does not exist.
        np.take(self._images, batch, axis=0, out=self._batch, mode="clip")
        np.take(self._labels, batch, out=self._batch_labels, mode="clip")

    def update(self) -> None:
        self._repeat(self._pass)

    def _repeat(self, call: Call) -> None:
        """Make a call as often as a piece is repeated."""
        for _ in range(self.repeats):
            call()

    def _pass(self) -> None:
        self._steps += 1
        adam = self._adam
        step_size = adam.learning_rate / (1 - adam.beta_1**self._steps)
        correction = (1 - adam.beta_2**self._steps) ** -0.5
        for w, g, m, v in self._blocks:
            x = self._buffer[: len(w)]
            np.multiply(g, 1 - adam.beta_1, out=x)
            m *= adam.beta_1
            m += x
            np.multiply(g, g, out=x)
            x *= 1 - adam.beta_2
            v *= adam.beta_2
            v += x
            np.sqrt(v, out=x)
            x *= correction / step_size
            x += adam.epsilon / step_size
            np.divide(m, x, out=x)
            w -= x

    def synchronise(self) -> None:
        """Do nothing: NumPy has finished when it returns."""

    def products(self) -> dict[str, str]:
        return self._products

    def pieces(self) -> list[Piece]:
        rows = np.arange(len(self._batch), dtype=np.int32) % len(self._labels)
        others = [
            Candidate(ADAM, LOOPS, self.update),
            Candidate(GATHER, LOOPS, partial(self._repeat, partial(self._gather, rows))),
        ]
        timed = floors.time_candidates([*self._candidates, *others], self.synchronise, self.repeats)
        return floors.marked(timed, self._products | {ADAM: LOOPS, GATHER: LOOPS})

    def square(self, size: int) -> Array:
        return np.ones((size, size), self._images.dtype)

    def multiply(self, matrix: Array) -> None:
        np.matmul(matrix, matrix)

    def arrays(self) -> list[list[Array]]:
        weights, _, first_moments, second_moments = self._views
        return [[view.T for view in views] for views in (weights, first_moments, second_moments)]

    def labels(self) -> Array:
        return self._batch_labels

    def device(self) -> str:
        return "cpu"
