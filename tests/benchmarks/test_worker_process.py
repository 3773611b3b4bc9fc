"""A worker process that ends is reported with the way it ended."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.machine.settings import SESSION_PID, die_with_parent, worker_environment
from benchmarks.session import worker_process
from benchmarks.session.worker_process import WorkerError, WorkerProcess
from benchmarks.worker.messages import TakeReading


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("sys.exit(0)", "ended with exit code 0"),
        ("sys.exit(7)", "ended with exit code 7"),
        ("os.kill(os.getpid(), 15)", "killed by signal 15 (Terminated)"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9 (the system does this"),
    ],
)
def test_how_a_worker_ended(
    end: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "worker.py").write_text(f"import os, sys\n{end}\n")
    monkeypatch.setattr(worker_process, "ROOT", tmp_path)
    worker = WorkerProcess(
        log=tmp_path / "log.txt", environment=worker_environment("cpu", 1, tmp_path), cpus=()
    )
    try:
        with pytest.raises(WorkerError) as raised:
            worker.ask(TakeReading(), 30)
        assert str(raised.value).startswith(message)
    finally:
        worker.end()


def test_a_worker_ends_when_its_session_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent is process 1 then, which in a container may also be the session."""
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(prctl=lambda *_: 0))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setenv(SESSION_PID, "1")
    die_with_parent()
    monkeypatch.setenv(SESSION_PID, "17")
    with pytest.raises(SystemExit):
        die_with_parent()
