"""The expert tier: what TensorFlow's and Keras' pages on performance advise."""

from typing import Any

import numpy as np
import tensorflow as tf

from backends.contract import Array, Program, calls
from backends.tensorflow.loaders import Pipeline
from backends.tensorflow.model import counted_loop
from backends.tensorflow.taught import Fit, Function


class FitJit(Fit):
    """`Model.fit` with its step compiled by XLA."""

    compiler = "tf.function with XLA: Keras' step"

    def _compile_options(self) -> dict[str, Any]:
        return {"jit_compile": True}


class FitXla(FitJit):
    """`Model.fit` with XLA, and several steps an execution."""

    compiler = "tf.function: Keras' loop over steps, each with XLA"

    def _compile_options(self) -> dict[str, Any]:
        self.steps_per_call = self._execution.steps_per_call
        return super()._compile_options() | {"steps_per_execution": self.steps_per_call}


class Pipelined(Function):
    """Batches gathered at once and prefetched, as the guide to tf.data's performance advises."""

    loader = Pipeline


class Graph(Pipelined):
    """One step as a TensorFlow graph that returns its loss."""

    _loss: tf.Tensor

    def _note(self, loss: tf.Tensor, labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
        return loss

    def _train_on(self, batches: Any, steps: int) -> None:
        for batch in batches:
            self._loss = self._program(*batch)

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        return np.ravel(self._loss)


class Eager(Graph):
    """The same step, operation by operation."""

    compiler = "none"

    def _build(self) -> None:
        self._program = self._step_on_rows if self._resident else self._step

    # Read by certificate and ledger; never timed.

    def compilations(self) -> int:
        return 0


class Compiled(Graph):
    """One step as one XLA program."""

    compiler = "tf.function with XLA: whole step"
    use_xla = True


class XlaLoop(Compiled):
    """Many steps as one XLA program, with the loop inside it."""

    compiler = "tf.function with XLA: loop over steps"

    def _build(self) -> None:
        def train_steps(rows: tf.Tensor) -> tf.Tensor:
            def step(index: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                return index + 1, losses.write(index, self._step_on_rows(rows[index]))

            steps = rows.shape[0]
            losses = tf.TensorArray(self._images.dtype, steps)
            return counted_loop(steps, step, losses).stack()

        self.steps_per_call = self._execution.steps_per_call
        self._program = tf.function(train_steps, jit_compile=self.use_xla)

    def _batches(self, rows: Array) -> Any:
        return ((tf.constant(part),) for part in calls(rows, self.steps_per_call))

    def train_parts(self, parts: Any, mark: Any) -> None:
        super(Function, self).train_parts(parts, mark)

    # Read by certificate and ledger; never timed.

    def program(self, rows: Array) -> Program:
        return Program(self._program, (tf.constant(rows),))
