"""The taught tier, and NumPy's only one: one call after another."""

from collections.abc import Callable
from typing import Any

import numpy as np

from backends import contract
from backends.contract import (
    TEXTBOOK,
    Array,
    Execution,
    Parameters,
    State,
    Trainer,
    Training,
    arrays_of,
)
from backends.numpy.model import forward, loss_and_gradients, product_in


class Eager(Trainer):
    """One NumPy call after another, in place where that saves a pass over memory."""

    correction_type: Callable[[float], Any] = float
    """The type that 1 − βᵗ is computed in; some frameworks take the parameters' own."""

    def __init__(self, training: Training, execution: Execution) -> None:
        self._adam = adam = training.adam
        # Keras, whose own form that is, computes the corrections from decay rates that were rounded
        # to float32, whatever the precision of the rest.
        through = float if adam.form == TEXTBOOK else np.float32
        self._decays = float(through(adam.beta_1)), float(through(adam.beta_2))
        self._execution = execution
        self._product = product_in(execution.precision)
        self._images = training.training_set.images
        self._labels = training.training_set.labels
        self.reset(training.start)

    def set_state(self, state: State) -> None:
        dtype = self._images.dtype
        self._parameters, self._first_moments, self._second_moments = (
            [(weight.astype(dtype), bias.astype(dtype)) for weight, bias in layers]
            for layers in state[:3]
        )
        self._steps = state.steps

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._loss, gradients = loss_and_gradients(
                self._parameters, self._images[batch], self._labels[batch], self._product
            )
            self._update(gradients)

    def _update(self, gradients: Parameters) -> None:
        adam, number = self._adam, self.correction_type
        self._steps += 1
        beta_1, beta_2 = map(number, self._decays)
        step_size = float(adam.learning_rate / (1 - beta_1**self._steps))
        correction = float(np.sqrt(1 - beta_2**self._steps))
        epsilon = adam.epsilon if adam.form == TEXTBOOK else adam.epsilon / correction
        kinds = self._parameters, gradients, self._first_moments, self._second_moments
        for parameter, gradient, m, v in zip(*map(arrays_of, kinds), strict=True):
            m *= adam.beta_1
            m += (1 - adam.beta_1) * gradient
            v *= adam.beta_2
            v += (1 - adam.beta_2) * np.square(gradient)
            denominator = np.sqrt(v)
            denominator /= correction
            denominator += epsilon
            parameter -= step_size * m / denominator

    def fetch(self, rows: Array) -> None:
        for batch in rows:
            self._images[batch], self._labels[batch]

    def synchronise(self) -> None:
        """Do nothing: NumPy has finished when it returns."""

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        return np.array([self._loss])

    def state(self) -> State:
        kinds = self._parameters, self._first_moments, self._second_moments
        parameters, first, second = ([(w.copy(), b.copy()) for w, b in kind] for kind in kinds)
        return State(parameters, first, second, self._steps)

    def logits(self, images: Array) -> Array:
        return forward(self._parameters, images, self._product)[-1]

    def product(self, a: Array, b: Array) -> Array:
        return self._product(a, b)

    def weight_address(self) -> int:
        return self._parameters[0][0].ctypes.data

    def describe(self) -> contract.Description:
        return contract.Description(
            device="cpu",
            device_name="cpu",
            precision=self._parameters[0][0].dtype.name,
            threads=self._execution.threads,
            input="gathered from memory of the cpu",
            optimizer="Adam by NumPy, array by array",
            epsilon=self._adam.epsilon,
            adam_form=self._adam.form,
        )
