"""The expert tier: what TensorFlow's and Keras' pages on performance advise."""

from typing import Any

import numpy as np
import tensorflow as tf

from backends.contract import Array
from backends.tensorflow.loaders import Pipeline
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
