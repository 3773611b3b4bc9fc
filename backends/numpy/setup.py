"""What holds for the whole process: versions and settings."""

from __future__ import annotations

import numpy as np

from backends.contract import Execution


def versions() -> dict[str, str]:
    """The versions of the packages that this backend runs on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"numpy": np.__version__, "blas": f"{blas['name']} {blas['version']}"}


def configure(execution: Execution) -> None:
    """Set nothing: the BLAS reads its number of threads from the environment when it loads."""


profiled = None
"""NumPy has no profiler of its own."""
