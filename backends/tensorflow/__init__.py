"""TensorFlow and Keras: a `Sequential` model, and Keras' Adam brought back to the textbook.

One training step serves all modes but `fit`: run as it stands (`eager`), as a `tf.function`
(`graph`), with XLA (`compiled`), or in a loop inside one XLA program (`multistep`). `fit` is Keras'
own loop, given what a knowledgeable user gives it.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from backends.contract import Trainer
from backends.tensorflow.floor import Floor
from backends.tensorflow.idiomatic import Compiled, Eager, Fit, Graph
from backends.tensorflow.setup import configure, profiled, versions
from backends.tensorflow.tuned import MultiStep

__all__ = ["TRAINERS", "Floor", "configure", "profiled", "versions"]

TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "graph": Graph,
    "compiled": Compiled,
    "multistep": MultiStep,
    "fit": Fit,
}
