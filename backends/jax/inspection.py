"""What certificate and ledger read from a trainer; never timed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backends.contract import Adam, Array, Description, Execution, Parameters, Trainer
from backends.jax.model import MLP, State
from backends.jax.setup import device_of, product_type


class Inspection(Trainer):
    """The half of a trainer that is read; the other half trains, and sets what stands here."""

    compiler = "none: XLA for each operation"
    steps_per_call = 1
    _adam: Adam
    _execution: Execution
    _images: Any
    _jitted_forward: Any
    _losses: jax.Array
    _program: Any = None
    """The compiled function that trains; None in a mode without one."""
    _state: State

    def _model(self, parameters: list[jax.Array]) -> MLP:
        """The network with these parameters."""
        raise NotImplementedError

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
        return self._program._cache_size() if self._program else 0

    def describe(self) -> Description:
        result = self._state.parameters[0]
        return Description(
            device=device_of(result),
            device_name=next(iter(result.devices())).device_kind,
            precision=result.dtype.name,
            threads=self._execution.threads,
            compiler=self.compiler,
            steps_per_call=self.steps_per_call,
            input=f"gathered from memory of the {device_of(self._images)}"
            if self._execution.input == "resident"
            else "cut by NumPy on the host",
            optimizer="optax.adam",
            epsilon=self._adam.epsilon,
            adam_form=self._adam.form,
        )
