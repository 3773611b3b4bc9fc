"""What certificate and ledger read from a trainer; never timed."""

from __future__ import annotations

import numpy as np

from backends.contract import Adam, Array, Description, Execution, Parameters, Trainer
from backends.numpy.model import Product, forward


class Inspection(Trainer):
    """The half of a trainer that is read; the other half trains, and sets what stands here."""

    _adam: Adam
    _execution: Execution
    _product: Product
    _parameters: Parameters
    _first_moments: list[Array]
    _loss: float

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

    def describe(self) -> Description:
        return Description(
            device="cpu",
            device_name="cpu",
            precision=self._parameters[0][0].dtype.name,
            threads=self._execution.threads,
            compiler="none",
            steps_per_call=1,
            input="gathered from memory of the cpu",
            optimizer="Adam by NumPy, array by array",
            epsilon=self._adam.epsilon,
            adam_form=self._adam.form,
        )
