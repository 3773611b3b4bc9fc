"""Releases of a framework: their environments, made by stand-ins for `venv` and pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.registry import BACKENDS
from benchmarks.commands import versions
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine.project import cache
from benchmarks.plan import releases
from benchmarks.plan.releases import Release

JAX = BACKENDS["jax"]
PYTHON = """\
#!{python}
import json, os, sys
if "pip" in sys.argv:
    with open(os.environ["PIP_CALLS"], "a") as calls:
        print(*sys.argv[1:], file=calls)
    print(os.environ.get("PIP_SAYS", "installed"))
    sys.exit(int(os.environ.get("PIP_EXIT", 0)))
print(json.dumps({{"jax": "0.9.2", "flax": "0.12.4"}}))
"""
"""A stand-in for the Python of an environment: it says that it installs, and has a version."""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The calls of pip so far, in environments below a folder of the test's own."""
    log = tmp_path / "calls"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CALLS", str(log))
    run = subprocess.run

    def without_venv(command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        if command[1:3] != ["-m", "venv"]:
            return run(command, **options)
        program = Path(command[3]) / "bin" / "python"
        program.parent.mkdir()
        program.write_text(PYTHON.format(python=sys.executable))
        program.chmod(0o755)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", without_venv)
    return lambda: log.read_text().splitlines() if log.exists() else []


def install(spec: str = "0.9.*", **options: Any) -> Release:
    return releases.install(JAX, spec, lambda _: None, **options)


def test_an_environment_is_made_once(calls: Callable[[], list[str]], tmp_path: Path) -> None:
    said: list[str] = []
    release = releases.install(JAX, "0.9.*", said.append)
    assert release.version == "0.9.2"
    assert release.versions["flax"] == "0.12.4"
    folder = releases.folder_of(JAX, "0.9.*")
    assert tmp_path / "cache" in folder.parents
    assert release.python == str(folder / "bin" / "python")
    (line,) = calls()
    assert line.startswith("-m pip install ")
    assert line.endswith("jax==0.9.* flax optax numpy threadpoolctl")
    assert len(said) == 1
    assert releases.install(JAX, "0.9.*", said.append) == release
    assert (len(calls()), len(said)) == (1, 1)


def test_refresh_makes_it_anew(calls: Callable[[], list[str]]) -> None:
    install()
    left = releases.folder_of(JAX, "0.9.*") / "left"
    left.touch()
    install(refresh=True)
    assert len(calls()) == 2
    assert not left.exists()


def test_what_is_missing_for_a_mode_is_installed(
    calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    fit = BACKENDS["tensorflow"].modes["keras-fit-xla"]
    monkeypatch.setitem(
        JAX.modes, "with-keras", type(fit)(tier="taught", about="", packages=("keras",))
    )
    install(modes=["with-keras"])
    assert calls()[1].endswith("jax==0.9.* flax optax keras numpy threadpoolctl")
    # What has more serves for less.
    install()
    assert len(calls()) == 2


@pytest.mark.parametrize(
    ("printed", "kind", "message"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement jax==0.9.* (from "
            "versions: 0.10.1, 0.10.2)\nERROR: No matching distribution found for jax==0.9.*",
            UsageError,
            "jax==0.9.*: pip finds no such release for this system and Python ",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement jax==0.9.* (from "
            "versions: none)\nERROR: No matching distribution found for jax==0.9.*",
            StoppedError,
            "jax==0.9.* cannot be installed: pip finds no release at all for Python ",
        ),
        (
            "Collecting jax\nERROR: Cannot install jax==0.9.* and flax\nERROR: for help visit x",
            StoppedError,
            "jax==0.9.* cannot be installed: Cannot install jax==0.9.* and flax",
        ),
        (
            "/cache/bin/python: No module named pip",
            StoppedError,
            "jax==0.9.* cannot be installed: /cache/bin/python: No module named pip",
        ),
    ],
)
def test_an_install_that_fails_leaves_nothing(
    printed: str, kind: type[Exception], message: str, calls: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PIP_SAYS", printed)
    monkeypatch.setenv("PIP_EXIT", "1")
    with pytest.raises(kind) as caught:
        install()
    assert str(caught.value).startswith(message)
    assert not releases.folder_of(JAX, "0.9.*").exists()
    monkeypatch.setenv("PIP_EXIT", "0")
    install()
    assert len(calls()) == 2


def test_an_interrupt_leaves_nothing(
    calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(json, "dumps", interrupted)
        with pytest.raises(KeyboardInterrupt):
            install()
    assert not releases.folder_of(JAX, "0.9.*").exists()
    assert len(calls()) == 1


@pytest.mark.parametrize("damage", ["removed", "cut", "no program"])
def test_what_a_kill_leaves_behind_does_not_count(
    damage: str, calls: Callable[[], list[str]]
) -> None:
    install()
    folder = releases.folder_of(JAX, "0.9.*")
    marker = folder / releases.READY
    if damage == "removed":
        marker.unlink()
    elif damage == "cut":
        marker.write_text(marker.read_text()[:-5])
    else:
        (folder / "bin" / "python").unlink()
    assert install().version == "0.9.2"
    assert len(calls()) == 2


def test_a_folder_that_cannot_be_made_is_one_line(
    calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(StoppedError, match=r"cannot be made \(Not a directory\)"):
        install()
    assert calls() == []


def test_a_cache_folder_that_is_not_absolute_counts_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache("environments").is_relative_to(os.path.expanduser("~"))  # noqa: PTH111


def test_every_framework_names_what_its_release_needs() -> None:
    named = {
        name: releases.requirements(entry, "1.0")
        for name, entry in BACKENDS.items()
        if name != "numpy"
    }
    numpy = ["numpy", "threadpoolctl"]
    assert named == {
        "pytorch": ["torch==1.0", *numpy],
        "tensorflow": ["tensorflow==1.0", "keras", *numpy],
        "jax": ["jax==1.0", "flax", "optax", *numpy],
    }


# The command


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["jax", "0.9.*"], "name at least two releases; one named twice runs twice"),
        (["jax", "0.9.*", ">=0.10"], ">=0.10 is no release; write one such as 0.10.2, or 0.10.*"),
        (["jax", "0.*.2", "0.10"], "0.*.2 is no release"),
        (["numpy", "2.3.*", "2.4.*"], "numpy is not one of pytorch, tensorflow, jax"),
        (["torch", "2.12.*", "2.13.*"], "did you mean pytorch?"),
        (["jax", "0.9.*", "0.10.*", "--python", "jax=python"], "unknown option --python"),
        (["jax", "0.9.*", "0.10.*", "--modes", "keras-fit-xla"], "no case has these backends"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_installed(
    argv: list[str], message: str, calls: Callable[[], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import run_all

    try:
        code = run_all.main(["versions", *argv])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert (code, calls()) == (2, [])
    line = capsys.readouterr().err
    assert message in line
    assert len(line.splitlines()) == 1


def release(version: str) -> Release:
    return Release(python=f"/{version}", versions={"jax": version}, distribution="jax")


def test_releases_are_named_by_their_versions() -> None:
    installed = {"0.9.*": release("0.9.2"), "0.10.2": release("0.10.2")}
    assert list(versions.named(["0.9.*", "0.10.2"], installed)) == ["0.9.2", "0.10.2"]
    twice = versions.named(["0.10.2", "0.9.*", "0.10.2"], installed)
    assert list(twice) == ["0.10.2", "0.9.2", "0.10.2 (2)"]
    assert twice["0.10.2"] == twice["0.10.2 (2)"]


def test_two_names_of_one_release_are_refused() -> None:
    installed = {"0.10.*": release("0.10.2"), "0.10.2": release("0.10.2")}
    with pytest.raises(UsageError, match=r"0\.10\.\* and 0\.10\.2 are both 0\.10\.2; to run it"):
        versions.named(["0.10.*", "0.10.2"], installed)
