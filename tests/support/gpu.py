"""The frameworks, cases and modes that compute on a GPU."""

from __future__ import annotations

from backends.registry import BACKENDS
from tests.conftest import CASES, MODES

FRAMEWORKS = [name for name, backend in BACKENDS.items() if "gpu" in backend.devices]
GPU_CASES = [case for case in CASES if case.values[0] in FRAMEWORKS]
GPU_MODES = [case for case in MODES if case.values[0] in FRAMEWORKS]
