"""What a worker times, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import ClassVar

import numpy as np
import pytest

from backends import registry
from backends.contract import Adam, Array, Execution, Network, Timed, Trainer, product_names
from backends.numpy.backend import Eager
from benchmarks.certificates import evidence
from benchmarks.certificates.certificate import Check, first_failure
from benchmarks.certificates.horizon import make_horizon
from benchmarks.certificates.reference import make_reference
from benchmarks.plan import data, workload
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.workload import Workload
from benchmarks.worker.clock import steady, train_block
from benchmarks.worker.floor import FloorWorker
from benchmarks.worker.memory import forget_peak_rss, peak_rss_mib
from benchmarks.worker.messages import Certified, Job
from benchmarks.worker.worker import Worker

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
        backend=registry.BACKENDS["numpy"],
        execution=Execution(mode="eager"),
        workload=work,
        seed=0,
        block=BlockLength(lead_in=2, timed=10),
        calibrate=False,
        reference=make_reference(work, "float32", data.load().training),
    )


def certify_exactly(worker: Worker, job: Job) -> tuple[Check, ...]:
    """The checks of a worker at the exact level."""
    assert job.reference is not None
    far = make_horizon(job.workload, job.reference, job.block, job.steps_per_call)
    return worker.certifier.exactly(far).checks


def test_evidence_is_kept_for_as_long_as_nothing_that_it_depends_on_changes(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def certify(job: Job) -> Certified:
        worker.append(Worker(job))
        worker[-1].first_call()
        return worker[-1].certify()

    worker: list[Worker] = []
    keeping = replace(job, kept_in=str(tmp_path / "kept"))
    assert certify(keeping).needs_exact
    taken = certify_exactly(worker[-1], keeping)
    kept = certify(keeping)
    assert not kept.needs_exact
    assert kept.checks[: len(taken)] == taken
    assert kept.ledger["evidence"].startswith("kept since 2")
    others = (
        replace(keeping, anew=True),
        replace(keeping, machine="another one"),
        replace(keeping, workload=replace(keeping.workload, batch_size=keeping.block.timed)),
        replace(keeping, kept_in=""),
    )
    assert all(certify(other).needs_exact for other in others)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_text(file.read_text().replace('"error": ', '"error": 1'))
    assert certify(keeping).needs_exact
    file.write_text('{"checks": [{"error": "0"}], "about": 1}')
    assert certify(keeping).needs_exact
    monkeypatch.setattr(evidence, "sources", lambda _: "edited")
    assert certify(keeping).needs_exact


def test_a_folder_that_cannot_be_written_keeps_nothing(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    worker = Worker(replace(job, kept_in=str(tmp_path / "file" / "kept")))
    worker.first_call()
    assert worker.certify().needs_exact
    assert first_failure(certify_exactly(worker, job)) is None


def test_training_starts_at_the_initial_parameters_and_ends_at_the_last_step(job: Job) -> None:
    worker = Worker(job)
    assert worker.first_call().first_call_steps == 1
    certified = worker.certify()
    assert certified.passed
    assert {check.level for check in certified.checks} == {"as timed"}
    assert certified.needs_exact
    exact = certify_exactly(worker, job)
    assert {check.level for check in exact} == {"exact"}
    assert first_failure(exact) is None
    assert max(check.steps for check in exact) >= 300
    warmup = worker.warm_up()
    assert warmup.block == job.block
    assert warmup.steps >= 4
    start = worker.read()
    assert start.step == 0
    # Guessing among ten classes has a loss of log 10.
    assert start.train_loss == pytest.approx(2.303, abs=0.05)
    assert [worker.train(job.block).steps for _ in range(2)] == [10, 10]
    assert worker.train_rest() == STEPS
    end = worker.read()
    assert end.step == STEPS
    assert end.train_loss < start.train_loss
    assert 0.2 < worker.test().test_accuracy < 1
    assert worker.finish().peak_rss_mib > 100


def test_data_that_was_replaced_since_the_plan_is_refused(job: Job, images: Path) -> None:
    """The certificate's batches and the training would come from different sets."""
    planned = replace(job.workload, data_sha256=data.load().sha256)
    assert Worker(replace(job, workload=planned)).first_call()
    replaced = replace(planned, data_dir=str(images))
    with pytest.raises(data.DataError, match="holds other data than when the run was started"):
        Worker(replace(job, workload=replaced))


def test_a_mode_that_is_not_compiled_does_not_pass_for_one(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = Worker(job)._trainer.describe()
    described = replace(about, compiler="jax.jit: whole step")
    monkeypatch.setattr(Eager, "describe", lambda _: described)
    with pytest.raises(RuntimeError, match=r"nothing was compiled, but .*: whole step was"):
        Worker(job).first_call()
    monkeypatch.setattr(Eager, "compilations", lambda _: 1)
    assert Worker(job).first_call()


def test_a_diverging_training_is_measured_like_any_other(job: Job) -> None:
    diverging = replace(job.workload, adam=Adam(learning_rate=1e30))
    worker = Worker(replace(job, workload=diverging))
    worker.first_call()
    assert not worker.certify().passed
    worker.warm_up()
    assert worker.train(job.block).steps == 10
    assert worker.train_rest() == 12
    reading = worker.read()
    assert np.isnan([reading.train_loss, reading.validation_loss]).all()
    # NaN is no right answer, whatever the argmax of the logits.
    assert reading.validation_accuracy == 0
    assert worker.test().test_accuracy == 0


def test_the_parts_of_a_step_are_measured_in_the_first_launch_alone(job: Job) -> None:
    worker = Worker(job)
    worker.first_call()
    parts = worker.certify().parts
    assert parts.keys() == {"host_seconds", "input_seconds"}
    assert 0 < parts["host_seconds"] < 0.01
    assert 0 < parts["input_seconds"] < 0.01
    later = Worker(replace(job, first=False))
    later.first_call()
    certified = later.certify()
    assert certified.parts == {}
    # What is timed is certified in every launch, from the timed blocks.
    assert certified.checks == ()
    assert not certified.needs_exact


def test_a_profile_is_written_if_one_is_wanted(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profiled: list[Path] = []

    @contextmanager
    def leave(folder: Path) -> Iterator[None]:
        yield
        profiled.append(folder)
        raise RuntimeError("a profiler that fails costs no figure")

    monkeypatch.setattr(registry.load(registry.BACKENDS["numpy"]), "profiled", leave)
    for wanted in (None, str(tmp_path / "profiles")):
        worker = Worker(replace(job, profile=wanted))
        worker.first_call()
        worker.profile()
    assert profiled == [tmp_path / "profiles"]
    assert profiled[0].is_dir()


def test_the_worker_of_a_floor(job: Job) -> None:
    floor = replace(
        job,
        execution=Execution(mode="floor"),
        reference=None,
        calibrate=True,
    )
    worker = FloorWorker(floor)
    assert worker.first_call().first_call_steps == 50
    certified = worker.certify()
    assert certified.passed
    assert {piece.piece for piece in certified.pieces} == {*certified.products, "adam", "gather"}
    # What is left of a step where there is nothing to multiply.
    assert 0 < certified.parts["host_seconds"] < 0.01
    assert worker.warm_up().block == job.block
    block = worker.train(job.block)
    assert (block.lead_in_steps, block.steps) == (2, 10)
    # Its batches are those of the cases.
    rows = workload.batch_rows(job.workload.training_images, 16, STEPS, job.seed)
    labels = data.load().training.labels[rows[(worker._step - 1) % STEPS]]
    np.testing.assert_array_equal(worker._floor.labels(), labels)
    # Between one slow core and the largest server.
    assert 1e9 < block.peak_flops < 1e14


def test_a_case_that_names_a_library_must_have_a_choice(job: Job) -> None:
    names = product_names(job.workload.network)
    named = replace(job.execution, products=dict.fromkeys(names, "openblas"))
    with pytest.raises(RuntimeError, match="products=openblas: eager of NumPy computes no product"):
        Worker(replace(job, products="openblas", execution=named))
    Worker(replace(job, execution=named))  # handed on by a case that has one: it does not matter
    floor = replace(job, products="openblas", execution=replace(named, mode="floor"))
    assert FloorWorker(floor).certify().products == named.products


def test_batches_start_over_past_the_end_of_the_training(job: Job) -> None:
    worker = Worker(job)
    worker.first_call()
    worker.warm_up()
    assert [worker.train(job.block).steps for _ in range(4)] == [10] * 4


class Counting(Eager):
    """A trainer that counts the steps of each call, and takes half a millisecond for each."""

    seconds_a_step = 0.0005
    calls: ClassVar[list[int]] = []

    def train(self, rows: Array) -> None:
        self.calls.append(len(rows))
        sleep(self.seconds_a_step * len(rows))
        super().train(rows[:1])


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    trainers: dict[str, type[Trainer]] = {"eager": Counting}
    monkeypatch.setattr(registry.load(registry.BACKENDS["numpy"]), "TRAINERS", trainers)
    Counting.calls.clear()
    return Counting


def test_a_case_that_is_too_slow_for_its_blocks_gets_shorter_ones(
    job: Job, counting: type[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.worker.clock.BLOCK_SECONDS", 0.01)
    monkeypatch.setattr(counting, "seconds_a_step", 0.002)
    worker = Worker(replace(job, calibrate=True))
    worker.first_call()
    block = worker.warm_up().block
    assert 1 <= block.steps <= 5
    assert worker.train(block).steps == block.timed
    # A length set in an earlier launch stays.
    again = Worker(job)
    again.first_call()
    assert again.warm_up().block == job.block


def test_a_slowed_case_trains_more_than_it_counts(job: Job, counting: type[Counting]) -> None:
    worker = Worker(job)
    worker.first_call()
    worker.warm_up()
    assert worker.train(job.block, slowed_by=0.2).steps == 10
    assert counting.calls[-2:] == [2, 12]


def test_warm_up_lasts_until_steps_no_longer_get_faster() -> None:
    def is_steady(*seconds: float) -> bool:
        return steady(list(seconds))

    assert not is_steady()
    assert not is_steady(1.0, 1.0, 1.0)
    assert not is_steady(1.0, 0.8, 0.9, 0.9)
    assert is_steady(1.0, 1.1, 0.99, 1.2)
    assert is_steady(1.0, 0.8, 0.81, 0.9, 0.8)


def test_results_on_another_device_are_refused(job: Job) -> None:
    """NumPy stands in for a silent fall-back: told to use the GPU, it computes on the CPU."""
    on_gpu = replace(job, execution=Execution(mode="eager", device="gpu"))
    with pytest.raises(RuntimeError, match="asked for the gpu, but results lie on the cpu"):
        Worker(on_gpu).first_call()


def test_a_case_that_computes_something_else_fails_its_certificate(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(Eager):
        def train(self, rows: Array) -> None:
            super().train(rows[::-1])

    trainers: dict[str, type[Trainer]] = {"eager": Wrong}
    monkeypatch.setattr(registry.load(registry.BACKENDS["numpy"]), "TRAINERS", trainers)
    worker = Worker(job)
    worker.first_call()
    certified = worker.certify()
    assert not certified.passed
    for checks in (certify_exactly(worker, job), certified.checks):
        failure = first_failure(checks)
        assert failure is not None
        assert failure.stage == "loss_10_steps"


def test_a_block_is_timed_to_the_end_of_its_synchronisation() -> None:
    events: list[str] = []

    class Recorder(Timed):
        def train(self, rows: Array) -> None:
            events.append(f"train {len(rows)}")

        def synchronise(self) -> None:
            events.append("synchronise")

    rows = np.zeros((5, 2))
    block = train_block(Recorder(), rows[:2], rows)
    assert events == ["train 2", "synchronise", "train 5", "synchronise"]
    assert (block.lead_in_steps, block.steps) == (2, 5)
    assert 0 <= block.dispatch_seconds <= block.seconds
    assert block.cpu_seconds >= 0
    assert block.lead_in_seconds > 0
    events.clear()
    assert train_block(Recorder(), rows[:0], rows).lead_in_steps == 0
    assert events == ["train 5", "synchronise"]


def test_compilations_within_a_block_are_counted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recompiling(Eager):
        compiled = 0

        def train(self, rows: Array) -> None:
            self.compiled += 2
            super().train(rows)

        def compilations(self) -> int:
            return self.compiled

    trainers: dict[str, type[Trainer]] = {"eager": Recompiling}
    monkeypatch.setattr(registry.load(registry.BACKENDS["numpy"]), "TRAINERS", trainers)
    worker = Worker(job)
    worker.first_call()
    worker.warm_up()
    assert worker.train(job.block).compilations == 4


def test_memory_that_only_the_certificate_needs_is_not_counted() -> None:
    forget_peak_rss()
    before = peak_rss_mib()
    held = np.ones(200 * 2**20 // 8)
    assert peak_rss_mib() > before + 150
    del held
    forget_peak_rss()
    assert peak_rss_mib() < before + 50


def test_a_system_that_keeps_no_peak_there_is_asked_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: "Name:\tpython\nVmRSS:\t1 kB\n")
    assert peak_rss_mib() > 10
