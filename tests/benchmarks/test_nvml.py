"""The GPU that the frameworks use is read from NVML, and only what NVML says is reported."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.machine import nvml
from benchmarks.machine.settings import worker_environment


class FakeNvml:
    """An NVML with two GPUs; a handle is its index."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0
    NVMLError = OSError
    UUIDS = ("GPU-11111111-aaaa", "GPU-22222222-bbbb")

    def __init__(self, reasons: int = 0, energies: Iterator[int] | None = None) -> None:
        self.reasons, self.energies = reasons, energies

    NVML_CLOCK_MEM = 2
    processes: tuple[object, ...] = ()

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.1"

    def nvmlDeviceGetName(self, gpu: int) -> str:  # noqa: N802
        return f"NVIDIA {gpu}"

    def nvmlDeviceGetNumGpuCores(self, _: int) -> int:  # noqa: N802
        return 16896

    def nvmlDeviceGetMemoryBusWidth(self, _: int) -> int:  # noqa: N802
        return 5120

    def nvmlDeviceGetMaxClockInfo(self, _: int, clock: int) -> int:  # noqa: N802
        return {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 2619}[clock]

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> tuple[object, ...]:  # noqa: N802
        return self.processes

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index >= len(self.UUIDS):
            raise OSError("Invalid Argument")
        return index

    def nvmlDeviceGetUUID(self, gpu: int) -> str:  # noqa: N802
        return self.UUIDS[gpu]

    def nvmlDeviceGetClockInfo(self, gpu: int, _: int) -> int:  # noqa: N802
        return 1980 + gpu

    def nvmlDeviceGetTemperature(self, gpu: int, _: int) -> int:  # noqa: N802
        return 41 + gpu

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _: int) -> int:  # noqa: N802
        return self.reasons

    def nvmlDeviceGetTotalEnergyConsumption(self, _: int) -> int:  # noqa: N802
        energy = next(self.energies, None) if self.energies else None
        if energy is None:
            raise OSError("Not Supported")
        return energy


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(fake: FakeNvml) -> None:
        monkeypatch.setattr(nvml, "pynvml", fake)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return put


@pytest.mark.parametrize(
    ("reasons", "throttled"),
    # Idle and power-capped are how a GPU is; heat and hardware are what happens to it.
    [(0x1, False), (0x4, False), (0x8, True), (0x20, True), (0x40, True), (0x80, True)],
)
def test_the_state_of_a_gpu(install: Any, reasons: int, throttled: bool) -> None:
    install(FakeNvml(reasons))
    state = nvml.state()
    assert (state.mhz, state.celsius, state.throttled) == (1980.0, 41.0, throttled)


@pytest.mark.parametrize("refused", ["CurrentClocksThrottleReasons", "Temperature", "ClockInfo"])
def test_what_a_part_of_a_gpu_does_not_tell_costs_nothing_else(
    install: Any, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: int) -> None:
        raise OSError("Not Supported")

    monkeypatch.setattr(FakeNvml, f"nvmlDeviceGet{refused}", refuse)
    install(FakeNvml(0x8))
    state = nvml.state()
    told = [not math.isnan(state.mhz), not math.isnan(state.celsius), state.throttled]
    assert sum(told) == 2


@pytest.mark.parametrize(
    ("shown", "gpu"),
    [
        ("0", 0),
        ("1", 1),
        (" 1 ,0", 1),
        ("GPU-22222222-bbbb", 1),
        ("GPU-2222,GPU-1111", 1),
        ("GPU-3333", None),
        ("7", None),
        ("", None),
        ("-1", None),
        ("MIG-11111111-aaaa", None),
    ],
)
def test_it_is_the_first_gpu_that_the_frameworks_see(
    install: Any, monkeypatch: pytest.MonkeyPatch, shown: str, gpu: int | None
) -> None:
    install(FakeNvml())
    assert nvml.visible() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert nvml.visible() == gpu
    assert nvml.state().mhz == 1980 + gpu if gpu is not None else math.isnan(nvml.state().mhz)


def test_workers_number_the_gpus_as_nvml_does(tmp_path: Any) -> None:
    assert worker_environment("gpu", 1, tmp_path)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert worker_environment("gpu", 1, tmp_path).get("CUDA_VISIBLE_DEVICES") == os.environ.get(
        "CUDA_VISIBLE_DEVICES"
    )
    assert worker_environment("cpu", 1, tmp_path)["CUDA_VISIBLE_DEVICES"] == "-1"


def test_the_energy_counter_is_none_where_the_gpu_does_not_count(install: Any) -> None:
    install(FakeNvml())
    assert nvml.energy_counter() is None
    # One reading to see whether there is a counter; it is lost after the third.
    install(FakeNvml(energies=iter([10, 20, 30])))
    read = nvml.energy_counter()
    assert read is not None
    assert [read(), read()] == [20.0, 30.0]
    assert math.isnan(read())


def test_the_limits_of_an_h100_are_those_of_its_data_sheet(install: Any) -> None:
    install(FakeNvml())
    assert nvml.name() == "NVIDIA 0, driver 580.1"
    limits = nvml.limits()
    assert limits is not None
    assert limits.gflops == pytest.approx(66_900, rel=1e-3)
    assert limits.gb_per_s == pytest.approx(3352, rel=1e-3)


def test_processes_on_the_gpu_are_counted(install: Any) -> None:
    fake = FakeNvml()
    install(fake)
    assert nvml.processes() == 0
    fake.processes = (object(), object())
    assert nvml.processes() == 2


def test_what_a_binding_lacks_is_not_known(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install(FakeNvml())
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetNumGpuCores")
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetComputeRunningProcesses")
    assert nvml.limits() is None
    assert nvml.processes() is None


def test_without_nvml_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "pynvml", None)
    assert nvml.visible() is None
    assert nvml.energy_counter() is None
    assert nvml.limits() is None
    assert nvml.processes() is None
    assert not nvml.state().throttled
