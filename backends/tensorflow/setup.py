"""What holds for the whole process: versions, settings, the profiler; and the types of a case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from backends.contract import Execution


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


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Leave a trace in the folder, which TensorBoard opens."""
    with tf.profiler.experimental.Profile(str(folder)):
        yield


def product_type(execution: Execution) -> tf.DType:
    """The type of the factors of a matrix product; TF32 has no type of its own."""
    return tf.as_dtype("bfloat16" if execution.precision == "bfloat16" else execution.stored)


def device_of(tensor: tf.Tensor) -> str:
    """The device whose memory holds a tensor: "cpu" or "gpu"."""
    return "gpu" if "GPU" in tensor.device else "cpu"
