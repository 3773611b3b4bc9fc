"""How far a piece of a training is from what it should be, and how far it may be.

For each parameter array, p is where the trainer ends and r where the reference does; Δ is how far
the piece has moved r from p₀, where both began:

parameters      ‖p − r‖ / ‖Δ‖
rate            ⟨p − r, Δ⟩ / ‖Δ‖²: a learning rate that is off shows so
decay           ⟨p − r, p₀⟩ / ‖p₀‖²: weights that decay show so
first moments   ‖m − r‖ / ‖r‖, of Adam's m; second moments the same of v

A bound is what rounding may do. Stored parameters are rounded at each step, by u√n ‖p‖ in n steps
whose roundings are independent, u being half the distance of neighbouring numbers near 1; the rest,
which comes from rounded gradients, is a share of Δ that was measured: see docs/certificates.md. In
a step's gradient the rounding of probabilities is allowed besides: see rounding.py.
What is random in p − r has, of N numbers, a share of 1/√N along any direction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backends.contract import TEXTBOOK, Adam, Array, Parameters, State, Trainer
from backends.numpy.model import forward
from benchmarks.certificates.reference import End, by_name, relative_error
from benchmarks.certificates.rounding import (
    SAFETY,
    correction_error,
    product_bound,
    rounded,
    unit_of,
)
from benchmarks.certificates.witness import CHANCE, Witness

LARGE_SHARE = 25.0
"""How much more gradients of large parameters may be off: their logits lose digits in a softmax."""
MOST_OF_LARGE = 0.5
"""More than this is never allowed: a gradient that is clipped to half of its norm shows."""
EVALUATED = 500
"""Images whose logits are compared, of each set that is read."""
NOTHING = 1e-25
"""A moment below this is nothing beside ε, and may be flushed to zero."""
FIRST = "first_moments"
COUNT_BOUND = 0.1
"""How far a count of steps may be from a whole number."""


class Piece(NamedTuple):
    """Some steps of a training, and the trainer's own states around them."""

    before: State
    after: State
    first_step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class BlockCheck:
    """One figure of a block's certificate: over its pieces the one that is nearest to its bound."""

    check: str
    parameter: str = ""
    """As in "layer 2 bias"; empty where a check has a single figure."""
    first_step: int
    steps: int
    """The piece that it is from."""
    error: float
    bound: float
    reason: str = ""
    """Why it cannot be judged; it has then not passed."""

    @property
    def passed(self) -> bool:
        """Whether the error lies within the bound; a bound of 1 or more would prove nothing."""
        return not self.reason and self.error <= self.bound < 1

    @property
    def nearness(self) -> float:
        """The error as a multiple of the bound: above 1 it fails."""
        if self.bound >= 1 or self.error > self.bound == 0:
            return float("inf")
        return self.error / self.bound if self.error else 0.0


class Tolerance(NamedTuple):
    """The share of a moment that rounded gradients may change: of Adam's first and second."""

    first_moments: float
    second_moments: float


ONE_STEP = {
    "float64": Tolerance(1e-13, 1e-13),
    "float32": Tolerance(2e-5, 3e-6),
    "tf32": Tolerance(3e-2, 3e-2),
    "bfloat16": Tolerance(2e-1, 2e-1),
}
"""Of a single step, whose gradient has only the rounding of its own sums."""
PIECE = {
    "float64": Tolerance(1e-10, 1e-10),
    "float32": Tolerance(2e-4, 1e-5),
    "tf32": Tolerance(1e-1, 5e-2),
    "bfloat16": Tolerance(3e-1, 3e-1),
}
"""Of several steps, each of which starts from what the one before has rounded."""


def worst_of(checks: Iterable[BlockCheck]) -> tuple[BlockCheck, ...]:
    """Of each check and parameter, the figure that is nearest to its bound."""
    worst: dict[tuple[str, str], BlockCheck] = {}
    for check in checks:
        key = check.check, check.parameter
        if key not in worst or check.nearness > worst[key].nearness:
            worst[key] = check
    return tuple(worst.values())


def check_piece(piece: Piece, end: End, adam: Adam, precision: str) -> list[BlockCheck]:
    """The checks of a piece against a reference of it.

    Parameters after a single step are compared with the update that the trainer's own moments make:
    these are compared with the reference's, and Adam's first steps go by the sign of a gradient,
    which rounding decides where it is near zero.
    """
    one = piece.steps == 1
    tolerance = (ONE_STEP if one else PIECE)[precision]
    unit = unit_of(precision)
    corrected = correction_error(piece.before.steps + 1, adam, precision)
    drifted = 0.0 if one else tolerance.first_moments
    before, after = (by_name(state.parameters) for state in piece[:2])
    ends = by_name(updated(piece, adam) if one else end.state.parameters)
    noise_of = dict(zip(ends, end.noise, strict=False))
    checks = []
    for name, r in ends.items():
        p, start = after[name], before[name]
        delta = r - start
        moved, size = float(np.linalg.norm(delta)), float(np.linalg.norm(start))
        noise = SAFETY * unit * np.sqrt(piece.steps) * float(np.linalg.norm(p)) + drifted * moved
        spread = noise / np.sqrt(r.size)
        rate = corrected + over(spread, moved)
        bounds = {
            "parameters": (relative_error(p, r, delta), corrected + over(noise, moved)),
            "rate": (along(p - r, delta), rate),
            "decay": (along(p - r, start), rate * along(delta, start) + over(spread, size)),
        }
        checks += [_check(check, name, piece, *figures) for check, figures in bounds.items()]
    # A rounded β changes its share 1 − β of what is new by so much more.
    for kind, beta in ((FIRST, adam.beta_1), ("second_moments", adam.beta_2)):
        bound = getattr(tolerance, kind) + 3 * rounded(beta, precision) * beta / (1 - beta)
        actual = by_name(getattr(piece.after, kind))
        for name, r in by_name(getattr(end.state, kind)).items():
            error, size = moment_error(actual[name], r), float(np.linalg.norm(r))
            noise = over(SAFETY * noise_of.get(name, 0.0), size) if kind == FIRST else 0.0
            checks.append(_check(kind.replace("_", " "), name, piece, error, bound + noise))
    return checks


def moment_error(m: Array, r: Array) -> float:
    """The relative error of a moment; beside nothing, nothing counts."""
    least = np.full(1, NOTHING * np.sqrt(r.size))
    return relative_error(m, r, r if np.linalg.norm(r) > least else least)


def updated(piece: Piece, adam: Adam) -> Parameters:
    """The parameters to which Adam moves those before a piece, by the moments after it."""
    step = piece.after.steps
    first, root = 1 - adam.beta_1**step, (1 - adam.beta_2**step) ** 0.5
    epsilon = adam.epsilon if adam.form == TEXTBOOK else adam.epsilon / root

    def moved(p: Array, m: Array, v: Array) -> Array:
        denominator = np.sqrt(v)
        denominator /= root
        denominator += epsilon
        update = m / denominator
        update *= adam.learning_rate / first
        return p - update

    kinds = piece.before.parameters, piece.after.first_moments, piece.after.second_moments
    return [
        (moved(w, mw, vw), moved(b, mb, vb))
        for (w, b), (mw, mb), (vw, vb) in zip(*kinds, strict=True)
    ]


def _check(check: str, parameter: str, piece: Piece, error: float, bound: float) -> BlockCheck:
    return BlockCheck(
        check=check, parameter=parameter, first_step=piece.first_step, steps=piece.steps,
        error=error, bound=bound,
    )  # fmt: skip


def over(part: float, whole: float) -> float:
    """A share; of nothing it is none."""
    return float(part / whole) if whole else 0.0


def along(error: Array, direction: Array) -> float:
    """The part of an error along a direction, over its length: |⟨e, d⟩| / ‖d‖²."""
    whole = float(np.vdot(direction, direction))
    share = over(abs(float(np.vdot(error, direction))), whole)
    return share if np.isfinite(share) else float("inf")


def not_finite(piece: Piece) -> list[BlockCheck]:
    """A check for each parameter that is not finite at the end of a piece: it proves nothing."""
    return [
        BlockCheck(
            check="parameters", parameter=name, first_step=piece.first_step, steps=piece.steps,
            error=float("inf"), bound=0.0, reason="not finite: the training has diverged",
        )
        for name, array in by_name(piece.after.parameters).items()
        if not np.isfinite(array).all()
    ]  # fmt: skip


def check_steps(piece: Piece) -> BlockCheck:
    """Whether Adam has counted the steps that it was given batches for."""
    counted = piece.after.steps - piece.before.steps
    return _check("steps", "", piece, abs(counted - piece.steps) / piece.steps, 0.0)


def check_silent_pixels(piece: Piece, images: Array, adam: Adam) -> list[BlockCheck]:
    """The steps of a piece, counted without asking: nothing where no pixel tells.

    `images` (n, pixels) are those of the piece. The gradient of a weight whose pixel is zero in all
    of them is zero, so each step multiplies its second moment by β₂.
    """
    silent = images.max(axis=0) == 0
    before, after = (state.second_moments[0][0][silent].astype(float) for state in piece[:2])
    telling = before > NOTHING / adam.beta_2**piece.steps
    if not telling.any():
        return []
    with np.errstate(divide="ignore"):
        counts = np.log(after[telling] / before[telling]) / np.log(adam.beta_2)
    error = float(np.abs(counts - piece.steps).max())
    return [_check("silent pixels", "layer 1 weight", piece, error, COUNT_BOUND)]


def check_unlit_pixels(piece: Piece, start: Parameters, unlit: Array) -> BlockCheck:
    """The share of the weights of `unlit` pixels, which are zero in all images, that have changed.

    `start` are the parameters before the first step: no training ever moves these.
    """
    weight = piece.after.parameters[0][0][unlit]
    changed = weight != start[0][0][unlit].astype(weight.dtype)
    share = float(changed.mean()) if changed.size else 0.0
    return _check("unlit pixels", "layer 1 weight", piece, share, 0.0)


def check_large_gradients(piece: Piece, end: End, precision: str) -> list[BlockCheck]:
    """The gradients of a first step whose parameters are so large that clipping would show."""
    bound = min(LARGE_SHARE * ONE_STEP[precision].first_moments, MOST_OF_LARGE)
    actual = by_name(piece.after.first_moments)
    return [
        _check("large gradients", name, piece, moment_error(actual[name], r), bound)
        for name, r in by_name(end.state.first_moments).items()
    ]


def check_evaluation(
    trainer: Trainer, piece: Piece, evaluated: Sequence[Array], precision: str
) -> list[BlockCheck]:
    """The logits from which losses and accuracies are read, against those of the parameters."""
    parameters = [(w.astype(float), b.astype(float)) for w, b in trainer.state().parameters]
    checks = []
    for images in evaluated:
        some = sorted(CHANCE.sample(range(len(images)), min(len(images), EVALUATED)))
        expected = forward(parameters, images[some].astype(float))[-1]
        error = relative_error(trainer.logits(images)[some], expected, expected)
        checks.append(_check("logits", "", piece, error, product_bound(precision)))
    return checks


def check_beginnings(piece: Piece, witness: Witness) -> BlockCheck:
    """The share of blocks that began elsewhere than they should: see Witness."""
    return _check("beginnings", "", piece, over(witness.departed, witness.compared), 0.0)


def check_data_values(piece: Piece, poisoned: State) -> BlockCheck:
    """Whether a step is the same where weights of pixels that are zero are not numbers.

    Then their products are not computed: the program has looked at the data.
    """
    name, moments = list(by_name(poisoned.first_moments).items())[-1]
    unmoved = np.array_equal(moments, by_name(piece.after.first_moments)[name])
    return _check("data values", "", piece, float(unmoved), 0.0)
