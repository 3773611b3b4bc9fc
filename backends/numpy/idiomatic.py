"""NumPy: the training written out by hand.

It is the reference: run in float64 it says what every other backend must compute. It is also timed,
as what a program without a framework, with one BLAS call for each matrix product, takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backends import contract
from backends.contract import (
    PASS_DECAY,
    PASS_RATE,
    PRECISIONS,
    TEXTBOOK,
    Adam,
    Array,
    Execution,
    Network,
    Parameters,
    Trainer,
    TrainingSet,
    floor_arrays,
)


def versions() -> dict[str, str]:
    """The packages that this backend runs on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}"}


def configure(execution: Execution) -> None:
    """Nothing to set: the BLAS reads its number of threads from the environment when it loads."""


profiled = None
"""NumPy has no profiler of its own."""


Product = Callable[[Array, Array], Array]


def rounded(array: Array, bits: int, generator: np.random.Generator | None = None) -> Array:
    """`array` of float32 with only so many bits of its significand behind the point.

    To the nearest, and to the even one of two that are as near, as IEEE 754 has it; with a
    `generator` up or down at random, the more likely the nearer.
    """
    dropped = np.uint32(PRECISIONS["float32"].bits - bits)
    whole = np.ascontiguousarray(array).view(np.uint32)
    if generator is None:
        below_half = (np.uint32(1) << (dropped - np.uint32(1))) - np.uint32(1)
        raised = whole + below_half + ((whole >> dropped) & np.uint32(1))
    else:
        raised = whole + generator.integers(0, 1 << int(dropped), whole.shape, np.uint32)
    return ((raised >> dropped) << dropped).view(np.float32)


def product_in(precision: str, generator: np.random.Generator | None = None) -> Product:
    """The matrix product whose factors are rounded to `precision`; in bfloat16 its result too.

    TF32 and bfloat16 are computed in float32, sums included, as processors do that have them.
    Rounding is that of `rounded`.
    """
    bits = PRECISIONS[precision].bits
    if precision == PRECISIONS[precision].stored:
        return np.matmul

    def product(a: Array, b: Array) -> Array:
        result = rounded(a, bits, generator) @ rounded(b, bits, generator)
        return rounded(result, bits, generator) if precision == "bfloat16" else result

    return product


def forward(parameters: Parameters, images: Array, product: Product = np.matmul) -> list[Array]:
    """The outputs of every layer, `images` (n, pixels) first and the logits (n, classes) last."""
    outputs = [images]
    for layer, (weight, bias) in enumerate(parameters, start=1):
        output = product(outputs[-1], weight) + bias
        outputs.append(np.maximum(output, 0) if layer < len(parameters) else output)
    return outputs


def log_softmax(logits: Array) -> Array:
    """Log-probabilities (n, classes), shifted by each row's maximum so that nothing overflows."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def loss_and_gradients(
    parameters: Parameters, images: Array, labels: Array, product: Product = np.matmul
) -> tuple[float, Parameters]:
    """Mean softmax cross-entropy of a batch, and its gradient by the chain rule."""
    outputs = forward(parameters, images, product)
    rows = np.arange(len(labels))
    log_probabilities = log_softmax(outputs[-1])
    loss = -log_probabilities[rows, labels].mean()

    delta = np.exp(log_probabilities)
    delta[rows, labels] -= 1
    delta /= len(labels)
    gradients: Parameters = []
    for (weight, _), inputs in zip(reversed(parameters), reversed(outputs[:-1]), strict=True):
        gradients.append((product(inputs.T, delta), delta.sum(axis=0)))
        delta = product(delta, weight.T) * (inputs > 0)
    return float(loss), gradients[::-1]


class Eager(Trainer):
    """One NumPy call after another, in place where that saves a pass over memory."""

    correction_type: Callable[[float], Any] = float
    """The type that 1 − βᵗ is computed in; some frameworks take the parameters' own."""

    def __init__(
        self,
        network: Network,
        adam: Adam,
        execution: Execution,
        training_set: TrainingSet,
        parameters: Parameters,
    ) -> None:
        self._adam = adam
        # In Keras, whose own form that is, the corrections take decay rates that have been through
        # float32, whatever the precision of the rest.
        through = float if adam.form == TEXTBOOK else np.float32
        self._decays = float(through(adam.beta_1)), float(through(adam.beta_2))
        self._execution = execution
        self._product = product_in(execution.precision)
        self._images = training_set.images
        self._labels = training_set.labels
        self.reset(parameters)

    def reset(self, parameters: Parameters) -> None:
        dtype = self._images.dtype
        self._parameters = [(w.astype(dtype), b.astype(dtype)) for w, b in parameters]
        flat = self._arrays(self._parameters)
        self._first_moments = [np.zeros_like(array) for array in flat]
        self._second_moments = [np.zeros_like(array) for array in flat]
        self._steps = 0

    @staticmethod
    def _arrays(parameters: Parameters) -> list[Array]:
        return [array for layer in parameters for array in layer]

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._loss, gradients = loss_and_gradients(
                self._parameters, self._images[batch], self._labels[batch], self._product
            )
            self._update(gradients)

    def fetch(self, rows: Array) -> None:
        for batch in rows:
            self._images[batch], self._labels[batch]

    def _update(self, gradients: Parameters) -> None:
        adam, number = self._adam, self.correction_type
        self._steps += 1
        beta_1, beta_2 = map(number, self._decays)
        step_size = float(adam.learning_rate / (1 - beta_1**self._steps))
        correction = float(np.sqrt(1 - beta_2**self._steps))
        epsilon = adam.epsilon if adam.form == TEXTBOOK else adam.epsilon / correction
        for parameter, gradient, m, v in zip(
            self._arrays(self._parameters),
            self._arrays(gradients),
            self._first_moments,
            self._second_moments,
            strict=True,
        ):
            m *= adam.beta_1
            m += (1 - adam.beta_1) * gradient
            v *= adam.beta_2
            v += (1 - adam.beta_2) * np.square(gradient)
            denominator = np.sqrt(v)
            denominator /= correction
            denominator += epsilon
            parameter -= step_size * m / denominator

    def synchronise(self) -> None:
        """NumPy has finished when it returns."""

    def losses(self) -> Array:
        return np.array([self._loss])

    def parameters(self) -> Parameters:
        return [(weight.copy(), bias.copy()) for weight, bias in self._parameters]

    def first_moments(self) -> Parameters:
        copies = [moment.copy() for moment in self._first_moments]
        return list(zip(copies[::2], copies[1::2], strict=True))

    def logits(self, images: Array) -> Array:
        return forward(self._parameters, images, self._product)[-1]

    def product(self, a: Array, b: Array) -> Array:
        return self._product(a, b)

    def weight_address(self) -> int:
        return self._parameters[0][0].ctypes.data

    def peak_device_bytes(self) -> None:
        return None

    def compilations(self) -> int:
        return 0

    def describe(self) -> dict[str, str]:
        return {
            "device": "cpu",
            "device_name": "cpu",
            "precision": self._parameters[0][0].dtype.name,
            "threads": str(self._execution.threads),
            "compiler": "none",
            "steps_per_call": "1",
            "input": "gathered from memory of the cpu",
            "optimizer": "Adam by NumPy, array by array",
            "epsilon": f"{self._adam.epsilon:g} ({self._adam.form})",
        }


TRAINERS: dict[str, type[Trainer]] = {"eager": Eager}


class Floor(contract.Floor):
    """One BLAS call for each product, into arrays that are kept; NumPy's own loops for the pass."""

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        images, self._weights, self._first_moments, self._second_moments = floor_arrays(
            network, batch_size, execution.stored
        )
        self._gradients = [np.empty_like(weight) for weight in self._weights]
        sizes = network.layer_sizes[1:]
        self._outputs = [images, *(np.empty((batch_size, n), images.dtype) for n in sizes)]
        self._deltas = [np.empty_like(output) for output in self._outputs]

    def train(self, rows: Array) -> None:
        for _ in rows:
            self._step()

    def _step(self) -> None:
        outputs, weights, gradients = self._outputs, self._weights, self._gradients
        for layer, weight in enumerate(weights):
            np.matmul(outputs[layer], weight, out=outputs[layer + 1])
        delta = outputs[-1]
        for layer in reversed(range(len(weights))):
            np.matmul(outputs[layer].T, delta, out=gradients[layer])
            if layer:
                delta = np.matmul(delta, weights[layer].T, out=self._deltas[layer])
        for w, m, v, g in zip(
            weights, self._first_moments, self._second_moments, gradients, strict=True
        ):
            for moment in (m, v):
                moment += g
                moment *= PASS_DECAY
            w -= PASS_RATE * m

    def synchronise(self) -> None:
        """NumPy has finished when it returns."""

    def square(self, size: int) -> Array:
        return np.ones((size, size), self._outputs[0].dtype)

    def multiply(self, matrix: Array) -> None:
        np.matmul(matrix, matrix)

    def arrays(self) -> list[list[Array]]:
        return [self._weights, self._first_moments, self._second_moments]

    def device(self) -> str:
        return "cpu"
