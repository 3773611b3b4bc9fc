"""A launch: a fresh worker for each case, trained from one seed in rounds of interleaved blocks.

All set out from one state in the middle of a training, so that no case's time depends on how far it
has come; what is learned is measured apart, in the first launch, by each framework's fastest case.

Only one worker computes at a time: the others wait on their pipes, and a block starts when none of
their threads runs any more. Every row is in the bundle before the next block starts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from time import monotonic, process_time
from typing import Protocol

import numpy as np

from backends.contract import Array
from benchmarks.bundle.writer import BundleWriter
from benchmarks.machine.disturbance import Monitor, other_share, steal_share
from benchmarks.plan.blocks import BlockLength
from benchmarks.plan.cases import Case
from benchmarks.plan.data import Split
from benchmarks.plan.plan import Plan
from benchmarks.plan.workload import batch_rows
from benchmarks.session.jobs import (
    Horizons,
    Kind,
    Products,
    References,
    kind_of,
    make_job,
    make_ready,
    start_worker,
    workload_of,
)
from benchmarks.session.member import Member
from benchmarks.session.quiet import wait_until_quiet
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
    """Receives the events of a session, for a person to see.

    A launch begins; a case's worker is starting, the case is ready, a block was timed, one that was
    checked was not the training, a case learns from a seed, it failed.
    """

    def launch(self, number: int, seed: int) -> None: ...
    def starting(self, case: Case) -> None: ...
    def ready(self, case: Case, ready: Ready, certified: Certified) -> None: ...
    def block(self, case: Case, round_number: int, block: Block) -> None: ...
    def departed(self, case: Case) -> None: ...
    def learning(self, case: Case, seed: int) -> None: ...
    def failed(self, case: Case, reason: str) -> None: ...


@dataclass(kw_only=True)
class SharedState:
    """What the launches of a run share, and what one leaves for the next."""

    plan: Plan
    writer: BundleWriter
    progress: Progress
    training: Split
    """The images and labels from which the certificates' batches are taken."""
    learned: Callable[[], bool] = lambda: True
    """Called between seeds: whether what the frameworks learn is shown to be equal or different."""
    failures: dict[Case, str] = field(default_factory=dict)
    """Why each failed case failed; it is left out of later launches."""
    uncertified: set[Case] = field(default_factory=set)
    """The cases whose certificates have failed, of their program or of a timed block."""
    horizons: Horizons = field(default_factory=dict)
    blocks: dict[Case, BlockLength] = field(default_factory=dict)
    """The length of each case's blocks, as set in its first launch."""
    products: dict[Kind, Products] = field(default_factory=dict)
    """The libraries that the first worker of each kind has chosen for its products."""
    monitor: Monitor = field(default_factory=Monitor)
    waited_seconds: float = 0.0
    waiting_cpu_seconds: float = 0.0
    """CPU time of this process while it waited for blocks; the workers had to do without it."""
    checking_seconds: float | None = None
    """What checking a block of each case took in the last launch."""
    out_of_time: bool = False
    """Whether the time limit has left out launches or rounds."""


class Launch:
    """One launch: `start` it, `measure`, and `end` it whatever happens."""

    def __init__(self, number: int, state: SharedState) -> None:
        self.number, self.plan, self.state = number, state.plan, state
        self.seed = seed = self.plan.seed + number
        state.progress.launch(number, seed)
        self._generator = np.random.default_rng([seed, ORDER_STREAM])
        self._rows = state.writer.rows(launch=number, seed=seed)
        self._workers: dict[Case, WorkerProcess] = {}
        self._members: list[Member] = []

    def start(self, references: References, scratch: Path, end: float) -> None:
        """Start the workers of all cases that have not failed, each when the last one is ready.

        None but the first is started after `end`, a time of `time.monotonic`.
        """
        plan, state = self.plan, self.state
        cases = (*plan.cases, *plan.floors)
        for case in [cases[index] for index in self._generator.permutation(len(cases))]:
            if case in state.failures:
                continue
            if self._members and monotonic() > end:
                state.out_of_time = True
                break
            state.progress.starting(case)
            kind, block = kind_of(case), state.blocks.get(case)
            products = state.products.get(kind)
            job = make_job(plan, case, self.number, references, block, products)
            worker = self._workers[case] = start_worker(plan, case, scratch)
            with self._failing_alone(case):
                ready, certified, warmup = make_ready(worker, job, state.horizons)
                state.blocks[case] = warmup.block
                if certified.products:
                    state.products.setdefault(kind, certified.products)
                rows = replace(self._rows, columns=self._rows.columns | case.identity())
                member = Member(case, worker, rows, ready, certified, warmup, plan.reading_steps)
                member.write_certificate()
                self._members.append(member)
                if certified.checks and not certified.passed:
                    state.uncertified.add(case)
                state.progress.ready(case, ready, certified)

    @property
    def certificate_seconds(self) -> float:
        """How long certificates, ledgers and the parts of a step took."""
        return sum(member.certified.seconds for member in self._members)

    @property
    def first_call_seconds(self) -> float:
        """How long the first calls of all cases took, which compile."""
        return sum(member.ready.first_call_seconds for member in self._members)

    def measure(self, deadline: float) -> None:
        """Run rounds until the training ends or `deadline` comes, then repeat disturbed ones.

        `deadline` is a time of `time.monotonic`; at least one round is run.
        """
        plan = self.plan
        read_every = max(1, READING_STEPS // plan.block.steps)
        longest_round = 0.0
        disturbed = 0
        if plan.readings:
            self._each_that_trains(Member.read)
        else:
            self._set_out()
        self.state.monitor.watch(plan.cpus, [pid for one in self._members for pid in one.pids])
        for number in range(plan.rounds):
            began = monotonic()
            if number and began + longest_round > deadline:
                self.state.out_of_time = True
                break
            self._each_that_trains(Member.read_due_batches)
            disturbed += self._round(number)
            # Where learning is measured apart, one reading shows that all have trained alike.
            reads = (number + 1) % read_every == 0 if plan.readings else number == 0
            if reads:
                self._each_that_trains(Member.read)
            longest_round = max(longest_round, monotonic() - began)
        self._each_that_trains(Member.read_due_batches)
        if plan.readings:
            self._each_that_trains(Member.end_training)
        self._each_that_trains(Member.finish)
        self._check_blocks()
        # Only now, when the training has its final figures, and a limited number of them.
        for extra in range(min(disturbed, -(-plan.rounds // MOST_REPEATED))):
            if monotonic() + longest_round > deadline:
                break
            self._round(plan.rounds + extra)
        if plan.profile and self.number == 0:
            self._each_that_trains(Member.profile)

    def _set_out(self) -> None:
        """Set every case to the state in the middle of a training: see Plan.middle.

        It is that of a case whose program is certified: of those that keep denormal numbers, if any
        do, since they would otherwise be timed without those that they make themselves; of these
        the fastest.
        """
        step, state = self.plan.middle, None
        guides = [member for member in self._members if member.trains and not member.case.batch]
        guides.sort(key=lambda member: (member.case in self.state.uncertified, member.flushes,
            member.warmup.step_seconds))  # fmt: skip
        for member in guides:
            with self._failing_alone(member.case):
                state = member.train_to(step)
                break
        if state is not None:
            reached = state
            self._each_that_trains(lambda member: member.start_from(reached, step))

    def learn(self, deadline: float, end: float) -> None:
        """Train whole seeds with each framework's fastest case, until it is shown what they learn.

        No more than the least number are begun that would end after `deadline`, and none but the
        first that would end after `end`: times of `time.monotonic`.
        """
        plan, longest = self.plan, 0.0
        learners = self._learners() if plan.learning_seeds else []
        for number in count() if learners else ():
            began = monotonic()
            enough = number >= plan.learning_seeds
            if enough and (began + longest > deadline or self.state.learned()):
                return
            if number and began + longest > end:
                self.state.out_of_time = True
                return
            seed = plan.seed + number
            for index in self._generator.permutation(len(learners)):
                if (member := learners[index]) in self._members:
                    self.state.progress.learning(member.case, seed)
                    with self._failing_alone(member.case):
                        member.learn(seed, plan.workload.steps)
            longest = max(longest, monotonic() - began)

    def _learners(self) -> list[Member]:
        """Of each framework and form of Adam the fastest certified case.

        Where the plan asks for it, the fastest of those that train in other bits as well.
        """
        able = [m for m in self._members if m.compares and m.case not in self.state.uncertified]
        able.sort(key=lambda member: member.step_seconds)
        chosen: dict[tuple[str, str], list[Member]] = {}
        for member in able:
            of_kind = chosen.setdefault((member.case.backend, member.case.adam), [])
            others = all(member.end_states != one.end_states for one in of_kind)
            if len(of_kind) < 1 + self.plan.other_bits and others:
                of_kind.append(member)
        return [member for members in chosen.values() for member in members]

    def _check_blocks(self) -> None:
        """Check a timed block of every case that trains."""
        began, work = monotonic(), self.plan.workload
        rows_of: dict[int, Array] = {}
        passed: list[Member] = []

        def check(member: Member) -> None:
            size = workload_of(self.plan, member.case).batch_size
            if size not in rows_of:
                rows_of[size] = batch_rows(work.training_images, size, work.steps, self.seed)
            rows = rows_of[size]
            if member.check_block(self.state.training, rows, passed):
                passed.append(member)
            else:
                self.state.uncertified.add(member.case)
                self.state.progress.departed(member.case)

        self._each_that_trains(check)
        self.state.checking_seconds = monotonic() - began

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
        others = [pid for one in self._members if one is not member for pid in one.pids]
        quiet = wait_until_quiet(others)
        began, cpu_began = monotonic(), process_time()
        block = member.train_block()
        self.state.waited_seconds += monotonic() - began
        self.state.waiting_cpu_seconds += process_time() - cpu_began
        row = {"round": round_number, "position": position}
        size = workload_of(self.plan, member.case).batch_size
        member.rows.append("samples", block, quiet, **row, batch_size=size)
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
