"""The expert tier: what the performance pages of Flax and JAX advise.

https://flax.readthedocs.io/en/latest/guides/performance.html for the host's time around `nnx.jit`;
https://docs.jax.dev/en/latest/buffer_donation.html and
https://docs.jax.dev/en/latest/aot.html for plain functions of arrays.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from backends import contract
from backends.contract import Array, Program
from backends.jax.model import Batch, State, gathered, loss_fn
from backends.jax.taught import NNX, NNXBare


class NNXCached(NNXBare):
    """The walk over the objects, which `nnx.jit` takes at each call, is taken once."""

    compiler = "nnx.jit in nnx.cached_partial: whole step"

    def _bind(self) -> None:
        self._step = nnx.cached_partial(self._program, self._model, self._optimizer)


class NNXSplit(NNXBare):
    """The objects split once; `jax.jit` takes their state and returns the next one."""

    compiler = "jax.jit: whole step, of an nnx.State"

    def _build(self) -> None:
        super()._build()
        train_on_rows: Any = self._train_on_rows

        def pure_step(graph, state, data, rows):  # type: ignore[no-untyped-def]
            model, optimizer = nnx.merge(graph, state)
            loss = train_on_rows(model, optimizer, data, rows)
            return nnx.state((model, optimizer)), loss

        self._program = jax.jit(pure_step)

    def _bind(self) -> None:
        self._objects = self._model, self._optimizer
        self._graph_of_objects, self._state = nnx.split(self._objects)

    def train(self, rows: Array) -> None:
        for batch in rows:
            self._state, self._losses = self._program(
                self._graph_of_objects, self._state, self._data, batch
            )

    # Read by certificate and ledger; never timed, but for what is waited for.

    def _state_arrays(self) -> list[jax.Array]:
        return jax.tree.leaves(self._state)

    def _parameter_arrays(self) -> list[jax.Array]:
        nnx.update(self._objects, self._state)
        return jax.tree.leaves(nnx.state(self._model, nnx.Param))

    def _adam_state(self) -> Any:
        nnx.update(self._objects, self._state)
        return super()._adam_state()


class Undonated(NNX):
    """A pure function of plain arrays: the module is only there while it is traced."""

    compiler = "jax.jit: whole step"
    optimizer = "optax.adam"
    donated: tuple[int, ...] = ()

    def _build(self) -> None:
        def step_on_rows(state, data, rows):  # type: ignore[no-untyped-def]
            return self._step(state, gathered(data, rows))

        step = step_on_rows if self._resident else self._step
        self._program = jax.jit(step, donate_argnums=self.donated)

    def set_state(self, state: contract.State) -> None:
        arrays, mu, nu = map(self._arrays_of, state[:3])
        moments, *rest = self._adam.init(arrays)
        count = jnp.array(state.steps, moments.count.dtype)
        self._state = State(arrays, (moments._replace(count=count, mu=mu, nu=nu), *rest))
        self._losses = jnp.full(1, jnp.nan)

    def train(self, rows: Array) -> None:
        # Calls return before the work is done, so the host cuts the next batch meanwhile.
        for batch in rows:
            self._state, self._losses = self._program(*self._arguments(batch))

    def _arguments(self, rows: Array) -> tuple[Any, ...]:
        """The arguments of one call of the program that trains on `rows`."""
        batch = (self._data, rows) if self._resident else (gathered(self._data, rows),)
        return self._state, *batch

    def _step(self, state: State, batch: Batch) -> tuple[State, jax.Array]:
        found = jax.value_and_grad(self._loss)(state.parameters, batch)
        loss, gradients = self._of_all_ranks(found)
        updates, adam = self._adam.update(gradients, state.adam, state.parameters)
        return State(optax.apply_updates(state.parameters, updates), adam), loss

    @staticmethod
    def _of_all_ranks(found: Any) -> Any:
        """The loss and the gradients; in a group of ranks their sum over all."""
        return found

    def _loss(self, parameters: list[jax.Array], batch: Batch) -> jax.Array:
        return loss_fn(self._model_of(parameters), batch)[0]

    # Read by certificate and ledger; never timed, but for what is waited for.

    def _state_arrays(self) -> list[jax.Array]:
        return jax.tree.leaves(self._state)

    def _parameter_arrays(self) -> list[jax.Array]:
        return self._state.parameters

    def _adam_state(self) -> Any:
        return self._state.adam[0]

    def program(self, rows: Array) -> Program:
        return Program(self._program, self._arguments(rows))


class Compiled(Undonated):
    """The state is donated, so that a step updates it in place."""

    compiler = "jax.jit: whole step, its state donated"
    donated = (0,)


class Ahead(Compiled):
    """The program compiled before it is first called, for each shape that is asked for."""

    compiler = "jax.jit: whole step, compiled ahead of time"

    def _build(self) -> None:
        super()._build()
        self._executables: dict[int, Any] = {}

    def train(self, rows: Array) -> None:
        size = rows.shape[1]
        if size not in self._executables:
            lowered = self._program.lower(*self._arguments(rows[0]))
            self._executables[size] = lowered.compile()
        program = self._executables[size]
        for batch in rows:
            self._state, self._losses = program(*self._arguments(batch))

    def compilations(self) -> int:
        return len(self._executables)


class Eager(Undonated):
    """Operation by operation: each primitive is dispatched by itself, forward and backward."""

    compiler = "none: XLA for each operation"

    def train(self, rows: Array) -> None:
        for batch in self._batches(rows):
            self._state, self._losses = self._step(self._state, batch)

    def fetch(self, rows: Array) -> None:
        for batch in self._batches(rows):
            jax.block_until_ready(batch)

    def compilations(self) -> int:
        return 0

    def program(self, rows: Array) -> Program:
        return NNX.program(self, rows)  # there is none
