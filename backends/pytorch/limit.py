"""The tuned tier: as few launches, passes over memory and Python calls a step as PyTorch allows."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.optim.adam import adam as adam_update

from backends.contract import Array, Description, Trainer, calls
from backends.pytorch import graphs
from backends.pytorch.model import OneDNNLinear, multiply
from backends.pytorch.taught import Compiled

TRACES_DERIVATIVES = hasattr(torch._dynamo.config, "trace_autograd_ops")
"""Whether this version of torch.compile takes torch.autograd.grad into a graph."""

ADAM_OPTIONS = ("lr", "eps", "weight_decay", "amsgrad", "maximize", "capturable")


class MultiStep(Compiled):
    """Gather, loss and derivative as one compiled graph; on a GPU many steps in one CUDA graph.

    `graphed` says whether whole calls are replayed as a CUDA graph, which graphs.capture makes.
    """

    compiler = "torch.compile: gather, model, loss and derivative"
    linear = OneDNNLinear
    multiply = staticmethod(multiply)
    fetch = Trainer.fetch  # The compiled graph fetches its batches itself.

    def _build(self) -> None:
        self.graphed = self._device.type == "cuda"
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
            self._compile("_loss_and_gradients")
        else:
            self._compile("_loss_of_rows")

    def _forget(self) -> None:
        # In place, since a CUDA graph holds the addresses.
        for tensor in self._optimizer_tensors():
            tensor.zero_()

    def _optimizer_tensors(self) -> list[Tensor]:
        return [tensor for state in self._optimizer.state.values() for tensor in state.values()]

    def train(self, rows: Array) -> None:
        steps_per_call = self._execution.steps_per_call
        for part in calls(torch.from_numpy(rows).to(self._device), steps_per_call):
            if self.graphed and len(part) == steps_per_call:
                self._replay(part)
            else:
                for batch in part:
                    self._loss = self._step(batch)

    def _step(self, *batch: Tensor) -> Tensor:
        loss, gradients = self._loss_and_gradients(*batch)
        # Not left in `grad`, where they would lie beside those of the next step.
        self._update(dict(zip(self._weights, gradients, strict=True)))
        return loss

    def _loss_and_gradients(self, rows: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = self._loss_of_rows(rows)
        return loss.detach(), torch.autograd.grad(loss, self._weights)

    def _loss_of_rows(self, rows: Tensor) -> Tensor:
        # The gather within the graph: 2% less than outside it.
        return self._batch_loss(self._images[rows], self._labels[rows])

    @torch.no_grad()
    def _update(self, gradients: dict[Tensor, Tensor]) -> None:
        """Call the optimizer's own function, without the work that its `step` does around it.

        A training step takes 0.96 of the time that it takes with `step`.
        """
        for group in self._optimizer.param_groups:
            states = [self._optimizer.state[weight] for weight in group["params"]]
            adam_update(
                group["params"],
                [gradients[weight] for weight in group["params"]],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                max_exp_avg_sqs=[],
                state_steps=[state["step"] for state in states],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                fused=True,
                **{option: group[option] for option in ADAM_OPTIONS},
            )

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
        how = ", CUDA graph over steps" if self.graphed else ", products by oneDNN"
        return replace(super().describe(), steps_per_call=steps, compiler=self.compiler + how)
