"""Keras' own loop, `Model.fit`, with the network of TensorFlow's quickstart for beginners."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from backends.contract import Array, NotKeptError, Trainer, TrainingSet
from backends.keras.trainer import KerasTrainer


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches that NumPy cuts on the host, in the order of `rows` (steps, batch_size)."""

    def __init__(self, images: Array, labels: Array, rows: Array) -> None:
        super().__init__()
        self._images, self._labels, self._rows = images, labels, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, step: int) -> tuple[Array, Array]:
        return self._images[self._rows[step]], self._labels[self._rows[step]]


class KerasFit(KerasTrainer):
    """`Model.compile` and `Model.fit`, with the metrics and defaults of the quickstart."""

    def _compile_options(self) -> dict[str, Any]:
        """Arguments of `Model.compile` that the quickstart leaves as they are."""
        return {}

    def _load(self, training_set: TrainingSet) -> None:
        self._images, self._labels = training_set.images, training_set.labels

    def _build(self) -> None:
        self._model.compile(
            optimizer=self._optimizer,
            loss=self._loss_function,
            metrics=["accuracy"],
            **self._compile_options(),
        )
        self._traces = 0
        train_step = self._model.train_step

        def traced_step(*arguments: Any) -> Any:
            self._traces += 1  # Python runs while Keras traces, and at no other time.
            return train_step(*arguments)

        if not self.compiler.startswith("none"):
            self._model.train_step = traced_step

    def _batches(self, rows: Array) -> Any:
        """What `fit` takes its batches from: those of `rows` (steps, batch_size), in order."""
        return Batches(self._images, self._labels, rows)

    def train(self, rows: Array) -> None:
        self._fit(rows)

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        ends = np.cumsum([len(rows) for rows in parts]).tolist()
        if any(end % self.steps_per_call for end in ends[:-1]):
            # Within an execution nothing can be marked.
            Trainer.train_parts(self, parts, mark)
            return

        def finished() -> None:
            mark()
            self.synchronise()
            mark()

        def begins(step: int, **_: Any) -> None:
            if step in ends:
                finished()

        # Not at the end of batches: Keras reads the metrics of each for a callback that waits for
        # it there, instead of in a thread beside.
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_begin=begins, on_epoch_end=lambda *_, **__: finished()
        )
        self._fit(np.concatenate(parts), callback)

    def _fit(self, rows: Array, *callbacks: keras.callbacks.Callback) -> None:
        # No progress bar, which would time the terminal.
        history = self._model.fit(
            self._batches(rows), shuffle=False, verbose=0, callbacks=[*callbacks]
        )
        self._loss, self._trained = history.history["loss"][-1], len(rows)

    def fetch(self, rows: Array) -> None:
        batches = self._batches(rows)
        for step in range(len(batches)):
            batches[step]

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        if self._trained > 1:
            raise NotKeptError("Keras' fit keeps the mean over its steps")
        return np.ravel(self._loss)

    def compilations(self) -> int:
        return self._traces

    def _input(self) -> str:
        return "cut by NumPy on the host"
