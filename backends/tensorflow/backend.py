"""TensorFlow and Keras: Keras' own loop, and a gradient tape in functions of TensorFlow.

`ladder.py` says what each mode changes. `keras-fit` and `function` are the quickstarts for
beginners and for experts.
"""

import os
from contextlib import AbstractContextManager
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

from backends.contract import Execution, Trainer
from backends.tensorflow.expert import Compiled, Eager, FitJit, FitXla, Graph, Pipelined
from backends.tensorflow.floor import Floor
from backends.tensorflow.ladder import ASYNCHRONOUS, INTER_OP
from backends.tensorflow.limit import (
    Async,
    Concrete,
    GraphLoop,
    Handwritten,
    HandwrittenPrivate,
    XlaLoop,
)
from backends.tensorflow.ranks import GROUP_TRAINERS, join, reduction
from backends.tensorflow.taught import Fit, Function, TrainOnBatch

__all__ = [
    "GROUP_TRAINERS",
    "TRAINERS",
    "Floor",
    "configure",
    "join",
    "profiled",
    "reduction",
    "unusable",
    "versions",
]

TRAINERS: dict[str, type[Trainer]] = {
    "keras-fit": Fit,
    "keras-fit-jit": FitJit,
    "keras-fit-xla": FitXla,
    "train-on-batch": TrainOnBatch,
    "function": Function,
    "function-pipelined": Pipelined,
    "function-resident": Function,
    "graph": Graph,
    "eager": Eager,
    "graph-loop": GraphLoop,
    "compiled": Compiled,
    "compiled-async": Async,
    "compiled-concrete": Concrete,
    "compiled-one-pool": Concrete,
    "xla-loop": XlaLoop,
    "handwritten": Handwritten,
    "handwritten-private": HandwrittenPrivate,
}


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def configure(execution: Execution) -> None:
    """Set threads, memory and precision; TensorFlow refuses this once it has started."""
    tf.config.threading.set_intra_op_parallelism_threads(execution.threads)
    inter_op = int(os.environ.get(INTER_OP) or execution.threads)
    tf.config.threading.set_inter_op_parallelism_threads(inter_op)
    tf.config.experimental.set_synchronous_execution(execution.mode not in ASYNCHRONOUS)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    # TF32 is on by default on GPUs that have it.
    tf.config.experimental.enable_tensor_float_32_execution(execution.precision == "tf32")


def profiled(folder: Path) -> AbstractContextManager[None]:
    """Leave a trace in the folder, which TensorBoard opens."""
    return tf.profiler.experimental.Profile(str(folder))


def unusable(_device: str) -> dict[str, str]:
    """All modes but `eager`, where tf.function runs functions operation by operation."""
    if not tf.function(lambda: tf.constant(tf.executing_eagerly()))():
        return {}
    reason = "tf.function is switched off here: something has called run_functions_eagerly"
    return {mode: reason for mode in (*TRAINERS, *GROUP_TRAINERS) if mode != "eager"}
