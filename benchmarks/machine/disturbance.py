"""Evidence of what else the machine is doing: a small fixed workload timed beside every round.

It is timed while no case computes. A round beside which it ran much slower than it usually does in
the run, or in which the machine's host took much processor time away, is disturbed: it is kept in
samples.csv, left out of the estimates, and made up for. Nothing in this rule knows how fast any
case was, so it cannot favour one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter, sleep

import numpy as np
import psutil

from benchmarks.machine import nvml
from benchmarks.machine.nvml import GpuState

SIZE = 60_000
REPETITIONS = 20
PAUSE_SECONDS = 0.05
"""Before a reading: the threads of the worker that has just answered spin for a while. Without it,
and with products of matrices on all processors, every third reading was 1.5 times the median; with
it, and with sorting on one, none of 44 was."""
SLOWER = 1.5
"""A round is disturbed where the fixed workload took so many times its median of the run,"""
STEAL = 0.05
"""or where the host took so large a share of the processors' time."""
FEWEST_READINGS = 6
"""Before so many readings there is nothing to compare with."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The machine at one moment."""

    probe_ms: float
    load_average: float
    cpu_mhz: float
    """NaN where the system does not show it."""
    cpu_seconds: float
    """The processors' time since the machine started, idle or not."""
    steal_seconds: float
    """The part of it that its host gave to others; 0 where it does not show."""
    gpu: GpuState


class Monitor:
    """Takes readings, and tells the rounds that were disturbed.

    The reading after a round serves as the one before the next.
    """

    def __init__(self) -> None:
        self._numbers = np.random.default_rng(0).random(SIZE)
        self._probes: list[float] = []
        self._probe()
        self.last = self.read()

    def _probe(self) -> float:
        """Milliseconds for sorting the same numbers a few times."""
        sleep(PAUSE_SECONDS)
        start = perf_counter()
        for _ in range(REPETITIONS):
            np.sort(self._numbers)
        return 1000 * (perf_counter() - start)

    def read(self) -> Reading:
        """The machine now, which stays as `last`; takes some 60 ms."""
        probe = self._probe()
        self._probes.append(probe)
        times = psutil.cpu_times()
        frequency = psutil.cpu_freq()
        self.last = Reading(
            probe_ms=probe,
            load_average=psutil.getloadavg()[0],
            cpu_mhz=frequency.current if frequency else float("nan"),
            cpu_seconds=sum(times),
            steal_seconds=getattr(times, "steal", 0.0),
            gpu=nvml.state(),
        )
        return self.last

    def disturbed(self, before: Reading, after: Reading) -> bool:
        """Whether something from outside disturbed the round between two readings."""
        if len(self._probes) < FEWEST_READINGS:
            return False
        slower = max(before.probe_ms, after.probe_ms) > SLOWER * median(self._probes)
        throttled = before.gpu.throttled or after.gpu.throttled
        return slower or throttled or steal_share(before, after) > STEAL


def steal_share(before: Reading, after: Reading) -> float:
    """The share of the processors' time that the host gave to others between two readings."""
    passed = after.cpu_seconds - before.cpu_seconds
    return (after.steal_seconds - before.steal_seconds) / passed if passed > 0 else 0.0
