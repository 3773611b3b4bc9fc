"""What a backend is given and what it must provide.

Frozen dataclasses and NumPy arrays go in and out, so nothing of a framework leaks out of its
backend. The module that the registry names has:

    TRAINERS              the modes it offers: {mode: TrainerMaker}
    GROUP_TRAINERS        those that train in a group of ranks, which share each batch, if any
    Floor                 the least that a step can be in this framework: a subclass of floors.Floor
    versions()            the versions of the packages it runs on: {package: version}
    configure(execution)  makes the process-wide settings, before anything is built; called again
                          with another precision where one process trains in two
    profiled(folder)      a context manager that runs the framework's own profiler and leaves its
                          trace in the folder; None where the framework has none
    unusable(device)      the modes that cannot run in this process and why, found by trying what
                          they need: {mode: reason}; may be left out where a backend that computes
                          can run all its modes
    join(execution, addresses)    enters the group of the ranks at these addresses: HOST:PORT
    reduction(execution, count)   makes a function that sums up `count` numbers over all ranks
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = list[tuple[Array, Array]]
"""One (weight, bias) a layer, input side first; weight (inputs, outputs), bias (outputs,)."""


def arrays_of(layers: Parameters) -> list[Array]:
    """The weights and biases in turns, input side first."""
    return [array for layer in layers for array in layer]


TEXTBOOK, EPSILON_HAT = "textbook", "epsilon-hat"  # forms of Adam, which the class Adam defines


class State(NamedTuple):
    """All that a training step changes, and so all that a training can be taken up from."""

    parameters: Parameters
    first_moments: Parameters
    second_moments: Parameters
    steps: int
    """How many steps Adam has counted."""

    @classmethod
    def starting_from(cls, parameters: Parameters) -> "State":
        """The state before the first step: Adam's moments and step count at zero."""
        nothing = [(np.zeros_like(weight), np.zeros_like(bias)) for weight, bias in parameters]
        return cls(parameters, nothing, nothing, 0)

    def layers_as(self, change: Callable[[Parameters], Parameters]) -> "State":
        """The state with parameters and both moments changed alike."""
        kinds = self.parameters, self.first_moments, self.second_moments
        parameters, first_moments, second_moments = map(change, kinds)
        return State(parameters, first_moments, second_moments, self.steps)


class Precision(NamedTuple):
    """The number formats that a network is trained in."""

    stored: str  # the type of images, parameters and Adam's moments
    bits: int  # stored significand bits of a matrix product's factors


PRECISIONS = {
    "float64": Precision("float64", 52),
    "float32": Precision("float32", 23),
    # On GPUs, and in matrix products alone: the hardware cuts float32 factors to 10 bits.
    "tf32": Precision("float32", 10),
    # Mixed: activations and products in bfloat16; parameters, loss and Adam in float32.
    "bfloat16": Precision("float32", 7),
}


class NotKeptError(Exception):
    """A mode does not keep the requested figure; the message says why."""


FETCHES_ITSELF = "the program that trains fetches its batches itself"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A dense network: ReLU between its layers, logits out."""

    layer_sizes: tuple[int, ...]

    @property
    def parameter_count(self) -> int:
        """The number of weights and biases together."""
        return sum((m + 1) * n for m, n in pairwise(self.layer_sizes))

    def step_flops(self, batch_size: int) -> float:
        """Floating-point operations of one training step's matrix products.

        Each weight costs two per image in the forward pass, two for its gradient, and two for the
        gradient of its layer's inputs, which the first layer does not need.
        """
        first, *others = (m * n for m, n in pairwise(self.layer_sizes))
        return 2.0 * batch_size * (2 * first + 3 * sum(others))


def product_names(network: Network) -> list[str]:
    """The matrix products of a training step, in their order, as in "weights 2".

    "forward" gives a layer's outputs, "weights" and "inputs" the gradients of its weights and of
    its inputs, which the first layer does not need.
    """
    layers = range(1, len(network.layer_sizes))
    backward = [[f"weights {n}", *([f"inputs {n}"] if n > 1 else [])] for n in reversed(layers)]
    return [*(f"forward {n}" for n in layers), *(name for names in backward for name in names)]


@dataclass(frozen=True, kw_only=True)
class Adam:
    """The optimizer, in one of two forms, which differ in where epsilon is added.

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        p ← p − α m̂ / (√v̂ + ε)      t counts from 1

    This is the form `textbook`, which every backend has: Kingma and Ba, "Adam: A Method for
    Stochastic Optimization", 2015, Algorithm 1. The form `epsilon-hat`, from the end of the paper's
    section 2, is Keras' own: α √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε). It differs from the textbook
    by a factor of √(1 − β₂ᵗ) on epsilon. Only `tensorflow` and the NumPy reference have it.
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    form: str = TEXTBOOK


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Images (n, pixels) of the type that parameters have, and labels (n,) of int32."""

    images: Array = field(repr=False)
    labels: Array = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained, alike in every backend."""

    network: Network
    adam: Adam
    training_set: TrainingSet
    start: Parameters = field(repr=False)  # the initial parameters, which a trainer copies


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a backend should execute; `Trainer.describe` says what it really did."""

    mode: str
    input: str = "resident"
    precision: str = "float32"
    device: str = "cpu"
    threads: int = 1
    steps_per_call: int = 50  # where the mode's entry in the registry says many_steps
    products: dict[str, str] = field(default_factory=dict)
    """The library of each product of `product_names`; empty where it is chosen by measurement."""
    rank: int = 0  # the number of this process in its group, from 0
    ranks: int = 1  # the processes that train together, each its share of every batch

    def share(self, rows: Array) -> Array:
        """The rank's part of each batch: `rows` (steps, batch_size) cut as evenly as possible."""
        return np.array_split(rows, self.ranks, axis=1)[self.rank]

    @property
    def stored(self) -> str:
        """The type of images, parameters and Adam's moments, by its NumPy name."""
        return PRECISIONS[self.precision].stored

    @property
    def product_type(self) -> str:
        """The type of a matrix product's factors; TF32 has no type of its own."""
        return "bfloat16" if self.precision == "bfloat16" else self.stored

    def check_device(self, actual: str) -> None:
        """Raise RuntimeError where results lie elsewhere."""
        if actual != self.device:
            raise RuntimeError(f"asked for the {self.device}, but results lie on the {actual}")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a trainer really uses, read back from the live framework.

    The texts are compared between cases: say the same thing in the words of the other backends.
    """

    device: str  # the one whose memory holds a result: "cpu" or "gpu"
    device_name: str
    precision: str  # the type of the parameters
    threads: int  # as requested, where a framework does not tell
    compiler: str = "none"
    steps_per_call: int = 1
    input: str
    optimizer: str
    epsilon: float
    adam_form: str = TEXTBOOK
    instructions: str = "as its libraries choose"  # of the CPU, where the framework tells
    products: str = "by the framework's choice"  # the libraries of matrix products, if chosen here


class Program(NamedTuple):
    """A compiled function of the framework, and the arguments of one call of it."""

    function: Any
    arguments: tuple[Any, ...]


class Timed(ABC):
    """What the clock times."""

    @abstractmethod
    def train(self, rows: Array) -> None:
        """Train one step for each line of `rows`, and return as soon as the framework does.

        `rows` is (steps, batch_size) of int32: the rows of the training set in each batch.
        """

    @abstractmethod
    def synchronise(self) -> None:
        """Return only when the device has finished all its work."""

    def cpu_seconds(self) -> float:
        """CPU time of all threads that train, so far."""
        return process_time()

    def products(self) -> dict[str, str]:
        """The library of each product of `product_names`, where there was a choice."""
        return {}

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        """Train on each of `parts`, which are as the rows of `train`, one after another.

        Calls `mark` when a part's last call has returned, and once more when the device has
        finished it; `state` then gives where the part has ended. A loop that cannot be entered
        midway, or makes something at each start, trains all parts in one go instead, and calls
        `mark` from inside.
        """
        for rows in parts:
            self.train(rows)
            mark()
            self.synchronise()
            mark()


class Trainer(Timed):
    """One live training run: its parameters, its optimizer's state and its data.

    Everything that can be done once is done in the constructor; `train` holds the training loop
    and nothing else.
    """

    # Training.

    @abstractmethod
    def __init__(self, training: Training, execution: Execution) -> None:
        """Build everything, and start from a copy of the training's initial parameters."""

    @abstractmethod
    def set_state(self, state: State) -> None:
        """Go on from a copy of `state`, as if it had been reached by training."""

    def reset(self, parameters: Parameters) -> None:
        """Start again from `parameters`, with Adam's moments and step count at zero."""
        self.set_state(State.starting_from(parameters))

    def fetch(self, rows: Array) -> None:
        """Fetch the batches of `rows` (steps, batch_size) as `train` does, without training.

        Raises NotKeptError where the program that trains fetches them itself.
        """
        raise NotKeptError(FETCHES_ITSELF)

    # Read by certificate and ledger; never timed.

    @abstractmethod
    def losses(self) -> Array:
        """The loss of each step of the framework's last call, (steps,), before its update.

        A rank's may be others, whose mean over ranks it is. Raises NotKeptError if a mode keeps
        less than that.
        """

    @abstractmethod
    def state(self) -> State:
        """Copy the present state, bit for bit, in the type that parameters are stored in.

        After one step the first moments are (1 − β₁) times its gradient, so the gradient inside
        any compiled program can be read, from the very program that trains.
        """

    def parameters(self) -> Parameters:
        """Copy the current parameters."""
        return self.state().parameters

    @abstractmethod
    def logits(self, images: Array) -> Array:
        """The network's outputs (n, classes) for `images` (n, pixels)."""

    @abstractmethod
    def product(self, a: Array, b: Array) -> Array:
        """The matrix product (m, n) of `a` (m, k) and `b` (k, n), computed as the layers do."""

    def weight_address(self) -> int | None:
        """The address of the first weight, which tells of updates in place; None if not known."""
        return None

    def peak_device_bytes(self) -> int | None:
        """The most GPU memory in bytes that the framework has counted; None where it does not."""
        return None

    def compilations(self) -> int:
        """How many programs the framework has traced or compiled to train; 0 where it does not."""
        return 0

    def program(self, rows: Array) -> Program:
        """The compiled program that trains one call of `rows`, for tests that read its code.

        `rows` is (batch_size,) where a call trains one step, else (steps, batch_size). Raises
        NotKeptError where a mode has no such program, or none that can be read.
        """
        raise NotKeptError("no compiled program that can be read")

    @abstractmethod
    def describe(self) -> Description:
        """Read back what is really used."""


TrainerMaker = Callable[[Training, Execution], Trainer]
"""A subclass of Trainer, or a function that makes one, and imports what only that mode needs."""


def calls(rows: Array, steps_per_call: int) -> Iterator[Array]:
    """Cut `rows` (steps, batch_size) into parts of at most `steps_per_call` steps."""
    return (rows[start : start + steps_per_call] for start in range(0, len(rows), steps_per_call))
