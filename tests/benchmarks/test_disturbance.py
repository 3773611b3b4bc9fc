"""Disturbed rounds are recognised from the machine alone, not from the times of cases."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from benchmarks.machine import disturbance, processor
from benchmarks.machine.disturbance import (
    FEWEST_OBSERVATIONS,
    OTHER_SECONDS,
    MachineState,
    Monitor,
    Usage,
    other_load,
    other_share,
    steal_share,
    usage,
)
from benchmarks.machine.nvml import GpuState
from benchmarks.schema import OTHER_SHARE

CALM = MachineState(
    probe_ms=10.0,
    load_average=1.0,
    cpu_mhz=3000.0,
    cpu_seconds=100.0,
    steal_seconds=0.0,
    gpu=GpuState(),
)
LATER = replace(CALM, cpu_seconds=102.0)


@pytest.fixture
def monitor() -> Monitor:
    """A monitor that has observed a calm machine."""
    calm = Monitor()
    calm._workload_ms = [10.0] * FEWEST_OBSERVATIONS
    return calm


def test_this_machine_can_be_observed() -> None:
    monitor = Monitor()
    first, second = monitor.observe(), monitor.observe()
    assert 0 < first.probe_ms < 10_000
    assert second.cpu_seconds >= first.cpu_seconds > 0
    assert 0 <= steal_share(first, second) <= 1


def test_a_calm_round_is_not_disturbed(monitor: Monitor) -> None:
    assert not monitor.disturbed(CALM, LATER)
    assert not monitor.disturbed(replace(CALM, probe_ms=14.0), LATER)


def test_a_round_beside_which_the_fixed_task_was_slow_is_disturbed(monitor: Monitor) -> None:
    assert monitor.disturbed(replace(CALM, probe_ms=16.0), LATER)
    assert monitor.disturbed(CALM, replace(LATER, probe_ms=16.0))


def test_a_round_during_which_the_host_took_time_away_is_disturbed(monitor: Monitor) -> None:
    assert monitor.disturbed(CALM, replace(LATER, steal_seconds=0.2))
    assert not monitor.disturbed(CALM, replace(LATER, steal_seconds=0.05))


def test_a_machine_that_is_slow_throughout_is_not_disturbed(monitor: Monitor) -> None:
    monitor._workload_ms = [16.0] * FEWEST_OBSERVATIONS
    assert not monitor.disturbed(replace(CALM, probe_ms=16.0), replace(LATER, probe_ms=16.0))


def test_the_first_rounds_have_nothing_to_be_compared_with() -> None:
    assert not Monitor().disturbed(CALM, replace(LATER, probe_ms=1000.0))


@pytest.mark.parametrize("throttled", [False, True])
def test_a_round_with_a_throttled_gpu_is_disturbed(monitor: Monitor, throttled: bool) -> None:
    assert monitor.disturbed(replace(CALM, gpu=GpuState(throttled=throttled)), LATER) == throttled


BEFORE = Usage(passed=100.0, busy=50.0, by_process={1: 20.0, 2: 5.0})


@pytest.mark.parametrize(
    ("busy", "by_process", "expected"),
    [
        (53.0, {1: 21.0, 2: 6.0}, 0.25),
        # What this program has used is not others', and ticks may say that it used more.
        (52.0, {1: 21.0, 2: 6.0}, 0.0),
        (51.0, {1: 21.0, 2: 6.0}, 0.0),
        # A worker that ended during the round has taken with it what it used.
        (53.0, {1: 21.0}, math.nan),
        (math.nan, {1: 21.0, 2: 6.0}, math.nan),
    ],
)
def test_the_share_of_others(busy: float, by_process: dict[int, float], expected: float) -> None:
    after = Usage(passed=104.0, busy=busy, by_process=by_process)
    assert other_share(BEFORE, after) == pytest.approx(expected, nan_ok=True)
    assert math.isnan(other_share(BEFORE, BEFORE))


@pytest.mark.parametrize(
    ("seconds", "others", "expected"), [(4, 1.0, True), (4, 0.1, False), (0.2, 0.08, False)]
)
def test_a_round_in_which_others_computed_is_disturbed(
    monkeypatch: pytest.MonkeyPatch, seconds: float, others: float, expected: bool
) -> None:
    """Unless it is so short that a few ticks of the system's clocks are a large share."""
    monkeypatch.setattr(disturbance, "OTHER_SECONDS", OTHER_SECONDS)
    before = replace(CALM, usage=Usage(passed=100.0, busy=50.0))
    after = replace(LATER, usage=Usage(passed=100.0 + seconds, busy=50.0 + others))
    # The first round, too: there is nothing to compare.
    assert Monitor().disturbed(before, after) == expected


@pytest.fixture
def spinning() -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps one CPU busy, the first that may be used."""
    cpus = f"os.sched_setaffinity(0, [{processor.allowed_cpus()[0]}])"
    process = subprocess.Popen([sys.executable, "-c", f"import os; {cpus}\nwhile True: pass"])
    time.sleep(0.2)
    yield process
    process.kill()
    process.wait()


def test_a_busy_process_is_seen_unless_it_is_a_worker(spinning: subprocess.Popen[bytes]) -> None:
    cpu, pid = processor.allowed_cpus()[0], spinning.pid

    def shares(seconds: float) -> tuple[float, float]:
        before, mine = usage([cpu], []), usage([cpu], [pid])
        time.sleep(seconds)
        after = usage([cpu], [])
        return other_share(before, after), other_share(mine, usage([cpu], [pid]))

    others, without = shares(1.0)
    # What else this machine does may run on that CPU too.
    assert others > 0.9
    assert without < 0.7
    assert set(usage([cpu], [pid]).by_process) == {os.getpid(), pid}
    spinning.kill()
    spinning.wait()
    assert set(usage([cpu], [pid]).by_process) == {os.getpid()}


def test_the_monitor_counts_the_workers_that_it_is_told_of(
    spinning: subprocess.Popen[bytes],
) -> None:
    monitor = Monitor()
    assert set(monitor.last.usage.by_process) == {os.getpid()}
    monitor.watch(processor.allowed_cpus()[:1], [spinning.pid])
    before, began = monitor.last, time.perf_counter()
    assert set(before.usage.by_process) == {os.getpid(), spinning.pid}
    time.sleep(0.3)
    passed = monitor.observe().usage.passed - before.usage.passed
    # The time of one CPU.
    assert passed == pytest.approx(time.perf_counter() - began, rel=0.3)


@pytest.mark.usefixtures("spinning")
def test_the_busiest_of_other_processes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many others there are while this is tested."""
    monkeypatch.setattr(disturbance, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(disturbance, "MOST_NAMED", 100)
    share, names = other_load(processor.allowed_cpus()[:1])
    assert share > max(0.8, OTHER_SHARE)
    assert any(name.startswith("python") for name in names)


def test_cpus_are_told_apart_by_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of psutil leaves out those that are offline."""
    times = psutil.cpu_times(percpu=True)
    three = [type(times[0])(**dict.fromkeys(times[0]._fields, k)) for k in (1.0, 2.0, 4.0)]
    monkeypatch.setattr(psutil, "cpu_times", lambda **_: three)
    monkeypatch.setattr(processor, "online", lambda: [0, 2, 5])
    both, one = usage([2, 5], []).passed, usage([2], []).passed
    assert both == 3 * one > 0
    assert usage([], []).passed == 3.5 * one
    assert math.isnan(usage([1], []).passed)
    monkeypatch.setattr(processor, "online", lambda: [0, 1])
    assert math.isnan(usage([0], []).passed)
