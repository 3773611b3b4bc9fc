"""The GPU that the workers compute on, as NVIDIA's management library (NVML) shows it.

NVML numbers the GPUs by their place on the PCI bus and ignores CUDA_VISIBLE_DEVICES. CUDA numbers
them in the same way in workers, which are started with CUDA_DEVICE_ORDER=PCI_BUS_ID.
"""

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

try:
    import pynvml
except ImportError:  # of use on a GPU only
    pynvml = None

THROTTLED = 0x08 | 0x20 | 0x40 | 0x80
"""NVML's reasons for lower clocks that count: hardware slow-down, heat (noticed by software or by
hardware) and the power brake."""


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """The GPU at one moment; NaN and False where there is none."""

    mhz: float = float("nan")
    celsius: float = float("nan")
    throttled: bool = False
    """Slowed down by heat, or by its hardware's protection."""


@dataclass(frozen=True, kw_only=True)
class GpuLimits:
    """What the GPU can do at its greatest clocks, by its own figures; nothing is measured."""

    gflops: float
    """Of float32 outside tensor cores: a multiplication and an addition a core and clock."""
    gb_per_s: float
    """From and to its memory, which moves two bits a line of its bus and clock."""


def visible() -> Any:
    """NVML's handle of the first GPU that CUDA_VISIBLE_DEVICES allows, the one that frameworks use.

    None where there is no GPU, or NVML cannot tell which it is (a part of a GPU, by MIG).
    """
    if pynvml is None:
        return None
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        if first.isdecimal():
            return pynvml.nvmlDeviceGetHandleByIndex(int(first))
        if first.startswith("GPU-"):
            # CUDA takes the beginning of a UUID too.
            for index in range(pynvml.nvmlDeviceGetCount()):
                gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
                if pynvml.nvmlDeviceGetUUID(gpu).startswith(first):
                    return gpu
    return None


def count() -> int | None:
    """How many GPUs frameworks see; None where NVML does not tell."""
    if pynvml is None:
        return None
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return len(list(filter(None, os.environ["CUDA_VISIBLE_DEVICES"].split(","))))
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    return None


def name() -> str | None:
    """What the GPU is called, and the version of its driver; None where there is none."""
    gpu = visible()
    if gpu is not None:
        with suppress(pynvml.NVMLError):
            driver = pynvml.nvmlSystemGetDriverVersion()
            return f"{pynvml.nvmlDeviceGetName(gpu)}, driver {driver}"
    return None


def state() -> GpuState:
    """The GPU now."""
    gpu, told = visible(), GpuState()
    if gpu is None:
        return told
    # Each alone: what is no GPU's of its own may refuse one of them.
    with suppress(pynvml.NVMLError, AttributeError):
        told = replace(told, mhz=float(pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)))
    with suppress(pynvml.NVMLError, AttributeError):
        celsius = pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
        told = replace(told, celsius=float(celsius))
    with suppress(pynvml.NVMLError, AttributeError):
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
        told = replace(told, throttled=bool(reasons & THROTTLED))
    return told


def limits() -> GpuLimits | None:
    """The limits of the GPU; None where there is none, or it does not tell."""
    gpu = visible()
    # An older binding may lack a function.
    with suppress(AttributeError, *([pynvml.NVMLError] if pynvml else [])):
        if gpu is not None:
            cores = pynvml.nvmlDeviceGetNumGpuCores(gpu)
            lines = pynvml.nvmlDeviceGetMemoryBusWidth(gpu)
            core_mhz = pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_SM)
            memory_mhz = pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_MEM)
            return GpuLimits(
                gflops=2 * cores * core_mhz / 1e3, gb_per_s=2 * lines / 8 * memory_mhz / 1e3
            )
    return None


def processes() -> int | None:
    """How many processes compute on the GPU or hold memory there, ours included.

    They are only counted, since in a container their ids are those of another system.
    """
    gpu = visible()
    with suppress(AttributeError, *([pynvml.NVMLError] if pynvml else [])):
        if gpu is not None:
            return len(pynvml.nvmlDeviceGetComputeRunningProcesses(gpu))
    return None


def energy_counter() -> Callable[[], float] | None:
    """A function that reads the millijoules that the GPU has used since its driver was loaded.

    None where the GPU does not count them. The function returns NaN once the GPU is lost.
    """
    gpu = visible()
    if gpu is None:
        return None

    def read() -> float:
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu))
        except pynvml.NVMLError:
            return float("nan")

    return None if math.isnan(read()) else read
