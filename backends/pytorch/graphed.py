"""Steps for a GPU: recorded in CUDA graphs, and written by hand for what a GPU does beside.

On a CPU they compute the same without a graph, where tests certify them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from backends.contract import Array, Description, Trainer, calls
from backends.pytorch import graphs, products
from backends.pytorch.limit import HandwrittenMM, OneProgram
from backends.pytorch.taught import Eager, Fused


class Graphed(Eager):
    """Calls of some steps, optimizer included, each replayed as the CUDA graph that holds them.

    `graphed` says whether whole calls are replayed so.
    """

    graph_of: ClassVar = "CUDA graph over steps"
    fetch = Trainer.fetch

    def _build(self) -> None:
        super()._build()
        self.graphed = self._device.type == "cuda"
        # Its step count must lie on the GPU.
        self._optimizer.param_groups[0]["capturable"] = self.graphed
        self._graph: torch.cuda.CUDAGraph | None = None

    def _steps_of_graph(self) -> int:
        return self._execution.steps_per_call

    def train(self, rows: Array) -> None:
        steps = self._steps_of_graph()
        for part in calls(torch.from_numpy(rows).to(self._device), steps):
            if self.graphed and len(part) == steps:
                self._replay(part)
            else:
                for batch in part:
                    self._loss = self._step(batch)

    def _replay(self, rows: Tensor) -> None:
        """Train through the CUDA graph, which always has the same number of steps."""
        if self._graph is None:
            self._graph_rows = rows.clone()
            weights = [weight.detach() for weight in self._optimized()]
            state = [*weights, *self._optimizer_tensors()]
            self._graph, self._graph_losses = graphs.capture(self._graph_steps, state)
        self._graph_rows.copy_(rows)
        self._graph.replay()
        self._loss = self._graph_losses

    def _graph_steps(self) -> Tensor:
        """Train the steps of the graph; their losses."""
        return torch.stack([self._step(batch) for batch in self._graph_rows])

    # Read by certificate and ledger; never timed.

    def describe(self) -> Description:
        steps = self._steps_of_graph() if self.graphed else 1
        compiler = f"{self.compiler}, {self.graph_of}"
        return replace(super().describe(), steps_per_call=steps, compiler=compiler)


class StepGraph(Graphed, Fused):
    """The taught step, operation by operation, recorded once: gather, autograd and Adam."""

    optimizer = "torch.optim.Adam(fused=True, capturable=True)"
    graph_of = "CUDA graph of a step"

    def _build(self) -> None:
        super()._build()
        self._make_state()

    def _steps_of_graph(self) -> int:
        return 1

    def _step(self, *batch: Tensor) -> Tensor:
        (rows,) = batch
        return super()._step(self._images[rows], self._labels[rows])


class CudaGraph(Graphed, OneProgram):
    """Many compiled steps, optimizer included, in one CUDA graph."""


class HandwrittenGraph(Graphed, HandwrittenMM):
    """Many steps by hand in one CUDA graph: nothing is compiled, and no operation is autograd's."""


class HandwrittenStreams(HandwrittenGraph):
    """The gradients of weights and biases beside those of the layers' inputs.

    A layer's weights need nothing of the layers before it, and a product of these sizes does not
    fill a large GPU. In a graph the other stream is a branch, which costs the host nothing. What
    is computed beside works on memory that is kept, so that nothing is freed under it.
    """

    compiler = "none: derivative by hand, weights' beside inputs'"

    def _build(self) -> None:
        super()._build()
        self._other = torch.cuda.Stream() if self._device.type == "cuda" else None

    def _find_gradients(self, rows: Tensor) -> Tensor:
        loss = super()._find_gradients(rows)
        self._join()
        return loss

    def _find_weight_gradients(
        self, n: int, delta: Tensor, inputs: Tensor, memory: products.Memory
    ) -> None:
        self._beside(partial(super()._find_weight_gradients, n, delta, inputs, memory))

    def _beside(self, call: Callable[[], object]) -> None:
        """Make a call after all that was launched until now, and beside what is launched next."""
        if self._other is None:
            call()
            return
        self._other.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._other):
            call()

    def _join(self) -> None:
        """Launch what comes next after all calls that were made beside."""
        if self._other is not None:
            torch.cuda.current_stream().wait_stream(self._other)


class HandwrittenEpilogues(HandwrittenStreams):
    """Bias and ReLU in the forward products' own kernels, which cuBLASLt calls epilogues."""

    compiler = "none: derivative by hand, weights' beside inputs', epilogues"

    def _forward_by_hand(
        self, weights: list[Tensor], images: Tensor, memory: products.Memory | None = None
    ) -> list[Tensor]:
        outputs, last = [images], len(weights) - 1
        for n, weight in enumerate(weights):
            into, bias = memory.outputs[n] if memory else None, self._weights[2 * n + 1]
            layer: Any = torch.addmm if n == last else torch._addmm_activation
            outputs.append(layer(bias.to(self._type), outputs[n], weight.T, out=into))
        return outputs


class HandwrittenFused(HandwrittenEpilogues):
    """What lies between the products compiled: loss, ReLU's derivative, and the biases' sums."""

    compiler = "torch.compile: what lies between products"
    compiles = True

    def _build(self) -> None:
        super()._build()
        compiled = partial(torch.compile, fullgraph=True, dynamic=False)
        self._lose, self._mask = compiled(lose), compiled(mask)

    def _find_loss(
        self, logits: Tensor, rows: Tensor, memory: products.Memory
    ) -> tuple[Tensor, Tensor]:
        delta, share = memory.deltas[-1], 1 / self._averaged_over(len(rows))
        loss = self._lose(logits, memory.shares, rows, share, delta, self._gradients[-1])
        return loss, delta

    def _find_weight_gradients(
        self, n: int, delta: Tensor, inputs: Tensor, memory: products.Memory
    ) -> None:
        self._beside(partial(self._backwards[n][0], delta.T, inputs, self._gradients[2 * n]))

    def _pass_relu(self, n: int, delta: Tensor, outputs: Tensor, memory: products.Memory) -> None:
        self._mask(delta, outputs, self._gradients[2 * n - 1])


def lose(
    logits: Tensor, shares: Tensor, rows: Tensor, share: float, delta: Tensor, of_bias: Tensor
) -> Tensor:
    """The loss; its derivative goes into `delta`, and the last bias's gradient into `of_bias`."""
    of_batch = shares[rows]
    log_probabilities = torch.log_softmax(logits, 1, dtype=shares.dtype)
    derivative = of_batch + share * log_probabilities.exp()
    delta.copy_(derivative)
    of_bias.copy_(derivative.sum(0))
    return (log_probabilities * of_batch).sum()


def mask(delta: Tensor, outputs: Tensor, of_bias: Tensor) -> None:
    """Put `delta` to zero where ReLU did, and its sum over the batch into `of_bias`."""
    passed = torch.where(outputs > 0, delta, 0)
    delta.copy_(passed)
    of_bias.copy_(passed.sum(0, dtype=of_bias.dtype))
