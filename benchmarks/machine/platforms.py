"""The systems and devices that this project supports, and those that it refuses by name."""

from __future__ import annotations

import sys
from typing import NamedTuple

from benchmarks.errors import UsageError


class Platform(NamedTuple):
    """An operating system or a kind of device, and whether it is supported."""

    name: str
    supported: bool
    note: str
    """What is lacking where it is supported; what to use instead where it is not."""


MACOS_NOTE = (
    "the CPU only; processes cannot be bound to CPUs, so times vary more, and --threads is only a "
    "request to each framework"
)
WINDOWS_NOTE = "use Linux or macOS; the Windows Subsystem for Linux (WSL) works too"
SYSTEMS = {
    "linux": Platform("Linux, also under WSL", True, ""),
    "darwin": Platform("macOS", True, MACOS_NOTE),
    "win32": Platform("Windows", False, WINDOWS_NOTE),
}
"""The operating systems, by `sys.platform`."""
DEVICES = {
    "cpu": Platform("CPUs", True, ""),
    "gpu": Platform("NVIDIA GPUs", True, "on Linux"),
    "mps": Platform("Apple GPUs", False, "use --device cpu"),
    "rocm": Platform("AMD GPUs", False, "use --device cpu"),
    "tpu": Platform("TPUs", False, "use --device cpu"),
}
"""The devices, by what users may write after `--device`."""


def check_system() -> None:
    """Raise UsageError on an operating system that is not supported."""
    system = SYSTEMS.get(sys.platform)
    if system and not system.supported:
        raise UsageError(f"{system.name} is not supported; {system.note}")


def limitations() -> str:
    """What this operating system lacks, as a line for users; empty where it lacks nothing."""
    system = SYSTEMS.get(sys.platform)
    return f"{system.name}: {system.note}" if system and system.note else ""


def device_problem(device: str) -> str:
    """Why `--device` cannot have this value here; empty where it can, and for unknown words."""
    if device == "cuda":
        return "use --device gpu"
    # The only GPU that macOS could offer is Apple's.
    kind = DEVICES.get("mps" if (device, sys.platform) == ("gpu", "darwin") else device)
    return f"{kind.name} are not supported; {kind.note}" if kind and not kind.supported else ""
