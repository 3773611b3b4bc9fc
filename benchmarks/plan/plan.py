"""The plan: which cases run, on what, for how long. It is made once, before anything starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.errors import UsageError
from benchmarks.machine import nvml
from benchmarks.machine.settings import available_cpus, best_cpus, default_threads
from benchmarks.plan.blocks import STEPS_PER_CALL, BlockLength, block_length
from benchmarks.plan.cases import Case
from benchmarks.plan.presets import BatchReadings
from benchmarks.plan.seats import LAUNCHER, Hosts, Seat, seats_here
from benchmarks.plan.workload import Workload
from benchmarks.schema import ACCURACY_MARGIN_POINTS

MIDDLE_STEP = 1000
"""Speed is measured from this step of a training on, or from the middle of a shorter one: by then
moments are as large as they get, and numbers that are denormal have become so."""
START_SECONDS = 3.0
"""What it takes at the least to start and certify a case whose framework takes long to import."""

WORKER_BYTES = 0.7 * 2**30
"""About what a worker keeps in memory on the workload's images: its framework, and the training set
once or twice. PyTorch's `eager` keeps 0.6 GiB to itself."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run is going to do."""

    name: str
    workload: Workload
    cases: tuple[Case, ...]
    skipped: dict[Case, str]
    """Cases that cannot run here, and why."""
    floors: tuple[Case, ...] = ()
    """The floors that cases are compared with, of whatever backends can run here."""
    floors_skipped: dict[Case, str] = field(default_factory=dict)
    """Floors that cannot run here although their framework is installed, and why."""
    launches: int
    """The least number of launches."""
    seed: int
    threads: int
    named_cpus: tuple[int, ...] = ()
    """The CPUs that the user has named, at least as many as threads; empty for the best ones."""
    time_limit_seconds: float
    profile: Path | None = None
    """The folder for traces by each framework's own profiler; None for no traces."""
    until_settled: bool = False
    """Whether more launches follow while a verdict is open and there is time."""
    readings: BatchReadings | None = None
    """Where there are any, each case trains in rounds from the first step to the last, and is read;
    else speed and learning are measured apart."""
    learning_seeds: int = 0
    """The least number of whole trainings of each framework's fastest case; of as many seeds."""
    other_bits: bool = False
    """Whether the fastest of its cases that train in other bits is trained as well."""
    accuracy_margin: float = ACCURACY_MARGIN_POINTS
    """Test accuracies that differ by less than this many percentage points are equivalent."""
    versions: dict[str, str] = field(default_factory=dict)
    """The versions of packages where all cases of a backend have a Python of their own."""
    releases: tuple[str, ...] = ()
    """The variants that are releases of one framework, in the order of their comparison."""

    hosts: Hosts = field(default_factory=Hosts)
    """Where the ranks of groups run, besides the first of each."""

    @property
    def cpus(self) -> tuple[int, ...]:
        """The CPUs that workers are bound to; empty where processes cannot be bound."""
        most = max((case.ranks for case in self.cases), default=1)
        return self._cpus(self.threads * (1 if self.hosts.names else most))

    def cpus_of(self, case: Case) -> tuple[int, ...]:
        """The CPUs that a case's worker is bound to: the run's, unless it has its own threads.

        Of a group it is the first rank's.
        """
        return self._cpus(case.overrides.threads or self.threads)

    def seats_of(self, case: Case) -> tuple[Seat, ...]:
        """Where the ranks of a group run besides the first, each on CPUs or a GPU of its own."""
        if self.hosts.names:
            return tuple(self.hosts.seat(rank) for rank in range(1, case.ranks))
        threads = case.overrides.threads or self.threads
        return seats_here(self._cpus(threads * case.ranks), case.ranks, threads, case.device)

    def _cpus(self, threads: int) -> tuple[int, ...]:
        return self.named_cpus[:threads] or best_cpus(threads)

    @property
    def middle(self) -> int:
        """The step of the training from which on speed is measured; 0 for its beginning."""
        return 0 if self.readings else min(MIDDLE_STEP, self.workload.steps // 2)

    @property
    def reading_steps(self) -> tuple[int, ...]:
        """The numbers of updates after which batch readings are taken."""
        if self.readings is None:
            return ()
        return tuple(range(1, self.workload.steps + 1, self.readings.every))

    @property
    def _stretches(self) -> list[int]:
        """The steps before the first batch reading, between two of them, and after the last."""
        ends = (0, *self.reading_steps, self.workload.steps)
        return [end - start for start, end in pairwise(ends)]

    @property
    def longest_call(self) -> int:
        """The most steps that one call of a case trains."""
        many_steps = any(case.many_steps for case in (*self.cases, *self.floors))
        return STEPS_PER_CALL if many_steps else 1

    @property
    def block(self) -> BlockLength:
        """The steps of a block."""
        workload = self.workload
        return block_length(
            steps=workload.steps,
            stretch=max(self._stretches),
            step_flops=workload.network.step_flops(workload.batch_size),
            device=self.cases[0].device,
            call=self.longest_call,
        )

    @property
    def notes(self) -> list[str]:
        """What a user should know of the plan before it starts, a sentence each."""
        notes, steps = [], self.workload.steps
        if self.workload.shuffled:
            notes.append(
                "the training images are sorted by class: they are shuffled, always in the same "
                "way, before a twelfth of them is held out for validation"
            )
        if not self.block.lead_in:
            notes.append(
                "a block has no lead-in, since it has few steps: what starting it takes is in the "
                f"step time{', and a launch has a single round' if self.rounds == 1 else ''}"
            )
        elif self.rounds == 1:
            notes.append(f"{steps} steps are one block: a launch has a single round")
        notes += [f"{case.name} cannot run: {why}" for case, why in self.floors_skipped.items()]
        if self.launches == 1 and not self.until_settled:
            notes.append("one launch gives no intervals, and no verdict but undecided")
        workers, launches = len(self.cases) + len(self.floors), min(self.launches, 2)
        if self.time_limit_seconds < START_SECONDS * workers * launches:
            count = f"{workers} worker{'s' if workers > 1 else ''}"
            twice = " twice, as intervals need" if launches > 1 else ""
            notes.append(
                f"the time limit of {self.time_limit_seconds:g} s is short for the start of "
                f"{count}{twice}; one launch with one round is made however long it takes"
            )
        return notes

    def memory_problem(self, *, in_turn: bool = False) -> str:
        """Why the training cannot fit into this machine's memory; empty where it may.

        `in_turn` is for workers of which there is one at a time. The reference alone has weights,
        gradients and both moments in float64; the rows of all batches are drawn beforehand.
        """
        workload = self.workload
        needed = 32 * workload.network.parameter_count + 4 * workload.steps * workload.batch_size
        present = psutil.virtual_memory().total
        ranks = [case.ranks for case in (*self.cases, *self.floors)]
        workers = max(ranks) if in_turn else sum(ranks)
        if self.cases[0].device == "cpu" and workers > (fitting := present // WORKER_BYTES):
            return (
                f"{workers} cases and floors live side by side, and the {present / 2**30:,.0f} GiB "
                f"of this machine hold about {fitting:.0f}: name fewer, as by --backends or --modes"
            )
        if needed <= present:
            return ""
        return (
            f"{workload.network.parameter_count:,} parameters and {workload.steps:,} steps of "
            f"{workload.batch_size} images need {needed / 2**30:,.0f} GiB of memory, and this "
            f"machine has {present / 2**30:,.0f}: choose smaller --hidden or fewer --steps"
        )

    @property
    def rounds(self) -> int:
        """Rounds in a launch that runs to its end: whole blocks between batch readings."""
        return sum(steps // self.block.steps for steps in self._stretches)


def choose_processors(
    threads: int | None, named: list[int] | None, ranks: int = 1
) -> tuple[int, tuple[int, ...]]:
    """The threads of each worker, and the CPUs named for them; UsageError where they are too few.

    `named` are the CPUs of --cpus, `threads` the value of --threads. Where groups of so many
    `ranks` run here, each rank has CPUs of its own, as many as a case of one process.
    """
    cpus = tuple(dict.fromkeys(named or ()))
    threads = threads or max((len(cpus) or default_threads()) // ranks, 1)
    if threads * ranks > (most := len(cpus) or available_cpus()) and ranks > 1:
        each = f"{threads} thread{'s' if threads > 1 else ''}"
        raise UsageError(
            f"--ranks {ranks}: ranks of {each} each need {threads * ranks} CPUs, and {most} may "
            "be used"
        )
    if cpus and threads > len(cpus):
        raise UsageError(f"--threads {threads}: --cpus names only {len(cpus)}")
    if threads > available_cpus():
        raise UsageError(f"--threads {threads}: only {available_cpus()} CPUs may be used here")
    return threads, cpus


def choose_hosts(
    names: Sequence[str], launcher: str, ranks: Sequence[int], weak: bool, cases: Sequence[Case]
) -> Hosts:
    """The machines that the groups of ranks among the cases run on.

    The arguments are the values of the options of those names. Raises UsageError where one says
    nothing without another, or where ranks would have no machine or GPU.
    """
    hosts = Hosts(names=tuple(names), launcher=launcher)
    groups = [case for case in cases if case.ranks > 1]
    if ranks and not groups:
        raise UsageError("--ranks: none of these modes trains in a group; `run_all.py list` shows")
    for option, given in (("--weak", weak), ("--hosts", names)):
        if given and not ranks:
            raise UsageError(f"{option}: is of groups of ranks; say of how many, as in --ranks 2")
    if launcher != LAUNCHER and not names:
        raise UsageError("--rank-launcher: starts ranks on other machines; name them by --hosts")
    most = max((case.ranks for case in groups), default=1)
    if names:
        hosts.check(most)
    elif groups and groups[0].device == "gpu" and (gpus := nvml.count()) and most > gpus:
        raise UsageError(f"--ranks {most}: each rank has a GPU of its own, and there are {gpus}")
    return hosts
