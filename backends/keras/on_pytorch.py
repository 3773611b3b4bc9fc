"""Keras' own loop on PyTorch."""

import torch

from backends.keras.fit import KerasFit


class Fit(KerasFit):
    """`Model.fit`, operation by operation, as Keras leaves it on PyTorch."""

    compiler = "none"

    def synchronise(self) -> None:
        if self._weight().is_cuda:
            torch.cuda.synchronize()

    # Read by certificate and ledger; never timed.

    def weight_address(self) -> int:
        return self._weight().data_ptr()

    def peak_device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self._weight().is_cuda else None

    def _device(self) -> tuple[str, str]:
        on_gpu = self._weight().is_cuda
        return ("gpu", torch.cuda.get_device_name()) if on_gpu else ("cpu", "cpu")

    def _threads(self) -> int:
        return torch.get_num_threads()

    def _weight(self) -> torch.Tensor:
        weight: torch.Tensor = self._model.trainable_variables[0].value
        return weight
