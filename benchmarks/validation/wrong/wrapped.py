"""What makes a sound trainer wrong: classes that stand around one, of any backend."""

import numpy as np

from backends.contract import (
    Adam,
    Array,
    Description,
    Parameters,
    Program,
    State,
    Trainer,
    Training,
    arrays_of,
)
from backends.numpy.model import Product, loss_and_gradients, product_in

LATE = 25
"""The step from which those that begin right go wrong."""


class Wrapped(Trainer):
    """A trainer that passes everything on to another one."""

    def __init__(self, sound: Trainer, training: Training) -> None:
        self.sound, self.training = sound, training

    def set_state(self, state: State) -> None:
        self.sound.set_state(state)

    def train(self, rows: Array) -> None:
        self.sound.train(rows)

    def fetch(self, rows: Array) -> None:
        self.sound.fetch(rows)

    def synchronise(self) -> None:
        self.sound.synchronise()

    def losses(self) -> Array:
        return self.sound.losses()

    def state(self) -> State:
        return self.sound.state()

    def logits(self, images: Array) -> Array:
        return self.sound.logits(images)

    def product(self, a: Array, b: Array) -> Array:
        return self.sound.product(a, b)

    def describe(self) -> Description:
        return self.sound.describe()

    def weight_address(self) -> int | None:
        return self.sound.weight_address()

    def peak_device_bytes(self) -> int | None:
        return self.sound.peak_device_bytes()

    def compilations(self) -> int:
        return self.sound.compilations()

    def program(self, rows: Array) -> Program:
        return self.sound.program(rows)


class WrongSteps(Wrapped):
    """Trains step by step, and may change the state that each has led to."""

    trained = 0

    def train(self, rows: Array) -> None:
        for batch in rows:
            self.trained += 1
            self.train_step(batch)

    def train_step(self, batch: Array) -> None:
        """Train on one batch, (batch_size,)."""
        before = self.sound.state()
        self.sound.train(batch[None])
        self.sound.synchronise()
        self.sound.set_state(self.changed(before, self.sound.state()))

    def changed(self, before: State, after: State) -> State:
        """What becomes of the state after a step."""
        del before
        return after

    @property
    def late(self) -> bool:
        """Whether the step that is trained is one of those that go wrong."""
        return self.trained > LATE

    @property
    def adam(self) -> Adam:
        """Adam as it should be."""
        return self.training.adam


class LateSteps(WrongSteps):
    """Steps that are right at first, for whoever looks at twenty of them."""

    def train_step(self, batch: Array) -> None:
        if self.late:
            super().train_step(batch)
        else:
            self.sound.train(batch[None])


class WrongGradients(WrongSteps):
    """Makes Adam's step by itself, in NumPy, from gradients that are wrong."""

    def train_step(self, batch: Array) -> None:
        before, data = self.sound.state(), self.training.training_set
        images, labels = self.seen(data.images[batch], data.labels[batch])
        _, gradients = loss_and_gradients(before.parameters, images, labels, self.factors())
        self.sound.set_state(self.updated(before, self.wrong(before, gradients)))

    def factors(self) -> Product:
        """How products are computed."""
        return product_in("float32")

    def seen(self, images: Array, labels: Array) -> tuple[Array, Array]:
        """The images and labels that are trained on."""
        return images, labels

    def wrong(self, before: State, gradients: Parameters) -> Parameters:
        """The gradients that Adam is given."""
        del before
        return gradients

    def updated(self, before: State, gradients: Parameters) -> State:
        """The state that Adam makes of them."""
        return adam_step(before, gradients, self.adam)


def adam_step(before: State, gradients: Parameters, adam: Adam) -> State:
    """The state after Adam's step on gradients, with everything in the type of the parameters."""
    step = before.steps + 1
    share, root = 1 - adam.beta_1**step, np.sqrt(1 - adam.beta_2**step)

    def move(p: Array, m: Array, v: Array, g: Array) -> tuple[Array, ...]:
        number = p.dtype.type
        m = number(adam.beta_1) * m + number(1 - adam.beta_1) * g
        v = number(adam.beta_2) * v + number(1 - adam.beta_2) * g * g
        update = m / (np.sqrt(v) / number(root) + number(adam.epsilon))
        return p - number(adam.learning_rate / share) * update, m, v

    kinds = before.parameters, before.first_moments, before.second_moments, gradients
    moved = [move(*arrays) for arrays in zip(*map(arrays_of, kinds), strict=True)]
    parameters, first, second = (in_layers([*kind]) for kind in zip(*moved, strict=True))
    return State(parameters, first, second, step)


def in_layers(arrays: list[Array]) -> Parameters:
    """The inverse of `arrays_of`."""
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def combined(one: Parameters, other: Parameters, share: float) -> Parameters:
    """One + share · (other − one), array by array."""
    pairs = zip(arrays_of(one), arrays_of(other), strict=True)
    return in_layers([a + a.dtype.type(share) * (b - a) for a, b in pairs])
