"""JAX in a group of ranks: arrays sharded under `jax.jit`, and one sum of all gradients."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from backends import contract
from backends.contract import Execution
from backends.jax.expert import Compiled
from backends.jax.limit import Handwritten
from backends.jax.model import Batch, State

RANKS = "ranks"
"""The axis of the mesh: one device a rank."""
NO_LABEL = -1
"""The label of a row that is there to fill up the last rank's share."""


def join(execution: Execution, addresses: tuple[str, ...]) -> None:
    """Enter the group: over gloo on CPUs, NCCL on GPUs."""
    jax.distributed.initialize(
        addresses[0], execution.ranks, execution.rank,
        # Left to itself, the service where ranks meet listens on all interfaces.
        coordinator_bind_address=addresses[0],
    )  # fmt: skip


def mesh() -> Mesh:
    """All devices of the group in a row."""
    return Mesh(np.array(jax.devices()), (RANKS,))


def placed(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays of which each rank has a copy, as one array each that lies on all ranks."""

    def place(array: Any) -> jax.Array:
        local = jnp.asarray(array)
        return jax.make_array_from_single_device_arrays(local.shape, sharding, [local])

    return jax.tree.map(place, tree)


def reduction(execution: Execution, count: int) -> Callable[[], None]:
    """Sum up so many numbers over all ranks."""
    whole = NamedSharding(mesh(), PartitionSpec())
    numbers = placed(np.ones(count, execution.stored), whole)
    program = jax.jit(
        jax.shard_map(
            lambda array: lax.psum(array, RANKS),
            mesh=whole.mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(),
            check_vma=False,
        )
    )  # fmt: skip
    return lambda: jax.block_until_ready(program(numbers))


class Sharded(Compiled):
    """Each batch sharded over the ranks, the state replicated: XLA finds what must be summed up."""

    compiler = "jax.jit: whole step, its batch sharded"

    @cached_property
    def _whole(self) -> NamedSharding:
        """How an array lies of which each rank has a copy."""
        return NamedSharding(mesh(), PartitionSpec())

    def _build(self) -> None:
        self._data = placed(self._data, self._whole)
        by_rank = NamedSharding(self._whole.mesh, PartitionSpec(RANKS))

        def step_on_rows(state: State, data: Batch, rows: Any) -> tuple[State, jax.Array]:
            rows, labels = self._filled(rows, data)
            batch = {"image": data["image"][lax.with_sharding_constraint(rows, by_rank)]}
            return self._step(state, batch | {"label": labels})

        self._program = jax.jit(
            step_on_rows, donate_argnums=0, in_shardings=self._whole, out_shardings=self._whole
        )

    def _filled(self, rows: Any, data: Batch) -> tuple[jax.Array, jax.Array]:
        """The rows (..., batch_size) of batches and their labels, filled up to even shares.

        XLA cuts arrays into equal parts only. What fills them up is labelled NO_LABEL.
        """
        missing = -rows.shape[-1] % self._execution.ranks
        at_end = [(0, 0)] * (rows.ndim - 1) + [(0, missing)]
        labels = jnp.pad(data["label"][rows], at_end, constant_values=NO_LABEL)
        self._batch_size, self._filled_up = rows.shape[-1], missing > 0
        return jnp.pad(rows, at_end), labels

    def set_state(self, state: contract.State) -> None:
        super().set_state(state)
        self._state = placed(self._state, self._whole)

    def _loss(self, parameters: list[jax.Array], batch: Batch) -> jax.Array:
        if not self._filled_up:
            return super()._loss(parameters, batch)
        return self._part_of_loss(parameters, batch)

    def _part_of_loss(self, parameters: list[jax.Array], batch: Batch) -> jax.Array:
        """What these images have of the mean over the whole batch; the loss, if they are all."""
        labels, logits = batch["label"], self._model_of(parameters)(batch["image"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
        return jnp.where(labels != NO_LABEL, losses, 0).sum() / self._batch_size

    # Read by certificate and ledger; never timed, but for what is waited for.

    def _state_arrays(self) -> list[jax.Array]:
        # This rank's copies, which can be read without the others.
        return [array.addressable_data(0) for array in super()._state_arrays()]

    def _parameter_arrays(self) -> list[jax.Array]:
        return [array.addressable_data(0) for array in super()._parameter_arrays()]


def summed(found: Any) -> Any:
    """Sum up all arrays of a tree over the ranks at once."""
    flat, tree_of = ravel_pytree(found)
    return tree_of(lax.psum(flat, RANKS))


class ShardMap(Sharded):
    """Each rank's step written out: its share's gradients, and one sum of them all.

    Left to itself, XLA sums up each array apart.
    """

    compiler = "jax.jit: whole step in a shard_map"

    def _build(self) -> None:
        self._data = placed(self._data, self._whole)
        whole, by_rank = PartitionSpec(), PartitionSpec(*self._place_of_batch)
        in_ranks = jax.shard_map(
            self._train_share,
            mesh=self._whole.mesh, in_specs=(whole, whole, by_rank, by_rank), out_specs=whole,
            check_vma=False,
        )  # fmt: skip

        def train(state: State, data: Batch, rows: Any) -> tuple[State, jax.Array]:
            return in_ranks(state, data["image"], *self._filled(rows, data))

        self._program = jax.jit(train, donate_argnums=0, in_shardings=self._whole)

    _place_of_batch: tuple[str | None, ...] = (RANKS,)
    """Which axis of the rows is cut into shares."""

    def _train_share(self, state: State, images: Any, rows: Any, labels: Any) -> Any:
        return self._step(state, {"image": images[rows], "label": labels})

    _of_all_ranks = staticmethod(summed)

    _loss = Sharded._part_of_loss


class ShardMapLoop(ShardMap, Handwritten):
    """Many steps in one program, derivative and Adam by hand."""

    # 0.37 of a step of Sharded, two ranks on two cores of an AMD EPYC (Zen 3), two launches: a sum
    # of all instead of one for each array, and nothing is called between steps.
    compiler = "jax.jit: lax.scan over steps in a shard_map, derivative by hand"
    _place_of_batch = (None, RANKS)
    train = Handwritten.train
    _step = Handwritten._step

    def _build(self) -> None:
        self.steps_per_call = self._execution.steps_per_call
        super()._build()

    def _train_share(self, state: State, images: Any, rows: Any, labels: Any) -> Any:
        def step(state: State, batch: Any) -> tuple[State, jax.Array]:
            return self._step(state, {"image": images[batch[0]], "label": batch[1]})

        return lax.scan(step, state, (rows, labels))

    def _loss_and_gradients(self, *arguments: Any) -> tuple[jax.Array, Any]:
        loss_and_gradients: tuple[jax.Array, Any] = summed(super()._loss_and_gradients(*arguments))
        return loss_and_gradients

    def _averaged_over(self, labels: jax.Array) -> int:
        return self._batch_size

    def _delta(self, log_shares: jax.Array, truth: jax.Array) -> jax.Array:
        if not self._filled_up:
            return super()._delta(log_shares, truth)
        # What fills up a share has no label, and so no truth.
        return jnp.exp(log_shares) * truth.sum(1, keepdims=True) - truth


GROUP_TRAINERS = {"sharded": Sharded, "shard-map": ShardMap, "shard-map-loop": ShardMapLoop}
