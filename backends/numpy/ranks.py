"""The sum over ranks in shared memory, against which the frameworks' libraries are set."""

import mmap
import os
import tempfile
from collections.abc import Callable
from itertools import count as counted
from pathlib import Path
from time import monotonic

import numpy as np

from backends.contract import Array, Execution

MOST_SECONDS = 60
SHARED_MEMORY = Path("/dev/shm")
numbers = counted()
meeting = ""
"""What names this group's files, which `join` sets."""


def join(_execution: Execution, addresses: tuple[str, ...]) -> None:
    """Enter the group, whose ranks must all be on one machine."""
    global meeting
    meeting = addresses[0].replace(":", "-")


def shared(size: int) -> tuple[mmap.mmap, Path]:
    """So many bytes that all ranks see, zero at first, and the file by which they find them."""
    folder = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    path = folder / f"ranks-{meeting}-{next(numbers)}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        # The same size in all ranks, so whoever comes later changes nothing.
        os.ftruncate(file, size)
        return mmap.mmap(file, size), path
    finally:
        os.close(file)


def reduction(execution: Execution, count: int) -> Callable[[], None]:
    """Sum up so many numbers over all ranks: each rank sums up its part, in memory that all see."""
    ranks, rank, number = execution.ranks, execution.rank, np.dtype(execution.stored)
    # An array of each rank, their sum, and in a cache line of each how often it has arrived.
    lines = ranks * 64
    memory, path = shared(lines + (ranks + 1) * count * number.itemsize)
    arrived: Array = np.frombuffer(memory, np.int64, lines // 8)[::8]
    arrays: Array = np.frombuffer(memory, number, offset=lines).reshape(ranks + 1, count)
    ends = [count * end // ranks for end in (rank, rank + 1)]
    parts = arrays[:ranks, slice(*ends)]
    total = arrays[ranks, slice(*ends)]

    def wait() -> None:
        arrived[rank] += 1
        late = monotonic() + MOST_SECONDS
        while arrived.min() < arrived[rank]:
            os.sched_yield()
            if monotonic() > late:
                raise TimeoutError(f"another rank did not come within {MOST_SECONDS} s")

    def reduce() -> None:
        wait()
        np.sum(parts, axis=0, out=total)
        wait()

    wait()
    # All ranks have it now.
    if rank == 0:
        path.unlink()
    return reduce
