"""The long horizon in float64: what it trains, catches, and cannot judge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.contract import Execution, Parameters, Trainer
from backends.numpy.taught import Eager
from benchmarks.certificates import horizon
from benchmarks.certificates.certificate import Check
from benchmarks.certificates.reference import Reference, make_candidate
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.workload import Workload
from tests.benchmarks.test_replay import images, workload

BLOCK = BlockLength(lead_in=10, timed=40)


class Late(Eager):
    """The learning rate is off by a millionth after 200 steps."""

    def _update(self, gradients: Parameters) -> None:
        given = self._adam
        if self._steps >= 200:
            self._adam = replace(given, learning_rate=given.learning_rate * (1 + 1e-6))
        super()._update(gradients)
        self._adam = given


def certified(trainer: type[Trainer], work: Workload) -> list[Check]:
    reference: Reference = make_candidate(work, "float32", images(), 10, seed=0)
    far = horizon.make_horizon(work, reference, BLOCK, call=10)
    execution = Execution(mode="eager", precision="float64")
    data = reference.batches.stored_as("float64")
    made = trainer(work.training(data, reference.start), execution)  # type: ignore[call-arg]
    return horizon.certify(made, far, work, reference)


def test_a_sound_program_stays_with_the_reference() -> None:
    checks = certified(Eager, workload(24, 16))
    assert all(check.passed and check.steps == 301 for check in checks)
    assert len(checks) == 6


def test_what_goes_wrong_late_and_by_little_is_seen() -> None:
    checks = certified(Late, workload(24, 16))
    assert not any(check.passed for check in checks)
    assert not any(check.reason for check in checks)


def test_a_training_that_amplifies_rounding_cannot_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of 12 workloads with learning rates up to 0.3 rounding moved none by more than 3e-12.
    monkeypatch.setattr(horizon, "CLEAR", 1e-9)
    checks = certified(Late, workload(24, 16))
    assert any(check.error > check.bound for check in checks)
    assert not any(check.passed for check in checks)
    assert all("rounding alone moves this training" in check.reason for check in checks)


@pytest.mark.parametrize(
    ("block", "call", "most", "expected"),
    [
        (BlockLength(lead_in=50, timed=200), 50, 300, [50, 200, 1, 10, 50]),
        (BlockLength(lead_in=10, timed=40), 1, 70, [10, 40, 1, 10, 10]),
        (BlockLength(lead_in=50, timed=200), 50, 60, [50, 10]),
        (BlockLength(lead_in=0, timed=20), 50, 20, [20]),
    ],
)
def test_calls_of_every_length_are_made(
    block: BlockLength, call: int, most: int, expected: list[int]
) -> None:
    assert horizon.lengths(block, call, most) == expected
