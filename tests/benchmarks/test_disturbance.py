"""Rounds that something from outside disturbs are told by the machine alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.machine import disturbance as drift
from benchmarks.machine.disturbance import Monitor, Reading
from benchmarks.machine.nvml import GpuState

CALM = Reading(
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
    """One that has seen a calm machine."""
    found = Monitor()
    found._probes = [10.0] * drift.FEWEST_READINGS
    return found


def test_a_reading_is_taken_of_this_machine() -> None:
    monitor = Monitor()
    first, second = monitor.read(), monitor.read()
    assert 0 < first.probe_ms < 10_000
    assert second.cpu_seconds >= first.cpu_seconds > 0
    assert 0 <= drift.steal_share(first, second) <= 1


def test_a_calm_round_is_not_disturbed(monitor: Monitor) -> None:
    assert not monitor.disturbed(CALM, LATER)
    assert not monitor.disturbed(replace(CALM, probe_ms=14.0), LATER)


def test_a_round_beside_which_the_fixed_workload_was_slow_is_disturbed(monitor: Monitor) -> None:
    assert monitor.disturbed(replace(CALM, probe_ms=16.0), LATER)
    assert monitor.disturbed(CALM, replace(LATER, probe_ms=16.0))


def test_a_round_in_which_the_host_took_time_is_disturbed(monitor: Monitor) -> None:
    assert monitor.disturbed(CALM, replace(LATER, steal_seconds=0.2))
    assert not monitor.disturbed(CALM, replace(LATER, steal_seconds=0.05))


def test_a_machine_that_is_slow_throughout_is_not_disturbed(monitor: Monitor) -> None:
    monitor._probes = [16.0] * drift.FEWEST_READINGS
    assert not monitor.disturbed(replace(CALM, probe_ms=16.0), replace(LATER, probe_ms=16.0))


def test_at_first_there_is_nothing_to_compare_with() -> None:
    assert not Monitor().disturbed(CALM, replace(LATER, probe_ms=1000.0))


@pytest.mark.parametrize("throttled", [False, True])
def test_a_gpu_that_is_throttled_disturbs(monitor: Monitor, throttled: bool) -> None:
    assert monitor.disturbed(replace(CALM, gpu=GpuState(throttled=throttled)), LATER) == throttled
