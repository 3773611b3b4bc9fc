"""PyTorch: `nn.Sequential` and `torch.optim.Adam`.

`eager` is the loop of PyTorch's own tutorial, `compiled` puts the model and its loss through
`torch.compile`, and `multistep` the gather and the derivative as well, with products by oneDNN on a
CPU, and with many steps, optimizer included, in one CUDA graph on a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional as F
from torch.optim.adam import adam as adam_update

from backends import contract
from backends.contract import (
    FETCHES_ITSELF,
    PASS_DECAY,
    PASS_RATE,
    TEXTBOOK,
    Adam,
    Array,
    Execution,
    Network,
    NotKeptError,
    Parameters,
    Trainer,
    TrainingSet,
    calls,
    floor_arrays,
)

HAS_ONEDNN = torch.backends.mkldnn.is_available()


def versions() -> dict[str, str]:
    """The packages that this backend runs on."""
    return {"torch": torch.__version__}


def configure(execution: Execution) -> None:
    """Set threads and precision, for the whole process."""
    torch.set_num_threads(execution.threads)
    # "highest" is the default, made explicit: float32 on a GPU too, not TF32, which is "high".
    torch.set_float32_matmul_precision("high" if execution.precision == "tf32" else "highest")
    # Tuned mode only. Adam's moments of weights that no longer get a gradient decay to denormal
    # numbers, which a CPU computes slowly: after 600 steps of the tutorial's workload a step took
    # 3.5 ms instead of 2.9. XLA and TensorFlow flush them to zero unasked. Set before the
    # first parallel operation, since threads inherit it when they start.
    torch.set_flush_denormal(execution.mode == "multistep")


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Leave trace.json, which Perfetto opens."""
    with torch.profiler.profile() as profiler:
        yield
    profiler.export_chrome_trace(str(folder / "trace.json"))


def compiled_graphs() -> int:
    """The graphs that torch.compile has made in this process."""
    return int(counters["stats"]["unique_graphs"])


def linear_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x` (n, inputs) times the transpose of `weight` (outputs, inputs), float32, by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


# The same as an operator that torch.compile takes as it is, and that has a derivative. Defined in a
# library, since each call of a `custom_op` takes 13 µs more, and a step has eight.
LIBRARY = torch.library.Library("benchmark", "DEF")
LIBRARY.define("onednn_linear(Tensor x, Tensor weight, Tensor? bias=None) -> Tensor")
LIBRARY.impl("onednn_linear", linear_by_onednn, "CPU")
onednn_linear = getattr(torch.ops, LIBRARY.ns).onednn_linear


@torch.library.register_fake(f"{LIBRARY.ns}::onednn_linear", lib=LIBRARY)
def _(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: ARG001
    return x.new_empty(x.shape[0], weight.shape[0])


def _keep_factors(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:2])


def _linear_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    x, weight = ctx.saved_tensors
    of_x = onednn_linear(gradient, weight.T) if ctx.needs_input_grad[0] else None
    return of_x, onednn_linear(gradient.T, x.T), gradient.sum(0)


torch.library.register_autograd(
    f"{LIBRARY.ns}::onednn_linear", _linear_backward, setup_context=_keep_factors, lib=LIBRARY
)

TRACES_DERIVATIVES = hasattr(torch._dynamo.config, "trace_autograd_ops")
"""Whether this version of torch.compile takes torch.autograd.grad into a graph."""


class OneDNNLinear(nn.Linear):
    """A linear layer whose float32 products oneDNN takes, where PyTorch would ask MKL.

    MKL serves AMD's processors badly: on two cores of an EPYC the eight products of the tutorial's
    step took 2.4 ms by MKL and 1.3 ms by oneDNN, and the whole step 3.0 and 1.9 ms.
    """

    @staticmethod
    def serves(x: Tensor) -> bool:
        """Whether oneDNN has products for such a tensor."""
        return HAS_ONEDNN and x.dtype == torch.float32 and not x.is_cuda

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch, (n, outputs)."""
        if self.serves(x):
            return onednn_linear(x, self.weight, self.bias)
        return super().forward(x)


def product_type(execution: Execution) -> torch.dtype:
    """The type of the factors of a matrix product; TF32 has none of its own."""
    bfloat16 = execution.precision == "bfloat16"
    return torch.bfloat16 if bfloat16 else getattr(torch, execution.stored)


def mlp(layer_sizes: tuple[int, ...], linear: type[nn.Linear]) -> nn.Sequential:
    """A dense network: ReLU between its layers, logits out."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(layer_sizes):
        layers += [linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def put_back(tensors: list[Tensor], before: list[Tensor]) -> None:
    """Undo, in place, what the steps that capturing a CUDA graph needs have trained."""
    for tensor, value in zip(tensors, before, strict=True):
        tensor.copy_(value)


class Eager(Trainer):
    """Operation by operation, with the optimizer's defaults."""

    compiler = "none"
    optimizer = "torch.optim.Adam"
    fused: bool | None = None
    linear: type[nn.Linear] = nn.Linear

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
        # In bfloat16 PyTorch itself takes products from oneDNN.
        linear = nn.Linear if execution.precision == "bfloat16" else self.linear
        self._model = mlp(network.layer_sizes, linear).to(self._device, self._images.dtype)
        self._linear_layers = [layer for layer in self._model if isinstance(layer, nn.Linear)]
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
        self.reset(parameters)

    def _build(self) -> None:
        """Make the functions that the mode compiles; there are none here."""

    @torch.no_grad()
    def reset(self, parameters: Parameters) -> None:
        for layer, (weight, bias) in zip(self._linear_layers, parameters, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        self._forget()

    def _forget(self) -> None:
        """Bring the optimizer back to where it was before its first step."""
        self._optimizer.load_state_dict(self._fresh_optimizer_state)

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
        # From pinned memory the copy to a GPU goes on beside the step before.
        return (
            tensor.pin_memory().to(self._device, non_blocking=True)
            if self._device.type == "cuda"
            else tensor
        )

    def _forward(self, images: Tensor) -> Tensor:
        if self._execution.precision != "bfloat16":
            return self._model(images)
        with torch.autocast(self._device.type, torch.bfloat16):
            return self._model(images).float()

    def _batch_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self._forward(images), labels)

    def train(self, rows: Array) -> None:
        for images, labels in self._batches(rows):
            self._loss = self._step(images, labels)

    def _step(self, *batch: Tensor) -> Tensor:
        self._optimizer.zero_grad()
        loss = self._batch_loss(*batch)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def fetch(self, rows: Array) -> None:
        for _ in self._batches(rows):
            pass

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
        return self._forward(torch.from_numpy(images).to(self._device)).numpy(force=True)

    def _factors(self, *arrays: Array) -> list[Tensor]:
        """Factors of a product, as the layers have theirs."""
        dtype = product_type(self._execution)
        return [torch.from_numpy(array).to(self._device, dtype) for array in arrays]

    def product(self, a: Array, b: Array) -> Array:
        first, second = self._factors(a, b)
        return (first @ second).to(self._images.dtype).numpy(force=True)

    def weight_address(self) -> int:
        return self._linear_layers[0].weight.data_ptr()

    def peak_device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self._device.type == "cuda" else None

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
    """Gather, loss and derivative as one compiled graph; on a GPU many steps in one CUDA graph."""

    compiler = "torch.compile: gather, model, loss and derivative"
    optimizer = "torch.optim.Adam(fused=True)"
    fused = True
    linear = OneDNNLinear

    def _build(self) -> None:
        self._weights = list(self._model.parameters())
        # What the optimizer makes at its first step, made now.
        for weight in self._weights:
            self._optimizer.state[weight] = {
                "step": torch.zeros((), device=self._device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }
        self._graph: torch.cuda.CUDAGraph | None = None
        if TRACES_DERIVATIVES:
            # One graph forward and back: 0.88 of the time that two graphs take, which meet in
            # autograd's engine.
            torch._dynamo.config.trace_autograd_ops = True
            self._loss_and_gradients = torch.compile(  # type: ignore[method-assign]
                self._loss_and_gradients, fullgraph=True, dynamic=False
            )
        else:
            self._loss_of_rows = torch.compile(  # type: ignore[method-assign]
                self._loss_of_rows, fullgraph=True, dynamic=False
            )

    def _loss_of_rows(self, rows: Tensor) -> Tensor:
        # The gather within the graph: 2% less than outside it.
        return self._batch_loss(self._images[rows], self._labels[rows])

    def _loss_and_gradients(self, rows: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = self._loss_of_rows(rows)
        return loss.detach(), torch.autograd.grad(loss, self._weights)

    def _step(self, *batch: Tensor) -> Tensor:
        loss, gradients = self._loss_and_gradients(*batch)
        # Not left in `grad`, where they would lie beside those of the next step.
        self._update(dict(zip(self._weights, gradients, strict=True)))
        return loss

    @torch.no_grad()
    def _update(self, gradients: dict[Tensor, Tensor]) -> None:
        """The optimizer's step by its own function, without what `step` does around it: 0.96."""
        for group in self._optimizer.param_groups:
            weights: list[Tensor] = group["params"]
            states = [self._optimizer.state[weight] for weight in weights]
            adam_update(
                weights,
                [gradients[weight] for weight in weights],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                max_exp_avg_sqs=[],
                state_steps=[state["step"] for state in states],
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                eps=group["eps"],
                weight_decay=0.0,
                amsgrad=False,
                maximize=False,
                fused=True,
                capturable=group["capturable"],
            )

    def _forget(self) -> None:
        # In place, since a CUDA graph holds the addresses.
        for tensor in self._optimizer_tensors():
            tensor.zero_()

    def _optimizer_tensors(self) -> list[Tensor]:
        return [tensor for state in self._optimizer.state.values() for tensor in state.values()]

    def compilations(self) -> int:
        return compiled_graphs()

    def product(self, a: Array, b: Array) -> Array:
        first, second = self._factors(a, b)
        if OneDNNLinear.serves(first):
            return linear_by_onednn(first, second.T).numpy()
        return super().product(a, b)

    def train(self, rows: Array) -> None:
        on_device = torch.from_numpy(rows).to(self._device)
        if self._device.type == "cuda":
            self._replay(on_device)
        else:
            for batch in on_device:
                self._loss = self._step(batch)

    def fetch(self, rows: Array) -> None:
        raise NotKeptError(FETCHES_ITSELF)

    def _replay(self, rows: Tensor) -> None:
        """Train through one CUDA graph of `steps_per_call` steps, and single steps for the rest."""
        call = self._execution.steps_per_call
        whole = len(rows) - len(rows) % call
        for start in range(0, whole, call):
            part = rows[start : start + call]
            if self._graph is None:
                self._capture(part)
            self._graph_rows.copy_(part)
            self._graph.replay()  # type: ignore[union-attr]
            self._loss = self._graph_losses
        for batch in rows[whole:]:
            self._loss = self._step(batch)

    def _graph_steps(self) -> Tensor:
        """The steps of the graph, and their losses."""
        return torch.stack([self._step(batch) for batch in self._graph_rows])

    def _capture(self, rows: Tensor) -> None:
        """Record the graph; the warm-up that capturing needs must not count as training."""
        weights = [parameter.detach() for parameter in self._model.parameters()]
        state = [*weights, *self._optimizer_tensors()]
        before = [tensor.clone() for tensor in state]
        self._graph_rows = rows.clone()
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            self._graph_steps()
        torch.cuda.current_stream().wait_stream(side_stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._graph_losses = self._graph_steps()
        put_back(state, before)

    def describe(self) -> dict[str, str]:
        on_gpu = self._device.type == "cuda"
        steps = self._execution.steps_per_call if on_gpu else 1
        how = ", CUDA graph over steps" if on_gpu else ", products by oneDNN"
        return super().describe() | {"steps_per_call": str(steps), "compiler": self.compiler + how}


TRAINERS: dict[str, type[Trainer]] = {
    "eager": Eager,
    "compiled": Compiled,
    "multistep": MultiStep,
}


class Floor(contract.Floor):
    """One call for each product, by oneDNN where it serves, and one for each array of the pass.

    On a GPU as one CUDA graph of many steps, so that no launch is in it.
    """

    def __init__(self, network: Network, batch_size: int, execution: Execution) -> None:
        self._execution = execution
        self._device = torch.device("cuda" if execution.device == "gpu" else "cpu")
        self._product_type = product_type(execution)
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
        if self._device.type == "cpu":
            for _ in rows:
                self._step()
            return
        for part in calls(rows, self._execution.steps_per_call):
            if len(part) not in self._graphs:
                self._graphs[len(part)] = self._captured(len(part))
            self._graphs[len(part)].replay()

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
        """The product of `a` and `b`, in the memory of `kept` where that can be asked for."""
        if OneDNNLinear.serves(a):
            return linear_by_onednn(a, b.T)
        return torch.mm(a, b, out=kept)

    def _captured(self, steps: int) -> torch.cuda.CUDAGraph:
        """So many steps as one graph; the one that capturing needs before it must not count."""
        state = [*self._weights, *self._first_moments, *self._second_moments]
        before = [tensor.clone() for tensor in state]
        self._step()
        put_back(state, before)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(steps):
                self._step()
        return graph

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
