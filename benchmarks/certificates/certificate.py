"""The certificate: evidence that a case computes the same training as the reference.

The reference is the NumPy backend in float64. From the same parameters and on the same batches a
case must agree with it at each stage: the logits, the loss and every gradient of the first batch;
every parameter after one step; the loss of the tenth step, and every parameter after it. Gradients
are read from Adam's first moments after one step, so they are those of the program that trains.

Errors of gradients are relative to the gradient, ‖g − r‖ / ‖r‖ for each parameter; errors of
parameters to how far training has moved them, ‖p − r‖ / ‖r − p₀‖: a learning rate that is off by
0.1% then shows as 1e-3 after one step.

There are two levels.

exact       The case's backend and mode in float64, in the same worker, where no error may exceed
            EXACT_BOUND. Parameters are compared after some hundred steps too: see horizon.py.
as timed    The case itself, in its precision.

Both are taken in the first launch. What is timed is certified in every launch: see replay.py.

How far rounding alone may move a figure as timed is measured: see reference.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from backends.contract import Adam, Array, Trainer
from benchmarks.certificates.reference import Reference, collect, errors
from benchmarks.schema import EXACT_BOUND, STAGES

NOTHING_SHOWN = "rounding alone may change this training by as much as it trains"
STAGE_STEPS = dict(zip(STAGES, (0, 0, 1, 1, 10, 10), strict=True))


@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure of a certificate: a stage, and in stages with parameters one of those."""

    level: str
    stage: str
    parameter: str
    """As in "layer 2 bias"; empty where the stage has a single figure."""
    error: float
    """NaN where the figure cannot be read."""
    bound: float
    steps: int
    """The steps that were trained before it was taken."""
    not_read: str = ""
    """Why the mode does not give this figure; the stages after it cover it."""
    reason: str = ""
    """Why it cannot be judged; it has then not passed."""

    @property
    def passed(self) -> bool:
        """Whether the error lies within the bound; a bound of 1 or more would prove nothing."""
        return not self.reason and (bool(self.not_read) or self.error <= self.bound < 1)


def certify(
    trainer: Trainer, adam: Adam, reference: Reference, rows: Array, dtype: str, level: str
) -> list[Check]:
    """Compare `trainer`, whose parameters are of type `dtype`, with the reference.

    `rows` are the reference's batches, as indices into the trainer's training set.
    """
    first_images = reference.first_images(dtype)
    figures, not_read = collect(trainer, adam, reference.start, rows, first_images)
    relative_errors = errors(figures, reference.figures, reference.start)
    return [
        Check(
            level=level,
            stage=stage,
            parameter=parameter,
            error=relative_errors.get((stage, parameter), float("nan")),
            bound=EXACT_BOUND if level == "exact" else bound,
            steps=STAGE_STEPS[stage],
            not_read=not_read.get(stage, ""),
            reason="" if level == "exact" or bound < 1 else NOTHING_SHOWN,
        )
        for (stage, parameter), bound in reference.bounds.items()
    ]


def first_failure(checks: Sequence[Check]) -> Check | None:
    """The check that fails first, in the order of the levels and stages."""
    return next((check for check in checks if not check.passed), None)
