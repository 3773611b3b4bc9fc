"""The frameworks, cases and modes that compute on a GPU."""

from __future__ import annotations

from backends.registry import BACKENDS
from tests.conftest import cases_on, modes_on

FRAMEWORKS = [name for name, backend in BACKENDS.items() if "gpu" in backend.devices]
GPU_CASES, GPU_MODES = cases_on("gpu"), modes_on("gpu")
