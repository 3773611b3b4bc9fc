"""Trainings whose updates are wrong on purpose: NumPy's trainer with one thing changed each.

Most are right at first, for whoever looks at ten steps.
"""

from dataclasses import replace

import numpy as np

from backends.contract import Array, Parameters
from backends.numpy.taught import Eager

LATE = 25
"""The step from which those that begin right go wrong."""


class Wrong(Eager):
    """A trainer that counts its steps whatever Adam does."""

    trained = 0

    def train(self, rows: Array) -> None:
        for batch in rows:
            self.trained += 1
            self.train_step(batch)

    def train_step(self, batch: Array) -> None:
        """Train on one batch, (batch_size,)."""
        super().train(batch[None])

    @property
    def late(self) -> bool:
        """Whether the step that is trained is one of those that go wrong."""
        return self.trained > LATE


class Corrected(Wrong):
    """Bias corrections end after some steps."""

    def _update(self, gradients: Parameters) -> None:
        steps = self._steps
        self._steps = 10**6 if self.late else steps
        super()._update(gradients)
        self._steps = steps + 1


class Settings(Wrong):
    """Other settings of Adam after some steps."""

    changed: dict[str, float]

    def _update(self, gradients: Parameters) -> None:
        if self.late:
            given = self._adam
            changed = {name: getattr(given, name) * by for name, by in self.changed.items()}
            self._adam = replace(given, **changed)
            super()._update(gradients)
            self._adam = given
        else:
            super()._update(gradients)


class Rate(Settings):
    """The learning rate is 1.0003 times too large after some steps."""

    changed = {"learning_rate": 1.0003}  # noqa: RUF012


class RateTripled(Settings):
    """The learning rate triples after some steps."""

    changed = {"learning_rate": 3.0}  # noqa: RUF012


class Beta1(Settings):
    """β₁ is 0.899 after some steps."""

    changed = {"beta_1": 0.899 / 0.9}  # noqa: RUF012


class Beta2(Settings):
    """β₂ is 0.998 after some steps."""

    changed = {"beta_2": 0.998 / 0.999}  # noqa: RUF012


class Epsilon(Settings):
    """ε is a hundred times as large after some steps."""

    changed = {"epsilon": 100.0}  # noqa: RUF012


class Frozen(Wrong):
    """The second layer's parameters no longer move after some steps."""

    def _update(self, gradients: Parameters) -> None:
        weight, bias = (array.copy() for array in self._parameters[1])
        super()._update(gradients)
        if self.late:
            self._parameters[1] = weight, bias


class Clipped(Wrong):
    """Gradients are clipped to a norm of 5, which an ordinary training never reaches."""

    def _update(self, gradients: Parameters) -> None:
        norm = np.sqrt(sum(float(np.vdot(a, a)) for layer in gradients for a in layer))
        share = gradients[0][0].dtype.type(min(1.0, 5.0 / norm))
        super()._update([(weight * share, bias * share) for weight, bias in gradients])


class Stale(Wrong):
    """Each update takes the gradient of the step before."""

    before: Parameters | None = None

    def _update(self, gradients: Parameters) -> None:
        kept, self.before = self.before or gradients, gradients
        super()._update(kept)


class Noisy(Wrong):
    """Gradients have noise of a thousandth, drawn anew."""

    generator = np.random.default_rng(0)

    def _update(self, gradients: Parameters) -> None:
        def noisy(array: Array) -> Array:
            noise = self.generator.normal(1, 1e-3, array.shape)
            return array * noise.astype(array.dtype)

        super()._update([(noisy(weight), noisy(bias)) for weight, bias in gradients])


class Leaking(Wrong):
    """A hundredth of each call's last gradient goes into the first of the next."""

    left: Parameters | None = None

    def _update(self, gradients: Parameters) -> None:
        if self.left:
            gradients = [
                (w + w.dtype.type(0.01) * lw, b + b.dtype.type(0.01) * lb)
                for (w, b), (lw, lb) in zip(gradients, self.left, strict=True)
            ]
        self.left = gradients
        super()._update(gradients)


class Regularised(Wrong):
    """Gradients have a millionth of the parameters added: a penalty on their size."""

    def _update(self, gradients: Parameters) -> None:
        share = gradients[0][0].dtype.type(1e-5)
        pairs = zip(gradients, self._parameters, strict=True)
        super()._update([(w + share * p, b + share * q) for (w, b), (p, q) in pairs])


class LastBias(Wrong):
    """The last layer's bias no longer moves after some steps."""

    def _update(self, gradients: Parameters) -> None:
        kept = self._parameters[-1][1].copy()
        super()._update(gradients)
        if self.late:
            self._parameters[-1][1][:] = kept


class Forgetting(Wrong):
    """The second moments of one step in 30 are not updated, though its step is counted."""

    def _update(self, gradients: Parameters) -> None:
        kept = [(w.copy(), b.copy()) for w, b in self._second_moments]
        super()._update(gradients)
        if self.trained % 30 == 0:
            self._second_moments = kept
