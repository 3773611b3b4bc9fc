"""PyTorch as its tutorials teach it: the quickstart, and the same step on tensors in memory."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from backends.contract import (
    Array,
    Description,
    Execution,
    Parameters,
    State,
    Trainer,
    Training,
    arrays_of,
)
from backends.pytorch.model import NeuralNetwork, mlp


class Eager(Trainer):
    """Operation by operation, on batches that are indexed from tensors."""

    compiler = "none"
    optimizer = "torch.optim.Adam"
    fused: bool | None = None
    capturable = False
    flushes = False
    """Whether denormal numbers are flushed to zero, which `configure` sets for the process."""
    network: Callable[..., nn.Module] = staticmethod(mlp)
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
        model = self.network(training.network.layer_sizes, linear)
        self._model = model.to(self._device, getattr(torch, execution.stored))
        self._linear_layers = [m for m in self._model.modules() if isinstance(m, nn.Linear)]
        adam = training.adam
        self._optimizer = torch.optim.Adam(
            self._model.parameters(),
            lr=adam.learning_rate,
            betas=(adam.beta_1, adam.beta_2),
            eps=adam.epsilon,
            fused=self.fused,
            capturable=self.capturable,
        )
        self._build()
        self.reset(training.start)

    def _build(self) -> None:
        """Make what the mode needs besides: what it compiles, or its loader."""

    def _optimized(self) -> list[Tensor]:
        return [tensor for group in self._optimizer.param_groups for tensor in group["params"]]

    def _make_state(self, count: torch.dtype = torch.float32) -> None:
        """Make now what the optimizer makes at its first step, with step counts of type `count`."""
        for weight in self._optimized():
            self._optimizer.state[weight] = {
                "step": torch.zeros((), dtype=count, device=self._device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }

    @torch.no_grad()
    def set_state(self, state: State) -> None:
        if state.steps and not self._optimizer.state:
            # It makes its state at its first step, which without a gradient moves nothing.
            for weight in self._optimized():
                weight.grad = torch.zeros_like(weight)
            self._optimizer.step()
        self._optimizer.zero_grad()
        # In place, since graphs hold the addresses.
        for tensors, layers in zip(self._tensors(), state[:3], strict=True):
            for tensor, array in zip(tensors, arrays_of(layers), strict=bool(tensors)):
                tensor.copy_(torch.from_numpy(array.T))
        for count in self._kept("step"):
            count.fill_(state.steps)

    def _tensors(self) -> list[list[Tensor]]:
        """Parameters and both moments, weights as (outputs, inputs); no moments before a step."""
        return [self._optimized(), self._kept("exp_avg"), self._kept("exp_avg_sq")]

    def _kept(self, name: str) -> list[Tensor]:
        """What the optimizer keeps under this name for each parameter; nothing before a step."""
        return [state[name] for state in map(self._optimizer.state.get, self._optimized()) if state]

    def _optimizer_tensors(self) -> list[Tensor]:
        """Adam's moments and step counts; none before the first step."""
        return [tensor for state in self._optimizer.state.values() for tensor in state.values()]

    def train(self, rows: Array) -> None:
        for batch in self._batches(rows):
            self._loss = self._step(*batch)

    def _batches(self, rows: Array) -> Iterable[tuple[Tensor, ...]]:
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
        self._update()
        return loss.detach()

    def _update(self) -> None:
        self._optimizer.step()

    def _batch_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self._forward(images), labels)

    def _forward(self, images: Tensor, model: Callable[..., Tensor] | None = None) -> Tensor:
        """The logits of the trainer's own model, or of `model`."""
        model = self._model if model is None else model
        if self._execution.precision != "bfloat16":
            return model(images)
        with torch.autocast(self._device.type, torch.bfloat16):
            return model(images).float()

    def fetch(self, rows: Array) -> None:
        for _ in self._batches(rows):
            pass

    def synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        return np.atleast_1d(self._loss.numpy(force=True))

    def state(self) -> State:
        parameters, first, second = map(self._as_layers, self._tensors())
        if not first:
            return State.starting_from(parameters)
        return State(parameters, first, second, int(self._kept("step")[0]))

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


class Quickstart(Eager):
    """The loop of PyTorch's quickstart tutorial, which docs/ladders/pytorch.md lays beside it."""

    network = NeuralNetwork

    def _build(self) -> None:
        images, labels = torch.from_numpy(self._images), torch.from_numpy(self._labels)
        self._dataset = TensorDataset(images, labels)
        self._loss_function = nn.CrossEntropyLoss()

    def train(self, rows: Array) -> None:
        self._train_on(self._batches(rows))

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        # One loader for a block, as a user has one for an epoch: its start lies in the lead-in.
        batches = iter(self._batches(np.concatenate(parts)))
        for rows in parts:
            self._train_on(islice(batches, len(rows)))
            mark()
            self.synchronise()
            mark()

    def _batches(self, rows: Array) -> Iterable[tuple[Tensor, ...]]:
        order = rows.ravel().tolist()
        return DataLoader(self._dataset, batch_size=rows.shape[1], sampler=order)

    def _train_on(self, batches: Iterable[tuple[Tensor, ...]]) -> None:
        size = len(self._dataset)
        self._model.train()
        for batch, (host_images, host_labels) in enumerate(batches):
            images, labels = host_images.to(self._device), host_labels.to(self._device)

            prediction = self._forward(images)
            loss = self._loss_function(prediction, labels)

            loss.backward()
            self._optimizer.step()
            self._optimizer.zero_grad()

            if batch % 100 == 0:
                print(f"loss: {loss.item():>7f}  [{(batch + 1) * len(images):>5d}/{size:>5d}]")
            self._loss = loss.detach()

    # Read by certificate and ledger; never timed.

    def describe(self) -> Description:
        return replace(super().describe(), input="fetched by a DataLoader on the host")


class Fused(Eager):
    """Adam as one fused pass over each parameter."""

    optimizer = "torch.optim.Adam(fused=True)"
    # Instead of a dozen operations a parameter: 0.935 of an eager step on two cores of an Intel
    # Xeon.
    fused: bool | None = True


class Flushed(Fused):
    """Denormal numbers flushed to zero."""

    # Adam's moments of weights that no longer get a gradient decay to denormal numbers, which a CPU
    # computes slowly: with it and fused Adam, 0.72 of an eager step on two cores of an Intel Xeon.
    flushes = True
