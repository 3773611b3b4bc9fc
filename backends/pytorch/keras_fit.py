"""Keras 3 on PyTorch: `Model.fit`, as Keras' own introduction teaches it.

Keras is imported by the trainer alone: no other mode needs it, and importing it takes seconds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from backends.contract import (
    Array,
    Description,
    Execution,
    NotKeptError,
    Parameters,
    Trainer,
    Training,
    TrainingSet,
)


def unusable() -> str:
    """Why Keras cannot run on PyTorch in this process; empty where it can, or is missing."""
    try:
        import keras
    except ImportError:
        return ""
    backend = keras.config.backend()
    return "" if backend == "torch" else f"Keras runs on {backend} here: set KERAS_BACKEND=torch"


def configure(execution: Execution) -> None:
    """Set the precision of what Keras makes, for the whole process."""
    import keras
    from keras.src.backend.common import dtypes

    if problem := unusable():
        raise RuntimeError(problem)
    mixed = execution.precision == "bfloat16"
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else execution.stored)
    keras.config.set_floatx(execution.stored)
    # On PyTorch Keras turns the results of float64 operations into float32; not in certificates.
    exact = execution.stored == "float64"
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64" if exact else "float32"


def textbook_adam(*settings: float) -> Any:
    """Keras' Adam for PyTorch, with ε added to the corrected root as in the paper's Algorithm 1.

    Keras adds it to the uncorrected root, which comes to the same with an ε of its own each step.
    """
    import keras

    class TextbookAdam(type(keras.optimizers.Adam())):  # type: ignore[misc]
        def _parallel_update_step(self, *arguments: Any) -> None:
            textbook = self.epsilon
            correction = 1 - torch.pow(self.beta_2, self.iterations.value.double() + 1)
            self.epsilon = (textbook * torch.sqrt(correction)).to(arguments[1][0].value.dtype)
            super()._parallel_update_step(*arguments)
            self.epsilon = textbook

    return TextbookAdam(*settings)


def batches_of(training_set: TrainingSet) -> Callable[[Array], Any]:
    """A function from rows (steps, batch_size) to the data set of their batches."""
    import keras

    images, labels = training_set.images, training_set.labels.astype(np.int64)

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self, rows: Array) -> None:
            super().__init__()
            self._rows = rows

        def __len__(self) -> int:
            return len(self._rows)

        def __getitem__(self, step: int) -> tuple[Array, Array]:
            return images[self._rows[step]], labels[self._rows[step]]

    return Batches


class KerasFit(Trainer):
    """`compile` and `fit` of a `Sequential` model."""

    def __init__(self, training: Training, execution: Execution) -> None:
        configure(execution)
        import keras

        self._execution, self._callback = execution, keras.callbacks.LambdaCallback
        self._batches = batches_of(training.training_set)
        inputs, *hidden, classes = training.network.layer_sizes
        self._model = keras.Sequential(
            [
                keras.Input((inputs,)),
                *(keras.layers.Dense(size, activation="relu") for size in hidden),
                keras.layers.Dense(classes),
            ]
        )
        adam = training.adam
        self._optimizer = textbook_adam(adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon)
        self._model.compile(
            optimizer=self._optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy()],
        )
        self._optimizer.build(self._model.trainable_variables)
        self.reset(training.start)

    def reset(self, parameters: Parameters) -> None:
        self._model.set_weights([array for layer in parameters for array in layer])
        for variable in self._optimizer_variables():
            variable.assign(torch.zeros_like(variable.value))

    def _optimizer_variables(self) -> list[Any]:
        optimizer = self._optimizer
        return [optimizer.iterations, *optimizer._momentums, *optimizer._velocities]

    def train(self, rows: Array) -> None:
        self._fit(rows)

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        ends = np.cumsum([len(rows) for rows in parts]).tolist()

        def finished(step: int, **_: Any) -> None:
            if step + 1 in ends:
                mark()
                self.synchronise()
                mark()

        self._fit(np.concatenate(parts), self._callback(on_train_batch_end=finished))

    def _fit(self, rows: Array, *callbacks: Any) -> None:
        history = self._model.fit(
            self._batches(rows), shuffle=False, verbose=0, callbacks=[*callbacks]
        )
        self._loss, self._trained = history.history["loss"][-1], len(rows)

    def fetch(self, rows: Array) -> None:
        batches = self._batches(rows)
        for step in range(len(batches)):
            batches[step]

    def synchronise(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        if self._trained > 1:
            raise NotKeptError("Keras' fit keeps the mean over its steps")
        return np.ravel(self._loss)

    def parameters(self) -> Parameters:
        return self._as_layers(self._model.trainable_variables)

    def first_moments(self) -> Parameters:
        return self._as_layers(self._optimizer._momentums)

    @staticmethod
    def _as_layers(variables: Sequence[Any]) -> Parameters:
        arrays = [variable.value.numpy(force=True).copy() for variable in variables]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    @torch.no_grad()
    def logits(self, images: Array) -> Array:
        return self._model(images).to(getattr(torch, self._execution.stored)).numpy(force=True)

    def product(self, a: Array, b: Array) -> Array:
        import keras

        first, second = (keras.ops.cast(x, self._execution.product_type) for x in (a, b))
        return keras.ops.cast(keras.ops.matmul(first, second), a.dtype.name).numpy(force=True)

    def weight_address(self) -> int:
        return self._model.trainable_variables[0].value.data_ptr()

    def peak_device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None

    def describe(self) -> Description:
        weight = self._model.trainable_variables[0].value
        return Description(
            device="gpu" if weight.is_cuda else "cpu",
            device_name=torch.cuda.get_device_name() if weight.is_cuda else "cpu",
            precision=str(weight.dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            compiler="none: Keras' fit",
            input="cut by a Keras PyDataset on the host",
            optimizer="keras.optimizers.Adam with the textbook's update",
            epsilon=self._optimizer.epsilon,
            instructions=torch.backends.cpu.get_cpu_capability(),
        )
