"""Revisions of this program, each checked out in a folder of its own, which is kept for later runs.

A revision that needs other packages than this one gets an environment of its own, as releases do.
"""

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import StoppedError, UsageError
from benchmarks.machine.project import cache
from benchmarks.machine.repository import QUIET
from benchmarks.machine.settings import ROOT
from benchmarks.plan import releases

PROJECT_FILE, CONSTRAINTS = "pyproject.toml", "constraints.txt"
FRAMEWORKS = ("pytorch", "tensorflow", "jax")
"""The extras that an environment gets, of those that a revision has."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A revision that can be run."""

    commit: str
    folder: Path
    """Where it is checked out."""
    python: str
    """The program that runs it."""


def check_out(name: str, say: Callable[[str], None]) -> Revision:
    """The revision that git knows by this name, ready to run.

    Raises UsageError where there is no such revision of this program, StoppedError where it cannot
    be checked out or its packages cannot be installed.
    """
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if not commit:
        raise UsageError(f"{name}: is no revision of the repository in {ROOT}")
    if _git("cat-file", "-t", f"{commit}:run_all.py") != "blob":
        raise UsageError(f"{name}: has no run_all.py")
    folder = cache("revisions") / commit
    if not (folder / "run_all.py").exists():
        say(f"checking out {name} into {folder}")
        # The folder may have been removed since git last put one there.
        if _git("worktree", "add", "--force", "--detach", str(folder), commit) is None:
            raise StoppedError(f"{name}: git cannot check it out into {folder}")
    return Revision(commit=commit, folder=folder, python=_python(folder, say))


def _git(*arguments: str) -> str | None:
    """What git prints about the repository of this program; None where it fails."""
    command = ["git", "-C", str(ROOT), *QUIET, *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8"
        )
    except OSError:
        raise StoppedError("git cannot be started; ab needs it") from None
    return done.stdout.strip() if done.returncode == 0 else None


def _python(folder: Path, say: Callable[[str], None]) -> str:
    """The running Python, or that of an environment where the revision needs other packages."""
    packages, constraints = _needed(folder)
    if (packages, constraints) == _needed(ROOT):
        return sys.executable
    content = "\n".join([sys.version, *packages, constraints])
    place = cache("environments") / f"revision-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    releases.environment(place, ["-c", str(folder / CONSTRAINTS), *packages], say)
    return releases.python_in(place)


def _needed(folder: Path) -> tuple[list[str], str]:
    """The packages that a revision needs, and the text that fixes their versions."""
    project = tomllib.loads((folder / PROJECT_FILE).read_text("utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    frameworks = [package for name in FRAMEWORKS for package in extras.get(name, [])]
    return [*project["dependencies"], *frameworks], (folder / CONSTRAINTS).read_text("utf-8")
