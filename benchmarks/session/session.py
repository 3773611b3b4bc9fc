"""The session: launches of fresh workers, and in each of them rounds of interleaved blocks.

Only one worker computes at a time; the others wait on their pipes. Every row is in the bundle
before the next block starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, process_time
from typing import Any, Protocol

import numpy as np

from backends.registry import FLOOR
from benchmarks.bundle.writer import BundleWriter
from benchmarks.machine.disturbance import Monitor, steal_share
from benchmarks.plan import data
from benchmarks.plan.plan import Case, Plan
from benchmarks.session.jobs import References, make_job, make_references, start_worker
from benchmarks.session.worker_process import WorkerError, WorkerProcess
from benchmarks.worker.messages import (
    ENERGY_SECONDS,
    BatchReading,
    Block,
    Certified,
    Final,
    FloorJob,
    Job,
    Reading,
    Ready,
    WarmUp,
)

READING_STEPS = 50
"""The accuracy is read after every block, but not oftener than after so many steps: the blocks of
large networks are shorter than a reading."""
CLOSING_SECONDS = 8.0
"""Kept of a time limit, for the last readings and the report."""

MOST_REDONE = 4
"""At most one in so many rounds is made up for."""
START_TIMEOUT_SECONDS = 300.0
"""For each part of a worker's start: build and first call, certificate, warm-up."""

ORDER_STREAM = 2


class Progress(Protocol):
    """What a session tells while it runs."""

    def launch(self, number: int, seed: int) -> None:
        """A launch begins."""

    def starting(self, case: Case) -> None:
        """A case's worker is being started."""

    def ready(self, case: Case, ready: Ready, certified: Certified) -> None:
        """A case is ready to be timed."""

    def block(self, case: Case, round_number: int, block: Block) -> None:
        """A block was timed."""

    def failed(self, case: Case, reason: str) -> None:
        """A case has failed."""


@dataclass(kw_only=True)
class Member:
    """A case within a launch: its worker, and how far it has come."""

    case: Case
    worker: WorkerProcess
    ready: Ready
    certified: Certified
    warmup: WarmUp
    steps: int = 0
    train_seconds: float = 0.0
    last_reading: Reading | None = None
    batch_readings: int = 0
    """How many of the plan's have been taken."""


@dataclass(kw_only=True)
class Session:
    """Runs a plan and writes what it finds."""

    plan: Plan
    training: data.Split
    """What the certificates' batches are taken from."""
    writer: BundleWriter
    progress: Progress
    environment: dict[str, Any]
    started: float
    """When the time limit began to run, by `time.monotonic`."""
    start_timeout_seconds: float = START_TIMEOUT_SECONDS
    answer_timeout_seconds: float = 120.0
    settled: Callable[[], bool] = bool
    """Whether every verdict that can be decided is; asked between launches."""
    failures: dict[Case, str] = field(default_factory=dict)
    finished_launches: int = 0
    out_of_time: bool = False
    _startup_seconds: float = 0.0
    _launch_seconds: float = 0.0
    _block_steps: dict[Case, int] = field(default_factory=dict)
    """As found in the first launch of a case; the same in all."""
    _monitor: Monitor = field(default_factory=Monitor)
    _waited_seconds: float = 0.0
    _own_cpu_seconds: float = 0.0
    """Of this process, while it waited for blocks: what measuring takes from what is measured."""

    def run(self) -> None:
        """All launches; a case that has failed in one is left out of the next."""
        began = monotonic()
        references = make_references(self.plan, self.training)
        self.environment["run"]["reference_seconds"] = monotonic() - began
        for case, reason in self.plan.skipped.items():
            self._outcome(case, "skipped", "", reason)
        with tempfile.TemporaryDirectory(prefix="workers-") as scratch:
            for launch in count():
                if all(case in self.failures for case in self.plan.cases):
                    return
                if launch >= self.plan.launches and self._enough():
                    return
                if launch and monotonic() + self._needed_seconds(launch) > self._end():
                    self.out_of_time = launch < self.plan.launches
                    return
                self._launch(launch, references, Path(scratch))
                self.finished_launches += 1
                # A run that is killed later can be analysed as far as it came.
                self.environment["run"]["finished_launches"] = self.finished_launches
                if self._waited_seconds:
                    share = self._own_cpu_seconds / self._waited_seconds
                    self.environment["run"]["session_cpu_share"] = share
                self.writer.write_environment(self.environment)

    def _enough(self) -> bool:
        """Whether no launch beyond the planned ones is wanted."""
        return self.out_of_time or not self.plan.until_settled or self.settled()

    def _needed_seconds(self, launch: int) -> float:
        """What the next launch must have: its start-up; all of it, where it is one more."""
        return self._startup_seconds if launch < self.plan.launches else self._launch_seconds

    def _outcome(self, case: Case, status: str, launch: int | str, reason: str) -> None:
        self.writer.append(
            "outcomes", **case.identity(), status=status, launch=launch, reason=reason
        )

    def _fail(self, case: Case, launch: int, error: WorkerError, worker: WorkerProcess) -> None:
        """Mark a case as failed, and keep what its worker printed."""
        worker.end()
        self.writer.keep_output(case.name, worker.output())
        self.failures[case] = str(error)
        self._outcome(case, "failed", launch, str(error))
        self.progress.failed(case, str(error))

    def _end(self) -> float:
        """When all measuring must have ended."""
        return self.started + self.plan.time_limit_seconds - CLOSING_SECONDS

    def _rounds_deadline(self, launch: int) -> float:
        """When the rounds of a launch must end.

        What is left of the time, less the start-up of the launches still to come and what comes
        after the rounds, is shared evenly among them and this one.
        """
        later = max(self.plan.launches - launch - 1, 0)
        left = self._end() - monotonic() - later * self._startup_seconds
        return monotonic() + left / (later + 1) - self._energy_seconds()

    def _energy_seconds(self) -> float:
        """What a launch takes for the energy of its cases."""
        on_gpu = self.plan.cases[0].device == "gpu"
        return ENERGY_SECONDS * len(self.plan.cases) if on_gpu else 0.0

    def _launch(self, launch: int, references: References, scratch: Path) -> None:
        plan, seed = self.plan, self.plan.seed + launch
        self.progress.launch(launch, seed)
        generator = np.random.default_rng([seed, ORDER_STREAM])
        members: list[Member] = []
        began = monotonic()
        try:
            cases = (*plan.cases, *plan.floors)
            for case in [cases[index] for index in generator.permutation(len(cases))]:
                if case not in self.failures:
                    member = self._start(launch, seed, case, references, scratch)
                    members += [member] if member else []
            self._startup_seconds = monotonic() - began
            self._rounds(launch, seed, members, generator)
            self._launch_seconds = monotonic() - began
        finally:
            for member in members:
                member.worker.end()

    def _start(
        self,
        launch: int,
        seed: int,
        case: Case,
        references: References,
        scratch: Path,
    ) -> Member | None:
        """Start a worker and wait until it is ready; None where it fails."""
        self.progress.starting(case)
        job = make_job(self.plan, case, launch, references, self._block_steps.get(case))
        worker = start_worker(self.plan, case, scratch)
        try:
            ready, certified, warmup = make_ready(worker, job, self.start_timeout_seconds)
        except WorkerError as error:
            self._fail(case, launch, error, worker)
            return None
        except BaseException:
            worker.end()
            raise
        self._block_steps[case] = warmup.block_steps
        self._keep(launch, seed, case, certified)
        self.progress.ready(case, ready, certified)
        return Member(case=case, worker=worker, ready=ready, certified=certified, warmup=warmup)

    def _keep(self, launch: int, seed: int, case: Case, certified: Certified) -> None:
        """Write a case's certificate and its entries in the ledger."""
        for check in certified.checks:
            self.writer.append(
                "certificates",
                launch=launch,
                seed=seed,
                **case.identity(),
                level=check.level,
                stage=check.stage,
                parameter=check.parameter,
                relative_error=check.error,
                bound=check.bound,
                passed=check.passed,
                not_read=check.not_read,
            )
        for part, found in certified.parts.items():
            self.writer.append(
                "parts", launch=launch, seed=seed, **case.identity(), part=part, value=found
            )
        for entry, value in (certified.ledger | certified.versions).items():
            self.writer.append(
                "ledger", launch=launch, seed=seed, **case.identity(), entry=entry, value=value
            )

    def _rounds(
        self, launch: int, seed: int, members: list[Member], generator: np.random.Generator
    ) -> None:
        """Rounds until the training ends or the launch's share of the time is spent."""
        plan = self.plan
        read_every = max(1, READING_STEPS // plan.block_steps)
        deadline = self._rounds_deadline(launch)
        longest_round = 0.0
        disturbed = 0
        self._read_all(launch, seed, members)
        for round_number in range(plan.rounds):
            began = monotonic()
            if round_number and began + longest_round > deadline:
                self.out_of_time = True
                break
            self._read_batches(launch, seed, members)
            disturbed += self._round(launch, seed, members, generator, round_number)
            if (round_number + 1) % read_every == 0:
                self._read_all(launch, seed, members)
            longest_round = max(longest_round, monotonic() - began)
        self._read_batches(launch, seed, members)
        for member in trained(members):
            self._attempt(launch, members, member, self._finish, launch, seed)
        # Made up for once the training has its final figures; not without end.
        for extra in range(min(disturbed, -(-plan.rounds // MOST_REDONE))):
            if monotonic() + longest_round > deadline:
                break
            self._round(launch, seed, members, generator, plan.rounds + extra)

    def _round(
        self,
        launch: int,
        seed: int,
        members: list[Member],
        generator: np.random.Generator,
        number: int,
    ) -> bool:
        """One block of every case, in random order; whether it was disturbed from outside."""
        before = self._monitor.last
        order = generator.permutation(len(members))
        for position, member in enumerate([members[index] for index in order]):
            self._attempt(launch, members, member, self._block, launch, seed, number, position)
        after = self._monitor.read()
        disturbed = self._monitor.disturbed(before, after)
        self.writer.append(
            "rounds",
            launch=launch,
            seed=seed,
            round=number,
            probe_ms=max(before.probe_ms, after.probe_ms),
            load_average=after.load_average,
            cpu_mhz=after.cpu_mhz,
            steal_share=steal_share(before, after),
            gpu_mhz=after.gpu.mhz,
            gpu_celsius=after.gpu.celsius,
            gpu_throttled=before.gpu.throttled or after.gpu.throttled,
            disturbed=disturbed,
        )
        return disturbed

    def _attempt(
        self,
        launch: int,
        members: list[Member],
        member: Member,
        action: Callable[..., None],
        *arguments: Any,
    ) -> None:
        """Do something with one member; where its worker fails, the others go on without it."""
        try:
            action(member, *arguments)
        except WorkerError as error:
            members.remove(member)
            self._fail(member.case, launch, error, member.worker)

    def _block(
        self, member: Member, launch: int, seed: int, round_number: int, position: int
    ) -> None:
        expected = member.warmup.last.seconds
        began, own = monotonic(), process_time()
        block: Block = member.worker.ask("train", self.answer_timeout_seconds + 20 * expected)
        self._waited_seconds += monotonic() - began
        self._own_cpu_seconds += process_time() - own
        member.steps += block.steps
        member.train_seconds += block.seconds
        self.writer.append(
            "samples",
            launch=launch,
            seed=seed,
            round=round_number,
            position=position,
            **member.case.identity(),
            batch_size=self.plan.workload.batch_size,
            steps=block.steps,
            seconds=block.seconds,
            dispatch_seconds=block.dispatch_seconds,
            cpu_seconds=block.cpu_seconds,
            compilations=block.compilations,
        )
        self.progress.block(member.case, round_number, block)

    def _read_all(self, launch: int, seed: int, members: list[Member]) -> None:
        for member in trained(members):
            self._attempt(launch, members, member, self._read, launch, seed)

    def _read(self, member: Member, launch: int, seed: int) -> None:
        reading: Reading = member.worker.ask("read", self.answer_timeout_seconds)
        member.last_reading = reading
        self.writer.append(
            "accuracy",
            launch=launch,
            seed=seed,
            **member.case.identity(),
            step=reading.step,
            train_seconds=member.train_seconds,
            train_loss=reading.train_loss,
            validation_loss=reading.validation_loss,
            validation_accuracy=reading.validation_accuracy,
        )

    def _read_batches(self, launch: int, seed: int, members: list[Member]) -> None:
        for member in trained(members):
            self._attempt(launch, members, member, self._read_due_batches, launch, seed)

    def _read_due_batches(self, member: Member, launch: int, seed: int) -> None:
        """The batch readings that come before the end of the next block, which starts after them.

        What has to be trained for that is not timed.
        """
        for steps in self.plan.reading_steps[member.batch_readings :]:
            if steps >= member.steps + member.warmup.block_steps:
                return
            reading: BatchReading = member.worker.ask("read_batch", self.answer_timeout_seconds)
            member.batch_readings += 1
            member.steps = reading.updates
            self.writer.append(
                "readings",
                launch=launch,
                seed=seed,
                **member.case.identity(),
                # As a loop counts that trains on batch i and prints then.
                step=reading.updates - 1,
                updates=reading.updates,
                images=reading.images,
                loss=reading.loss,
                accuracy=reading.accuracy,
            )

    def _finish(self, member: Member, launch: int, seed: int) -> None:
        """Train what is left after the last whole block, untimed, and take the final figures."""
        member.steps = member.worker.ask("train_rest", self.answer_timeout_seconds)
        if member.last_reading is None or member.last_reading.step != member.steps:
            self._read(member, launch, seed)
        final: Final = member.worker.ask("finish", self.answer_timeout_seconds)
        ready, reading = member.ready, member.last_reading
        assert reading is not None
        self.writer.append(
            "launches",
            launch=launch,
            seed=seed,
            **member.case.identity(),
            import_seconds=ready.import_seconds,
            build_seconds=ready.build_seconds,
            first_call_seconds=ready.first_call_seconds,
            first_call_steps=ready.first_call_steps,
            certificate_seconds=member.certified.seconds,
            warmup_steps=member.warmup.steps,
            warmup_seconds=member.warmup.seconds,
            warmup_steady=member.warmup.steady,
            block_steps=member.warmup.block_steps,
            steps=member.steps,
            train_seconds=member.train_seconds,
            validation_accuracy=reading.validation_accuracy,
            test_accuracy=final.test_accuracy,
            test_loss=final.test_loss,
            peak_rss_mib=final.peak_rss_mib,
            peak_device_mib=final.peak_device_mib,
            energy_mj_per_step=final.energy_mj_per_step,
        )


def trained(members: list[Member]) -> list[Member]:
    """Those that train: all but the floors."""
    return [member for member in members if member.case.mode != FLOOR]


def make_ready(
    worker: WorkerProcess, job: Job | FloorJob, timeout: float
) -> tuple[Ready, Certified, WarmUp]:
    """All that comes before a worker's first timed block; `timeout` is for each part of it."""
    return worker.ask(job, timeout), worker.ask("certify", timeout), worker.ask("warm_up", timeout)


def certify_cases(
    plan: Plan, training: data.Split
) -> Iterator[tuple[Case, tuple[Certified, Block] | str]]:
    """A session without rounds: each case's certificate and one block, or why there are none."""
    references = make_references(plan, training)
    with tempfile.TemporaryDirectory(prefix="workers-") as scratch:
        for case in plan.cases:
            worker = start_worker(plan, case, Path(scratch))
            try:
                job = make_job(plan, case, 0, references)
                _, certified, warmup = make_ready(worker, job, START_TIMEOUT_SECONDS)
                yield case, (certified, warmup.last)
            except WorkerError as error:
                yield case, f"{error}\n{worker.output()}".strip()
            finally:
                worker.end()
