"""The process that plans, times and reports imports no framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.machine.settings import ROOT

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "jaxlib", "flax", "optax")

IMPORT_ALL = """
import importlib, pathlib, sys
for folder in ("backends", "benchmarks"):
    paths = sorted(pathlib.Path(folder).rglob("*.py"))
    assert len(paths) > 3, f"{folder} holds no modules"
    for path in paths:
        name = ".".join(path.with_suffix("").parts)
        # A backend is a folder and imports its framework, but in its ladder; NumPy's is the
        # reference too.
        free = len(path.parts) == 2 or path.stem == "ladder" or name.startswith("backends.numpy")
        if folder == "benchmarks" or free:
            importlib.import_module(name)
import run_all
print([name for name in sys.argv[1:] if name in sys.modules])
"""


def loaded_after(program: str) -> str:
    command = [sys.executable, "-c", program, *FRAMEWORKS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_everything_imports_no_framework() -> None:
    assert loaded_after(IMPORT_ALL) == "[]"


WITH_NUMPY_ALONE = """
import sys
class Missing:
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("numpy", "backends", "benchmarks", *sys.stdlib_module_names):
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def test_a_worker_needs_numpy_and_its_framework_alone() -> None:
    """So a Python given by --python need not have the packages that reports use."""
    assert (
        loaded_after(WITH_NUMPY_ALONE + "import benchmarks.worker.worker, benchmarks.machine.probe")
        == ""
    )
    with pytest.raises(subprocess.CalledProcessError):
        loaded_after(WITH_NUMPY_ALONE + "import run_all")


def test_this_test_can_fail() -> None:
    pytest.importorskip("optax")
    assert "'jax'" in loaded_after("import backends.jax.backend\n" + IMPORT_ALL)
