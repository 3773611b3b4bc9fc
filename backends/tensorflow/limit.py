"""The tuned tier: many steps in one XLA program."""

import tensorflow as tf

from backends.contract import Array, calls
from backends.tensorflow.model import counted_loop
from backends.tensorflow.taught import Compiled


class MultiStep(Compiled):
    """Many steps as one XLA program, with the loop inside it."""

    compiler = "tf.function with XLA: loop over steps"

    def _build(self) -> None:
        def train_steps(rows: tf.Tensor) -> tf.Tensor:
            def step(index: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                return index + 1, losses.write(index, self._step(*self._gather(rows[index])))

            steps = rows.shape[0]
            losses = tf.TensorArray(self._images.dtype, steps)
            return counted_loop(steps, step, losses).stack()

        self.steps_per_call = self._execution.steps_per_call
        self._program = tf.function(train_steps, jit_compile=True)

    def train(self, rows: Array) -> None:
        for part in calls(rows, self.steps_per_call):
            self._loss = self._program(tf.constant(part))
