"""The smallest product, layer or step that shows how a program departs from the reference.

For the author of a framework: what was trained is made smaller for as long as it still departs.
Images, labels and parameters are drawn at random, so that it depends on no data.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from time import monotonic
from typing import TypeVar

import numpy as np

from backends.contract import PRECISIONS, Network, Parameters, State, Trainer, TrainingSet
from benchmarks.certificates.deviations import BlockCheck, Piece
from benchmarks.certificates.reference import draw_start, relative_error
from benchmarks.certificates.replay import References, compare
from benchmarks.certificates.rounding import product_bound
from benchmarks.plan.data import Split
from benchmarks.plan.workload import Workload

Maker = Callable[[Workload, TrainingSet, Parameters], Trainer]
"""Makes the program that departs, for another workload."""
MOST_SECONDS = 60.0
MOST_STEPS = 10
LEAST = {"float64": 1e-9}
"""Errors that are none in a precision: what is certified in float64 need not be nearer."""
Thing = TypeVar("Thing")
Shape = tuple[int, int, int]
"""A product of (m, k) and (k, n)."""


def find(make: Maker, work: Workload, precision: str) -> str:
    """A sentence that names the smallest product, layer or step found that departs."""
    end = monotonic() + MOST_SECONDS
    trainer, _ = build(make, work, precision)
    for shape in shapes(work):
        if product_error(trainer, shape, precision):
            m, k, n = shrunk(
                shape, smaller_shapes, lambda one: product_error(trainer, one, precision), end
            )
            error = product_error(trainer, (m, k, n), precision)
            return f"a product of ({m}, {k}) and ({k}, {n}): relative error {error:.1e}"
    step = first_step(make, work, precision)
    if step is None:
        return (
            f"none was found: products agree, and so do {MOST_STEPS} steps on random images, each "
            "from where the last has ended; it takes more steps, other calls or these data"
        )
    if step[0] > 1:
        return f"step {step[0]}, when {step[0] - 1} agree: {told(step[1])}"
    least = shrunk(work, smaller_workloads, lambda one: first_step(make, one, precision, 1), end)
    found = first_step(make, least, precision, 1)
    assert found is not None, "what is handed back departs"
    sizes = "-".join(map(str, least.network.layer_sizes))
    what = "a layer" if len(least.network.layer_sizes) == 2 else "a network"
    images = f"{least.batch_size} image{'s' if least.batch_size > 1 else ''}"
    return f"one step of {what} {sizes} on {images}: {told(found[1])}"


def told(check: BlockCheck) -> str:
    """A check that failed, in words."""
    return f"{check.check} of {check.parameter}: {check.error:.1e}, allowed {check.bound:.1e}"


def shrunk(
    thing: Thing, smaller: Callable[[Thing], Iterator[Thing]], departs: Callable[[Thing], object],
    end: float,
) -> Thing:  # fmt: skip
    """The smallest thing that still departs, by steps each of which makes it smaller."""

    def still(one: Thing) -> bool:
        try:
            return bool(departs(one))
        except Exception:  # what cannot be made so small shows nothing
            return False

    while monotonic() < end:
        least = next((one for one in smaller(thing) if still(one)), None)
        if least is None:
            break
        thing = least
    return thing


def shapes(work: Workload) -> Iterator[Shape]:
    """The products of a step."""
    batch = work.batch_size
    for inputs, outputs in pairwise(work.network.layer_sizes):
        yield from (
            (batch, inputs, outputs), (inputs, batch, outputs), (batch, outputs, inputs),
        )  # fmt: skip


def smaller_shapes(shape: Shape) -> Iterator[Shape]:
    """The shape with one size halved or one less."""
    for place, size in enumerate(shape):
        for less in {size // 2, size - 1} - {0}:
            m, k, n = (less if at == place else full for at, full in enumerate(shape))
            yield m, k, n


def smaller_workloads(work: Workload) -> Iterator[Workload]:
    """The workload without a hidden layer, or with one size halved."""
    sizes = work.network.layer_sizes
    fewer = [sizes[:n] + sizes[n + 1 :] for n in range(1, len(sizes) - 1)]
    halved = [(*sizes[:n], size // 2, *sizes[n + 1 :]) for n, size in enumerate(sizes) if size > 2]
    for layer_sizes in (*fewer, *halved):
        yield replace(work, network=Network(layer_sizes=layer_sizes))
    if work.batch_size > 1:
        yield replace(work, batch_size=work.batch_size // 2)


def product_error(trainer: Trainer, shape: Shape, precision: str) -> float:
    """How far a product is off, if by more than its precision explains; else 0."""
    generator, (m, k, n) = np.random.default_rng(0), shape
    stored = PRECISIONS[precision].stored
    a, b = (generator.normal(size=size).astype(stored) for size in ((m, k), (k, n)))
    exact = a.astype(float) @ b.astype(float)
    error = relative_error(trainer.product(a, b), exact, exact)
    return error if error > product_bound(precision) else 0.0


def build(make: Maker, work: Workload, precision: str) -> tuple[Trainer, Split]:
    """A trainer of a workload on random images, and these."""
    generator, (pixels, *_, classes) = np.random.default_rng(0), work.network.layer_sizes
    count = work.batch_size * MOST_STEPS
    images = generator.integers(0, 256, (count, pixels)).astype(np.uint8)
    split = Split(images=images, labels=generator.integers(0, classes, count).astype(np.int32))
    work = replace(work, training_images=count)
    data = split.stored_as(PRECISIONS[precision].stored)
    return make(work, data, draw_start(work.network, 0)), split


def first_step(
    make: Maker, work: Workload, precision: str, steps: int = MOST_STEPS
) -> tuple[int, BlockCheck] | None:
    """The first step, from 1, that departs, and how; None where none does."""
    trainer, split = build(make, work, precision)
    rows = np.arange(work.batch_size * MOST_STEPS, dtype=np.int32).reshape(MOST_STEPS, -1)
    references = References(work, split, precision)
    before: State = trainer.state()
    for step in range(steps):
        trainer.train(rows[step : step + 1])
        trainer.synchronise()
        piece = Piece(before, trainer.state(), step, 1)
        ends = references.ends(before, rows[step : step + 1])
        checks = compare(piece, ends, work.adam, precision)
        least = LEAST.get(precision, 0.0)
        if worst := [check for check in checks if not check.passed and check.error > least]:
            return step + 1, max(worst, key=lambda check: check.nearness)
        before = piece.after
    return None
