"""The limit: many steps in one program, and a step whose derivative is written by hand."""

import jax

from backends.contract import Array, calls
from backends.jax.expert import Compiled
from backends.jax.model import State, gathered


class Scan(Compiled):
    """Many steps in one program: `lax.scan` over the rows of each batch."""

    compiler = "jax.jit: lax.scan over steps"
    unroll = 1

    def _build(self) -> None:
        def train_steps(state, data, rows):  # type: ignore[no-untyped-def]
            def step(state: State, batch: jax.Array) -> tuple[State, jax.Array]:
                return self._step(state, gathered(data, batch))

            return jax.lax.scan(step, state, rows, unroll=self.unroll)

        self.steps_per_call = self._execution.steps_per_call
        self._program = jax.jit(train_steps, donate_argnums=self.donated)

    def train(self, rows: Array) -> None:
        for part in calls(rows, self.steps_per_call):
            self._state, self._losses = self._program(*self._arguments(part))


class ScanUnrolled(Scan):
    """Several steps in each turn of the program's loop."""

    compiler = "jax.jit: lax.scan over steps, 5 a turn"
    unroll = 5
