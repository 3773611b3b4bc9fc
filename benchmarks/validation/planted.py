"""Trainers that do on purpose what the clock must not let pass; a backend for validation alone."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

from backends.contract import Array, Execution, Trainer, Training
from backends.ladder import RESIDENT, Backend, Mode
from backends.numpy.backend import Eager, configure, versions

__all__ = ["BACKEND", "TRAINERS", "configure", "versions"]

FIXED_SECONDS = 0.02
"""What a block of `fixed` takes before its first step, if its timed steps are odd in number."""
SPIN_SECONDS = 0.3
"""How long a thread of `spinning` runs on after each synchronisation; three times as long as those
of OpenBLAS."""
CONTENT = bytes(2**20)
STEP_SECONDS, COLD_STEPS, REST_SECONDS = 0.002, 4, 0.002
"""The time of a step of `paced`, and how many take twice as long after a rest of this length."""


def spin(seconds: float) -> None:
    """Keep a processor busy, without Python's lock."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        hashlib.sha256(CONTENT)


class Fixed(Eager):
    """A block of an odd number of timed steps costs more, once; so one process has both kinds."""

    def train_parts(self, parts: Sequence[Array], mark: Callable[[], None]) -> None:
        if len(parts[-1]) % 2:
            spin(FIXED_SECONDS)
        super().train_parts(parts, mark)


class Spinning(Eager):
    """A thread runs on when the block has ended, as those of libraries do that wait for work."""

    def synchronise(self) -> None:
        super().synchronise()
        threading.Thread(target=spin, args=(SPIN_SECONDS,), daemon=True).start()


class Paced(Eager):
    """Steps that take a known time whatever the machine does, so that little noise hides a leak.

    They are trained asynchronously, and the first ones after a rest take twice as long.
    """

    def __init__(self, training: Training, execution: Execution) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._work: list[Future[None]] = []
        self._ended = perf_counter()
        super().__init__(training, execution)

    def train(self, rows: Array) -> None:
        self._work.append(self._executor.submit(self._pass, len(rows)))

    def synchronise(self) -> None:
        while self._work:
            self._work.pop().result()

    def _pass(self, steps: int) -> None:
        """Let the time of so many steps pass."""
        begun = perf_counter()
        cold = min(steps, COLD_STEPS) if begun - self._ended > REST_SECONDS else 0
        while perf_counter() < begun + (steps + cold) * STEP_SECONDS:
            pass
        self._ended = perf_counter()


TRAINERS: dict[str, type[Trainer]] = {"fixed": Fixed, "paced": Paced, "spinning": Spinning}
BACKEND = Backend(
    name="planted",
    title="planted",
    module=__name__,
    packages=("numpy",),
    distributions=("numpy",),
    modes={mode: Mode(tier="", about="for validation", inputs=RESIDENT) for mode in TRAINERS},
)
