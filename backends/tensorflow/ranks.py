"""TensorFlow in a group of ranks: MultiWorkerMirroredStrategy around a loop of one's own."""

import json
import math
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from backends.contract import Array, Execution, Training
from backends.tensorflow.expert import Graph

strategy: Any = None
"""The strategy of this process, which `join` makes: TensorFlow wants it before everything else."""


def join(execution: Execution, addresses: tuple[str, ...]) -> None:
    """Enter the group: over TensorFlow's own ring on CPUs, NCCL on GPUs."""
    global strategy
    task = {"type": "worker", "index": execution.rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()


def reduction(execution: Execution, count: int) -> Callable[[], None]:
    """Sum up so many numbers over all ranks."""
    numbers = tf.ones(count, execution.stored)

    def summed() -> Any:
        return tf.distribute.get_replica_context().all_reduce("SUM", numbers)

    def first() -> Any:
        return strategy.experimental_local_results(strategy.run(summed))[0][0]

    program = tf.function(first)
    return lambda: program().numpy()


class MultiWorker(Graph):
    """The step as each replica's, as the tutorial on custom loops writes it."""

    compiler = "tf.function: whole step, in MultiWorkerMirroredStrategy"

    def __init__(self, training: Training, execution: Execution) -> None:
        # Variables that are made in its scope are mirrored: each rank has a copy.
        with strategy.scope():
            super().__init__(training, execution)

    def _build(self) -> None:
        def step(rows: tf.Tensor, batch_size: int) -> Any:
            losses = strategy.run(self._step_on_share, args=(rows, batch_size))
            return strategy.reduce("SUM", losses, axis=None)

        self._program: Any = tf.function(step)

    def _step_on_share(self, rows: tf.Tensor, batch_size: int) -> Any:
        loss, gradients = self._loss_and_gradients(rows, batch_size)
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _loss_and_gradients(self, rows: tf.Tensor, batch_size: int) -> tuple[tf.Tensor, Any]:
        """A share's part of the loss, and of its gradients."""
        images, labels = self._gather(rows)
        with tf.GradientTape() as tape:
            predictions = self._model(images, training=True)
            loss = self._loss_function(labels, predictions)
            # Keras has divided the mean over a share by the number of replicas, over which the
            # optimizer sums up gradients: that is the mean over the batch if all shares are equal.
            if rows.shape[0] * self._execution.ranks != batch_size:
                loss *= rows.shape[0] * self._execution.ranks / batch_size
        return loss, tape.gradient(loss, self._model.trainable_variables)

    def _batches(self, rows: Array) -> Any:
        share = tf.constant(self._execution.share(rows))
        return ((batch, rows.shape[1]) for batch in tf.unstack(share))

    def synchronise(self) -> None:
        # In a group TensorFlow has no function that waits for devices: what is read is done.
        self._weight()[0, 0].numpy()
        if hasattr(self, "_loss"):
            self._loss.numpy()


class MultiWorkerFlat(MultiWorker):
    """A share's gradients by XLA, and one all-reduce of them all and the loss.

    Only the sum knows of the other ranks: variables and optimizer are those of a single process.
    """

    # 0.77 of a step of MultiWorker, two ranks on two cores of an AMD EPYC (Zen 3), two launches.
    compiler = "tf.function: sum over ranks and Adam; loss and derivative with XLA"

    def __init__(self, training: Training, execution: Execution) -> None:
        Graph.__init__(self, training, execution)

    def _build(self) -> None:
        derivative = tf.function(self._loss_and_gradients, jit_compile=True)

        def summed(rows: tf.Tensor, batch_size: int) -> tf.Tensor:
            loss, gradients = derivative(rows, batch_size)
            flat = tf.concat([tf.reshape(array, [-1]) for array in (loss, *gradients)], 0)
            return tf.distribute.get_replica_context().all_reduce("SUM", flat)

        def step(rows: tf.Tensor, batch_size: int) -> tf.Tensor:
            of_rank = strategy.run(summed, args=(rows, batch_size))
            flat = strategy.experimental_local_results(of_rank)[0]
            variables = self._model.trainable_variables
            loss, *parts = tf.split(flat, [1, *(math.prod(v.shape) for v in variables)])
            arrays = [tf.reshape(part, v.shape) for part, v in zip(parts, variables, strict=True)]
            self._optimizer.apply_gradients(zip(arrays, variables, strict=True))
            return loss

        self._program = tf.function(step)


GROUP_TRAINERS = {"multi-worker": MultiWorker, "multi-worker-flat": MultiWorkerFlat}
