"""A launch: a fresh worker for each case, trained from one seed in rounds of interleaved blocks.

Only one worker computes at a time; the others wait on their pipes. Every row is in the bundle
before the next block starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, process_time
from typing import Protocol

import numpy as np

from benchmarks.bundle.writer import BundleWriter
from benchmarks.machine.disturbance import Monitor, steal_share
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.session.jobs import References, make_job, make_ready, start_worker
from benchmarks.session.member import Member
from benchmarks.session.worker_process import WorkerError, WorkerProcess
from benchmarks.worker.messages import Block, Certified, Ready

READING_STEPS = 50
"""The accuracy is read after every block, but not more often than after this many steps: the blocks
of large networks are shorter than a reading."""
MOST_REPEATED = 4
"""At most one in this many rounds is repeated because it was disturbed."""
ORDER_STREAM = 2
"""Keeps the order of the cases independent of what else is drawn from the seed."""


class Progress(Protocol):
    """Receives the events of a session, for a person to see."""

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
class SharedState:
    """What the launches of a run share, and what one leaves for the next."""

    plan: Plan
    writer: BundleWriter
    progress: Progress
    failures: dict[Case, str] = field(default_factory=dict)
    """Why each failed case failed; it is left out of later launches."""
    block_steps: dict[Case, int] = field(default_factory=dict)
    """Steps in the blocks of each case, as set in its first launch."""
    monitor: Monitor = field(default_factory=Monitor)
    waited_seconds: float = 0.0
    waiting_cpu_seconds: float = 0.0
    """CPU time of this process while it waited for blocks: it is taken from what is measured."""
    out_of_time: bool = False
    """Whether the time limit has left out launches or rounds."""


class Launch:
    """One launch; `start`, then `measure`, and `end` in every case."""

    def __init__(self, number: int, state: SharedState) -> None:
        self.number, self.plan, self.state = number, state.plan, state
        seed = self.plan.seed + number
        state.progress.launch(number, seed)
        self._generator = np.random.default_rng([seed, ORDER_STREAM])
        self._rows = state.writer.rows(launch=number, seed=seed)
        self._workers: dict[Case, WorkerProcess] = {}
        self._members: list[Member] = []

    def start(self, references: References, scratch: Path) -> None:
        """Start the workers of all cases that have not failed, one after the other."""
        cases = (*self.plan.cases, *self.plan.floors)
        for case in [cases[index] for index in self._generator.permutation(len(cases))]:
            if case not in self.state.failures:
                self._start(case, references, scratch)

    def _start(self, case: Case, references: References, scratch: Path) -> None:
        """Start the worker of a case and wait until it is ready."""
        self.state.progress.starting(case)
        block_steps = self.state.block_steps
        job = make_job(self.plan, case, self.number, references, block_steps.get(case))
        worker = self._workers[case] = start_worker(self.plan, case, scratch)
        with self._failing_alone(case):
            ready, certified, warmup = make_ready(worker, job)
            block_steps[case] = warmup.block_steps
            rows = replace(self._rows, columns=self._rows.columns | case.identity())
            member = Member(
                case=case, worker=worker, rows=rows, ready=ready, certified=certified, warmup=warmup
            )
            member.write_certificate()
            self._members.append(member)
            self.state.progress.ready(case, ready, certified)

    def measure(self, deadline: float) -> None:
        """Run rounds until the training ends or `deadline` comes, then repeat disturbed ones.

        `deadline` is a time of `time.monotonic`; at least one round is run.
        """
        plan = self.plan
        read_every = max(1, READING_STEPS // plan.block_steps)
        longest_round = 0.0
        disturbed = 0
        self._each_that_trains(Member.read)
        for number in range(plan.rounds):
            began = monotonic()
            if number and began + longest_round > deadline:
                self.state.out_of_time = True
                break
            self._read_due_batches()
            disturbed += self._round(number)
            if (number + 1) % read_every == 0:
                self._each_that_trains(Member.read)
            longest_round = max(longest_round, monotonic() - began)
        self._read_due_batches()
        self._each_that_trains(Member.finish)
        # Repeated once the training has its final figures, and only so many.
        for extra in range(min(disturbed, -(-plan.rounds // MOST_REPEATED))):
            if monotonic() + longest_round > deadline:
                break
            self._round(plan.rounds + extra)

    def end(self) -> None:
        """End all workers, and write the launch of each case that was interrupted."""
        try:
            for member in self._members:
                if member.trains and not member.finished:
                    member.write_launch()
        finally:
            for worker in self._workers.values():
                worker.end()

    def _round(self, number: int) -> bool:
        """Train one block of every case, in random order; True if the round was disturbed."""
        monitor = self.state.monitor
        before = monitor.last
        order = self._generator.permutation(len(self._members))
        for position, member in enumerate([self._members[index] for index in order]):
            with self._failing_alone(member.case):
                self._block(member, number, position)
        after = monitor.observe()
        disturbed = monitor.disturbed(before, after)
        self._rows.append(
            "rounds",
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

    def _block(self, member: Member, round_number: int, position: int) -> None:
        """Train the next block of a case, and write its sample."""
        began, cpu_began = monotonic(), process_time()
        block = member.train_block()
        self.state.waited_seconds += monotonic() - began
        self.state.waiting_cpu_seconds += process_time() - cpu_began
        batch_size = self.plan.workload.batch_size
        member.rows.append(
            "samples", block, round=round_number, position=position, batch_size=batch_size
        )
        self.state.progress.block(member.case, round_number, block)

    def _read_due_batches(self) -> None:
        self._each_that_trains(lambda member: member.read_due_batches(self.plan.reading_steps))

    def _each_that_trains(self, action: Callable[[Member], None]) -> None:
        """Do something with every member but the floors."""
        for member in [member for member in self._members if member.trains]:
            with self._failing_alone(member.case):
                action(member)

    @contextmanager
    def _failing_alone(self, case: Case) -> Iterator[None]:
        """Where the case's worker fails, note why and keep its output; the others continue."""
        try:
            yield
        except WorkerError as error:
            self._members = [member for member in self._members if member.case != case]
            worker = self._workers.pop(case)
            worker.end()
            reason = self.state.failures[case] = str(error)
            self.state.writer.keep_output(case.name, worker.output())
            self.state.writer.append(
                "outcomes", **case.identity(), status="failed", launch=self.number, reason=reason
            )
            self.state.progress.failed(case, reason)
