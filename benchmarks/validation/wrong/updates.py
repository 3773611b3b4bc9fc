"""Trainings whose updates are wrong on purpose."""

from dataclasses import replace

import numpy as np

from backends.contract import Array, Parameters, State, arrays_of
from backends.numpy.model import Product, product_in
from benchmarks.validation.wrong.wrapped import (
    LateSteps,
    WrongGradients,
    WrongSteps,
    adam_step,
    combined,
    in_layers,
)


class Decay(WrongSteps):
    """Weights decay by 3e-7 a step."""

    def changed(self, before: State, after: State) -> State:
        smaller = [(w * w.dtype.type(1 - 3e-7), b) for w, b in after.parameters]
        return after._replace(parameters=smaller)


class Rate(LateSteps):
    """The learning rate is 1.0003 times too large after some steps."""

    factor = 1.0003

    def changed(self, before: State, after: State) -> State:
        further = combined(before.parameters, after.parameters, self.factor)
        return after._replace(parameters=further)


class RateTripled(Rate):
    """The learning rate triples after some steps."""

    factor = 3.0


class RateFalling(Rate):
    """The learning rate falls by a thousandth with each step after some."""

    @property
    def factor(self) -> float:  # type: ignore[override]
        """What the rate has fallen to."""
        return float(0.999 ** (self.trained - 20))


class Corrected(LateSteps):
    """Bias corrections end after some steps."""

    def train_step(self, batch: Array) -> None:
        steps = self.sound.state().steps
        if self.late:
            self.sound.set_state(self.sound.state()._replace(steps=10**6))
        self.sound.train(batch[None])
        self.sound.set_state(self.sound.state()._replace(steps=steps + 1))


class Settings(WrongGradients):
    """Other settings of Adam after some steps."""

    changes: dict[str, float]

    def updated(self, before: State, gradients: Parameters) -> State:
        changes = {name: getattr(self.adam, name) * by for name, by in self.changes.items()}
        adam = replace(self.adam, **changes) if self.late else self.adam
        return adam_step(before, gradients, adam)


class Beta1(Settings):
    """β₁ is 0.899 after some steps."""

    changes = {"beta_1": 0.899 / 0.9}  # noqa: RUF012


class Beta2(Settings):
    """β₂ is 0.998 after some steps."""

    changes = {"beta_2": 0.998 / 0.999}  # noqa: RUF012


class Epsilon(Settings):
    """ε is a hundred times as large after some steps."""

    changes = {"epsilon": 100.0}  # noqa: RUF012


class Frozen(LateSteps):
    """The second layer's parameters no longer move after some steps."""

    def changed(self, before: State, after: State) -> State:
        first, _, *others = after.parameters
        return after._replace(parameters=[first, before.parameters[1], *others])


class LastBias(LateSteps):
    """The last layer's bias no longer moves after some steps."""

    def changed(self, before: State, after: State) -> State:
        *others, (weight, _) = after.parameters
        return after._replace(parameters=[*others, (weight, before.parameters[-1][1])])


class Forgetting(WrongSteps):
    """The second moments of one step in 30 are not updated, though its step is counted."""

    def changed(self, before: State, after: State) -> State:
        forgets = self.trained % 30 == 0
        return after._replace(second_moments=before.second_moments) if forgets else after


class Largest(WrongSteps):
    """Second moments never fall: AMSGrad."""

    def changed(self, before: State, after: State) -> State:
        pairs = zip(*(arrays_of(one.second_moments) for one in (before, after)), strict=True)
        return after._replace(second_moments=in_layers([np.maximum(*pair) for pair in pairs]))


class LookingBack(WrongSteps):
    """Every fifth step goes half the way back to where the fifth before it ended: lookahead."""

    slow: Parameters | None = None

    def changed(self, before: State, after: State) -> State:
        if self.trained % 5:
            return after
        kept = self.slow or after.parameters
        self.slow = combined(kept, after.parameters, 0.5)
        return after._replace(parameters=self.slow)


class Shortened(WrongSteps):
    """Moments are kept in bfloat16."""

    def changed(self, before: State, after: State) -> State:
        def short(layers: Parameters) -> Parameters:
            arrays = (np.ascontiguousarray(array) for array in arrays_of(layers))
            cut = np.uint32(0xFFFF0000)
            return in_layers([(a.view(np.uint32) & cut).view(np.float32) for a in arrays])

        first, second = map(short, (after.first_moments, after.second_moments))
        return after._replace(first_moments=first, second_moments=second)


class Sparse(WrongSteps):
    """The tenth of the first layer's weights that would move least do not move."""

    def changed(self, before: State, after: State) -> State:
        (old, _), ((new, bias), *others) = before.parameters[0], after.parameters
        distance = np.abs(new - old)
        moved = distance[distance > 0]
        moves = distance > (np.quantile(moved, 0.1) if moved.size else 0)
        return after._replace(parameters=[(np.where(moves, new, old), bias), *others])


class Clipped(WrongGradients):
    """Gradients are clipped to a norm of 5, which an ordinary training never reaches."""

    def wrong(self, before: State, gradients: Parameters) -> Parameters:
        norm = np.sqrt(sum(float(np.vdot(array, array)) for array in arrays_of(gradients)))
        share = min(1.0, 5.0 / norm)
        return in_layers([array * array.dtype.type(share) for array in arrays_of(gradients)])


class Stale(WrongGradients):
    """Each update takes the gradient of the step before."""

    kept: Parameters | None = None

    def wrong(self, before: State, gradients: Parameters) -> Parameters:
        stale, self.kept = self.kept or gradients, gradients
        return stale


class Accumulating(WrongGradients):
    """Each update takes the mean of the gradients of two steps."""

    kept: Parameters | None = None

    def wrong(self, before: State, gradients: Parameters) -> Parameters:
        other, self.kept = self.kept or gradients, gradients
        return combined(gradients, other, 0.5)


class Leaking(WrongGradients):
    """A hundredth of the gradient of the step before goes into the next."""

    kept: Parameters | None = None

    def wrong(self, before: State, gradients: Parameters) -> Parameters:
        other, self.kept = self.kept or gradients, gradients
        return combined(gradients, other, 0.01)


class Noisy(WrongGradients):
    """Gradients have noise of a thousandth, drawn anew."""

    generator = np.random.default_rng(0)

    def wrong(self, before: State, gradients: Parameters) -> Parameters:
        def noisy(array: Array) -> Array:
            noise = self.generator.normal(1, 1e-3, array.shape)
            return array * noise.astype(array.dtype)

        return in_layers([noisy(array) for array in arrays_of(gradients)])


class Regularised(WrongGradients):
    """Gradients have a hundred-thousandth of the parameters added: a penalty on their size."""

    def wrong(self, before: State, gradients: Parameters) -> Parameters:
        pairs = zip(arrays_of(gradients), arrays_of(before.parameters), strict=True)
        return in_layers([g + g.dtype.type(1e-5) * p for g, p in pairs])


class Nesterov(WrongGradients):
    """Parameters are moved by the first moments of the next step, guessed: Nesterov's Adam."""

    def updated(self, before: State, gradients: Parameters) -> State:
        right = adam_step(before, gradients, self.adam)
        ahead = adam_step(right, gradients, replace(self.adam, beta_2=1 - 1e-9))
        moved = zip(*(arrays_of(s.parameters) for s in (before, right, ahead)), strict=True)
        return right._replace(parameters=in_layers([p + (b - a) for p, a, b in moved]))


class Coarse(WrongGradients):
    """After some steps products round their factors to ten bits."""

    def factors(self) -> Product:
        return product_in("tf32" if self.late else "float32")
