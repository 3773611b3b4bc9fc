"""The process that plans, times and reports imports no framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.process import ROOT

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "jaxlib", "flax", "optax")

IMPORT_ALL = """
import importlib, pathlib, sys
for folder in ("backends", "benchmarks"):
    for path in sorted(pathlib.Path(folder).glob("*.py")):
        name = f"{folder}.{path.stem}"
        if name not in ("backends.pytorch", "backends.tensorflow", "backends.jax"):
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


def test_this_test_can_fail() -> None:
    pytest.importorskip("optax")
    assert "'jax'" in loaded_after("import backends.jax\n" + IMPORT_ALL)
