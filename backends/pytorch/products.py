"""Which library computes each matrix product of a step, chosen by measuring them on this machine.

Which is fastest depends on the processor, on the sizes, and on how matrices lie in memory. A
library's name may end in "-exchanged": then it computes Cᵀ = Bᵀ Aᵀ, and the result lies by columns.
On two cores of an AMD EPYC without AVX-512 (Zen 3), MKL's eight products take 0.79 of the time
where all results lie by columns; on another machine of the kind 0.96, a whole step 0.88 to 0.96.
The best of all 256 mixtures was not 1% better than that.
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from statistics import median
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from backends.contract import Network, product_names
from backends.floors import EXCHANGED
from backends.pytorch.model import HAS_ONEDNN, linear_by_onednn

Multiply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""The product (m, n) of `a` (m, k) and `b` (k, n): in `out` where that is given and the library can
write there; otherwise in memory of its own."""
Choice = dict[str, str]
"""The name of a library for each product of `product_names`."""
Key = TypeVar("Key")

SECONDS, ROUNDS = 0.5, 40
"""How long a choice measures: so many rounds, or as many as begin within this time."""
BETTER = 0.98
"""A library replaces the one before it in the table only if it takes less than this share of its
time, so that noise decides nothing."""


def by_blas(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The product by PyTorch's BLAS: MKL in its builds for x86."""
    return torch.mm(a, b, out=out)


def by_convolution(a: Tensor, b: Tensor, _: Tensor | None = None) -> Tensor:
    """The product as a 1×1 convolution, the documented way to oneDNN; rows of `a` are images."""
    return F.conv2d(a[:, :, None, None], b.T[:, :, None, None])[:, :, 0, 0]


def by_onednn(a: Tensor, b: Tensor, _: Tensor | None = None) -> Tensor:
    """The product by oneDNN, through a private function of PyTorch's compiler."""
    return linear_by_onednn(a, b.T)


BLAS = "mkl" if torch.backends.mkl.is_available() else "blas"
CUBLAS = "cublas"
PUBLIC: dict[str, Multiply] = {BLAS: by_blas}
if HAS_ONEDNN:
    PUBLIC["onednn-convolution"] = by_convolution
PRIVATE = PUBLIC | ({"onednn": by_onednn} if HAS_ONEDNN else {})


def blas_on(device: torch.device) -> dict[str, Multiply]:
    """The product by PyTorch's BLAS on a device, under that library's name."""
    return {CUBLAS if device.type == "cuda" else BLAS: by_blas}


def names_of(libraries: Mapping[str, Multiply]) -> list[str]:
    """The names that a product may be given: each library, with its operands exchanged or not."""
    return [name + end for name in libraries for end in ("", EXCHANGED)]


def check(choice: Choice, network: Network, libraries: Mapping[str, Multiply]) -> None:
    """Raise ValueError where a choice names what there is not, or leaves a product out."""
    offered, needed = names_of(libraries), product_names(network)
    for name in choice.values():
        if name not in offered:
            raise ValueError(f"no library is called {name!r}: choose from {', '.join(offered)}")
    if choice and set(choice) != set(needed):
        raise ValueError(f"choose a library for each of these products: {', '.join(needed)}")


def serving(libraries: Mapping[str, Multiply], like: Tensor) -> Mapping[str, Multiply]:
    """The function of each name for tensors like this one.

    Only PyTorch's BLAS has products of every type and on every device; there it stands for all.
    """
    if like.dtype == torch.float32 and not like.is_cuda:
        return libraries
    return dict.fromkeys(libraries, by_blas)


def blas_for(name: str, device: torch.device) -> str:
    """PyTorch's BLAS instead of a library of `names_of`, with operands exchanged as there."""
    (blas,) = blas_on(device)
    return blas + EXCHANGED * name.endswith(EXCHANGED)


def function_of(name: str, libraries: Mapping[str, Multiply]) -> Multiply:
    """The function of a name of `names_of`."""
    multiply = libraries[name.removesuffix(EXCHANGED)]
    # A BLAS exchanges them itself where the result lies by columns.
    if multiply is by_blas or not name.endswith(EXCHANGED):
        return multiply

    def exchanged(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        return multiply(b.T, a.T, None if out is None else out.T).T

    return exchanged


def empty(rows: int, columns: int, name: str, like: Tensor) -> Tensor:
    """Memory for a matrix (rows, columns) that the library `name` computes."""
    if name.endswith(EXCHANGED):
        return like.new_empty(columns, rows).T
    return like.new_empty(rows, columns)


class Memory:
    """What a step by hand writes into, for one batch size; `choice` says how it lies."""

    def __init__(
        self, sizes: tuple[int, ...], batch_size: int, choice: Choice, like: Tensor
    ) -> None:
        def result(name: str, size: int) -> Tensor:
            return empty(batch_size, size, choice[name], like)

        layers = range(1, len(sizes))
        self.shares = torch.empty(0)
        self.ones = like.new_ones(batch_size)
        self.images = like.new_empty(batch_size, sizes[0])
        self.outputs = [result(f"forward {n}", sizes[n]) for n in layers]
        self.deltas = [result(f"inputs {n + 1}", sizes[n]) for n in layers[:-1]]
        self.deltas.append(torch.empty_like(self.outputs[-1]))
        self.signs = [torch.empty_like(output) for output in self.outputs[:-1]]


def writing(multiply: Multiply, converts: bool) -> Callable[[Tensor, Tensor, Tensor], object]:
    """A function that computes a product into its third argument, whose type may be another.

    BLAS alone can write there, in its own type; what others give is copied.
    """
    if multiply is by_blas and not converts:
        return multiply

    def copied(a: Tensor, b: Tensor, out: Tensor) -> object:
        return out.copy_(multiply(a, b, None))

    return copied


def sum_by_blas(a: Tensor, ones: Tensor, out: Tensor) -> None:
    """The sum of the rows of `a` (m, n), as a product with `ones` (m,)."""
    # 1% of a step less than torch.sum (two cores of an Intel Xeon with AVX-512).
    torch.mv(a.T, ones, out=out)


def sum_converted(a: Tensor, _: Tensor, out: Tensor) -> None:
    """The same in the type of `out`, which has more bits than that of `a`."""
    torch.sum(a, 0, dtype=out.dtype, out=out)


def choose(
    network: Network,
    batch_size: int,
    libraries: Mapping[str, Multiply],
    like: Tensor,
    sequence_of: Callable[[Choice], Callable[[], object]],
    clock: Callable[[], float] = perf_counter,
) -> Choice:
    """The fastest library of each product, for tensors of the type and device of `like`.

    Either all have their operands exchanged or none has, so that the results of one library lie
    well for another. Which of the two is faster shows in whole sequences, of which `sequence_of`
    gives a call, since what lies between the products takes longer on one of them.
    """
    served = serving(libraries, like)
    libraries = {name: f for name, f in libraries.items() if served[name] is f}
    products = product_names(network)
    seconds = measure(
        {
            (product, name): call_of(product, name, network, batch_size, libraries, like)
            for product in products
            for name in names_of(libraries)
        },
        clock,
    )
    choices: dict[str, Choice] = {}
    for end in ("", EXCHANGED):
        names = [name + end for name in libraries]
        choices[end] = {
            product: first_of_fastest({name: seconds[product, name] for name in names})
            for product in products
        }
    sequences = {end: sequence_of(choice) for end, choice in choices.items()}
    return choices[first_of_fastest(measure(sequences, clock))]


def first_of_fastest(seconds: Mapping[str, float]) -> str:
    """The first name, or a later one that is BETTER than the best before it."""
    best, *others = seconds
    for name in others:
        if seconds[name] < BETTER * seconds[best]:
            best = name
    return best


@torch.no_grad()
def measure(
    calls: Mapping[Key, Callable[[], object]], clock: Callable[[], float]
) -> dict[Key, float]:
    """The median seconds of each call, timed by turns."""
    seconds: dict[Key, list[float]] = {key: [] for key in calls}
    turns, shuffle, end = list(calls), Random(0).shuffle, clock() + SECONDS
    for _ in range(ROUNDS):
        shuffle(turns)
        for key in turns:
            calls[key]()  # Brings its operands into the caches.
            start = clock()
            calls[key]()
            seconds[key].append(clock() - start)
        if clock() > end:
            break
    return {key: median(times) for key, times in seconds.items()}


def call_of(
    product: str,
    name: str,
    network: Network,
    batch_size: int,
    libraries: Mapping[str, Multiply],
    like: Tensor,
) -> Callable[[], object]:
    """A call that computes a product by the library `name`, as a step in limit.py does."""
    kind, layer = product.split()[0], int(product.split()[1])
    inputs, outputs = network.layer_sizes[layer - 1 : layer + 1]

    def stored(size: int) -> Tensor:
        return empty(batch_size, size, name, like).normal_()

    multiply, weight = function_of(name, libraries), like.new_empty(outputs, inputs).normal_()
    images = like.new_empty(batch_size, inputs).normal_()
    x = images if layer == 1 else stored(inputs)
    if kind == "forward":
        return partial(multiply, x, weight.T, stored(outputs))
    if kind == "inputs":
        return partial(multiply, stored(outputs), weight, stored(inputs))
    return partial(writing(multiply, converts=False), stored(outputs).T, x, weight)
