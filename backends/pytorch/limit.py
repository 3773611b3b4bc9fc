"""PyTorch at its limit: one program a step, a CUDA graph of steps, or the step written by hand."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.adam import adam as adam_update

from backends.contract import (
    Array,
    Description,
    Execution,
    Trainer,
    Training,
    calls,
    product_names,
)
from backends.pytorch import graphs, products
from backends.pytorch.expert import OneGraph
from backends.pytorch.model import OneDNNLinear, multiply, serves
from backends.pytorch.taught import Flushed

TRACES_DERIVATIVES = hasattr(torch._dynamo.config, "trace_autograd_ops")
"""Whether this version of torch.compile takes torch.autograd.grad into a graph."""

ADAM_OPTIONS = ("lr", "eps", "weight_decay", "amsgrad", "maximize", "capturable")


def updates(
    optimizer: torch.optim.Adam, gradients: dict[Tensor, Tensor]
) -> list[Callable[[], None]]:
    """Calls of the optimizer's own function, without the work that its `step` does around it.

    A step takes 0.96 of the time that it takes with `step` (two cores of an AMD EPYC, AVX-512).
    """
    return [
        partial(
            adam_update,
            group["params"],
            [gradients[weight] for weight in group["params"]],
            [optimizer.state[weight]["exp_avg"] for weight in group["params"]],
            [optimizer.state[weight]["exp_avg_sq"] for weight in group["params"]],
            max_exp_avg_sqs=[],
            state_steps=[optimizer.state[weight]["step"] for weight in group["params"]],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            fused=True,
            **{option: group[option] for option in ADAM_OPTIONS},
        )
        for group in optimizer.param_groups
    ]


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
        return replace(super().describe(), products="onednn" if served else products.BLAS)


class CudaGraph(OneProgram):
    """Many steps, optimizer included, in one CUDA graph, which graphs.capture makes.

    `graphed` says whether whole calls are replayed so.
    """

    def _build(self) -> None:
        super()._build()
        self.graphed = self._device.type == "cuda"
        # Its step count must lie on the GPU.
        self._optimizer.param_groups[0]["capturable"] = self.graphed
        self._graph: torch.cuda.CUDAGraph | None = None

    def train(self, rows: Array) -> None:
        steps_per_call = self._execution.steps_per_call
        for part in calls(torch.from_numpy(rows).to(self._device), steps_per_call):
            if self.graphed and len(part) == steps_per_call:
                self._replay(part)
            else:
                for batch in part:
                    self._loss = self._step(batch)

    def _replay(self, rows: Tensor) -> None:
        """Train through one CUDA graph, which always has `steps_per_call` steps."""
        if self._graph is None:
            self._graph_rows = rows.clone()
            state = [*(weight.detach() for weight in self._weights), *self._optimizer_tensors()]
            self._graph, self._graph_losses = graphs.capture(self._graph_steps, state)
        self._graph_rows.copy_(rows)
        self._graph.replay()
        self._loss = self._graph_losses

    def _graph_steps(self) -> Tensor:
        """Train the steps of the graph; their losses."""
        return torch.stack([self._step(batch) for batch in self._graph_rows])

    # Read by certificate and ledger; never timed.

    def describe(self) -> Description:
        steps = self._execution.steps_per_call if self.graphed else 1
        compiler = f"{self.compiler}, CUDA graph over steps"
        return replace(super().describe(), steps_per_call=steps, compiler=compiler)


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
        self._make_state()
        parameters = self._optimized()
        self._weights = [parameter.detach() for parameter in parameters]
        self._gradients = [torch.zeros_like(weight) for weight in self._weights]
        self._updates = updates(
            self._optimizer, dict(zip(parameters, self._gradients, strict=True))
        )
        self._type = getattr(torch, self._execution.product_type)
        self._converts = self._type != self._weights[0].dtype
        self._images = self._images.to(self._type)
        self._memory: dict[int, products.Memory] = {}
        self._choose(dict.fromkeys(product_names(self._network), products.BLAS))

    def _choose(self, choice: products.Choice) -> None:
        """Compute each product by the library of this name from now on."""
        self._choice, libraries = choice, products.serving(self.libraries, self._images)
        multiply = {name: products.function_of(choice[name], libraries) for name in choice}
        self._serving = {
            product: name if libraries is self.libraries else products.BLAS
            for product, name in choice.items()
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

    def _batches(self, rows: Array) -> Iterable[tuple[Tensor, ...]]:
        return ((batch,) for batch in torch.from_numpy(rows).to(self._device))

    def _prepare(self, batch_size: int) -> products.Memory:
        """Make the memory for a batch size, when its first batch comes."""
        memory = products.Memory(self._network.layer_sizes, batch_size, self._choice, self._images)
        # Each label as the share of the loss that the logarithm of each probability has.
        classes = F.one_hot(self._labels, self._network.layer_sizes[-1])
        memory.shares = classes.to(self._weights[0].dtype) / batch_size
        self._memory[batch_size] = memory
        return memory

    @torch.no_grad()
    def _step(self, *batch: Tensor) -> Tensor:
        loss = self._find_gradients(*batch)
        self._update()
        return loss

    def _find_gradients(self, rows: Tensor) -> Tensor:
        """Forward and backward; the loss."""
        memory = self._memory.get(len(rows)) or self._prepare(len(rows))
        images = torch.index_select(self._images, 0, rows, out=memory.images)
        shares = torch.index_select(memory.shares, 0, rows)
        weights = self._factors()
        inputs = self._forward_by_hand(weights, images, memory)
        logits = inputs.pop().to(shares.dtype)

        log_probabilities = torch.log_softmax(logits, 1)
        loss = -(log_probabilities * shares).sum()
        delta = log_probabilities.exp_().div_(len(rows)).sub_(shares).to(self._type)

        for n in reversed(range(len(inputs))):
            weights_product, inputs_product = self._backwards[n]
            of_weight, of_bias = self._gradients[2 * n : 2 * n + 2]
            weights_product(delta.T, inputs[n], of_weight)
            torch.sum(delta, 0, dtype=of_bias.dtype, out=of_bias)
            if inputs_product:
                delta = inputs_product(delta, weights[n], memory.deltas[n - 1])
                # What ReLU gives is positive or zero: its sign is ReLU's derivative.
                delta.mul_(torch.sign(inputs[n], out=memory.signs[n - 1]))
        return loss

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

    def _build(self) -> None:
        super()._build()
        states = [self._optimizer.state[weight] for weight in self._optimized()]
        self._moments = [
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")
        ]

    def _update(self) -> None:
        (group,) = self._optimizer.param_groups
        first, second, steps = self._moments
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            self._weights,
            self._gradients,
            first,
            second,
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
