"""The contract: what holds for every backend, mode and input, and that these tests can fail.

Everything is compared in float64, where all backends agree to about 1e-13; the bound is 1e-9.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from backends import registry
from backends.contract import Execution, NotKeptError, Parameters, Trainer
from backends.numpy import Eager as Reference
from tests.conftest import (
    CASES,
    IMAGES,
    STEPS_PER_CALL,
    THREADS,
    Problem,
    configured,
    device,
)

BOUND = 1e-9


def make(trainer_type: type[Trainer], problem: Problem, mode: str, input_: str) -> Trainer:
    execution = Execution(
        mode=mode,
        input=input_,
        precision="float64",
        device="cpu" if trainer_type is Reference else device(),
        threads=THREADS,
        steps_per_call=STEPS_PER_CALL,
    )
    return trainer_type(
        problem.network, problem.adam, execution, problem.training_set, problem.start
    )


def make_reference(problem: Problem) -> Trainer:
    return make(Reference, problem, "eager", "resident")


def difference(found: Parameters, expected: Parameters) -> float:
    """The largest relative difference over all arrays; shapes must be equal."""
    pairs = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64))
        for layer, other in zip(found, expected, strict=True)
        for a, b in zip(layer, other, strict=True)
    ]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


# What every trainer must do. Each check takes a maker, so that sabotaged trainers can be put in.

Maker = Callable[..., Trainer]


def check_logits(make_trainer: Maker, problem: Problem) -> None:
    images = problem.training_set.images[:13]
    found = make_trainer(problem).logits(images)
    np.testing.assert_allclose(found, make_reference(problem).logits(images), rtol=BOUND)


def check_first_moments(make_trainer: Maker, problem: Problem) -> None:
    """After one step they tell its gradient, after several they are Adam's."""
    trainer, reference = make_trainer(problem), make_reference(problem)
    for steps in (1, STEPS_PER_CALL):
        rows = problem.rows(steps)
        trainer.train(rows)
        trainer.synchronise()
        reference.train(rows)
        assert difference(trainer.first_moments(), reference.first_moments()) < BOUND


def check_training(make_trainer: Maker, problem: Problem) -> None:
    """Whole calls of several steps, a shorter one, and a second block."""
    trainer, reference = make_trainer(problem), make_reference(problem)
    for steps in (2 * STEPS_PER_CALL + 3, STEPS_PER_CALL, 1):
        rows = problem.rows(steps)
        trainer.train(rows)
        trainer.synchronise()
        reference.train(rows)
        assert difference(trainer.parameters(), reference.parameters()) < BOUND


def check_losses(make_trainer: Maker, problem: Problem) -> None:
    """Of each step of the last call, so as many as a call trains."""
    trainer, reference = make_trainer(problem), make_reference(problem)
    rows = problem.rows(STEPS_PER_CALL)
    expected = []
    for batch in rows:
        reference.train(batch[None])
        expected.append(reference.losses().item())
    trainer.train(rows)
    trainer.synchronise()
    with contextlib.suppress(NotKeptError):
        found = trainer.losses()
        np.testing.assert_allclose(found, expected[-len(found) :], rtol=BOUND)
    # One step's loss, every mode keeps.
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


def check_start_is_copied(make_trainer: Maker, problem: Problem) -> None:
    before = [(weight.copy(), bias.copy()) for weight, bias in problem.start]
    trainer = make_trainer(problem)
    trainer.train(problem.rows(3))
    trainer.synchronise()
    assert difference(problem.start, before) == 0


def check_reading_changes_nothing(make_trainer: Maker, problem: Problem) -> None:
    trainer, untouched, rows = make_trainer(problem), make_trainer(problem), problem.rows(6)
    for batch in rows:
        trainer.train(batch[None])
        trainer.logits(problem.training_set.images[:5])
        trainer.first_moments()
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
    check_first_moments,
    check_training,
    check_losses,
    check_reset,
    check_start_is_copied,
    check_reading_changes_nothing,
]


def reusing(trainer_type: type[Trainer], mode: str, input_: str) -> Maker:
    """Makes two trainers, which it hands out in turn and reset: compiling one takes seconds."""
    made: list[Trainer] = []
    turns = itertools.cycle([0, 1])

    def maker(problem: Problem) -> Trainer:
        turn = next(turns)
        if turn == len(made):
            made.append(make(trainer_type, problem, mode, input_))
        else:
            made[turn].reset(problem.start)
        return made[turn]

    return maker


@pytest.fixture(scope="module")
def makers() -> dict[tuple[str, str, str], Maker]:
    """Of the cases tested so far."""
    return {}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "mode", "input_"), CASES)
def test_contract(
    name: str,
    mode: str,
    input_: str,
    check: Any,
    problem: Problem,
    makers: dict[tuple[str, str, str], Maker],
) -> None:
    trainer_type = configured(name).TRAINERS[mode]
    check(makers.setdefault((name, mode, input_), reusing(trainer_type, mode, input_)), problem)


@pytest.mark.parametrize(("name", "mode", "input_"), CASES)
def test_describes_itself(name: str, mode: str, input_: str, problem: Problem) -> None:
    module = configured(name)
    said = make(module.TRAINERS[mode], problem, mode, input_).describe()
    assert said["device"] == "cpu"
    assert said["precision"] == "float64"
    assert said["threads"] == "2"
    assert int(said["steps_per_call"]) in (1, STEPS_PER_CALL)
    assert said.keys() >= {"device_name", "compiler", "input", "optimizer"}
    assert said["epsilon"] == "1e-08 (textbook)"
    assert module.versions().keys() >= set(registry.BACKENDS[name].packages)


@pytest.mark.parametrize("name", registry.BACKENDS)
def test_registry_and_backend_offer_the_same_modes(name: str) -> None:
    assert list(configured(name).TRAINERS) == list(registry.BACKENDS[name].modes)


@pytest.mark.parametrize(("name", "mode", "input_"), CASES)
def test_synchronise_waits(name: str, mode: str, input_: str) -> None:
    check_synchronise(configured(name).TRAINERS[mode], mode, input_)


def check_synchronise(trainer_type: type[Trainer], mode: str, input_: str) -> None:
    """Once synchronised, nothing is left to wait for: reading the parameters takes no time.

    The one step is on a batch so large that it takes some hundred times as long as the reading.
    """
    problem = Problem(300, 300)
    trainer = make(trainer_type, problem, mode, input_)
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


# That these checks can fail. What else may be wrong with a backend is in test_certificates.py.


@pytest.mark.parametrize(("name", "mode", "input_"), CASES)
def test_a_reset_that_is_none_is_noticed(
    name: str, mode: str, input_: str, problem: Problem
) -> None:
    trainer_type = configured(name).TRAINERS[mode]

    class Wrong(trainer_type):  # type: ignore[valid-type, misc]
        def reset(self, parameters: Parameters) -> None:
            super().reset(parameters)
            super().train(np.zeros((1, 1), np.int32))

    with pytest.raises(AssertionError):
        check_reset(lambda given: make(Wrong, given, mode, input_), problem)


@pytest.mark.parametrize("mode", ["compiled", "multistep"])
def test_a_missing_synchronisation_is_noticed(mode: str) -> None:
    """In JAX, whose calls return before the work is done on the CPU too."""

    class Wrong(configured("jax").TRAINERS[mode]):  # type: ignore[name-defined, misc]
        def synchronise(self) -> None:
            pass

    with pytest.raises(AssertionError):
        check_synchronise(Wrong, mode, "resident")
