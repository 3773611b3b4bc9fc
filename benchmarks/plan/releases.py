"""Releases of a framework, each in a virtual environment of its own, which is kept for later runs.

The environments are made by `python -m venv` and filled by pip, as the user has configured it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from backends.ladder import Backend
from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine.project import PROJECT, cache

READY = "ready.json"
"""The file that an environment has when everything is installed: what it was asked for, and the
versions that it has got. It is written last."""
LOG = "install.txt"
SPEC = re.compile(r"[0-9][0-9A-Za-z.+!]*(?:\.\*)?")
"""Releases as pip names them after ==: 0.10.2, or 0.10.* for the newest of a series."""
OF_WORKERS = ("numpy", "threadpoolctl")
"""What every worker imports besides its framework."""
NO_MATCH = "ERROR: No matching distribution found for "
"""How pip says that there is no such release."""
READ_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of a framework that is installed."""

    python: str
    """The program of its environment."""
    versions: dict[str, str]
    """Its distributions' versions."""
    distribution: str
    """The one that was asked for."""

    @property
    def version(self) -> str:
        """The version that is really installed."""
        return self.versions[self.distribution]


def requirements(backend: Backend, spec: str, modes: Iterable[str] = ()) -> list[str]:
    """What pip has to install for a release of a backend: it, and what the backend needs besides.

    `modes` are those that are going to run. Of the other packages pip takes the newest versions
    that fit.
    """
    distribution = backend.distributions[0]
    extras = [re.split(r"[;\s]", one)[0] for one in PROJECT["optional-dependencies"][backend.name]]
    others = [name for name in extras if name in backend.distributions and name != distribution]
    of_modes = dict.fromkeys(name for mode in modes for name in backend.modes[mode].packages)
    return [f"{distribution}=={spec}", *dict.fromkeys([*others, *of_modes, *OF_WORKERS])]


def folder_of(backend: Backend, spec: str) -> Path:
    """The folder of an environment for a release, with the Python of this process."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return cache("environments") / f"{backend.name}-{spec.replace('*', 'x')}-{python}"


def install(
    backend: Backend,
    spec: str,
    say: Callable[[str], None],
    *,
    modes: Iterable[str] = (),
    refresh: bool = False,
) -> Release:
    """The release of a backend that a spec names, in an environment that is made if need be.

    `modes` are those that are going to run in it. `refresh` makes it anew. Raises UsageError where
    there is no such release, StoppedError where it cannot be installed; then, and after an
    interrupt, nothing is left that counts as ready.
    """
    folder, wanted = folder_of(backend, spec), requirements(backend, spec, modes)
    read = [*backend.distributions, *OF_WORKERS]
    versions = environment(folder, wanted, say, read=read, refresh=refresh)
    return Release(
        python=python_in(folder), versions=versions, distribution=backend.distributions[0]
    )


def environment(
    folder: Path,
    wanted: list[str],
    say: Callable[[str], None],
    *,
    read: Iterable[str] = (),
    refresh: bool = False,
) -> dict[str, str]:
    """See to it that an environment has what is wanted; the versions of the distributions `read`.

    Raises as `install` does.
    """
    versions = None if refresh else _ready(folder, wanted)
    if versions is None:
        say(f"installing {' '.join(wanted)} into {folder}")
        try:
            versions = _made(folder, python_in(folder), wanted, [*read])
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return versions


def python_in(folder: Path) -> str:
    """The Python of an environment."""
    return str(folder / "bin" / "python")


def _ready(folder: Path, wanted: list[str]) -> dict[str, str] | None:
    """The versions in an environment; None where it is not ready, or lacks what is wanted."""
    try:
        content = json.loads((folder / READY).read_text("utf-8"))
        whole = set(wanted) <= set(content["requirements"])
        whole = whole and os.access(python_in(folder), os.X_OK)
        versions: dict[str, str] = content["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return versions if whole else None


def _made(folder: Path, python: str, wanted: list[str], distributions: list[str]) -> dict[str, str]:
    """Make an environment anew, with what is wanted; the versions of those distributions."""
    try:
        # First what makes it count as ready, since removing the rest may be interrupted.
        (folder / READY).unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        log = folder / LOG
        _run([sys.executable, "-m", "venv", str(folder)], log, "no environment can be made")
        pip = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        _run([*pip, *wanted], log, f"{wanted[0]} cannot be installed")
        command = [python, "-c", READ_VERSIONS, *distributions]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        versions: dict[str, str] = json.loads(done.stdout)
        unfinished = folder / f"{READY}.unfinished"
        unfinished.write_text(json.dumps({"requirements": wanted, "versions": versions}), "utf-8")
        unfinished.replace(folder / READY)
    except OSError as error:
        raise StoppedError(f"{folder}: cannot be made ({error.strerror or error})") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise StoppedError(f"{wanted[0]}: its Python does not run: {last}") from None
    return versions


def _run(command: list[str], log: Path, problem: str) -> None:
    """Run a command into a log; raises UsageError where pip finds no release, or StoppedError."""
    with log.open("ab") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    if done.returncode == 0:
        return
    printed = log.read_text("utf-8", "replace").splitlines()
    lines = [line.strip() for line in printed if line.strip()]
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if any("(from versions: none)" in line for line in lines):
        found = f"pip finds no release at all for {python}"
        raise StoppedError(f"{problem}: {found}; check the network and PIP_INDEX_URL")
    for line in lines:
        if line.startswith(NO_MATCH):
            missing = line.removeprefix(NO_MATCH)
            raise UsageError(f"{missing}: pip finds no such release for this system and {python}")
    errors = [line for line in lines if line.startswith(("ERROR: ", "Error: "))]
    said = (errors or lines[-1:] or [f"exit code {done.returncode}"])[0].removeprefix("ERROR: ")
    raise StoppedError(f"{problem}: {said}")
