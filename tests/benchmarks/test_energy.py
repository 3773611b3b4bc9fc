"""Energy is measured from tick to tick of a counter that ticks only a few times a second."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.contract import Execution
from benchmarks.machine import nvml
from benchmarks.worker import energy
from benchmarks.worker.messages import Block, Job
from benchmarks.worker.worker import Worker
from tests.benchmarks.test_nvml import FakeNvml
from tests.benchmarks.test_worker import job

__all__ = ["job"]

STEPS = 40


class Machine:
    """A stand-in for a GPU with a known clock and counter: a step takes 1 ms and 7 mJ."""

    def __init__(self, tick: float) -> None:
        self.tick, self.seconds = tick, 0.0

    def clock(self) -> float:
        return self.seconds

    def block(self) -> Block:
        self.seconds += 0.001 * STEPS
        return Block(steps=STEPS, seconds=0.04, dispatch_seconds=0.04, cpu_seconds=0.04)

    def read(self) -> float:
        """The energy when the counter last ticked; it started in the middle of a tick."""
        at_tick = math.floor((self.seconds + self.tick / 2) / self.tick) * self.tick
        return 5000 + 7 * 1000 * at_tick


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], float]:
    def measure(machine: Machine) -> float:
        monkeypatch.setattr(energy, "perf_counter", machine.clock)
        return energy.per_step(machine.block, machine.read)

    return measure


@pytest.mark.parametrize("tick", [0.02, 0.1, 0.37])
def test_energy_from_tick_to_tick(measured: Callable[[Machine], float], tick: float) -> None:
    """The result is off by at most a block on either side: 40 ms of 1 s or more."""
    assert measured(Machine(tick)) == pytest.approx(7.0, rel=0.06)


def test_a_counter_that_seldom_ticks_is_waited_for(measured: Callable[[Machine], float]) -> None:
    machine = Machine(3.0)
    assert measured(machine) == pytest.approx(7.0, rel=0.06)
    assert 4.5 < machine.seconds < 5


def test_a_counter_that_does_not_tick_gives_nan(measured: Callable[[Machine], float]) -> None:
    machine = Machine(1e9)
    assert math.isnan(measured(machine))
    assert energy.MOST_SECONDS <= machine.seconds < energy.MOST_SECONDS + 0.1


def test_a_gpu_that_is_lost_meanwhile_gives_nan() -> None:
    readings = itertools.chain([10.0, 20.0], itertools.repeat(float("nan")))
    assert math.isnan(energy.per_step(Machine(0.1).block, lambda: next(readings)))


def test_a_worker_measures_energy_on_a_gpu_only(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy stands in for a GPU's framework; energy is read in additional training at the end."""
    monkeypatch.setattr(energy, "ENERGY_SECONDS", 0.02)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    worker = Worker(job)
    assert math.isnan(worker.first_call().peak_device_mib)
    for device, positive in (("cpu", False), ("gpu", True)):
        monkeypatch.setattr(nvml, "pynvml", FakeNvml(energies=itertools.count(1000, 30)))
        worker._job = replace(job, execution=Execution(mode="eager", device=device))
        before = worker.read()
        final = worker.finish()
        assert (final.energy_mj_per_step > 0) == positive
        assert positive or math.isnan(final.energy_mj_per_step)
        assert (worker.read() == before) != positive
