"""The idiomatic tier: PyTorch as its tutorials teach it, operation by operation or compiled."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backends.contract import Array, Execution, Parameters, Training
from backends.pytorch.inspection import Inspection, compiled_graphs
from backends.pytorch.model import mlp
from backends.pytorch.setup import device_of


class Eager(Inspection):
    """Operation by operation, with the optimizer's defaults."""

    fused: bool | None = None
    linear: type[nn.Linear] = nn.Linear

    def __init__(self, training: Training, execution: Execution) -> None:
        self._execution = execution
        self._resident = execution.input == "resident"
        self._device = device_of(execution)
        self._images = torch.from_numpy(training.training_set.images)
        self._labels = torch.from_numpy(training.training_set.labels).long()
        if self._resident:
            self._images = self._images.to(self._device)
            self._labels = self._labels.to(self._device)
        else:
            self._host_images = self._images.numpy()
            self._host_labels = self._labels.numpy()
        # In bfloat16 PyTorch itself takes products from oneDNN.
        linear = nn.Linear if execution.precision == "bfloat16" else self.linear
        model = mlp(training.network.layer_sizes, linear)
        self._model = model.to(self._device, self._images.dtype)
        self._linear_layers = [layer for layer in self._model if isinstance(layer, nn.Linear)]
        adam = training.adam
        self._optimizer = torch.optim.Adam(
            self._model.parameters(),
            lr=adam.learning_rate,
            betas=(adam.beta_1, adam.beta_2),
            eps=adam.epsilon,
            fused=self.fused,
            # For a CUDA graph, its step count must lie on the GPU.
            capturable=execution.device == "gpu" and execution.mode == "multistep",
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
                yield self._sent(self._host_images[batch]), self._sent(self._host_labels[batch])

    def _sent(self, array: Array) -> Tensor:
        """A batch's array on the device."""
        tensor = torch.from_numpy(array)
        # From pinned memory the copy to a GPU runs while the step before is computed.
        return (
            tensor.pin_memory().to(self._device, non_blocking=True)
            if self._device.type == "cuda"
            else tensor
        )

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


class Compiled(Eager):
    """Model and loss compiled, with the derivative that goes with them; fused Adam beside."""

    compiler = "torch.compile: model and loss"
    optimizer = "torch.optim.Adam(fused=True)"
    fused = True

    def _build(self) -> None:
        # One shape, so nothing is compiled for shapes in general.
        self._batch_loss = torch.compile(  # type: ignore[method-assign]
            super()._batch_loss, fullgraph=True, dynamic=False
        )

    def compilations(self) -> int:
        return compiled_graphs()
