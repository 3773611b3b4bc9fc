"""The least that a step can be in PyTorch."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from backends import contract
from backends.contract import (
    PASS_DECAY,
    PASS_RATE,
    Array,
    Execution,
    Network,
    calls,
    floor_arrays,
)
from backends.pytorch import graphs
from backends.pytorch.model import OneDNNLinear, linear_by_onednn
from backends.pytorch.setup import device_of, product_type


class Floor(contract.Floor):
    """One call for each product, by oneDNN where it serves, and one for each array of the pass.

    On a GPU many steps are one CUDA graph, so that no launch counts; `graphed` says so.
    """

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        self._execution = execution
        self._device = device_of(execution)
        self._product_type = product_type(execution)
        self.graphed = self._device.type == "cuda"
        images, *rest = floor_arrays(network, batch_size, execution.stored)
        self._weights, self._first_moments, self._second_moments = (
            [torch.from_numpy(array).to(self._device) for array in arrays] for arrays in rest
        )
        first = torch.from_numpy(images).to(self._device, self._product_type)
        self._gradients = [
            torch.empty_like(weight, dtype=self._product_type) for weight in self._weights
        ]
        sizes = network.layer_sizes[1:]
        self._outputs = [first, *(first.new_empty(batch_size, size) for size in sizes)]
        self._deltas = [torch.empty_like(output) for output in self._outputs]
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def train(self, rows: Array) -> None:
        if not self.graphed:
            self._steps(len(rows))
            return
        state = [*self._weights, *self._first_moments, *self._second_moments]
        for part in calls(rows, self._execution.steps_per_call):
            steps = len(part)
            if steps not in self._graphs:
                self._graphs[steps], _ = graphs.capture(partial(self._steps, steps), state)
            self._graphs[steps].replay()

    def _steps(self, number: int) -> None:
        for _ in range(number):
            self._step()

    @torch.no_grad()
    def _step(self) -> None:
        weights = [weight.to(self._product_type) for weight in self._weights]
        gradients, outputs = self._gradients, self._outputs
        for layer, weight in enumerate(weights):
            outputs[layer + 1] = self._product(outputs[layer], weight, outputs[layer + 1])
        delta = outputs[-1]
        for layer in reversed(range(len(weights))):
            gradients[layer] = self._product(outputs[layer].T, delta, gradients[layer])
            if layer:
                delta = self._product(delta, weights[layer].T, self._deltas[layer])
        gradients = [gradient.to(self._weights[0].dtype) for gradient in gradients]
        # All arrays in one kernel on a GPU; one after another on a CPU.
        torch._foreach_lerp_(self._first_moments, gradients, PASS_DECAY)
        torch._foreach_lerp_(self._second_moments, gradients, PASS_DECAY)
        torch._foreach_add_(self._weights, self._first_moments, alpha=-PASS_RATE)

    @staticmethod
    def _product(a: Tensor, b: Tensor, kept: Tensor) -> Tensor:
        """The product of `a` and `b`, in the memory of `kept` where the library allows that."""
        if OneDNNLinear.serves(a):
            return linear_by_onednn(a, b.T)
        return torch.mm(a, b, out=kept)

    def synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def square(self, size: int) -> Tensor:
        return torch.ones(size, size, dtype=self._outputs[0].dtype, device=self._device)

    def multiply(self, matrix: Tensor) -> None:
        self._product(matrix, matrix, torch.empty_like(matrix))

    def arrays(self) -> list[list[Array]]:
        state = (self._weights, self._first_moments, self._second_moments)
        return [[tensor.numpy(force=True) for tensor in tensors] for tensors in state]

    def device(self) -> str:
        return "gpu" if self._outputs[-1].is_cuda else "cpu"
