"""Temporary folders that are removed even where the process that made them was killed.

A folder is locked as long as its process lives; whoever makes the next one removes those that are
not.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.errors import UsageError

PREFIX = "benchmark-workers-"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new temporary folder, removed in the end; raises UsageError where there can be none."""
    try:
        parent = Path(tempfile.gettempdir())
        _remove_left_behind(parent)
        path, lock = _make(parent)
    except OSError as error:
        problem = error.strerror or error
        raise UsageError(f"no temporary folder can be made ({problem}): set TMPDIR") from None
    try:
        yield path
    finally:
        # What a compiler that was killed goes on writing for a moment is left for the next start.
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _make(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that locks it."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            # Another process has taken it for one that was left behind, here or further down.
            continue
        # Some file systems have no locks; there, folders that are left behind stay.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        if path.exists():
            return path, lock
        os.close(lock)


def _remove_left_behind(parent: Path) -> None:
    """Remove this user's folders whose processes have ended; links are not followed."""
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                about = os.fstat(lock)
                if about.st_uid == os.getuid() and stat.S_IMODE(about.st_mode) == 0o700:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
