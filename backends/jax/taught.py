"""The taught tier: Flax's own tutorial on MNIST, https://flax.readthedocs.io/en/latest/mnist_tutorial.html.

What it keeps of the tutorial, and what it changes and why, is listed in docs/ladders/jax.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from backends import contract
from backends.contract import Array, Execution, Trainer, Training
from backends.jax.model import MLP, Batch, device_of, gathered, loss_fn


def copied(array: jax.Array) -> Array:
    """A copy of an array in the host's memory.

    The array itself would keep what was read of it from a GPU, so that reading it once more would
    cost nothing, and to read it anew after a block would seem to be work that the block had left.
    """
    return np.array(jnp.copy(array))


def train_step(
    model: MLP, optimizer: nnx.Optimizer[MLP], metrics: nnx.MultiMetric, batch: Batch
) -> jax.Array:
    """Train one step as the tutorial does, and return its loss, which the certificate reads."""
    grad_fn = nnx.value_and_grad(loss_fn, has_aux=True)
    (loss, logits), grads = grad_fn(model, batch)
    metrics.update(loss=loss, logits=logits, labels=batch["label"])
    optimizer.update(model, grads)
    return loss


class NNX(Trainer):
    """Flax's tutorial: NNX objects that `nnx.jit` changes in place, batches from the host."""

    compiler = "nnx.jit: whole step"
    optimizer = "optax.adam in nnx.Optimizer"
    steps_per_call = 1

    def __init__(self, training: Training, execution: Execution) -> None:
        adam, images = training.adam, training.training_set.images
        self._training, self._execution = training, execution
        self._resident = execution.input == "resident"
        place: Callable[[Array], Any] = jax.device_put if self._resident else np.asarray
        self._data = {"image": place(images), "label": place(training.training_set.labels)}
        sizes, types = training.network.layer_sizes, (images.dtype, execution.product_type)
        blank = nnx.eval_shape(lambda: MLP(sizes, *types, rngs=nnx.Rngs(0)))
        self._graph, self._blank = nnx.split(blank)
        self._layout = jax.tree.structure(self._blank)
        self._adam = optax.adam(adam.learning_rate, adam.beta_1, adam.beta_2, eps=adam.epsilon)
        self._jitted_forward = jax.jit(lambda arrays, images: self._model_of(arrays)(images))
        self._build()
        self.reset(training.start)

    def _build(self) -> None:
        """Make the function that trains one step."""
        self._program: Any = nnx.jit(train_step)

    def set_state(self, state: contract.State) -> None:
        arrays, *moments = map(self._arrays_of, state[:3])
        self._model = self._model_of(arrays)
        self._optimizer = nnx.Optimizer(self._model, self._adam, wrt=nnx.Param)
        self._optimizer.step[...] = state.steps
        adam = self._optimizer.opt_state[0]
        adam.count[...] = state.steps
        for variables, values in zip((adam.mu, adam.nu), moments, strict=True):
            nnx.update(variables, jax.tree.unflatten(jax.tree.structure(variables), values))
        self._metrics = nnx.MultiMetric(
            accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss")
        )
        # It starts in float32, to which JAX will no longer add a loss in float64.
        self._metrics.loss.total = nnx.metrics.MetricState(jnp.zeros((), self._data["image"].dtype))
        self._losses = jnp.full(1, jnp.nan)

    def train(self, rows: Array) -> None:
        for batch in self._batches(rows):
            self._losses = self._program(self._model, self._optimizer, self._metrics, batch)

    def _batches(self, rows: Array) -> Any:
        """The batches of `rows`, each cut by NumPy when the step before it has been called."""
        return (gathered(self._data, batch) for batch in rows)

    def fetch(self, rows: Array) -> None:
        if self._resident:
            raise contract.NotKeptError(contract.FETCHES_ITSELF)
        for batch in self._batches(rows):
            jax.block_until_ready(batch)

    def synchronise(self) -> None:
        jax.block_until_ready((self._state_arrays(), self._losses))

    # Read by certificate and ledger; never timed, but for what is waited for.

    def _state_arrays(self) -> list[jax.Array]:
        """The arrays that the last step has made, a parameter first."""
        return jax.tree.leaves(nnx.state(self._model, nnx.Param))

    def _parameter_arrays(self) -> list[jax.Array]:
        """The present parameters in the order of the model's state."""
        return self._state_arrays()

    def _adam_state(self) -> Any:
        """Optax's present state of Adam: `count`, and the moments `mu` and `nu`."""
        return self._optimizer.opt_state[0]

    def _model_of(self, arrays: list[jax.Array]) -> MLP:
        """A model with these parameters, which are in the order of its state."""
        return nnx.merge(self._graph, jax.tree.unflatten(self._layout, arrays))

    def _arrays_of(self, layers: Any) -> list[jax.Array]:
        """Copies of the (weight, bias) of each layer in the order of the model's state."""
        model = nnx.merge(self._graph, self._blank)
        for layer, (weight, bias) in zip(model.layers, layers, strict=True):
            layer.kernel = nnx.Param(jnp.array(weight, self._data["image"].dtype))
            layer.bias = nnx.Param(jnp.array(bias, self._data["image"].dtype))
        return jax.tree.leaves(nnx.state(model))

    def _layers_of(self, arrays: list[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
        """The (weight, bias) of each layer."""
        return [(layer.kernel[...], layer.bias[...]) for layer in self._model_of(arrays).layers]

    def losses(self) -> Array:
        return np.ravel(self._losses)

    def state(self) -> contract.State:
        adam = self._adam_state()
        kinds = self._parameter_arrays(), jax.tree.leaves(adam.mu), jax.tree.leaves(adam.nu)
        parameters, first, second = (
            jax.tree.map(copied, self._layers_of(arrays)) for arrays in kinds
        )
        return contract.State(parameters, first, second, int(adam.count[...]))

    def logits(self, images: Array) -> Array:
        return np.asarray(self._jitted_forward(self._parameter_arrays(), images))

    def product(self, a: Array, b: Array) -> Array:
        first, second = (jnp.asarray(array, self._execution.product_type) for array in (a, b))
        return np.asarray(jnp.matmul(first, second).astype(a.dtype))

    def weight_address(self) -> int:
        return self._state_arrays()[0].unsafe_buffer_pointer()

    def peak_device_bytes(self) -> int | None:
        device = next(iter(self._state_arrays()[0].devices()))
        # None on a CPU, and with an allocator that does not count.
        return (device.memory_stats() or {}).get("peak_bytes_in_use")

    def compilations(self) -> int:
        # An nnx.jit has a jax.jit inside.
        return getattr(self._program, "jitted_fn", self._program)._cache_size()

    def describe(self) -> contract.Description:
        result = self._state_arrays()[0]
        return contract.Description(
            device=device_of(result),
            device_name=next(iter(result.devices())).device_kind,
            precision=result.dtype.name,
            threads=self._execution.threads,
            compiler=self.compiler,
            steps_per_call=self.steps_per_call,
            input=f"gathered from memory of the {device_of(self._data['image'])}"
            if self._resident
            else "cut by NumPy on the host",
            optimizer=self.optimizer,
            epsilon=self._training.adam.epsilon,
        )


class NNXResident(NNX):
    """The training set in the device's memory, each batch gathered inside the step."""

    def _build(self) -> None:
        def train_on_rows(model, optimizer, metrics, data, rows):  # type: ignore[no-untyped-def]
            return train_step(model, optimizer, metrics, gathered(data, rows))

        self._program = nnx.jit(train_on_rows)

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._losses = self._program(
                self._model, self._optimizer, self._metrics, self._data, batch
            )


class NNXBare(NNXResident):
    """The same without metrics: neither the accuracy nor the mean loss of a stretch is kept."""

    def _build(self) -> None:
        def train_on_rows(model, optimizer, data, rows):  # type: ignore[no-untyped-def]
            batch = gathered(data, rows)
            (loss, _), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, batch)
            optimizer.update(model, grads)
            return loss

        self._train_on_rows = train_on_rows
        self._program = nnx.jit(train_on_rows)

    def set_state(self, state: contract.State) -> None:
        super().set_state(state)
        self._bind()

    def _bind(self) -> None:
        """Give the program its objects."""
        self._step: Callable[..., Any] = partial(self._program, self._model, self._optimizer)

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._losses = self._step(self._data, batch)
