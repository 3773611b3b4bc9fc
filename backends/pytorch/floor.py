"""The least that a step can be in PyTorch."""

from functools import partial

import torch
from torch import Tensor

from backends import contract, floors
from backends.contract import Array, Execution, Network
from backends.floors import PASS_DECAY, PASS_RATE
from backends.pytorch import graphs
from backends.pytorch.model import multiply


class Floor(floors.Floor):
    """One call for each product, by oneDNN where it serves, and one for each array of the pass.

    On a GPU many steps are one CUDA graph, so that no launch counts; `graphed` says so.
    """

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        self._steps_per_call = execution.steps_per_call
        self._device = torch.device("cuda" if execution.device == "gpu" else "cpu")
        self.graphed = self._device.type == "cuda"
        dtype = getattr(torch, execution.product_type)
        images, *state = floors.floor_arrays(network, batch_size, execution.stored)
        self._state = [[torch.from_numpy(a).to(self._device) for a in arrays] for arrays in state]
        self._gradients = [torch.zeros_like(weight, dtype=dtype) for weight in self._state[0]]
        first = torch.from_numpy(images).to(self._device, dtype)
        self._outputs = [first, *(first.new_empty(batch_size, n) for n in network.layer_sizes[1:])]
        self._deltas = [torch.empty_like(output) for output in self._outputs]
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def train(self, rows: Array) -> None:
        if not self.graphed:
            self._steps(len(rows))
            return
        for part in contract.calls(rows, self._steps_per_call):
            steps = len(part)
            if steps not in self._graphs:
                state = [tensor for tensors in self._state for tensor in tensors]
                self._graphs[steps], _ = graphs.capture(partial(self._steps, steps), state)
            self._graphs[steps].replay()

    def _steps(self, number: int) -> None:
        for _ in range(number):
            self._step()

    @torch.no_grad()
    def _step(self) -> None:
        weights = self._state[0]
        factors = [weight.to(self._outputs[0].dtype) for weight in weights]
        gradients, outputs = self._gradients, self._outputs
        for layer, factor in enumerate(factors):
            outputs[layer + 1] = multiply(outputs[layer], factor, outputs[layer + 1])
        delta = outputs[-1]
        for layer in reversed(range(len(factors))):
            gradients[layer] = multiply(outputs[layer].T, delta, gradients[layer])
            if layer:
                delta = multiply(delta, factors[layer].T, self._deltas[layer])
        self.update()

    @torch.no_grad()
    def update(self) -> None:
        weights, first_moments, second_moments = self._state
        gradients = [gradient.to(weights[0].dtype) for gradient in self._gradients]
        # All arrays in one kernel on a GPU; one after another on a CPU.
        torch._foreach_lerp_(first_moments, gradients, PASS_DECAY)
        torch._foreach_lerp_(second_moments, gradients, PASS_DECAY)
        torch._foreach_add_(weights, first_moments, alpha=-PASS_RATE)

    def synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def square(self, size: int) -> Tensor:
        return torch.ones(size, size, dtype=self._outputs[0].dtype, device=self._device)

    def multiply(self, matrix: Tensor) -> None:
        multiply(matrix, matrix, torch.empty_like(matrix))

    def arrays(self) -> list[list[Array]]:
        return [[tensor.numpy(force=True) for tensor in tensors] for tensors in self._state]

    def device(self) -> str:
        return "gpu" if self._outputs[-1].is_cuda else "cpu"
