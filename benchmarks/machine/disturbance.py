"""Evidence of what else the machine is doing: a small fixed task timed beside every round.

It is timed while no case computes. A round is disturbed if the fixed task ran much slower
beside it than it usually does in the run, if the machine's host or other processes took much
processor time during it, or if the GPU was throttled. A disturbed round is kept in samples.csv,
excluded from the estimates, and repeated. This rule does not depend on how fast any case was, so it
favours none.
"""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import nan
from statistics import median
from time import perf_counter, sleep

import numpy as np
import psutil

from benchmarks.machine import nvml, processor
from benchmarks.schema import OTHER_SHARE

SIZE = 60_000
REPETITIONS = 20
PAUSE_SECONDS = 0.05
"""The pause before the fixed task is timed, while the threads of the worker that has just
answered still spin. Without it, and with matrix products on all processors as the workload, every
third time was 1.5 times the median; with it, and with sorting on one processor, none of 44 was."""
SLOWER = 1.5
"""The time of the fixed task, as a multiple of its median, above which a round is disturbed."""
STEAL = 0.05
"""The share of the processors' time taken by the host above which a round is disturbed."""
OTHER_SECONDS = 0.1
"""The processors' time that others must have taken besides: the system counts it in ticks of 10 ms,
for each processor and each process, which are a large share of a round of a tenth of a second."""
LOOK_SECONDS = 0.5
"""How long the other processes are observed before a run."""
MOST_NAMED = 2
"""The number of other processes that are named."""
FEWEST_OBSERVATIONS = 6
"""With fewer observations than this there is nothing to compare the fixed task's time with."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The time that some CPUs have spent since the machine started, and this program's, in s."""

    passed: float = nan
    """Idle or not; NaN where the system does not show it."""
    busy: float = nan
    by_process: Mapping[int, float] = field(default_factory=dict)
    """CPU time of this process and of the workers that are alive, by process id."""


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """The machine at one moment, with the time of the fixed task and NVML's view of the GPU."""

    probe_ms: float
    load_average: float
    cpu_mhz: float
    """NaN where the system does not show it."""
    cpu_seconds: float
    """The processors' time since the machine started, idle or not."""
    steal_seconds: float
    """The part of it that the host gave to other machines; 0 where the system does not show it."""
    usage: Usage = Usage()
    """That of the CPUs which workers are bound to."""
    gpu: nvml.GpuState


class Monitor:
    """Observes the machine between rounds, and tells which rounds were disturbed.

    The observation after a round also serves as the one before the next.
    """

    def __init__(self) -> None:
        self._numbers = np.random.default_rng(0).random(SIZE)
        self._workload_ms: list[float] = []
        self._cpus: Collection[int] = ()
        self._workers: Collection[int] = ()
        self._time_workload()
        self.last = self.observe()

    def _time_workload(self) -> float:
        """Milliseconds for sorting the same numbers a few times."""
        sleep(PAUSE_SECONDS)
        start = perf_counter()
        for _ in range(REPETITIONS):
            np.sort(self._numbers)
        return 1000 * (perf_counter() - start)

    def watch(self, cpus: Collection[int], workers: Collection[int]) -> None:
        """Observe from now on who uses these CPUs; all, if none is named.

        `workers` are the process ids of this program's workers.
        """
        self._cpus, self._workers = cpus, workers
        self.observe()

    def observe(self) -> MachineState:
        """Return the state of the machine now and keep it as `last`; takes some 60 ms."""
        workload_ms = self._time_workload()
        self._workload_ms.append(workload_ms)
        times = psutil.cpu_times()
        frequency = psutil.cpu_freq()
        self.last = MachineState(
            probe_ms=workload_ms,
            load_average=psutil.getloadavg()[0],
            cpu_mhz=frequency.current if frequency else float("nan"),
            cpu_seconds=sum(times),
            steal_seconds=getattr(times, "steal", 0.0),
            usage=usage(self._cpus, self._workers),
            gpu=nvml.state(),
        )
        return self.last

    def disturbed(self, before: MachineState, after: MachineState) -> bool:
        """Whether other load on the machine disturbed the round between two observations."""
        slower = len(self._workload_ms) >= FEWEST_OBSERVATIONS and max(
            before.probe_ms, after.probe_ms
        ) > SLOWER * median(self._workload_ms)
        throttled = before.gpu.throttled or after.gpu.throttled
        share = other_share(before.usage, after.usage)
        # NaN exceeds nothing.
        others = share > OTHER_SHARE and share * _passed(before.usage, after.usage) > OTHER_SECONDS
        return slower or throttled or others or steal_share(before, after) > STEAL


def steal_share(before: MachineState, after: MachineState) -> float:
    """The share of the processors' time that the host gave to others between two observations."""
    passed = after.cpu_seconds - before.cpu_seconds
    return (after.steal_seconds - before.steal_seconds) / passed if passed > 0 else 0.0


def usage(cpus: Collection[int], workers: Collection[int]) -> Usage:
    """Who has used these CPUs until now; all CPUs, if none is named."""
    times = psutil.cpu_times(percpu=True)
    # The list is that of the CPUs that are online. In a container, the system may not show all.
    online = processor.online() or range(len(times))
    passed = busy = nan
    with suppress(ValueError, KeyError):
        by_number = dict(zip(online, times, strict=True))
        chosen = [by_number[cpu]._asdict() for cpu in cpus or online]
        # The time of virtual machines is in that of their users, too.
        shown = [v for one in chosen for name, v in one.items() if not name.startswith("guest")]
        idle = [one.get(name, 0.0) for one in chosen for name in ("idle", "iowait", "steal")]
        passed, busy = sum(shown), sum(shown) - sum(idle)
    by_process = {}
    for pid in (os.getpid(), *workers):
        # A worker may have ended.
        with suppress(psutil.Error):
            spent = psutil.Process(pid).cpu_times()
            by_process[pid] = spent.user + spent.system
    return Usage(passed=passed, busy=busy, by_process=by_process)


def _passed(before: Usage, after: Usage) -> float:
    return after.passed - before.passed


def other_share(before: Usage, after: Usage) -> float:
    """The share of the CPUs' time that other processes took between two observations.

    NaN where that is not known, as when a worker has ended meanwhile.
    """
    passed = _passed(before, after)
    if not passed > 0 or before.by_process.keys() != after.by_process.keys():
        return nan
    ours = sum(after.by_process.values()) - sum(before.by_process.values())
    return float(np.clip((after.busy - before.busy - ours) / passed, 0, 1))


def other_load(cpus: Collection[int]) -> tuple[float, list[str]]:
    """The share of these CPUs' time that other processes take now, before any worker has started.

    Also the names of the busiest, of which a bundle holds nothing; takes LOOK_SECONDS and more.
    """
    spent_before, before = _spent(), usage(cpus, ())
    sleep(LOOK_SECONDS)
    after = usage(cpus, ())
    spent = {process: s - spent_before.get(process, 0.0) for process, s in _spent().items()}
    busiest = sorted((process for process in spent if spent[process] > 0), key=spent.__getitem__)
    names = [process.info["name"] or "?" for process in reversed(busiest[-MOST_NAMED:])]
    return other_share(before, after), names


def _spent() -> dict[psutil.Process, float]:
    """The CPU time of every other process, as far as the system shows it, in seconds."""
    return {
        process: times.user + times.system
        for process in psutil.process_iter(["name", "cpu_times"])
        if (times := process.info["cpu_times"]) and process.pid != os.getpid()
    }
