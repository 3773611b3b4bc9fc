"""The limit: many steps in one program, and a step whose derivative is written by hand."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from backends.contract import Array, calls
from backends.jax.expert import Compiled
from backends.jax.model import Batch, State, gathered


class Scan(Compiled):
    """Many steps in one program: `lax.scan` over the rows of each batch."""

    compiler = "jax.jit: lax.scan over steps"
    unroll = 1

    def _build(self) -> None:
        def train_steps(state, data, rows):  # type: ignore[no-untyped-def]
            def step(state: State, batch: jax.Array) -> tuple[State, jax.Array]:
                return self._step(state, gathered(data, batch))

            return lax.scan(step, state, rows, unroll=self.unroll)

        self.steps_per_call = self._execution.steps_per_call
        self._program = jax.jit(train_steps, donate_argnums=self.donated)

    def train(self, rows: Array) -> None:
        for part in calls(rows, self.steps_per_call):
            self._state, self._losses = self._program(*self._arguments(part))


class ScanUnrolled(Scan):
    """Several steps in each turn of the program's loop."""

    compiler = "jax.jit: lax.scan over steps, 5 a turn"
    unroll = 5


class ScanGraph(Scan):
    """The loop in one CUDA graph with what it repeats, so that the host launches a call as a whole.

    The program is that of `scan`; ladder.py has the flags that it is compiled with.
    """

    compiler = "jax.jit: lax.scan over steps, in a CUDA graph"


class ScanGraphUnrolled(ScanGraph):
    """No loop is left in the graph, which a GPU would have to ask for its end after each turn."""

    compiler = "jax.jit: lax.scan over steps, unrolled in a CUDA graph"


class Handwritten(Scan):
    """The same loop, with loss, derivative and Adam by hand.

    It takes 0.96 of the time of `scan`, even before its last product is turned round (two cores of
    an AMD EPYC of the generation Zen 3, jaxlib 0.10.2).
    """

    compiler = "jax.jit: lax.scan over steps, derivative by hand"
    optimizer = "Adam by jax.numpy, array by array"

    def _step(self, state: State, batch: Batch) -> tuple[State, jax.Array]:
        layers = self._layers_of(state.parameters)
        loss, gradients = self._loss_and_gradients(layers, batch["image"], batch["label"])
        return self._updated(state, self._arrays_of(gradients)), loss

    def _loss_and_gradients(
        self, layers: Any, images: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, Any]:
        """The mean loss over a batch, and its derivative by the (weight, bias) of each layer."""
        cast = partial(jnp.asarray, dtype=self._execution.product_type)
        layers = jax.tree.map(cast, layers)
        outputs = [cast(images)]
        for weight, bias in layers[:-1]:
            outputs.append(jnp.maximum(outputs[-1] @ weight + bias, 0))
        weight, bias = layers[-1]
        log_shares = jax.nn.log_softmax((outputs[-1] @ weight + bias).astype(images.dtype))
        truth = jax.nn.one_hot(labels, len(bias), dtype=images.dtype)
        size = self._averaged_over(labels)
        loss = -(log_shares * truth).sum() / size
        delta = cast(self._delta(log_shares, truth) / size)
        gradients = [(self._turned_product(outputs[-1], delta), delta.sum(0))]
        for layer in reversed(range(len(layers) - 1)):
            delta = jnp.where(outputs[layer + 1] > 0, delta @ layers[layer + 1][0].T, 0)
            gradients.insert(0, (outputs[layer].T @ delta, delta.sum(0)))
        return loss, gradients

    def _averaged_over(self, labels: jax.Array) -> int:
        """The images over which loss and gradients are means."""
        return len(labels)

    def _delta(self, log_shares: jax.Array, truth: jax.Array) -> jax.Array:
        """The derivative of each image's loss by its logits."""
        return jnp.exp(log_shares) - truth

    def _turned_product(self, inputs: jax.Array, delta: jax.Array) -> jax.Array:
        """The last weight's gradient, inputsᵀ · delta, computed as (deltaᵀ · inputs)ᵀ.

        XLA's compiler for CPUs leaves inputsᵀ · delta to Eigen, which takes 0.21 ms of a step of
        4.2 ms; turned round it goes to YNNPACK, which takes 0.03: 0.13 of the time (two cores of an
        AMD EPYC of the generation Zen 3, jaxlib 0.10.2). The barriers keep XLA from turning it
        back.
        """
        if self._execution.device == "gpu":
            return inputs.T @ delta
        return lax.optimization_barrier(lax.optimization_barrier(delta.T) @ inputs).T

    def _updated(self, state: State, gradients: list[jax.Array]) -> State:
        """Adam's step, of which XLA makes one pass over each array."""
        adam = self._training.adam
        moments, *rest = state.adam
        count = moments.count + 1
        step_size = adam.learning_rate / remainder(adam.beta_1, count)
        correction = lax.rsqrt(remainder(adam.beta_2, count))

        def updated(p: Any, m: Any, v: Any, g: jax.Array) -> tuple[jax.Array, ...]:
            m = adam.beta_1 * m + (1 - adam.beta_1) * g
            v = adam.beta_2 * v + (1 - adam.beta_2) * g * g
            return p - step_size * m / (jnp.sqrt(v) * correction + adam.epsilon), m, v

        arrays = zip(state.parameters, moments.mu, moments.nu, gradients, strict=True)
        parameters, mu, nu = map(list, zip(*(updated(*four) for four in arrays), strict=True))
        return State(parameters, (moments._replace(count=count, mu=mu, nu=nu), *rest))


class HandwrittenGraph(Handwritten):
    """The loop by hand, its turns one after another in one CUDA graph."""

    compiler = "jax.jit: lax.scan over steps, unrolled in a CUDA graph, derivative by hand"


def remainder(beta: float, count: jax.Array) -> jax.Array:
    """Compute 1 − βᵗ, of which float32 would lose five digits at the first steps if written so."""
    return -jnp.expm1(count * math.log(beta))
