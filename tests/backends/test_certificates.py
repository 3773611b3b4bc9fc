"""Every backend and mode earns its certificate at both levels, and no mutant does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from backends.contract import EPSILON_HAT
from backends.registry import BACKENDS
from benchmarks.certificates import certificate, reference
from benchmarks.certificates.certificate import Check, first_failure
from benchmarks.certificates.reference import Reference, make_candidate, make_reference
from benchmarks.plan import data
from benchmarks.plan.data import Split
from benchmarks.plan.workload import Workload
from benchmarks.schema import LEVELS
from benchmarks.worker import ledger
from tests.conftest import MODES, back_to_float64, set_up
from tests.support.certifying import (
    STEPS_PER_CALL,
    certify,
    make_workload,
    random_images,
    trainer_in,
    training_of,
)
from tests.support.mutants import (
    MUTANTS,
    TEN_STEPS,
    Mutant,
    edits_for,
    make_maker,
    written_out,
)

KEEP_THE_MEAN = ("keras-fit", "function")
"""The modes of these that keep the mean over their steps."""

STEPS = [case for case in MODES if written_out(case)]
"""Every backend and the modes that have a step of their own."""


@pytest.fixture(autouse=True)
def reset_precision() -> Iterator[None]:
    yield
    back_to_float64()


@pytest.fixture(scope="module")
def mnist() -> Split:
    return data.load().training


NETWORKS = {
    "three hidden layers": ((31, 17, 9), 77, 0.003),
    "one hidden layer": ((20,), 32, 0.01),
    "no hidden layer": ((), 128, 0.1),
}
"""Sizes of hidden layers, batch size and learning rate."""


@cache
def problem_of(network: str, level: str) -> tuple[Workload, Reference]:
    """A workload on MNIST, and its reference."""
    hidden, batch_size, learning_rate = NETWORKS[network]
    mnist = data.load().training
    work = make_workload(
        *hidden, training=mnist, batch_size=batch_size, learning_rate=learning_rate
    )
    with pytest.MonkeyPatch.context() as patch:
        if level == "exact":
            # Its bound is a constant: how far rounding moves float32 need not be measured.
            patch.setattr(reference, "VARIANTS", 1)
            patch.setattr(reference, "CANDIDATES", 1)
        return work, make_reference(work, "float32", mnist, STEPS_PER_CALL)


@pytest.mark.parametrize(
    ("network", "level"),
    # The formulas of every network are compared to 1e-9. In float32 the same code runs, and one
    # hidden layer has every kind of layer: with a ReLU behind it and without.
    [
        pytest.param("three hidden layers", "exact", marks=pytest.mark.slow),
        ("one hidden layer", "exact"),
        ("one hidden layer", "as timed"),
        ("no hidden layer", "exact"),
    ],
)
@pytest.mark.parametrize(("name", "mode"), STEPS)
def test_certified_on_other_networks(name: str, mode: str, network: str, level: str) -> None:
    checks = certify(name, mode, *problem_of(network, level), level)
    assert first_failure(checks) is None
    # Only what keeps the mean over its steps does not give the loss of the tenth, and says so.
    not_read = {check.stage for check in checks if check.not_read}
    assert not_read == ({"loss_10_steps"} if mode in KEEP_THE_MEAN else set())


def mutated_levels(name: str, mode: str) -> tuple[str, ...]:
    """The levels at which mistakes in a mode are tried: both where nothing is compiled.

    JAX compiles each operation by itself, which takes as long as compiling a step.
    """
    return LEVELS if mode == "eager" and name != "jax" else ("exact",)


HAS_EPSILON_HAT = [
    case for case in STEPS if EPSILON_HAT in BACKENDS[str(case.values[0])].adam_forms
]


@pytest.mark.parametrize(("name", "mode"), HAS_EPSILON_HAT)
def test_keras_own_adam_is_certified_as_what_it_is(name: str, mode: str, mnist: Split) -> None:
    """It passes against the reference with epsilon-hat, and fails against the textbook's."""
    work = make_workload(16, training=mnist, batch_size=32, learning_rate=0.01)
    stock = replace(work, adam=replace(work.adam, form=EPSILON_HAT))
    epsilon_hat = make_reference(stock, "float32", mnist, STEPS_PER_CALL)
    for level in mutated_levels(name, mode):
        assert first_failure(certify(name, mode, stock, epsilon_hat, level)) is None
        failure = first_failure(certify(name, mode, work, epsilon_hat, level, steps=1))
        assert failure is not None
        assert failure.stage == "parameters_1_step"


# Mutants: see tests/support/mutants.py.


@pytest.fixture(scope="module")
def small() -> tuple[Workload, Reference]:
    """A network with a square layer, and its reference."""
    training = random_images()
    work = make_workload(16, 16, training=training, batch_size=19, learning_rate=0.01)
    return work, make_reference(work, "float32", training, STEPS_PER_CALL)


@pytest.mark.parametrize(
    ("mutant", "name", "mode"),
    [
        pytest.param(mutant, *case.values, id=f"{mutant}-{case.id}", marks=case.marks)
        for mutant, about in MUTANTS.items()
        for case in STEPS
        # A caller's mistake does not depend on how the backend executes: its first mode is enough.
        if about.edits or case.values[1] == next(iter(BACKENDS[str(case.values[0])].modes))
    ],
)
def test_mutants_are_caught_where_they_act(
    name: str, mode: str, mutant: str, small: tuple[Workload, Reference], tmp_path: Path
) -> None:
    work, sound = small
    about = MUTANTS[mutant]
    edits = edits_for(mutant, name) if about.edits else []
    maker = make_maker(about, edits, name, mode, tmp_path)
    steps = None if about.stages == TEN_STEPS else 1
    for level in mutated_levels(name, mode):
        failure = first_failure(certify(name, mode, work, sound, level, maker, steps))
        assert failure is not None, level
        assert failure.stage in about.stages, level


@pytest.mark.parametrize(("name", "mode"), STEPS)
def test_an_edited_backend_without_edits_is_certified(
    name: str, mode: str, small: tuple[Workload, Reference], tmp_path: Path
) -> None:
    """So it is the mutation that is caught, not the way it is made."""
    work, sound = small
    maker = make_maker(Mutant(stages=()), [], name, mode, tmp_path)
    for level in mutated_levels(name, mode):
        assert first_failure(certify(name, mode, work, sound, level, maker)) is None


def test_a_backend_whose_edits_are_missing_is_told_where_to_add_them() -> None:
    with pytest.raises(AssertionError, match=r"no edits for theano: .*tests/support/mutants\.py"):
        edits_for("relu left out", "theano")


@pytest.fixture(scope="module")
def in_bfloat16(mnist: Split) -> tuple[Workload, dict[str, Reference]]:
    """A workload, and its references in bfloat16 and in float32, on the same batches."""
    work = make_workload(64, 48, training=mnist, batch_size=64, learning_rate=0.01)
    return work, {
        precision: make_candidate(work, precision, mnist, STEPS_PER_CALL, seed=0)
        for precision in ("bfloat16", "float32")
    }


MIXED = [case for case in STEPS if "bfloat16" in BACKENDS[str(case.values[0])].precisions]


@pytest.mark.parametrize(("name", "mode"), MIXED)
def test_certified_in_bfloat16(
    name: str, mode: str, in_bfloat16: tuple[Workload, dict[str, Reference]]
) -> None:
    """Only there: products in bfloat16 are noticed where float32 was requested."""
    work, references = in_bfloat16
    module, execution = set_up(name, mode, "bfloat16", STEPS_PER_CALL)
    training = training_of(work, references["bfloat16"], execution.stored)
    trainer = module.TRAINERS[mode](training, execution)

    def checks_against(precision: str, steps: int | None = None) -> list[Check]:
        rows = references[precision].batch_rows[:steps]
        return certificate.certify(
            trainer, work.adam, references[precision], rows, "float32", "as timed"
        )

    checks = checks_against("bfloat16")
    assert first_failure(checks) is None
    errors = {check.stage: check.error for check in checks}
    assert errors["logits"] > 1e-5  # float32 would be closer
    failure = first_failure(checks_against("float32", 1))
    assert failure is not None
    assert failure.stage == "logits"


@pytest.mark.parametrize(("name", "mode"), MIXED)
def test_the_ledger_tells_bfloat16_by_effect(name: str, mode: str) -> None:
    trainer = trainer_in("bfloat16", name, mode)
    assert ledger.BY_BITS[ledger.product_bits(trainer, "float32")] == "bfloat16"
    assert trainer.describe().precision == "float32"
