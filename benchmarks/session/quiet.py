"""Waiting until nothing of one case runs in another's time.

Libraries keep their threads spinning for a while after their last work, 35 to 105 ms in OpenBLAS:
that time belongs to nobody's block.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

CALM_POLLS = 3
"""Threads are at rest when so many polls in a row have found none that runs."""
POLL_SECONDS = 0.001
OWN_THREADS = Path("/proc/self/task")
MOST_SECONDS = 0.5
"""More than any library's threads spin by default: Intel's OpenMP does for 200 ms."""


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """How long the session waited before a block, and what it waited for in vain."""

    wait_seconds: float
    running_threads: int | None
    """Threads of other workers that still ran; None where the system does not show them."""


def wait_until_quiet(pids: Collection[int]) -> Quiet:
    """Wait until no thread of these processes runs, for at most MOST_SECONDS."""
    began, calm = perf_counter(), 0
    while True:
        running = running_threads(pids)
        calm = 0 if running else calm + 1
        waited = perf_counter() - began
        if calm == CALM_POLLS or running is None or waited > MOST_SECONDS:
            return Quiet(wait_seconds=waited, running_threads=running)
        sleep(POLL_SECONDS)


def running_threads(pids: Collection[int]) -> int | None:
    """How many threads of these processes run or could run; None where the system does not tell.

    By their states, see proc(5): the times that they have used are brought up to date at ticks
    only, and look calm while threads still spin.
    """
    if not OWN_THREADS.exists():
        return None
    running = 0
    for pid in pids:
        # A worker or a thread may end meanwhile.
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):
                    running += (thread / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    return running
