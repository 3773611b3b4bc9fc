"""JAX: a Flax module, Optax's Adam, and one pure function that trains one step.

The modes differ only in how that function is run: as it stands (`eager`), under `jax.jit`
(`compiled`), or many times inside one program by `jax.lax.scan` (`multistep`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax
from flax import nnx

from backends import contract
from backends.contract import (
    FETCHES_ITSELF,
    PASS_DECAY,
    PASS_RATE,
    Adam,
    Array,
    Execution,
    Network,
    NotKeptError,
    Parameters,
    Trainer,
    TrainingSet,
    calls,
    floor_arrays,
)


def versions() -> dict[str, str]:
    """The packages that this backend runs on."""
    packages = (jax, jaxlib, flax, optax)
    return {package.__name__: package.__version__ for package in packages}


def configure(execution: Execution) -> None:
    """Set the device and the precision; the threads follow the process's affinity."""
    # With "cuda" alone, JAX fails without a word where there is no GPU.
    jax.config.update("jax_platforms", "cpu" if execution.device == "cpu" else "cuda,cpu")
    jax.config.update("jax_enable_x64", execution.precision == "float64")
    # Recent GPUs would use TF32 for float32 products unless told otherwise. "tensorfloat32" only
    # allows it, and XLA's own kernels then do not take it; as an algorithm it is what is computed.
    tf32 = execution.precision == "tf32"
    jax.config.update("jax_default_matmul_precision", "TF32_TF32_F32" if tf32 else "highest")


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Leave a trace that TensorBoard and Perfetto open."""
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
        yield


def product_type(execution: Execution) -> jnp.dtype:
    """The type of the factors of a matrix product; TF32 has none of its own."""
    return jnp.dtype("bfloat16" if execution.precision == "bfloat16" else execution.stored)


def _device_of(array: jax.Array) -> str:
    platform = next(iter(array.devices())).platform
    return "gpu" if platform in ("gpu", "cuda") else platform


class MLP(nnx.Module):
    """A dense network: ReLU between its layers, logits out."""

    def __init__(
        self, layer_sizes: tuple[int, ...], stored: Any, computed: Any, *, rngs: nnx.Rngs
    ) -> None:
        self.layers = nnx.List(
            nnx.Linear(inputs, outputs, param_dtype=stored, dtype=computed, rngs=rngs)
            for inputs, outputs in pairwise(layer_sizes)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


class State(NamedTuple):
    """All that a step changes."""

    parameters: list[jax.Array]
    adam: optax.OptState


class Eager(Trainer):
    """Operation by operation: each primitive is dispatched by itself, forward and backward."""

    compiler = "none: XLA for each operation"
    _programs: tuple[Any, ...] = ()

    def __init__(
        self,
        network: Network,
        adam: Adam,
        execution: Execution,
        training_set: TrainingSet,
        parameters: Parameters,
    ) -> None:
        self._adam = adam
        self._execution = execution
        self._resident = execution.input == "resident"
        place = jax.device_put if self._resident else np.asarray
        self._images: Any = place(training_set.images)
        self._labels = place(training_set.labels)
        # An NNX module, or its State, costs host time at each call that takes one: it is split
        # once, and the steps work on the plain arrays. With the State a jitted step took 5% more.
        types = training_set.images.dtype, product_type(execution)
        blank = nnx.eval_shape(lambda: MLP(network.layer_sizes, *types, rngs=nnx.Rngs(0)))
        self._graph, self._blank = nnx.split(blank)
        self._layout = jax.tree.structure(self._blank)
        self._optimizer = optax.adam(
            adam.learning_rate, b1=adam.beta_1, b2=adam.beta_2, eps=adam.epsilon
        )
        self._jitted_forward = jax.jit(self._forward)
        self._build()
        self.reset(parameters)

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

    def _model(self, parameters: list[jax.Array]) -> MLP:
        return nnx.merge(self._graph, jax.tree.unflatten(self._layout, parameters))

    def _forward(self, parameters: list[jax.Array], images: jax.Array) -> jax.Array:
        return self._model(parameters)(images).astype(images.dtype)

    def _batch_loss(
        self, parameters: list[jax.Array], images: jax.Array, labels: jax.Array
    ) -> jax.Array:
        logits = self._forward(parameters, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def _step(self, state: State, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
        loss, gradients = jax.value_and_grad(self._batch_loss)(state.parameters, images, labels)
        updates, adam = self._optimizer.update(gradients, state.adam, state.parameters)
        return State(optax.apply_updates(state.parameters, updates), adam), loss

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._state, self._losses = self._step(
                self._state, self._images[batch], self._labels[batch]
            )

    def fetch(self, rows: Array) -> None:
        for batch in rows:
            jax.block_until_ready((self._images[batch], self._labels[batch]))

    def synchronise(self) -> None:
        jax.block_until_ready((self._state, self._losses))

    def losses(self) -> Array:
        return np.ravel(self._losses)

    def _as_layers(self, parameters: list[jax.Array]) -> Parameters:
        layers = self._model(parameters).layers
        return [(np.array(layer.kernel[...]), np.array(layer.bias[...])) for layer in layers]

    def parameters(self) -> Parameters:
        return self._as_layers(self._state.parameters)

    def first_moments(self) -> Parameters:
        return self._as_layers(self._state.adam[0].mu)

    def logits(self, images: Array) -> Array:
        return np.asarray(self._jitted_forward(self._state.parameters, images))

    def product(self, a: Array, b: Array) -> Array:
        first, second = (jnp.asarray(array, product_type(self._execution)) for array in (a, b))
        return np.asarray(jnp.matmul(first, second).astype(a.dtype))

    def weight_address(self) -> int:
        return self._state.parameters[0].unsafe_buffer_pointer()

    def peak_device_bytes(self) -> int | None:
        device = next(iter(self._state.parameters[0].devices()))
        # None on a CPU, and with an allocator that does not count.
        return (device.memory_stats() or {}).get("peak_bytes_in_use")

    def compilations(self) -> int:
        return sum(program._cache_size() for program in self._programs)

    def describe(self) -> dict[str, str]:
        result = self._state.parameters[0]
        device = next(iter(result.devices()))
        return {
            "device": _device_of(result),
            "device_name": device.device_kind,
            "precision": result.dtype.name,
            "threads": str(self._execution.threads),
            "compiler": self.compiler,
            "steps_per_call": str(getattr(self, "steps_per_call", 1)),
            "input": f"gathered from memory of the {_device_of(self._images)}"
            if self._resident
            else "cut by NumPy on the host",
            "optimizer": "optax.adam",
            "epsilon": f"{self._adam.epsilon:g} ({self._adam.form})",
        }


class Compiled(Eager):
    """One program for the whole step; its state is donated, so that it is updated in place."""

    compiler = "jax.jit: whole step"

    def _build(self) -> None:
        def step_on_rows(state, images, labels, rows):  # type: ignore[no-untyped-def]
            return self._step(state, images[rows], labels[rows])

        step = step_on_rows if self._resident else self._step
        self._jitted_step = jax.jit(step, donate_argnums=0)
        self._programs = (self._jitted_step,)

    def train(self, rows: Array) -> None:
        # Calls return before the work is done, so the host cuts the next batch meanwhile.
        images, labels = self._images, self._labels
        for batch in rows:
            arguments = (
                (images, labels, batch) if self._resident else (images[batch], labels[batch])
            )
            self._state, self._losses = self._jitted_step(self._state, *arguments)

    def fetch(self, rows: Array) -> None:
        if self._resident:
            raise NotKeptError(FETCHES_ITSELF)
        super().fetch(rows)


class MultiStep(Eager):
    """Many steps in one program: `lax.scan` over the rows of each batch."""

    compiler = "jax.jit: lax.scan over steps"

    def _build(self) -> None:
        def train_steps(state, images, labels, rows):  # type: ignore[no-untyped-def]
            def step(state: State, batch: jax.Array) -> tuple[State, jax.Array]:
                return self._step(state, images[batch], labels[batch])

            return jax.lax.scan(step, state, rows)

        self._jitted_steps = jax.jit(train_steps, donate_argnums=0)
        self._programs = (self._jitted_steps,)

    @property
    def steps_per_call(self) -> int:
        """Steps in one call of the compiled program."""
        return self._execution.steps_per_call

    def train(self, rows: Array) -> None:
        for part in calls(rows, self.steps_per_call):
            self._state, self._losses = self._jitted_steps(
                self._state, self._images, self._labels, part
            )

    def fetch(self, rows: Array) -> None:
        raise NotKeptError(FETCHES_ITSELF)


TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "compiled": Compiled,
    "multistep": MultiStep,
}


class Floor(contract.Floor):
    """Many steps in one program, its arrays donated."""

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        self._steps_per_call = execution.steps_per_call
        images, *state = floor_arrays(network, batch_size, execution.stored)
        self._images = jax.device_put(images.astype(product_type(execution)))
        self._state = jax.device_put(state)
        self._jitted_steps = jax.jit(self._steps, donate_argnums=0, static_argnums=2)

    def _steps(self, state: Any, images: jax.Array, steps: int) -> Any:
        def step(state: Any, _: None) -> tuple[Any, None]:
            return self._step(state, images), None

        return jax.lax.scan(step, state, length=steps)[0]

    def _step(self, state: Any, images: jax.Array) -> Any:
        weights, first_moments, second_moments = state
        factors = [weight.astype(images.dtype) for weight in weights]
        outputs = [images]
        for weight in factors:
            outputs.append(outputs[-1] @ weight)
        delta = outputs.pop()
        gradients: list[jax.Array] = []
        for weight, inputs in zip(reversed(factors), reversed(outputs), strict=True):
            gradients.insert(0, inputs.T @ delta)
            if len(gradients) < len(weights):
                delta = delta @ weight.T
        first_moments = [
            (m + g) * PASS_DECAY for m, g in zip(first_moments, gradients, strict=True)
        ]
        second_moments = [
            (v + g) * PASS_DECAY for v, g in zip(second_moments, gradients, strict=True)
        ]
        weights = [w - PASS_RATE * m for w, m in zip(weights, first_moments, strict=True)]
        return [weights, first_moments, second_moments]

    def train(self, rows: Array) -> None:
        for part in calls(rows, self._steps_per_call):
            self._state = self._jitted_steps(self._state, self._images, len(part))

    def synchronise(self) -> None:
        jax.block_until_ready(self._state)

    def square(self, size: int) -> jax.Array:
        return jnp.ones((size, size), self._images.dtype)

    def multiply(self, matrix: jax.Array) -> None:
        jnp.matmul(matrix, matrix).block_until_ready()

    def arrays(self) -> list[list[Array]]:
        return jax.tree.map(np.asarray, self._state)

    def device(self) -> str:
        return _device_of(self._state[0][0])
