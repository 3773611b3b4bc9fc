"""The idiomatic tier: JAX as its documentation teaches it, operation by operation or jitted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from backends.contract import (
    FETCHES_ITSELF,
    Array,
    Execution,
    NotKeptError,
    Parameters,
    Program,
    Training,
)
from backends.jax.inspection import Inspection
from backends.jax.model import MLP, State
from backends.jax.setup import product_type


class Eager(Inspection):
    """Operation by operation: each primitive is dispatched by itself, forward and backward."""

    def __init__(self, training: Training, execution: Execution) -> None:
        adam, images = training.adam, training.training_set.images
        self._adam = adam
        self._execution = execution
        self._resident = execution.input == "resident"
        place = jax.device_put if self._resident else np.asarray
        self._images: Any = place(images)
        self._labels = place(training.training_set.labels)
        # An NNX module, or its State, costs host time at each call that takes one: it is split
        # once, and the steps work on the plain arrays. With the State a jitted step took 5% more.
        sizes, types = training.network.layer_sizes, (images.dtype, product_type(execution))
        blank = nnx.eval_shape(lambda: MLP(sizes, *types, rngs=nnx.Rngs(0)))
        self._graph, self._blank = nnx.split(blank)
        self._layout = jax.tree.structure(self._blank)
        self._optimizer = optax.adam(
            adam.learning_rate, b1=adam.beta_1, b2=adam.beta_2, eps=adam.epsilon
        )
        self._jitted_forward = jax.jit(self._forward)
        self._build()
        self.reset(training.start)

    def _build(self) -> None:
        """Make the functions that the mode compiles; there are none here."""

    def reset(self, parameters: Parameters) -> None:
        model = nnx.merge(self._graph, self._blank)
        for layer, (weight, bias) in zip(model.layers, parameters, strict=True):
            layer.kernel = nnx.Param(jnp.array(weight, self._images.dtype))
            layer.bias = nnx.Param(jnp.array(bias, self._images.dtype))
        arrays = jax.tree.leaves(nnx.state(model))
        self._state = State(arrays, self._optimizer.init(arrays))
        self._losses = jnp.full(1, jnp.nan)

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._state, self._losses = self._step(
                self._state, self._images[batch], self._labels[batch]
            )

    def _step(self, state: State, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
        loss, gradients = jax.value_and_grad(self._batch_loss)(state.parameters, images, labels)
        updates, adam = self._optimizer.update(gradients, state.adam, state.parameters)
        return State(optax.apply_updates(state.parameters, updates), adam), loss

    def _batch_loss(
        self, parameters: list[jax.Array], images: jax.Array, labels: jax.Array
    ) -> jax.Array:
        logits = self._forward(parameters, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def _forward(self, parameters: list[jax.Array], images: jax.Array) -> jax.Array:
        return self._model(parameters)(images).astype(images.dtype)

    def _model(self, parameters: list[jax.Array]) -> MLP:
        return nnx.merge(self._graph, jax.tree.unflatten(self._layout, parameters))

    def fetch(self, rows: Array) -> None:
        for batch in rows:
            jax.block_until_ready((self._images[batch], self._labels[batch]))

    def synchronise(self) -> None:
        jax.block_until_ready((self._state, self._losses))


class Compiled(Eager):
    """One program for the whole step; its state is donated, so that it is updated in place."""

    compiler = "jax.jit: whole step"

    def _build(self) -> None:
        def step_on_rows(state, images, labels, rows):  # type: ignore[no-untyped-def]
            return self._step(state, images[rows], labels[rows])

        step = step_on_rows if self._resident else self._step
        self._program = jax.jit(step, donate_argnums=0)

    def train(self, rows: Array) -> None:
        # Calls return before the work is done, so the host cuts the next batch meanwhile.
        images, labels = self._images, self._labels
        for batch in rows:
            arguments = (
                (images, labels, batch) if self._resident else (images[batch], labels[batch])
            )
            self._state, self._losses = self._program(self._state, *arguments)

    def fetch(self, rows: Array) -> None:
        if self._resident:
            raise NotKeptError(FETCHES_ITSELF)
        super().fetch(rows)

    # Read by certificate and ledger; never timed.

    def program(self, rows: Array) -> Program:
        images, labels = self._images, self._labels
        batch = (images, labels, rows) if self._resident else (images[rows], labels[rows])
        return Program(self._program, (self._state, *batch))
