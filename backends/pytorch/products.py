"""Which library computes each matrix product of a step, chosen by measuring them on this machine.

Which one is fastest depends on the processor, on the sizes, and on how operands lie in memory.
A product's library also says how its result lies: by rows, or, where its operands are exchanged
(Cᵀ = Bᵀ Aᵀ), by columns. So products cannot be chosen one by one: what is best for one may lie
badly for the next.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product as combinations
from random import Random
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from backends.contract import Network, product_names

Multiply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""The product (m, n) of `a` (m, k) and `b` (k, n): in `out` where the library can, and one is given;
otherwise in memory of its own."""
Choice = dict[str, str]
"""The name of a library for each product of `product_names`."""

SECONDS, ROUNDS = 0.5, 15
"""A choice takes this time, or so many rounds if they take less; the first round at least."""
EXCHANGED = "-exchanged"
"""The end of a library's name where operands are exchanged, and the result lies by columns."""


def by_blas(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The product by PyTorch's BLAS: MKL in its builds for x86."""
    return torch.mm(a, b, out=out)


def by_convolution(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The product as a 1×1 convolution, the documented way to oneDNN; rows of `a` are images."""
    return F.conv2d(a[:, :, None, None], b.T[:, :, None, None])[:, :, 0, 0]


def by_onednn(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The product by oneDNN, through a private function of PyTorch's compiler."""
    return torch.ops.mkldnn._linear_pointwise(a, b.T, None, "none", [], "")


BLAS = "mkl" if torch.backends.mkl.is_available() else "blas"
PUBLIC: dict[str, Multiply] = {BLAS: by_blas}
if torch.backends.mkldnn.is_available():
    PUBLIC["onednn-convolution"] = by_convolution
PRIVATE = dict(PUBLIC)
if torch.backends.mkldnn.is_available():
    PRIVATE["onednn"] = by_onednn


def names_of(libraries: Mapping[str, Multiply]) -> list[str]:
    """The names that a product may be given: each library, with its operands as they lie or not."""
    return [name + end for name in libraries for end in ("", EXCHANGED)]


def function_of(name: str, libraries: Mapping[str, Multiply]) -> Multiply:
    """The function of a name of `names_of`."""
    multiply = libraries[name.removesuffix(EXCHANGED)]
    if not name.endswith(EXCHANGED):
        return multiply

    def exchanged(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        return multiply(b.T, a.T, None if out is None else out.T).T

    return exchanged


def empty(rows: int, columns: int, by_columns: bool, like: Tensor) -> Tensor:
    """A matrix (rows, columns) that lies by rows or by columns, of the type and device of `like`."""
    return like.new_empty(columns, rows).T if by_columns else like.new_empty(rows, columns)


def check(choice: Mapping[str, str], network: Network, libraries: Mapping[str, Multiply]) -> None:
    """Raise ValueError where a choice names a library or a product that there is not, or misses one."""
    offered = names_of(libraries)
    for name in choice.values():
        if name not in offered:
            raise ValueError(f"no library for products is called {name!r}: {', '.join(offered)}")
    if set(choice) != set(product_names(network)):
        names = ", ".join(product_names(network))
        raise ValueError(f"a library is needed for each of these products, and no others: {names}")


def write(multiply: Multiply, a: Tensor, b: Tensor, out: Tensor) -> None:
    """Compute a product into `out`, through a copy where the library cannot."""
    result = multiply(a, b, out)
    if result.data_ptr() != out.data_ptr():
        out.copy_(result)


class Product(NamedTuple):
    """A product of a step."""

    name: str
    inputs: int  # of its layer
    outputs: int
    operands: tuple[str, ...]
    """The products whose results are its operands; empty for the images, which lie by rows."""

    @property
    def ways(self) -> Iterator[tuple[bool, ...]]:
        """Each way that its operands may lie: whether by columns."""
        return combinations(*((False, True) if name else (False,) for name in self.operands))

    def factors(self, batch_size: int, ways: tuple[bool, ...], like: Tensor) -> tuple[Tensor, ...]:
        """Its operands, as a step has them, filled with random numbers."""
        kind, m, n = self.name.split()[0], self.inputs, self.outputs
        widths = {"forward": (m,), "inputs": (n,), "weights": (n, m)}[kind]
        results = [
            empty(batch_size, width, by_columns, like).normal_()
            for width, by_columns in zip(widths, ways, strict=True)
        ]
        if kind == "weights":
            return results[0].T, results[1]
        weight = empty(n, m, False, like).normal_()
        return results[0], weight.T if kind == "forward" else weight


def step_products(network: Network) -> list[Product]:
    """The products of a step, as limit.py writes it."""
    sizes = network.layer_sizes

    def output(layer: int) -> str:
        return f"forward {layer}" if layer else ""

    def delta(layer: int) -> str:
        # The derivative by the logits is computed where they lie.
        return f"inputs {layer + 1}" if layer < len(sizes) - 1 else output(layer)

    products = []
    for name in product_names(network):
        kind, layer = name.split()[0], int(name.split()[1])
        operands = {
            "forward": (output(layer - 1),),
            "inputs": (delta(layer),),
            "weights": (delta(layer), output(layer - 1)),
        }[kind]
        products.append(Product(name, sizes[layer - 1], sizes[layer], operands))
    return products


def choose(
    network: Network,
    batch_size: int,
    libraries: Mapping[str, Multiply],
    like: Tensor,
    clock: Callable[[], float] = perf_counter,
) -> Choice:
    """The fastest library of each product, for tensors of the type and device of `like`.

    The ways that results lie are changed one at a time for as long as the sum of the products'
    times gets less, starting from all by rows and from all by columns.
    """
    products = step_products(network)
    seconds = measure(products, batch_size, libraries, like, clock)
    # A weight's gradient lies as the weight does.
    free = frozenset(p.name for p in products if not p.name.startswith("weights"))

    def fastest(by_columns: frozenset[str]) -> tuple[float, Choice]:
        """The least sum of times where these results lie by columns, and the libraries."""
        total, choice = 0.0, {}
        for product in products:
            ways = tuple(operand in by_columns for operand in product.operands)
            best, choice[product.name] = min(
                (seconds[product.name, ways, name], name)
                for name in names_of(libraries)
                if product.name not in free
                or name.endswith(EXCHANGED) == (product.name in by_columns)
            )
            total += best
        return total, choice

    def descend(by_columns: frozenset[str]) -> tuple[float, Choice]:
        while True:
            found = fastest(by_columns)
            better = min(
                (by_columns ^ {name} for name in sorted(free)), key=lambda s: fastest(s)[0]
            )
            if fastest(better)[0] >= found[0]:
                return found
            by_columns = better

    return min(descend(frozenset()), descend(free), key=lambda found: found[0])[1]


def measure(
    products: list[Product],
    batch_size: int,
    libraries: Mapping[str, Multiply],
    like: Tensor,
    clock: Callable[[], float],
) -> dict[tuple[str, tuple[bool, ...], str], float]:
    """The median seconds of each product by how its operands lie and by library, timed by turns."""
    calls: dict[tuple[str, tuple[bool, ...], str], Callable[[], object]] = {}
    for product in products:
        for ways in product.ways:
            a, b = product.factors(batch_size, ways, like)
            for name in names_of(libraries):
                multiply = function_of(name, libraries)
                if product.name.startswith("weights"):
                    out = empty(len(a), b.shape[1], False, like)
                    calls[product.name, ways, name] = partial(write, multiply, a, b, out)
                else:
                    out = empty(len(a), b.shape[1], name.endswith(EXCHANGED), like)
                    calls[product.name, ways, name] = partial(multiply, a, b, out)
    seconds: dict[tuple[str, tuple[bool, ...], str], list[float]] = {key: [] for key in calls}
    turns, shuffle, end = list(calls), Random(0).shuffle, clock() + SECONDS
    with torch.no_grad():
        for _ in range(ROUNDS + 1):
            shuffle(turns)
            for key in turns:
                calls[key]()  # Brings its operands into the caches.
                start = clock()
                calls[key]()
                seconds[key].append(clock() - start)
            if clock() > end:
                break
    # Libraries prepare themselves in the first round.
    return {key: median(times[1:] or times) for key, times in seconds.items()}
