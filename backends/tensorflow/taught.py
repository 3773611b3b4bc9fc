"""The taught tier: the quickstart for beginners, and the one for experts."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from backends import contract
from backends.contract import Array, NotKeptError, TrainingSet
from backends.keras.fit import KerasFit
from backends.tensorflow.loaders import Batch, Pipeline, Slices
from backends.tensorflow.model import MLP, OnTensorFlow

FETCHES_BESIDE = "tf.data fetches batches while others are trained on"


class Fit(KerasFit, OnTensorFlow):
    """`Model.fit` as the quickstart for beginners calls it."""

    compiler = "tf.function: Keras' step"

    def _load(self, training_set: TrainingSet) -> None:
        self._pipeline = Pipeline(training_set)

    def _batches(self, rows: Array) -> tf.data.Dataset:
        # Keras makes much the same of arrays; but it would draw their order itself.
        return self._pipeline.batches(rows)

    def fetch(self, rows: Array) -> None:
        raise NotKeptError(FETCHES_BESIDE)

    # Read by certificate and ledger; never timed.

    def _input(self) -> str:
        return self._pipeline.about


def train_from_one_pipeline(trainer: Any, parts: Sequence[Array], mark: Callable[[], None]) -> None:
    """Train all parts from one pipeline, as `Timed.train_parts` says.

    Starting one takes as long as some steps.
    """
    batches = iter(trainer._batches(np.concatenate(parts)))
    for rows in parts:
        trainer._train_on(islice(batches, len(rows)), len(rows))
        mark()
        trainer.synchronise()
        mark()


class TrainOnBatch(Fit):
    """`Model.train_on_batch`, called for each batch."""

    def train(self, rows: Array) -> None:
        self._train_on(self._batches(rows), len(rows))

    def _train_on(self, batches: Iterable[Batch], steps: int) -> None:
        self._model.reset_metrics()
        for images, labels in batches:
            self._loss = self._model.train_on_batch(images, labels)[0]
        self._trained = steps

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        train_from_one_pipeline(self, parts, mark)


class Function(OnTensorFlow):
    """The quickstart for experts: a gradient tape in a tf.function, with two metrics."""

    compiler = "tf.function"
    make_model = MLP
    loader: type[Slices | Pipeline] = Slices
    use_xla: bool | None = None  # as the quickstart leaves it

    def _load(self, training_set: TrainingSet) -> None:
        self._resident = self._execution.input == "resident"
        if self._resident:
            self._images = tf.constant(training_set.images)
            # TensorFlow keeps int32 in host memory; int64 can lie on a GPU.
            self._labels = tf.constant(training_set.labels.astype(np.int64))
        else:
            self._loader = self.loader(training_set)

    def _build(self) -> None:
        self._train_loss = keras.metrics.Mean(name="train_loss")
        self._train_accuracy = keras.metrics.SparseCategoricalAccuracy(name="train_accuracy")
        step = self._step_on_rows if self._resident else self._step
        self._program: Any = tf.function(step, jit_compile=self.use_xla)

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            predictions = self._model(images, training=True)
            loss = self._loss_function(labels, predictions)
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return self._note(loss, labels, predictions)

    def _note(self, loss: tf.Tensor, labels: tf.Tensor, predictions: tf.Tensor) -> Any:
        """Keep what a step is asked for: here the means over the steps since they were reset."""
        self._train_loss(loss)
        self._train_accuracy(labels, predictions)

    def _step_on_rows(self, rows: tf.Tensor) -> Any:
        return self._step(*self._gather(rows))

    def _gather(self, rows: Any) -> Batch:
        """The images and labels of one batch, where the training set is resident."""
        return tf.gather(self._images, rows), tf.gather(self._labels, rows)

    def train(self, rows: Array) -> None:
        self._train_on(self._batches(rows), len(rows))

    def _batches(self, rows: Array) -> Iterable[tuple[tf.Tensor, ...]]:
        """The arguments of the program for each line of `rows`."""
        if self._resident:
            # All rows handed over at once: 4% less than a tensor made for each step (two cores of
            # an AMD EPYC, XLA).
            return ((batch,) for batch in tf.unstack(tf.constant(rows)))
        return self._loader.batches(rows)

    def _train_on(self, batches: Iterable[tuple[tf.Tensor, ...]], steps: int) -> None:
        self._train_loss.reset_state()
        self._train_accuracy.reset_state()
        for batch in batches:
            self._program(*batch)
        self._trained = steps

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        train_from_one_pipeline(self, parts, mark)

    def fetch(self, rows: Array) -> None:
        if self._resident:
            raise NotKeptError(contract.FETCHES_ITSELF)
        if self.loader is Pipeline:
            raise NotKeptError(FETCHES_BESIDE)
        for _ in self._batches(rows):
            pass

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        if self._trained > 1:
            raise NotKeptError("the metric keeps the mean over its steps")
        return np.ravel(self._train_loss.result())

    def compilations(self) -> int:
        return self._program.experimental_get_tracing_count()

    def program(self, rows: Array) -> contract.Program:
        return contract.Program(self._program, next(iter(self._batches(rows[None]))))

    def _input(self) -> str:
        if not self._resident:
            return self._loader.about
        # A loop over steps has no list of batches, and so no images but these.
        return f"gathered from memory of the {'gpu' if 'GPU' in self._images.device else 'cpu'}"
