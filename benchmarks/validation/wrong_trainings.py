"""Trainings that are wrong on purpose, and the check of a timed block that is to catch each.

Those whose updates are wrong are in wrong_updates.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backends.contract import Array, Parameters, State
from backends.numpy.model import product_in
from backends.numpy.taught import Eager
from benchmarks.validation.wrong_updates import (
    Beta1,
    Beta2,
    Clipped,
    Corrected,
    Epsilon,
    Forgetting,
    Frozen,
    LastBias,
    Leaking,
    Noisy,
    Rate,
    RateTripled,
    Regularised,
    Stale,
    Wrong,
)


class Decay(Wrong):
    """Weights decay by 3e-7 a step."""

    def train_step(self, batch: Array) -> None:
        super().train_step(batch)
        for weight, _ in self._parameters:
            weight *= weight.dtype.type(1 - 3e-7)


class Reset(Wrong):
    """Adam starts again at each call."""

    def train(self, rows: Array) -> None:
        self.set_state(State.starting_from(self._parameters))
        super().train(rows)


class FirstRows(Wrong):
    """Only the first rows of a call are trained."""

    def train(self, rows: Array) -> None:
        super().train(rows[: max(1, len(rows) // 2)])


class CountedRows(FirstRows):
    """The same, and Adam is said to have counted all of them."""

    def train(self, rows: Array) -> None:
        steps = self._steps + len(rows)
        super().train(rows)
        self._steps = steps


class LastDropped(Wrong):
    """The last batch of a call is dropped, where there are more."""

    def train(self, rows: Array) -> None:
        super().train(rows[:-1] if len(rows) > 1 else rows)


class Skipping(Wrong):
    """Every 20th step is skipped, but counted."""

    def train_step(self, batch: Array) -> None:
        if self.trained % 20:
            super().train_step(batch)
        else:
            self._steps += 1


class Repeating(Wrong):
    """Every second batch is the one before it."""

    def train(self, rows: Array) -> None:
        super().train(rows[np.arange(len(rows)) // 2 * 2])


class Averaged(Wrong):
    """Accuracies are read from an average of the parameters."""

    average: Parameters | None = None

    def train_step(self, batch: Array) -> None:
        super().train_step(batch)
        kept = self.average or self._parameters
        self.average = [
            tuple(0.9 * a + 0.1 * b for a, b in zip(layer, new, strict=True))  # type: ignore[misc]
            for layer, new in zip(kept, self._parameters, strict=True)
        ]

    def logits(self, images: Array) -> Array:
        parameters = self._parameters
        self._parameters = self.average or parameters
        result = super().logits(images)
        self._parameters = parameters
        return result


class Coarse(Wrong):
    """After some steps products round their factors to ten bits."""

    def train_step(self, batch: Array) -> None:
        if self.late:
            self._product = product_in("tf32")
        super().train_step(batch)


class Halved(Wrong):
    """After some steps only half of each batch is trained on."""

    def train_step(self, batch: Array) -> None:
        super().train_step(batch[: len(batch) // 2] if self.late else batch)


class Labels(Wrong):
    """After some steps one image in a batch has another label."""

    def train_step(self, batch: Array) -> None:
        given = self._labels
        if self.late:
            self._labels = given.copy()
            self._labels[batch[0]] = (given[batch[0]] + 1) % len(self._parameters[-1][1])
        super().train_step(batch)
        self._labels = given


class Images(Wrong):
    """After some steps images are kept in eight bits of significand."""

    def train_step(self, batch: Array) -> None:
        if self.late and not hasattr(self, "given"):
            self.given = self._images
            self._images = (self._images * 254).round() / self._images.dtype.type(254)
        super().train_step(batch)


class Easy(Wrong):
    """A step is left out where the loss before it was small: what is trained depends on data."""

    _loss = np.inf

    def train_step(self, batch: Array) -> None:
        if self._loss < 2.3 and self.trained % 2:
            self._steps += 1
            self._loss = np.inf
        else:
            super().train_step(batch)


class Unlit(Wrong):
    """A step moves weights of pixels that are zero everywhere, by so little that no sum shows."""

    def train_step(self, batch: Array) -> None:
        super().train_step(batch)
        self._parameters[0][0][-1] *= self._images.dtype.type(1 + 3e-7)


@dataclass(frozen=True)
class Mutant:
    """A wrong training, and the checks of which one must fail."""

    trainer: Callable[..., Eager]
    caught_by: tuple[str, ...]


STATE = ("parameters", "rate", "first moments", "second moments")
MUTANTS = {
    one.__name__: Mutant(one, caught_by)
    for one, caught_by in [
        (Decay, ("decay",)),
        (Corrected, ("rate",)),
        (Rate, ("rate",)),
        (RateTripled, ("rate",)),
        (Beta1, ("first moments",)),
        (Beta2, ("silent pixels", "second moments")),
        (Epsilon, ("rate",)),
        (Frozen, ("rate",)),
        (Reset, STATE),
        (FirstRows, ("steps",)),
        (CountedRows, STATE),
        (LastDropped, ("steps",)),
        (Skipping, STATE),
        (Repeating, STATE),
        (Averaged, ("logits",)),
        (Clipped, ("large gradients",)),
        (Stale, STATE),
        (Coarse, ("first moments",)),
        (Halved, STATE),
        (Labels, STATE),
        (Images, STATE),
        (Easy, STATE),
        (Noisy, STATE),
        (Leaking, STATE),
        (Regularised, ("first moments",)),
        (LastBias, ("rate",)),
        (Unlit, ("unlit pixels",)),
        (Forgetting, ("silent pixels", "second moments")),
    ]
}
