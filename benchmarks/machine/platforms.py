"""The systems and devices that this project does not support, and what it lacks on others."""

from __future__ import annotations

import sys

from benchmarks.errors import UsageError

UNSUPPORTED_SYSTEMS = {
    "win32": "Windows is not supported; use Linux or macOS; the Windows Subsystem for Linux (WSL) "
    "works too"
}
"""Operating systems by `sys.platform`, and what to use instead; others may work."""
LIMITATIONS = {
    "darwin": "macOS: the CPU only; processes cannot be bound to CPUs, so times vary more, and "
    "--threads is only a request to each framework"
}
"""What an operating system lacks, by `sys.platform`."""
UNSUPPORTED_DEVICES = {
    "cuda": "use --device gpu",
    "mps": "Apple GPUs are not supported; use --device cpu",
    "rocm": "AMD GPUs are not supported; use --device cpu",
    "tpu": "TPUs are not supported; use --device cpu",
}
"""Values that users may give `--device`, and what to use instead."""


def check_system() -> None:
    """Raise UsageError on an operating system that is not supported."""
    if problem := UNSUPPORTED_SYSTEMS.get(sys.platform):
        raise UsageError(problem)


def device_problem(device: str) -> str:
    """Why `--device` cannot have this value here; empty where it can, and for unknown words."""
    # The only GPU that macOS could offer is Apple's.
    apple = (device, sys.platform) == ("gpu", "darwin")
    return UNSUPPORTED_DEVICES.get("mps" if apple else device, "")
