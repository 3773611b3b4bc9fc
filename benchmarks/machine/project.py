"""The project's version and extras, and the systems and devices that it does not support."""

import os
import sys
import tomllib
from pathlib import Path

from benchmarks.errors import UsageError
from benchmarks.machine.settings import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION: str = PROJECT["version"]
UNSUPPORTED_SYSTEMS = {
    "win32": "Windows is not supported; use Linux, macOS or the Windows Subsystem for Linux (WSL)"
}
"""Refusals of operating systems, by `sys.platform`; systems that are not named may work."""
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
"""Refusals of values that users may give `--device`."""


def cache(what: str) -> Path:
    """The project's folder for what it keeps between runs, below the user's folder for caches."""
    users = os.environ.get("XDG_CACHE_HOME", "")
    # By the standard, a path that is not absolute counts as none.
    base = Path(users) if Path(users).is_absolute() else Path("~/.cache").expanduser()
    return base / PROJECT["name"] / what


def check_system() -> None:
    """Raise UsageError on an operating system that is not supported."""
    if problem := UNSUPPORTED_SYSTEMS.get(sys.platform):
        raise UsageError(problem)


def device_problem(device: str) -> str:
    """Why `--device` cannot have this value here; empty where it can, and for unknown words."""
    # The only GPU that macOS could offer is Apple's.
    apple = (device, sys.platform) == ("gpu", "darwin")
    return UNSUPPORTED_DEVICES.get("mps" if apple else device, "")


def install_advice(backend: str, python: str) -> str:
    """How to install a backend's packages, to end a sentence with; empty where it is not known.

    It is known for the running Python alone: another one may need another build of the framework.
    """
    if python != sys.executable or backend not in PROJECT["optional-dependencies"]:
        return ""
    return f"; pip install -c constraints.txt '.[{backend}]'"
