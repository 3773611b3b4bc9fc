"""The commit of this program, if it is known: that of its own repository and of no other.

The folder may be a copy without a repository inside another one, or somebody else's; variables may
point git elsewhere. What cannot be known is said to be unknown.
"""

import os
import subprocess
from pathlib import Path

from benchmarks.machine.settings import ROOT

QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
"""Options with which git starts no program that a repository names."""
IMPORTABLE = (":(glob)*.py", ":(glob)*.so", ":(glob)*/__init__.py", "backends", "benchmarks")
"""Where an import finds files before it finds those of packages that are installed."""
HIDDEN = "abcdefghijklmnopqrstuvwxyzS"
"""The tags of `git ls-files -v` for files whose changes git was told to overlook."""


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints about `root`; None where git is missing, fails or refuses."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    # Nothing is written, not even git's own index, nothing is asked, nothing is downloaded.
    environment |= dict.fromkeys(("GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT"), "0")
    environment["GIT_NO_LAZY_FETCH"] = "1"
    command = ["git", "-C", str(root), *QUIET, *arguments]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None


def commit(root: Path = ROOT) -> str:
    """The commit that is checked out in `root`; empty where that is not known.

    It is known if `root` is the top of a repository whose commit holds this program.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or os.path.realpath(top.removesuffix("\n")) != os.path.realpath(root):
        return ""
    # Whoever has put a repository around a copy may have committed something else.
    if _git(root, "cat-file", "-e", "HEAD:run_all.py") is None:
        return ""
    return (_git(root, "rev-parse", "--verify", "HEAD^{commit}") or "").strip()


def modified(root: Path = ROOT) -> bool | None:
    """Whether files in `root` differ from its commit; None where that is not known.

    A module that the commit lacks counts where it could be imported.
    """
    if not commit(root):
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    new = _git(root, "ls-files", "--others", "-z", "--", *IMPORTABLE)
    tracked = _git(root, "ls-files", "-v", "-z")
    if changed is None or new is None or tracked is None:
        return None
    if changed or any(name.endswith((".py", ".so")) for name in new.split("\0")):
        return True
    return None if any(line[0] in HIDDEN for line in tracked.split("\0") if line) else False
