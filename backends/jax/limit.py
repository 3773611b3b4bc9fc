"""The tuned tier: many steps in one program."""

import jax

from backends.contract import Array, calls
from backends.jax.model import State
from backends.jax.taught import Compiled


class MultiStep(Compiled):
    """Many steps in one program: `lax.scan` over the rows of each batch."""

    compiler = "jax.jit: lax.scan over steps"

    def _build(self) -> None:
        def train_steps(state, images, labels, rows):  # type: ignore[no-untyped-def]
            def step(state: State, batch: jax.Array) -> tuple[State, jax.Array]:
                return self._step(state, images[batch], labels[batch])

            return jax.lax.scan(step, state, rows)

        self.steps_per_call = self._execution.steps_per_call
        self._program = jax.jit(train_steps, donate_argnums=0)

    def train(self, rows: Array) -> None:
        for part in calls(rows, self.steps_per_call):
            self._state, self._losses = self._program(*self._arguments(part))
