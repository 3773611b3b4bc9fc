"""Disturbed rounds are recognised from the machine alone, not from the times of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.machine.disturbance import (
    FEWEST_OBSERVATIONS,
    MachineState,
    Monitor,
    steal_share,
)
from benchmarks.machine.nvml import GpuState

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
