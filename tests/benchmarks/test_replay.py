"""The certificates of timed blocks: they pass sound trainings, and nothing that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends.contract import Adam, Execution, Network, State, Trainer, Training
from backends.numpy.taught import Eager
from backends.registry import BACKENDS
from benchmarks.certificates.deviations import BlockCheck
from benchmarks.certificates.replay import BlockChecked, check_block
from benchmarks.certificates.witness import TimedBlock, Witness, beginning
from benchmarks.plan.data import Split
from benchmarks.plan.workload import Workload, batch_rows, block_data, initial_parameters
from benchmarks.schema import block_figures
from benchmarks.validation.wrong.trainings import MUTANTS, Maker
from tests.conftest import back_to_float64, modes_on, set_up

STEPS_PER_CALL = 10
BEFORE, LEAD_IN, TIMED = 20, 10, 20


@pytest.fixture(autouse=True)
def reset_precision() -> Iterator[None]:
    yield
    back_to_float64()


def images() -> Split:
    """600 images of 40 pixels that a network learns; five pixels are rare, and three never lit."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 600).astype(np.int32)
    centres = generator.integers(0, 200, (10, 40))
    lit = centres[labels] + generator.integers(0, 56, (600, 40))
    lit[:, 32:37] *= generator.random((600, 5)) < 0.005
    lit[:, 37:] = 0
    return Split(images=lit.astype(np.uint8), labels=labels)


def workload(*hidden: int, batch_size: int = 24, learning_rate: float = 1e-3) -> Workload:
    return Workload(
        network=Network(layer_sizes=(40, *hidden, 10)),
        adam=Adam(learning_rate=learning_rate),
        batch_size=batch_size,
        steps=100,
        training_images=600,
        data_dir="",
    )


SMALL = workload(24, 16)
NOTHING = State.starting_from([])


def checked(
    make: Callable[[Training, Execution], Trainer],
    execution: Execution,
    work: Workload = SMALL,
    change: Callable[[TimedBlock], TimedBlock] = lambda block: block,
) -> BlockChecked:
    """What a trainer's block after BEFORE steps is found to be; it can be changed before that."""
    split = images()
    start = initial_parameters(work.network, seed=0)
    data = split.stored_as(execution.stored)
    trainer = make(work.training(data, start), execution)
    rows = batch_rows(work.training_images, work.batch_size, work.steps, seed=0)
    trainer.reset(start)
    witness, first = Witness(beginning(data, start), lambda _: 0), 0
    for steps in (BEFORE, LEAD_IN + TIMED):
        block, before = rows[first : first + steps], trainer.state()
        trainer.train_parts([block[:LEAD_IN], block[LEAD_IN:]], lambda: None)
        after = trainer.state()
        timed = TimedBlock(
            first_step=first, steps=steps, lead_in=LEAD_IN, before=before, after=after
        )
        witness.show(change(timed))
        first += steps
        trainer.logits(data.images)
    return check_block(
        trainer, witness, work, block_data(split, block), start, [data.images], execution.precision
    )


def by_numpy(
    make: Callable[[Training, Execution], Trainer] = Eager, **options: Any
) -> BlockChecked:
    return checked(make, Execution(mode="eager"), **options)


def failed(replayed: BlockChecked) -> dict[str, BlockCheck]:
    """The checks that failed, by their names."""
    return {check.check: check for check in replayed.checks if not check.passed}


@pytest.mark.parametrize(("name", "mode"), modes_on("cpu"))
def test_sound_trainings_pass(name: str, mode: str) -> None:
    module, execution = set_up(name, mode, "float32", STEPS_PER_CALL)
    execution = replace(execution, input=BACKENDS[name].modes[mode].inputs[0])
    found = checked(module.TRAINERS[mode], execution)
    assert not failed(found)
    assert found.repeats
    names = {(check.check, check.parameter) for check in found.checks}
    of_pixels = ("silent pixels", "layer 1 weight"), ("data values", "")
    assert names == {*block_figures(3), *of_pixels}


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_trainings_fail_by_the_check_that_is_meant_for_them(name: str) -> None:
    mutant = MUTANTS[name]
    assert failed(by_numpy(mutant.of(Eager))).keys() & set(mutant.caught_by)


IN_OTHERS = (
    *("Decay", "Corrected", "Beta2", "RateFalling", "RateTripled", "Frozen", "Clipped"),
    *("Reset", "FirstRows", "CountedRows", "LastDropped", "Repeating", "Skipping"),
    *("LitPixels", "OwnStart", "Early", "Averaged"),
)
"""Mutants that are tried in every framework, of each kind some."""


@pytest.fixture(
    scope="module",
    params=[("pytorch", "fused"), ("jax", "scan"), ("tensorflow", "compiled")],
    ids=lambda name: name[0],
)
def of_framework(request: pytest.FixtureRequest) -> Callable[[], tuple[Maker, Execution]]:
    """What hands out one trainer again and again: compiling it takes longest."""
    name, mode = request.param
    module, execution = set_up(name, mode, "float32", STEPS_PER_CALL)
    made: list[Trainer] = []

    def make(training: Training, given: Execution) -> Trainer:
        if not made:
            made.append(module.TRAINERS[given.mode](training, given))
        made[0].reset(training.start)
        return made[0]

    def set_up_again() -> tuple[Maker, Execution]:
        module.configure(execution)
        return make, execution

    return set_up_again


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_OTHERS)
def test_wrong_trainings_fail_in_every_framework(
    name: str, of_framework: Callable[[], tuple[Maker, Execution]]
) -> None:
    sound, execution = of_framework()
    mutant = MUTANTS[name]
    assert failed(checked(mutant.of(sound), execution)).keys() & set(mutant.caught_by)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(replace(workload(129), batch_size=17), id="129 units, batch 17"),
        pytest.param(workload(64, 64, 64, 64, 64, 64, learning_rate=1e-6), id="deep, slow"),
        pytest.param(workload(7, batch_size=1), id="batch 1"),
    ],
)
def test_other_workloads_pass(work: Workload) -> None:
    module, execution = set_up("pytorch", "eager", "float32")
    assert not failed(checked(module.TRAINERS["eager"], execution, work))


def test_a_training_that_has_diverged_says_why_it_cannot_be_certified() -> None:
    found = failed(by_numpy(work=workload(24, learning_rate=1e30)))
    assert found
    assert all("not finite" in check.reason for check in found.values())


def test_each_block_is_as_likely_to_be_drawn() -> None:
    generator = np.random.default_rng(0)
    counts = np.zeros(5, int)
    for _ in range(5000):
        witness = Witness(NOTHING, lambda n: int(generator.integers(n)))
        for number in range(5):
            witness.show(
                TimedBlock(first_step=number, steps=1, lead_in=0, before=NOTHING, after=NOTHING)
            )
        assert witness.kept is not None
        counts[witness.kept.first_step] += 1
    assert counts.min() > 900
    assert counts.max() < 1100


def test_a_block_that_ends_in_other_bits_is_compared_whole() -> None:
    def other_end(block: TimedBlock) -> TimedBlock:
        (weight, bias), *rest = block.after.parameters
        wrong = [(weight * weight.dtype.type(1.0001), bias), *rest]
        return replace(block, after=block.after._replace(parameters=wrong))

    found = by_numpy(change=other_end)
    assert not found.repeats
    assert failed(found)["decay"].steps == LEAD_IN + TIMED
