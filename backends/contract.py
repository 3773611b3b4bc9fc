"""What a backend is given and what it must provide.

Values travel as frozen dataclasses and NumPy arrays, so that nothing of a framework leaks out of
its backend. A backend module has, in this order:

    versions()          the packages it runs on, by name
    device_names()      the devices that it can compute on: "cpu", "gpu"
    configure()         process-wide settings, made before anything is built
    TRAINERS            the modes it offers: {mode: Trainer subclass}
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = list[tuple[Array, Array]]
"""One (weight, bias) a layer, input side first; weight (inputs, outputs), bias (outputs,)."""


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

        Two for each weight and image forward, and twice that backward.
        """
        return 6.0 * batch_size * sum(m * n for m, n in pairwise(self.layer_sizes))


@dataclass(frozen=True, kw_only=True)
class Adam:
    """The optimizer as its paper defines it, with epsilon added to the corrected root.

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        p ← p − α m̂ / (√v̂ + ε)      t counts from 1

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, Algorithm 1.
    """

    learning_rate: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a backend is asked to execute; a trainer says in `describe()` what it really did."""

    mode: str
    input: str = "resident"
    precision: str = "float32"
    device: str = "cpu"
    threads: int = 1
    steps_per_call: int = 50


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Images (n, pixels) in the precision that is trained, labels (n,) of int32."""

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
    def synchronise(self) -> None:
        """Return only when the device has finished all that was asked of it."""

    @abstractmethod
    def loss(self) -> float:
        """The loss of the last step trained, before its update.

        `fit` gives Keras' mean over the last call to `train` instead.
        """

    @abstractmethod
    def parameters(self) -> Parameters:
        """The current parameters."""

    @abstractmethod
    def gradients(self, rows: Array) -> Parameters:
        """The gradient of the loss on one batch, `rows` (batch_size,), laid out as parameters."""

    @abstractmethod
    def logits(self, images: Array) -> Array:
        """The network's outputs (n, classes) for `images` (n, pixels)."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """What is really used, read back from the live framework.

        Holds at least `device` ("cpu" or "gpu", of a result's own memory), `device_name`,
        `precision` (of the parameters), `threads` (as asked, where a framework does not tell),
        `compiler`, `steps_per_call` and `input`.
        """


def calls(rows: Array, steps_per_call: int) -> Iterator[Array]:
    """Cut `rows` (steps, batch_size) into the calls of a mode that trains many steps a call."""
    for start in range(0, len(rows), steps_per_call):
        yield rows[start : start + steps_per_call]
