"""The certificate: evidence that a case computes the same training as the reference.

The reference is the NumPy backend in float64, on the parameters and first batches of the launch. A
case must agree with it at each stage: logits, loss and gradients of the first batch, then
the parameters after one and after ten steps.

How far rounding alone may move a figure is measured, not guessed: the reference is run in the
precision of the case as well, with the rows of each batch in several orders, which changes the
order of every sum over the batch and nothing else. A stage's bound is SAFETY times the largest
error found so, and never less than SAFETY units of the precision's rounding.

Errors of parameters are relative to how far training has moved them, ‖p − r‖ / ‖r − p₀‖ over all
parameters together: a learning rate that is off by 0.1% then shows as 1e-3 after one step. Ten
steps at a large learning rate can amplify rounding a thousandfold, which their bound reflects;
the early stages are the sharp ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backends.contract import Adam, Array, Execution, Network, Parameters, Trainer, TrainingSet
from backends.numpy import Eager
from benchmarks.data import Split

STEPS = 10
ORDERS = 4
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
        """Whether the error lies within the bound; NaN does not."""
        return self.error <= self.bound


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
    """What the reference computed on the first batches of a launch, and how close to come."""

    start: Parameters = field(repr=False)
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
    trainer.train(rows[1:])
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


def make_reference(
    network: Network,
    adam: Adam,
    precision: str,
    training: Split,
    start: Parameters,
    rows: Array,
) -> Reference:
    """The reference's figures for `rows` (STEPS, batch_size), and each stage's bound."""
    steps, batch_size = rows.shape
    used = Split(images=training.images[rows.ravel()], labels=training.labels[rows.ravel()])
    own_rows = np.arange(steps * batch_size).reshape(steps, batch_size)

    def run(precision: str, order: Array) -> Figures:
        data: TrainingSet = used.in_precision(precision)
        execution = Execution(mode="eager", precision=precision)
        trainer = Eager(network, adam, execution, data, start)
        return collect(trainer, start, own_rows[:, order], data.images[:batch_size])

    generator = np.random.default_rng(0)
    figures = run("float64", np.arange(batch_size))
    spread = [
        errors(run(precision, generator.permutation(batch_size)), figures, start)
        for _ in range(ORDERS)
    ]
    least = SAFETY * float(np.finfo(precision).eps)
    bounds = {
        stage: max(least, SAFETY * max(order[stage] for order in spread)) for stage in STAGES
    }
    return Reference(start=start, figures=figures, bounds=bounds)


def certify(trainer: Trainer, reference: Reference, rows: Array, first_images: Array) -> list[Stage]:
    """Compare `trainer` with the reference, stage by stage."""
    figures = collect(trainer, reference.start, rows, first_images)
    found = errors(figures, reference.figures, reference.start)
    return [
        Stage(stage=stage, error=found[stage], bound=reference.bounds[stage]) for stage in STAGES
    ]
