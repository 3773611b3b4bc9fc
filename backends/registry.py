"""The backends, as a literal table: what can be asked of each without importing any framework.

A framework is imported by `load` alone, and only the process that runs it calls that: a framework
may be missing or broken, costs seconds and memory, and sets up threads for the whole process.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

from backends.contract import PRECISIONS, Execution

BOTH = ("resident", "streamed")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A framework's entry: where its code is, what it needs, and what it offers."""

    name: str
    title: str
    module: str
    packages: tuple[str, ...]
    modes: dict[str, tuple[str, ...]]
    """The inputs that each mode can take: {mode: inputs}."""
    devices: tuple[str, ...] = ("cpu", "gpu")
    precisions: tuple[str, ...] = tuple(PRECISIONS)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            name="pytorch",
            title="PyTorch",
            module="backends.pytorch.idiomatic",
            packages=("torch",),
            modes={"eager": BOTH, "compiled": BOTH, "multistep": ("resident",)},
        ),
        Backend(
            name="tensorflow",
            title="TensorFlow/Keras",
            module="backends.tensorflow.idiomatic",
            packages=("tensorflow", "keras"),
            modes={
                "eager": BOTH,
                "graph": BOTH,
                "compiled": BOTH,
                "multistep": ("resident",),
                # Keras' loop takes its batches from tf.data, which runs on the host.
                "fit": ("streamed",),
            },
        ),
        Backend(
            name="jax",
            title="JAX/Flax",
            module="backends.jax.idiomatic",
            packages=("jax", "flax", "optax"),
            modes={"eager": BOTH, "compiled": BOTH, "multistep": ("resident",)},
        ),
        Backend(
            name="numpy",
            title="NumPy",
            module="backends.numpy.idiomatic",
            packages=("numpy",),
            # The host is the device: there is nothing to stream to.
            modes={"eager": ("resident",)},
            devices=("cpu",),
            # It computes the others in float32: of use as a reference, not to be timed.
            precisions=("float64", "float32"),
        ),
    )
}

MODES = ("eager", "graph", "compiled", "multistep", "fit")

FLOOR = "floor"
"""Not a mode that trains: what no step can be faster than. See contract.Floor."""

MANY_STEPS_A_CALL = ("multistep", "fit", FLOOR)

TIERS = {
    "eager": "idiomatic",
    "graph": "idiomatic",
    "compiled": "idiomatic",
    "fit": "idiomatic",
    "multistep": "tuned",
}


def steps_per_call(execution: Execution) -> int:
    """The steps that one call of the framework trains."""
    return execution.steps_per_call if execution.mode in MANY_STEPS_A_CALL else 1


def missing_packages(name: str) -> list[str]:
    """The packages of a backend that are not installed; nothing is imported to find out."""
    return [package for package in BACKENDS[name].packages if find_spec(package) is None]


def load(name: str) -> ModuleType:
    """Import a backend and, with it, its framework; raises whatever that import raises."""
    return importlib.import_module(BACKENDS[name].module)
