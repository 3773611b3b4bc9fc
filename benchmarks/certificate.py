"""The certificate: evidence that a case computes the same training as the reference.

The reference is the NumPy backend in float64. From the same parameters and on the same batches, a
case must agree with it at each stage: logits, loss and gradients of the first batch, then the
parameters after one and after ten steps.

How far rounding alone may move a figure is measured, not guessed. The reference is run in the
precision of the case as well, several times, with everything that is mathematically free chosen
anew: the order of the pixels, of the units in each hidden layer and of the rows in each batch (so
every sum is taken in another order), and whether Adam's bias corrections are computed in that
precision or in double (frameworks do either). A stage's bound is SAFETY times the largest error
found so, and at least SAFETY units of the precision's rounding.

Errors of parameters are relative to how far training has moved them, ‖p − r‖ / ‖r − p₀‖ over all
parameters together: a learning rate that is off by 0.1% then shows as 1e-3 after one step. Ten
steps at a large learning rate amplify rounding, the more so where a unit stands on the edge of its
ReLU; of CANDIDATES draws of parameters and batches the certificate takes the one that amplifies it
least, and the bound says how far that still is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from backends.contract import Adam, Array, Execution, Network, Parameters, Trainer, TrainingSet
from backends.numpy import Eager
from benchmarks.data import Split
from benchmarks.workload import Workload, batch_rows

STEPS = 10
VARIANTS = 12
CANDIDATES = 3
LARGE_STEP_FLOPS = 5e9
"""A step with more operations than this is large: one candidate must do."""
SAFETY = 10.0
STAGES = ("logits", "loss", "gradients", "parameters_1_step", "parameters_10_steps")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a certificate."""

    stage: str
    error: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the error lies within the bound; a bound of 1 or more would prove nothing."""
        return self.error <= self.bound < 1


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a trainer computed, stage by stage."""

    logits: Array
    loss: float
    gradients: Parameters
    after_one_step: Parameters
    after_ten_steps: Parameters


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Parameters and batches, what the reference computes from them, and how close to come."""

    start: Parameters = field(repr=False)
    rows: Array = field(repr=False)
    figures: Figures = field(repr=False)
    bounds: dict[str, float]


def collect(trainer: Trainer, start: Parameters, rows: Array, first_images: Array) -> Figures:
    """Run `trainer` through all stages from `start`, on `rows` (STEPS, batch_size).

    `first_images` are the images of the first batch, in the trainer's precision. The trainer is
    left where ten steps have brought it.
    """
    trainer.reset(start)
    logits = trainer.logits(first_images)
    gradients = trainer.gradients(rows[0])
    trainer.train(rows[:1])
    trainer.synchronise()
    loss, after_one_step = trainer.loss(), trainer.parameters()
    trainer.reset(start)
    trainer.train(rows)
    trainer.synchronise()
    return Figures(
        logits=logits,
        loss=loss,
        gradients=gradients,
        after_one_step=after_one_step,
        after_ten_steps=trainer.parameters(),
    )


def flat(parameters: Parameters) -> Array:
    """All parameters in one float64 vector."""
    return np.concatenate(
        [np.ravel(array).astype(np.float64) for layer in parameters for array in layer]
    )


def relative_error(value: Array, reference: Array, scale: Array) -> float:
    """‖value − reference‖ / ‖scale‖; infinite where anything is not finite."""
    error = np.linalg.norm(value - reference) / np.linalg.norm(scale)
    return float(error) if np.isfinite(error) else float("inf")


def errors(figures: Figures, reference: Figures, start: Parameters) -> dict[str, float]:
    """The relative error of each stage."""
    origin = flat(start)
    one, ten = flat(reference.after_one_step), flat(reference.after_ten_steps)
    gradients = flat(reference.gradients)
    loss = np.array([reference.loss])
    return {
        "logits": relative_error(
            figures.logits.astype(np.float64), reference.logits, reference.logits
        ),
        "loss": relative_error(np.array([figures.loss]), loss, loss),
        "gradients": relative_error(flat(figures.gradients), gradients, gradients),
        "parameters_1_step": relative_error(flat(figures.after_one_step), one, one - origin),
        "parameters_10_steps": relative_error(flat(figures.after_ten_steps), ten, ten - origin),
    }


@dataclass(frozen=True, kw_only=True)
class Relabelling:
    """New numbers for pixels and hidden units: the same network, its sums in another order."""

    units: list[Array]

    @classmethod
    def draw(cls, network: Network, generator: np.random.Generator) -> Relabelling:
        """Shuffle all layers but the outputs."""
        *inner, outputs = network.layer_sizes
        return cls(units=[*map(generator.permutation, inner), np.arange(outputs)])

    def apply(self, parameters: Parameters) -> Parameters:
        """The parameters of the relabelled network."""
        return [
            (weight[np.ix_(before, after)], bias[after])
            for (weight, bias), before, after in zip(
                parameters, self.units, self.units[1:], strict=False
            )
        ]

    def undo(self, parameters: Parameters) -> Parameters:
        """The parameters with the original labels."""
        return Relabelling(units=[np.argsort(unit) for unit in self.units]).apply(parameters)


def run_reference(
    network: Network,
    adam: Adam,
    data: TrainingSet,
    start: Parameters,
    rows: Array,
    *,
    correction_type: Callable[[float], Any] = float,
) -> Figures:
    """The NumPy backend's figures, in the precision of `data`."""
    reference_type = type("Reference", (Eager,), {"correction_type": correction_type})
    execution = Execution(mode="eager", precision=data.images.dtype.name)
    trainer = reference_type(network, adam, execution, data, start)
    return collect(trainer, start, rows, data.images[rows[0]])


def run_variant(
    network: Network,
    adam: Adam,
    data: TrainingSet,
    start: Parameters,
    rows: Array,
    number: int,
) -> Figures:
    """As `run_reference`, with every sum in another order, drawn from `number`."""
    generator = np.random.default_rng(number)
    labels = Relabelling.draw(network, generator)
    relabelled = TrainingSet(images=data.images[:, labels.units[0]], labels=data.labels)
    order = generator.permutation(rows.shape[1])
    figures = run_reference(
        network,
        adam,
        relabelled,
        labels.apply(start),
        rows[:, order],
        correction_type=data.images.dtype.type if number % 2 else float,
    )
    return Figures(
        logits=figures.logits[np.argsort(order)],
        loss=figures.loss,
        gradients=labels.undo(figures.gradients),
        after_one_step=labels.undo(figures.after_one_step),
        after_ten_steps=labels.undo(figures.after_ten_steps),
    )


def draw_start(network: Network, seed: int) -> Parameters:
    """Weights and biases uniform in ±1/√inputs: no bias is zero, so that a lost one shows."""
    generator = np.random.default_rng(seed)
    start: Parameters = []
    for inputs, outputs in pairwise(network.layer_sizes):
        limit = inputs**-0.5
        weight = generator.uniform(-limit, limit, (inputs, outputs))
        start.append((weight, generator.uniform(-limit, limit, outputs)))
    return start


def make_candidate(work: Workload, precision: str, training: Split, seed: int) -> Reference:
    """The reference's figures on the parameters and batches of `seed`, and the bounds there."""
    start = draw_start(work.network, seed)
    rows = batch_rows(work.training_images, work.batch_size, STEPS, seed)
    used = Split(images=training.images[rows.ravel()], labels=training.labels[rows.ravel()])
    own_rows = np.arange(rows.size).reshape(rows.shape)
    exact, rounding = used.in_precision("float64"), used.in_precision(precision)
    figures = run_reference(work.network, work.adam, exact, start, own_rows)
    spread = [
        errors(
            run_variant(work.network, work.adam, rounding, start, own_rows, number),
            figures,
            start,
        )
        for number in range(VARIANTS)
    ]
    least = SAFETY * float(np.finfo(precision).eps)
    bounds = {
        stage: max(least, SAFETY * max(variant[stage] for variant in spread)) for stage in STAGES
    }
    return Reference(start=start, rows=rows, figures=figures, bounds=bounds)


def make_reference(work: Workload, precision: str, training: Split) -> Reference:
    """The candidate whose ten steps are the least sensitive to rounding."""
    large = work.network.step_flops(work.batch_size) > LARGE_STEP_FLOPS
    seeds = range(1 if large else CANDIDATES)
    candidates = (make_candidate(work, precision, training, seed) for seed in seeds)
    return min(candidates, key=lambda candidate: candidate.bounds["parameters_10_steps"])


def certify(trainer: Trainer, reference: Reference, first_images: Array) -> list[Stage]:
    """Compare `trainer` with the reference, stage by stage.

    `first_images` are the images of the first batch, in the trainer's precision.
    """
    figures = collect(trainer, reference.start, reference.rows, first_images)
    found = errors(figures, reference.figures, reference.start)
    return [
        Stage(stage=stage, error=found[stage], bound=reference.bounds[stage]) for stage in STAGES
    ]
