"""The certificate of a timed block: evidence that what the clock timed was the training.

A worker reads the state before and after each of its blocks, and keeps one of them, drawn so that
each is as likely: no reading tells which. When the training has ended, that block is trained once
more from its first state, in pieces, on batches that the session sends. It must end where the timed
block ended, bit for bit; and each piece must agree with NumPy's reference, which starts it from the
trainer's own state, so that rounding has no time to grow.

Where the sum of a hidden unit lies near zero, rounding decides whether the unit is on, and the
reference may decide otherwise. So a piece that does not agree is taken apart into single steps, and
the reference of a step is taken on either side of zero for each unit that lies so near.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from random import SystemRandom
from time import perf_counter

import numpy as np

from backends.contract import (
    PRECISIONS,
    Array,
    Execution,
    Parameters,
    State,
    Trainer,
    arrays_of,
)
from backends.numpy.taught import Eager
from benchmarks.plan.data import Split
from benchmarks.plan.workload import BlockData, Workload
from benchmarks.worker.deviations import (
    BlockCheck,
    Piece,
    check_evaluation,
    check_large_gradients,
    check_piece,
    check_silent_pixels,
    check_steps,
    check_unlit_pixels,
    not_finite,
    unit_of,
    worst_of,
)
from benchmarks.worker.messages import BlockChecked
from benchmarks.worker.reference import OnEitherSide, Relabelled, draw_order

CLEAR = 1 / 3
"""A piece whose errors are within this share of their bounds is not taken apart."""
PIECE_STEPS = 10
"""Steps of a piece, where a call trains a single one; otherwise a piece is a call."""
CHANCE = SystemRandom()
REFERENCES = 6
"""References that are tried of a piece in a reduced precision, where each rounds by chance."""


@dataclass(frozen=True, kw_only=True)
class TimedBlock:
    """A block that was trained under the clock, and the states around it."""

    first_step: int
    steps: int
    before: State
    after: State


class Drawing:
    """Keeps one of the blocks that it is offered; each is as likely to be the one."""

    def __init__(self, below: Callable[[int], int] = CHANCE.randrange) -> None:
        self._below, self._offered = below, 0
        self.kept: TimedBlock | None = None

    def offer(self, block: TimedBlock) -> None:
        """Keep this block instead of the one before with a chance of one in those offered."""
        self._offered += 1
        if self._below(self._offered) == 0:
            self.kept = block


class References:
    """NumPy's reference in several orders of summation, on the images of one block."""

    def __init__(self, work: Workload, batches: Split, precision: str) -> None:
        self._work, self._batches, self._precision = work, batches, precision
        self._made: list[Eager] = []

    def ends(self, before: State, rows: Array, *, thorough: bool = False) -> Iterator[State]:
        """The states in which references end the rows of a piece that begins in `before`.

        Where no precision is reduced it is one, or if `thorough` several.
        """
        plain = self._precision == PRECISIONS[self._precision].stored
        if plain and len(rows) == 1:
            yield from self.on_either_side.ends(before, rows[0])
            return
        for number in range(1 if plain and not thorough else REFERENCES):
            if number == len(self._made):
                self._made.append(self._make(number))
            reference = self._made[number]
            reference.set_state(before)
            reference.train(rows)
            yield reference.state()

    @cached_property
    def on_either_side(self) -> OnEitherSide:
        """The reference in float64."""
        unit = unit_of(self._precision)
        return OnEitherSide(self._work, self._batches, unit)

    def _make(self, number: int) -> Eager:
        """A reference as it is timed; but for the first, with sums in an order of its own.

        In a reduced precision each rounds by chance.
        """
        work, data = self._work, self._batches.stored_as(PRECISIONS[self._precision].stored)
        if number == 0 and self._precision == PRECISIONS[self._precision].stored:
            execution = Execution(mode="eager", precision=self._precision)
            return Eager(work.training(data, start=[]), execution)
        order = draw_order(work.network, np.random.default_rng(number))
        return Relabelled(order, work, data, self._precision, number)


def replay(
    trainer: Trainer,
    block: TimedBlock,
    work: Workload,
    given: BlockData,
    start: Parameters,
    precision: str,
) -> BlockChecked:
    """Train a block once more, and compare it with its end and with the reference.

    `start` are the parameters that the training began with.
    """
    whole = Piece(block.before, block.after, block.first_step, len(given.rows))
    if diverged := not_finite(whole):
        return BlockChecked(checks=tuple(diverged), repeats=False, seconds=0.0)
    began, pieces = perf_counter(), Pieces(trainer, work, given, precision)
    rows, checks = given.rows, list[BlockCheck]()
    call = trainer.describe().steps_per_call
    size = call if call > 1 else PIECE_STEPS
    parts = [slice(n, min(n + size, len(rows))) for n in range(0, len(rows), size)]
    trainer.set_state(block.before)
    # All before the first reference, whose threads would be in the way.
    states = [block.before, *(pieces.train(part, call) for part in parts)]
    state = states[-1]
    for part, (before, after) in zip(parts, pairwise(states), strict=True):
        piece = Piece(before, after, block.first_step + part.start, part.stop - part.start)
        found = pieces.check(piece, part)
        checks += found + check_silent_pixels(piece, given.images_of(part), work.adam)
        if not all(check.passed for check in found):
            # One wrong piece is enough: each takes as long as all its references.
            break
    repeats = same_bits(state, block.after)
    if not repeats:
        checks += pieces.compare(whole, slice(None), thorough=True)
    checks.append(check_steps(whole))
    checks.append(check_unlit_pixels(whole, start, given.unlit))
    checks.append(check_evaluation(trainer, whole, given.batches, precision))
    checks += pieces.check_large_gradients(state)
    return BlockChecked(checks=worst_of(checks), repeats=repeats, seconds=perf_counter() - began)


def same_bits(state: State, other: State) -> bool:
    """Whether two states are equal in every bit that counts."""
    arrays, others = (chain.from_iterable(map(arrays_of, one[:3])) for one in (state, other))
    pairs = zip(arrays, others, strict=True)
    return state.steps == other.steps and all(np.array_equal(a, b) for a, b in pairs)


class Pieces:
    """Trains the pieces of a block, and compares each with the reference."""

    def __init__(self, trainer: Trainer, work: Workload, given: BlockData, precision: str) -> None:
        self._trainer, self._given, self._precision = trainer, given, precision
        self._adam = work.adam
        self._references = References(work, given.batches, precision)

    def train(self, part: slice, call: int) -> State:
        """The trainer's state after the rows of a part, trained in calls of `call` steps."""
        rows = self._given.rows[part]
        for first in range(0, len(rows), call):
            self._trainer.train(rows[first : first + call])
        self._trainer.synchronise()
        return self._trainer.state()

    def check(self, piece: Piece, part: slice) -> list[BlockCheck]:
        """The checks of a piece, or those of its single steps where no reference agrees with it."""
        checks = self.compare(piece, part)
        if piece.steps == 1 or is_clear(checks):
            return checks
        singles, state = list[BlockCheck](), piece.before
        self._trainer.set_state(state)
        for number in range(piece.steps):
            step = slice(part.start + number, part.start + number + 1)
            before, state = state, self.train(step, 1)
            found = self.compare(Piece(before, state, piece.first_step + number, 1), step)
            if not all(check.passed for check in found):
                # One wrong step is enough, and takes as long as all sides of its units.
                return found
            singles += found
        # They are evidence only where they are what the piece was.
        narrowed = same_bits(state, piece.after)
        return singles if narrowed else self.compare(piece, part, thorough=True)

    def check_large_gradients(self, state: State) -> list[BlockCheck]:
        """The gradients of a step with the parameters of a state, enlarged until they are large."""
        step = slice(0, 1)
        batch = self._given.in_batches[0]
        large = State.starting_from(
            self._references.on_either_side.enlarged(state.parameters, batch)
        )
        self._trainer.set_state(large)
        piece = Piece(large, self.train(step, 1), state.steps, 1)
        found = [
            check_large_gradients(piece, end, self._precision)
            for end in self._references.ends(large, self._given.in_batches[step])
        ]
        return nearest(found)

    def compare(self, piece: Piece, part: slice, *, thorough: bool = False) -> list[BlockCheck]:
        """The checks by the first reference that agrees, or by the one that comes nearest."""
        found: list[list[BlockCheck]] = []
        rows = self._given.in_batches[part]
        for end in self._references.ends(piece.before, rows, thorough=thorough):
            found.append(check_piece(piece, end, self._adam, self._precision))
            if is_clear(found[-1]):
                return found[-1]
        return nearest(found)


def is_clear(checks: list[BlockCheck]) -> bool:
    """Whether no check comes near its bound."""
    return all(check.passed and check.nearness <= CLEAR for check in checks)


def nearest(found: list[list[BlockCheck]]) -> list[BlockCheck]:
    """Of the checks against several references, those against the one that comes nearest."""
    return min(found, key=lambda checks: max(check.nearness for check in checks))
