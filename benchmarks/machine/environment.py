"""The machine and the software of a run, as the fields of environment.json."""

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

import cpuinfo
import psutil

from backends.registry import BACKENDS
from benchmarks.machine import nvml, process, processor, repository
from benchmarks.machine.settings import ROOT, available_cpus, framework_variables

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


def _output(*command: str) -> str:
    """The output of a command; empty where the command is missing or fails."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def package_versions() -> dict[str, str]:
    """The versions of the packages that matter, read from their metadata without importing them."""
    versions = {}
    distributions = [name for backend in BACKENDS.values() for name in backend.distributions]
    for package in dict.fromkeys((*distributions, "scipy", "pandas")):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that the driver shows: name, memory and driver version."""
    query = "--query-gpu=name,memory.total,driver_version"
    return tuple(_output("nvidia-smi", query, "--format=csv,noheader").splitlines())


@cache
def processor_text() -> str:
    """The processor, told apart from others of its name."""
    cpu = cpuinfo.get_cpu_info()
    keys = "brand_raw", "family", "model", "stepping", "flags"
    return " ".join(str(cpu.get(key, "")) for key in keys)


def describe_machine() -> dict[str, Any]:
    """The fields of the record Machine."""
    cpu = cpuinfo.get_cpu_info()
    flags, cpus = set(cpu.get("flags", [])), processor.allowed_cpus()
    limits = nvml.limits()
    shared_out = {
        "cores": processor.cores(cpus),
        "numa_nodes": processor.node_count(cpus),
        "cpu_quota": processor.quota(),
        "governor": processor.governor(cpus),
        "boost": processor.boost(),
        "on_battery": _on_battery(),
        "virtualisation": processor.virtualisation(flags),
        "huge_pages": processor.huge_pages(),
        "c_library": process.libraries(),
        "gpu_gflops": limits and limits.gflops,
        "gpu_gb_per_s": limits and limits.gb_per_s,
        "gpu_processes": nvml.processes(),
    }
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": cpu.get("brand_raw", "unknown"),
        "instructions": tuple(name for name in INSTRUCTIONS if name in flags),
        "cpus_available": available_cpus(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": psutil.getloadavg(),
        "gpus": gpus(),
        **{name: value for name, value in shared_out.items() if value is not None},
    }


def _on_battery() -> bool | None:
    """Whether the machine runs on its battery; None where that is not known."""
    try:
        battery = getattr(psutil, "sensors_battery", lambda: None)()
    except (OSError, RuntimeError):
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def describe() -> dict[str, Any]:
    """The fields of the record Environment that can be read before a run starts."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "python_state": process.python_state(),
        "variables": framework_variables(),
        "git_commit": repository.commit(),
        "git_modified": repository.modified(),
    }
