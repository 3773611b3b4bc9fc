"""The idiomatic tier: PyTorch as its tutorials teach it, operation by operation or compiled."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

from backends.contract import Array, Description, Execution, Parameters, Trainer, Training
from backends.pytorch.model import mlp


class Eager(Trainer):
    """Operation by operation, with the optimizer's defaults."""

    compiler = "none"
    optimizer = "torch.optim.Adam"
    fused: bool | None = None
    linear: type[nn.Linear] = nn.Linear
    multiply = staticmethod(torch.mm)

    def __init__(self, training: Training, execution: Execution) -> None:
        self._execution = execution
        self._resident = execution.input == "resident"
        self._device = torch.device("cuda" if execution.device == "gpu" else "cpu")
        self._images: Any = training.training_set.images
        self._labels: Any = training.training_set.labels.astype(np.int64)
        if self._resident:
            self._images = torch.from_numpy(self._images).to(self._device)
            self._labels = torch.from_numpy(self._labels).to(self._device)
        # In bfloat16 PyTorch itself takes products from oneDNN.
        linear = nn.Linear if execution.precision == "bfloat16" else self.linear
        model = mlp(training.network.layer_sizes, linear)
        self._model = model.to(self._device, getattr(torch, execution.stored))
        self._linear_layers = [layer for layer in self._model if isinstance(layer, nn.Linear)]
        adam = training.adam
        self._optimizer = torch.optim.Adam(
            self._model.parameters(),
            lr=adam.learning_rate,
            betas=(adam.beta_1, adam.beta_2),
            eps=adam.epsilon,
            fused=self.fused,
            # For a CUDA graph, its step count must lie on the GPU.
            capturable=execution.device == "gpu" and execution.mode == "cuda-graph",
        )
        self._fresh_optimizer_state = copy.deepcopy(self._optimizer.state_dict())
        self._build()
        self.reset(training.start)

    def _build(self) -> None:
        """Make the functions that the mode compiles; there are none here."""

    @torch.no_grad()
    def reset(self, parameters: Parameters) -> None:
        for layer, (weight, bias) in zip(self._linear_layers, parameters, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        self._forget()

    def _forget(self) -> None:
        """Bring the optimizer back to its state before the first step."""
        self._optimizer.load_state_dict(self._fresh_optimizer_state)

    def train(self, rows: Array) -> None:
        for images, labels in self._batches(rows):
            self._loss = self._step(images, labels)

    def _batches(self, rows: Array) -> Iterator[tuple[Tensor, Tensor]]:
        if self._resident:
            for batch in torch.from_numpy(rows).to(self._device):
                yield self._images[batch], self._labels[batch]
        else:
            for batch in rows:
                yield self._sent(self._images[batch]), self._sent(self._labels[batch])

    def _sent(self, array: Array) -> Tensor:
        """A batch's array on the device."""
        tensor = torch.from_numpy(array)
        # From pinned memory the copy to a GPU runs while the step before is computed.
        tensor = tensor.pin_memory() if self._device.type == "cuda" else tensor
        return tensor.to(self._device, non_blocking=True)

    def _step(self, *batch: Tensor) -> Tensor:
        self._optimizer.zero_grad()
        loss = self._batch_loss(*batch)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _batch_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self._forward(images), labels)

    def _forward(self, images: Tensor) -> Tensor:
        if self._execution.precision != "bfloat16":
            return self._model(images)
        with torch.autocast(self._device.type, torch.bfloat16):
            return self._model(images).float()

    def fetch(self, rows: Array) -> None:
        for _ in self._batches(rows):
            pass

    def synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        return np.atleast_1d(self._loss.numpy(force=True))

    def parameters(self) -> Parameters:
        return self._as_layers(self._model.parameters())

    def first_moments(self) -> Parameters:
        state = self._optimizer.state
        return self._as_layers(state[weight]["exp_avg"] for weight in self._model.parameters())

    @staticmethod
    def _as_layers(flat: Iterable[Tensor]) -> Parameters:
        # PyTorch's weights are (outputs, inputs).
        arrays = [tensor.numpy(force=True).T.copy() for tensor in flat]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    @torch.no_grad()
    def logits(self, images: Array) -> Array:
        return self._forward(torch.from_numpy(images).to(self._device)).numpy(force=True)

    def product(self, a: Array, b: Array) -> Array:
        dtype = getattr(torch, self._execution.product_type)
        first, second = (torch.from_numpy(array).to(self._device, dtype) for array in (a, b))
        result = self.multiply(first, second)
        return result.to(getattr(torch, self._execution.stored)).numpy(force=True)

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
            input=f"gathered from memory of the {device}"
            if self._resident
            else "cut by NumPy on the host",
            optimizer=self.optimizer,
            epsilon=self._optimizer.param_groups[0]["eps"],
            instructions=torch.backends.cpu.get_cpu_capability()
            + (" (debug build)" if torch.version.debug else ""),
        )


class Compiled(Eager):
    """Model and loss compiled, with the derivative that goes with them; fused Adam beside."""

    compiler = "torch.compile: model and loss"
    optimizer = "torch.optim.Adam(fused=True)"
    fused = True

    def _build(self) -> None:
        self._compile("_batch_loss")

    def _compile(self, method: str) -> None:
        # One shape, so nothing is compiled for shapes in general.
        setattr(self, method, torch.compile(getattr(self, method), fullgraph=True, dynamic=False))

    def compilations(self) -> int:
        return int(counters["stats"]["unique_graphs"])
