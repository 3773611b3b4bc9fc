"""What a backend's floor must provide: the least that a training step can be in a framework.

The pieces of such a step, and how they are timed one by one, are the same in all backends: they
stand here too.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from backends.contract import (
    Array,
    Execution,
    Network,
    NotKeptError,
    Program,
    Timed,
    Training,
    product_names,
)

FLOOR_VERSION = 4
"""What a floor's step consists of. 1 had no gather, and instead of Adam a simpler pass; in 2, XLA's
weights all lay as (outputs, inputs); in 3, PyTorch's products alone, and not their sequence, said
how results lie."""
FLOOR_RATE = 1e-9
"""Adam's learning rate in a floor, so small that the weights hardly change: without a loss they
would shrink to nothing."""
ADAM, GATHER = "adam", "gather"
"""The pieces of a floor's step besides the matrix products of `product_names`."""
EXCHANGED = "-exchanged"
"""Ends the name of a library that computes (Bᵀ Aᵀ)ᵀ for A B: its result lies by columns."""


class Floor(Timed):
    """The least that a training step can be: batch, matrix products and Adam's pass in a row.

    This is a step of a network without biases, ReLU and loss: the rows of the batch gathered from a
    training set that lies on the device, the products of the forward pass, the backward products
    for each weight and for the inputs of every layer but the first, and one pass of Adam over all
    weights. The last layer's outputs stand for its gradient. Each step works on the results of the
    step before, so no compiler can leave one out. Everything is computed in the fastest way that
    the framework has, in buffers that are kept.
    """

    @abstractmethod
    def __init__(self, training: Training, batch_size: int, execution: Execution) -> None:
        """Build everything, and start from the training's initial weights.

        Where the framework has several libraries for a product, `execution.products` says which;
        where that is empty, the fastest are found by measurement.
        """

    @abstractmethod
    def train(self, rows: Array) -> None:
        """Take a step for each line of `rows` (steps, batch_size), and return as `Timed` says."""

    @abstractmethod
    def square(self, size: int) -> Any:
        """A matrix (size, size) of the framework's own type."""

    @abstractmethod
    def multiply(self, matrix: Any) -> None:
        """Multiply a `square` matrix by itself."""

    repeats: int
    """How often a piece is repeated in a row: REPEATS of the device."""

    @abstractmethod
    def update(self) -> None:
        """Make Adam's pass alone `repeats` times, with some gradients, and return as `train`."""

    @abstractmethod
    def pieces(self) -> list["Piece"]:
        """Time every piece of a step alone, by each library that the framework can call."""

    @abstractmethod
    def arrays(self) -> list[list[Array]]:
        """The weights (inputs, outputs), first and second moments, each a list by layer."""

    @abstractmethod
    def labels(self) -> Array:
        """The labels (batch_size,) that the last step has gathered."""

    @abstractmethod
    def device(self) -> str:
        """The device whose memory holds the results: "cpu" or "gpu"."""

    def program(self, rows: Array) -> Program:
        """The compiled program of one call of `rows`, as `Trainer.program` gives it."""
        raise NotKeptError("no compiled program that can be read")


class Factor(NamedTuple):
    """A factor of a product: one of the matrices of `shapes`, or its transpose."""

    matrix: str
    transposed: bool = False


class Product(NamedTuple):
    """A matrix product of a floor's step, by its name in `product_names`."""

    name: str
    left: Factor
    right: Factor
    result: str


def products(network: Network, inputs_first: Collection[int] = ()) -> list[Product]:
    """The products of a floor's step, in their order.

    Weights lie as (outputs, inputs), those of the layers `inputs_first` as (inputs, outputs).
    """
    last, found = len(network.layer_sizes) - 1, []
    for name in product_names(network):
        kind, number = name.split()
        layer, turned = int(number), int(number) in inputs_first
        inputs, weight = f"outputs {layer - 1}", f"weight {layer}"
        delta = f"outputs {last}" if layer == last else f"deltas {layer}"
        first, second = (inputs, delta) if turned else (delta, inputs)
        left, right, result = {
            "forward": (Factor(inputs), Factor(weight, not turned), f"outputs {layer}"),
            "weights": (Factor(first, transposed=True), Factor(second), f"gradient {layer}"),
            "inputs": (Factor(delta), Factor(weight, turned), f"deltas {layer - 1}"),
        }[kind]
        found.append(Product(name, left, right, result))
    return found


def shapes(network: Network, batch_size: int) -> dict[str, tuple[int, int]]:
    """The matrices of a step besides weights and gradients; "outputs 0" is the batch."""
    sizes = network.layer_sizes
    found = {f"outputs {n}": (batch_size, size) for n, size in enumerate(sizes)}
    return found | {f"deltas {n}": (batch_size, sizes[n]) for n in range(1, len(sizes) - 1)}


def weight_shapes(network: Network) -> list[tuple[int, int]]:
    """The shape of each weight as it lies: (outputs, inputs)."""
    return [(n, m) for m, n in pairwise(network.layer_sizes)]


class Candidate(NamedTuple):
    """A piece of a step by one library."""

    piece: str
    library: str
    repeat: Callable[[], object]
    """Does the piece REPEATS times, by the device; may return before that has finished."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a piece of a step takes alone by one library."""

    piece: str
    """One of `product_names`, ADAM or GATHER."""
    library: str
    seconds: float
    chosen: bool = False
    """Whether the floor's step uses this library."""


REPEATS = {"cpu": 10, "gpu": 200}
"""Repetitions of a piece in a row, which keeps its data in the caches. On a GPU so many that what
launching and waiting for them takes once does not count."""
LEAST_ROUNDS, MOST_ROUNDS, TIMING_SECONDS = 3, 25, 0.8
"""Candidates are timed for so long in all, in at least and at most so many rounds."""
HOPELESS = 2.0
"""A candidate is timed no more once it took so many times as long as the fastest of its piece."""


def time_candidates(
    candidates: Collection[Candidate],
    synchronise: Callable[[], None],
    repeats: int,
    clock: Callable[[], float] = perf_counter,
) -> list[Piece]:
    """Time each candidate, which repeats its piece, in turn, in rounds; their median counts."""
    for candidate in candidates:  # compiles, and wakes the threads
        candidate.repeat()
    synchronise()
    times: dict[Candidate, list[float]] = {candidate: [] for candidate in candidates}
    least: dict[str, float] = {}
    began, rounds = clock(), 0
    while rounds < LEAST_ROUNDS or (rounds < MOST_ROUNDS and clock() - began < TIMING_SECONDS):
        for candidate, seconds in times.items():
            name = candidate.piece
            if seconds and min(seconds) > HOPELESS * least[name]:
                continue
            start = clock()
            candidate.repeat()
            synchronise()
            seconds.append((clock() - start) / repeats)
            least[name] = min(seconds[-1], least.get(name, seconds[-1]))
        rounds += 1
    return [
        Piece(piece=candidate.piece, library=candidate.library, seconds=median(seconds))
        for candidate, seconds in times.items()
    ]


def fastest(pieces: Iterable[Piece]) -> dict[str, Piece]:
    """Of each piece the fastest."""
    found: dict[str, Piece] = {}
    for piece in pieces:
        if piece.piece not in found or piece.seconds < found[piece.piece].seconds:
            found[piece.piece] = piece
    return found


def choose_alike(pieces: Collection[Piece], end: str = EXCHANGED) -> dict[str, str]:
    """The library of each product: all names end in `end`, or none does, whichever is faster.

    How fast a product is depends on how its operands lie, which the products before it decide.
    """
    choices = []
    for ends in (False, True):
        best = fastest(p for p in pieces if p.library.endswith(end) == ends)
        if best:
            total = sum(piece.seconds for piece in best.values())
            choices.append((total, {name: piece.library for name, piece in best.items()}))
    return min(choices, key=lambda choice: choice[0])[1]


def marked(pieces: Iterable[Piece], libraries: Mapping[str, str]) -> list[Piece]:
    """The pieces, those marked as chosen whose library a floor's step uses."""
    return [replace(one, chosen=one.library == libraries.get(one.piece)) for one in pieces]


XLA, XLA_TRANSPOSED = "xla", "xla-transposed"
"""XLA's product of factors as they lie, and of one that is first written to memory transposed."""
INPUTS_FIRST = "-inputs-first"
"""Ends the name of XLA's library where the layer's weight lies as (inputs, outputs)."""


def layer_of(product: str) -> int:
    """The number of the layer in a name of `product_names`."""
    return int(product.split()[1])


def layers_inputs_first(libraries: Mapping[str, str]) -> frozenset[int]:
    """The layers whose weights lie as (inputs, outputs) if these libraries multiply."""
    return frozenset(layer_of(n) for n, one in libraries.items() if one.endswith(INPUTS_FIRST))


def turned(matrices: Iterable[Any], inputs_first: Collection[int]) -> list[Any]:
    """Each layer's matrix as it lies from (inputs, outputs), and the other way round."""
    return [m if n in inputs_first else m.T for n, m in enumerate(matrices, start=1)]


def xla_libraries(product: Product) -> tuple[str, ...]:
    """What XLA can make a product by.

    To write a weight transposed is to copy it; that it lies otherwise from the start is cheaper.
    """
    return (XLA, XLA_TRANSPOSED) if product.left.transposed else (XLA,)


def check_xla(libraries: Mapping[str, str], network: Network) -> None:
    """Raise ValueError where XLA has no such libraries for the products of a step."""
    inputs_first = layers_inputs_first(libraries)
    for product in products(network, inputs_first):
        library = libraries.get(product.name, "none")
        turned = layer_of(product.name) in inputs_first
        # What turns no factor is the same product by either.
        offered = [one + INPUTS_FIRST * turned for one in (XLA, XLA_TRANSPOSED)]
        if library not in offered:
            raise ValueError(
                f"products={library}: XLA multiplies {product.name} by {' or '.join(offered)}"
            )


def xla_candidates(
    network: Network,
    batch_size: int,
    make: Callable[[tuple[int, int]], Any],
    repeated: Callable[[str, Product, list[Any]], Callable[[], object]],
) -> list[Candidate]:
    """Each product by each library of XLA, with its layer's weight lying in either way.

    `make` gives a matrix of a shape, and `repeated` what makes a product of its two factors.
    """
    candidates = []
    for end in ("", INPUTS_FIRST):
        layers = range(1, len(network.layer_sizes)) if end else ()
        found = shapes(network, batch_size)
        for layer, shape in enumerate(weight_shapes(network), start=1):
            found[f"weight {layer}"] = shape[::-1] if end else shape
        matrices = {name: make(shape) for name, shape in found.items()}
        for product in products(network, layers):
            factors = [matrices[factor.matrix] for factor in product[1:3]]
            candidates += [
                Candidate(product.name, library + end, repeated(library, product, factors))
                for library in xla_libraries(product)
            ]
    return candidates


def choose_by_layer(pieces: Collection[Piece]) -> dict[str, str]:
    """XLA's library of each product, where a layer's weight lies as is best for all of its own."""
    chosen: dict[str, str] = {}
    for layer in {layer_of(piece.piece) for piece in pieces}:
        of_layer = [piece for piece in pieces if layer_of(piece.piece) == layer]
        chosen |= choose_alike(of_layer, INPUTS_FIRST)
    return {name: chosen[name] for name in fastest(pieces)}
