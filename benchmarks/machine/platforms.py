"""What this project runs on, in one table; what it does not run on is refused by name."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Platform:
    """An operating system or a kind of device."""

    name: str
    supported: bool = False
    note: str
    """What is lacking where it is supported; what to use instead where it is not."""


SYSTEMS = {
    "linux": Platform(name="Linux, also under WSL", supported=True, note=""),
    "darwin": Platform(
        name="macOS",
        supported=True,
        note="the CPU only; processes cannot be bound to CPUs, so times vary more, and --threads "
        "is only a request to each framework",
    ),
    "win32": Platform(
        name="Windows", note="use Linux or macOS; the Windows Subsystem for Linux (WSL) works too"
    ),
}
"""The operating systems, by `sys.platform`."""

DEVICES = {
    "cpu": Platform(name="CPUs", supported=True, note=""),
    "gpu": Platform(name="NVIDIA GPUs", supported=True, note="on Linux"),
    "mps": Platform(name="Apple GPUs", note="use --device cpu"),
    "rocm": Platform(name="AMD GPUs", note="use --device cpu"),
    "tpu": Platform(name="TPUs", note="use --device cpu"),
}
"""The devices, by what may be asked of `--device`."""


def check_system() -> None:
    """Raise UsageError on an operating system that is known not to work."""
    system = SYSTEMS.get(sys.platform)
    if system and not system.supported:
        raise UsageError(f"{system.name} is not supported; {system.note}")


def limitations() -> str:
    """What this operating system lacks, as a line for people; empty where it lacks nothing."""
    system = SYSTEMS.get(sys.platform)
    return f"{system.name}: {system.note}" if system and system.note else ""


def device_problem(device: str) -> str:
    """Why there is no such `--device` here; empty where there is, and for unknown words."""
    if device == "cuda":
        return "use --device gpu"
    # The only GPU that macOS could offer is Apple's.
    kind = DEVICES.get("mps" if (device, sys.platform) == ("gpu", "darwin") else device)
    return f"{kind.name} are not supported; {kind.note}" if kind and not kind.supported else ""
