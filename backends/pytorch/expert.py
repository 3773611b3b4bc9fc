"""PyTorch as its performance pages advise: torch.compile, fused Adam, denormals flushed."""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.func import functional_call, grad_and_value
from torch.nn import functional as F

from backends.contract import Array, Trainer
from backends.pytorch.model import NeuralNetwork
from backends.pytorch.taught import Fused


class Compiled(Fused):
    """Model and loss compiled, with the derivative that goes with them; fused Adam beside."""

    compiler = "torch.compile: model and loss"
    options: ClassVar[dict[str, Any]] = {}

    def _build(self) -> None:
        self._compile("_batch_loss")

    def _compile(self, method: str) -> None:
        # One shape, so nothing is compiled for shapes in general.
        options = {"fullgraph": True, "dynamic": False, **self.options}
        setattr(self, method, torch.compile(getattr(self, method), **options))

    # Read by certificate and ledger; never timed.

    def compilations(self) -> int:
        return int(counters["stats"]["unique_graphs"])


class CompiledModule(Compiled):
    """The model compiled in place by its own method, the loss left beside it."""

    compiler = "Module.compile: model"
    # A class of one's own, as in the tutorials: torch.compile skips nn.Sequential's own frame.
    network = NeuralNetwork

    def _build(self) -> None:
        self._model.compile(fullgraph=True, dynamic=False)

    # Read by certificate and ledger; never timed.

    def logits(self, images: Array) -> Array:
        # Not compiled once more for another number of images.
        with torch.compiler.set_stance("force_eager"):
            return super().logits(images)


class CompiledAdam(Compiled):
    """The optimizer compiled too, as PyTorch's recipe does it: not fused, but foreach."""

    compiler = "torch.compile: model and loss, optimizer"
    optimizer = "torch.optim.Adam, compiled"
    fused: bool | None = None

    def _build(self) -> None:
        super()._build()
        # A compiled step computes Adam's corrections in the type of its count.
        self._make_state(getattr(torch, self._execution.stored))
        self._update = torch.compile(self._update)  # type: ignore[method-assign]


class CompiledReduceOverhead(Compiled):
    """Each compiled program replayed as a CUDA graph by torch.compile itself; GPUs only."""

    compiler = "torch.compile(mode='reduce-overhead'): model and loss"
    options: ClassVar = {"mode": "reduce-overhead"}


class CompiledFlushed(Compiled):
    """Denormal numbers flushed to zero, as XLA and TensorFlow do unasked."""

    # 0.83 on two cores of an Intel Xeon, after some hundred steps.
    flushes = True


class CompiledGather(CompiledFlushed):
    """The program gathers its batch from the training set itself."""

    compiler = "torch.compile: gather, model and loss"
    fetch = Trainer.fetch

    def _batches(self, rows: Array) -> Iterable[tuple[Tensor, ...]]:
        return ((batch,) for batch in torch.from_numpy(rows).to(self._device))

    def _batch_loss(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        # 0.955 on two cores of an Intel Xeon: one call, and no index checked batch by batch.
        return super()._batch_loss(self._images[rows], self._labels[rows])


class OneGraph(CompiledGather):
    """Loss and derivative in one program, by torch.func: autograd's engine has nothing to do."""

    compiler = "torch.compile: gather, model, loss and derivative"
    compiled_method = "_loss_and_gradients"  # the method that is compiled

    def _build(self) -> None:
        self._weights = list(self._model.parameters())
        # Without a gradient of their own; they share the memory of the model's parameters.
        self._values = {name: w.detach() for name, w in self._model.named_parameters()}
        # 0.89 on two cores of an Intel Xeon: two programs meet in autograd's engine.
        self._compile(self.compiled_method)

    def _step(self, *batch: Tensor) -> Tensor:
        loss, gradients = self._loss_and_gradients(*batch)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        self._update()
        return loss

    def _loss_and_gradients(self, rows: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        gradients, loss = grad_and_value(self._loss_with)(self._values, rows)
        return loss, tuple(gradients.values())

    def _loss_with(self, values: dict[str, Tensor], rows: Tensor) -> Tensor:
        """The loss with `values` in place of the model's parameters."""
        logits = self._forward(self._images[rows], partial(functional_call, self._model, values))
        return F.cross_entropy(logits, self._labels[rows])
