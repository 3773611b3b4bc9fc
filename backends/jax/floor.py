"""The least that a step can be in JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backends import contract, floors
from backends.contract import Array, Execution, Network, Program
from backends.floors import PASS_DECAY, PASS_RATE
from backends.jax.model import device_of


class Floor(floors.Floor):
    """Many steps in one program, its arrays donated."""

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        self._steps_per_call = execution.steps_per_call
        images, *state = floors.floor_arrays(network, batch_size, execution.stored)
        self._images = jnp.asarray(images, execution.product_type)
        self._state = jax.device_put(state)
        self._gradients = [jnp.zeros_like(weight) for weight in self._state[0]]
        self._update = jax.jit(self._updated, donate_argnums=0)
        self._program = jax.jit(self._steps, donate_argnums=0, static_argnums=2)

    def train(self, rows: Array) -> None:
        for part in contract.calls(rows, self._steps_per_call):
            self._state = self._program(self._state, self._images, len(part))

    def _steps(self, state: Any, images: jax.Array, steps: int) -> Any:
        state, _ = jax.lax.scan(lambda s, _: (self._step(s, images), None), state, length=steps)
        return state

    def _step(self, state: Any, images: jax.Array) -> Any:
        weights = state[0]
        factors = [weight.astype(images.dtype) for weight in weights]
        outputs = [images]
        for weight in factors:
            outputs.append(outputs[-1] @ weight)
        delta = outputs.pop()
        gradients: list[jax.Array] = []
        for layer in reversed(range(len(factors))):
            gradients.insert(0, outputs[layer].T @ delta)
            if layer:
                delta = delta @ factors[layer].T
        return self._updated(state, gradients)

    def _updated(self, state: Any, gradients: list[jax.Array]) -> Any:
        weights, *moments = state
        moments = [jax.tree.map(lambda m, g: (m + g) * PASS_DECAY, ms, gradients) for ms in moments]
        weights = jax.tree.map(lambda w, m: w - PASS_RATE * m, weights, moments[0])
        return [weights, *moments]

    def update(self) -> None:
        self._state = self._update(self._state, self._gradients)

    def synchronise(self) -> None:
        jax.block_until_ready(self._state)

    def square(self, size: int) -> jax.Array:
        return jnp.ones((size, size), self._images.dtype)

    def multiply(self, matrix: jax.Array) -> None:
        jnp.matmul(matrix, matrix).block_until_ready()

    def arrays(self) -> list[list[Array]]:
        return jax.tree.map(np.asarray, self._state)

    def device(self) -> str:
        return device_of(self._state[0][0])

    def program(self, steps: int) -> Program:
        return Program(self._program, (self._state, self._images, steps))
