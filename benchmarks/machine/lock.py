"""The lock of this machine: one run at a time, whoever starts it.

Two runs at once would be in each other's times. The lock is that of a file, which any user can open
and nobody removes; the kernel frees it when the process that holds it ends, however that happens.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.errors import UsageError

FOLDER = "BENCHMARK_LOCK_FOLDER"
"""Environment variable that names another folder for the file. Runs with different folders do not
see one another: the project's tests, whose times nobody reads, have a folder of their own."""
FILE = "benchmark-workers.lock"


@contextlib.contextmanager
def held(*, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Be the only run on this machine.

    Where there is another, this raises UsageError, or says so and waits for its end. Where there
    can be no lock, it says that and goes on.
    """
    with contextlib.ExitStack() as stack:
        try:
            # As every descriptor of Python, it is closed in the programs that this process starts.
            descriptor = _open()
            stack.callback(os.close, descriptor)
            _take(descriptor, wait, say)
        except OSError as error:
            problem = error.strerror or error
            say(f"note: nothing keeps another run from starting beside this one ({problem})")
        yield


def _open() -> int:
    """A descriptor of the file; it need not be one that can write."""
    # A fixed place, since TMPDIR may be another one for every user.
    shared = Path("/tmp")
    default = shared if shared.is_dir() else tempfile.gettempdir()
    path = Path(os.environ.get(FOLDER) or default) / FILE
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    # Linux may refuse to "create" another user's file that is there (fs.protected_regular).
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
        os.fchmod(descriptor, 0o644)  # whatever the umask
        return descriptor
    return os.open(path, flags)


def _take(descriptor: int, wait: bool, say: Callable[[str], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _holder(descriptor)
        process = f" (process {pid})" if pid else ""
        if not wait:
            problem = f"another run is measuring on this machine{process}"
            raise UsageError(f"{problem}; --wait starts this one when it has ended") from None
        say(f"waiting for the end of another run on this machine{process}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    # What clears the folder of old files is shown that this one is in use.
    with contextlib.suppress(OSError):
        os.utime(descriptor)


def _holder(descriptor: int) -> int | None:
    """The id of the process that holds the lock; None where the system does not tell."""
    file = os.fstat(descriptor)
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text("utf-8").splitlines():
            # "1: FLOCK ADVISORY WRITE 1234 fe:00:131 0 EOF"; of one that waits, "1: -> FLOCK …".
            match line.split():
                case [_, "FLOCK", _, "WRITE", pid, where, *_] if where == place:
                    return int(pid)
    return None
