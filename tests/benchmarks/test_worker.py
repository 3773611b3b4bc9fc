"""The worker: what it times, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backends import registry
from backends.contract import Adam, Array, Execution, Network, Trainer
from backends.numpy import Eager
from benchmarks import data
from benchmarks.certificate import first_failure, make_reference
from benchmarks.messages import Job
from benchmarks.worker import Worker, forget_peak_rss, peak_rss_mib, train_block
from benchmarks.workload import Workload

STEPS = 30


@pytest.fixture(scope="module")
def job() -> Job:
    work = Workload(
        network=Network(layer_sizes=(784, 8, 10)),
        adam=Adam(),
        batch_size=16,
        steps=STEPS,
        training_images=55_000,
        data_dir=str(data.EMBEDDED),
    )
    return Job(
        backend="numpy",
        execution=Execution(mode="eager"),
        workload=work,
        seed=0,
        block_steps=12,
        reference=make_reference(work, "float32", data.load().training),
    )


def test_training_starts_at_the_initial_parameters_and_ends_at_the_last_step(job: Job) -> None:
    worker = Worker(job)
    assert worker.first_call().first_call_steps == 1
    certified = worker.certify()
    assert certified.passed
    assert {check.level for check in certified.checks} == {"exact", "as timed"}
    assert worker.warm_up().steps == 12
    start = worker.read()
    assert start.step == 0
    # Even odds: the logarithm of ten classes.
    assert start.train_loss == pytest.approx(2.303, abs=0.05)
    assert [worker.train().steps for _ in range(3)] == [12, 12, 6]
    end = worker.read()
    assert end.step == STEPS
    assert end.train_loss < start.train_loss
    final = worker.finish()
    assert 0.2 < final.test_accuracy < 1
    assert final.peak_rss_mib > 100


def test_results_on_another_device_are_refused(job: Job) -> None:
    """NumPy, asked for the GPU, does what a silent fall-back does: it computes on the CPU."""
    asked = replace(job, execution=Execution(mode="eager", device="gpu"))
    with pytest.raises(RuntimeError, match="asked for the gpu, but results lie on the cpu"):
        Worker(asked).first_call()


def test_a_case_that_computes_something_else_fails_its_certificate(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(Eager):
        def train(self, rows: Array) -> None:
            super().train(rows[::-1])

    trainers: dict[str, type[Trainer]] = {"eager": Wrong}
    monkeypatch.setattr(registry.load("numpy"), "TRAINERS", trainers)
    worker = Worker(job)
    worker.first_call()
    certified = worker.certify()
    assert not certified.passed
    for level in ("exact", "as timed"):
        own = [check for check in certified.checks if check.level == level]
        failure = first_failure(own)
        assert failure is not None
        assert failure.stage == "loss_10_steps"


def test_a_block_is_timed_to_the_end_of_its_synchronisation() -> None:
    events: list[str] = []

    class Recorder:
        def train(self, rows: Array) -> None:
            events.append(f"train {len(rows)}")

        def synchronise(self) -> None:
            events.append("synchronise")

    block = train_block(Recorder(), np.zeros((5, 2)))  # type: ignore[arg-type]
    assert events == ["train 5", "synchronise"]
    assert block.steps == 5
    assert 0 <= block.dispatch_seconds <= block.seconds
    assert block.cpu_seconds >= 0


def test_compilations_within_a_block_are_counted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recompiling(Eager):
        compiled = 0

        def train(self, rows: Array) -> None:
            self.compiled += 2
            super().train(rows)

        def compilations(self) -> int:
            return self.compiled

    trainers: dict[str, type[Trainer]] = {"eager": Recompiling}
    monkeypatch.setattr(registry.load("numpy"), "TRAINERS", trainers)
    worker = Worker(job)
    worker.first_call()
    worker.warm_up()
    assert worker.train().compilations == 2


def test_memory_that_only_the_certificate_needs_is_not_counted() -> None:
    forget_peak_rss()
    before = peak_rss_mib()
    held = np.ones(200 * 2**20 // 8)
    assert peak_rss_mib() > before + 150
    del held
    forget_peak_rss()
    assert peak_rss_mib() < before + 50
