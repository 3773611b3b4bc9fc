"""The idiomatic tier: JAX as its documentation teaches it, operation by operation or jitted."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from backends import contract
from backends.contract import Array, Execution, Parameters, Program, Trainer, Training
from backends.jax.model import MLP, State, device_of


class Eager(Trainer):
    """Operation by operation: each primitive is dispatched by itself, forward and backward."""

    compiler = "none: XLA for each operation"
    steps_per_call = 1

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
        sizes, types = training.network.layer_sizes, (images.dtype, execution.product_type)
        blank = nnx.eval_shape(lambda: MLP(sizes, *types, rngs=nnx.Rngs(0)))
        self._graph, self._blank = nnx.split(blank)
        self._layout = jax.tree.structure(self._blank)
        self._optimizer = optax.adam(adam.learning_rate, adam.beta_1, adam.beta_2, eps=adam.epsilon)
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
            images, labels = self._images[batch], self._labels[batch]
            self._state, self._losses = self._step(self._state, images, labels)

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

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        return np.ravel(self._losses)

    def parameters(self) -> Parameters:
        return self._as_layers(self._state.parameters)

    def first_moments(self) -> Parameters:
        return self._as_layers(self._state.adam[0].mu)

    def _as_layers(self, parameters: list[jax.Array]) -> Parameters:
        layers = self._model(parameters).layers
        return [(np.array(layer.kernel[...]), np.array(layer.bias[...])) for layer in layers]

    def logits(self, images: Array) -> Array:
        return np.asarray(self._jitted_forward(self._state.parameters, images))

    def product(self, a: Array, b: Array) -> Array:
        first, second = (jnp.asarray(array, self._execution.product_type) for array in (a, b))
        return np.asarray(jnp.matmul(first, second).astype(a.dtype))

    def weight_address(self) -> int:
        return self._state.parameters[0].unsafe_buffer_pointer()

    def peak_device_bytes(self) -> int | None:
        device = next(iter(self._state.parameters[0].devices()))
        # None on a CPU, and with an allocator that does not count.
        return (device.memory_stats() or {}).get("peak_bytes_in_use")

    def describe(self) -> contract.Description:
        result = self._state.parameters[0]
        return contract.Description(
            device=device_of(result),
            device_name=next(iter(result.devices())).device_kind,
            precision=result.dtype.name,
            threads=self._execution.threads,
            compiler=self.compiler,
            steps_per_call=self.steps_per_call,
            input=f"gathered from memory of the {device_of(self._images)}"
            if self._resident
            else "cut by NumPy on the host",
            optimizer="optax.adam",
            epsilon=self._adam.epsilon,
        )


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
        for batch in rows:
            self._state, self._losses = self._program(*self._arguments(batch))

    def _arguments(self, rows: Array) -> tuple[Any, ...]:
        """The arguments of one call of the program that trains on `rows`."""
        images, labels = self._images, self._labels
        batch = (images, labels, rows) if self._resident else (images[rows], labels[rows])
        return self._state, *batch

    def fetch(self, rows: Array) -> None:
        if self._resident:
            raise contract.NotKeptError(contract.FETCHES_ITSELF)
        super().fetch(rows)

    # Read by certificate and ledger; never timed.

    def compilations(self) -> int:
        return self._program._cache_size()

    def program(self, rows: Array) -> Program:
        return Program(self._program, self._arguments(rows))
