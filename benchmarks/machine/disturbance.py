"""Evidence of what else the machine is doing: a small fixed task timed beside every round.

It is timed while no case computes. A round is disturbed if the fixed task ran much slower
beside it than it usually does in the run, if the machine's host took much processor time away
during it, or if the GPU was throttled. A disturbed round is kept in samples.csv, excluded from the
estimates, and repeated. This rule does not depend on how fast any case was, so it favours none.
"""

from dataclasses import dataclass
from statistics import median
from time import perf_counter, sleep

import numpy as np
import psutil

from benchmarks.machine import nvml

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
FEWEST_OBSERVATIONS = 6
"""With fewer observations than this there is nothing to compare with."""


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
    gpu: nvml.GpuState


class Monitor:
    """Observes the machine between rounds, and tells which rounds were disturbed.

    The observation after a round also serves as the one before the next.
    """

    def __init__(self) -> None:
        self._numbers = np.random.default_rng(0).random(SIZE)
        self._workload_ms: list[float] = []
        self._time_workload()
        self.last = self.observe()

    def _time_workload(self) -> float:
        """Milliseconds for sorting the same numbers a few times."""
        sleep(PAUSE_SECONDS)
        start = perf_counter()
        for _ in range(REPETITIONS):
            np.sort(self._numbers)
        return 1000 * (perf_counter() - start)

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
            gpu=nvml.state(),
        )
        return self.last

    def disturbed(self, before: MachineState, after: MachineState) -> bool:
        """Whether other load on the machine disturbed the round between two observations."""
        if len(self._workload_ms) < FEWEST_OBSERVATIONS:
            return False
        slower = max(before.probe_ms, after.probe_ms) > SLOWER * median(self._workload_ms)
        throttled = before.gpu.throttled or after.gpu.throttled
        return slower or throttled or steal_share(before, after) > STEAL


def steal_share(before: MachineState, after: MachineState) -> float:
    """The share of the processors' time that the host gave to others between two observations."""
    passed = after.cpu_seconds - before.cpu_seconds
    return (after.steal_seconds - before.steal_seconds) / passed if passed > 0 else 0.0
