"""The probe finds what can run here by computing, and says why the rest cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from backends.numpy import backend as numpy_backend
from backends.registry import BACKENDS, load, missing_packages
from benchmarks.machine import nvml
from benchmarks.machine.probe import Probe, Program, probe, trial, unusable_modes
from tests.support.workers import executable


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_computes_on_the_cpu(name: str) -> None:
    if missing_packages(BACKENDS[name]):
        pytest.skip(f"not installed: {', '.join(missing_packages(BACKENDS[name]))}")
    probed = probe(Program(name), "cpu")
    assert probed.problem == ""
    assert probed.versions.keys() >= set(BACKENDS[name].packages)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pytorch", "tensorflow", "jax"])
def test_without_a_gpu_the_reason_is_one_line_with_advice(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing_packages(BACKENDS[name]):
        pytest.skip(f"not installed: {', '.join(missing_packages(BACKENDS[name]))}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert nvml.visible() is None
    problem = probe(Program(name), "gpu").problem
    assert problem.startswith("sees no usable GPU (")
    assert "\n" not in problem
    assert "run with --device cpu" in problem


def test_a_program_that_is_no_python_is_named(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    assert probe(Program("jax", str(program)), "cpu").problem == (
        f"cannot be run by {program}: Exec format error"
    )


UNUSABLE = [
    ("pytorch", {"TORCH_COMPILE_DISABLE": "1"}, "switched off here: unset TORCH_COMPILE_DISABLE"),
    ("pytorch", {"CXX": "/nowhere/g++"}, "finds no C++ compiler: CXX names none that works"),
    ("jax", {"JAX_DISABLE_JIT": "1"}, "jax.jit is switched off here: unset JAX_DISABLE_JIT"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variables", "reason"), UNUSABLE)
def test_modes_that_cannot_compile_are_told_beforehand(
    name: str, variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing_packages(BACKENDS[name]):
        pytest.skip(f"not installed: {', '.join(missing_packages(BACKENDS[name]))}")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    probed = probe(Program(name), "cpu")
    assert probed.problem_of("eager") == ""
    for mode in {"compiled", "onednn"} & set(BACKENDS[name].modes):
        assert probed.problem_of(mode).endswith(reason)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs to mount")
def test_a_folder_for_temporary_files_that_is_mounted_noexec_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing_packages(BACKENDS["pytorch"]):
        pytest.skip("not installed: torch")
    pytorch = load(BACKENDS["pytorch"])
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert pytorch.unusable("cpu") == {}
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", str(tmp_path)])
    if mount.returncode:
        pytest.skip("may not mount")
    try:
        problems = pytorch.unusable("cpu")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    compiling = {mode for mode in BACKENDS["pytorch"].modes if mode.startswith("compiled")}
    compiling |= {"one-graph", "onednn", "cuda-graph", "handwritten-fused", "ddp-compiled"}
    assert problems.keys() == compiling
    assert "which is mounted noexec: set TMPDIR" in problems["compiled"]


def test_a_backend_that_cannot_tell_its_modes_apart_can_run_them_all() -> None:
    def fail(_device: str) -> dict[str, str]:
        raise OSError("by design")

    assert unusable_modes(cast("ModuleType", SimpleNamespace()), "cpu") == {}
    assert unusable_modes(cast("ModuleType", SimpleNamespace(unusable=fail)), "cpu") == {}
    only = SimpleNamespace(unusable=lambda device: {"compiled": f"not on a {device}"})
    assert unusable_modes(cast("ModuleType", only), "cpu") == {"compiled": "not on a cpu"}


def test_numpy_is_not_asked_for_a_gpu() -> None:
    assert probe(Program("numpy"), "gpu") == Probe(versions={}, problem="does not compute on a GPU")


def failing(where: str, error: Exception) -> Any:
    """NumPy's backend with one method of its floor raising an error, as a GPU's may."""

    class Floor(numpy_backend.Floor):
        pass

    def fail(*_: Any) -> None:
        raise error

    setattr(Floor, where, fail)
    return SimpleNamespace(configure=lambda _: None, Floor=Floor)


@pytest.mark.parametrize("where", ["__init__", "square", "multiply", "synchronise", "device"])
@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("CUDA error: no kernel image is available for execution on the device", "of this kind"),
        ("CUDA out of memory. Tried to allocate 2.00 MiB.", "memory is full"),
    ],
)
def test_a_gpu_that_is_listed_but_cannot_compute_is_reported(
    where: str, error: str, advice: str
) -> None:
    assert trial(failing("arrays", ValueError("never asked for")), "cpu") == ""
    problem = trial(failing(where, RuntimeError(error)), "cpu")
    assert problem.startswith(f"RuntimeError: {error.rstrip('.')}")
    assert advice in problem


def test_results_on_another_device_are_a_problem() -> None:
    assert "asked for the gpu, but results lie on the cpu" in trial(numpy_backend, "gpu")


@pytest.mark.parametrize(("device", "advice"), [("gpu", True), ("cpu", False)])
def test_a_framework_that_ends_its_process_is_reported(
    tmp_path: Path, device: str, advice: bool
) -> None:
    python = executable(
        tmp_path / "python", "echo 'CUDA_ERROR_OUT_OF_MEMORY' >&2\necho aborted >&2\nexit 134"
    )
    problem = probe(Program("jax", str(python)), device).problem
    assert problem.startswith("does not import or run: aborted")
    assert ("memory is full" in problem) == advice
