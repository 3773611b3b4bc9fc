"""The least that a step can be in JAX."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from backends import contract, floors
from backends.contract import Array, Execution, Program, Training
from backends.floors import ADAM, GATHER, REPEATS, XLA, XLA_TRANSPOSED, Candidate, Piece
from backends.jax.model import device_of

Matrices = dict[str, Any]


class State(NamedTuple):
    """All that a step changes; weights and moments lie as (outputs, inputs)."""

    weights: list[jax.Array]
    first_moments: list[jax.Array]
    second_moments: list[jax.Array]
    steps: jax.Array
    labels: jax.Array  # of the batch


class Floor(floors.Floor):
    """Many steps in one program, its arrays donated."""

    def __init__(self, training: Training, batch_size: int, execution: Execution) -> None:
        self._steps_per_call, self.repeats = execution.steps_per_call, REPEATS[execution.device]
        self._network, self._adam, self._batch_size = training.network, training.adam, batch_size
        self._images = jnp.asarray(training.training_set.images, execution.product_type)
        self._labels = jax.device_put(training.training_set.labels)
        self._products = execution.products or floors.choose_by_layer(
            floors.time_candidates(self._candidates, lambda: None, self.repeats)
        )
        floors.check_xla(self._products, self._network)
        self._inputs_first = floors.layers_inputs_first(self._products)
        start = floors.turned((weight for weight, _ in training.start), self._inputs_first)
        weights = [jnp.asarray(weight, execution.stored) for weight in start]
        first, second = ([jnp.zeros_like(weight) for weight in weights] for _ in range(2))
        labels = jnp.zeros(batch_size, self._labels.dtype)
        self._state = State(weights, first, second, jnp.zeros((), weights[0].dtype), labels)
        self._gradients = [jnp.zeros_like(w, self._images.dtype) for w in weights]
        self._passes = jax.jit(self._repeated_pass, donate_argnums=0)
        self._program = jax.jit(self._steps, donate_argnums=0)

    def train(self, rows: Array) -> None:
        for part in contract.calls(rows, self._steps_per_call):
            self._state = self._program(self._state, self._images, self._labels, part)

    def _steps(self, state: State, images: jax.Array, labels: jax.Array, rows: jax.Array) -> State:
        def step(state: State, batch: jax.Array) -> tuple[State, None]:
            return self._step(state, *self._gathered(images, labels, batch)), None

        return jax.lax.scan(step, state, rows)[0]

    @staticmethod
    def _gathered(images: jax.Array, labels: jax.Array, batch: jax.Array) -> Any:
        return images.at[batch].get(mode="promise_in_bounds"), labels[batch]

    def _step(self, state: State, images: jax.Array, labels: jax.Array) -> State:
        matrices: Matrices = {"outputs 0": images}
        for layer, weight in enumerate(state.weights, start=1):
            matrices[f"weight {layer}"] = weight.astype(images.dtype)
        for product in floors.products(self._network, self._inputs_first):
            factors = [matrices[factor.matrix] for factor in product[1:3]]
            multiply = multiply_by(self._products[product.name], product)
            matrices[product.result] = multiply(*factors)
        layers = range(1, len(state.weights) + 1)
        gradients = [matrices[f"gradient {layer}"] for layer in layers]
        return self._updated(state, gradients)._replace(labels=labels)

    def _updated(self, state: State, gradients: list[jax.Array]) -> State:
        adam, steps = self._adam, state.steps + 1
        step_size = adam.learning_rate / (1 - adam.beta_1**steps)
        correction = jax.lax.rsqrt(1 - adam.beta_2**steps)
        new: list[tuple[jax.Array, ...]] = []
        for w, m, v, g in zip(*state[:3], gradients, strict=True):
            g = g.astype(w.dtype)
            m = adam.beta_1 * m + (1 - adam.beta_1) * g
            v = adam.beta_2 * v + (1 - adam.beta_2) * g * g
            w = w - step_size * m / (jnp.sqrt(v) * correction + adam.epsilon)
            new.append((w, m, v))
        weights, first, second = map(list, zip(*new, strict=True))
        return State(weights, first, second, steps, state.labels)

    def _repeated_pass(self, state: State, gradients: list[jax.Array]) -> State:
        def update(_: Any, state: State) -> State:
            return self._updated(state, gradients)

        return jax.lax.fori_loop(0, self.repeats, update, state)

    def update(self) -> None:
        self._state = self._passes(self._state, self._gradients)

    def synchronise(self) -> None:
        jax.block_until_ready(self._state)

    def products(self) -> dict[str, str]:
        return self._products

    @cached_property
    def _candidates(self) -> list[Candidate]:
        def repeat(
            library: str, product: floors.Product, factors: list[jax.Array]
        ) -> Callable[[], Any]:
            return repeated(self.repeats, multiply_by(library, product), tuple(factors))

        return floors.xla_candidates(
            self._network,
            self._batch_size,
            partial(jnp.ones, dtype=self._images.dtype),
            repeat,
        )

    def pieces(self) -> list[Piece]:
        rows = jnp.arange(self._batch_size, dtype=jnp.int32) % len(self._labels)
        given = self._images, self._labels, rows
        gather = repeated(self.repeats, self._gathered, given, carried=2)
        others = [Candidate(ADAM, XLA, self.update), Candidate(GATHER, XLA, gather)]
        timed = floors.time_candidates([*self._candidates, *others], self.synchronise, self.repeats)
        return floors.marked(timed, self._products | {ADAM: XLA, GATHER: XLA})

    def square(self, size: int) -> jax.Array:
        return jnp.ones((size, size), self._images.dtype)

    def multiply(self, matrix: jax.Array) -> None:
        jnp.matmul(matrix, matrix).block_until_ready()

    def arrays(self) -> list[list[Array]]:
        return [
            floors.turned(map(np.asarray, arrays), self._inputs_first) for arrays in self._state[:3]
        ]

    def labels(self) -> Array:
        return np.asarray(self._state.labels)

    def device(self) -> str:
        return device_of(self._state.weights[0])

    def program(self, rows: Array) -> Program:
        return Program(self._program, (self._state, self._images, self._labels, rows))


def multiply_by(library: str, product: floors.Product) -> Callable[..., jax.Array]:
    """The function of two matrices that makes a product, transposing what it says."""

    def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
        left = a.T if product.left.transposed else a
        if product.left.transposed and library.startswith(XLA_TRANSPOSED):
            # Behind a barrier the transpose is written to memory first.
            left = jax.lax.optimization_barrier(left)
        return left @ (b.T if product.right.transposed else b)

    return multiply


def repeated(
    times: int, call: Callable[..., Any], arguments: tuple[Any, ...], carried: int = 0
) -> Any:
    """A function that makes `call` so many times in one program, waiting for the end.

    Arguments from the number `carried` on pass through a barrier with each result, so that no
    repetition can be left out; those before are only read.
    """

    def loop(kept: tuple[Any, ...], moving: tuple[Any, ...]) -> Any:
        def body(_: Any, state: Any) -> Any:
            moving, _ = state
            return jax.lax.optimization_barrier((moving, call(*kept, *moving)))

        # The first of them gives the loop what it carries.
        return jax.lax.fori_loop(1, times, body, (moving, call(*kept, *moving)))

    program = partial(jax.jit(loop), arguments[:carried], arguments[carried:])
    return lambda: jax.block_until_ready(program())
