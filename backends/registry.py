"""The backends as one table: what each of them offers and needs, without importing any framework.

A framework is imported by `load` alone, and only the process that runs it calls that: a framework
may be missing or broken, costs seconds and memory, and sets up threads for the whole process.
"""

import importlib
import json
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import Self

from backends.contract import EPSILON_HAT, PRECISIONS, TEXTBOOK, Execution

IDIOMATIC, TUNED = "idiomatic", "tuned"
RESIDENT, STREAMED = ("resident",), ("streamed",)
FLOOR = "floor"  # the mode of contract.Floor, the least that a step can be; it trains nothing


@dataclass(frozen=True)
class Mode:
    """One way of writing the training in a framework."""

    tier: str  # who writes it so: `idiomatic` (ordinary users) or `tuned` (experts)
    about: str
    source: str = ""  # the page of the framework's documentation that teaches it
    inputs: tuple[str, ...] = RESIDENT + STREAMED
    many_steps: bool = False  # whether `train` works in calls of Execution.steps_per_call steps


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A framework's entry: where its code lies, what it needs, and what it offers."""

    name: str
    title: str
    module: str  # the dotted name of the module that has what contract.py lists
    packages: tuple[str, ...]  # the names that it imports
    distributions: tuple[str, ...]  # names on PyPI, whose versions a run records
    modes: dict[str, Mode]
    devices: tuple[str, ...] = ("cpu", "gpu")
    precisions: tuple[str, ...] = tuple(PRECISIONS)
    adam_forms: tuple[str, ...] = (TEXTBOOK,)  # the forms that its cases can run with
    folder: str = ""  # where `module` is imported from; empty for this checkout

    def steps_per_call(self, execution: Execution) -> int:
        """The number of steps that one call of the framework trains."""
        many_steps = execution.mode == FLOOR or self.modes[execution.mode].many_steps
        return execution.steps_per_call if many_steps else 1

    def to_json(self) -> str:
        """The entry as text, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The entry that `to_json` has written."""
        fields = json.loads(text)
        return cls(**fields | {"modes": {key: Mode(**m) for key, m in fields["modes"].items()}})


ENTRIES = (
    Backend(
        name="pytorch",
        title="PyTorch",
        module="backends.pytorch",
        packages=("torch",),
        distributions=("torch",),
        modes={
            "eager": Mode(
                IDIOMATIC,
                "operation by operation, the loop of PyTorch's tutorial",
                "https://docs.pytorch.org/tutorials/beginner/basics/optimization_tutorial.html",
            ),
            "compiled": Mode(
                IDIOMATIC,
                "model and loss by torch.compile, fused Adam",
                "https://docs.pytorch.org/tutorials/intermediate/torch_compile_tutorial.html",
            ),
            "multistep": Mode(
                TUNED,
                "gather, loss and derivative in one graph; on a GPU many steps in one CUDA graph",
                "https://docs.pytorch.org/docs/stable/notes/cuda.html",
                RESIDENT,
                many_steps=True,
            ),
        },
    ),
    Backend(
        name="tensorflow",
        title="TensorFlow/Keras",
        module="backends.tensorflow",
        packages=("tensorflow", "keras"),
        distributions=("tensorflow", "keras"),
        modes={
            "eager": Mode(
                IDIOMATIC,
                "operation by operation, with a gradient tape",
                "https://keras.io/guides/writing_a_custom_training_loop_in_tensorflow/",
            ),
            "graph": Mode(
                IDIOMATIC, "one step as a tf.function", "https://www.tensorflow.org/guide/function"
            ),
            "compiled": Mode(
                IDIOMATIC,
                "one step as a tf.function with XLA",
                "https://openxla.org/xla/tf2xla/tutorials/jit_compile",
            ),
            "multistep": Mode(
                TUNED,
                "many steps in one XLA program, with the loop inside it",
                "https://www.tensorflow.org/api_docs/python/tf/while_loop",
                RESIDENT,
                many_steps=True,
            ),
            "fit": Mode(
                IDIOMATIC,
                "Keras' own loop, with XLA and several steps an execution",
                "https://keras.io/guides/training_with_built_in_methods/",
                STREAMED,  # Keras' loop takes its batches from tf.data, which runs on the host.
                many_steps=True,
            ),
        },
        adam_forms=(TEXTBOOK, EPSILON_HAT),
    ),
    Backend(
        name="jax",
        title="JAX/Flax",
        module="backends.jax",
        packages=("jax", "flax", "optax"),
        distributions=("jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax"),
        modes={
            "eager": Mode(
                IDIOMATIC,
                "operation by operation, each dispatched to XLA by itself",
                "https://flax.readthedocs.io/en/latest/mnist_tutorial.html",
            ),
            "compiled": Mode(
                IDIOMATIC,
                "one step under jax.jit, its state donated",
                "https://docs.jax.dev/en/latest/jit-compilation.html",
            ),
            "multistep": Mode(
                TUNED,
                "many steps in one program, by jax.lax.scan",
                "https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html",
                RESIDENT,
                many_steps=True,
            ),
        },
    ),
    Backend(
        name="numpy",
        title="NumPy",
        module="backends.numpy",
        packages=("numpy",),
        distributions=("numpy",),
        # The host is the device: there is nothing to stream to.
        modes={
            "eager": Mode(IDIOMATIC, "written out by hand, one BLAS call a product", "", RESIDENT)
        },
        devices=("cpu",),
        # It computes TF32 and bfloat16 in float32: of use as a reference, not to be timed.
        precisions=("float64", "float32"),
    ),
)

BACKENDS = {entry.name: entry for entry in ENTRIES}


def mode_names() -> tuple[str, ...]:
    """Every mode of any backend, once."""
    return tuple(dict.fromkeys(mode for entry in BACKENDS.values() for mode in entry.modes))


def title_of(backend: str) -> str:
    """A backend's title; its name where the registry does not have it, as in old bundles."""
    return BACKENDS[backend].title if backend in BACKENDS else backend


def tier_of(backend: str, mode: str) -> str:
    """The tier of a backend's mode; empty where the registry does not have it."""
    entry = BACKENDS.get(backend)
    return entry.modes[mode].tier if entry and mode in entry.modes else ""


def missing_packages(backend: Backend) -> list[str]:
    """The packages of a backend that are not installed; nothing is imported to tell."""
    return [package for package in backend.packages if find_spec(package) is None]


def load(backend: Backend) -> ModuleType:
    """Import a backend and, with it, its framework; raises whatever that import raises."""
    if backend.folder and backend.folder not in sys.path:
        sys.path.insert(0, backend.folder)
    return importlib.import_module(backend.module)
