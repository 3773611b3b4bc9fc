"""PyTorch: `nn.Sequential` and `torch.optim.Adam`, and one functional step for the tuned mode.

`eager` is the loop of PyTorch's own tutorial, `compiled` puts the model and its loss through
`torch.compile`, and `multistep` compiles the whole step, derivative and update included, into one
graph without breaks: a tight loop over it on a CPU, one CUDA graph of many steps on a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

from backends.contract import (
    TEXTBOOK,
    Adam,
    Array,
    Execution,
    Network,
    Parameters,
    Trainer,
    TrainingSet,
)


def versions() -> dict[str, str]:
    """The packages that this backend runs on."""
    return {"torch": torch.__version__}


def device_names() -> list[str]:
    """The devices that this backend can compute on."""
    return ["cpu", "gpu"] if torch.cuda.is_available() else ["cpu"]


def configure(execution: Execution) -> None:
    """Set threads and precision, for the whole process."""
    torch.set_num_threads(execution.threads)
    # The default, made explicit: float32 products in float32 on a GPU too, not in TF32.
    torch.set_float32_matmul_precision("highest")
    # Tuned mode only. Adam's moments of weights that no longer get a gradient decay to denormal
    # numbers, which a CPU computes slowly: after 600 steps of the tutorial's workload a step took
    # 3.5 ms instead of 2.9. XLA and TensorFlow flush them to zero unasked. Set before the
    # first parallel operation, since threads inherit it when they start.
    torch.set_flush_denormal(execution.mode == "multistep")


def compiled_graphs() -> int:
    """The graphs that torch.compile has made in this process."""
    return int(counters["stats"]["unique_graphs"])


def mlp(layer_sizes: tuple[int, ...]) -> nn.Sequential:
    """A dense network: ReLU between its layers, logits out."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(layer_sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Eager(Trainer):
    """Operation by operation, with the optimizer's defaults."""

    compiler = "none"
    optimizer = "torch.optim.Adam"
    fused: bool | None = None

    def __init__(
        self,
        network: Network,
        adam: Adam,
        execution: Execution,
        training_set: TrainingSet,
        parameters: Parameters,
    ) -> None:
        self._adam = adam
        self._execution = execution
        self._resident = execution.input == "resident"
        self._device = torch.device("cuda" if execution.device == "gpu" else "cpu")
        self._images = torch.from_numpy(training_set.images)
        self._labels = torch.from_numpy(training_set.labels).long()
        if self._resident:
            self._images = self._images.to(self._device)
            self._labels = self._labels.to(self._device)
        else:
            self._host_images = self._images.numpy()
            self._host_labels = self._labels.numpy()
        self._model = mlp(network.layer_sizes).to(self._device, self._images.dtype)
        self._linear_layers = [layer for layer in self._model if isinstance(layer, nn.Linear)]
        self._optimizer = torch.optim.Adam(
            self._model.parameters(),
            lr=adam.learning_rate,
            betas=(adam.beta_1, adam.beta_2),
            eps=adam.epsilon,
            fused=self.fused,
        )
        self._fresh_optimizer_state = copy.deepcopy(self._optimizer.state_dict())
        self._build()
        self.reset(parameters)

    def _build(self) -> None:
        """Make the functions that the mode compiles; there are none here."""

    @torch.no_grad()
    def reset(self, parameters: Parameters) -> None:
        for layer, (weight, bias) in zip(self._linear_layers, parameters, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        self._optimizer.load_state_dict(self._fresh_optimizer_state)

    def _batches(self, rows: Array) -> Iterator[tuple[Tensor, Tensor]]:
        if self._resident:
            for batch in torch.from_numpy(rows).to(self._device):
                yield self._images[batch], self._labels[batch]
        else:
            for batch in rows:
                images = torch.from_numpy(self._host_images[batch])
                labels = torch.from_numpy(self._host_labels[batch])
                yield images.to(self._device), labels.to(self._device)

    def _batch_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self._model(images), labels)

    def train(self, rows: Array) -> None:
        for images, labels in self._batches(rows):
            self._optimizer.zero_grad()
            loss = self._batch_loss(images, labels)
            loss.backward()
            self._optimizer.step()
            self._loss = loss.detach()

    def synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

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
        return self._model(torch.from_numpy(images).to(self._device)).cpu().numpy()

    def product(self, a: Array, b: Array) -> Array:
        first, second = (torch.from_numpy(array).to(self._device) for array in (a, b))
        return (first @ second).numpy(force=True)

    def weight_address(self) -> int:
        return self._linear_layers[0].weight.data_ptr()

    def compilations(self) -> int:
        return 0

    def describe(self) -> dict[str, str]:
        weight = self._linear_layers[0].weight
        on_gpu = weight.is_cuda
        on_device = "gpu" if on_gpu else "cpu"
        return {
            "device": on_device,
            "device_name": torch.cuda.get_device_name() if on_gpu else "cpu",
            "precision": str(weight.dtype).removeprefix("torch."),
            "threads": str(torch.get_num_threads()),
            "compiler": self.compiler,
            "steps_per_call": "1",
            "input": f"gathered from memory of the {on_device}"
            if self._resident
            else "cut by NumPy on the host",
            "optimizer": self.optimizer,
            "epsilon": f"{self._optimizer.param_groups[0]['eps']:g} ({TEXTBOOK})",
        }


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


class MultiStep(Eager):
    """The whole step as one compiled graph; on a GPU many of them in one CUDA graph.

    The state is a list of tensors updated in place, which the module's parameters share.
    """

    compiler = "torch.compile: whole step"
    optimizer = "Adam written out in the step"

    def _build(self) -> None:
        self._weights = [parameter.detach() for parameter in self._model.parameters()]
        self._first_moments = [torch.zeros_like(weight) for weight in self._weights]
        self._second_moments = [torch.zeros_like(weight) for weight in self._weights]
        # float64 on the device: the bias corrections are as precise as Python's own numbers.
        self._count = torch.zeros((), dtype=torch.float64, device=self._device)
        self._compiled_step = torch.compile(self._step, fullgraph=True, dynamic=False)
        self._graph: torch.cuda.CUDAGraph | None = None

    def reset(self, parameters: Parameters) -> None:
        super().reset(parameters)
        for moment in (*self._first_moments, *self._second_moments, self._count):
            moment.zero_()

    def first_moments(self) -> Parameters:
        return self._as_layers(self._first_moments)

    def compilations(self) -> int:
        return compiled_graphs()

    def _functional_loss(self, weights: list[Tensor], images: Tensor, labels: Tensor) -> Tensor:
        for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            images = F.relu(F.linear(images, weight, bias))
        return F.cross_entropy(F.linear(images, weights[-2], weights[-1]), labels)

    def _step(self, rows: Tensor) -> Tensor:
        adam = self._adam
        images, labels = self._images[rows], self._labels[rows]
        gradients, loss = torch.func.grad_and_value(self._functional_loss)(
            self._weights, images, labels
        )
        self._count += 1
        dtype = loss.dtype
        step_size = (adam.learning_rate / (1 - adam.beta_1**self._count)).to(dtype)
        root_correction = (1 - adam.beta_2**self._count).rsqrt().to(dtype)
        for weight, m, v, gradient in zip(
            self._weights, self._first_moments, self._second_moments, gradients, strict=True
        ):
            m.lerp_(gradient, 1 - adam.beta_1)
            v.mul_(adam.beta_2).addcmul_(gradient, gradient, value=1 - adam.beta_2)
            weight -= step_size * m / (v.sqrt() * root_correction + adam.epsilon)
        return loss

    def train(self, rows: Array) -> None:
        on_device = torch.from_numpy(rows).to(self._device)
        if self._device.type == "cuda":
            self._replay(on_device)
        else:
            for batch in on_device:
                self._loss = self._compiled_step(batch)

    def _replay(self, rows: Tensor) -> None:
        """Train through one CUDA graph of `steps_per_call` steps, and single steps for the rest."""
        whole = len(rows) - len(rows) % self._execution.steps_per_call
        for part in rows[:whole].split(self._execution.steps_per_call):
            if self._graph is None:
                self._capture(part)
            self._graph_rows.copy_(part)
            self._graph.replay()  # type: ignore[union-attr]
            self._loss = self._graph_losses
        for batch in rows[whole:]:
            self._loss = self._compiled_step(batch)

    def _capture(self, rows: Tensor) -> None:
        """Record the graph; the warm-up that capturing needs must not count as training."""
        state = [*self._weights, *self._first_moments, *self._second_moments, self._count]
        before = [tensor.clone() for tensor in state]
        self._graph_rows = rows.clone()
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for batch in self._graph_rows[:3]:
                self._compiled_step(batch)
        torch.cuda.current_stream().wait_stream(side_stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            losses = [self._compiled_step(batch) for batch in self._graph_rows]
            self._graph_losses = torch.stack(losses)
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)

    def describe(self) -> dict[str, str]:
        on_gpu = self._device.type == "cuda"
        return super().describe() | {
            "steps_per_call": str(self._execution.steps_per_call if on_gpu else 1),
            "compiler": self.compiler + (", CUDA graph over steps" if on_gpu else ""),
        }


TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "compiled": Compiled,
    "multistep": MultiStep,
}
