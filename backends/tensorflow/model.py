"""The network, the textbook's Adam, the pipeline of batches, and a loop that XLA can count."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from backends.contract import Array, TrainingSet


class TextbookAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Adam with epsilon added to the corrected root, as in Algorithm 1 of its paper.

    Keras adds it to the uncorrected root ("epsilon hat"), which no constant can make equal.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; overrides Keras' own, which `apply` calls for each."""
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1 = tf.constant(self.beta_1, variable.dtype)
        beta_2 = tf.constant(self.beta_2, variable.dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        m.assign_add((gradient - m) * (1 - self.beta_1))
        v.assign_add((tf.square(gradient) - v) * (1 - self.beta_2))
        # The corrections are gathered in scalars, which saves two passes of divisions over arrays.
        step_size = tf.cast(learning_rate, variable.dtype) / (1 - tf.pow(beta_1, step))
        correction = 1 / (1 - tf.pow(beta_2, step))
        variable.assign_sub(step_size * m / (tf.sqrt(v * correction) + self.epsilon))


def mlp(layer_sizes: tuple[int, ...]) -> keras.Sequential:
    """A dense network: ReLU between its layers, logits out."""
    hidden = [keras.layers.Dense(size, activation="relu") for size in layer_sizes[1:-1]]
    inputs, outputs = keras.Input(layer_sizes[:1]), keras.layers.Dense(layer_sizes[-1])
    return keras.Sequential([inputs, *hidden, outputs])


def counted_loop(steps: int, step: Callable[[Any, Any], tuple[Any, Any]], carried: Any) -> Any:
    """The value of `carried` after `steps` calls of `step`, which hands it from one to the next.

    XLA knows the number of steps only where the loop's condition tests this counter alone: a loop
    over `tf.range` tests two, and a GPU would hand the result back to the host at every step.
    """
    return tf.while_loop(lambda index, _: index < steps, step, (0, carried))[1]


class Pipeline:
    """Batches that tf.data cuts on the host, while those before them are trained on."""

    def __init__(self, training_set: TrainingSet) -> None:
        with tf.device("cpu:0"):
            self._images = tf.constant(training_set.images)
            self._labels = tf.constant(training_set.labels.astype(np.int64))
            empty = np.zeros((0, 0), np.int32)
            self._rows = tf.Variable(empty, shape=(None, None), trainable=False)
        self._datasets: dict[tuple[int, ...], tf.data.Dataset] = {}

    def batches(self, rows: Array) -> tf.data.Dataset:
        """The images and labels of each line of `rows`, (steps, batch_size)."""
        self._rows.assign(rows)
        # Kept, since tracing one costs some 20 ms.
        if rows.shape not in self._datasets:
            self._datasets[rows.shape] = self._dataset(*rows.shape)
        return self._datasets[rows.shape]

    def _dataset(self, steps: int, batch_size: int) -> tf.data.Dataset:
        def cut(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.ensure_shape(self._rows[step], (batch_size,))
            return tf.gather(self._images, rows), tf.gather(self._labels, rows)

        options = tf.data.Options()
        # The autotuner's thread can hold up the end of a short pipeline until it next wakes:
        # 200 steps took 630 ms instead of 360 in every second call.
        options.autotune.enabled = False
        return tf.data.Dataset.range(steps).map(cut).prefetch(2).with_options(options)


def device_of(tensor: tf.Tensor) -> str:
    """The device whose memory holds a tensor: "cpu" or "gpu"."""
    return "gpu" if "GPU" in tensor.device else "cpu"
