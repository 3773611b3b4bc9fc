"""What a worker sees of a training around its timed blocks, off the clock."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from random import SystemRandom

import numpy as np

from backends.contract import Array, Parameters, State, TrainingSet, arrays_of

CHANCE = SystemRandom()


@dataclass(frozen=True, kw_only=True)
class TimedBlock:
    """A block that was trained under the clock, and the states around it."""

    first_step: int
    steps: int
    lead_in: int
    """Of these steps, those that were trained first and not timed."""
    before: State
    after: State


class Witness:
    """Keeps one of the blocks that it is shown, and sees whether each began where it should.

    That is where the block before it had ended, and the first in the state that is to be trained
    from. Each block is as likely to be the one that is kept, so no reading tells which.
    """

    def __init__(self, start: State, below: Callable[[int], int] = CHANCE.randrange) -> None:
        self._expected: State | None = start
        self._below, self._shown = below, 0
        self.compared = 0
        """How many blocks could be told to begin where they should."""
        self.departed = 0
        """How many of these began elsewhere."""
        self.kept: TimedBlock | None = None

    def untimed(self) -> None:
        """Steps are trained that are no block: where the next one should begin is not known."""
        self._expected = None

    def show(self, block: TimedBlock) -> None:
        """Keep this block instead of the one before with a chance of one in those shown."""
        if self._expected is not None:
            self.compared += 1
            self.departed += not same_bits(block.before, self._expected)
        self._expected = block.after
        self._shown += 1
        if self._below(self._shown) == 0:
            self.kept = block


def beginning(data: TrainingSet, start: Parameters) -> State:
    """The state in which a training begins: `start` in the type in which `data` are stored."""
    dtype = data.images.dtype
    return State.starting_from([(w.astype(dtype), b.astype(dtype)) for w, b in start])


def same_bits(state: State, other: State) -> bool:
    """Whether two states are equal in every bit that counts."""
    pairs = zip(_arrays(state), _arrays(other), strict=True)
    return state.steps == other.steps and all(np.array_equal(a, b) for a, b in pairs)


def digest(state: State) -> str:
    """Sixteen hexadecimal digits that are equal for states of equal bits, as `same_bits` has it."""
    summed = blake2b(str(state.steps).encode(), digest_size=8)
    for array in _arrays(state):
        summed.update(np.ascontiguousarray(array + 0).data)  # -0.0 becomes 0.0
    return summed.hexdigest()


def _arrays(state: State) -> Iterator[Array]:
    return chain.from_iterable(map(arrays_of, state[:3]))
