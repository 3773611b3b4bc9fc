"""Keras' own loop on JAX."""

import jax

from backends.jax.model import device_of
from backends.keras.fit import KerasFit


class Fit(KerasFit):
    """`Model.fit`, whose step Keras compiles with jax.jit unasked."""

    compiler = "jax.jit: Keras' step"

    def synchronise(self) -> None:
        self._settle()
        variables = (*self._model.variables, *self._optimizer.variables)
        jax.block_until_ready([variable.value for variable in variables])

    # Read by certificate and ledger; never timed.

    def _settle(self) -> None:
        self._model.jax_state_sync()

    def weight_address(self) -> int:
        return self._weight().unsafe_buffer_pointer()

    def peak_device_bytes(self) -> int | None:
        device = next(iter(self._weight().devices()))
        # None on a CPU, and with an allocator that does not count.
        return (device.memory_stats() or {}).get("peak_bytes_in_use")

    def _device(self) -> tuple[str, str]:
        weight = self._weight()
        return device_of(weight), next(iter(weight.devices())).device_kind

    def _weight(self) -> jax.Array:
        weight: jax.Array = self._model.trainable_variables[0].value
        return weight
