"""The long horizon: a whole training in float64, in calls of every length that a run makes.

A block as it is timed, then a single step, ten, and whole calls, STEPS in all: what a program does
wrong in its later steps, or from one call to the next, shows in float64 however little it is.
"""

from dataclasses import dataclass

import numpy as np

from backends.contract import Array, Execution, Parameters, Trainer
from backends.numpy.taught import Eager
from benchmarks.certificates.certificate import Check
from benchmarks.certificates.reference import (
    Reference,
    Relabelled,
    by_name,
    draw_order,
    relative_error,
)
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.workload import Workload, batch_rows
from benchmarks.schema import EXACT_BOUND, HORIZON

STEPS = 300
FLOPS = 1.5e11
"""The most operations: of large networks, fewer steps."""
FEWEST_STEPS = 20
CLEAR = 0.1
"""Rounding alone must stay within this share of the bound, or nothing is shown."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Horizon:
    """What is trained, and where the reference ends."""

    parts: tuple[Array, ...]
    """(steps, batch_size) each, as indices into the images of the certificate's reference."""
    end: Parameters

    @property
    def steps(self) -> int:
        """All steps that are trained."""
        return sum(map(len, self.parts))


def lengths(block: BlockLength, call: int, most: int) -> list[int]:
    """The steps of each part: a block's two, one, ten, and whole calls, `most` in all or just over.

    Without whole calls where there are too many steps before.
    """
    wanted, call = [block.lead_in, block.timed, 1, 10], max(call, 10)
    wanted += [call] * -(-(most - sum(wanted)) // call)
    cut = np.diff([min(end, most) for end in np.cumsum([0, *wanted[:4]])])
    return [int(steps) for steps in [*cut, *wanted[4:]] if steps]


def train(trainer: Trainer, start: Parameters, parts: tuple[Array, ...]) -> Parameters:
    """Train all parts, the first two as a block is, and return where they end."""
    trainer.reset(start)
    trainer.train_parts(parts[:2], lambda: None)
    for rows in parts[2:]:
        trainer.train(rows)
    trainer.synchronise()
    return trainer.parameters()


def make_horizon(work: Workload, reference: Reference, block: BlockLength, call: int) -> Horizon:
    """The training of the reference, on its images over and over."""
    most = int(FLOPS / work.network.step_flops(work.batch_size))
    steps = lengths(block, call, max(FEWEST_STEPS, min(STEPS, most)))
    rows = batch_rows(len(reference.batches.labels), work.batch_size, sum(steps), seed=0)
    parts = tuple(np.split(rows, np.cumsum(steps)[:-1]))
    data, start = reference.batches.stored_as("float64"), reference.start
    execution = Execution(mode="eager", precision="float64")
    end = train(Eager(work.training(data, start), execution), start, parts)
    return Horizon(parts=parts, end=end)


def spread(horizon: Horizon, work: Workload, reference: Reference) -> float:
    """How far another order of summation moves the reference's end: rounding alone."""
    order, data = (
        draw_order(work.network, np.random.default_rng(0)),
        reference.batches.stored_as("float64"),
    )
    other = train(Relabelled(order, work, data, "float64", 0), reference.start, horizon.parts)
    return max(errors(other, horizon.end, reference.start).values())


def errors(parameters: Parameters, end: Parameters, start: Parameters) -> dict[str, float]:
    """How far each parameter is from where it should end, over how far it has been moved."""
    right, began = by_name(end), by_name(start)
    return {
        name: relative_error(array, right[name], right[name] - began[name])
        for name, array in by_name(parameters).items()
    }


def certify(
    trainer: Trainer, horizon: Horizon, work: Workload, reference: Reference
) -> list[Check]:
    """Compare `trainer`, in float64 and on the reference's images, with the reference's end."""
    start, reason = reference.start, ""
    found = errors(train(trainer, start, horizon.parts), horizon.end, start)
    if max(found.values()) > EXACT_BOUND:
        moved = spread(horizon, work, reference)
        if not moved <= CLEAR * EXACT_BOUND:
            reason = (
                f"in {horizon.steps} steps in float64, rounding alone moves this training by "
                f"{moved:.0e} of itself"
            )
    return [
        Check(
            level="exact", stage=HORIZON, parameter=name, steps=horizon.steps, error=error,
            bound=EXACT_BOUND, reason=reason,
        )
        for name, error in found.items()
    ]  # fmt: skip
