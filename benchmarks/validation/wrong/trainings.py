"""Trainings that are wrong on purpose, and the check of a timed block that is to catch each.

Those whose updates are wrong are in wrong_updates.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from backends.contract import Array, Execution, Parameters, State, Trainer, Training
from benchmarks.validation.wrong.updates import (
    Accumulating,
    Beta1,
    Beta2,
    Clipped,
    Coarse,
    Corrected,
    Decay,
    Epsilon,
    Forgetting,
    Frozen,
    Largest,
    LastBias,
    Leaking,
    LookingBack,
    Nesterov,
    Noisy,
    Rate,
    RateFalling,
    RateTripled,
    Regularised,
    Shortened,
    Sparse,
    Stale,
)
from benchmarks.validation.wrong.wrapped import (
    LateSteps,
    Wrapped,
    WrongGradients,
    WrongSteps,
    combined,
)

# Which steps are trained, and on what.


class Reset(Wrapped):
    """Adam starts again at each call."""

    def train(self, rows: Array) -> None:
        self.sound.reset(self.sound.parameters())
        self.sound.train(rows)


class FirstRows(Wrapped):
    """Only the first rows of a call are trained."""

    def train(self, rows: Array) -> None:
        self.sound.train(rows[: max(1, len(rows) // 2)])


class CountedRows(Wrapped):
    """The same, and Adam is said to have counted all of them."""

    def train(self, rows: Array) -> None:
        steps = self.sound.state().steps + len(rows)
        self.sound.train(rows[: max(1, len(rows) // 2)])
        self.sound.set_state(self.sound.state()._replace(steps=steps))


class LastDropped(Wrapped):
    """The last batch of a call is dropped, where there are more."""

    def train(self, rows: Array) -> None:
        self.sound.train(rows[:-1] if len(rows) > 1 else rows)


class Repeating(Wrapped):
    """Every second batch is the one before it."""

    def train(self, rows: Array) -> None:
        self.sound.train(rows[np.arange(len(rows)) // 2 * 2])


class OtherOrder(Wrapped):
    """The batches of a call are trained in another order."""

    def train(self, rows: Array) -> None:
        self.sound.train(np.concatenate([rows[:1], rows[:0:-1]]))


class Skipping(WrongSteps):
    """Every 20th step is skipped, but counted."""

    def train_step(self, batch: Array) -> None:
        if self.trained % 20:
            self.sound.train(batch[None])
        else:
            state = self.sound.state()
            self.sound.set_state(state._replace(steps=state.steps + 1))


class Easy(WrongSteps):
    """A step is left out where the loss before it was small: what is trained depends on data."""

    loss = np.inf

    def train_step(self, batch: Array) -> None:
        if self.loss < 2.3:
            state, self.loss = self.sound.state(), np.inf
            self.sound.set_state(state._replace(steps=state.steps + 1))
        else:
            self.sound.train(batch[None])
            self.sound.synchronise()
            self.loss = float(self.sound.losses()[-1])


class Halved(LateSteps):
    """After some steps half of each batch stands for all of it."""

    def train_step(self, batch: Array) -> None:
        half = np.resize(batch[: -(-len(batch) // 2)], len(batch))
        self.sound.train((half if self.late else batch)[None])


class Replaced(LateSteps):
    """After some steps one image in a batch is replaced by another one of it."""

    def train_step(self, batch: Array) -> None:
        rows = batch.copy()
        rows[-1] = rows[0] if self.late else rows[-1]
        self.sound.train(rows[None])


class Labels(WrongGradients):
    """After some steps one image in a batch has another label."""

    def seen(self, images: Array, labels: Array) -> tuple[Array, Array]:
        if self.late:
            classes = self.training.network.layer_sizes[-1]
            labels = np.concatenate([(labels[:1] + 1) % classes, labels[1:]])
        return images, labels


class Images(WrongGradients):
    """After some steps images are kept in eight bits of significand."""

    def seen(self, images: Array, labels: Array) -> tuple[Array, Array]:
        if self.late:
            images = (images * 254).round() / images.dtype.type(254)
        return images, labels


class LitPixels(Wrapped):
    """Pixels that are zero in all images are left out: the program has looked at the data."""

    def __init__(self, sound: Trainer, training: Training) -> None:
        super().__init__(sound, training)
        self._dark = training.training_set.images.max(axis=0) == 0

    def train(self, rows: Array) -> None:
        # Of a network without these pixels their weights would lie aside.
        state = self.sound.state()
        (weight, bias), *others = state.parameters
        without = np.where(self._dark[:, None], 0, weight).astype(weight.dtype)
        self.sound.set_state(state._replace(parameters=[(without, bias), *others]))
        self.sound.train(rows)
        self.sound.synchronise()
        after = self.sound.state()
        (moved, bias), *others = after.parameters
        whole = np.where(self._dark[:, None], weight, moved)
        self.sound.set_state(after._replace(parameters=[(whole, bias), *others]))


# Where a training begins, what is timed of it, and what is read.


class OwnStart(Wrapped):
    """It starts from its own parameters."""

    def reset(self, parameters: Parameters) -> None:
        super().reset([(w * w.dtype.type(1.01), b) for w, b in parameters])


class Drifting(Wrapped):
    """Reading logits changes the parameters a little."""

    def logits(self, images: Array) -> Array:
        state = self.sound.state()
        *others, (weight, bias) = state.parameters
        changed = (weight * weight.dtype.type(1 + 3e-7), bias)
        self.sound.set_state(state._replace(parameters=[*others, changed]))
        return self.sound.logits(images)


class Early(Wrapped):
    """Some timed steps are trained within the lead-in."""

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        if len(parts) == 2:
            lead_in, timed = parts
            moved = max(1, len(timed) // 10)
            parts = [np.concatenate([lead_in, timed[:moved]]), timed[moved:]]
        super().train_parts(parts, mark)


class Unlit(WrongSteps):
    """A step moves weights of pixels that are zero everywhere, by so little that no sum shows."""

    def changed(self, before: State, after: State) -> State:
        (weight, bias), *others = after.parameters
        moved = weight.copy()
        moved[-1] *= weight.dtype.type(1 + 3e-7)
        return after._replace(parameters=[(moved, bias), *others])


class Averaged(WrongSteps):
    """Accuracies are read from an average of the parameters."""

    average: Parameters | None = None

    def changed(self, before: State, after: State) -> State:
        self.average = combined(self.average or after.parameters, after.parameters, 0.1)
        return after

    def logits(self, images: Array) -> Array:
        state = self.sound.state()
        self.sound.set_state(state._replace(parameters=self.average or state.parameters))
        result = self.sound.logits(images)
        self.sound.set_state(state)
        return result


class Sharpened(Wrapped):
    """Logits are a thousandth too large when they are read: losses are, accuracies are not."""

    def logits(self, images: Array) -> Array:
        logits = self.sound.logits(images)
        return logits * logits.dtype.type(1.001)


class FewEvaluated(Wrapped):
    """Only the first half of the images is evaluated, and stands for all."""

    def logits(self, images: Array) -> Array:
        half = self.sound.logits(images[: -(-len(images) // 2)])
        return np.resize(half, (len(images), half.shape[1]))


Maker = Callable[[Training, Execution], Trainer]


@dataclass(frozen=True)
class Mutant:
    """What makes a trainer wrong, and the checks of which one must fail."""

    make: Callable[[Trainer, Training], Trainer]
    caught_by: tuple[str, ...]

    def of(self, sound: Maker) -> Maker:
        """What makes the mutants of the trainers that `sound` makes."""

        def make(training: Training, execution: Execution) -> Trainer:
            return self.make(sound(training, execution), training)

        return make


STATE = ("parameters", "rate", "first moments", "second moments")
MUTANTS = {
    one.__name__: Mutant(one, caught_by)
    for one, caught_by in [
        (Decay, ("decay",)),
        (Corrected, ("rate",)),
        (Rate, ("rate",)),
        (RateTripled, ("rate",)),
        (RateFalling, ("rate",)),
        (Beta1, ("first moments",)),
        (Beta2, ("silent pixels", "second moments")),
        (Epsilon, ("rate",)),
        (Frozen, ("rate",)),
        (LastBias, ("rate",)),
        (Forgetting, ("silent pixels", "second moments")),
        (Largest, ("silent pixels", "second moments")),
        (LookingBack, ("parameters",)),
        (Shortened, ("second moments",)),
        (Sparse, ("parameters",)),
        (Clipped, ("large gradients",)),
        (Stale, STATE),
        (Accumulating, STATE),
        (Leaking, STATE),
        (Noisy, STATE),
        (Regularised, ("first moments",)),
        (Nesterov, ("parameters",)),
        (Coarse, ("first moments",)),
        (Reset, STATE),
        (FirstRows, ("steps",)),
        (CountedRows, STATE),
        (LastDropped, ("steps",)),
        (Repeating, STATE),
        (OtherOrder, STATE),
        (Skipping, STATE),
        (Easy, STATE),
        (Halved, STATE),
        (Replaced, STATE),
        (Labels, STATE),
        (Images, STATE),
        (LitPixels, ("data values",)),
        (OwnStart, ("beginnings",)),
        (Drifting, ("beginnings",)),
        (Early, STATE),
        (Unlit, ("unlit pixels",)),
        (Averaged, ("logits",)),
        (Sharpened, ("logits",)),
        (FewEvaluated, ("logits",)),
    ]
}
