"""Ctrl-C, SIGTERM and SIGHUP: each raises KeyboardInterrupt, but nowhere that would lose anything.

Where something must be finished, an interrupt waits (`deferred`), unless it is repeated. A session
is such a place, but for the moments in which it waits for a worker (`allowed`).
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _State:
    """What an interrupt does now."""

    deferred: bool = False
    allowed: bool = False
    """Whether it is raised although `deferred`."""
    note: str = ""
    waiting: bool = False
    """Whether an interrupt has come that is still to be raised."""


_state = _State()


def handle() -> None:
    """Handle the signals from now on; one that is ignored, as nohup arranges it, stays ignored."""
    vars(_state).update(vars(_State()))
    for one in SIGNALS:
        if signal.getsignal(one) != signal.SIG_IGN:
            signal.signal(one, interrupt)


def ignore() -> None:
    """Ignore the signals from now on, when all is done."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)


def interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, or have it wait."""
    if _state.deferred and not _state.allowed and not _state.waiting:
        _state.waiting = True
        if _state.note:
            # Not by print, which may be what was interrupted.
            with contextlib.suppress(OSError):
                os.write(2, f"{_state.note}\n".encode())
        return
    # What handles this one is not interrupted in its turn.
    _state.allowed = _state.waiting = False
    raise KeyboardInterrupt("interrupted")


@contextlib.contextmanager
def deferred(note: str = "") -> Iterator[None]:
    """Have an interrupt wait until this block ends, and show `note` when it comes.

    A second one is raised at once.
    """
    outer = _state.deferred, _state.allowed, _state.note
    _state.deferred, _state.allowed, _state.note = True, False, note
    try:
        yield
    finally:
        _state.deferred, _state.allowed, _state.note = outer
    if not _state.deferred or _state.allowed:
        _raise_waiting()


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Within `deferred`, raise the interrupt that waits, or one that comes in this block."""
    outer, _state.allowed = _state.allowed, True
    try:
        _raise_waiting()
        yield
    finally:
        _state.allowed = outer


def _raise_waiting() -> None:
    if _state.waiting:
        interrupt()
