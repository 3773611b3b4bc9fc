"""Runs of the program: in this process, as a process that ends, and as one that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil
import pytest

import run_all
from benchmarks.machine.settings import ROOT

SMALL = (
    *("--hidden", "16", "--batch-size", "32"),
    # The backends last, so that a test can add one.
    *("--floors", "numpy", "--backends", "numpy"),
)
"""NumPy on a tiny network, whose workers start within a second; no other framework is started."""
TIMEOUT_SECONDS = 240
CASES = {"numpy eager", "numpy eager (control)"}
"""The ranked cases of a run of SMALL; a floor is measured beside them."""


class Result(NamedTuple):
    """How a run ended, and what it printed; line breaks and runs of blanks are one blank."""

    code: int
    output: str
    errors: str


def one_line(text: str) -> str:
    """Text without the line breaks that a table or a terminal's width put into it."""
    return " ".join(text.split())


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Result:
    """Run the program in this process, which spares importing it once more."""
    capsys.readouterr()
    try:
        code = run_all.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    return Result(code, one_line(printed.out), one_line(printed.err))


def command(*arguments: str | Path) -> list[str]:
    """The command line of a run in a process of its own."""
    return [sys.executable, str(ROOT / "run_all.py"), *map(str, arguments)]


def run_process(*arguments: str | Path) -> Result:
    """Run the program as its users do."""
    done = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    return Result(done.returncode, one_line(done.stdout), one_line(done.stderr))


def table(folder: Path, name: str) -> pd.DataFrame:
    """One table of a bundle."""
    return pd.read_csv(folder / f"{name}.csv")


class Running:
    """A run in progress, with its workers."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            command(*arguments, "--output", folder),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A background job of a shell ignores Ctrl-C, and what it starts inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self._seen: dict[int, psutil.Process] = {}

    def workers(self) -> int:
        """How many workers are alive now."""
        alive = workers_of(self.process.pid)
        self._seen |= {worker.pid: worker for worker in alive}
        return len(alive)

    def rows(self) -> int:
        """How many blocks have been measured so far."""
        path = self.folder / "samples.csv"
        return len(path.read_text().splitlines()) - 1 if path.exists() else 0

    def wait_until(self, condition: Callable[[Running], bool], timeout: float = 120) -> None:
        """Wait for a condition; raises AssertionError where the run ends before it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            if condition(self):
                self.workers()  # seen once, for `orphans`
                return
            time.sleep(0.02)
        raise AssertionError("the run never came to this point")

    def finish(self) -> tuple[int, str]:
        """Wait for the end: the exit code, and all that was printed."""
        output, errors = self.process.communicate(timeout=TIMEOUT_SECONDS)
        return self.process.returncode, output + errors

    def give_up(self) -> None:
        """End a run that a failed test has left behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def orphans(self) -> list[psutil.Process]:
        """Workers that outlive the run by more than a moment."""
        return outliving(list(self._seen.values()))


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers of a process that are alive."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [child for child in children if "benchmarks.worker" in child.cmdline()]
    except psutil.Error:
        return []


def outliving(workers: list[psutil.Process]) -> list[psutil.Process]:
    """Those workers that do not end within five seconds."""
    _, alive = psutil.wait_procs(workers, timeout=5)
    return alive


def own_workers() -> list[psutil.Process]:
    """Workers that a run in this process has left behind."""
    return outliving(workers_of(os.getpid()))
