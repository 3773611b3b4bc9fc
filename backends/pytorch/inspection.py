"""What certificate and ledger read from a trainer; never timed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from backends.contract import TEXTBOOK, Array, Description, Execution, Parameters, Trainer
from backends.pytorch.setup import product_type


def compiled_graphs() -> int:
    """The number of graphs that torch.compile has made in this process."""
    return int(counters["stats"]["unique_graphs"])


class Inspection(Trainer):
    """The half of a trainer that is read; the other half trains, and sets what stands here."""

    compiler = "none"
    optimizer = "torch.optim.Adam"
    _execution: Execution
    _device: torch.device
    _images: Tensor
    _model: nn.Sequential
    _linear_layers: list[nn.Linear]
    _optimizer: torch.optim.Adam
    _loss: Tensor

    def _forward(self, images: Tensor) -> Tensor:
        """The logits of `images`, as training computes them."""
        raise NotImplementedError

    def losses(self) -> Array:
        return np.atleast_1d(self._loss.numpy(force=True))

    @staticmethod
    def _as_layers(flat: Iterable[Tensor]) -> Parameters:
        arrays = [tensor.numpy(force=True) for tensor in flat]
        return [
            (weight.T.copy(), bias.copy())
            for weight, bias in zip(arrays[::2], arrays[1::2], strict=True)
        ]

    def parameters(self) -> Parameters:
        return self._as_layers(self._model.parameters())

    def first_moments(self) -> Parameters:
        state = self._optimizer.state
        return self._as_layers(state[weight]["exp_avg"] for weight in self._model.parameters())

    @torch.no_grad()
    def logits(self, images: Array) -> Array:
        return self._forward(torch.from_numpy(images).to(self._device)).numpy(force=True)

    def _factors(self, *arrays: Array) -> list[Tensor]:
        """The factors of a product, in the type that the layers multiply."""
        dtype = product_type(self._execution)
        return [torch.from_numpy(array).to(self._device, dtype) for array in arrays]

    def product(self, a: Array, b: Array) -> Array:
        first, second = self._factors(a, b)
        return (first @ second).to(self._images.dtype).numpy(force=True)

    def weight_address(self) -> int:
        return self._linear_layers[0].weight.data_ptr()

    def peak_device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self._device.type == "cuda" else None

    def describe(self) -> Description:
        weight = self._linear_layers[0].weight
        device = "gpu" if weight.is_cuda else "cpu"
        return Description(
            device=device,
            device_name=torch.cuda.get_device_name() if weight.is_cuda else "cpu",
            precision=str(weight.dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            compiler=self.compiler,
            steps_per_call=1,
            input=f"gathered from memory of the {device}"
            if self._execution.input == "resident"
            else "cut by NumPy on the host",
            optimizer=self.optimizer,
            epsilon=self._optimizer.param_groups[0]["eps"],
            adam_form=TEXTBOOK,
        )
