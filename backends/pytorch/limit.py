"""PyTorch at its limit: one program a step, or the step written by hand; graphed.py adds graphs."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from backends.contract import (
    Array,
    Description,
    Execution,
    Trainer,
    Training,
    product_names,
)
from backends.pytorch import products
from backends.pytorch.adam import update_by_kernel, updates
from backends.pytorch.expert import OneGraph
from backends.pytorch.model import OneDNNLinear, multiply, serves
from backends.pytorch.taught import Flushed

TRACES_DERIVATIVES = hasattr(torch._dynamo.config, "trace_autograd_ops")
"""Whether this version of torch.compile takes torch.autograd.grad into a graph."""


class OneProgram(OneGraph):
    """One compiled program forward and backward, and Adam by its own function."""

    def _build(self) -> None:
        super()._build()
        self._make_state()

    def _step(self, *batch: Tensor) -> Tensor:
        loss, gradients = self._loss_and_gradients(*batch)
        # Not left in `grad`, where they would lie beside those of the next step.
        of_weights = dict(zip(self._weights, gradients, strict=True))
        with torch.no_grad():
            for update in updates(self._optimizer, of_weights):
                update()
        return loss


class OneDNN(OneProgram):
    """Every float32 product by oneDNN, through an operator that torch.compile takes as it is."""

    linear = OneDNNLinear
    multiply = staticmethod(multiply)
    # Older versions leave the derivative to autograd's engine.
    compiled_method = "_loss_and_gradients" if TRACES_DERIVATIVES else "_batch_loss"

    def _build(self) -> None:
        if TRACES_DERIVATIVES:
            torch._dynamo.config.trace_autograd_ops = True
        super()._build()

    def _loss_and_gradients(self, rows: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        # torch.func cannot trace an operator that has its derivative from outside.
        loss = self._batch_loss(rows)
        return loss.detach(), torch.autograd.grad(loss, self._weights)

    # Read by certificate and ledger; never timed.

    def describe(self) -> Description:
        served = serves(next(self._model.parameters()))
        blas = products.blas_for("", self._device)
        return replace(super().describe(), products="onednn" if served else blas)


class HandwrittenMM(Flushed):
    """Loss, derivative and update written out, into memory that is kept; products by torch.mm.

    Matrices are (batch, features) throughout. How they lie in memory is the business of the product
    that computes them: see products.py.
    """

    # 0.89 of a step of OneDNN on two cores of an AMD EPYC without AVX-512 (Zen 3). Compiling it all
    # gains nothing: 0.83 where the same calls, uncompiled, took 0.77.
    optimizer = "torch.optim.adam.adam(fused=True)"
    compiler = "none: derivative by hand"
    libraries: ClassVar[dict[str, products.Multiply]] = {products.BLAS: products.by_blas}
    fetch = Trainer.fetch

    def __init__(self, training: Training, execution: Execution) -> None:
        self._network = training.network
        super().__init__(training, execution)

    def _build(self) -> None:
        # Parameters in one tensor, gradients and moments too: Adam is one call with one step count,
        # which saves 1% of a step (two cores of an Intel Xeon with AVX-512).
        flat = parameters_to_vector(self._model.parameters()).detach()
        vector_to_parameters(flat, self._model.parameters())
        self._optimizer = torch.optim.Adam([flat], **self._optimizer.defaults)
        self._make_state()
        self._flat, self._flat_gradients = flat, torch.zeros_like(flat)
        self._weights, self._gradients = self._parts(flat), self._parts(self._flat_gradients)
        self._updates = updates(self._optimizer, {flat: self._flat_gradients})
        self._type = getattr(torch, self._execution.product_type)
        self._converts = self._type != flat.dtype
        self._sum = products.sum_converted if self._converts else products.sum_by_blas
        self._images = self._images.to(self._type)
        self._memory: dict[int, products.Memory] = {}
        self._choose(dict.fromkeys(product_names(self._network), products.BLAS))

    def _choose(self, choice: products.Choice) -> None:
        """Compute each product by the library of this name from now on."""
        self._choice, libraries = choice, products.serving(self.libraries, self._images)
        multiply = {name: products.function_of(choice[name], libraries) for name in choice}
        self._serving = choice
        if libraries is not self.libraries:
            self._serving = {
                product: products.blas_for(name, self._device) for product, name in choice.items()
            }
        layers = range(1, len(self._network.layer_sizes))
        self._forwards = [multiply[f"forward {n}"] for n in layers]
        self._backwards = [
            (
                products.writing(multiply[f"weights {n}"], self._converts),
                multiply.get(f"inputs {n}"),
            )
            for n in layers
        ]

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Each parameter's part of a flat tensor."""
        shapes = [weight.shape for weight in self._model.parameters()]
        parts = flat.split([shape.numel() for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _tensors(self) -> list[list[Tensor]]:
        return [self._parts(flat) for (flat,) in super()._tensors()]

    def _batches(self, rows: Array) -> Iterable[tuple[Tensor, ...]]:
        return ((batch,) for batch in torch.from_numpy(rows).to(self._device))

    def _prepare(self, batch_size: int) -> products.Memory:
        """Make the memory for a batch size, when its first batch comes."""
        memory = products.Memory(self._network.layer_sizes, batch_size, self._choice, self._images)
        # Each label as the share of the loss that the logarithm of each probability has.
        classes = F.one_hot(self._labels, self._network.layer_sizes[-1])
        memory.shares = classes.to(self._flat.dtype) / -self._averaged_over(batch_size)
        self._memory[batch_size] = memory
        return memory

    def _averaged_over(self, size: int) -> int:
        """The images over which loss and gradients are means, where a step has `size` of them."""
        return size

    # 0.99 of a step without gradients alone (two cores of an Intel Xeon with AVX-512).
    @torch.inference_mode()
    def _step(self, *batch: Tensor) -> Tensor:
        loss = self._find_gradients(*batch)
        self._update()
        return loss

    def _find_gradients(self, rows: Tensor) -> Tensor:
        """Forward and backward; the loss."""
        size = len(rows)
        memory = self._memory.get(size) or self._prepare(size)
        images = torch.index_select(self._images, 0, rows, out=memory.images)
        weights = self._factors()
        *inputs, logits = self._forward_by_hand(weights, images, memory)
        loss, delta = self._find_loss(logits, rows, memory)
        for n in reversed(range(len(inputs))):
            self._find_weight_gradients(n, delta, inputs[n], memory)
            if inputs_product := self._backwards[n][1]:
                delta = inputs_product(delta, weights[n], memory.deltas[n - 1])
                self._pass_relu(n, delta, inputs[n], memory)
        return loss

    def _find_loss(
        self, logits: Tensor, rows: Tensor, memory: products.Memory
    ) -> tuple[Tensor, Tensor]:
        """The loss, and its derivative by the logits."""
        shares = torch.index_select(memory.shares, 0, rows)
        log_probabilities = torch.log_softmax(logits, 1, dtype=shares.dtype)
        loss = torch.dot(log_probabilities.view(-1), shares.view(-1))
        share = 1 / self._averaged_over(len(rows))
        return loss, torch.add(shares, log_probabilities.exp_(), alpha=share, out=memory.deltas[-1])

    def _find_weight_gradients(
        self, n: int, delta: Tensor, inputs: Tensor, memory: products.Memory
    ) -> None:
        """The gradients of the weight and bias of the layer that has these `inputs`."""
        of_weight, of_bias = self._gradients[2 * n : 2 * n + 2]
        self._backwards[n][0](delta.T, inputs, of_weight)
        self._sum(delta, memory.ones, of_bias)

    def _pass_relu(self, n: int, delta: Tensor, outputs: Tensor, memory: products.Memory) -> None:
        """Take `delta`, by the outputs of the ReLU before layer `n`, to what went into it."""
        # What ReLU gives is positive or zero: its sign is ReLU's derivative.
        delta.mul_(torch.sign(outputs, out=memory.signs[n - 1]))

    def _factors(self) -> list[Tensor]:
        """The weights (outputs, inputs) of each layer as factors of products."""
        weights = self._weights[::2]
        return [weight.to(self._type) for weight in weights] if self._converts else weights

    def _forward_by_hand(
        self, weights: list[Tensor], images: Tensor, memory: products.Memory | None = None
    ) -> list[Tensor]:
        """The inputs of each layer, and the logits."""
        outputs = [images]
        for n, forward in enumerate(self._forwards):
            into = memory.outputs[n] if memory else None
            output = forward(outputs[n], weights[n].T, into).add_(self._weights[2 * n + 1])
            outputs.append(output.relu_() if n < len(self._forwards) - 1 else output)
        return outputs

    def _update(self) -> None:
        for update in self._updates:
            update()

    # Read by certificate and ledger; never timed.

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        return self._forwards[0](a, b, None)

    @torch.no_grad()
    def logits(self, images: Array) -> Array:
        tensor = torch.from_numpy(images).to(self._device, self._type)
        return (
            self._forward_by_hand(self._factors(), tensor)[-1]
            .to(self._weights[0].dtype)
            .numpy(force=True)
        )


class Handwritten(HandwrittenMM):
    """Each product by the library that is fastest for it on this machine."""

    # 0.78 of a step of OneDNN on that EPYC, where MKL with operands exchanged is chosen.
    libraries = products.PUBLIC

    def _build(self) -> None:
        super()._build()
        products.check(self._execution.products, self._network, self.libraries)
        # On a GPU and in bfloat16 PyTorch has one library only.
        self._chooses = self._device.type == "cpu" and self._execution.precision != "bfloat16"

    def _prepare(self, batch_size: int) -> products.Memory:
        # The first batch tells the sizes of the products.
        if self._chooses and not self._memory:
            self._choose(self._execution.products or self._fastest(batch_size))
        return super()._prepare(batch_size)

    def _fastest(self, batch_size: int) -> products.Choice:
        """The libraries with which forward and backward are fastest; nothing is trained."""
        rows = torch.arange(batch_size, device=self._device) % len(self._labels)

        def sequence_of(choice: products.Choice) -> Callable[[], object]:
            self._choose(choice)
            memory = {batch_size: super(Handwritten, self)._prepare(batch_size)}

            def sequence() -> None:
                self._choose(choice)
                self._memory = memory
                self._find_gradients(rows)

            return sequence

        return products.choose(self._network, batch_size, self.libraries, self._images, sequence_of)

    # Read by certificate and ledger; never timed.

    def describe(self) -> Description:
        chosen = ", ".join(f"{name}: {library}" for name, library in self.products().items())
        default = super().describe()
        return replace(default, products=chosen or default.products)

    def products(self) -> dict[str, str]:
        return self._serving if self._chooses and self._memory else {}


class HandwrittenPrivate(Handwritten):
    """oneDNN's products and Adam by private functions, which spare the work around them."""

    # 0.95 of a step with `adam` on that EPYC: 5 to 13 µs of Python a call instead of 54 to 87.
    optimizer = "torch._fused_adam_"
    libraries = products.PRIVATE

    def __init__(self, training: Training, execution: Execution) -> None:
        self._adam = training.adam
        super().__init__(training, execution)

    def _update(self) -> None:
        (state,) = self._optimizer.state.values()
        update_by_kernel(
            self._adam,
            self._flat,
            self._flat_gradients,
            state["exp_avg"],
            state["exp_avg_sq"],
            state["step"],
        )
