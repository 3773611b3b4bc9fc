"""The reference of a certificate: what NumPy computes in float64, and how far rounding may move it.

How far rounding alone may move a figure in the timed precision is measured. The reference is run
in that precision too, several times, and each time everything that mathematics leaves open is
drawn again: the order of the pixels, of the units in each hidden layer and of the rows in each
batch (so every sum is taken in another order), and whether Adam's bias corrections are computed in
that precision or in double (frameworks do either). A bound is SAFETY times the largest of these
errors, and at least SAFETY units of the precision's rounding. In TF32 and bfloat16, where the
reference rounds the factors of its products up or down by chance, it is REDUCED_SAFETY times.

Ten steps at a large learning rate amplify rounding, the more so where a unit lies on the edge of
its ReLU. Of CANDIDATES draws of parameters and batches the certificate takes the one that
amplifies rounding least, and the bound says how much that still is.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from backends.contract import (
    PRECISIONS,
    Adam,
    Array,
    Execution,
    Network,
    NotKeptError,
    Parameters,
    State,
    Trainer,
    TrainingSet,
    arrays_of,
)
from backends.numpy.model import backward, forward, loss_and_gradients, product_in
from backends.numpy.taught import Eager
from benchmarks.certificates.rounding import gradient_noise
from benchmarks.plan.data import Split
from benchmarks.plan.workload import Workload, batch_rows
from benchmarks.schema import parameter_names

STEPS, VARIANTS, CANDIDATES = 10, 6, 2
LARGE_STEP_FLOPS = 5e9
"""Where a step has more operations than this, a single candidate has to suffice."""
SAFETY = 10.0
REDUCED_SAFETY, MOST = 3.0, 0.95
"""The safety where products have fewer bits than parameters. Adam's first steps go by the sign of a
gradient, and so few bits lose the signs of many small gradients: a bound ten times as large would
exceed the distance that training moves a parameter, and prove nothing. No bound exceeds MOST where
it is still twice the largest error."""

LARGE_NORM, MOST_DOUBLINGS = 100.0, 8
"""A gradient of this norm is large: no one clips to more."""
NEAR_UNITS = 64.0
"""A hidden unit is near zero where its sum is within so many roundings of all its terms."""
MOST_SIDES = 32
"""The most ways of putting near units on either side that are tried."""

Place = tuple[int, int, int]
"""A hidden unit's layer, counted from 1, its image's row in the batch, and its number."""
Figures = dict[tuple[str, str], Array]
"""The computed figures, by stage and parameter."""


class End(NamedTuple):
    """Where a reference ends a piece of a training."""

    state: State
    noise: tuple[float, ...] = ()
    """Of a single step: what rounded probabilities do to the norm of each array's first moments."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Reference:
    """Parameters and batches, the figures computed from them, and the bounds on their errors."""

    start: Parameters
    rows: Array
    """(steps, batch_size): STEPS batches, or all those of a call where it trains more."""
    batches: Split
    """The images and labels that stand in `rows`, each once."""
    batch_rows: Array
    """`rows`, as indices into `batches`."""
    figures: Figures
    bounds: dict[tuple[str, str], float]

    def first_images(self, dtype: str) -> Array:
        """The images of the first batch, (batch_size, pixels)."""
        return self.batches.stored_as(dtype).images[self.batch_rows[0]]


def by_name(layers: Parameters) -> dict[str, Array]:
    """The arrays by their names, as in "layer 2 bias"."""
    return dict(zip(parameter_names(len(layers)), arrays_of(layers), strict=True))


def by_parameter(stage: str, parameters: Parameters) -> Figures:
    """A stage's figures, one for each parameter."""
    named = by_name(parameters).items()
    return {(stage, name): np.asarray(array, np.float64) for name, array in named}


def collect(
    trainer: Trainer, adam: Adam, start: Parameters, rows: Array, first_images: Array
) -> tuple[Figures, dict[str, str]]:
    """Run `trainer` through all stages from `start`: its figures, and why stages are missing.

    `rows` (steps, batch_size) are at least STEPS batches. Those after the tenth serve modes that
    train more steps a call: their tenth step is read inside a call of the timed length.
    `first_images` are the images of the first batch, in the type of the trainer's parameters.
    """
    trainer.reset(start)
    figures: Figures = {("logits", ""): trainer.logits(first_images).astype(np.float64)}
    trainer.train(rows[:1])
    trainer.synchronise()
    figures["loss", ""] = trainer.losses().astype(np.float64)
    share = 1 - adam.beta_1
    state = trainer.state()
    gradients = [(weight / share, bias / share) for weight, bias in state.first_moments]
    figures |= by_parameter("gradients", gradients)
    figures |= by_parameter("parameters_1_step", state.parameters)

    trainer.reset(start)
    trainer.train(rows[:STEPS])
    trainer.synchronise()
    after_ten_steps = by_parameter("parameters_10_steps", trainer.parameters())
    not_read: dict[str, str] = {}
    try:
        losses = trainer.losses()
        if trainer.describe().steps_per_call > 1:
            trainer.reset(start)
            trainer.train(rows)
            trainer.synchronise()
            losses = trainer.losses()[:STEPS]
        figures["loss_10_steps", ""] = losses[-1:].astype(np.float64)
    except NotKeptError as reason:
        not_read["loss_10_steps"] = str(reason)
    return figures | after_ten_steps, not_read


def relative_error(value: Array, reference: Array, scale: Array) -> float:
    """‖value − reference‖ / ‖scale‖; infinite where anything is not finite."""
    difference = float(np.linalg.norm(value - reference))
    if difference == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        error = difference / np.linalg.norm(scale)
    return float(error) if np.isfinite(error) else float("inf")


def errors(figures: Figures, reference: Figures, start: Parameters) -> dict[tuple[str, str], float]:
    """The relative error of every figure there is."""
    stages = "parameters_1_step", "parameters_10_steps"
    origin = by_parameter(stages[0], start) | by_parameter(stages[1], start)
    return {
        key: relative_error(value, reference[key], reference[key] - origin.get(key, 0.0))
        for key, value in figures.items()
    }


def draw_order(network: Network, generator: np.random.Generator) -> list[Array]:
    """An order for the units of each layer, in which the outputs keep their places."""
    *inner, outputs = network.layer_sizes
    return [*map(generator.permutation, inner), np.arange(outputs)]


def relabel(parameters: Parameters, order: list[Array]) -> Parameters:
    """The same network with pixels and hidden units reordered: its sums run in another order."""
    layers = zip(parameters, pairwise(order), strict=False)
    return [(w[np.ix_(inputs, outputs)], b[outputs]) for (w, b), (inputs, outputs) in layers]


def relabel_state(state: State, order: list[Array]) -> State:
    """A state of the same network with its pixels and hidden units reordered."""
    return state.layers_as(lambda layers: relabel(layers, order))


class Relabelled(Eager):
    """The reference on a relabelled network; its figures carry the original labels."""

    def __init__(
        self, order: list[Array], work: Workload, data: TrainingSet, precision: str, number: int
    ) -> None:
        self._order, self._undoing = order, [np.argsort(units) for units in order]
        # Frameworks round to fewer bits in different places; here chance decides.
        rounding = np.random.default_rng(number)
        # The two precisions in which frameworks compute the bias corrections, by turns.
        self.correction_type = data.images.dtype.type if number % 2 else float
        training_set = TrainingSet(images=data.images[:, order[0]], labels=data.labels)
        execution = Execution(mode="eager", precision=precision)
        super().__init__(work.training(training_set, start=[]), execution)
        self._product = product_in(precision, rounding)

    def set_state(self, state: State) -> None:
        super().set_state(relabel_state(state, self._order))

    def state(self) -> State:
        return relabel_state(super().state(), self._undoing)

    def logits(self, images: Array) -> Array:
        return super().logits(images[:, self._order[0]])


class OnEitherSide(Eager):
    """The reference in float64, whose units near zero can be put on the other side of it."""

    def __init__(self, work: Workload, batches: Split, unit: float) -> None:
        execution = Execution(mode="eager", precision="float64")
        super().__init__(work.training(batches.stored_as("float64"), start=[]), execution)
        self._unit = unit

    def enlarged(self, parameters: Parameters, batch: Array) -> Parameters:
        """Parameters, doubled until the gradient of a batch has LARGE_NORM, if it gets so large.

        Outputs are exchanged, so that what has been learned is wrong: else it would get smaller.
        """
        images, labels = self._images[batch], self._labels[batch]
        *hidden, (weight, bias) = parameters
        exchanged = [*hidden, (np.roll(weight, 1, axis=1), np.roll(bias, 1))]
        for doublings in range(MOST_DOUBLINGS):
            larger = [(weight * 2**doublings, bias * 2**doublings) for weight, bias in exchanged]
            exact = [(weight.astype(float), bias.astype(float)) for weight, bias in larger]
            gradients = arrays_of(loss_and_gradients(exact, images, labels)[1])
            if sum(float(np.vdot(array, array)) for array in gradients) > LARGE_NORM**2:
                break
        return larger

    def ends(self, before: State, batch: Array) -> Iterator[End]:
        """The ends of a step from `before`, with near units where they are, then elsewhere.

        A unit is near zero where rounding each term of its sum by `unit` could put it on the other
        side; its derivative is then the one of either side, which are both right.
        """
        self.set_state(before)
        outputs = forward(self._parameters, self._images[batch])
        near = self._near_zero(outputs)
        share = self._unit * (1 - self._adam.beta_1)
        noise = tuple(share * norm for norm in gradient_noise(self._parameters, outputs))
        for others in itertools.islice(subsets(near), MOST_SIDES):
            if others:
                self.set_state(before)
            there = [output.copy() for output in outputs]
            for layer, row, column in others:
                # So little is nothing to the sums that it goes into.
                there[layer][row, column] = (
                    0.0 if there[layer][row, column] else np.finfo(float).tiny
                )
            _, gradients = backward(self._parameters, there, self._labels[batch])
            self._update(gradients)
            yield End(self.state(), noise)

    def _near_zero(self, outputs: list[Array]) -> list[tuple[int, int, int]]:
        """The hidden units near zero: layer, image and unit of each, the nearest first."""
        found: list[tuple[float, tuple[int, int, int]]] = []
        for layer, (weight, bias) in enumerate(self._parameters[:-1], start=1):
            inputs = outputs[layer - 1]
            terms = np.abs(inputs) @ np.abs(weight) + np.abs(bias)
            share = np.abs(inputs @ weight + bias) / np.maximum(terms, np.finfo(float).tiny)
            for row, column in np.argwhere(share < NEAR_UNITS * self._unit):
                found.append((float(share[row, column]), (layer, int(row), int(column))))
        return [place for _, place in sorted(found)]


def subsets(places: list[Place]) -> Iterator[tuple[Place, ...]]:
    """All subsets, the small ones first."""
    sizes = range(len(places) + 1)
    return itertools.chain.from_iterable(itertools.combinations(places, n) for n in sizes)


def rounding_errors(
    work: Workload, batches: Split, precision: str, start: Parameters, rows: Array, exact: Figures
) -> dict[tuple[str, str], float]:
    """The largest error of each figure in `precision`, over all variants."""
    data = batches.stored_as(PRECISIONS[precision].stored)
    largest = dict.fromkeys(exact, 0.0)
    for number in range(VARIANTS):
        generator = np.random.default_rng(number)
        order = draw_order(work.network, generator)
        shuffle = generator.permutation(rows.shape[1])
        variant = Relabelled(order, work, data, precision, number)
        first_images = data.images[rows[0, shuffle]]
        figures, _ = collect(variant, work.adam, start, rows[:, shuffle], first_images)
        figures["logits", ""] = figures["logits", ""][np.argsort(shuffle)]
        for key, error in errors(figures, exact, start).items():
            largest[key] = max(largest[key], error)
    return largest


def draw_start(network: Network, seed: int) -> Parameters:
    """Weights and biases uniform in ±1/√inputs: no bias is zero, so that a lost one shows."""
    uniform = np.random.default_rng(seed).uniform
    layers = [(m, n, m**-0.5) for m, n in pairwise(network.layer_sizes)]
    return [(uniform(-limit, limit, (m, n)), uniform(-limit, limit, n)) for m, n, limit in layers]


def make_candidate(
    work: Workload, precision: str, training: Split, call_steps: int, seed: int
) -> Reference:
    """The reference's figures on the parameters and batches of `seed`, and the bounds there."""
    start = draw_start(work.network, seed)
    rows = batch_rows(work.training_images, work.batch_size, max(STEPS, call_steps), seed)
    used, inverse = np.unique(rows, return_inverse=True)
    rows_in_batches = inverse.reshape(rows.shape).astype(np.int32)
    batches = Split(images=training.images[used], labels=training.labels[used])
    exact, first = batches.stored_as("float64"), rows_in_batches[:STEPS]
    execution = Execution(mode="eager", precision="float64")
    trainer = Eager(work.training(exact, start), execution)
    figures, _ = collect(trainer, work.adam, start, first, exact.images[first[0]])
    spread = rounding_errors(work, batches, precision, start, first, figures)
    about = PRECISIONS[precision]
    safety = SAFETY if precision == about.stored else REDUCED_SAFETY
    least = safety * 2.0**-about.bits

    def bound(error: float) -> float:
        allowed = max(least, safety * error)
        return MOST if safety == REDUCED_SAFETY and 2 * error < MOST < allowed else allowed

    return Reference(
        start=start,
        rows=rows,
        batches=batches,
        batch_rows=rows_in_batches,
        figures=figures,
        bounds={key: bound(error) for key, error in spread.items()},
    )


def make_reference(
    work: Workload, precision: str, training: Split, call_steps: int = STEPS
) -> Reference:
    """The candidate whose ten steps are the least sensitive to rounding.

    `call_steps` is the most steps that a case trains in one call.
    """
    large = work.network.step_flops(work.batch_size) > LARGE_STEP_FLOPS
    seeds = range(1 if large else CANDIDATES)
    candidates = (make_candidate(work, precision, training, call_steps, seed) for seed in seeds)
    return min(candidates, key=lambda candidate: max(candidate.bounds.values()))
