"""What a backend is given and what it must provide.

Values travel as frozen dataclasses and NumPy arrays, so that nothing of a framework leaks out of
its backend. A backend module has, in this order:

    versions()          the packages it runs on, by name
    configure()         process-wide settings, made before anything is built; made again with
                        another precision where one process trains in two
    profiled(folder)    a context in which the framework's own profiler runs, and leaves its trace
                        in the folder; None where there is none
    TRAINERS            the modes it offers: {mode: Trainer subclass}
    Floor               what no step can be faster than, in this framework
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = list[tuple[Array, Array]]
"""One (weight, bias) a layer, input side first; weight (inputs, outputs), bias (outputs,)."""


TEXTBOOK, EPSILON_HAT = "textbook", "epsilon-hat"
"""The forms of Adam; see there."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """In what numbers a network is trained."""

    stored: str
    """The type of images, parameters and Adam's moments."""
    bits: int
    """Of the significand behind the point, that the factors of a matrix product have."""


PRECISIONS = {
    "float64": Precision(stored="float64", bits=52),
    "float32": Precision(stored="float32", bits=23),
    # Products alone, and on GPUs: float32 cut to 10 bits on its way in.
    "tf32": Precision(stored="float32", bits=10),
    # Mixed: activations and products in bfloat16; parameters, loss and Adam in float32.
    "bfloat16": Precision(stored="float32", bits=7),
}


class NotKeptError(Exception):
    """A mode does not keep the figure that was asked for; the message says why."""


FETCHES_ITSELF = "the program that trains fetches its batches itself"
"""Why a mode cannot `fetch` alone."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A dense network: ReLU between its layers, logits out."""

    layer_sizes: tuple[int, ...]

    @property
    def parameter_count(self) -> int:
        """Weights and biases together."""
        return sum((m + 1) * n for m, n in pairwise(self.layer_sizes))

    def step_flops(self, batch_size: int) -> float:
        """Floating-point operations of one training step's matrix products.

        Two for each weight and image forward, as many for the weight's gradient, and again for the
        gradient of a layer's inputs, which the first layer does not need.
        """
        first, *others = (m * n for m, n in pairwise(self.layer_sizes))
        return 2.0 * batch_size * (2 * first + 3 * sum(others))


@dataclass(frozen=True, kw_only=True)
class Adam:
    """The optimizer, in one of two forms that differ in where epsilon is added.

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        p ← p − α m̂ / (√v̂ + ε)      t counts from 1

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, Algorithm 1: the form
    `textbook`, which every backend has. The form `epsilon-hat` is the one at the end of the paper's
    section 2, which Keras has as its own, α √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε): the same but for
    an epsilon √(1 − β₂ᵗ) times as small. Only `tensorflow` and the reference have that one.
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    form: str = TEXTBOOK


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a backend is asked to execute; a trainer says in `describe()` what it really did."""

    mode: str
    input: str = "resident"
    precision: str = "float32"
    device: str = "cpu"
    threads: int = 1
    steps_per_call: int = 50

    @property
    def stored(self) -> str:
        """The type of images, parameters and Adam's moments."""
        return PRECISIONS[self.precision].stored

    def check_device(self, found: str) -> None:
        """Raise RuntimeError where results lie on another device than was asked for."""
        if found != self.device:
            raise RuntimeError(f"asked for the {self.device}, but results lie on the {found}")


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Images (n, pixels) in the type that parameters have, labels (n,) of int32."""

    images: Array = field(repr=False)
    labels: Array = field(repr=False)


class Trainer(ABC):
    """One live training run: its parameters, its optimizer's state and its data.

    Everything that may be done once is done in the constructor; `train` holds the training loop
    and nothing else.
    """

    @abstractmethod
    def __init__(
        self,
        network: Network,
        adam: Adam,
        execution: Execution,
        training_set: TrainingSet,
        parameters: Parameters,
    ) -> None:
        """Build everything, with a copy of `parameters` to start from."""

    @abstractmethod
    def reset(self, parameters: Parameters) -> None:
        """Start again from `parameters`, Adam's moments and step count at zero."""

    @abstractmethod
    def train(self, rows: Array) -> None:
        """Train one step for each line of `rows`, and return as soon as the framework does.

        `rows` is (steps, batch_size) of int32: the rows of the training set in each batch.
        """

    @abstractmethod
    def fetch(self, rows: Array) -> None:
        """Fetch the batches of `rows` as `train` does, and train on none of them.

        Raises NotKeptError where the program that trains fetches them itself.
        """

    @abstractmethod
    def synchronise(self) -> None:
        """Return only when the device has finished all that was asked of it."""

    @abstractmethod
    def losses(self) -> Array:
        """The loss of each step of the framework's last call, (steps,), before its update.

        Raises NotKeptError where a mode keeps less than that.
        """

    @abstractmethod
    def parameters(self) -> Parameters:
        """The current parameters."""

    @abstractmethod
    def first_moments(self) -> Parameters:
        """Adam's first moments m after at least one step, laid out as parameters.

        One step after a reset they are (1 − β₁) times that step's gradient: so the gradient inside
        any compiled program can be read, from the very program that trains.
        """

    @abstractmethod
    def logits(self, images: Array) -> Array:
        """The network's outputs (n, classes) for `images` (n, pixels)."""

    @abstractmethod
    def product(self, a: Array, b: Array) -> Array:
        """The matrix product of `a` and `b`, taken as the network's layers take theirs."""

    @abstractmethod
    def weight_address(self) -> int | None:
        """Where the first weight lies in memory now; None where that cannot be read."""

    @abstractmethod
    def peak_device_bytes(self) -> int | None:
        """The most memory that the framework has had in use on a GPU, in this process.

        By the framework's own count, which leaves out what it keeps for later, and what CUDA and
        its libraries take for themselves. None where it does not count: on a CPU.
        """

    @abstractmethod
    def compilations(self) -> int:
        """How many programs the framework has traced or compiled to train; 0 where it does not."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """What is really used, read back from the live framework.

        Holds at least `device` ("cpu" or "gpu", of a result's own memory), `device_name`,
        `precision` (of the parameters), `threads` (as asked, where a framework does not tell),
        `compiler`, `steps_per_call`, `input`, `optimizer` and `epsilon`.
        """


class Floor(ABC):
    """The least that a training step can be: its matrix products, and one pass over Adam's arrays.

    A step of a network without biases, ReLU and loss: the products forward, those backward for each
    weight and for the inputs of every layer but the first, and one pass that reads weight, moments
    and gradient and writes weight and moments. Each step works on the last one's results, so no
    compiler can leave one out. Everything is computed by the framework's fastest means, in buffers
    that are kept.
    """

    @abstractmethod
    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        """Build everything, from small random numbers."""

    @abstractmethod
    def train(self, rows: Array) -> None:
        """Take as many steps as `rows` has lines; what is in it is not looked at."""

    @abstractmethod
    def synchronise(self) -> None:
        """Return only when the device has finished all that was asked of it."""

    @abstractmethod
    def square(self, size: int) -> Any:
        """A matrix (size, size) as the framework holds it."""

    @abstractmethod
    def multiply(self, matrix: Any) -> None:
        """Take the product of a `square` matrix with itself."""

    @abstractmethod
    def arrays(self) -> list[list[Array]]:
        """The weights, the first and the second moments as they are now, each by layer."""

    @abstractmethod
    def device(self) -> str:
        """The device that the results lie on: "cpu" or "gpu"."""


PASS_DECAY = 0.5
PASS_RATE = 1e-9
"""Of the pass of a floor: m ← (m + g) / 2, v ← (v + g) / 2, w ← w − 1e-9 · m. The arithmetic hardly
counts beside the memory; the rate is so small that the numbers stay as they are."""


def floor_arrays(
    network: Network, batch_size: int, dtype: str
) -> tuple[Array, list[Array], list[Array], list[Array]]:
    """Images (batch_size, pixels), and for each layer a weight and two moments, as it has them."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(batch_size, network.layer_sizes[0])).astype(dtype)
    weights = [
        (generator.normal(size=shape) / shape[0] ** 0.5).astype(dtype)
        for shape in pairwise(network.layer_sizes)
    ]
    return images, weights, [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]


def calls(rows: Array, steps_per_call: int) -> Iterator[Array]:
    """Cut `rows` (steps, batch_size) into the calls of a mode that trains many steps a call."""
    for start in range(0, len(rows), steps_per_call):
        yield rows[start : start + steps_per_call]
