"""On a GPU: every backend, mode and input computes the training, in every precision.

`pytest -m gpu` runs these, in minutes; a framework that is missing, or sees no GPU, is skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backends.contract import Execution, Trainer
from backends.registry import BACKENDS
from benchmarks.certificates.certificate import first_failure
from benchmarks.certificates.reference import Reference, make_reference
from benchmarks.machine.advice import failure
from benchmarks.machine.settings import ROOT
from benchmarks.plan import data
from benchmarks.plan.workload import Workload
from benchmarks.worker import ledger
from tests.conftest import Problem, back_to_float64, configured, device
from tests.support.certifying import STEPS_PER_CALL, certify, make_workload, trainer_in
from tests.support.contract_checks import CHECKS, make, reusing
from tests.support.floors import ROWS, check_floor, floor_of
from tests.support.gpu import FRAMEWORKS, GPU_CASES, GPU_MODES

pytestmark = pytest.mark.gpu

PRECISIONS = ("float32", "tf32", "bfloat16")


@pytest.fixture(autouse=True)
def reset_precision() -> None:
    back_to_float64()


@pytest.mark.parametrize(("name", "mode", "input_"), GPU_CASES)
def test_contract(name: str, mode: str, input_: str, problem: Problem) -> None:
    """All checks in one test take less time than one by one."""
    trainer_type, trainers = configured(name).TRAINERS[mode], list[Trainer]()

    def make_trainer(problem: Problem) -> Trainer:
        return make(trainer_type, problem, mode, input_)

    for check in CHECKS:
        check(reusing(make_trainer, trainers), problem)
    trainer = trainers[0]
    trainer.reset(problem.start)
    trainer.train(problem.rows(1))
    description = trainer.describe()
    assert description.device == device()
    assert description.precision == "float64"
    assert description.device_name not in ("", "cpu")


CONTRACT = """
import sys
from tests import conftest

conftest._device = sys.argv[3]
from tests.support.contract_checks import CHECKS, make, reusing

trainer_type, trainers = conftest.configured(sys.argv[1]).TRAINERS[sys.argv[2]], []
def maker(problem):
    return make(trainer_type, problem, sys.argv[2], "resident")
for check in CHECKS:
    check(reusing(maker, trainers), conftest.Problem(17, 11))
"""
"""For a process that is started with the variables of a mode."""


@pytest.mark.parametrize("mode", ["scan-graph", "scan-graph-unrolled", "handwritten-graph"])
def test_the_contract_of_modes_with_flags_of_their_own(mode: str) -> None:
    configured("jax")  # skips where there is none
    done = subprocess.run(
        [sys.executable, "-c", CONTRACT, "jax", mode, device()], cwd=ROOT, check=False,
        env=os.environ | BACKENDS["jax"].modes[mode].environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize(
    ("precision", "error"), [("float32", 1e-4), ("tf32", 1e-2), ("bfloat16", 5e-2)]
)
def test_a_floor_does_its_products_and_its_pass(name: str, precision: str, error: float) -> None:
    module = configured(name)
    module.configure(Execution(mode="floor", precision=precision, device=device()))
    check_floor(name, precision, error)


@pytest.fixture(scope="module")
def references() -> tuple[Workload, dict[str, Reference]]:
    """A workload, and its reference in each precision.

    Smaller products cuBLAS makes in float32 where TF32 is allowed.
    """
    training = data.load().training
    work = make_workload(512, 512, training=training, batch_size=64, learning_rate=0.01)
    return work, {
        precision: make_reference(work, precision, training, STEPS_PER_CALL)
        for precision in PRECISIONS
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "mode"), GPU_MODES)
def test_certified(
    name: str, mode: str, precision: str, references: tuple[Workload, dict[str, Reference]]
) -> None:
    work, by_precision = references
    checks = certify(name, mode, work, by_precision[precision], "as timed", timed=precision)
    assert first_failure(checks) is None


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize(("name", "mode"), GPU_MODES)
def test_fewer_bits_are_no_float32(
    name: str, mode: str, precision: str, references: tuple[Workload, dict[str, Reference]]
) -> None:
    """A trainer that computes in TF32 or bfloat16 has no certificate as float32."""
    work, by_precision = references
    checks = certify(name, mode, work, by_precision["float32"], "as timed", timed=precision)
    failed = first_failure(checks)
    assert failed is not None
    assert failed.stage == "logits"


@pytest.mark.parametrize("precision", [*PRECISIONS, "float64"])
@pytest.mark.parametrize(("name", "mode"), GPU_MODES)
def test_the_precision_of_products_shows_by_effect(name: str, mode: str, precision: str) -> None:
    """So float32 is not TF32, whatever the frameworks' defaults are."""
    trainer = trainer_in(precision, name, mode)
    stored = Execution(mode=mode, precision=precision).stored
    assert ledger.BY_BITS[ledger.product_bits(trainer, stored)] == precision


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_gpu_that_is_too_full_is_reported(name: str) -> None:
    """A matrix of 16 TB fits no GPU; a floor trains on afterwards."""
    execution = Execution(mode="floor", device=device())
    floor = floor_of(name, execution)

    def failure_of_a_large_product() -> str:
        try:
            floor.multiply(floor.square(2_000_000))
            floor.synchronise()
        except Exception as error:  # each framework has its own
            return failure(error)
        return ""

    assert "memory is full" in failure_of_a_large_product()
    floor.train(ROWS[:2])
    floor.synchronise()
    assert floor.device() == device()
