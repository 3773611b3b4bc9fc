"""Interference with the workers of a run in this process, and programs that stand in for them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.session.worker_process import WorkerProcess
from benchmarks.worker.messages import Answer, Build, Request

Kind = type[Request[Any]]


def before_requests(
    monkeypatch: pytest.MonkeyPatch, action: Callable[[int, Kind, float], float]
) -> None:
    """Do something before every request that a session sends.

    `action` takes the process id of the worker, the kind of the request and its time limit in
    seconds, and returns the limit to use.
    """
    ask = WorkerProcess.ask

    def watched(self: WorkerProcess, request: Request[Answer], timeout: float) -> Answer:
        return ask(self, request, action(self._process.pid, type(request), timeout))

    monkeypatch.setattr(WorkerProcess, "ask", watched)


def at_request(
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    *,
    worker: int,
    action: Callable[[int], None],
    number: int = 1,
    victim: int | None = None,
    shorter: float = 1.0,
) -> None:
    """Do something once, when a worker is about to be sent its `number`-th request of a kind.

    Workers are counted from 1 in the order of their start, over all launches. `action` takes the
    process id of the `victim`, by default the worker that is asked. The time limit of this request
    is `shorter` times as long.
    """
    started: list[int] = []
    counts: Counter[int] = Counter()

    def interfere(pid: int, asked: Kind, timeout: float) -> float:
        if asked is Build:
            started.append(pid)
        if asked is kind and started.index(pid) == worker - 1:
            counts[pid] += 1
            if counts[pid] == number:
                action(started[(victim or worker) - 1])
                return timeout * shorter
        return timeout

    before_requests(monkeypatch, interfere)


def stop(pid: int) -> None:
    """Stop a worker: it answers nothing until it is killed."""
    os.kill(pid, signal.SIGSTOP)


def kill(pid: int) -> None:
    """Kill a worker at once."""
    os.kill(pid, signal.SIGKILL)


def kill_while_it_works(pid: int) -> None:
    """Kill a worker a moment later, when the session waits for the answer to the request."""
    # Stopped until then, so that it cannot answer sooner.
    stop(pid)
    threading.Timer(0.2, kill, (pid,)).start()


def executable(path: Path, script: str) -> Path:
    """Write a shell program that runs in place of another."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def python_for_workers(folder: Path, program: str) -> Path:
    """Write a Python for --python whose workers run `program` before they serve the session."""
    source = folder / "worker.py"
    source.write_text(
        f"{program}\nimport runpy\nrunpy.run_module('benchmarks.worker', run_name='__main__')\n"
    )
    return executable(
        folder / "python",
        'if [ "$2" = benchmarks.worker ]\n'
        f'then exec {sys.executable} -c "$(cat {source})" "$3"\n'
        f'else exec {sys.executable} "$@"\n'
        "fi",
    )
