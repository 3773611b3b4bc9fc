"""TensorFlow and Keras: a `Sequential` model, and Keras' Adam brought back to the textbook.

One training step serves all modes but `fit`: run as it stands (`eager`), as a `tf.function`
(`graph`), with XLA (`compiled`), or in a loop inside one XLA program (`multistep`). `fit` is Keras'
own loop, given what a knowledgeable user gives it.
"""

import os
from contextlib import AbstractContextManager
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

from backends.contract import Execution, Trainer
from backends.tensorflow.floor import Floor
from backends.tensorflow.limit import MultiStep
from backends.tensorflow.taught import Compiled, Eager, Fit, Graph

__all__ = ["TRAINERS", "Floor", "configure", "profiled", "unusable", "versions"]

TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "graph": Graph,
    "compiled": Compiled,
    "xla-loop": MultiStep,
    "keras-fit-xla": Fit,
}


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def configure(execution: Execution) -> None:
    """Set threads, memory and precision; TensorFlow refuses this once it has started."""
    tf.config.threading.set_intra_op_parallelism_threads(execution.threads)
    tf.config.threading.set_inter_op_parallelism_threads(execution.threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    # TF32 is on by default on GPUs that have it.
    tf.config.experimental.enable_tensor_float_32_execution(execution.precision == "tf32")
    # For layers, and for what Keras makes besides them: losses, metrics, constants.
    mixed = execution.precision == "bfloat16"
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else execution.stored)
    keras.config.set_floatx(execution.stored)


def profiled(folder: Path) -> AbstractContextManager[None]:
    """Leave a trace in the folder, which TensorBoard opens."""
    return tf.profiler.experimental.Profile(str(folder))


def unusable(_device: str) -> dict[str, str]:
    """All modes but `eager`, where tf.function runs functions operation by operation."""
    if not tf.function(lambda: tf.constant(tf.executing_eagerly()))():
        return {}
    reason = "tf.function is switched off here: something has called run_functions_eagerly"
    return {mode: reason for mode in TRAINERS if mode != "eager"}
