"""Surroundings that fail: disks without room, and signals that come at a chosen moment."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Refuse to write beyond `size` bytes of any file, as a full disk does, but for its message."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def full_after(monkeypatch: pytest.MonkeyPatch, table: str, rows: int) -> None:
    """Have the disk be full when a table gets its row after `rows`: there is room for half of it.

    To be called before the table is made. From then on, nothing is written to any table.
    """
    # The names of the columns are no row.
    write, written, full = os.write, -1, False

    def limited(descriptor: int, content: bytes) -> int:
        nonlocal written, full
        name = os.path.realpath(f"/proc/self/fd/{descriptor}")
        if not name.endswith(".csv"):
            return write(descriptor, content)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += name.endswith(f"/{table}.csv")
        full = written > rows
        return write(descriptor, content[: len(content) // 2] if full else content)

    monkeypatch.setattr(os, "write", limited)


def interrupted_after(
    monkeypatch: pytest.MonkeyPatch, target: Any, name: str, times: int = 1, number: int = 1
) -> list[int]:
    """Send this process Ctrl-C, `times` times, after the `number`-th call of a function.

    The list that is returned has an entry for each call.
    """
    # A background job of a shell ignores Ctrl-C, and so would this program.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    function: Callable[..., Any] = getattr(target, name)
    calls: list[int] = []

    def watched(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        calls.append(len(calls) + 1)
        if len(calls) == number:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(target, name, watched)
    return calls
