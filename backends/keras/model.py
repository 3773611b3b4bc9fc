"""The network and the textbook's Adam in Keras 3, whichever framework computes for it."""

from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend.common import dtypes

from backends.contract import TEXTBOOK, Adam, Execution


def set_precision(execution: Execution) -> None:
    """Set the types of layers, and of what Keras makes besides them: losses, metrics, constants."""
    mixed = execution.precision == "bfloat16"
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else execution.stored)
    keras.config.set_floatx(execution.stored)
    if keras.backend.backend() != "tensorflow":
        # There Keras computes float64 in float32, as JAX does unless told otherwise. Certificates
        # alone are taken in float64; nothing is changed for what is timed.
        dtypes.BIT64_TO_BIT32_DTYPE["float64"] = (
            "float64" if execution.stored == "float64" else "float32"
        )


def dense_layers(layer_sizes: tuple[int, ...]) -> list[keras.layers.Dense]:
    """The layers of a dense network: ReLU between them, logits out."""
    hidden = [keras.layers.Dense(size, activation="relu") for size in layer_sizes[1:-1]]
    return [*hidden, keras.layers.Dense(layer_sizes[-1])]


def sequential(layer_sizes: tuple[int, ...]) -> keras.Model:
    """A dense network as a `Sequential` model."""
    return keras.Sequential([keras.Input(layer_sizes[:1]), *dense_layers(layer_sizes)])


def optimizer_of(adam: Adam) -> keras.optimizers.Adam:
    """Keras' Adam in the form that is asked for."""
    adam_type = textbook_adam() if adam.form == TEXTBOOK else keras.optimizers.Adam
    return adam_type(adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon)


@cache
def textbook_adam() -> Any:
    """The class of Keras' Adam with epsilon as in Algorithm 1 of its paper.

    It is made when it is first needed: an optimizer is full of variables, which start a framework.
    """
    # For PyTorch Keras has a class of its own, which updates all arrays in a few calls.
    keras_adam: Any = type(keras.optimizers.Adam())

    class TextbookAdam(keras_adam):  # type: ignore[misc]
        """Adam with epsilon added to the corrected root.

        Keras adds its epsilon to the uncorrected root ("epsilon hat"): √v + ε √(1 − β₂ᵗ) there is
        the textbook's √v̂ + ε. So the update is Keras' own, and only its epsilon follows the step.
        """

        def __init__(self, rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:
            # Keras rounds decay rates that are Python's floats to float32 in its corrections alone.
            number = np.dtype(keras.config.floatx()).type
            super().__init__(rate, number(beta_1), number(beta_2), epsilon)

        @property
        def epsilon(self) -> Any:
            """Keras' epsilon of this step, for the textbook's."""
            dtype = self._momentums[0].dtype
            beta_2, step = ops.cast(self.beta_2, dtype), ops.cast(self.iterations + 1, dtype)
            return self.textbook_epsilon * ops.sqrt(1 - ops.power(beta_2, step))

        @epsilon.setter
        def epsilon(self, value: float) -> None:
            self.textbook_epsilon = value

    return TextbookAdam
