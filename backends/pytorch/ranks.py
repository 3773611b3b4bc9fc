"""PyTorch in a group of ranks: DistributedDataParallel, and one all-reduce of all gradients."""

import os
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import psutil
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from backends.contract import Array, Execution
from backends.pytorch.expert import CompiledFlushed
from backends.pytorch.limit import Handwritten
from backends.pytorch.model import NeuralNetwork
from backends.pytorch.taught import Eager, Flushed


def join(execution: Execution, addresses: tuple[str, ...]) -> None:
    """Enter the group: over gloo on CPUs, NCCL on GPUs."""
    # gloo would take the interface that the machine's own name leads to.
    own = addresses[execution.rank].rsplit(":", 1)[0]
    if interface := interface_of(own):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    host, port = addresses[0].rsplit(":", 1)
    first = execution.rank == 0
    # Left to itself, the store where ranks meet listens on all interfaces.
    listening = socket.create_server((host, int(port))).detach() if first else None
    store = distributed.TCPStore(
        host, int(port), execution.ranks, is_master=first, master_listen_fd=listening
    )
    kind = "gloo" if execution.device == "cpu" else "nccl"
    distributed.init_process_group(
        kind, store=store, rank=execution.rank, world_size=execution.ranks
    )


def interface_of(address: str) -> str:
    """The name of the network interface that has an address; empty where none has."""
    found = psutil.net_if_addrs().items()
    names = [name for name, given in found if any(one.address == address for one in given)]
    return names[0] if names else ""


def reduction(execution: Execution, count: int) -> Callable[[], None]:
    """Sum up so many numbers over all ranks."""
    device = "cpu" if execution.device == "cpu" else "cuda"
    numbers = torch.ones(count, dtype=getattr(torch, execution.stored), device=device)

    def reduce() -> None:
        distributed.all_reduce(numbers.zero_())
        if numbers.is_cuda:
            torch.cuda.synchronize()

    return reduce


class DDP(Eager):
    """The tutorial's loop around a model in DistributedDataParallel, which averages gradients.

    It reduces a bucket of them while the derivative of the layers below is still computed.
    """

    options: ClassVar[dict[str, Any]] = {}
    """What DistributedDataParallel is told besides."""

    def _build(self) -> None:
        self._in_group: Any = DistributedDataParallel(self._model, **self.options)
        super()._build()

    def train(self, rows: Array) -> None:
        share = self._execution.share(rows)
        # The average over ranks is the mean over the batch only where all shares are equal.
        self._weight = share.shape[1] * self._execution.ranks / rows.shape[1]
        super().train(share)

    def _batch_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = super()._batch_loss(images, labels)
        return loss if self._weight == 1 else loss * self._weight

    def _forward(self, images: Tensor, model: Callable[..., Tensor] | None = None) -> Tensor:
        # What is read goes through the model itself, which no other rank takes part in.
        return super()._forward(images, self._in_group if torch.is_grad_enabled() else model)


class DDPTuned(DDP, Flushed):
    """What DistributedDataParallel's page advises for a graph that never changes."""

    # 0.90 of a step of DDP with two ranks on two cores of an AMD EPYC (Zen 3), two launches.
    # Gradients lie in the buckets that are reduced, and the order of buckets is settled once.
    options: ClassVar = {"static_graph": True, "gradient_as_bucket_view": True}


class DDPCompiled(DDPTuned, CompiledFlushed):
    """The model in DistributedDataParallel by torch.compile."""

    compiler = "torch.compile: model in DistributedDataParallel"
    # A class of one's own, as in the tutorials: torch.compile skips nn.Sequential's own frame.
    network = NeuralNetwork
    # Compiled programs end where a bucket does, so that it is reduced meanwhile.
    options: ClassVar = {"gradient_as_bucket_view": True}

    def _build(self) -> None:
        self._in_group = torch.compile(
            DistributedDataParallel(self._model, **self.options), dynamic=False
        )


class FlatAllReduce(Handwritten):
    """The derivative by hand, whose gradients lie in one tensor, and one all-reduce of that."""

    # 0.89 of a step of DDPTuned there, and 1.15 times a rank's share and that sum in PyTorch alone.
    compiler = "none: derivative by hand, one all-reduce a step"

    _batch_size = 0

    def train(self, rows: Array) -> None:
        if rows.shape[1] != self._batch_size:
            # What is kept for a share of this size holds another batch's mean.
            self._batch_size, self._memory = rows.shape[1], {}
        super().train(self._execution.share(rows))

    def _fastest(self, batch_size: int) -> dict[str, str]:
        # All ranks multiply as the first one does, which the ledger tells.
        choice = [super()._fastest(batch_size)]
        distributed.broadcast_object_list(choice)
        return choice[0]

    def _averaged_over(self, size: int) -> int:
        # Each rank's gradients are its part of the mean over the whole batch: what is summed up
        # needs no division, and shares may be uneven.
        return self._batch_size

    def _update(self) -> None:
        distributed.all_reduce(self._flat_gradients)
        super()._update()

    # Read by certificate and ledger; never timed.

    def losses(self) -> Array:
        return super().losses() * self._execution.ranks


GROUP_TRAINERS = {
    "ddp": DDP,
    "ddp-tuned": DDPTuned,
    "ddp-compiled": DDPCompiled,
    "flat-all-reduce": FlatAllReduce,
}
