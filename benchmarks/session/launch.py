"""A launch: a fresh worker for each case, trained from one seed in rounds of interleaved blocks.

Only one worker computes at a time: the others wait on their pipes, and a block starts when none of
their threads runs any more. Every row is in the bundle before the next block starts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic, process_time
from typing import Protocol

import numpy as np

from backends.ladder import FLOOR
from benchmarks.bundle.writer import BundleWriter, Rows
from benchmarks.machine.disturbance import Monitor, other_share, steal_share
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.cases import Case
from benchmarks.plan.plan import Plan
from benchmarks.schema import OVERRIDES
from benchmarks.session.jobs import (
    Kind,
    Products,
    References,
    kind_of,
    make_job,
    make_ready,
    start_worker,
)
from benchmarks.session.quiet import wait_until_quiet
from benchmarks.session.worker_process import WorkerError, WorkerProcess
from benchmarks.worker import messages
from benchmarks.worker.messages import Block, Certified, Final, Reading, Ready, WarmUp

READING_STEPS = 50
"""The accuracy is read after every block, but not more often than after this many steps: the blocks
of large networks are shorter than a reading."""
MOST_REPEATED = 4
"""At most one in this many rounds is repeated because it was disturbed."""
ORDER_STREAM = 2
"""Keeps the order of the cases independent of what else is drawn from the seed."""
ANSWER_TIMEOUT_SECONDS = 120.0
"""Time limit of each answer after the start; that of a block is longer by 20 times what the warm-up
lets expect."""


class Progress(Protocol):
    """Receives the events of a session, for a person to see.

    A launch begins; a case's worker is starting, the case is ready, a block was timed, it failed.
    """

    def launch(self, number: int, seed: int) -> None: ...
    def starting(self, case: Case) -> None: ...
    def ready(self, case: Case, ready: Ready, certified: Certified) -> None: ...
    def block(self, case: Case, round_number: int, block: Block) -> None: ...
    def failed(self, case: Case, reason: str) -> None: ...


@dataclass(kw_only=True)
class SharedState:
    """What the launches of a run share, and what one leaves for the next."""

    plan: Plan
    writer: BundleWriter
    progress: Progress
    failures: dict[Case, str] = field(default_factory=dict)
    """Why each failed case failed; it is left out of later launches."""
    blocks: dict[Case, BlockLength] = field(default_factory=dict)
    """The length of each case's blocks, as set in its first launch."""
    products: dict[Kind, Products] = field(default_factory=dict)
    """The libraries that the first worker of each kind has chosen for its products."""
    monitor: Monitor = field(default_factory=Monitor)
    waited_seconds: float = 0.0
    waiting_cpu_seconds: float = 0.0
    """CPU time of this process while it waited for blocks; the workers had to do without it."""
    out_of_time: bool = False
    """Whether the time limit has left out launches or rounds."""


@dataclass
class Member:
    """A case whose worker is ready to be timed. What asks the worker raises WorkerError."""

    case: Case
    worker: WorkerProcess
    rows: Rows
    """Appends rows of this case in this launch."""
    ready: Ready
    certified: Certified
    warmup: WarmUp
    reading_steps: tuple[int, ...]
    """See Plan.reading_steps."""
    steps: int = 0
    train_seconds: float = 0.0
    """The time of these steps, those of lead-ins at the step time of their blocks."""
    last_reading: Reading | None = None
    batch_readings: int = 0
    """How many of the plan's batch readings have been taken."""
    finished: bool = False
    """Whether the row of the launch is written."""

    @property
    def trains(self) -> bool:
        """Whether this is a case that trains; a floor does not."""
        return self.case.mode != FLOOR

    def write_certificate(self) -> None:
        """Write the checks of the certificate, the parts or pieces of a step, and the ledger."""
        for check in self.certified.checks:
            row = asdict(check)
            row["relative_error"] = row.pop("error")
            self.rows.append("certificates", **row, passed=check.passed)
        for piece in self.certified.pieces:
            self.rows.append("pieces", piece)
        for part, value in self.certified.parts.items():
            self.rows.append("parts", part=part, value=value)
        overrides = {OVERRIDES: self.case.differs_in}
        entries = self.certified.ledger | self.certified.versions | overrides
        for entry, text in entries.items():
            self.rows.append("ledger", entry=entry, value=text)

    def train_block(self) -> Block:
        """Train the next block; the caller writes its sample."""
        warmup = self.warmup
        expected = warmup.block.steps * warmup.last.seconds / warmup.last.steps
        request = messages.TrainBlock(warmup.block, self.case.slowed_by)
        block = self.worker.ask(request, ANSWER_TIMEOUT_SECONDS + 20 * expected)
        steps = block.lead_in_steps + block.steps
        self.steps += steps
        self.train_seconds += steps * block.seconds / block.steps
        return block

    def read(self) -> None:
        """Read losses and accuracies, and write them."""
        self.last_reading = self.worker.ask(messages.TakeReading(), ANSWER_TIMEOUT_SECONDS)
        self.rows.append("accuracy", self.last_reading, train_seconds=self.train_seconds)

    def read_due_batches(self) -> None:
        """Take the batch readings due before the end of the next block, which starts after them.

        The steps trained to get there are not timed.
        """
        for steps in self.reading_steps[self.batch_readings :]:
            if steps >= self.steps + self.warmup.block.steps:
                return
            reading = self.worker.ask(messages.TakeBatchReading(), ANSWER_TIMEOUT_SECONDS)
            self.batch_readings += 1
            self.steps = reading.updates
            # A loop that trains on batch i and prints then has made i + 1 updates.
            self.rows.append("readings", reading, step=reading.updates - 1)

    def finish(self) -> None:
        """Train the steps after the last whole block, untimed, and take the final figures."""
        self.steps = self.worker.ask(messages.TrainRest(), ANSWER_TIMEOUT_SECONDS)
        if self.last_reading is None or self.last_reading.step != self.steps:
            self.read()
        self.write_launch(self.worker.ask(messages.Finish(), ANSWER_TIMEOUT_SECONDS))

    def write_launch(self, final: Final | None = None) -> None:
        """Write the row of the launch.

        Without `final`, which an interrupted launch lacks, peak memory is that of the first call,
        and the other final figures are empty.
        """
        self.finished = True
        self.rows.append(
            "launches",
            self.ready,
            *([final] if final else []),
            certificate_seconds=self.certified.seconds,
            warmup_steps=self.warmup.steps,
            warmup_seconds=self.warmup.seconds,
            warmup_steady=self.warmup.steady,
            block_steps=self.warmup.block.timed,
            lead_in_steps=self.warmup.block.lead_in,
            steps=self.steps,
            train_seconds=self.train_seconds,
            validation_accuracy=self.last_reading and self.last_reading.validation_accuracy,
        )


class Launch:
    """One launch: `start` it, `measure`, and `end` it whatever happens."""

    def __init__(self, number: int, state: SharedState) -> None:
        self.number, self.plan, self.state = number, state.plan, state
        seed = self.plan.seed + number
        state.progress.launch(number, seed)
        self._generator = np.random.default_rng([seed, ORDER_STREAM])
        self._rows = state.writer.rows(launch=number, seed=seed)
        self._workers: dict[Case, WorkerProcess] = {}
        self._members: list[Member] = []

    def start(self, references: References, scratch: Path) -> None:
        """Start the workers of all cases that have not failed, each when the last one is ready."""
        plan, state = self.plan, self.state
        cases = (*plan.cases, *plan.floors)
        for case in [cases[index] for index in self._generator.permutation(len(cases))]:
            if case in state.failures:
                continue
            state.progress.starting(case)
            kind, block = kind_of(case), state.blocks.get(case)
            products = state.products.get(kind)
            job = make_job(plan, case, self.number, references, block, products)
            worker = self._workers[case] = start_worker(plan, case, scratch)
            with self._failing_alone(case):
                ready, certified, warmup = make_ready(worker, job)
                state.blocks[case] = warmup.block
                if certified.products:
                    state.products.setdefault(kind, certified.products)
                rows = replace(self._rows, columns=self._rows.columns | case.identity())
                member = Member(case, worker, rows, ready, certified, warmup, plan.reading_steps)
                member.write_certificate()
                self._members.append(member)
                state.progress.ready(case, ready, certified)

    def measure(self, deadline: float) -> None:
        """Run rounds until the training ends or `deadline` comes, then repeat disturbed ones.

        `deadline` is a time of `time.monotonic`; at least one round is run.
        """
        plan = self.plan
        read_every = max(1, READING_STEPS // plan.block.steps)
        longest_round = 0.0
        disturbed = 0
        self._each_that_trains(Member.read)
        workers = [worker.pid for worker in self._workers.values()]
        self.state.monitor.watch(plan.cpus, workers)
        for number in range(plan.rounds):
            began = monotonic()
            if number and began + longest_round > deadline:
                self.state.out_of_time = True
                break
            self._each_that_trains(Member.read_due_batches)
            disturbed += self._round(number)
            if (number + 1) % read_every == 0:
                self._each_that_trains(Member.read)
            longest_round = max(longest_round, monotonic() - began)
        self._each_that_trains(Member.read_due_batches)
        self._each_that_trains(Member.finish)
        # Only now, when the training has its final figures, and a limited number of them.
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
            # All at once, before any of them is waited for.
            for worker in self._workers.values():
                worker.kill()
            for worker in self._workers.values():
                worker.end()

    def _round(self, number: int) -> bool:
        """Train one block of every case, in random order; True if the round was disturbed."""
        monitor = self.state.monitor
        before = monitor.last
        order = self._generator.permutation(len(self._members))
        all_quiet = True
        for position, member in enumerate([self._members[index] for index in order]):
            with self._failing_alone(member.case):
                all_quiet &= self._block(member, number, position)
        after = monitor.observe()
        disturbed = monitor.disturbed(before, after) or not all_quiet
        self._rows.append(
            "rounds",
            round=number,
            probe_ms=max(before.probe_ms, after.probe_ms),
            load_average=after.load_average,
            cpu_mhz=after.cpu_mhz,
            steal_share=steal_share(before, after),
            other_share=other_share(before.usage, after.usage),
            gpu_mhz=after.gpu.mhz,
            gpu_celsius=after.gpu.celsius,
            gpu_throttled=before.gpu.throttled or after.gpu.throttled,
            disturbed=disturbed,
        )
        return disturbed

    def _block(self, member: Member, round_number: int, position: int) -> bool:
        """Train the next block of a case, and write its sample; True if nothing else computed."""
        others = [worker.pid for worker in self._workers.values() if worker is not member.worker]
        quiet = wait_until_quiet(others)
        began, cpu_began = monotonic(), process_time()
        block = member.train_block()
        self.state.waited_seconds += monotonic() - began
        self.state.waiting_cpu_seconds += process_time() - cpu_began
        row = {"round": round_number, "position": position}
        member.rows.append("samples", block, quiet, **row, batch_size=self.plan.workload.batch_size)
        self.state.progress.block(member.case, round_number, block)
        return not quiet.running_threads

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
