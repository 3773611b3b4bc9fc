"""Refusals: one clear line, exit code 2, and nothing left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import run_all
from benchmarks.machine import processor
from benchmarks.machine.settings import ROOT
from tests.support.runs import run, run_process
from tests.support.workers import executable

FIRST = str(processor.allowed_cpus()[0])
"""The first CPU that may be used."""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--steps", "0"], "--steps"),
        (["--steps", "many"], "--steps"),
        (["--batch-size", "-3"], "--batch-size"),
        (["--batch-size", "55001"], "55,000 images"),
        (["--backends", "theano"], "theano"),
        (["--modes", "warp"], "warp"),
        (["--backends", "jax", "--modes", "keras-fit-xla"], "run_all.py list"),
        (["--hidden", "0"], "--hidden"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--launches", "0"], "--launches"),
        (["--seed", "-1"], "--seed"),
        (["--threads", "4096"], "CPUs"),
        (["--cpus", "two"], "two is no list of CPUs, such as 0-3,8"),
        (["--cpus", "0-9999"], "may not be used, only"),
        (["--cpus", FIRST, "--threads", "2"], "--threads 2: --cpus names only 1"),
        (["--time-limit", "-1"], "--time-limit"),
        (["--python", "theano=python"], "theano=python"),
        (["--python", "jax"], "--python"),
        (["--python", "jax=/nowhere/python"], "/nowhere/python"),
        (["--data-dir", "/nowhere"], "/nowhere"),
        (["--output", __file__], "is a file"),
        (["--output", str(ROOT)], "not empty"),
        (["--unheard-of"], "--unheard-of"),
        (["certify", "--steps", "5"], "--steps"),
        (["certify", "--hidden", "0"], "--hidden"),
        (["certfy"], "certfy"),
    ],
)
def test_bad_arguments(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = ROOT / "results"
    before = sorted(results.iterdir()) if results.exists() else []
    try:
        code: object = run_all.main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    errors = capsys.readouterr().err
    assert named in errors
    assert len(errors.strip().splitlines()) == 1
    assert (sorted(results.iterdir()) if results.exists() else []) == before


def test_a_folder_that_cannot_be_written_to(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    done = run(capsys, *small, "--output", blocker / "inside")
    assert done.code == 2
    assert "cannot be" in done.errors
    assert list(tmp_path.iterdir()) == [blocker]


def test_a_damaged_data_set(tmp_path: Path) -> None:
    """A process, so that its exit code is seen as a shell would see it."""
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b nonsense")
    done = run_process("--data-dir", tmp_path)
    assert done.code == 2
    assert "train-images-idx3-ubyte.gz" in done.errors


def test_no_gpu_is_an_error_not_a_run_on_the_cpu(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    output = tmp_path / "out"
    done = run(
        capsys, "--device", "gpu", "--backends", "pytorch", "--data-dir", images, "--output", output
    )
    assert done.code == 2
    assert "GPU" in done.errors
    assert "pytorch" in done.errors
    assert not output.exists()


def test_a_python_without_the_framework_is_named(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = executable(tmp_path / "python", f'exec {sys.executable} -S "$@"')
    done = run(capsys, *small, "--python", f"numpy={bare}")
    assert done.code == 2
    assert "No module named 'numpy'" in done.errors


def test_a_run_with_nothing_that_imports_is_refused(
    images: Path, broken_torch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    done = run(capsys, "--backends", "pytorch", "--data-dir", images, "--output", output)
    assert done.code == 2
    assert broken_torch in done.errors
    assert not output.exists()
