"""The model of the quickstart for experts, a loop that XLA can count, and what is read back."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from backends.keras.model import dense_layers
from backends.keras.trainer import KerasTrainer


class MLP(keras.Model):  # type: ignore[misc]
    """A dense network as a subclass of `Model`: ReLU between its layers, logits out."""

    def __init__(self, layer_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.dense = dense_layers(layer_sizes)
        self.build((None, layer_sizes[0]))

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Make the variables of all layers."""
        for layer in self.dense:
            layer.build(input_shape)
            input_shape = (None, layer.units)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """The logits (n, classes) of images `x` (n, pixels)."""
        for layer in self.dense:
            x = layer(x)
        return x


def counted_loop(steps: int, step: Callable[[Any, Any], tuple[Any, Any]], carried: Any) -> Any:
    """The value of `carried` after `steps` calls of `step`, which hands it from one to the next.

    XLA knows the number of steps only where the loop's condition tests this counter alone: a loop
    over `tf.range` tests two, and a GPU would hand the result back to the host at every step.
    """
    return tf.while_loop(lambda index, _: index < steps, step, (0, carried))[1]


def device_of(tensor: tf.Tensor) -> str:
    """The device whose memory holds a tensor: "cpu" or "gpu"."""
    return "gpu" if "GPU" in tensor.device else "cpu"


class OnTensorFlow(KerasTrainer):
    """What is particular to TensorFlow of a trainer of a Keras model."""

    def synchronise(self) -> None:
        tf.test.experimental.sync_devices()

    # Read by certificate and ledger; never timed.

    def _weight(self) -> tf.Variable:
        """The first weight."""
        return self._model.trainable_variables[0].value

    def weight_address(self) -> int | None:
        weight = self._weight().read_value()
        return None if device_of(weight) == "gpu" else np.asarray(memoryview(weight)).ctypes.data

    def peak_device_bytes(self) -> int | None:
        on_gpu = device_of(self._weight()) == "gpu"
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu else None

    def _device(self) -> tuple[str, str]:
        device = name = device_of(tf.square(self._weight()))
        if device == "gpu":
            gpu = tf.config.list_physical_devices("GPU")[0]
            name = tf.config.experimental.get_device_details(gpu).get("device_name", "gpu")
        return device, str(name)

    def _threads(self) -> int:
        return tf.config.threading.get_intra_op_parallelism_threads()
