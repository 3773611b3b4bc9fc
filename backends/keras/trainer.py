"""What the trainers of a Keras model share: its making, and what certificate and ledger read."""

from abc import abstractmethod
from typing import Any

import keras
import numpy as np

from backends.contract import (
    TEXTBOOK,
    Array,
    Description,
    Execution,
    Parameters,
    State,
    Trainer,
    Training,
    TrainingSet,
    arrays_of,
)
from backends.keras.model import optimizer_of, sequential, set_precision


class KerasTrainer(Trainer):
    """A Keras model with its loss and its optimizer."""

    compiler = "none"
    steps_per_call = 1
    make_model = staticmethod(sequential)

    def __init__(self, training: Training, execution: Execution) -> None:
        set_precision(execution)
        self._adam = training.adam
        self._execution = execution
        self._model: Any = self.make_model(training.network.layer_sizes)
        self._loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._optimizer: Any = optimizer_of(training.adam)
        self._optimizer.build(self._model.trainable_variables)
        self._load(training.training_set)
        self._build()
        self.reset(training.start)

    @abstractmethod
    def _load(self, training_set: TrainingSet) -> None:
        """Keep the images and labels where batches are cut from."""

    @abstractmethod
    def _build(self) -> None:
        """Make the program that trains; nothing is compiled here."""

    def set_state(self, state: State) -> None:
        for variables, layers in zip(self._variables_of_state(), state[:3], strict=True):
            for variable, array in zip(variables, arrays_of(layers), strict=True):
                variable.assign(array)
        self._optimizer.iterations.assign(state.steps)

    def _variables_of_state(self) -> list[list[Any]]:
        """Parameters and both moments."""
        optimizer = self._optimizer
        return [self._model.trainable_variables, optimizer._momentums, optimizer._velocities]

    # Read by certificate and ledger; never timed.

    def _settle(self) -> None:
        """Bring the variables up to date, where a loop that runs keeps its state elsewhere."""

    def state(self) -> State:
        self._settle()
        parameters, first, second = map(as_layers, self._variables_of_state())
        return State(
            parameters, first, second, int(keras.ops.convert_to_numpy(self._optimizer.iterations))
        )

    def logits(self, images: Array) -> Array:
        result = self._model(images, training=False)
        return keras.ops.convert_to_numpy(keras.ops.cast(result, images.dtype.name))

    def product(self, a: Array, b: Array) -> Array:
        factors = (keras.ops.cast(array, self._execution.product_type) for array in (a, b))
        result = keras.ops.cast(keras.ops.matmul(*factors), a.dtype.name)
        return keras.ops.convert_to_numpy(result)

    @abstractmethod
    def _device(self) -> tuple[str, str]:
        """The device whose memory holds a result, "cpu" or "gpu", and its name."""

    @abstractmethod
    def _input(self) -> str:
        """Where batches come from."""

    def _threads(self) -> int:
        return self._execution.threads

    def describe(self) -> Description:
        device, name = self._device()
        update = " with the textbook's update" if self._adam.form == TEXTBOOK else ""
        return Description(
            device=device,
            device_name=name,
            precision=keras.backend.standardize_dtype(self._model.trainable_variables[0].dtype),
            threads=self._threads(),
            compiler=self.compiler,
            steps_per_call=self.steps_per_call,
            input=self._input(),
            optimizer="keras.optimizers.Adam" + update,
            epsilon=self._adam.epsilon,
            adam_form=self._adam.form,
        )


def as_layers(variables: list[Any]) -> Parameters:
    """Copies of weights and biases in turns, as pairs."""
    arrays = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    return list(zip(arrays[::2], arrays[1::2], strict=True))
