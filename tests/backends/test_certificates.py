"""Every backend and mode earns its certificate at both levels, and no mutant does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import (
    EPSILON_HAT,
    Adam,
    Network,
    Trainer,
    TrainingSet,
)
from backends.registry import BACKENDS
from benchmarks.plan import data
from benchmarks.plan.data import Split
from benchmarks.plan.workload import Workload
from benchmarks.schema import LEVELS
from benchmarks.worker import certificate, ledger
from benchmarks.worker.certificate import Check, first_failure
from benchmarks.worker.reference import Reference, make_reference
from tests.backends.mutants import MUTANTS, Maker, Mutant, make_maker
from tests.conftest import MODES, Problem, back_to_float64, set_up

STEPS_PER_CALL = 12


def make_workload(*hidden: int, training: Split, batch_size: int, learning_rate: float) -> Workload:
    return Workload(
        network=Network(layer_sizes=(training.images.shape[1], *hidden, 10)),
        adam=Adam(learning_rate=learning_rate),
        batch_size=batch_size,
        steps=STEPS_PER_CALL,
        training_images=len(training.labels),
        data_dir="",
    )


@pytest.fixture(autouse=True)
def reset_precision() -> Iterator[None]:
    yield
    back_to_float64()


def certify(
    name: str,
    mode: str,
    work: Workload,
    reference: Reference,
    level: str,
    maker: Maker | None = None,
    timed: str = "float32",
) -> list[Check]:
    """One level of a certificate, of the backend's own trainer or of one that `maker` makes."""
    precision = "float64" if level == "exact" else timed
    module, execution = set_up(name, mode, precision, STEPS_PER_CALL)
    trainer = (maker or module.TRAINERS[mode])(
        work.network,
        work.adam,
        execution,
        reference.batches.stored_as(execution.stored),
        reference.start,
    )
    return certificate.certify(
        trainer, work.adam, reference, reference.batch_rows, execution.stored, level
    )


@pytest.fixture(scope="module")
def mnist() -> Split:
    return data.load().training


NETWORKS = {
    "three hidden layers": {"hidden": (31, 17, 9), "batch_size": 77, "learning_rate": 0.003},
    "one hidden layer": {"hidden": (20,), "batch_size": 32, "learning_rate": 0.01},
    "no hidden layer": {"hidden": (), "batch_size": 128, "learning_rate": 0.1},
}


@pytest.fixture(scope="module", params=NETWORKS)
def problem(request: pytest.FixtureRequest, mnist: Split) -> tuple[Workload, Reference]:
    settings: dict[str, Any] = NETWORKS[request.param]
    work = make_workload(
        *settings["hidden"],
        training=mnist,
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
    )
    return work, make_reference(work, "float32", mnist, STEPS_PER_CALL)


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_certified_on_other_networks(
    name: str, mode: str, problem: tuple[Workload, Reference]
) -> None:
    work, reference = problem
    for level in LEVELS:
        checks = certify(name, mode, work, reference, level)
        assert first_failure(checks) is None
        # `fit` alone does not give the loss of its tenth step, and says so.
        not_read = {check.stage for check in checks if check.not_read}
        assert not_read == ({"loss_10_steps"} if mode == "fit" else set())


@pytest.mark.parametrize("mode", BACKENDS["tensorflow"].modes)
def test_keras_own_adam_is_certified_as_what_it_is(mode: str, mnist: Split) -> None:
    """Against the reference with epsilon-hat, and not against the textbook's."""
    work = make_workload(16, training=mnist, batch_size=32, learning_rate=0.01)
    stock = replace(work, adam=replace(work.adam, form=EPSILON_HAT))
    reference = make_reference(stock, "float32", mnist, STEPS_PER_CALL)
    for level in LEVELS:
        assert first_failure(certify("tensorflow", mode, stock, reference, level)) is None
        failure = first_failure(certify("tensorflow", mode, work, reference, level))
        assert failure is not None
        assert failure.stage == "parameters_1_step"


# Mutants: see mutants.py.


def random_images() -> Split:
    generator = np.random.default_rng(0)
    return Split(
        images=generator.integers(0, 256, (300, 23)).astype(np.uint8),
        labels=generator.integers(0, 10, 300).astype(np.int32),
    )


@pytest.fixture(scope="module")
def small() -> tuple[Workload, Reference]:
    """A network with a square layer."""
    training = random_images()
    work = make_workload(16, 16, training=training, batch_size=19, learning_rate=0.01)
    return work, make_reference(work, "float32", training, STEPS_PER_CALL)


@pytest.mark.parametrize(
    ("mutant", "name", "mode"),
    [
        pytest.param(mutant, *own.values, id=f"{mutant}-{own.id}")
        for mutant, about in MUTANTS.items()
        for own in MODES
        # What a caller does wrong does not depend on how the backend executes.
        if about.edits or own.values[1] == "eager"
    ],
)
def test_mutants_are_caught_where_they_act(
    name: str, mode: str, mutant: str, small: tuple[Workload, Reference], tmp_path: Path
) -> None:
    work, reference = small
    about = MUTANTS[mutant]
    # Where nothing is compiled, at the level of what is timed too.
    for level in LEVELS if mode == "eager" else ("exact",):
        maker = make_maker(about, name, mode, tmp_path)
        failure = first_failure(certify(name, mode, work, reference, level, maker))
        assert failure is not None, level
        assert failure.stage in about.stages, level


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_an_edited_backend_without_edits_is_certified(
    name: str, mode: str, small: tuple[Workload, Reference], tmp_path: Path
) -> None:
    """So it is the mutation that is caught, not the way it is made."""
    work, reference = small
    for level in LEVELS:
        maker = make_maker(Mutant(stages=()), name, mode, tmp_path)
        assert first_failure(certify(name, mode, work, reference, level, maker)) is None


@pytest.fixture(scope="module")
def in_bfloat16(mnist: Split) -> tuple[Workload, dict[str, Reference]]:
    """A workload, and what it is compared with in bfloat16 and in float32."""
    work = make_workload(64, 48, training=mnist, batch_size=64, learning_rate=0.01)
    return work, {
        precision: make_reference(work, precision, mnist, STEPS_PER_CALL)
        for precision in ("bfloat16", "float32")
    }


MIXED = [case for case in MODES if "bfloat16" in BACKENDS[str(case.values[0])].precisions]


@pytest.mark.parametrize(("name", "mode"), MIXED)
def test_certified_in_bfloat16(
    name: str, mode: str, in_bfloat16: tuple[Workload, dict[str, Reference]]
) -> None:
    """And only there: as if asked for float32, products in bfloat16 are noticed."""
    work, references = in_bfloat16
    checks = certify(name, mode, work, references["bfloat16"], "as timed", timed="bfloat16")
    assert first_failure(checks) is None
    errors = {check.stage: check.error for check in checks}
    assert errors["logits"] > 1e-5  # float32 would be closer
    strict = certify(name, mode, work, references["float32"], "as timed", timed="bfloat16")
    failure = first_failure(strict)
    assert failure is not None
    assert failure.stage == "logits"


def trainer_in(precision: str, name: str, mode: str) -> Trainer:
    """Of a small network, in this process's precision from now on."""
    small = Problem(17, 11)
    module, execution = set_up(name, mode, precision)
    given = small.training_set
    training_set = TrainingSet(images=given.images.astype(execution.stored), labels=given.labels)
    return module.TRAINERS[mode](small.network, small.adam, execution, training_set, small.start)


@pytest.mark.parametrize(("name", "mode"), MIXED)
def test_the_ledger_tells_bfloat16_by_effect(name: str, mode: str) -> None:
    trainer = trainer_in("bfloat16", name, mode)
    assert ledger.BY_BITS[ledger.product_bits(trainer, "float32")] == "bfloat16"
    assert trainer.describe()["precision"] == "float32"
