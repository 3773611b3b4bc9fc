"""What every trainer must do: checks that take a function which makes the trainer to be checked.

So sabotaged trainers can be put in. Everything is compared in float64, where all backends agree to
about 1e-13; the bound is 1e-9.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np

from backends.contract import Execution, NotKeptError, Parameters, State, Trainer
from backends.numpy.backend import Eager as Reference
from tests.conftest import IMAGES, STEPS_PER_CALL, THREADS, Problem, device

BOUND = 1e-9

Maker = Callable[[Problem], Trainer]


def make(trainer_type: type[Trainer], problem: Problem, mode: str, input_: str) -> Trainer:
    """A trainer of a small problem in float64."""
    execution = Execution(
        mode=mode,
        input=input_,
        precision="float64",
        device="cpu" if trainer_type is Reference else device(),
        threads=THREADS,
        steps_per_call=STEPS_PER_CALL,
    )
    return trainer_type(problem.training, execution)


def reusing(maker: Maker, trainers: list[Trainer]) -> Maker:
    """A maker that hands out `trainers` in order, each reset, and makes those that are missing.

    Compiling a trainer takes seconds, and most checks need one alone.
    """
    turns = itertools.count()

    def reuse(problem: Problem) -> Trainer:
        turn = next(turns)
        if turn == len(trainers):
            trainers.append(maker(problem))
        else:
            trainers[turn].reset(problem.start)
        return trainers[turn]

    return reuse


def make_reference(problem: Problem) -> Trainer:
    """The NumPy trainer of a problem."""
    return make(Reference, problem, "eager", "resident")


def difference(actual: Parameters, expected: Parameters) -> float:
    """The largest relative difference over all arrays; shapes must be equal."""
    pairs = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64))
        for layer, other in zip(actual, expected, strict=True)
        for a, b in zip(layer, other, strict=True)
    ]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def trained_alike(
    make_trainer: Maker, problem: Problem, lengths: tuple[int, ...]
) -> Iterator[tuple[Trainer, Trainer]]:
    """A trainer and the reference, after each of several blocks of the same batches."""
    trainer, reference = make_trainer(problem), make_reference(problem)
    for steps in lengths:
        rows = problem.rows(steps)
        trainer.train(rows)
        trainer.synchronise()
        reference.train(rows)
        yield trainer, reference


def check_logits(make_trainer: Maker, problem: Problem) -> None:
    """The logits are the reference's."""
    images = problem.training_set.images[:13]
    logits = make_trainer(problem).logits(images)
    np.testing.assert_allclose(logits, make_reference(problem).logits(images), rtol=BOUND)


def check_moments(make_trainer: Maker, problem: Problem) -> None:
    """Adam's moments and step count, after one step and after several."""
    for trainer, reference in trained_alike(make_trainer, problem, (1, STEPS_PER_CALL)):
        actual, expected = trainer.state(), reference.state()
        assert difference(actual.first_moments, expected.first_moments) < BOUND
        assert difference(actual.second_moments, expected.second_moments) < BOUND
        assert actual.steps == expected.steps


def check_training(make_trainer: Maker, problem: Problem) -> None:
    """Train whole calls of several steps, a shorter call, and a second block."""
    lengths = (2 * STEPS_PER_CALL + 3, STEPS_PER_CALL, 1)
    for trainer, reference in trained_alike(make_trainer, problem, lengths):
        assert difference(trainer.parameters(), reference.parameters()) < BOUND


def check_parts(make_trainer: Maker, problem: Problem) -> None:
    """The parts of a block are trained as one training, and marked when they are done.

    Both where a lead-in consists of whole calls and where it does not.
    """
    trainer, reference = make_trainer(problem), make_reference(problem)
    for lead_in, timed in ((STEPS_PER_CALL, 2 * STEPS_PER_CALL), (3, 5)):
        parts = [problem.rows(lead_in), problem.rows(timed)]
        marked: list[Parameters] = []
        trainer.train_parts(parts, lambda: marked.append(trainer.parameters()))  # noqa: B023
        assert len(marked) == 4
        for rows, done in zip(parts, marked[1::2], strict=True):
            reference.train(rows)
            assert difference(done, reference.parameters()) < BOUND


def check_losses(make_trainer: Maker, problem: Problem) -> None:
    """The losses are those of the last call, one for each step that it trained."""
    trainer, reference = make_trainer(problem), make_reference(problem)
    rows = problem.rows(STEPS_PER_CALL)
    expected = []
    for batch in rows:
        reference.train(batch[None])
        expected.append(reference.losses().item())
    trainer.train(rows)
    trainer.synchronise()
    with contextlib.suppress(NotKeptError):
        losses = trainer.losses()
        np.testing.assert_allclose(losses, expected[-len(losses) :], rtol=BOUND)
    # Every mode keeps the loss of a single step.
    trainer.reset(problem.start)
    trainer.train(rows[:1])
    trainer.synchronise()
    np.testing.assert_allclose(trainer.losses(), expected[:1], rtol=BOUND)


def check_reset(make_trainer: Maker, problem: Problem) -> None:
    """A reset forgets parameters, moments and the step count."""
    trainer, rows = make_trainer(problem), problem.rows(5)
    trainer.train(problem.rows(5))
    trainer.reset(problem.start)
    assert difference(trainer.parameters(), problem.start) < BOUND
    reference = make_reference(problem)
    trainer.train(rows)
    trainer.synchronise()
    reference.train(rows)
    assert difference(trainer.parameters(), reference.parameters()) < BOUND


def check_state(make_trainer: Maker, problem: Problem) -> None:
    """A state that is set again leads on to the same training, bit for bit; so in a new trainer."""
    trainer = make_trainer(problem)
    trainer.train(problem.rows(5))
    trainer.synchronise()
    before, rows = trainer.state(), problem.rows(STEPS_PER_CALL)
    kept = copy.deepcopy(before)
    trainer.train(rows)
    trainer.synchronise()
    after = trainer.state()
    assert same_bits(before, kept)
    assert not same_bits(after, before)
    for other in (trainer, make_trainer(problem)):
        other.set_state(before)
        assert same_bits(other.state(), before)
        other.train(rows)
        other.synchronise()
        if other.products() == trainer.products():
            assert same_bits(other.state(), after)
        else:  # A trainer that chooses its libraries anew may be another program.
            assert difference(other.state().parameters, after.parameters) < BOUND
    assert same_bits(before, kept)


def same_bits(state: State, other: State) -> bool:
    """Whether two states agree in every bit."""
    arrays, others = (
        [array for kind in one[:3] for layer in kind for array in layer] for one in (state, other)
    )
    same = (
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(arrays, others, strict=True)
    )
    return state.steps == other.steps and all(same)


def check_start_is_copied(make_trainer: Maker, problem: Problem) -> None:
    """Training leaves the initial parameters that it was given as they were."""
    before = [(weight.copy(), bias.copy()) for weight, bias in problem.start]
    trainer = make_trainer(problem)
    trainer.train(problem.rows(3))
    trainer.synchronise()
    assert difference(problem.start, before) == 0


def check_reading_changes_nothing(make_trainer: Maker, problem: Problem) -> None:
    """Whatever certificate and ledger read leaves the training as it was."""
    trainer, untouched, rows = make_trainer(problem), make_trainer(problem), problem.rows(6)
    for batch in rows:
        trainer.train(batch[None])
        trainer.logits(problem.training_set.images[:5])
        trainer.state()
        trainer.losses()
        trainer.weight_address()
        trainer.compilations()
        trainer.product(np.eye(3), np.eye(3))
        trainer.describe()
        first = trainer.parameters()
        assert difference(trainer.parameters(), first) == 0
        untouched.train(batch[None])
    assert difference(trainer.parameters(), untouched.parameters()) < BOUND


CHECKS = [
    check_logits,
    check_moments,
    check_training,
    check_parts,
    check_losses,
    check_reset,
    check_state,
    check_start_is_copied,
    check_reading_changes_nothing,
]


def check_synchronise(make_trainer: Maker) -> None:
    """Nothing is left to wait for after a synchronisation: reading the parameters takes no time.

    The one step is on a batch so large that it takes some hundred times as long as the reading.
    """
    trainer = make_trainer(Problem(300, 300))
    rows = np.tile(np.arange(IMAGES, dtype=np.int32), 60)[None]
    trainer.train(rows)
    trainer.parameters()

    start = perf_counter()
    trainer.train(rows)
    trainer.synchronise()
    trained = perf_counter()
    trainer.parameters()
    read = perf_counter()
    assert read - trained < (trained - start) / 2
