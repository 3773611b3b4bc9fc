"""The certificate of a timed block: evidence that what the clock timed was the training.

A worker reads the state before and after each of its blocks, and keeps one of them: see witness.py.
When the training has ended, that block is trained once more from its first state, in pieces, on
batches that the session sends. It must end where the timed block ended, bit for bit; and each piece
must agree with NumPy's reference, which starts it from the trainer's own state, so that rounding
has no time to grow.

Where the sum of a hidden unit lies near zero, rounding decides whether the unit is on, and the
reference may decide otherwise. So a piece that does not agree is taken apart into single steps, and
the reference of a step is taken on either side of zero for each unit that lies so near.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from time import perf_counter

import numpy as np

from backends.contract import (
    PRECISIONS,
    Adam,
    Array,
    Execution,
    Parameters,
    State,
    Trainer,
)
from backends.numpy.taught import Eager
from benchmarks.certificates.deviations import (
    BlockCheck,
    Piece,
    check_beginnings,
    check_data_values,
    check_evaluation,
    check_large_gradients,
    check_piece,
    check_silent_pixels,
    check_steps,
    check_unlit_pixels,
    not_finite,
    worst_of,
)
from benchmarks.certificates.reference import End, OnEitherSide, Relabelled, draw_order
from benchmarks.certificates.rounding import unit_of
from benchmarks.certificates.witness import Witness, same_bits
from benchmarks.plan.data import Split
from benchmarks.plan.workload import BlockData, Workload

CLEAR = 1 / 3
"""A piece whose errors are within this share of their bounds is not taken apart."""
PIECE_STEPS = 10
"""Steps of a piece, where a call trains a single one; otherwise a piece is a call."""
REFERENCES, FEW = 6, 4
"""References that are tried of a piece in a reduced precision, where each rounds by chance; and of
any other of several steps: where rounding puts a unit on the other side of zero in one of them,
another agrees, at a tenth of what taking the piece apart would take."""


@dataclass(frozen=True, kw_only=True)
class BlockChecked:
    """What the certificate of a timed block found."""

    checks: tuple[BlockCheck, ...]
    repeats: bool | None
    """Whether the block ended in the same bits when it was trained again; None where it was not."""
    seconds: float
    """The time that this took."""

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    @property
    def ended(self) -> str:
        """How the block ended when it was trained again, as the ledger says it."""
        return {None: "not trained again", True: "bit for bit", False: "in other bits"}[
            self.repeats
        ]


class References:
    """NumPy's reference in several orders of summation, on the images of one block."""

    def __init__(self, work: Workload, batches: Split, precision: str) -> None:
        self._work, self._batches, self._precision = work, batches, precision
        self._made: list[Eager] = []

    def ends(self, before: State, rows: Array, *, thorough: bool = False) -> Iterator[End]:
        """Where references end the rows of a piece that begins in `before`.

        Where no precision is reduced they are FEW, or if `thorough` more.
        """
        plain = self._precision == PRECISIONS[self._precision].stored
        if plain and len(rows) == 1:
            yield from self.on_either_side.ends(before, rows[0])
            return
        for number in range(FEW if plain and not thorough else REFERENCES):
            if number == len(self._made):
                self._made.append(self._make(number))
            reference = self._made[number]
            reference.set_state(before)
            reference.train(rows)
            yield End(reference.state())

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


def check_block(
    trainer: Trainer,
    witness: Witness,
    work: Workload,
    given: BlockData,
    start: Parameters,
    evaluated: Sequence[Array],
    precision: str,
    *,
    trained_again: bool = True,
) -> BlockChecked:
    """Check the block that was kept: see `messages.CheckBlock`.

    `start` are the parameters that the training began with, and `evaluated` the images that
    accuracies are read from, in the type that parameters are stored in.
    """
    block = witness.kept
    assert block is not None, "the session asks for it first"
    whole = Piece(block.before, block.after, block.first_step, len(given.rows))
    if diverged := not_finite(whole):
        return BlockChecked(checks=tuple(diverged), repeats=None, seconds=0.0)
    began, pieces = perf_counter(), Pieces(trainer, work, given, precision)
    call, lead_in = trainer.describe().steps_per_call, block.lead_in
    size = call if call > 1 else PIECE_STEPS
    untimed, timed = cut(0, lead_in, size), cut(lead_in, whole.steps, size)
    if len(timed) == 1:
        # Two are trained together: see `Pieces.train`.
        untimed, timed = untimed[:-1], untimed[-1:] + timed
    # All before the first reference, whose threads would be in the way.
    states = pieces.train(whole.before, untimed)
    states += pieces.train(states[-1], timed if trained_again else timed[:2])[1:]
    checks, repeats = list[BlockCheck](), None
    if not trained_again:
        checks += pieces.check_all(whole, timed[:2], states[len(untimed) :])
    else:
        checks += pieces.check_all(whole, [*untimed, *timed], states)
        repeats = same_bits(states[-1], whole.after)
        if not repeats:
            checks += pieces.compare(whole, slice(None), thorough=True)
    checks.append(check_steps(whole))
    checks.append(check_unlit_pixels(whole, start, given.unlit))
    trainer.set_state(block.after)
    checks.append(check_beginnings(whole, witness))
    checks += check_evaluation(trainer, whole, evaluated, precision)
    checks += pieces.check_single_steps(block.after)
    return BlockChecked(checks=worst_of(checks), repeats=repeats, seconds=perf_counter() - began)


def cut(first: int, end: int, size: int) -> list[slice]:
    """The rows from `first` to `end`, in pieces of so many."""
    return [slice(n, min(n + size, end)) for n in range(first, end, size)]


class Pieces:
    """Trains the pieces of a block, and compares each with the reference."""

    def __init__(self, trainer: Trainer, work: Workload, given: BlockData, precision: str) -> None:
        self._trainer, self._given = trainer, given
        self._precision, self._adam = precision, work.adam
        self._references = References(work, given.batches, precision)

    def train(self, start: State, parts: list[slice]) -> list[State]:
        """The trainer's states from `start` on, before the rows of these parts and after each.

        They are trained by twos, as a block's lead-in and the steps that are timed are; so what is
        marked too early shows.
        """
        states = [start]
        self._trainer.set_state(start)
        for first in range(0, len(parts), 2):
            marked: list[State] = []
            self._trainer.train_parts(
                [self._given.rows[part] for part in parts[first : first + 2]],
                lambda: marked.append(self._trainer.state()),  # noqa: B023
            )
            states += marked[1::2]
        return states

    def after(self, start: State, part: slice) -> State:
        """The trainer's state after one call with the rows of a part, from `start`."""
        self._trainer.set_state(start)
        self._trainer.train(self._given.rows[part])
        self._trainer.synchronise()
        return self._trainer.state()

    def check(self, piece: Piece, part: slice) -> list[BlockCheck]:
        """The checks of a piece, or those of smaller ones where no reference agrees with it."""
        checks = self.compare(piece, part)
        if piece.steps == 1 or is_clear(checks):
            return checks
        size = PIECE_STEPS if piece.steps > PIECE_STEPS else 1
        smaller, state = list[BlockCheck](), piece.before
        for one in cut(part.start, part.stop, size):
            before, state = state, self.after(state, one)
            first_step = piece.first_step + one.start - part.start
            found = self.check(Piece(before, state, first_step, one.stop - one.start), one)
            if not all(check.passed for check in found):
                # One wrong step is enough, and takes as long as all sides of its units.
                return found
            smaller += found
        # They are evidence only where they are what the piece was.
        narrowed = same_bits(state, piece.after)
        return smaller if narrowed else self.compare(piece, part, thorough=True)

    def check_all(self, whole: Piece, parts: list[slice], states: list[State]) -> list[BlockCheck]:
        """The checks of the parts of a block; `states` are those before them and after each."""
        checks = list[BlockCheck]()
        for part, (before, after) in zip(parts, pairwise(states), strict=True):
            piece = Piece(before, after, whole.first_step + part.start, part.stop - part.start)
            images = self._given.images_of(part)
            checks += check_silent_pixels(piece, images, self._adam)
            found = self.check(piece, part)
            checks += found
            if not all(check.passed for check in found):
                # One wrong piece is enough: each takes as long as all its references.
                break
        return checks

    def check_single_steps(self, state: State) -> list[BlockCheck]:
        """Two steps with the parameters of a state, enlarged until their gradients are large.

        In the second the weights of pixels that are zero in the whole batch are not numbers. So
        are their products, if they are computed.
        """
        step = slice(0, 1)
        batch = self._given.in_batches[0]
        large = State.starting_from(
            self._references.on_either_side.enlarged(state.parameters, batch)
        )
        piece = Piece(large, self.after(large, step), state.steps, 1)
        found = nearest(
            [
                check_large_gradients(piece, end, self._precision)
                for end in self._references.ends(large, self._given.in_batches[step])
            ]
        )
        silent = self._given.images_of(step).max(axis=0) == 0
        # A program that leaves out any pixels leaves out these.
        dark = self._given.unlit if self._given.unlit.any() else silent
        if dark.any():
            (weight, bias), *rest = large.parameters
            poisoned = np.where(dark[:, None], np.nan, weight).astype(weight.dtype)
            other = self.after(large._replace(parameters=[(poisoned, bias), *rest]), step)
            found.append(check_data_values(piece, other))
        return found

    def compare(self, piece: Piece, part: slice, *, thorough: bool = False) -> list[BlockCheck]:
        """The checks of a piece against the references of its rows."""
        rows = self._given.in_batches[part]
        ends = self._references.ends(piece.before, rows, thorough=thorough)
        return compare(piece, ends, self._adam, self._precision)


def compare(piece: Piece, ends: Iterable[End], adam: Adam, precision: str) -> list[BlockCheck]:
    """The checks by the first reference that agrees, or by the one that comes nearest."""
    found: list[list[BlockCheck]] = []
    for end in ends:
        found.append(check_piece(piece, end, adam, precision))
        if is_clear(found[-1]):
            return found[-1]
    return nearest(found)


def is_clear(checks: list[BlockCheck]) -> bool:
    """Whether no check comes near its bound."""
    return all(check.passed and check.nearness <= CLEAR for check in checks)


def nearest(found: list[list[BlockCheck]]) -> list[BlockCheck]:
    """Of the checks against several references, those against the one that comes nearest."""
    return min(found, key=lambda checks: max(check.nearness for check in checks))
