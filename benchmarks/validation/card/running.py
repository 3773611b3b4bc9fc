"""Running a step: its commands side by side, each with its log, ended when it is late."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from benchmarks.machine import lock
from benchmarks.machine.settings import ROOT, SESSION_PID, SHARED_GPU, die_with_parent

GRACE_SECONDS = 20.0
"""How long before its end a late step is interrupted, so that it can report what it has."""
LOOK_SECONDS = 0.1

DONE, FAILED, LATE, INTERRUPTED = "done", "failed", "late", "interrupted"


class Outcome(NamedTuple):
    """How a step ended."""

    outcome: str
    seconds: float
    codes: dict[str, int]
    """The exit code of each command, negative where a signal ended it."""


def run(
    commands: Mapping[str, tuple[str, ...]], folder: Path, seconds: float, grace: float = 0.0
) -> Outcome:
    """Run commands side by side until all have ended, or for so many seconds.

    The output of each goes into `folder`. Before the last `grace` seconds they are interrupted, and
    at the end killed, with all that they have started. Where this process is interrupted, they are
    too, and have the same time to end.
    """
    grace, began = grace or min(GRACE_SECONDS, seconds / 2), monotonic()
    processes: dict[str, subprocess.Popen[bytes]] = {}
    outcome, end = DONE, began + seconds
    try:
        for name, command in commands.items():
            processes[name] = _start(name, command, folder, alone=len(commands) == 1)
        if not _ended(processes.values(), end - grace):
            outcome = LATE
    except KeyboardInterrupt:
        outcome, end = INTERRUPTED, monotonic() + grace
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            # Each alone, which ends what it has started as it should be.
            for process in processes.values():
                os.kill(process.pid, signal.SIGINT)
            _ended(processes.values(), end)
        for process in processes.values():
            # Its whole group, also where it has ended itself.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    codes = {name: process.wait() for name, process in processes.items()}
    if outcome == DONE and any(codes.values()):
        outcome = FAILED
    return Outcome(outcome, monotonic() - began, codes)


def _start(
    name: str, command: tuple[str, ...], folder: Path, *, alone: bool
) -> subprocess.Popen[bytes]:
    """Start a command, as the leader of a process group that ends with this process."""
    environment = os.environ | SHARED_GPU | {"PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
    if not alone:
        # Nothing is timed, so they need not wait for one another.
        own = folder / f"{name}.lock"
        own.mkdir(exist_ok=True)
        environment[lock.FOLDER] = str(own)
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, preexec_fn=_end_with_this,
        )  # fmt: skip


def _end_with_this() -> None:
    """Have the new process end when this one does, even if this is the first of a container."""
    os.environ[SESSION_PID] = str(os.getppid())
    die_with_parent()


def _ended(processes: Iterable[subprocess.Popen[bytes]], end: float) -> bool:
    """Whether all processes end before this time, by `time.monotonic`."""
    waiting = list(processes)
    # Nothing is waited for yet, so that no other process can be given an id that is signalled.
    look = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while waiting := [one for one in waiting if not os.waitid(os.P_PID, one.pid, look)]:
        if monotonic() >= end:
            return False
        sleep(LOOK_SECONDS)
    return True
