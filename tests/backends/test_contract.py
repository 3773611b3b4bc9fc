"""The contract holds for every backend, mode and input; and these tests can fail."""

from __future__ import annotations

from typing import Any

import pytest

from backends import registry
from backends.contract import Parameters, Trainer
from backends.ladder import Backend
from tests.conftest import (
    RUNGS,
    STANDING,
    STANDING_MODES,
    STEPS_PER_CALL,
    Problem,
    configured,
    first_input,
)
from tests.support.contract_checks import (
    CHECKS,
    Maker,
    check_parts,
    check_reset,
    check_synchronise,
    check_training,
    make,
    reusing,
)


@pytest.fixture(scope="module")
def compiled() -> dict[tuple[str, str, str], list[Trainer]]:
    """The trainers of the cases tested so far."""
    return {}


@pytest.fixture
def maker(
    name: str, mode: str, input_: str, compiled: dict[tuple[str, str, str], list[Trainer]]
) -> Maker:
    """The maker of a case, whose trainers are compiled once for all tests of this module."""
    trainer_type = configured(name).TRAINERS[mode]
    trainers = compiled.setdefault((name, mode, input_), [])
    return reusing(lambda problem: make(trainer_type, problem, mode, input_), trainers)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "mode", "input_"), STANDING)
def test_contract(check: Any, problem: Problem, maker: Maker) -> None:
    check(maker, problem)


# What a rung has of its own is how it trains; reading and resetting it shares with others.
@pytest.mark.parametrize("check", [check_training, check_parts], ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "mode", "input_"), RUNGS)
def test_a_rung_trains_by_the_contract(check: Any, problem: Problem, maker: Maker) -> None:
    check(maker, problem)


@pytest.mark.parametrize(("name", "mode", "input_"), [*STANDING, *RUNGS])
def test_a_trainer_describes_itself(name: str, problem: Problem, maker: Maker) -> None:
    description = maker(problem).describe()
    assert description.device == "cpu"
    assert description.precision == "float64"
    assert description.threads == 2
    assert description.steps_per_call in (1, STEPS_PER_CALL)
    assert description.device_name
    assert description.compiler
    assert description.input
    assert description.optimizer
    assert description.epsilon == pytest.approx(1e-8)
    assert description.adam_form == "textbook"
    entry = registry.BACKENDS[name]
    assert configured(name).versions().keys() >= set(entry.packages)


@pytest.mark.parametrize("name", registry.BACKENDS)
def test_registry_and_backend_offer_the_same_modes(name: str) -> None:
    module, entry = configured(name), registry.BACKENDS[name]
    assert list(module.TRAINERS) == list(entry.modes)
    assert list(getattr(module, "GROUP_TRAINERS", ())) == list(entry.group_modes)


@pytest.mark.parametrize("name", registry.BACKENDS)
def test_an_entry_survives_the_way_to_another_process(name: str) -> None:
    entry = registry.BACKENDS[name]
    assert Backend.from_json(entry.to_json()).to_json() == entry.to_json()


def test_names_that_are_not_registered_stand_for_themselves() -> None:
    assert registry.title_of("pytorch") == "PyTorch"
    assert registry.title_of("theano") == "theano"
    assert registry.tier_of("jax", "scan") == "limit"
    assert registry.tier_of("jax", "pmapped") == ""
    assert registry.tier_of("theano", "eager") == ""


# One input of each mode: what is waited for are a step's results, wherever its batch came from.
@pytest.mark.parametrize(("name", "mode"), STANDING_MODES)
def test_synchronise_waits(name: str, mode: str) -> None:
    trainer_type, input_ = configured(name).TRAINERS[mode], first_input(name, mode)
    check_synchronise(lambda problem: make(trainer_type, problem, mode, input_))


# That these checks can fail. What else may be wrong with a backend is in test_certificates.py.


@pytest.mark.parametrize(("name", "mode", "input_"), STANDING)
def test_a_reset_that_is_none_is_noticed(
    problem: Problem, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = maker(problem)
    reset = trainer.reset

    def wrong(parameters: Parameters) -> None:
        reset(parameters)
        trainer.train(problem.rows(1))

    monkeypatch.setattr(trainer, "reset", wrong)
    with pytest.raises(AssertionError):
        check_reset(lambda _: trainer, problem)


@pytest.mark.parametrize("mode", ["compiled", "scan"])
def test_a_missing_synchronisation_is_noticed(mode: str) -> None:
    """In JAX, whose calls return before the work is done on the CPU too."""

    class Wrong(configured("jax").TRAINERS[mode]):  # type: ignore[name-defined, misc]
        def synchronise(self) -> None:
            pass

    with pytest.raises(AssertionError):
        check_synchronise(lambda problem: make(Wrong, problem, mode, "resident"))
