"""What certificate and ledger read from a trainer; never timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from backends.contract import EPSILON_HAT, Adam, Array, Description, Execution, Parameters, Trainer
from backends.tensorflow.setup import device_of, product_type


class Inspection(Trainer):
    """The half of a trainer that is read; the other half trains, and sets what stands here."""

    compiler = "none"
    steps_per_call = 1
    _adam: Adam
    _execution: Execution
    _forward: Any
    _images: tf.Tensor
    _loss: tf.Tensor
    _model: Any
    _optimizer: Any
    _program: Any = None
    """The compiled function that trains; None in a mode without one."""

    def losses(self) -> Array:
        return np.ravel(self._loss)

    @staticmethod
    def _as_layers(flat: list[Array]) -> Parameters:
        return list(zip(flat[::2], flat[1::2], strict=True))

    def parameters(self) -> Parameters:
        return self._as_layers(self._model.get_weights())

    def first_moments(self) -> Parameters:
        return self._as_layers([moment.numpy() for moment in self._optimizer._momentums])

    def logits(self, images: Array) -> Array:
        return tf.cast(self._forward(images), images.dtype).numpy()

    def product(self, a: Array, b: Array) -> Array:
        first, second = (tf.cast(array, product_type(self._execution)) for array in (a, b))
        return tf.cast(tf.matmul(first, second), a.dtype).numpy()

    def weight_address(self) -> int | None:
        weight = self._model.trainable_variables[0].value.read_value()
        if device_of(weight) == "gpu":
            return None
        return int(np.asarray(memoryview(weight)).ctypes.data)

    def peak_device_bytes(self) -> int | None:
        if device_of(self._model.trainable_variables[0].value) == "cpu":
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])

    def compilations(self) -> int:
        return self._program.experimental_get_tracing_count() if self._program else 0

    def describe(self) -> Description:
        weight = self._model.trainable_variables[0].value
        result = self._forward(tf.zeros((1, weight.shape[0]), weight.dtype))
        device = device_of(result)
        return Description(
            device=device,
            device_name=_gpu_name() if device == "gpu" else "cpu",
            precision=weight.dtype.name,
            threads=tf.config.threading.get_intra_op_parallelism_threads(),
            compiler=self.compiler,
            steps_per_call=self.steps_per_call,
            input=f"gathered from memory of the {device_of(self._images)}"
            if self._execution.input == "resident"
            else "cut by tf.data on the host, prefetched",
            optimizer="keras.optimizers.Adam"
            if self._adam.form == EPSILON_HAT
            else "keras.optimizers.Adam with the textbook's update",
            epsilon=self._optimizer.epsilon,
            adam_form=self._adam.form,
        )


def _gpu_name() -> str:
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return str(details.get("device_name", "gpu"))
