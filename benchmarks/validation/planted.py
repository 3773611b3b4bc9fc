"""Trainers that do on purpose what the clock must not let pass; a backend for validation alone."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from time import perf_counter

from backends.contract import Array, Trainer
from backends.numpy import Eager, configure, versions
from backends.registry import RESIDENT, Backend, Mode

__all__ = ["BACKEND", "TRAINERS", "configure", "versions"]

FIXED_SECONDS = 0.02
"""What a block of `fixed` takes before its first step, if its timed steps are odd in number."""
SPIN_SECONDS = 0.3
"""How long a thread of `spinning` runs on after each synchronisation; three times as long as those
of OpenBLAS."""
CONTENT = bytes(2**20)


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


TRAINERS: dict[str, type[Trainer]] = {"fixed": Fixed, "spinning": Spinning}
BACKEND = Backend(
    name="planted",
    title="planted",
    module=__name__,
    packages=("numpy",),
    distributions=("numpy",),
    modes={mode: Mode("", "for validation", "", RESIDENT) for mode in TRAINERS},
)
